//! Invariants that do not hold, and what the checks remember.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use crate::job::{AttemptId, GPU_MILLI, JobId};

/// How long an attempt that was given up is remembered: a zombie that wakes up later is not judged.
pub(super) const REMEMBERED_MS: u64 = 600_000;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// The attempts in the books ask for more of a GPU than it has.
    GpuOverCapacity { node: String, gpu: usize, used_milli: u32, reserved_mib: u32, memory_mib: u32 },
    /// A node has more attempts than slots.
    SlotsOverCapacity { node: String, attempts: usize, slots: u32 },
    /// What is booked on a GPU is not what its attempts ask for, or an attempt there has no running job.
    BooksDiffer { node: String, detail: String },
    /// A node that had said to this leader what it runs has taken an attempt of an older leader since.
    OldEpoch { node: String, job: JobId, attempt: AttemptId, epoch: u64, current: u64 },
    /// Two nodes that are alive name an attempt of one job each, and neither attempt was given up: two holders of one lease.
    TwoLiveAttempts { job: JobId, node: String, attempt: AttemptId, other_node: String, other: AttemptId },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::GpuOverCapacity { node, gpu, used_milli, reserved_mib, memory_mib } => write!(
                f,
                "GPU {gpu} of {node} is over its capacity: {used_milli} of {GPU_MILLI} thousandths and {reserved_mib} of {memory_mib} MiB are booked"
            ),
            Violation::SlotsOverCapacity { node, attempts, slots } => write!(f, "{node} has {attempts} attempts in {slots} slots"),
            Violation::BooksDiffer { node, detail } => write!(f, "the books of {node} contradict themselves: {detail}"),
            Violation::OldEpoch { node, job, attempt, epoch, current } => {
                write!(
                    f,
                    "{node} runs attempt {attempt} of {job}, placed under epoch {epoch}, which it took after it had heard of epoch {current}"
                )
            }
            Violation::TwoLiveAttempts { job, node, attempt, other_node, other } => {
                write!(f, "{job} runs twice under one lease: attempt {attempt} on {node} and attempt {other} on {other_node}")
            }
        }
    }
}

impl Violation {
    pub fn node(&self) -> &str {
        match self {
            Violation::GpuOverCapacity { node, .. }
            | Violation::SlotsOverCapacity { node, .. }
            | Violation::BooksDiffer { node, .. }
            | Violation::OldEpoch { node, .. }
            | Violation::TwoLiveAttempts { node, .. } => node,
        }
    }

    pub fn job(&self) -> Option<JobId> {
        match self {
            Violation::OldEpoch { job, .. } | Violation::TwoLiveAttempts { job, .. } => Some(*job),
            Violation::GpuOverCapacity { .. } | Violation::SlotsOverCapacity { .. } | Violation::BooksDiffer { .. } => None,
        }
    }

    /// What makes two findings the same one: the figures may change while it lasts.
    pub(super) fn key(&self) -> (u8, String, u128) {
        match self {
            Violation::GpuOverCapacity { node, gpu, .. } => (0, node.clone(), *gpu as u128),
            Violation::SlotsOverCapacity { node, .. } => (1, node.clone(), 0),
            Violation::BooksDiffer { node, .. } => (2, node.clone(), 0),
            Violation::OldEpoch { node, attempt, .. } => (3, node.clone(), attempt.to_u128()),
            Violation::TwoLiveAttempts { node, attempt, .. } => (4, node.clone(), attempt.to_u128()),
        }
    }
}

/// What the checks remember.
#[derive(Debug, Clone, Default)]
pub(super) struct Watchdog {
    pub(super) reported: BTreeSet<(u8, String, u128)>,
    pub(super) given_up: BTreeSet<AttemptId>,
    /// The same with their times, oldest first, for forgetting.
    given_up_at: VecDeque<(u64, AttemptId)>,
}

impl Watchdog {
    /// An attempt was given up here: it may be seen for a while yet.
    pub(super) fn give_up(&mut self, attempt: AttemptId, now_ms: u64) {
        while let Some((at_ms, oldest)) = self.given_up_at.front().copied()
            && now_ms.saturating_sub(at_ms) > REMEMBERED_MS
        {
            self.given_up_at.pop_front();
            self.given_up.remove(&oldest);
        }
        if self.given_up.insert(attempt) {
            self.given_up_at.push_back((now_ms, attempt));
        }
    }
}
