//! Aligns: the node where the product of what is free and what is asked is the smallest.
//!
//! Source: the baseline `DotProd` of FGD (Weng et al., USENIX ATC'23). With C and G the node's free CPU and GPU milli and c and D what the task takes: `100 * (1 - 0.5 * (C * c / 128000^2 + G * D / 8000^2))`.

use super::scoring::{LARGEST_CPU_MILLI, LARGEST_GPU_MILLI, Policy, scaled};
use crate::class::Class;
use crate::node::NodeId;
use crate::settings::Scores;
use crate::world::World;

/// Both terms over a common denominator.
const WHOLE: i64 = 2 * LARGEST_CPU_MILLI * LARGEST_CPU_MILLI;
const GPU_WEIGHT: i64 = (LARGEST_CPU_MILLI / LARGEST_GPU_MILLI) * (LARGEST_CPU_MILLI / LARGEST_GPU_MILLI);

#[derive(Debug)]
pub(super) struct DotProduct {
    pub(super) scores: Scores,
}

impl Policy for DotProduct {
    #[inline]
    fn score(&self, world: &World, class: &Class, node: NodeId) -> u32 {
        let hot = world.hot(node);
        let cpu = i64::from(hot.known_cpu_milli()) * i64::from(class.task.cpu_milli);
        let gpu = i64::from(hot.free_gpu_milli) * i64::from(class.all_gpu_milli());
        scaled(WHOLE - cpu - GPU_WEIGHT * gpu, WHOLE, self.scores)
    }

    fn full_score(&self) -> u32 {
        scaled(WHOLE, WHOLE, self.scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Bench, gpu_task};

    #[test]
    fn the_formula_by_hand() {
        let mut bench = Bench::new(DotProduct { scores: Scores::Cut });
        let node = bench.join("n", 4, Some(64_000), None);
        // 64,000 * 32,000 / 128,000^2 = 0.125 and 4,000 * 2,000 / 8,000^2 = 0.125: 100 * (1 - 0.125) = 87.5.
        assert_eq!(bench.score(node, gpu_task(2, 1000, 32_000)), 87);
        bench.place(node, gpu_task(2, 1000, 32_000));
        // 0.0625 and 0.0625: 93.75.
        assert_eq!(bench.score(node, gpu_task(2, 1000, 32_000)), 93);
    }
}
