//! What workers say they run, what JetStream says it waits for, and what the leader remembers of both while it takes over.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::job::{AttemptId, JobId, RunningAttempt};

/// A message of JOBS that was delivered and neither acknowledged nor handed back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingMessage {
    pub job: JobId,
    /// Any ack subject that acts on its sequence.
    pub ack_subject: String,
}

/// What one worker says of one of its nodes, in answer to a new leader's question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncedNode {
    pub node: String,
    pub incarnation: u64,
    pub running: Vec<RunningAttempt>,
    pub part: SyncPart,
}

/// Which part of an answer this is: one message may not hold all that a node runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncPart {
    /// The number of the answer, as its worker counts them.
    pub answer: u64,
    /// From 0.
    pub index: u32,
    /// How many there are; 0 for an answer in one message.
    pub of: u32,
}

/// The parts of the newest answer of a node that have come so far, and what they named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hearing {
    answer: u64,
    parts: BTreeSet<u32>,
    listed: BTreeSet<AttemptId>,
}

impl Hearing {
    /// Takes a part in. Returns all that the answer names once it is complete.
    pub(super) fn on_part(&mut self, part: SyncPart, running: &[RunningAttempt]) -> Option<BTreeSet<AttemptId>> {
        if part.answer != self.answer || part.of <= 1 {
            *self = Self { answer: part.answer, ..Self::default() };
        }
        self.parts.insert(part.index);
        self.listed.extend(running.iter().map(|running| running.assignment.attempt));
        (self.parts.len() >= part.of as usize).then(|| std::mem::take(self).listed)
    }
}

/// A search for unclaimed messages.
#[derive(Debug, Clone)]
pub(super) struct Reclaim {
    pub(super) look_at_ms: u64,
    /// The answer to the last look is awaited.
    pub(super) looking: bool,
    /// Found without an owner by the last look.
    pub(super) ownerless: BTreeSet<JobId>,
}

impl Reclaim {
    pub(super) fn starting_at(look_at_ms: u64) -> Self {
        Self { look_at_ms, looking: false, ownerless: BTreeSet::new() }
    }
}

/// An attempt that heartbeats name and that is not in the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stranger {
    pub(super) job: JobId,
    /// When it was named first.
    pub(super) since_ms: u64,
}
