//! Which fault an attempt broke off by. The page, the command, REST and the figures of experiments all ask here, so that they cannot
//! disagree. A fault is a cause only when it was on the attempt's node or GPU while the attempt was there, and when it explains the way
//! in which the attempt ended. Without such a fault there is no cause, however close in time another one was.

pub use super::truth::{FREEZE, KILL, LINK_PREFIX, PARTITION, TERM};
use super::{AttemptEnd, FaultKind, FaultTruth, Toll};
use crate::job::AttemptOutcome;

/// An attempt may be given up for so long after the end of its fault: JetStream's ack timeout is the slowest way to notice.
const LOSS_GRACE_MS: u64 = 30_000;

/// What the check of a product says when it fails: the only way to see that a GPU computed something wrong.
pub const WRONG_PRODUCT: &str = "did not pass Freivalds' check";

/// What the worker says of an attempt that a fault of a GPU ended.
pub fn interruption_words(kind: FaultKind, gpu: u8, node: &str) -> String {
    format!("{kind} on GPU {gpu} of {node}")
}

/// An attempt that broke off.
#[derive(Debug, Clone, Copy)]
pub struct BrokenAttempt<'a> {
    pub node: &'a str,
    /// The process that hosts the node; none when that is not known.
    pub worker: Option<&'a str>,
    /// From its placement.
    pub from_ms: u64,
    /// Until it was given up.
    pub ended_ms: u64,
    pub outcome: AttemptOutcome,
    /// Why it ended, in the words of its worker or of the scheduler.
    pub detail: &'a str,
}

/// How a kind of fault ends attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    /// Everything on the node is gone at once.
    Ends,
    /// The node or its process is silent, so it is given up sooner or later.
    Silences,
    /// The worker ends attempts on the GPU, each in this way, and says so.
    EndsOnGpu(AttemptOutcome),
    /// Work stands still until its time limit has passed.
    Stalls,
    /// Results on the GPU are wrong, which the job's own check may find.
    Falsifies,
    /// No attempt ends by it.
    Spares,
}

fn power(kind: &str) -> Power {
    if let Ok(kind) = kind.parse::<FaultKind>() {
        return match (kind, kind.toll()) {
            (FaultKind::HeartbeatLoss | FaultKind::Zombie, _) => Power::Silences,
            (FaultKind::Hang, _) => Power::Stalls,
            (FaultKind::WrongResult, _) => Power::Falsifies,
            (_, Toll::NodeVanishes) => Power::Ends,
            (_, Toll::AllOnGpu(end) | Toll::OneOnGpu(end) | Toll::SpanningGpu(end)) => Power::EndsOnGpu(match end {
                AttemptEnd::Requeued => AttemptOutcome::Lost,
                AttemptEnd::Failed => AttemptOutcome::Failed,
            }),
            (_, Toll::None) => Power::Spares,
        };
    }
    match kind {
        KILL => Power::Ends,
        TERM | FREEZE | PARTITION => Power::Silences,
        link if link.starts_with(LINK_PREFIX) => Power::Silences,
        _ => Power::Spares,
    }
}

/// Whether a node that has this fault, or whose process has it, is not heard of as it should be.
pub fn takes_node_away(kind: &str) -> bool {
    matches!(power(kind), Power::Ends | Power::Silences)
}

/// Whether a node that has this fault, or whose process has it, loses all that runs there, and registers again afterwards.
pub fn ends_nodes(kind: &str) -> bool {
    kind == TERM || power(kind) == Power::Ends
}

impl BrokenAttempt<'_> {
    /// Whether the fault was on the attempt's node, or on its process, while the attempt was there, and its end near that of the attempt.
    fn is_hit_by(&self, fault: &FaultTruth) -> bool {
        let is_here = fault.target == self.node || Some(fault.target.as_str()) == self.worker;
        let until_ms = fault.until_ms.unwrap_or(u64::MAX);
        is_here && fault.from_ms <= self.ended_ms && until_ms >= self.from_ms && self.ended_ms <= until_ms.saturating_add(LOSS_GRACE_MS)
    }

    fn is_explained_by(&self, fault: &FaultTruth) -> bool {
        match power(&fault.kind) {
            Power::Ends | Power::Silences => self.outcome == AttemptOutcome::Lost,
            Power::EndsOnGpu(outcome) => {
                let words = fault.gpu.map(|gpu| format!("{} on GPU {gpu} of {}", fault.kind, fault.target));
                self.outcome == outcome && words.is_some_and(|words| self.detail.contains(&words))
            }
            Power::Stalls => self.outcome == AttemptOutcome::TimedOut,
            Power::Falsifies => self.outcome == AttemptOutcome::Failed && self.detail.contains(WRONG_PRODUCT),
            Power::Spares => false,
        }
    }

    /// From the beginning of the fault until the attempt was given up. One that was placed on a node that was broken already counts
    /// from its own placement on.
    pub fn noticed_after_ms(&self, fault: &FaultTruth) -> u64 {
        self.ended_ms.saturating_sub(fault.from_ms.max(self.from_ms))
    }
}

/// The fault that the attempt broke off by; none when no fault explains it. What ends attempts at once comes before what merely silences
/// a node: the first of the former, and the last of the latter.
pub fn cause_of<'f>(attempt: &BrokenAttempt<'_>, faults: impl IntoIterator<Item = &'f FaultTruth>) -> Option<&'f FaultTruth> {
    let (mut first, mut last): (Option<&FaultTruth>, Option<&FaultTruth>) = (None, None);
    for fault in faults.into_iter().filter(|fault| attempt.is_hit_by(fault) && attempt.is_explained_by(fault)) {
        if matches!(power(&fault.kind), Power::Ends | Power::EndsOnGpu(_)) {
            first = first.filter(|known| known.from_ms <= fault.from_ms).or(Some(fault));
        } else {
            last = last.filter(|known| known.from_ms >= fault.from_ms).or(Some(fault));
        }
    }
    first.or(last)
}

#[cfg(test)]
#[path = "cause_tests.rs"]
mod tests;
