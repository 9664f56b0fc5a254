//! Nodes as the cluster sees them: what they are made of, how they are, and what their GPUs report.
//! How a simulated GPU behaves lives in `device`; who decides that a node is dead lives in `detector`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One GPU of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GpuDescriptor {
    /// Model name as one token, such as `H100-80GB`.
    pub model: String,
    /// 0 when the GPU does not say: no job that asks for GPU memory is placed there.
    pub memory_mib: u32,
}

/// What a node is, unchanging through one incarnation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeSpec {
    /// One token, such as `gpu-node-01`.
    pub node: String,
    /// The process that hosts it, one token.
    pub worker: String,
    /// Which life of the node this is; grows with every restart.
    pub incarnation: u64,
    pub gpus: Vec<GpuDescriptor>,
    pub rack: String,
    /// The most attempts that may run at once, whatever their GPU shares.
    pub slots: u32,
    /// The job kinds that its executors run, by their first part: `service` stands for every `service:NAME`.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Simulated failures in percent a minute; 0 for a real machine.
    #[serde(default)]
    pub fault_percent_per_min: f64,
    /// `simulated` or `nvml`.
    pub telemetry_source: String,
    /// Why the machine's real GPUs cannot be used, if they cannot: the node then offers no GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_problem: Option<String>,
}

/// The detector's opinion of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Heartbeats arrive.
    Alive,
    /// Heartbeats are late: nothing new is placed there.
    Suspect,
    /// It does not answer when asked: its work is requeued, which is cheap if it was a false alarm.
    Gone,
    /// Given up, until it comes back with a heartbeat.
    Dead,
}

impl Health {
    pub const ALL: [Health; 4] = [Self::Alive, Self::Suspect, Self::Gone, Self::Dead];

    pub fn as_str(self) -> &'static str {
        match self {
            Health::Alive => "alive",
            Health::Suspect => "suspect",
            Health::Gone => "gone",
            Health::Dead => "dead",
        }
    }
}

/// What one GPU reports once a second. A reading is absent where the GPU does not give it: a board without a memory sensor, a GPU in
/// MIG mode, a virtual GPU, one that fell off the bus. Absent is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GpuTelemetry {
    /// Share of the last second in which the GPU worked, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilisation_percent: Option<f32>,
    /// Share of the last second in which its memory was read or written, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_utilisation_percent: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_mib: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_total_mib: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_temperature_c: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_w: Option<f32>,
    /// Energy since the device was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_j: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sm_clock_mhz: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_clock_mhz: Option<u32>,
    /// Whether the clocks are lowered because of heat or power.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled: Option<bool>,
    /// The last XID error code since the GPU was reset; 0 for none. Absent where the driver does not report XIDs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xid: Option<u32>,
    /// Whether nothing can run on it until it has been reset.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub out_of_service: bool,
}

impl GpuTelemetry {
    /// What is still known of a GPU that does not answer: how much memory it had, and its last XID.
    pub fn of_unreachable(self) -> Self {
        Self { memory_total_mib: self.memory_total_mib, xid: self.xid, ..Self::default() }
    }

    /// Used memory as a share of all its memory, 0 to 100.
    pub fn memory_percent(&self) -> Option<f32> {
        let (used, total) = (self.memory_used_mib?, self.memory_total_mib.filter(|&total| total > 0)?);
        Some((f64::from(used) * 100.0 / f64::from(total)) as f32)
    }
}
