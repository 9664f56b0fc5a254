//! What is pushed of one node: everything but what the packed frames carry.

use faultline_engine::job::JobId;
use faultline_engine::node::Health;
use faultline_protocol::messages::FaultTruth;
use serde::Serialize;
use utoipa::ToSchema;

use super::entry::Entry;

const MAX_RUNNING_SHOWN: usize = 4;
const MAX_NAME_CHARS: usize = 40;

/// A fault that a node has: the truth of it, not what was detected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct NodeFault {
    /// A ULID.
    pub(crate) id: String,
    /// One word in snake_case, such as `crash`.
    pub(crate) kind: String,
    pub(crate) from_ms: u64,
    /// The planned end, if there is one.
    pub(crate) until_ms: Option<u64>,
}

impl From<&FaultTruth> for NodeFault {
    fn from(truth: &FaultTruth) -> Self {
        let clip = |text: &str| text.chars().take(MAX_NAME_CHARS).collect();
        Self { id: clip(&truth.id), kind: clip(&truth.kind), from_ms: truth.from_ms, until_ms: truth.until_ms }
    }
}

/// A running job of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct RunningShown {
    pub(crate) job: JobId,
    pub(crate) progress_permille: u16,
}

/// A node in a push.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct NodeRow {
    pub(crate) node: String,
    pub(crate) worker: String,
    pub(crate) rack: String,
    /// Of its first GPU.
    pub(crate) model: String,
    pub(crate) gpus: u32,
    /// Of one GPU.
    pub(crate) gpu_memory_mib: u32,
    pub(crate) health: Health,
    pub(crate) draining: bool,
    pub(crate) incarnation: u64,
    /// The detector's suspicion when it last spoke; 0 before.
    pub(crate) phi: f64,
    pub(crate) running: u32,
    /// The first few of them.
    pub(crate) running_jobs: Vec<RunningShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<NodeFault>,
    /// Simulated failures in percent a minute.
    pub(crate) fail_percent_per_min: f64,
    /// When this row was made; none before the first heartbeat.
    pub(crate) heartbeat_age_ms: Option<u64>,
}

impl NodeRow {
    pub(super) fn new(node: &str, entry: &Entry, draining: bool, fault: Option<&NodeFault>, now_ms: u64) -> Self {
        let running = entry.running();
        let gpu = entry.first_gpu();
        NodeRow {
            node: node.to_owned(),
            worker: entry.worker().to_owned(),
            rack: entry.rack().to_owned(),
            model: gpu.map(|gpu| gpu.model.clone()).unwrap_or_default(),
            gpus: entry.gpus(),
            gpu_memory_mib: gpu.map(|gpu| gpu.memory_mib).or(entry.telemetry().first().and_then(|gpu| gpu.memory_total_mib)).unwrap_or(0),
            health: entry.health(),
            draining,
            incarnation: entry.incarnation(),
            phi: entry.verdict_on_this_life().map_or(0.0, |verdict| verdict.phi),
            running: u32::try_from(running.len()).unwrap_or(u32::MAX),
            running_jobs: running
                .iter()
                .take(MAX_RUNNING_SHOWN)
                .map(|run| RunningShown { job: run.job, progress_permille: run.progress_permille })
                .collect(),
            fault: fault.cloned(),
            fail_percent_per_min: entry.fail_percent_per_min(),
            heartbeat_age_ms: entry.heartbeat_age_ms(now_ms),
        }
    }

    /// Whether the two say the same, whenever they were made.
    pub(crate) fn says_the_same_as(&self, other: &NodeRow) -> bool {
        let at_that_age = |row: &NodeRow| NodeRow { heartbeat_age_ms: None, ..row.clone() };
        at_that_age(self) == at_that_age(other)
    }
}
