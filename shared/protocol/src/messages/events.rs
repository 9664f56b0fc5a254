//! The cluster's history, `job.ev.*`, `node.ev.*` and `fault.ev.*`.

pub use faultline_engine::fault::{FaultCause, FaultDepth, FaultTruth};
use faultline_engine::job::{AttemptId, AttemptSummary, JobId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::codec::Message;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    JobPlaced,
    AttemptFailed,
    AttemptLost,
    AttemptSuperseded,
    JobDead,
    JobCancelled,
    JobAbandoned,
    NodeJoined,
    NodeLeft,
    NodeSuspect,
    NodeGone,
    NodeDead,
    NodeRecovered,
    NodeDrained,
    NodeUndrained,
    /// Something was broken on purpose; [`ClusterEvent::fault`] is the ground truth.
    FaultBegan,
    FaultEnded,
    LeaderElected,
    LeaderLost,
    RateChanged,
    /// The leader found something that must never be: `engine::scheduler::Violation` says what.
    InvariantViolated,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterEvent {
    pub at_ms: u64,
    /// The service that saw it, such as `scheduler` or `worker-03`.
    pub service: String,
    pub level: Level,
    pub kind: EventKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// In words, for people.
    pub detail: String,
    /// For events of a job: how often it has failed and been requeued so far. A new leader reads them back.
    #[serde(default)]
    pub failures: u32,
    #[serde(default)]
    pub requeues: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<AttemptSummary>,
    /// Of `FaultBegan` and `FaultEnded`: what really happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultTruth>,
    /// For a failed attempt: the job is not to be tried again before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at_ms: Option<u64>,
    /// For a failed attempt: no retry would help.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_retry: bool,
}

impl ClusterEvent {
    /// An event about nothing in particular yet; callers set the fields that they know.
    pub fn new(at_ms: u64, service: &str, level: Level, kind: EventKind, detail: impl Into<String>) -> Self {
        Self {
            at_ms,
            service: service.to_owned(),
            level,
            kind,
            job: None,
            attempt: None,
            node: None,
            detail: detail.into(),
            failures: 0,
            requeues: 0,
            history: Vec::new(),
            fault: None,
            retry_at_ms: None,
            no_retry: false,
        }
    }
}

/// The body of every message in EVENTS. About one job: `job.ev.<id>`; about many at once: `job.ev.many`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventBatch {
    pub events: Vec<ClusterEvent>,
}

impl Message for EventBatch {
    const KIND: &'static str = "event-batch";
}
