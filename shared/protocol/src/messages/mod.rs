//! One file a direction. Every type here is plain data with named fields; new fields get `#[serde(default)]`.

mod chaos;
mod control;
mod events;
pub mod exec;
mod goodput;
mod jobs;
mod nodes;
pub mod policy;
mod processes;
mod query;
mod record;
mod work;

pub use chaos::{
    ChaosAbort, ChaosBaseline, ChaosKind, ChaosKindInfo, ChaosList, ChaosListQuery, ChaosOutcome, ChaosPhase, ChaosProgress, ChaosReply,
    ChaosReport, ChaosRequest, ChaosSample, ClauseResult, KillReply, KillRequest, Measurements, PhaseFigures, ProcessBack,
    ProcessSignalled, Spread,
};
pub use control::{
    ABSURD_RATE_PER_MINUTE, Asked, DemoScene, DrainSetting, FaultOrder, FaultOrderKind, IN_FORCE_EVERY, IN_FORCE_LIMIT, InForce,
    KillAttempts, KindMix, LeaseRecord, MAX_LOAD_RATE_PER_MINUTE, MAX_RATE_PER_MINUTE, MIN_RATE_PER_MINUTE, Ping, Pong, RATE_PRESETS,
    RateSetting, SyncOrder, check_rate, preset_rate,
};
pub use events::{ClusterEvent, EventBatch, EventKind, FaultCause, FaultDepth, FaultTruth, Level, possible_time};
pub use goodput::GoodputHistory;
pub use jobs::{DeadLetter, JobState, LedgerSnapshot, LedgerState, OpenMarker, QueuedJob, TerminalRecord};
pub use nodes::{Goodbye, Heartbeat, NodeRegistration, RunningBrief, Verdict};
pub use processes::{LogLine, MAX_LOG_LINE_BYTES, MAX_LOG_LINES, ProcessState, ProcessView, ProcessesQuery, ProcessesReply};
pub use query::{
    CancelAnswer, CancelOutcome, CancelReply, CancelRequest, ClusterStats, JobView, MAX_QUERY_ROWS, NodeView, Query, QueryReply,
    WouldFitQuery,
};
pub use record::{OPEN, Record, RecordState, is_returned};
pub use work::{AssignBatch, Assignment, EndedAttempt, EndedBatch, EpochRefused, NodeSync, NodeSyncPart, RunningAttempt, WorkerSync};
