//! One file a direction. Every type here is plain data with named fields; new fields get `#[serde(default)]`.

mod chaos;
mod control;
mod events;
pub mod exec;
mod jobs;
mod nodes;
mod query;
mod work;

pub use chaos::{
    ChaosAbort, ChaosKind, ChaosKindInfo, ChaosList, ChaosListQuery, ChaosOutcome, ChaosPhase, ChaosProgress, ChaosReply, ChaosReport,
    ChaosRequest, ChaosSample, ClauseResult, Measurements, PhaseFigures, Spread,
};
pub use control::{
    DrainSetting, FaultOrder, FaultOrderKind, KillAttempts, KindMix, LeaseRecord, MAX_RATE_PER_MINUTE, MIN_RATE_PER_MINUTE, Ping, Pong,
    RATE_PRESETS, RateSetting, SyncOrder, preset_rate,
};
pub use events::{ClusterEvent, EventBatch, EventKind, FaultCause, FaultDepth, FaultTruth, Level};
pub use jobs::{DeadLetter, JobState, LedgerSnapshot, OpenMarker, QueuedJob, TerminalRecord};
pub use nodes::{Goodbye, Heartbeat, NodeRegistration, RunningBrief, Verdict};
pub use query::{
    CancelAnswer, CancelOutcome, CancelReply, CancelRequest, ClusterStats, JobView, MAX_QUERY_ROWS, NodeView, Query, QueryReply,
};
pub use work::{AssignBatch, Assignment, EndedAttempt, EndedBatch, NodeSync, RunningAttempt, WorkerSync};

/// For fields that came later: absent and 0 are the same bytes as ever.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
