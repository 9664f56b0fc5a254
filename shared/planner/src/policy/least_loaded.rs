//! Spreads: the node of whose scarcest resource the largest part is free. It evens out load, and leaves large holes nowhere.
//!
//! Source: the Kubernetes scheduler's `LeastAllocated` strategy of `NodeResourcesFit`, with the smallest part in place of the mean, so that a
//! node with free CPU and no free GPU does not count as half empty.

use super::scoring::{MAX_SCORE, Policy};
use crate::class::Class;
use crate::node::{NodeId, UNBOUNDED};
use crate::settings::Scores;
use crate::world::World;

#[derive(Debug)]
pub(super) struct LeastLoaded {
    pub(super) scores: Scores,
}

impl Policy for LeastLoaded {
    #[inline]
    fn score(&self, world: &World, _class: &Class, node: NodeId) -> u32 {
        let (hot, whole) = (world.hot(node), world.parts(node));
        let part = |free: u32, of_one: f32| if free == UNBOUNDED { 1.0 } else { free as f32 * of_one };
        let gpus = if hot.gpus == 0 { 1.0 } else { hot.free_gpu_milli as f32 * whole.gpu };
        let free = gpus
            .min(part(hot.free_cpu_milli, whole.cpu))
            .min(part(hot.free_memory_mib, whole.memory))
            .min(part(hot.free_slots, whole.slots));
        match self.scores {
            // The part is one of whole numbers, with a rounding error that must not cost it a hundredth.
            Scores::Cut => (free * 100.0 + 0.001) as u32,
            Scores::Exact => ((free * (1 << 20) as f32 + 0.5) as u32).min(MAX_SCORE),
        }
    }

    fn full_score(&self) -> u32 {
        match self.scores {
            Scores::Cut => 100,
            Scores::Exact => 1 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Bench, gpu_task};

    #[test]
    fn the_scarcest_resource_counts() {
        let mut bench = Bench::new(LeastLoaded { scores: Scores::Cut });
        // 2 GPUs, 10 cores, 8 slots: half a GPU leaves 75 % of the GPUs, 7 of 8 slots.
        let node = bench.join("n", 2, Some(10_000), Some(8));
        bench.place(node, gpu_task(1, 500, 1_000));
        assert_eq!(bench.score(node, gpu_task(1, 100, 0)), 75);
        // 6 of 10 cores more: 30 % of the CPU is left.
        bench.place(node, gpu_task(0, 0, 6_000));
        assert_eq!(bench.score(node, gpu_task(1, 100, 0)), 30);
    }

    #[test]
    fn what_a_node_does_not_say_counts_as_free() {
        let mut bench = Bench::new(LeastLoaded { scores: Scores::Cut });
        let node = bench.join("n", 0, None, None);
        assert_eq!(bench.score(node, gpu_task(0, 0, 1_000)), 100);
    }
}
