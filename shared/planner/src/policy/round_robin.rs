//! Takes turns: the next node after the last one that has room. The tie rule has no say.
//!
//! Source: none in particular; it is the oldest way to share work out.

use super::scoring::{Policy, Search};
use crate::class::Class;
use crate::node::NodeId;
use crate::world::World;

#[derive(Debug)]
pub(super) struct RoundRobin;

impl Policy for RoundRobin {
    #[inline]
    fn score(&self, _world: &World, _class: &Class, _node: NodeId) -> u32 {
        0
    }

    fn search(&self) -> Search {
        Search::Turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Bench, gpu_task};

    #[test]
    fn turns_go_round_and_pass_over_full_nodes() {
        let mut bench = Bench::new(RoundRobin);
        let nodes = [1, 2, 1].map(|gpus| bench.join(&format!("n{}", bench.len()), gpus, None, None));
        let taken: Vec<_> = (0..4).filter_map(|_| bench.take(gpu_task(1, 1000, 0))).map(|(node, _)| node).collect();
        assert_eq!(taken, [nodes[0], nodes[1], nodes[2], nodes[1]]);
    }
}
