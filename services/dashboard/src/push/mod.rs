//! What WebSockets send, made twice a second, once for all of them. A client is told the whole state at first (`hello`),
//! then what changed (`delta`) with a number that grows by one; one that was too slow for that is told the whole state
//! again. What a client shows of the past it asks for over REST.

mod delta;
mod state;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;
use faultline_runtime::clock::unix_ms;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::cluster::{Cluster, NatsState};
use crate::limits::MAX_STREAMS;
use crate::view::SharedView;
use delta::Delta;
pub(crate) use state::State;

/// How often a round is made.
pub(crate) const PUSH_EVERY: Duration = Duration::from_millis(500);

/// A text message of the WebSocket.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Told<'a> {
    /// The whole state: the first message, and again whenever the client was too slow. It replaces everything.
    Hello { seq: u64, at_ms: u64, state: &'a State },
    /// What changed since the message with the number before. One comes every 500 ms, also when nothing changed.
    Delta {
        seq: u64,
        at_ms: u64,
        #[serde(flatten)]
        delta: &'a Delta,
    },
}

/// What is sent at one moment. A binary message with the same number follows each text message.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) seq: u64,
    at_ms: u64,
    state: State,
    hello: OnceLock<Utf8Bytes>,
    pub(crate) delta: Utf8Bytes,
    pub(crate) telemetry: Bytes,
}

impl Round {
    /// The whole state as JSON, written when the first client needs it.
    pub(crate) fn hello(&self) -> Utf8Bytes {
        self.hello.get_or_init(|| json(&Told::Hello { seq: self.seq, at_ms: self.at_ms, state: &self.state })).clone()
    }
}

fn json(told: &Told<'_>) -> Utf8Bytes {
    serde_json::to_string(told)
        .unwrap_or_else(|error| {
            // All keys are strings and no number is refused, so this would be a bug; the client reconnects at the next gap.
            tracing::error!(%error, "a push cannot be written as JSON");
            "{}".into()
        })
        .into()
}

/// The newest round; none before the first client.
pub(crate) type Newest = Option<Arc<Round>>;

/// Makes rounds out of states.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    seq: u64,
    /// What the next round is compared with.
    last: Newest,
}

impl Rounds {
    /// The next round, from what is known now.
    pub(crate) fn next(&mut self, view: &SharedView, now_ms: u64, nats: NatsState, streams: usize) -> Arc<Round> {
        self.seq += 1;
        let seq = self.seq;
        let (mut state, telemetry) = {
            let mut view = view.write();
            let state = State::of(&mut view, now_ms, nats, streams);
            (state, view.nodes.frame(seq as u32, now_ms))
        };
        let delta = match &self.last {
            Some(last) => json(&Told::Delta { seq, at_ms: now_ms, delta: &delta::delta(&last.state, &mut state) }),
            // No client has received a state yet that this could be added to.
            None => Utf8Bytes::default(),
        };
        let round = Arc::new(Round { seq, at_ms: now_ms, state, hello: OnceLock::new(), delta, telemetry: telemetry.into() });
        self.last = Some(Arc::clone(&round));
        round
    }

    /// No client listens: the next one gets the whole state, so nothing needs to be compared.
    fn pause(&mut self) {
        self.last = None;
    }
}

/// Makes a round every half second while a client listens, and one at once for a new client.
pub(crate) async fn run(
    view: SharedView,
    cluster: Arc<dyn Cluster>,
    streams: Arc<Semaphore>,
    arrivals: Arc<Notify>,
    newest: watch::Sender<Newest>,
    cancel: CancellationToken,
) {
    let mut ticks = tokio::time::interval(PUSH_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rounds = Rounds::default();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = arrivals.notified() => {}
            _ = ticks.tick() => {}
        }
        let open = MAX_STREAMS - streams.available_permits();
        if open == 0 {
            rounds.pause();
            continue;
        }
        newest.send_replace(Some(rounds.next(&view, unix_ms(), cluster.nats(), open)));
    }
}

#[cfg(test)]
mod tests;
