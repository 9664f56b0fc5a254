//! Why a job still waits: typed reasons, which travel, and the words for them.

use faultline_planner::{Closed, Reason};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words::plural;

/// Why one node cannot take one job now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// Suspect, gone or dead.
    NotAlive,
    /// An operator drains it.
    Draining,
    /// It has no executor for the job's kind.
    KindNotOffered,
    /// None of its GPUs is of a wanted model.
    WrongModel,
    /// It has fewer GPUs than wanted, even when empty.
    TooFewGpus,
    /// Its GPUs have less memory than wanted, even when empty.
    GpuMemoryTooSmall,
    /// As many attempts run there as it has slots.
    SlotsTaken,
    /// Not enough of its GPUs is free now.
    GpuShareTaken,
    /// Enough GPU share is free, but not with enough memory.
    GpuMemoryTaken,
    /// Enough of its GPUs would do, but some must not be used until they have been reset.
    GpuOutOfService,
    /// It refused what was placed there, or did not know it, a moment ago.
    RefusedLately,
}

impl RejectReason {
    fn words(self) -> &'static str {
        match self {
            RejectReason::NotAlive => "not alive",
            RejectReason::Draining => "draining",
            RejectReason::KindNotOffered => "no executor for its kind",
            RejectReason::WrongModel => "no GPU of a wanted model",
            RejectReason::TooFewGpus => "too few GPUs",
            RejectReason::GpuMemoryTooSmall => "GPU memory too small",
            RejectReason::SlotsTaken => "slots taken",
            RejectReason::GpuShareTaken => "GPU share taken",
            RejectReason::GpuMemoryTaken => "GPU memory taken",
            RejectReason::GpuOutOfService => "GPU out of service",
            RejectReason::RefusedLately => "refused jobs a moment ago",
        }
    }

    /// What a reason of the planner is on the wire. `None` for want of CPU or host memory: no job asks for any yet.
    fn of(reason: Reason) -> Option<Self> {
        Some(match reason {
            Reason::KindNotOffered => Self::KindNotOffered,
            Reason::WrongModel => Self::WrongModel,
            Reason::TooFewGpus => Self::TooFewGpus,
            Reason::GpuMemoryTooSmall => Self::GpuMemoryTooSmall,
            Reason::Closed(Closed::NotAlive) => Self::NotAlive,
            Reason::Closed(Closed::Draining) => Self::Draining,
            Reason::Closed(Closed::RefusedLately) => Self::RefusedLately,
            Reason::SlotsTaken => Self::SlotsTaken,
            Reason::GpuOutOfService => Self::GpuOutOfService,
            Reason::GpuShareTaken => Self::GpuShareTaken,
            Reason::GpuMemoryTaken => Self::GpuMemoryTaken,
            Reason::CpuTooSmall | Reason::MemoryTooSmall | Reason::CpuTaken | Reason::MemoryTaken => return None,
        })
    }
}

/// How many nodes said no for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reject {
    pub reason: RejectReason,
    pub nodes: u32,
}

/// Why a job still waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyWaiting {
    pub since_ms: u64,
    /// Why each node said no when it was last asked; empty when that is not known.
    pub rejects: Vec<Reject>,
    /// For people.
    pub summary: String,
    /// Where it stands in the order; only of a job that waits for room, and only where one job is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<PlaceInLine>,
}

/// Where a job that waits for room stands, and what may come of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlaceInLine {
    /// How many jobs wait here for room, this one among them.
    pub waiting: u64,
    /// How many of them go before it.
    pub ahead: u64,
    /// How many of those ask for the same as it does.
    pub ahead_alike: u64,
    /// No node has room for it, so that jobs behind it go ahead when they fit. Otherwise it has yet to be tried.
    pub stands_aside: bool,
    /// How many jobs have been placed since this leader has held it.
    pub placed_meanwhile: u64,
    /// How many nodes could run it if they were open and empty, of how many.
    pub able: u32,
    pub nodes: u32,
    /// When it is given up because no node could ever run it, unless the nodes change before; none while one could.
    #[serde(default)]
    pub given_up_at_ms: Option<u64>,
}

/// The planner's count of refusals as it travels, in the order of the reasons.
pub(super) fn rejects(refusals: Vec<(Reason, u32)>) -> Vec<Reject> {
    let known = |(reason, nodes)| Some(Reject { reason: RejectReason::of(reason)?, nodes });
    let mut rejects: Vec<Reject> = refusals.into_iter().filter_map(known).collect();
    rejects.sort_unstable_by_key(|reject| reject.reason);
    rejects
}

/// `5 nodes: GPU share taken, 3 nodes: draining`.
pub(super) fn summarise(rejects: &[Reject]) -> String {
    let words = |reject: &Reject| format!("{}: {}", plural(reject.nodes.into(), "node"), reject.reason.words());
    rejects.iter().map(words).collect::<Vec<_>>().join(", ")
}
