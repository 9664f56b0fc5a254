//! Answers `chaos.kill`, `chaos.run`, `chaos.abort` and `chaos.list` inside `faultline up`: kills at once, one experiment at a time, and
//! what became of the earlier ones.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Message as NatsMessage, Subscriber};
use faultline_protocol::codec::{self, Message};
use faultline_protocol::messages::{
    ChaosAbort, ChaosList, ChaosListQuery, ChaosPhase, ChaosProgress, ChaosReply, ChaosReport, ChaosRequest, KillReply, KillRequest,
};
use faultline_protocol::subjects;
use faultline_runtime::clock::{random_seed, random_u128, unix_ms};
use faultline_runtime::connect::Nats;
use futures::StreamExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::injector::Injector;
use super::run::Run;
use crate::experiment::kinds;
use crate::up::cluster::Cluster;
use crate::up::signal::KillSignal;

/// Reports that are kept.
const RUNS_KEPT: usize = 50;
/// Reports in one answer: one with its figures has about 2 KiB, and a message at most 1 MiB.
const RUNS_IN_ANSWER: usize = 50;

/// A worker writes the end of a simulated fault by itself, once it has heard of it.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// The desk for experiments.
pub(crate) struct Experiments {
    cluster: Arc<Cluster>,
    nats: Nats,
    injector: Arc<Injector>,
    state: Mutex<State>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    /// The newest first.
    runs: VecDeque<ChaosReport>,
}

struct Running {
    run: String,
    abort: CancellationToken,
    newest: watch::Receiver<ChaosProgress>,
}

impl Experiments {
    pub(crate) fn new(cluster: Arc<Cluster>, nats: Nats) -> Arc<Self> {
        let injector = Injector::new(Arc::clone(&cluster), nats.clone());
        Arc::new(Self { cluster, nats, injector, state: Mutex::default(), tasks: TaskTracker::new() })
    }

    /// For those who break things without an experiment around it.
    pub(crate) fn injector(&self) -> Arc<Injector> {
        Arc::clone(&self.injector)
    }

    /// `up` stops: the experiment that runs is aborted and reports, and whatever else is broken is put right.
    pub(crate) async fn stop(&self) {
        let was_running = self.abort_running();
        self.tasks.close();
        self.tasks.wait().await;
        if self.injector.restore_all().await || was_running {
            tokio::time::sleep(LAST_WORDS).await;
        }
    }

