//! Scheduler to worker and back: assignments, ended attempts, and what a worker runs when a new leader asks.

use faultline_engine::job::AttemptId;
pub use faultline_engine::job::{Assignment, EndedAttempt, RunningAttempt};
use serde::{Deserialize, Serialize};

use crate::codec::message;

/// `assign.<worker>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssignBatch {
    /// The lease under which this was decided; a lower one than the highest seen is refused.
    pub epoch: u64,
    pub assignments: Vec<Assignment>,
}

message!(AssignBatch, "assign-batch");

/// `sched.ended`: frees the resources at once. May be lost: heartbeats say the same a second later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndedBatch {
    pub worker: String,
    pub ended: Vec<EndedAttempt>,
}

message!(EndedBatch, "ended-batch");

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeSync {
    pub node: String,
    pub incarnation: u64,
    pub running: Vec<RunningAttempt>,
    #[serde(default, skip_serializing_if = "NodeSyncPart::is_whole")]
    pub part: NodeSyncPart,
}

/// Which part of a node's answer this is, when one message does not hold all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSyncPart {
    /// The number of the answer, as its worker counts them.
    pub answer: u64,
    /// From 0.
    pub index: u32,
    /// How many there are; 0 for an answer in one message.
    pub of: u32,
}

impl NodeSyncPart {
    fn is_whole(&self) -> bool {
        self.of == 0
    }
}

/// `sched.synced`: the answer to `ctl.all.sync`, and the refusal of whatever else a leader of too low an epoch says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerSync {
    pub worker: String,
    /// The leader's, which this answers.
    pub epoch: u64,
    /// Empty when it is refused.
    pub nodes: Vec<NodeSync>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<EpochRefused>,
}

/// The leader that is answered has an epoch below one that the worker has heard of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRefused {
    /// The highest epoch that the worker has heard of.
    pub newest: u64,
    /// What it was told to run and does not.
    pub attempts: Vec<AttemptId>,
}

message!(WorkerSync, "worker-sync");
