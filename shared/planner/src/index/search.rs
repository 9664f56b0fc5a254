//! Down the tree to a node: the best one, one of the best drawn, or the next in turn.

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::{FAN, Index};
use crate::node::NodeId;

/// A node that was found, and the next best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) node: NodeId,
    pub(crate) score: u32,
    pub(crate) runner_up: Option<(NodeId, u32)>,
}

/// A part of the tree: its level, counted from 0 for single nodes, its position there, and the best key in it.
#[derive(Clone, Copy)]
struct Part {
    level: usize,
    position: usize,
    key: u64,
}

impl Index {
    /// The best node: the first one by label, or a drawn one where equals are counted.
    pub(crate) fn best(&self, labels: &[u32], rng: &mut Pcg64Mcg) -> Option<Found> {
        let mut runner_up: Option<Part> = None;
        let mut drawn = None;
        let node = self.descend(self.root(), labels, |parts| {
            let chosen = if self.counts_equals { draw(parts, &mut drawn, rng) } else { highest(parts) };
            for (position, part) in parts.iter().enumerate() {
                if position != chosen && part.key > 0 && runner_up.is_none_or(|best| part.key > best.key) {
                    runner_up = Some(*part);
                }
            }
            chosen
        })?;
        let found = |node: usize| (NodeId(node as u32), self.ranks[node] - 1);
        let second = runner_up.and_then(|part| self.descend(part, labels, highest)).map(found);
        let (node, score) = found(node);
        Some(Found { node, score, runner_up: second })
    }

    /// The first node that fits from this number on, and round to the lowest.
    pub(crate) fn next_in_turn(&self, from: usize, labels: &[u32]) -> Option<Found> {
        let beyond = |node: &usize| *node >= from;
        let ahead = self.first_from(from, labels).filter(beyond).or_else(|| self.first_from(0, labels));
        let node = ahead?;
        let after = self.first_from(node + 1, labels).or_else(|| self.first_from(0, labels)).filter(|second| *second != node);
        let found = |node: usize| (NodeId(node as u32), self.ranks[node] - 1);
        Some(Found { node: found(node).0, score: found(node).1, runner_up: after.map(found) })
    }

    fn first_from(&self, from: usize, labels: &[u32]) -> Option<usize> {
        let (mut level, mut position) = (0, from);
        while level <= self.levels.len() {
            let end = self.level_length(level).min((position / FAN + 1) * FAN);
            let found = (position..end).map(|at| self.part(level, at, labels)).find(|part| part.key > 0);
            if let Some(part) = found {
                return self.descend(part, labels, |parts| parts.iter().position(|part| part.key > 0).unwrap_or(0));
            }
            (level, position) = (level + 1, position / FAN + 1);
        }
        None
    }

    fn level_length(&self, level: usize) -> usize {
        if level == 0 { self.ranks.len() } else { self.levels[level - 1].len() }
    }

    /// Everything, as a part above the last level.
    fn root(&self) -> Part {
        Part { level: self.levels.len() + 1, position: 0, key: 0 }
    }

    fn part(&self, level: usize, position: usize, labels: &[u32]) -> Part {
        let key = if level == 0 { self.key(self.ranks[position], labels[position]) } else { self.levels[level - 1][position] };
        Part { level, position, key }
    }

    fn descend(&self, mut part: Part, labels: &[u32], mut choose: impl FnMut(&[Part]) -> usize) -> Option<usize> {
        while part.level > 0 {
            let below = part.level - 1;
            let from = part.position * FAN;
            let mut parts = [Part { level: below, position: 0, key: 0 }; FAN];
            let length = self.level_length(below).saturating_sub(from).min(FAN);
            for (offset, child) in parts[..length].iter_mut().enumerate() {
                *child = self.part(below, from + offset, labels);
            }
            let parts = &parts[..length];
            part = parts.get(choose(parts)).copied().filter(|child| child.key > 0)?;
        }
        Some(part.position)
    }
}

/// One of those with the highest rank. It is drawn once, in the topmost part; below, `drawn` is how many equals lie before it.
fn draw(parts: &[Part], drawn: &mut Option<u64>, rng: &mut Pcg64Mcg) -> usize {
    let rank = parts.iter().map(|part| part.key >> 32).max().unwrap_or(0);
    let equals = |part: &Part| if part.key >> 32 == rank { part.key & u64::from(u32::MAX) } else { 0 };
    let all: u64 = parts.iter().map(equals).sum();
    if rank == 0 {
        return 0;
    }
    let mut before = drawn.unwrap_or_else(|| rng.random_range(0..all));
    for (position, part) in parts.iter().enumerate() {
        match before.checked_sub(equals(part)) {
            Some(rest) => before = rest,
            None => {
                *drawn = Some(before);
                return position;
            }
        }
    }
    0
}

fn highest(parts: &[Part]) -> usize {
    let mut best = 0;
    for (position, part) in parts.iter().enumerate() {
        if part.key > parts[best].key {
            best = position;
        }
    }
    best
}
