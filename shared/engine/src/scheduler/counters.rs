//! What a leader has counted and how long things took, for whoever asks how the cluster does. Nothing is decided here.

use std::collections::VecDeque;

/// The newest thousand of some duration, in milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Recent(VecDeque<u64>);

impl Recent {
    const KEPT: usize = 1000;

    pub(super) fn push(&mut self, value_ms: u64) {
        if self.0.len() == Self::KEPT {
            self.0.pop_front();
        }
        self.0.push_back(value_ms);
    }

    /// The value below which `percent` of the kept ones lie (nearest rank); 0 when there are none.
    pub fn percentile_ms(&self, percent: usize) -> u64 {
        let mut sorted: Vec<u64> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or(0)
    }
}

/// What was counted since this leader's election.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    pub placed: u64,
    pub requeued: u64,
    pub retried: u64,
    /// From a node's last sign of life to the requeue of its attempts.
    pub requeue: Recent,
    /// From the loss of an attempt to the job's next placement.
    pub recovery: Recent,
    /// Messages without an owner that were handed back.
    pub reclaimed: u64,
    pub violations: u64,
    /// The last one, in words.
    pub last_violation: String,
}
