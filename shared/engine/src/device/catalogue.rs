//! What GPUs there are and which of them the eight default nodes have. Fixed figures only; how a GPU behaves is in the parent module.
//!
//! Memory, board power and boost clocks are those of NVIDIA's data sheets: "T4 Tensor Core GPU", "V100 Tensor Core GPU" (SXM2),
//! "A100 Tensor Core GPU" (SXM), "L4 Tensor Core GPU", "L40S", "H100 Tensor Core GPU" (SXM5). Data sheets give neither idle power nor
//! idle clocks nor slowdown temperatures: those are what `nvidia-smi -q` of such a board typically shows. Newer boards show a margin
//! (`GPU T.Limit Temp`) instead of a slowdown temperature; there it is current + margin + 2 K, such as 33 + 54 + 2 = 89 for an H100.

use crate::node::GpuDescriptor;

/// One GPU model of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GpuModel {
    /// One token, as in [`GpuDescriptor::model`].
    pub name: &'static str,
    pub memory_mib: u32,
    /// Thermal design power: what the board may draw for long.
    pub tdp_w: f64,
    /// What it draws with nothing on it.
    pub idle_w: f64,
    pub max_sm_clock_mhz: u32,
    pub idle_sm_clock_mhz: u32,
    pub memory_clock_mhz: u32,
    /// HBM keeps its clock when idle, GDDR6 drops it.
    pub idle_memory_clock_mhz: u32,
    /// The clocks are lowered from this core temperature on.
    pub slowdown_c: f64,
}

pub const T4: GpuModel = GpuModel {
    name: "T4",
    memory_mib: 16 * 1024,
    tdp_w: 70.0,
    idle_w: 10.0,
    max_sm_clock_mhz: 1590,
    idle_sm_clock_mhz: 300,
    memory_clock_mhz: 5001,
    idle_memory_clock_mhz: 405,
    slowdown_c: 93.0,
};
pub const V100_32GB: GpuModel = GpuModel {
    name: "V100-32GB",
    memory_mib: 32 * 1024,
    tdp_w: 300.0,
    idle_w: 42.0,
    max_sm_clock_mhz: 1530,
    idle_sm_clock_mhz: 135,
    memory_clock_mhz: 877,
    idle_memory_clock_mhz: 877,
    slowdown_c: 87.0,
};
pub const A100_40GB: GpuModel = GpuModel {
    name: "A100-40GB",
    memory_mib: 40 * 1024,
    tdp_w: 400.0,
    idle_w: 50.0,
    max_sm_clock_mhz: 1410,
    idle_sm_clock_mhz: 210,
    memory_clock_mhz: 1215,
    idle_memory_clock_mhz: 1215,
    slowdown_c: 89.0,
};
pub const A100_80GB: GpuModel = GpuModel {
    name: "A100-80GB",
    memory_mib: 80 * 1024,
    tdp_w: 400.0,
    idle_w: 62.0,
    max_sm_clock_mhz: 1410,
    idle_sm_clock_mhz: 210,
    memory_clock_mhz: 1593,
    idle_memory_clock_mhz: 1593,
    slowdown_c: 89.0,
};
pub const L4: GpuModel = GpuModel {
    name: "L4",
    memory_mib: 24 * 1024,
    tdp_w: 72.0,
    idle_w: 13.0,
    max_sm_clock_mhz: 2040,
    idle_sm_clock_mhz: 210,
    memory_clock_mhz: 6251,
    idle_memory_clock_mhz: 405,
    slowdown_c: 87.0,
};
pub const L40S: GpuModel = GpuModel {
    name: "L40S",
    memory_mib: 48 * 1024,
    tdp_w: 350.0,
    idle_w: 33.0,
    max_sm_clock_mhz: 2520,
    idle_sm_clock_mhz: 210,
    memory_clock_mhz: 9001,
    idle_memory_clock_mhz: 405,
    slowdown_c: 89.0,
};
pub const H100_80GB: GpuModel = GpuModel {
    name: "H100-80GB",
    memory_mib: 80 * 1024,
    tdp_w: 700.0,
    idle_w: 70.0,
    max_sm_clock_mhz: 1980,
    idle_sm_clock_mhz: 345,
    memory_clock_mhz: 2619,
    idle_memory_clock_mhz: 2619,
    slowdown_c: 89.0,
};

/// Every model that can be simulated.
pub const CATALOGUE: [&GpuModel; 7] = [&T4, &V100_32GB, &A100_40GB, &A100_80GB, &L4, &L40S, &H100_80GB];

/// The model of that name.
pub fn find_model(name: &str) -> Option<&'static GpuModel> {
    CATALOGUE.into_iter().find(|model| model.name == name)
}

/// How many different default nodes there are; higher indexes repeat them.
pub const DEFAULT_NODES: usize = 8;
const NODES_PER_RACK: usize = 2;
/// Model, number of GPUs and temperature of the air at the inlet, node by node. The air is within the 18 to 27 C that ASHRAE
/// TC 9.9 recommends, but for node 4: a warm corner, whose rear GPUs throttle when they work at full load for minutes.
const NODES: [(&GpuModel, usize, f64); DEFAULT_NODES] = [
    (&H100_80GB, 8, 22.0),
    (&A100_80GB, 8, 23.0),
    (&A100_40GB, 8, 25.0),
    (&V100_32GB, 8, 30.0),
    (&L40S, 4, 24.0),
    (&L4, 4, 22.0),
    (&T4, 4, 24.0),
    (&T4, 2, 26.0),
];

/// What a simulated node is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct DefaultNode {
    pub model: &'static GpuModel,
    pub gpu_count: usize,
    /// One token; nodes of one rack share power and network.
    pub rack: String,
    /// The number in that name.
    pub rack_number: usize,
    /// Temperature of the air that enters the node.
    pub inlet_c: f64,
}

impl DefaultNode {
    pub fn descriptors(&self) -> Vec<GpuDescriptor> {
        vec![GpuDescriptor { model: self.model.name.to_owned(), memory_mib: self.model.memory_mib }; self.gpu_count]
    }
}

/// The node number `index`, counted from 1 (0 is taken for 1).
pub fn default_node(index: usize) -> DefaultNode {
    let position = index.saturating_sub(1);
    let (model, gpu_count, inlet_c) = NODES[position % DEFAULT_NODES];
    let rack_number = position / NODES_PER_RACK + 1;
    DefaultNode { model, gpu_count, rack: format!("rack-{rack_number}"), rack_number, inlet_c }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{MAX_GPUS, is_token};

    #[test]
    fn models_are_sound_and_found_by_name() {
        for model in CATALOGUE {
            assert!(is_token(model.name));
            assert!(0.0 < model.idle_w && model.idle_w < model.tdp_w);
            assert!(model.idle_sm_clock_mhz < model.max_sm_clock_mhz && model.idle_memory_clock_mhz <= model.memory_clock_mhz);
            assert_eq!(find_model(model.name), Some(model));
        }
        assert_eq!(find_model("GTX-1080"), None);
    }

    #[test]
    fn default_nodes_are_a_mix_that_repeats_in_new_racks() {
        let nodes: Vec<_> = (1..=DEFAULT_NODES).map(default_node).collect();
        assert!(nodes.iter().filter(|node| node.gpu_count == MAX_GPUS as usize).count() >= 3);
        assert!(nodes.iter().all(|node| is_token(&node.rack) && node.descriptors().len() == node.gpu_count));
        assert_eq!(default_node(9).descriptors(), nodes[0].descriptors());
        assert_eq!(default_node(9).rack, "rack-5");
        assert_eq!(default_node(0), nodes[0]);
    }
}
