//! The nodes of a run.

use faultline_planner::{Gpu, Machine, WHOLE_GPU_MILLI};

/// Nodes in the order in which they join. A node's number is its position.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    pub machines: Vec<Machine>,
    /// How many of the last nodes are kept empty until one that is in service is down.
    pub spares: usize,
}

/// A model of node, as presets and generated clusters have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeModel {
    pub gpus: u8,
    pub model: String,
    pub gpu_memory_mib: u32,
    /// `None`: CPU and memory limit nothing.
    pub cpu_milli: Option<u32>,
    pub memory_mib: Option<u32>,
}

impl NodeModel {
    /// Eight GPUs and nothing else that limits.
    pub fn eight_gpus(model: &str) -> Self {
        Self { gpus: 8, model: model.to_owned(), gpu_memory_mib: 81_920, cpu_milli: None, memory_mib: None }
    }
}

impl Cluster {
    /// So many equal nodes, so many to a rack and racks to a block.
    pub fn uniform(nodes: usize, model: &NodeModel, rack_nodes: usize, block_racks: usize) -> Self {
        let gpu = Gpu { model: model.model.clone(), memory_mib: model.gpu_memory_mib };
        let width = nodes.max(1).ilog10() as usize + 1;
        let machines = (0..nodes).map(|at| {
            let rack = at / rack_nodes.max(1);
            Machine {
                name: format!("n{at:0width$}"),
                cpu_milli: model.cpu_milli,
                memory_mib: model.memory_mib,
                slots: None,
                gpus: vec![gpu.clone(); usize::from(model.gpus)],
                kinds: Vec::new(),
                rack: format!("r{rack}"),
                block: format!("b{}", rack / block_racks.max(1)),
            }
        });
        Self { machines: machines.collect(), spares: 0 }
    }

    /// One pool of processors without any structure, as logs of batch systems have it: nodes with one processor each, as GPUs.
    pub fn processors(count: usize) -> Self {
        let model = NodeModel { gpus: 1, ..NodeModel::eight_gpus("processor") };
        Self::uniform(count, &model, count.max(1), 1)
    }

    pub fn with_spares(self, spares: usize) -> Self {
        Self { spares: spares.min(self.machines.len()), ..self }
    }

    /// Thousandths of GPUs of a node.
    pub fn gpu_milli(&self, node: usize) -> u32 {
        self.machines[node].gpus.len() as u32 * u32::from(WHOLE_GPU_MILLI)
    }

    /// Thousandths of GPUs of all nodes.
    pub fn all_gpu_milli(&self) -> u64 {
        (0..self.machines.len()).map(|node| u64::from(self.gpu_milli(node))).sum()
    }
}
