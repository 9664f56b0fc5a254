//! What a policy is, and how it makes scores of its formula.

use std::fmt::Debug;

use rand_pcg::Pcg64Mcg;

use crate::class::Class;
use crate::gpus::GpuSet;
use crate::machine::Shape;
use crate::node::NodeId;
use crate::settings::Scores;
use crate::world::World;

/// The highest score that there can be.
pub(crate) const MAX_SCORE: u32 = u32::MAX - 1;

/// CPU and GPUs of the largest node that the published policies know, by which they make the two comparable.
pub(crate) const LARGEST_CPU_MILLI: i64 = 128_000;
pub(crate) const LARGEST_GPU_MILLI: i64 = 8_000;

/// How the node is found once all are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    /// The highest score; the tie rule decides among equals.
    Best,
    /// Drawn, whatever the tie rule.
    Drawn,
    /// The next one that fits, in the order of numbers.
    Turns,
}

/// Chooses nodes and GPUs.
pub(crate) trait Policy: Debug + Send {
    /// How good this node is for a task of this class, which fits there. Between 0 and [`MAX_SCORE`]; the highest gets it.
    fn score(&self, world: &World, class: &Class, node: NodeId) -> u32;

    /// The GPUs for a task that fits there.
    fn gpus(&self, world: &World, class: &Class, node: NodeId, _rng: &mut Pcg64Mcg) -> GpuSet {
        world.tightest_gpus(class, node)
    }

    fn search(&self) -> Search {
        Search::Best
    }

    /// The score of a node that everything speaks for; 0 where all nodes get the same.
    fn full_score(&self) -> u32 {
        0
    }

    /// There may be shapes that were not there before.
    fn learn(&mut self, _shapes: &[Shape]) {}

    /// For each node one more than its score, or 0 where the class does not fit. One call for many nodes, so that the score is inlined.
    fn rank_each(&self, world: &World, class: &Class, nodes: &[NodeId], ranks: &mut Vec<u32>) {
        ranks.extend(nodes.iter().map(|node| if world.fits(class, *node) { self.score(world, class, *node) + 1 } else { 0 }));
    }
}

/// `part` of `whole` as a score: cut to hundredths, or as it is, without the last bits where it is too large for a score.
#[inline]
pub(crate) fn scaled(part: i64, whole: i64, scores: Scores) -> u32 {
    let part = part.clamp(0, whole);
    match scores {
        Scores::Cut => (100 * part / whole) as u32,
        Scores::Exact => (part >> (33_u32.saturating_sub(whole.leading_zeros()))) as u32,
    }
}
