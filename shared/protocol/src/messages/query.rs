//! `sched.query` and `sched.cancel`: what the leading scheduler answers. The same types are the REST API's.

use faultline_engine::job::{AttemptOutcome, AttemptSummary, Demand, InvalidJob, JobId, Priority, Submission};
use faultline_engine::node::{GpuTelemetry, Health, NodeSpec};
use faultline_engine::scheduler::{ProgramStanding, WhyWaiting, WouldFit, check_would_fit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::goodput::GoodputHistory;
use super::jobs::{JobState, LedgerSnapshot};
use super::nodes::{RunningBrief, Verdict};
use crate::codec::message;

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
    /// What would become of jobs that were submitted now. Submits and books nothing.
    WouldFit(WouldFitQuery),
    /// Where GPU time went in the last hour.
    Goodput,
}

/// Equal jobs that are not submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WouldFitQuery {
    pub demand: Demand,
    /// Empty for one that every node runs.
    #[serde(default)]
    pub kind: String,
    pub count: u32,
}

impl WouldFitQuery {
    /// # Errors
    /// Names the field that cannot be meant.
    pub fn validate(&self) -> Result<(), InvalidJob> {
        check_would_fit(&self.demand, &self.kind, self.count)
    }
}

message!(Query, "query");

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryReply {
    Stats(Box<ClusterStats>),
    Nodes(Vec<NodeView>),
    Jobs(Vec<JobView>),
    WouldFit(Box<WouldFit>),
    Goodput(Box<GoodputHistory>),
    /// The query could not be answered: in words.
    Error(String),
}

message!(QueryReply, "query-reply");

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
    /// What was submitted: parameters, demand, limits, and who submitted it as the submitter states it. Only where one job is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submission: Option<Submission>,
}

impl JobView {
    /// A job that waits, and of which no more is known.
    pub fn queued(id: JobId, name: String, kind: String, priority: Priority, submitted_at_ms: u64) -> Self {
        Self {
            id,
            name,
            kind,
            priority,
            state: JobState::Queued,
            submitted_at_ms,
            ended_at_ms: None,
            demand: None,
            node: None,
            progress_permille: 0,
            failures: 0,
            requeues: 0,
            attempts: Vec::new(),
            result: String::new(),
            reason: String::new(),
            waiting: None,
            submission: None,
        }
    }

    /// The job with what was submitted.
    pub fn with_submission(self, submission: Option<Submission>) -> Self {
        Self { demand: submission.as_ref().map(|submission| submission.demand.clone()).or(self.demand), submission, ..self }
    }

    /// As people and programs outside read it: with the words for why each node was chosen, which do not travel over NATS.
    pub fn said(mut self) -> Self {
        self.attempts.iter_mut().for_each(AttemptSummary::say);
        self
    }

    /// How it stands, in the words of the glossary.
    pub fn state_words(&self) -> &'static str {
        match self.state {
            JobState::Queued if self.waits_for_retry() => "waiting for a retry",
            JobState::Abandoned if self.is_lost() => "lost",
            state => state.words(),
        }
    }

    /// Whether it was queued, and its message left JOBS before it had ended. Its record is that of an abandoned job, with this reason.
    pub fn is_lost(&self) -> bool {
        self.state == JobState::Abandoned && self.reason.starts_with("lost:")
    }

    /// Whether its last attempt failed and it has not been placed since.
    pub fn waits_for_retry(&self) -> bool {
        let last = self.attempts.last().map(|row| row.outcome);
        self.state == JobState::Queued && matches!(last, Some(AttemptOutcome::Failed | AttemptOutcome::TimedOut))
    }
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
    /// Attempts that were interrupted.
    pub requeued_total: u64,
    pub retried_total: u64,
    /// Time from the last sign of life to the requeue, over the last 1,000 interrupted attempts, in milliseconds.
    pub requeue_p50_ms: u64,
    pub requeue_p95_ms: u64,
    /// The reaction: from the verdict that interrupted an attempt to the next placement of its job, over the last 1,000, in milliseconds. Called
    /// recovery before that word was kept for the time from the fault on.
    pub recovery_p50_ms: u64,
    pub recovery_p95_ms: u64,
    /// Invariants that this leader found broken since its election, and the last of them in words.
    #[serde(default, skip_serializing_if = "faultline_engine::unset::is_default")]
    pub violations_total: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_violation: String,
    /// What workers refused of this leader since its election, because they had heard of a higher epoch.
    #[serde(default, skip_serializing_if = "faultline_engine::unset::is_default")]
    pub refused_total: u64,
    /// Which worker refuses this leader now, and why; empty when none does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refusal: String,
    /// How it stands with the policy program, where the policy is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_program: Option<ProgramStanding>,
    pub ledger: LedgerSnapshot,
    pub at_ms: u64,
}

/// `sched.cancel`, a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CancelRequest {
    pub jobs: Vec<JobId>,
    pub by: String,
}

message!(CancelRequest, "cancel-request");

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

message!(CancelReply, "cancel-reply");
