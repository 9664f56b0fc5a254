//! Whether this process can hear at all. A connection that hangs looks connected for seconds, and until then every node seems silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::RequestErrorKind;
use faultline_engine::detector::{DetectorConfig, PingOutcome};
use faultline_protocol::messages::{Ping, Pong};
use faultline_protocol::subjects::{self, ControlVerb};
use faultline_runtime::connect::RequestError;
use faultline_runtime::connection::Connection;
use faultline_runtime::wire::Post;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A ping is two questions, one in each half of its limit: one lost message must not have a node's work requeued.
const QUESTIONS: u32 = 2;
/// How long the server itself may take to answer, when a worker did not.
const SERVER_LIMIT: Duration = Duration::from_millis(500);
const MAX_PROBE_EVERY_MS: u64 = 1000;
const MIN_PROBE_EVERY_MS: u64 = 100;

/// Which worker was asked, and what came of it.
pub(crate) type PingAnswer = (String, PingOutcome);

/// When the server last answered.
#[derive(Debug)]
pub(crate) struct Hearing {
    heard_at_ms: AtomicU64,
    probe_every: Duration,
}

impl Hearing {
    pub(crate) fn new(settings: &DetectorConfig, now_ms: u64) -> Self {
        // Twice within half of the silence that is deadly: a dead link is noticed before a dead node could be.
        let every_ms = (settings.dead_min_silence_ms / 5).clamp(MIN_PROBE_EVERY_MS, MAX_PROBE_EVERY_MS);
        Self { heard_at_ms: AtomicU64::new(now_ms), probe_every: Duration::from_millis(every_ms) }
    }

    pub(crate) fn is_alive(&self, now_ms: u64) -> bool {
        let limit = self.probe_every * 5 / 2;
        Duration::from_millis(self.heard_at_ms.load(Ordering::Relaxed).abs_diff(now_ms)) <= limit
    }

    fn heard(&self, now_ms: u64) {
        self.heard_at_ms.store(now_ms, Ordering::Relaxed);
    }
}

/// Asks the server for a sign of life, again and again.
pub(crate) async fn run(hearing: Arc<Hearing>, nats: Connection, stop: CancellationToken) {
    loop {
        let probe = async {
            if server_answers(&nats, hearing.probe_every).await {
                hearing.heard(nats.steady_ms());
            }
            tokio::time::sleep(hearing.probe_every).await;
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = probe => {}
        }
    }
}

/// A message to the server and back: "no responders" is as good an answer as any.
async fn server_answers(nats: &Connection, limit: Duration) -> bool {
    match nats.request(Post::bare(subjects::service_ping("fault-detector"), ""), Some(limit)).await {
        Ok(_) => true,
        Err((kind, _)) => kind == RequestErrorKind::NoResponders,
    }
}

/// Asks a worker for a sign of life.
pub(crate) async fn ping_worker(nats: Connection, worker: String, limit: Duration, answers: mpsc::Sender<PingAnswer>) {
    let outcome = ping(&nats, &worker, limit).await;
    // The receiver is gone when the process is stopping.
    let _ = answers.send((worker, outcome)).await;
}

/// Asks up to [`QUESTIONS`] times within the limit.
async fn ping(nats: &Connection, worker: &str, limit: Duration) -> PingOutcome {
    let connections = nats.connections().get();
    let mut outcome = PingOutcome::TimedOut;
    for _ in 0..QUESTIONS {
        outcome = ask(nats, worker, limit / QUESTIONS).await;
        if outcome != PingOutcome::TimedOut {
            break;
        }
    }
    // Silence counts only while we hear others.
    let is_ours =
        outcome == PingOutcome::TimedOut && (connections != nats.connections().get() || !server_answers(nats, SERVER_LIMIT).await);
    if is_ours { PingOutcome::NotAsked } else { outcome }
}

async fn ask(nats: &Connection, worker: &str, limit: Duration) -> PingOutcome {
    let subject = subjects::ctl(worker, ControlVerb::Ping);
    match nats.ask::<Ping, Pong>(subject, &Ping { at_ms: nats.unix_ms() }, limit).await {
        Ok(pong) => PingOutcome::Answered { nodes: pong.nodes },
        // Any answer shows that the server is there.
        Err(RequestError::Decode { .. }) => PingOutcome::Garbled,
        Err(RequestError::NoResponders(_)) => PingOutcome::NobodyListens,
        Err(RequestError::Timeout(_)) => PingOutcome::TimedOut,
        Err(RequestError::Other { reason, .. }) => {
            tracing::debug!(worker, reason, "the worker could not be asked");
            PingOutcome::NotAsked
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_link_is_noticed_before_a_node_could_die() {
        let settings = DetectorConfig::default();
        let hearing = Hearing::new(&settings, 10_000);
        assert!(hearing.is_alive(12_500) && !hearing.is_alive(12_501));
        assert!(!hearing.is_alive(2_000), "the clock was set back");
        hearing.heard(20_000);
        assert!(hearing.is_alive(20_100));
        assert!(hearing.probe_every * 5 / 2 < Duration::from_millis(settings.dead_min_silence_ms));
    }
}
