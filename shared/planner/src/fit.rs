//! Whether a node has room for a task, on which of its GPUs, and why not.

use std::collections::BTreeMap;

use crate::class::{Class, Closed, Reason};
use crate::gpus::{GpuSet, WHOLE_GPU_MILLI};
use crate::node::{NodeId, UNBOUNDED};
use crate::world::World;

/// As many tasks as are counted on one node that says no limit.
const MOST_TASKS: u32 = 1 << 16;

impl World {
    /// Whether the node can take a task of this class now.
    #[inline]
    pub(crate) fn fits(&self, class: &Class, node: NodeId) -> bool {
        let (task, hot) = (&class.task, self.hot(node));
        if !hot.open || hot.free_cpu_milli < task.cpu_milli || hot.free_memory_mib < task.memory_mib || hot.free_slots == 0 {
            return false;
        }
        let Ok(acceptable) = class.by_shape(hot.shape) else { return false };
        // What holds of all GPUs together is known, and mostly settles it.
        let all_would_do = acceptable.len() == usize::from(hot.gpus) && task.gpu_memory_mib == 0;
        match task.gpus {
            0 => true,
            1 if hot.largest_milli < task.gpu_milli => false,
            1 if all_would_do => true,
            wanted if task.gpu_milli == WHOLE_GPU_MILLI && u16::from(hot.idle_gpus) < wanted => false,
            _ if task.gpu_milli == WHOLE_GPU_MILLI && all_would_do => true,
            wanted => self.fitting_gpus(class, node).len() >= usize::from(wanted),
        }
    }

    /// How many tasks of this class the node can take now, one after the other. Exact, except for tasks that take a share of several GPUs
    /// each: the choice of GPUs may let in fewer of those.
    pub(crate) fn capacity(&self, class: &Class, node: NodeId) -> u32 {
        if !self.fits(class, node) {
            return 0;
        }
        let (task, hot) = (&class.task, self.hot(node));
        let times = |free: u32, one: u32| if free == UNBOUNDED { MOST_TASKS } else { free.checked_div(one).unwrap_or(MOST_TASKS) };
        let host = times(hot.free_cpu_milli, task.cpu_milli).min(times(hot.free_memory_mib, task.memory_mib)).min(hot.free_slots);
        let on_gpu = |gpu: usize| {
            let memory = times(self.cold(node).free_mib[gpu], task.gpu_memory_mib);
            times(hot.free_milli[gpu].into(), task.gpu_milli.into()).min(memory)
        };
        let on_gpus = match task.gpus {
            0 => MOST_TASKS,
            1 => self.fitting_gpus(class, node).iter().map(on_gpu).sum(),
            wanted => {
                let places: u32 = self.fitting_gpus(class, node).iter().map(on_gpu).sum();
                places / u32::from(wanted)
            }
        };
        host.min(on_gpus).clamp(1, MOST_TASKS)
    }

    /// The GPUs of a node that have room for the task's share.
    pub(crate) fn fitting_gpus(&self, class: &Class, node: NodeId) -> GpuSet {
        let hot = self.hot(node);
        let mut fitting = GpuSet::default();
        if let Ok(acceptable) = class.by_shape(hot.shape) {
            let memory_mib = class.task.gpu_memory_mib;
            for gpu in acceptable.iter() {
                if hot.free_milli[gpu] >= class.task.gpu_milli && (memory_mib == 0 || self.cold(node).free_mib[gpu] >= memory_mib) {
                    fitting.insert(gpu);
                }
            }
        }
        fitting
    }

    /// The fitting GPUs with the least left, as many as the task wants: whole GPUs stay whole.
    pub(crate) fn tightest_gpus(&self, class: &Class, node: NodeId) -> GpuSet {
        let hot = self.hot(node);
        let mut left = self.fitting_gpus(class, node);
        let mut chosen = GpuSet::default();
        for _ in 0..class.task.gpus {
            let Some(gpu) = left.iter().min_by_key(|gpu| hot.free_milli[*gpu]) else { break };
            chosen.insert(gpu);
            left.set(gpu, false);
        }
        chosen
    }

    /// Why the node cannot take a task of this class now; `None` when it can.
    pub(crate) fn refusal(&self, class: &Class, node: NodeId) -> Option<Reason> {
        let (task, hot, cold) = (&class.task, self.hot(node), self.cold(node));
        let acceptable = match class.by_shape(hot.shape) {
            Ok(acceptable) => acceptable,
            Err(reason) => return Some(reason),
        };
        let fewer = |fitting: usize| fitting < usize::from(task.gpus);
        let in_service = || acceptable.iter().filter(|gpu| !cold.out_of_service.contains(*gpu));
        match () {
            () if !hot.open => Some(Reason::Closed(cold.closed.unwrap_or(Closed::NotAlive))),
            () if hot.free_slots == 0 => Some(Reason::SlotsTaken),
            () if fewer(in_service().count()) => Some(Reason::GpuOutOfService),
            () if fewer(in_service().filter(|gpu| hot.free_milli[*gpu] >= task.gpu_milli).count()) => Some(Reason::GpuShareTaken),
            () if fewer(self.fitting_gpus(class, node).len()) => Some(Reason::GpuMemoryTaken),
            () if hot.free_cpu_milli < task.cpu_milli => Some(Reason::CpuTaken),
            () if hot.free_memory_mib < task.memory_mib => Some(Reason::MemoryTaken),
            () => None,
        }
    }

    /// How many nodes refuse a task of this class, and why.
    pub(crate) fn refusals(&self, class: &Class) -> Vec<(Reason, u32)> {
        let mut counts = BTreeMap::new();
        for reason in self.nodes().filter_map(|node| self.refusal(class, node)) {
            *counts.entry(reason).or_default() += 1;
        }
        counts.into_iter().collect()
    }
}
