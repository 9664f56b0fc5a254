//! Draws: every node that has room is as likely as the others, and so is every GPU with room for a share. The baseline that others must beat.
//!
//! Source: the baseline `Random` of FGD (Weng et al., USENIX ATC'23), whose figures are those that docs/planner.md compares with.

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::scoring::{Policy, Search};
use crate::class::Class;
use crate::gpus::GpuSet;
use crate::node::NodeId;
use crate::world::World;

#[derive(Debug)]
pub(super) struct Random;

impl Policy for Random {
    #[inline]
    fn score(&self, _world: &World, _class: &Class, _node: NodeId) -> u32 {
        0
    }

    fn gpus(&self, world: &World, class: &Class, node: NodeId, rng: &mut Pcg64Mcg) -> GpuSet {
        let mut left = world.fitting_gpus(class, node);
        let mut drawn = GpuSet::default();
        for _ in 0..class.task.gpus {
            if let Some(gpu) = left.iter().nth(rng.random_range(0..left.len())) {
                drawn.insert(gpu);
                left.set(gpu, false);
            }
        }
        drawn
    }

    fn search(&self) -> Search {
        Search::Drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Bench, gpu_task};

    #[test]
    fn each_node_and_each_gpu_gets_its_share() {
        let mut bench = Bench::new(Random);
        for name in ["a", "b", "c"] {
            bench.join(name, 2, None, None);
        }
        let full = bench.join("d", 1, None, None);
        bench.place(full, gpu_task(1, 1000, 0));
        let mut counts = [[0; 2]; 4];
        for _ in 0..600 {
            let (node, placement) = bench.take(gpu_task(1, 500, 0)).unwrap();
            counts[node.at()][placement.gpus.iter().next().unwrap()] += 1;
            bench.give(&placement);
        }
        // 100 each, and a standard deviation of 9.
        assert!(counts[..3].iter().flatten().all(|count| (60..140).contains(count)), "{counts:?}");
        assert_eq!(counts[3], [0, 0]);
    }
}
