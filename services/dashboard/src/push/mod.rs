//! What WebSockets send, made twice a second (by `pulse`), once for all of them. A client is told the whole state at first (`hello`),
//! then what changed (`delta`) with a number that grows by one; one that was too slow for that is told the whole state
//! again. What a client shows of the past it asks for over REST.

mod delta;
mod state;

use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::cluster::NatsState;
use crate::view::{NodeIndex, SharedView};
pub(crate) use delta::Delta;
pub(crate) use state::State;

/// What is known at one moment, for all who want it.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) at_ms: u64,
    pub(crate) state: State,
    pub(crate) index: Arc<NodeIndex>,
    /// The packed frame, in the order of `index`.
    pub(crate) telemetry: Vec<u8>,
}

impl Taken {
    /// `seq`: the number that the frame carries.
    pub(crate) fn of(view: &SharedView, now_ms: u64, nats: NatsState, streams: usize, seq: u64) -> Self {
        let mut view = view.write();
        let state = State::of(&mut view, now_ms, nats, streams);
        Self { at_ms: now_ms, state, index: view.nodes.index(), telemetry: view.nodes.frame(seq as u32, now_ms) }
    }
}

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
        self.hello.get_or_init(|| told(&Told::Hello { seq: self.seq, at_ms: self.at_ms, state: &self.state })).clone()
    }
}

/// A text message as it is sent.
pub(crate) fn told(told: &Told<'_>) -> Utf8Bytes {
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
    /// The number of the next round.
    pub(crate) fn next_seq(&self) -> u64 {
        self.seq + 1
    }

    /// The next round, from what is known now.
    pub(crate) fn next(&mut self, taken: Taken) -> Arc<Round> {
        self.seq += 1;
        let Taken { at_ms, mut state, telemetry, .. } = taken;
        let delta = match &self.last {
            Some(last) => told(&Told::Delta { seq: self.seq, at_ms, delta: &Delta::between(&last.state, &mut state) }),
            // No client has received a state yet that this could be added to.
            None => Utf8Bytes::default(),
        };
        let round = Arc::new(Round { seq: self.seq, at_ms, state, hello: OnceLock::new(), delta, telemetry: telemetry.into() });
        self.last = Some(Arc::clone(&round));
        round
    }

    /// No client listens: the next one gets the whole state, so nothing needs to be compared.
    pub(crate) fn pause(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests;
