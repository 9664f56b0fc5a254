//! What a leader has counted and how long things took, for metrics and queries. Nothing is decided here.

use std::collections::VecDeque;

use super::durations::Durations;
use crate::job::AttemptOutcome;
use crate::node::Health;

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

/// GPU time that attempts held from their placement to their end, in thousandths of a GPU times milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GpuTime {
    /// By attempts that committed: the goodput.
    pub committed_milli_ms: u64,
    /// By attempts that were lost with their node, or whose result came too late.
    pub lost_milli_ms: u64,
    /// By attempts in which the job itself failed, or ran out of time.
    pub failed_milli_ms: u64,
    pub cancelled_milli_ms: u64,
}

impl GpuTime {
    pub(super) fn add(&mut self, outcome: AttemptOutcome, milli_ms: u64) {
        *match outcome {
            AttemptOutcome::Committed => &mut self.committed_milli_ms,
            AttemptOutcome::Failed | AttemptOutcome::TimedOut => &mut self.failed_milli_ms,
            AttemptOutcome::Cancelled => &mut self.cancelled_milli_ms,
            AttemptOutcome::Lost | AttemptOutcome::Superseded | AttemptOutcome::Running => &mut self.lost_milli_ms,
        } += milli_ms;
    }
}

/// What all nodes come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// By health.
    pub nodes: [u64; Health::ALL.len()],
    /// Those that take nothing new because they are drained or stop.
    pub draining: u64,
    pub gpus: u64,
    pub gpu_used_milli: u64,
    /// Attempts.
    pub running: u64,
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
    /// From a job's submission to its first placement.
    pub wait: Durations,
    /// From the moment at which a job could have been placed, as far as is known here, to its placement.
    pub placement: Durations,
    /// As `requeue`, all of them.
    pub detection: Durations,
    /// As `recovery`, all of them.
    pub replacement: Durations,
    pub gpu_time: GpuTime,
    /// Deliveries of jobs that JetStream had delivered before.
    pub redelivered: u64,
    /// Messages without an owner that were handed back.
    pub reclaimed: u64,
    pub violations: u64,
    /// The last one, in words.
    pub last_violation: String,
}
