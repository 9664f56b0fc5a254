//! What the planner is told of nodes and jobs, in its words. It has books of its own, of everything that placement looks at; the scheduler's are those of the
//! protocol. `sanity` holds the two against each other.

use faultline_planner::{MAX_NODE_GPUS, Machine, Planner, Settings, TaskClass, TieRule, Turn};

use super::policy::PolicyName;
use crate::job::{Demand, JobId, JobSpec, Priority};
use crate::node::NodeSpec;

/// What a live scheduler's planner is made with. Of equal nodes the lowest name is taken, so that the order in which nodes registered decides nothing.
pub fn planner_settings(policy: PolicyName, seed: u64) -> Settings {
    Settings { policy: policy.in_planner(), tie: TieRule::ByName, seed, ..Settings::default() }
}

pub(super) fn new_planner(policy: PolicyName, seed: u64) -> Planner {
    Planner::new(&planner_settings(policy, seed))
        .unwrap_or_else(|invalid| unreachable!("a policy that can be set needs no other settings: {invalid}"))
}

pub(super) fn task_class(spec: &JobSpec) -> TaskClass {
    task_class_of(&spec.demand, &spec.kind)
}

/// What a job with this demand and of this kind asks of a node.
pub fn task_class_of(demand: &Demand, kind: &str) -> TaskClass {
    let short = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    TaskClass {
        cpu_milli: 0,
        memory_mib: 0,
        gpus: short(demand.gpu_count()),
        gpu_milli: short(demand.milli_per_gpu()),
        gpu_memory_mib: demand.gpu_memory_mib,
        models: demand.models.clone(),
        kind: kind.to_owned(),
    }
}

/// The node as the planner knows it. Of one with more GPUs than it knows, the others stay free.
pub fn machine_of(spec: &NodeSpec) -> Machine {
    let gpu = |gpu: &crate::node::GpuDescriptor| faultline_planner::Gpu { model: gpu.model.clone(), memory_mib: gpu.memory_mib };
    Machine {
        name: spec.node.clone(),
        cpu_milli: None,
        memory_mib: None,
        slots: Some(spec.slots),
        gpus: spec.gpus.iter().take(MAX_NODE_GPUS).map(gpu).collect(),
        kinds: spec.kinds.clone(),
        rack: spec.rack.clone(),
        block: String::new(),
    }
}

/// A waiting job's place in the order of service. Aging is part of it: a job one priority lower goes first once it has waited one aging
/// step longer, so no job starves behind a stream of urgent work. The times are those at which JetStream stored the jobs: one clock for all
/// of them. Submitters' clocks decide nothing.
pub(super) fn turn(spec: &JobSpec, stored_at_ms: u64, aging_ms: u64) -> Turn {
    turn_of(spec.id, spec.priority, stored_at_ms, aging_ms)
}

/// The same of a job of which no more is known.
pub fn turn_of(job: JobId, priority: Priority, stored_at_ms: u64, aging_ms: u64) -> Turn {
    let order = stored_at_ms.saturating_add(aging_ms.saturating_mul(priority as u64));
    Turn { order, job: job.to_bytes() }
}
