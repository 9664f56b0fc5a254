//! Epochs, and who refuses the one of this leader.

use serde::{Deserialize, Serialize};

use crate::job::AttemptId;

/// No epoch is higher than this. Numbers up to 2^53 stay exact wherever they are shown, and a worker that names a higher one must not
/// drive a leader to the end of all numbers.
pub const MAX_EPOCH: u64 = 1 << 52;

/// A worker does not believe this leader, because it has heard of a higher epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub worker: String,
    /// The epoch that was refused.
    pub epoch: u64,
    /// The highest one that the worker has heard of.
    pub newest: u64,
    /// What it was told to run and does not.
    pub attempts: Vec<AttemptId>,
}

/// The refusals of this term.
#[derive(Debug, Clone, Default)]
pub struct Refusals {
    /// Assignments and questions that workers refused.
    pub total: u64,
    /// Who refuses this leader now, and why; empty when no worker does.
    pub standing: String,
    /// The highest epoch that was named, while a higher one is asked for.
    pub(super) above: Option<u64>,
}

/// The epoch of a leader that has just written its lease and heard of `newest` before. It is higher than `newest`, and because the
/// revision of that write is part of it, two leaders that heard of the same epoch get different ones.
pub fn raised_epoch(newest: u64, revision: u64, first_revision: u64) -> u64 {
    revision.max(newest.saturating_add(1).saturating_add(revision.saturating_sub(first_revision)))
}
