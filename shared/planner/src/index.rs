//! The best node of one class without a scan: the class's score of every node, and above it a tree that has the best of each sixteen.
//! A node that changes is scored again when the class is asked for next, and the tree is mended from there up.

mod search;

use crate::class::Class;
use crate::node::NodeId;
use crate::policy::Policy;
use crate::world::World;

pub(crate) use search::Found;

/// Children of a node of the tree.
const FAN: usize = 16;

/// Entries of the log of changes that are passed over for the price of one score.
const LOOKS_FOR_A_SCORE: usize = 8;

/// What indexes need while they catch up; one serves all of them.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    nodes: Vec<NodeId>,
    ranks: Vec<u32>,
    /// Parts of one level of the tree.
    changed: Vec<u32>,
    /// By part: the round in which it was named last.
    named: Vec<u64>,
    round: u64,
}

impl Scratch {
    /// In place of the changed parts those above them, each once.
    fn take_parents(&mut self, parts: usize) {
        self.round += 1;
        if self.named.len() < parts {
            self.named.resize(parts, 0);
        }
        let (named, round) = (&mut self.named, self.round);
        self.changed.retain_mut(|part| {
            *part /= FAN as u32;
            std::mem::replace(&mut named[*part as usize], round) != round
        });
    }
}

/// Which nodes take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum View {
    All,
    /// Those that are kept for a reservation do not.
    Unheld,
}

/// The nodes as one class sees them.
#[derive(Debug)]
pub(crate) struct Index {
    /// Ties are drawn: the tree counts equals instead of ordering them.
    counts_equals: bool,
    view: View,
    /// By node: one more than its score, 0 when it does not fit.
    ranks: Vec<u32>,
    /// From the lowest up: the best key of each sixteen below. The last level has sixteen at most.
    levels: Vec<Vec<u64>>,
    /// The version up to which changes have been taken in.
    read: u64,
    /// Nodes below this number have been scored.
    scored: usize,
    fitting: u32,
}

impl Index {
    pub(crate) fn new(world: &World, view: View, counts_equals: bool) -> Self {
        Self { counts_equals, view, ranks: Vec::new(), levels: vec![Vec::new()], read: world.changes().end(), scored: 0, fitting: 0 }
    }

    /// How many nodes fit.
    pub(crate) fn fitting(&self) -> u32 {
        self.fitting
    }

    /// Bytes that it occupies beside itself.
    pub(crate) fn bytes(&self) -> usize {
        self.ranks.capacity() * size_of::<u32>() + self.levels.iter().map(|level| level.capacity() * size_of::<u64>()).sum::<usize>()
    }

    /// Takes in what has changed. False when the budget of scores did not suffice: then it must be called again before it is asked anything.
    pub(crate) fn catch_up(
        &mut self,
        world: &World,
        policy: &dyn Policy,
        class: &Class,
        scratch: &mut Scratch,
        budget: &mut usize,
    ) -> bool {
        self.grow(world.numbers());
        self.collect_changes(world, scratch, budget);
        self.score(world, policy, class, scratch);
        if self.read < world.changes().end() {
            return false;
        }
        if self.scored < self.ranks.len() {
            let from = self.scored;
            self.scored = self.ranks.len().min(from.saturating_add(*budget));
            *budget -= self.scored - from;
            scratch.nodes.clear();
            scratch.nodes.extend((from as u32..self.scored as u32).map(NodeId));
            self.score(world, policy, class, scratch);
        }
        self.scored == self.ranks.len()
    }

    /// The nodes that have been scored and changed since, each once.
    fn collect_changes(&mut self, world: &World, scratch: &mut Scratch, budget: &mut usize) {
        scratch.nodes.clear();
        let Some(changes) = world.changes().since(self.read) else {
            (self.read, self.scored) = (world.changes().end(), 0);
            return;
        };
        let most = budget.saturating_mul(LOOKS_FOR_A_SCORE);
        let mut spent = 0;
        for (version, node) in changes {
            if spent >= most {
                break;
            }
            spent += 1;
            if node.at() < self.scored && world.version(node) == version {
                scratch.nodes.push(node);
                spent += LOOKS_FOR_A_SCORE - 1;
            }
            self.read = version + 1;
        }
        *budget = budget.saturating_sub(spent.div_ceil(LOOKS_FOR_A_SCORE));
    }

