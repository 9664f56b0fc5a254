//! Keeps what is free usable: the node and the GPU on which a task makes the least of the free GPU share useless to the tasks that usually come.
//!
//! Source: Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent", USENIX ATC'23, with the
//! details of its simulator, from which its figures come. The target workload M has the commonest classes of (CPU, GPU milli, number of GPUs,
//! models) that make up 95 % of the tasks, with frequencies p. A node with free CPU C and free GPU milli r_g, G in all, is fragmented for a
//! class m by all of G when m wants no GPU, or cannot run there; else by the sum of those r_g in which m does not fit. The node's
//! fragmentation F is the mean over M. The score is the sigmoid of how much F falls by the placement, in GPUs.
//!
//! What makes it fast: a class that wants one GPU can use all of a GPU or nothing of it, whatever the others are like. So F is G less a sum over
//! GPUs of r_g times the frequency of the classes that can use it, which is a table of C and r_g; only classes with several GPUs are gone through.

mod table;

use rand_pcg::Pcg64Mcg;

use super::scoring::{MAX_SCORE, Policy};
use crate::class::{Class, TaskClass};
use crate::gpus::{GpuSet, MAX_NODE_GPUS, WHOLE_GPU_MILLI};
use crate::machine::Shape;
use crate::node::NodeId;
use crate::settings::Scores;
use crate::world::World;

use table::{Table, Target};

/// F cannot change by more than a node has.
const LARGEST_FALL_MILLI: f64 = (MAX_NODE_GPUS * WHOLE_GPU_MILLI as usize) as f64;

#[derive(Debug)]
pub(crate) struct Fgd {
    target: Target,
    scores: Scores,
    /// By shape.
    tables: Vec<Table>,
}

impl Fgd {
    /// `None` when the target workload has no task.
    pub(crate) fn new(target: &[(TaskClass, u64)], scores: Scores) -> Option<Self> {
        Some(Self { target: Target::new(target)?, scores, tables: Vec::new() })
    }

    /// The node's fragmentation in GPU milli.
    pub(crate) fn fragmentation(&self, world: &World, node: NodeId) -> f64 {
        let hot = world.hot(node);
        let free = &hot.free_milli[..usize::from(hot.gpus)];
        self.tables[hot.shape as usize].fragmentation(&self.target, hot.free_cpu_milli, free) as f64 / self.target.tasks() as f64
    }

    /// By how much F, times the tasks of the target, falls for each choice of GPUs that is worth a look. All choices for a share are looked
    /// at; of whole GPUs the first idle ones are taken.
    #[inline]
    fn falls(&self, world: &World, class: &Class, node: NodeId, mut look: impl FnMut(GpuSet, i64)) {
        let (hot, task, target) = (world.hot(node), &class.task, &self.target);
        let table = &self.tables[hot.shape as usize];
        let mut free = hot.free_milli;
        let (gpus, idle) = (usize::from(hot.gpus), usize::from(hot.idle_gpus));
        let cpu_milli = hot.free_cpu_milli.saturating_sub(task.cpu_milli);
        let (step_before, step) = (table.cpu_step(hot.free_cpu_milli), table.cpu_step(cpu_milli));
        let (mut before, mut after) = (-table.used_by_several(step_before, hot.free_cpu_milli, &free[..gpus], idle), 0);
        for (gpu, milli) in free[..gpus].iter().enumerate() {
            before += table.lost(target, step_before, gpu, *milli);
            after += table.lost(target, step, gpu, *milli);
        }
        let taken = |gpu: usize, milli: u16| table.lost(target, step, gpu, milli - task.gpu_milli) - table.lost(target, step, gpu, milli);
        let is_idle = |milli: u16| usize::from(milli == WHOLE_GPU_MILLI);
        if task.gpus == 1 && task.gpu_milli < WHOLE_GPU_MILLI {
            let mut last = None;
            for gpu in world.fitting_gpus(class, node).iter() {
                let milli = free[gpu];
                // A GPU like the one before makes no difference.
                if last.replace((milli, table.model_of(gpu))) != Some((milli, table.model_of(gpu))) {
                    free[gpu] = milli - task.gpu_milli;
                    let used = table.used_by_several(step, cpu_milli, &free[..gpus], idle - is_idle(milli));
                    look(GpuSet::only(gpu), before - (after + taken(gpu, milli) - used));
                    free[gpu] = milli;
                }
            }
            return;
        }
        let (mut chosen, mut left) = (GpuSet::default(), idle);
        for gpu in world.fitting_gpus(class, node).iter().take(task.gpus.into()) {
            let milli = free[gpu];
            after += taken(gpu, milli);
            left -= is_idle(milli);
            free[gpu] = milli - task.gpu_milli;
            chosen.insert(gpu);
        }
        look(chosen, before - (after - table.used_by_several(step, cpu_milli, &free[..gpus], left)));
    }

    /// Cut scores are those of the sigmoid. Exact ones need none: it leaves the order as it is.
    fn scored(&self, fall: i64) -> u32 {
        let milli = fall as f64 / self.target.tasks() as f64;
        match self.scores {
            Scores::Cut => (100.0 / (1.0 + (-milli / f64::from(WHOLE_GPU_MILLI)).exp())) as u32,
            Scores::Exact => ((milli + LARGEST_FALL_MILLI) * (f64::from(MAX_SCORE) / (2.0 * LARGEST_FALL_MILLI))) as u32,
        }
    }
}

impl Policy for Fgd {
    fn score(&self, world: &World, class: &Class, node: NodeId) -> u32 {
        let mut most = i64::MIN;
        self.falls(world, class, node, |_, fall| most = most.max(fall));
        self.scored(most)
    }

    /// The first with the best score, cut as scores are cut.
    fn gpus(&self, world: &World, class: &Class, node: NodeId, _rng: &mut Pcg64Mcg) -> GpuSet {
        let mut best = None;
        self.falls(world, class, node, |gpus, fall| {
            let score = self.scored(fall);
            if best.is_none_or(|(highest, _)| score > highest) {
                best = Some((score, gpus));
            }
        });
        best.map(|(_, gpus)| gpus).unwrap_or_default()
    }

    fn full_score(&self) -> u32 {
        match self.scores {
            Scores::Cut => 100,
            Scores::Exact => MAX_SCORE,
        }
    }

    fn learn(&mut self, shapes: &[Shape]) {
        for shape in &shapes[self.tables.len()..] {
            self.tables.push(Table::new(&self.target, shape));
        }
    }
}

#[cfg(test)]
mod tests;
