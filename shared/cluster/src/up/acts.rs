//! What people do to processes: signals, followed to the end. Each is a fault with its ground truth: it begins when the signal was
//! delivered, and is over when the process runs again. NATS may be the process, so nothing here waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use faultline_engine::fault::{cause, fault_id};
use faultline_engine::words::span;
use faultline_protocol::messages::{ClusterEvent, EventKind, FaultCause, FaultDepth, FaultTruth, Level, ProcessBack, ProcessSignalled};
use faultline_runtime::clock::{self, ms, unix_ms};
use tokio::time::Instant;

use super::history::{History, OWN_NAME};
use super::signal::KillSignal;
use super::supervisor::{Reached, is_stopped};

/// The client hears the outcome by then; the rest is in the history.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const FROZEN_WITHIN: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Signals whose effect is not over yet.
#[derive(Debug)]
pub(crate) struct Acts {
    history: Arc<History>,
    /// By the id of the fault.
    open: Mutex<BTreeMap<String, FaultTruth>>,
}

impl Acts {
    pub(crate) fn new(history: Arc<History>) -> Arc<Self> {
        Arc::new(Self { history, open: Mutex::default() })
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, FaultTruth>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A signal was delivered: says what came of it, as far as that is known soon, and writes all of it down.
    pub(crate) async fn follow(self: &Arc<Self>, service: &str, signal: KillSignal, reached: Reached, by: &str) -> ProcessSignalled {
        let (pid, sent) = (reached.pid, reached.sent);
        let mut told =
            ProcessSignalled { service: service.to_owned(), signal: signal.name().to_owned(), pid, ended_after_ms: None, back: None };
        match signal {
            KillSignal::Kill | KillSignal::Term => {
                let kind = if signal == KillSignal::Kill { cause::KILL } else { cause::TERM };
                let id = self.begin(service, kind, reached.sent_at_ms, by);
                self.end_with_restart(id, reached.clone());
                let _ = tokio::time::timeout(ANSWER_WITHIN, watch_restart(reached, sent, &mut told)).await;
            }
            KillSignal::Stop => {
                until_frozen(pid).await;
                let id = self.begin(service, cause::FREEZE, reached.sent_at_ms, by);
                let acts = Arc::clone(self);
                tokio::spawn(async move {
                    let mut reached = reached;
                    reached.ended().await;
                    acts.end(&id, "it ended");
                });
            }
            KillSignal::Cont => {
                let frozen = self.locked().values().find(|truth| truth.kind == cause::FREEZE && truth.target == service).cloned();
                if let Some(truth) = frozen {
                    let lasted = span(unix_ms().saturating_sub(truth.from_ms));
                    self.end(&truth.id, &format!("it goes on after {lasted}, by {by} (SIGCONT)"));
                }
            }
        }
        told
    }

    fn begin(&self, service: &str, kind: &str, from_ms: u64, by: &str) -> String {
        let truth = FaultTruth {
            id: fault_id(from_ms, clock::random_u128()),
            kind: kind.to_owned(),
            depth: FaultDepth::Process,
            target: service.to_owned(),
            gpu: None,
            from_ms,
            until_ms: None,
            cause: FaultCause::Ordered,
            domain: None,
            by: by.to_owned(),
        };
        self.tell(EventKind::FaultBegan, from_ms, truth.headline(), &truth);
        let id = truth.id.clone();
        self.locked().insert(id.clone(), truth);
        id
    }

    /// The fault is over; does nothing when it was already.
    fn end(&self, id: &str, why: &str) {
        let Some(mut truth) = self.locked().remove(id) else { return };
        let now_ms = unix_ms();
        truth.until_ms = Some(now_ms);
        self.tell(EventKind::FaultEnded, now_ms, format!("{}; {why}", truth.headline()), &truth);
    }

    fn end_with_restart(self: &Arc<Self>, id: String, mut reached: Reached) {
        let acts = Arc::clone(self);
        tokio::spawn(async move {
            match reached.back().await {
                Some(pid) => acts.end(&id, &format!("back after {} as process {pid}", span(ms(reached.sent.elapsed())))),
                None => acts.end(&id, "it was removed"),
            }
        });
    }

    fn tell(&self, kind: EventKind, at_ms: u64, words: String, truth: &FaultTruth) {
        tracing::warn!("{words}");
        let level = if kind == EventKind::FaultBegan { Level::Warn } else { Level::Info };
        let mut event = ClusterEvent::new(at_ms, OWN_NAME, level, kind, words);
        event.fault = Some(truth.clone());
        self.history.tell(event);
    }

    /// `up` stops: nothing comes back any more.
    pub(crate) fn end_all(&self) {
        let ids: Vec<String> = self.locked().keys().cloned().collect();
        ids.iter().for_each(|id| self.end(id, "`faultline up` stops"));
    }
}

async fn watch_restart(mut reached: Reached, sent: Instant, told: &mut ProcessSignalled) {
    reached.ended().await;
    told.ended_after_ms = Some(ms(sent.elapsed()));
    if let Some(pid) = reached.back().await {
        told.back = Some(ProcessBack { pid, after_ms: ms(sent.elapsed()) });
    }
}

/// The kernel stops a process soon after the signal; where it does not say so, the delivery has to do.
async fn until_frozen(pid: u32) {
    let give_up = Instant::now() + FROZEN_WITHIN;
    while !is_stopped(pid) && Instant::now() < give_up {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
