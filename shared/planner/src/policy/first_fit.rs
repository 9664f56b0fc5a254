//! All nodes that fit are equal, so the tie rule alone decides: with `first`, the node that joined first.
//!
//! Source: first fit of bin packing (Johnson 1973). Over a fixed random order of the nodes it beats most published policies on openb, see
//! docs/planner.md.

use super::scoring::Policy;
use crate::class::Class;
use crate::node::NodeId;
use crate::world::World;

#[derive(Debug)]
pub(super) struct FirstFit;

impl Policy for FirstFit {
    #[inline]
    fn score(&self, _world: &World, _class: &Class, _node: NodeId) -> u32 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Bench, gpu_task};

    #[test]
    fn the_node_that_joined_first_is_taken_until_it_is_full() {
        let mut bench = Bench::new(FirstFit);
        let (first, second) = (bench.join("b", 1, None, None), bench.join("a", 1, None, None));
        let taken: Vec<_> = (0..4).map(|_| bench.take(gpu_task(1, 500, 0)).map(|(node, _)| node)).collect();
        assert_eq!(taken, [Some(first), Some(first), Some(second), Some(second)]);
        assert_eq!(bench.take(gpu_task(1, 500, 0)), None);
    }
}
