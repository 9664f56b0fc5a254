//! The order among equals, as one number for each node: the lowest goes first. So a tie rule costs a comparison, and an index needs no names.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::node::NodeId;
use crate::tie::TieRule;

/// The gap left behind the last name, for names to come.
const GAP: u32 = 1 << 12;

#[derive(Debug)]
pub(crate) struct Order {
    tie: TieRule,
    labels: Vec<u32>,
    /// The last label that was given, where they are given in turn.
    last: u32,
    /// Only for the rule by name.
    by_name: BTreeMap<Box<str>, NodeId>,
}

impl Order {
    pub(crate) fn new(tie: TieRule) -> Self {
        Self { tie, labels: Vec::new(), last: 0, by_name: BTreeMap::new() }
    }

    pub(crate) fn tie(&self) -> TieRule {
        self.tie
    }

    pub(crate) fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Returns whether other nodes have new labels too.
    pub(crate) fn joined(&mut self, node: NodeId, name: &str) -> bool {
        self.labels.resize(self.labels.len().max(node.at() + 1), 0);
        match self.tie {
            TieRule::Random | TieRule::LeastRecentlyUsed => {
                self.labels[node.at()] = 0;
                false
            }
            TieRule::First => self.next(node),
            TieRule::ByName => self.by_name(node, name),
        }
    }

    pub(crate) fn left(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// A task was placed there. Returns whether other nodes have new labels too.
    pub(crate) fn used(&mut self, node: NodeId) -> bool {
        self.tie == TieRule::LeastRecentlyUsed && self.next(node)
    }

    fn next(&mut self, node: NodeId) -> bool {
        let has_room = self.last < u32::MAX;
        if !has_room {
            self.close_gaps();
        }
        self.last += 1;
        self.labels[node.at()] = self.last;
        !has_room
    }

    /// All numbers are used up: the same order with the lowest ones.
    fn close_gaps(&mut self) {
        let mut sorted: Vec<usize> = (0..self.labels.len()).filter(|at| self.labels[*at] > 0).collect();
        sorted.sort_by_key(|at| self.labels[*at]);
        self.last = sorted.len() as u32;
        for (rank, at) in (1..).zip(sorted) {
            self.labels[at] = rank;
        }
    }

    fn by_name(&mut self, node: NodeId, name: &str) -> bool {
        let label = |found: Option<(&Box<str>, &NodeId)>| found.map(|(_, other)| self.labels[other.at()]);
        let before = label(self.by_name.range::<str, _>((Bound::Unbounded, Bound::Excluded(name))).next_back()).unwrap_or(0);
        let after = label(self.by_name.range::<str, _>((Bound::Excluded(name), Bound::Unbounded)).next());
        self.by_name.insert(name.into(), node);
        let between = match after {
            Some(after) => before + (after - before) / 2,
            None => before.saturating_add(GAP),
        };
        if between > before && between < u32::MAX {
            self.labels[node.at()] = between;
            return false;
        }
        let gap = u32::MAX / (self.by_name.len() as u32 + 1);
        for (rank, other) in (1..).zip(self.by_name.values()) {
            self.labels[other.at()] = rank * gap;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_run_out_are_given_anew_in_the_same_order() {
        let mut order = Order::new(TieRule::LeastRecentlyUsed);
        for node in 0..3 {
            assert!(!order.joined(NodeId(node), "x"));
        }
        order.last = u32::MAX - 2;
        assert!(!order.used(NodeId(2)) && !order.used(NodeId(0)));
        assert!(order.used(NodeId(2)));
        assert_eq!(order.labels(), [2, 0, 3]);
    }

    #[test]
    fn names_keep_their_order_whatever_order_they_come_in() {
        let mut order = Order::new(TieRule::ByName);
        let mut names = Vec::new();
        let mut anew = 0;
        for number in 0..200_u32 {
            // Each lies between the first name and the one before it: the worst for labels.
            names.push(format!("n{:05}", if number == 0 { 0 } else { 1000 - number }));
            anew += u32::from(order.joined(NodeId(number), &names[number as usize]));
        }
        assert!(anew > 0, "gaps were never used up");
        let mut sorted: Vec<usize> = (0..names.len()).collect();
        sorted.sort_by_key(|at| order.labels()[*at]);
        assert!(sorted.is_sorted_by_key(|at| &names[*at]));
    }
}
