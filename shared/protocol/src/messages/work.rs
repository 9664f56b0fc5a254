//! Scheduler to worker and back: assignments, ended attempts, and what a worker runs when a new leader asks.

pub use faultline_engine::job::{Assignment, EndedAttempt, RunningAttempt};
use serde::{Deserialize, Serialize};

use crate::codec::Message;

/// `assign.<worker>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssignBatch {
    /// The lease under which this was decided; a lower one than the highest seen is refused.
    pub epoch: u64,
    pub assignments: Vec<Assignment>,
}

impl Message for AssignBatch {
    const KIND: &'static str = "assign-batch";
}

/// `sched.ended`: frees the resources at once. May be lost: heartbeats say the same a second later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndedBatch {
    pub worker: String,
    pub ended: Vec<EndedAttempt>,
}

impl Message for EndedBatch {
    const KIND: &'static str = "ended-batch";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeSync {
    pub node: String,
    pub incarnation: u64,
    pub running: Vec<RunningAttempt>,
}

/// `sched.synced`: the answer to `ctl.all.sync`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerSync {
    pub worker: String,
    pub epoch: u64,
    pub nodes: Vec<NodeSync>,
}

impl Message for WorkerSync {
    const KIND: &'static str = "worker-sync";
}
