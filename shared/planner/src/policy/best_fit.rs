//! Packs: the node that has the least left afterwards, so that large holes stay for large tasks.
//!
//! Source: the baseline `BestFit` of FGD (Weng et al., USENIX ATC'23). With C and G the node's free CPU and GPU milli and c and D what the task takes: `100 * (1 - 0.5 * (C - c) / 128000 - 0.5 * (G - D) / 8000)`.

use super::scoring::{LARGEST_CPU_MILLI, LARGEST_GPU_MILLI, Policy, scaled};
use crate::class::Class;
use crate::node::NodeId;
use crate::settings::Scores;
use crate::world::World;

/// The whole of both terms over a common denominator: a GPU milli weighs as much as 16 CPU milli.
const WHOLE: i64 = 2 * LARGEST_CPU_MILLI;
const GPU_WEIGHT: i64 = LARGEST_CPU_MILLI / LARGEST_GPU_MILLI;

#[derive(Debug)]
pub(super) struct BestFit {
    pub(super) scores: Scores,
}

impl Policy for BestFit {
    #[inline]
    fn score(&self, world: &World, class: &Class, node: NodeId) -> u32 {
        let hot = world.hot(node);
        let cpu_left = (i64::from(hot.known_cpu_milli()) - i64::from(class.task.cpu_milli)).max(0);
        let gpu_left = i64::from(hot.free_gpu_milli) - i64::from(class.all_gpu_milli());
        scaled(WHOLE - cpu_left - GPU_WEIGHT * gpu_left, WHOLE, self.scores)
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
        let mut bench = Bench::new(BestFit { scores: Scores::Cut });
        let node = bench.join("n", 4, Some(64_000), None);
        // Left: 56,000 CPU and 3,500 GPU milli: 100 * (1 - 0.21875 - 0.21875) = 56.25.
        assert_eq!(bench.score(node, gpu_task(1, 500, 8_000)), 56);
        bench.place(node, gpu_task(2, 1000, 32_000));
        // Left: 24,000 and 1,500: 100 * (1 - 0.09375 - 0.09375) = 81.25.
        assert_eq!(bench.score(node, gpu_task(1, 500, 8_000)), 81);
    }

    #[test]
    fn the_fuller_node_gets_it_even_by_one_thousandth_and_the_fuller_gpu() {
        let mut bench = Bench::new(BestFit { scores: Scores::Exact });
        let (looser, tighter) = (bench.join("a", 2, None, None), bench.join("b", 2, None, None));
        bench.place(looser, gpu_task(1, 300, 0));
        bench.place(tighter, gpu_task(1, 301, 0));
        let (node, placement) = bench.take(gpu_task(1, 200, 0)).unwrap();
        assert_eq!((node, placement.gpus.iter().collect::<Vec<_>>()), (tighter, vec![0]));
    }
}
