//! What the detector remembers of a node's silence, of the questions about it, and of its worker's connection.

use std::collections::BTreeSet;

use super::config::DetectorConfig;

#[derive(Debug, Default)]
pub(super) struct WorkerState {
    pub(super) nodes: BTreeSet<String>,
    pub(super) connection: Connection,
}

/// Why a worker was asked.
#[derive(Debug, Default)]
pub(super) enum Cause {
    /// A node of it is suspect.
    #[default]
    Silence,
    /// Its connection ended; the server's word for it.
    ConnectionEnded(String),
}

#[derive(Debug, Default)]
pub(super) enum Connection {
    /// Nothing is known against it.
    #[default]
    Up,
    /// Its connection ended; it may be back any moment.
    Hinted {
        reason: String,
        ping_at_ms: u64,
    },
    Pinging {
        cause: Cause,
        asked_at_ms: u64,
    },
    /// It did not answer.
    Lost {
        dead_at_ms: u64,
    },
}

impl WorkerState {
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.connection, Connection::Lost { .. })
    }
}

/// The longest time for which a node is not given up cheaply, in units of the shortest.
const MAX_HOLD_FACTOR: u64 = 16;

/// A suspect node's questions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inquiry {
    pub(super) ask_at_ms: u64,
    /// From the last question to the next one; 0 before the first.
    pub(super) pause_ms: u64,
    /// When its worker last said that the node is up.
    pub(super) vouched_at_ms: Option<u64>,
}

impl Inquiry {
    pub(super) fn new(now_ms: u64) -> Self {
        Self { ask_at_ms: now_ms, pause_ms: 0, vouched_at_ms: None }
    }

    pub(super) fn asked(&mut self, config: &DetectorConfig, now_ms: u64) {
        // More often than silence kills, or an answer would not keep the node from that.
        let longest = (config.dead_min_silence_ms / 2).max(1);
        self.pause_ms = (self.pause_ms * 2).max(config.heartbeat_interval_ms).min(longest);
        self.ask_at_ms = now_ms + self.pause_ms;
    }
}

/// How lately the node was given up in error.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FalseAlarms {
    pub(super) hold_ms: u64,
    pub(super) held_until_ms: u64,
}

impl FalseAlarms {
    pub(super) fn note(&mut self, gone_again_ms: u64, now_ms: u64) {
        let was_quiet = now_ms >= self.held_until_ms.saturating_add(self.hold_ms);
        self.hold_ms = if was_quiet { gone_again_ms } else { (self.hold_ms * 2).min(gone_again_ms * MAX_HOLD_FACTOR) };
        self.held_until_ms = now_ms + self.hold_ms;
    }

    pub(super) fn holds(&self, now_ms: u64) -> bool {
        now_ms < self.held_until_ms
    }

    /// The clock may have been set back.
    pub(super) fn on_resumed(&mut self, now_ms: u64) {
        self.held_until_ms = self.held_until_ms.min(now_ms + self.hold_ms);
    }
}

/// Since when a verdict on a silent node has been ready. Cleared by a sign of life.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waiting {
    /// How many workers fell silent together with its own, when that was more than can be believed at once. It stays so when the first
    /// of them are back or judged: the last ones get the same time.
    pub(super) together: Option<usize>,
    pub(super) suspect_since_ms: Option<u64>,
    pub(super) dead_since_ms: Option<u64>,
}