    fn abort_running(&self) -> bool {
        let state = self.locked();
        if let Some(Running { run, abort, .. }) = &state.running {
            tracing::warn!(run, "`up` stops, and the experiment with it");
            abort.cancel();
        }
        state.running.is_some()
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers until the connection is closed. The client makes its subscriptions again after a reconnect.
    pub(crate) async fn serve(self: Arc<Self>) -> anyhow::Result<()> {
        let hear = async |subject: &'static str| -> anyhow::Result<Subscriber> { Ok(self.nats.client.subscribe(subject).await?) };
        let mut kills = hear(subjects::CHAOS_KILL).await?;
        let mut runs = hear(subjects::CHAOS_RUN).await?;
        let mut aborts = hear(subjects::CHAOS_ABORT).await?;
        let mut lists = hear(subjects::CHAOS_LIST).await?;
        let mut unanswered = 0_u64;
        loop {
            let heard = tokio::select! {
                Some(message) = kills.next() => self.answer_kill(message),
                Some(message) = runs.next() => self.answer(&message, |request| self.start(request)).await,
                Some(message) = aborts.next() => self.answer(&message, |abort| self.abort(&abort)).await,
                Some(message) = lists.next() => self.answer(&message, |query| self.list(&query)).await,
                else => return Ok(()),
            };
            if let Err(reason) = heard {
                unanswered += 1;
                if unanswered.is_power_of_two() {
                    tracing::warn!(reason, so_far = unanswered, "cannot answer a request about experiments");
                }
            }
        }
    }

    /// Beside everything else: it is answered when it has happened, and a second one need not wait for that.
    fn answer_kill(&self, message: NatsMessage) -> Result<(), String> {
        let to = message.reply.clone().ok_or("the request has no reply subject")?;
        let asked = codec::decode_plain::<KillRequest>(subjects::CHAOS_KILL, &message);
        let (cluster, nats) = (Arc::clone(&self.cluster), self.nats.clone());
        self.tasks.spawn(async move {
            let reply = match asked {
                Ok(request) => kill(&cluster, &request).await,
                Err(error) => KillReply::Refused { reason: error.to_string() },
            };
            if let Err(error) = nats.reply(to, &reply).await {
                tracing::warn!(%error, "the answer to a kill was not sent");
            }
        });
        Ok(())
    }

    /// A message that cannot be read gets a refusal, where it has a reply subject.
    async fn answer<Q: Message, A: Message>(&self, message: &NatsMessage, reply: impl FnOnce(Q) -> A) -> Result<(), String> {
        let Some(to) = message.reply.clone() else { return Err("the request has no reply subject".into()) };
        let sent = match codec::decode_plain::<Q>("chaos.*", message) {
            Ok(question) => self.nats.reply(to, &reply(question)).await,
            Err(error) => self.nats.reply(to, &ChaosReply::Refused { reason: error.to_string() }).await,
        };
        sent.map_err(|error| error.to_string())
    }

    fn start(self: &Arc<Self>, request: ChaosRequest) -> ChaosReply {
        let (request, hypothesis) = match kinds::check(request) {
            Ok(checked) => checked,
            Err(reason) => return ChaosReply::Refused { reason },
        };
        let mut state = self.locked();
        if let Some(Running { run, .. }) = &state.running {
            return ChaosReply::Refused { reason: format!("the experiment {run} runs; `faultline chaos abort` ends it") };
        }
        let run = faultline_engine::fault::fault_id(unix_ms(), random_u128());
        let seed = request.seed.unwrap_or_else(random_seed);
        let abort = CancellationToken::new();
        let first = ChaosProgress {
            run: run.clone(),
            kind: request.kind,
            phase: ChaosPhase::Checking,
            at_ms: unix_ms(),
            left_ms: 0,
            detail: "looking at the cluster".into(),
            sample: None,
            report: None,
        };
        let (newest, heard) = watch::channel(first);
        state.running = Some(Running { run: run.clone(), abort: abort.clone(), newest: heard });
        drop(state);
        tracing::warn!(run, kind = request.kind.as_str(), target = request.target, by = request.by, "an experiment begins");
        let (cluster, injector, nats) = (Arc::clone(&self.cluster), Arc::clone(&self.injector), self.nats.clone());
        let work = Run { id: run.clone(), request, hypothesis, seed, cluster, injector, nats, abort, newest };
        let desk = Arc::clone(self);
        self.tasks.spawn(async move {
            match tokio::spawn(work.carry_out()).await {
                Ok(report) => desk.close(report).await,
                // What it broke is put right at its time all the same.
                Err(error) => {
                    tracing::error!(%error, "an experiment ended without a report");
                    desk.locked().running = None;
                }
            }
        });
        ChaosReply::Started { run, seed }
    }

    async fn close(&self, report: ChaosReport) {
        tracing::warn!(run = report.run, outcome = report.outcome.as_str(), reason = report.reason, "the experiment has ended");
        let progress = ChaosProgress {
            run: report.run.clone(),
            kind: report.request.kind,
            phase: ChaosPhase::Done,
            at_ms: unix_ms(),
            left_ms: 0,
            detail: report.outcome.as_str().to_owned(),
            sample: None,
            report: Some(Box::new(report.clone())),
        };
        {
            let mut state = self.locked();
            state.running = None;
            state.runs.push_front(report);
            state.runs.truncate(RUNS_KEPT);
        }
        let _ = self.nats.publish(subjects::chaos_progress(&progress.run), &progress).await;
    }

    pub(crate) fn abort(&self, abort: &ChaosAbort) -> ChaosReply {
        match &self.locked().running {
            Some(Running { run, abort: token, .. }) if abort.run.as_ref().is_none_or(|wanted| wanted == run) => {
                tracing::warn!(run, by = abort.by, "the experiment is aborted");
                token.cancel();
                ChaosReply::Aborting { run: run.clone() }
            }
            Some(Running { run, .. }) => ChaosReply::Refused { reason: format!("another experiment runs: {run}") },
            None => ChaosReply::Refused { reason: "no experiment runs".into() },
        }
    }

    fn list(&self, query: &ChaosListQuery) -> ChaosList {
        let state = self.locked();
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX).min(RUNS_IN_ANSWER);
        ChaosList {
            kinds: kinds::catalogue(),
            running: state.running.as_ref().map(|running| running.newest.borrow().clone()),
            runs: state.runs.iter().take(limit).cloned().collect(),
        }
    }
}

async fn kill(cluster: &Cluster, request: &KillRequest) -> KillReply {
    match cluster.kill(&request.service, KillSignal::Kill, &request.by).await {
        Ok(told) => KillReply::Killed(told),
        Err(error) => KillReply::Refused { reason: error.to_string() },
    }
}