    fn grow(&mut self, nodes: usize) {
        if nodes == self.ranks.len() {
            return;
        }
        self.ranks.resize(nodes, 0);
        let (mut length, mut level) = (nodes, 0);
        loop {
            length = length.div_ceil(FAN);
            if level == self.levels.len() {
                // A new top knows nothing of what is below: everything is scored, and so told to it, again.
                self.levels.push(Vec::new());
                self.scored = 0;
                self.fitting = 0;
                self.ranks.fill(0);
                self.levels.iter_mut().for_each(|level| level.fill(0));
            }
            self.levels[level].resize(length, 0);
            if length <= FAN {
                return;
            }
            level += 1;
        }
    }

    /// Scores the nodes in `scratch` and mends the tree above them, each part of it once.
    fn score(&mut self, world: &World, policy: &dyn Policy, class: &Class, scratch: &mut Scratch) {
        let labels = world.labels();
        scratch.ranks.clear();
        policy.rank_each(world, class, &scratch.nodes, &mut scratch.ranks);
        if self.view == View::Unheld {
            let ranks = scratch.nodes.iter().zip(&mut scratch.ranks);
            ranks.filter(|(node, _)| world.is_held(**node)).for_each(|(_, rank)| *rank = 0);
        }
        scratch.changed.clear();
        for (node, rank) in scratch.nodes.iter().zip(&scratch.ranks) {
            let (node, old) = (node.at(), std::mem::replace(&mut self.ranks[node.at()], *rank));
            if old == 0 && *rank == 0 {
                continue;
            }
            self.fitting = self.fitting - u32::from(old > 0) + u32::from(*rank > 0);
            let block = node / FAN;
            let (kept, new) = (self.levels[0][block], self.key(*rank, labels[node]));
            let best = if self.counts_equals { counted(kept, old, new) } else { ordered(kept, old, new) };
            let best = best.unwrap_or_else(|| self.best_of_nodes(block, labels));
            if best != kept {
                self.levels[0][block] = best;
                scratch.changed.push(block as u32);
            }
        }
        for level in 1..self.levels.len() {
            scratch.take_parents(self.levels[level].len());
            let levels = &mut self.levels;
            let counts_equals = self.counts_equals;
            scratch.changed.retain(|block| {
                let best = best_of_parts(&levels[level - 1], *block as usize, counts_equals);
                std::mem::replace(&mut levels[level][*block as usize], best) != best
            });
        }
    }

    fn best_of_nodes(&self, block: usize, labels: &[u32]) -> u64 {
        let from = block * FAN;
        let to = self.ranks.len().min(from + FAN);
        let keys = self.ranks[from..to].iter().zip(&labels[from..to]).map(|(rank, label)| self.key(*rank, *label));
        if self.counts_equals { keys.fold(0, |best, key| sum_up(best, &key)) } else { keys.max().unwrap_or(0) }
    }

    /// What is compared: the rank, and behind it the place among equals, or how many equals there are.
    fn key(&self, rank: u32, label: u32) -> u64 {
        let behind = if self.counts_equals { 1 } else { u32::MAX - label };
        if rank == 0 { 0 } else { u64::from(rank) << 32 | u64::from(behind) }
    }
}

fn best_of_parts(below: &[u64], block: usize, counts_equals: bool) -> u64 {
    let from = block * FAN;
    let parts = &below[from..below.len().min(from + FAN)];
    if counts_equals { parts.iter().fold(0, sum_up) } else { parts.iter().copied().max().unwrap_or(0) }
}

/// The best of sixteen nodes after the rank of one of them was `old` and its key is `new`; `None` when the others must be looked at. Its place
/// among equals may have changed as well, so its old key is not known.
fn ordered(kept: u64, old: u32, new: u64) -> Option<u64> {
    match () {
        () if new >= kept => Some(new),
        () if u64::from(old) < kept >> 32 => Some(kept),
        () => None,
    }
}

/// The same where equals are counted.
fn counted(kept: u64, old: u32, new: u64) -> Option<u64> {
    let highest = kept >> 32;
    if new >> 32 > highest {
        return Some(new);
    }
    let (gone, come) = (u64::from(u64::from(old) == highest), u64::from(new >> 32 == highest));
    let count = (kept & u64::from(u32::MAX)) + come - gone;
    (count > 0).then_some(highest << 32 | count)
}

/// Equals together, or the better of two.
fn sum_up(one: u64, other: &u64) -> u64 {
    if one >> 32 == other >> 32 { one + (other & u64::from(u32::MAX)) } else { one.max(*other) }
}
