//! Fills GPUs that are in use first, then nodes that are in use, then others.
//!
//! Source: the baseline `GpuPacking` of FGD (Weng et al., USENIX ATC'23). All in whole numbers. A task without a GPU
//! scores 0. Where no GPU is in use, with n GPUs: `max(33 - n, n)`. Otherwise the fitting GPUs with the least free are taken; if u > 0 of them are
//! wholly idle: `max(50 - u, 33)`; if none: `max(100 - (sum of free * 100 / 1000) / 10, 50)`.

use super::scoring::Policy;
use crate::class::Class;
use crate::gpus::WHOLE_GPU_MILLI;
use crate::node::NodeId;
use crate::world::World;

#[derive(Debug)]
pub(super) struct GpuPacking;

impl Policy for GpuPacking {
    #[inline]
    fn score(&self, world: &World, class: &Class, node: NodeId) -> u32 {
        let hot = world.hot(node);
        if class.task.gpus == 0 {
            return 0;
        }
        if hot.idle_gpus == hot.gpus {
            let gpus = u32::from(hot.gpus);
            return 33_u32.saturating_sub(gpus).max(gpus);
        }
        if class.task.gpu_milli == WHOLE_GPU_MILLI {
            return 50_u32.saturating_sub(u32::from(class.task.gpus)).max(33);
        }
        let (mut idle, mut free_hundredths) = (0, 0);
        for gpu in world.tightest_gpus(class, node).iter() {
            let milli = u32::from(hot.free_milli[gpu]);
            idle += u32::from(milli == u32::from(WHOLE_GPU_MILLI));
            free_hundredths += milli * 100 / 1000;
        }
        if idle > 0 { 50_u32.saturating_sub(idle).max(33) } else { 100_u32.saturating_sub(free_hundredths / 10).max(50) }
    }

    fn full_score(&self) -> u32 {
        100
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Bench, gpu_task};

    #[test]
    fn the_three_steps_by_hand() {
        let mut bench = Bench::new(GpuPacking);
        let node = bench.join("n", 4, None, None);
        assert_eq!(bench.score(node, gpu_task(0, 0, 1_000)), 0);
        assert_eq!(bench.score(node, gpu_task(1, 500, 0)), 29, "all idle: 33 - 4");
        bench.place(node, gpu_task(1, 300, 0));
        assert_eq!(bench.score(node, gpu_task(1, 500, 0)), 93, "700 free: 100 - 70 / 10");
        assert_eq!(bench.score(node, gpu_task(1, 800, 0)), 49, "an idle GPU of a node in use: 50 - 1");
        assert_eq!(bench.score(node, gpu_task(2, 1000, 0)), 48);
    }
}
