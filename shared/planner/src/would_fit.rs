//! What would become of tasks that came now. Nothing is booked: the nodes that they would go to are copied, and the tasks are tried out on
//! the copy.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use rand::{Rng, RngExt};

use crate::class::{Class, Reason, TaskClass};
use crate::decision::{Placed, Why};
use crate::node::NodeId;
use crate::planner::Planner;
use crate::policy::Search;
use crate::tie::TieRule;

/// What would become of tasks of one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WouldFit {
    /// Those that have room, in the order in which they would be placed.
    pub placed: Vec<Placed>,
    /// How many nodes refuse the next one, and why; empty when all have room.
    pub refusals: Vec<(Reason, u32)>,
    /// How many nodes could run one if they were open and empty.
    pub able: u32,
}

/// A node with room: its score, its place among equals (the lowest goes first), and its number.
type Candidate = (u32, Reverse<u64>, Reverse<NodeId>);

impl Planner {
    /// What would become of `count` tasks that came now, when nothing that waits goes before them. Looks at all nodes, and copies one more than
    /// there are tasks. Where the policy or the tie rule draws, another draw decides when tasks do come.
    pub fn would_fit(&self, task: &TaskClass, count: usize) -> WouldFit {
        let mut class = Class::new(task.clone());
        class.learn(self.world.shapes());
        let mut rng = self.rng.clone();
        let mut candidates: Vec<Candidate> = self.world.nodes().filter_map(|node| self.candidate(&class, node, &mut rng)).collect();
        let mut fitting = candidates.len() as u32;
        // A node that gets a task changes, and the others stay as they are: only the best can come into it, and one more as the runner-up.
        if candidates.len() > count + 1 {
            candidates.select_nth_unstable_by(count, |one, other| other.cmp(one));
            candidates.truncate(count + 1);
        }
        candidates.sort_unstable_by(|one, other| other.cmp(one));
        let nodes: Vec<NodeId> = candidates.iter().map(|(_, _, Reverse(node))| *node).collect();
        let mut sketch = self.world.sketch(&nodes);
        let mut heads: BinaryHeap<Candidate> =
            (0..).zip(&candidates).map(|(at, (score, place, _))| (*score, *place, Reverse(NodeId(at)))).collect();
        let mut placed = Vec::new();
        while placed.len() < count
            && let Some((score, Reverse(place), Reverse(node))) = heads.pop()
        {
            let gpus = self.policy.gpus(&sketch, &class, node, &mut rng);
            let mut placement = sketch.take(node, task, gpus);
            placement.node = nodes[node.at()];
            let runner_up = heads.peek().map(|(score, _, Reverse(second))| (nodes[second.at()], *score));
            placed.push(Placed { placement, why: Why { score, runner_up, fitting, nodes: self.world.len() as u32 } });
            if sketch.fits(&class, node) {
                heads.push((
                    self.policy.score(&sketch, &class, node),
                    Reverse(self.place_again(place, placed.len(), &mut rng)),
                    Reverse(node),
                ));
            } else {
                fitting -= 1;
            }
        }
        // Once one is refused, all nodes that had room are in the copy.
        let refusals = if placed.len() < count { sum_up(self.world.refusals(&class), sketch.refusals(&class)) } else { Vec::new() };
        WouldFit { placed, refusals, able: self.world.able(&class) }
    }

    fn candidate(&self, class: &Class, node: NodeId, rng: &mut impl Rng) -> Option<Candidate> {
        if !self.world.fits(class, node) {
            return None;
        }
        let numbers = self.world.numbers();
        let (score, place) = match self.search {
            Search::Best => (self.policy.score(&self.world, class, node), u64::from(self.world.labels()[node.at()])),
            Search::Drawn => (self.policy.score(&self.world, class, node), rng.random()),
            Search::Turns => (0, ((node.at() + numbers - self.turn.min(numbers)) % numbers) as u64),
        };
        Some((score, Reverse(place), Reverse(node)))
    }

    /// The place among equals of a node that got one more task, of so many.
    fn place_again(&self, place: u64, tasks: usize, rng: &mut impl Rng) -> u64 {
        match (self.search, self.world.tie()) {
            (Search::Best, TieRule::LeastRecentlyUsed) => u64::from(u32::MAX) + tasks as u64,
            (Search::Best, _) => place,
            (Search::Drawn, _) => rng.random(),
            (Search::Turns, _) => place + self.world.numbers() as u64,
        }
    }
}

fn sum_up(one: Vec<(Reason, u32)>, other: Vec<(Reason, u32)>) -> Vec<(Reason, u32)> {
    let mut counts = BTreeMap::new();
    for (reason, nodes) in one.into_iter().chain(other) {
        *counts.entry(reason).or_default() += nodes;
    }
    counts.into_iter().collect()
}
