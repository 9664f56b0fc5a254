//! From nodes to all services, and the detector's verdicts.

use faultline_engine::job::{AttemptId, JobId};
use faultline_engine::node::{GpuTelemetry, Health, NodeSpec};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::codec::message;

/// KV NODES `<node>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeRegistration {
    pub spec: NodeSpec,
    pub registered_at_ms: u64,
    /// Which of its processes this is, from 1. The incarnation is what fences lives off; this is a small number that a seed's faults
    /// depend on. 0 when it is not said.
    #[serde(default, skip_serializing_if = "faultline_engine::unset::is_default")]
    pub life: u64,
}

message!(NodeRegistration, "node-registration");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunningBrief {
    pub attempt: AttemptId,
    pub job: JobId,
    pub progress_permille: u16,
    /// The lease under which it was placed.
    #[serde(default, skip_serializing_if = "faultline_engine::unset::is_default")]
    pub epoch: u64,
}

/// `node.hb.<node>`, once a second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    pub node: String,
    pub worker: String,
    pub incarnation: u64,
    pub seq: u64,
    pub sent_at_ms: u64,
    pub running: Vec<RunningBrief>,
    pub gpus: Vec<GpuTelemetry>,
    /// It stops as soon as its attempts have ended: nothing new should go there.
    #[serde(default)]
    pub leaving: bool,
}

message!(Heartbeat, "heartbeat");

/// `node.bye.<node>`: a node that leaves on purpose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Goodbye {
    pub node: String,
    pub worker: String,
    pub incarnation: u64,
    pub reason: String,
}

message!(Goodbye, "goodbye");

/// `node.verdict.<node>` and KV HEALTH `<node>`: the detector's opinion with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    pub node: String,
    pub worker: String,
    pub incarnation: u64,
    pub health: Health,
    /// Which detector spoke, such as `phi-accrual`.
    pub detector: String,
    /// The suspicion level when it spoke; 0 where the detector has none.
    pub phi: f64,
    /// Time since the last heartbeat, in milliseconds.
    pub silence_ms: u64,
    /// What it rests on, in words.
    pub evidence: String,
    pub at_ms: u64,
}

message!(Verdict, "verdict");
