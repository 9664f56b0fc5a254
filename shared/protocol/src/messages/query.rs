//! `sched.query` and `sched.cancel`: what the leading scheduler answers. The same types are the REST API's.

use faultline_engine::job::{AttemptSummary, Demand, JobId, Priority};
use faultline_engine::node::{GpuTelemetry, Health, NodeSpec};
use faultline_engine::placement::WhyWaiting;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::jobs::{JobState, LedgerSnapshot};
use super::nodes::{RunningBrief, Verdict};
use crate::codec::Message;

/// The most rows in one reply, so that it stays far below the server's 1 MiB.
pub const MAX_QUERY_ROWS: u32 = 200;

/// `sched.query`, a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    Stats,
    /// Nodes by name, those after `after`.
    Nodes {
        after: Option<String>,
        limit: u32,
    },
    Node {
        node: String,
    },
    /// Jobs that the leader holds (queued and pulled, or running) by id, those after `after`.
    Jobs {
        after: Option<JobId>,
        limit: u32,
    },
    Job {
        job: JobId,
    },
}

impl Message for Query {
    const KIND: &'static str = "query";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryReply {
    Stats(Box<ClusterStats>),
    Nodes(Vec<NodeView>),
    Jobs(Vec<JobView>),
    /// The query could not be answered: in words.
    Error(String),
}

impl Message for QueryReply {
    const KIND: &'static str = "query-reply";
}

/// A node as the leader sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    #[serde(flatten)]
    pub spec: NodeSpec,
    pub health: Health,
    pub draining: bool,
    /// Thousandths of each GPU that are taken.
    pub gpu_used_milli: Vec<u32>,
    /// MiB of each GPU that are reserved.
    pub gpu_reserved_mib: Vec<u32>,
    pub running: Vec<RunningBrief>,
    pub telemetry: Vec<GpuTelemetry>,
    /// Time since the last heartbeat, in milliseconds; none before the first.
    pub heartbeat_age_ms: Option<u64>,
    pub verdict: Option<Verdict>,
}

/// A job as far as it is known: from the leader while it is active, from its terminal record afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    pub id: JobId,
    pub name: String,
    pub kind: String,
    pub priority: Priority,
    pub state: JobState,
    pub submitted_at_ms: u64,
    #[serde(default)]
    pub ended_at_ms: Option<u64>,
    #[serde(default)]
    pub demand: Option<Demand>,
    /// Where it runs or ran last.
    #[serde(default)]
    pub node: Option<String>,
    #[serde(default)]
    pub progress_permille: u16,
    #[serde(default)]
    pub failures: u32,
    #[serde(default)]
    pub requeues: u32,
    #[serde(default)]
    pub attempts: Vec<AttemptSummary>,
    #[serde(default)]
    pub result: String,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub waiting: Option<WhyWaiting>,
}

/// Figures of the whole cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterStats {
    pub leader: String,
    pub epoch: u64,
    pub leader_since_ms: u64,
    pub policy: String,
    pub nodes_alive: u32,
    pub nodes_suspect: u32,
    pub nodes_gone: u32,
    pub nodes_dead: u32,
    pub nodes_draining: u32,
    pub gpus_total: u32,
    pub gpu_used_milli: u64,
    /// Jobs in JOBS that no scheduler has pulled yet.
    pub queued_in_stream: u64,
    /// Jobs pulled and waiting for room.
    pub queued_held: u64,
    pub running: u64,
    pub placed_total: u64,
    pub requeued_total: u64,
    pub retried_total: u64,
    /// Time from the last sign of life to the requeue, over the last 1,000 lost attempts, in milliseconds.
    pub requeue_p50_ms: u64,
    pub requeue_p95_ms: u64,
    /// Time from the loss of an attempt to the job's next placement, over the last 1,000, in milliseconds.
    pub recovery_p50_ms: u64,
    pub recovery_p95_ms: u64,
    /// Invariants that this leader found broken since its election, and the last of them in words.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub violations_total: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_violation: String,
    pub ledger: LedgerSnapshot,
    pub at_ms: u64,
}

/// `sched.cancel`, a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CancelRequest {
    pub jobs: Vec<JobId>,
    pub by: String,
}

impl Message for CancelRequest {
    const KIND: &'static str = "cancel-request";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelOutcome {
    Cancelled,
    /// It had already ended; see the detail.
    AlreadyEnded,
    NotFound,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CancelAnswer {
    pub job: JobId,
    pub outcome: CancelOutcome,
    #[serde(default)]
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CancelReply {
    pub answers: Vec<CancelAnswer>,
}

impl Message for CancelReply {
    const KIND: &'static str = "cancel-reply";
}
