//! Keeps tasks of a size together, so that nodes with shares and nodes with whole GPUs stay apart.
//!
//! Source: the baseline `GpuClustering` of FGD (Weng et al., USENIX ATC'23). Sizes are a share, 1, 2, up to 4, and more GPUs. In whole numbers, with G the node's free GPU milli: `25 * (8000 - G) / 8000`, and beside it 75 when only tasks of
//! this size run there, 50 when others do too, 25 when no task with a GPU runs there, 0 when only others do. A task without a GPU scores 0.

use super::scoring::{LARGEST_GPU_MILLI, Policy};
use crate::class::{Class, Size};
use crate::node::NodeId;
use crate::world::World;

#[derive(Debug)]
pub(super) struct GpuClustering;

impl Policy for GpuClustering {
    #[inline]
    fn score(&self, world: &World, class: &Class, node: NodeId) -> u32 {
        let Some(size) = Size::of(class.task.gpus.into(), class.task.gpu_milli) else { return 0 };
        let running = &world.cold(node).running;
        let of_size = running[size as usize];
        let all: u16 = running.iter().sum();
        let company = match (of_size, all) {
            (_, 0) => 25,
            (0, _) => 0,
            _ if of_size == all => 75,
            _ => 50,
        };
        let free = i64::from(world.hot(node).free_gpu_milli);
        company + (25 * (LARGEST_GPU_MILLI - free).max(0) / LARGEST_GPU_MILLI) as u32
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
    fn company_by_hand() {
        let mut bench = Bench::new(GpuClustering);
        let node = bench.join("n", 4, None, None);
        let share = || gpu_task(1, 500, 0);
        assert_eq!(bench.score(node, share()), 25 + 12, "nobody there: 25 * 4000 / 8000 = 12");
        bench.place(node, share());
        assert_eq!(bench.score(node, share()), 75 + 14, "25 * 4500 / 8000 = 14.06");
        assert_eq!(bench.score(node, gpu_task(1, 1000, 0)), 14, "only others");
        bench.place(node, gpu_task(1, 1000, 0));
        assert_eq!(bench.score(node, share()), 50 + 17, "25 * 5500 / 8000 = 17.2");
        assert_eq!(bench.score(node, gpu_task(0, 0, 1_000)), 0);
    }
}
