//! The jobs that wait, class by class, and which class goes next. A class for which no node has room stands aside until a node gains: the
//! jobs of other classes then go ahead of it, and it is not tried again in between.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::class::ClassId;

/// The bytes of a job's name: a number of 128 bits, and an index for jobs that share it. Of jobs with the same order the lowest goes first.
pub type JobKey = [u8; 18];

/// A job's place in the order of service: the lowest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn {
    pub order: u64,
    pub job: JobKey,
}

/// Where a waiting job stands in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How many jobs wait, this one among them.
    pub waiting: usize,
    /// How many of them go before it.
    pub ahead: usize,
    /// How many of those are of its class.
    pub ahead_in_class: usize,
}

/// The waiting jobs of one class.
#[derive(Debug, Default)]
pub(crate) struct Line {
    turns: BTreeSet<Turn>,
    stands_aside: bool,
}

/// All that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    lines: Vec<Line>,
    /// The first job of each class that does not stand aside.
    heads: BTreeSet<(Turn, ClassId)>,
    aside: Vec<ClassId>,
    jobs: usize,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.jobs
    }

    pub(crate) fn len_of(&self, class: ClassId) -> usize {
        self.lines.get(class.at()).map_or(0, |line| line.turns.len())
    }

    pub(crate) fn insert(&mut self, class: ClassId, turn: Turn) -> bool {
        if self.lines.len() <= class.at() {
            self.lines.resize_with(class.at() + 1, Line::default);
        }
        let line = &mut self.lines[class.at()];
        let head = line.turns.first().copied();
        let is_new = line.turns.insert(turn);
        self.jobs += usize::from(is_new);
        if is_new && !line.stands_aside && head.is_none_or(|head| turn < head) {
            if let Some(head) = head {
                self.heads.remove(&(head, class));
            }
            self.heads.insert((turn, class));
        }
        is_new
    }

    pub(crate) fn remove(&mut self, class: ClassId, turn: Turn) -> bool {
        let Some(line) = self.lines.get_mut(class.at()) else { return false };
        if !line.turns.remove(&turn) {
            return false;
        }
        self.jobs -= 1;
        if !line.stands_aside && self.heads.remove(&(turn, class)) {
            self.heads.extend(line.turns.first().map(|head| (*head, class)));
        }
        if line.stands_aside && line.turns.is_empty() {
            line.stands_aside = false;
            self.aside.retain(|other| *other != class);
        }
        true
    }

    /// The job that goes next.
    pub(crate) fn first(&self) -> Option<(Turn, ClassId)> {
        self.heads.first().copied()
    }

    /// The first job of each class that does not stand aside, in the order of turns.
    pub(crate) fn heads(&self) -> impl Iterator<Item = (Turn, ClassId)> + '_ {
        self.heads.iter().copied()
    }

    /// The job of a class that comes behind this one.
    pub(crate) fn after(&self, class: ClassId, turn: Turn) -> Option<Turn> {
        self.lines.get(class.at())?.turns.range((Bound::Excluded(turn), Bound::Unbounded)).next().copied()
    }

    /// How many jobs wait in classes that do not stand aside: they have yet to be tried.
    pub(crate) fn untried(&self) -> usize {
        self.lines.iter().filter(|line| !line.stands_aside).map(|line| line.turns.len()).sum()
    }

    /// Where a job stands, whether or not it waits. Goes through all that go before it.
    pub(crate) fn standing(&self, class: ClassId, turn: Turn) -> Standing {
        let before = |line: &Line| line.turns.range(..turn).count();
        let ahead = self.lines.iter().map(before).sum();
        Standing { waiting: self.jobs, ahead, ahead_in_class: self.lines.get(class.at()).map_or(0, before) }
    }

    /// All jobs of a class, in their order.
    pub(crate) fn turns(&self, class: ClassId) -> impl Iterator<Item = Turn> + '_ {
        self.lines.get(class.at()).into_iter().flat_map(|line| line.turns.iter().copied())
    }

    pub(crate) fn stands_aside(&self, class: ClassId) -> bool {
        self.lines.get(class.at()).is_some_and(|line| line.stands_aside)
    }

    /// The job of a class that goes next.
    pub(crate) fn head(&self, class: ClassId) -> Option<Turn> {
        self.lines.get(class.at()).and_then(|line| line.turns.first().copied())
    }

    /// Nothing fits the class now.
    pub(crate) fn step_aside(&mut self, class: ClassId) {
        let line = &mut self.lines[class.at()];
        if let Some(head) = line.turns.first()
            && !std::mem::replace(&mut line.stands_aside, true)
        {
            self.heads.remove(&(*head, class));
            self.aside.push(class);
        }
    }

    /// The classes that stand aside.
    pub(crate) fn aside(&self) -> &[ClassId] {
        &self.aside
    }

    /// Those of which this holds take part again.
    pub(crate) fn rejoin(&mut self, mut has_room: impl FnMut(ClassId) -> bool) {
        let (lines, heads) = (&mut self.lines, &mut self.heads);
        self.aside.retain(|class| {
            let rejoins = has_room(*class);
            if rejoins {
                let line = &mut lines[class.at()];
                line.stands_aside = false;
                heads.extend(line.turns.first().map(|head| (*head, *class)));
            }
            !rejoins
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_that_stands_aside_keeps_its_place() {
        let (large, small) = (ClassId(0), ClassId(1));
        let turn = |order| Turn { order, job: [0; 18] };
        let mut waiting = Waiting::default();
        for (class, order) in [(large, 2), (large, 1), (small, 3), (small, 4)] {
            assert!(waiting.insert(class, turn(order)));
        }
        assert!(!waiting.insert(small, turn(4)));
        assert_eq!(waiting.first(), Some((turn(1), large)));
        waiting.step_aside(large);
        assert_eq!(waiting.first(), Some((turn(3), small)));
        assert!(waiting.insert(large, turn(0)) && waiting.first() == Some((turn(3), small)));
        waiting.rejoin(|class| class == large);
        assert_eq!(waiting.first(), Some((turn(0), large)));
        assert!(waiting.remove(large, turn(0)) && !waiting.remove(large, turn(0)));
        assert_eq!((waiting.first(), waiting.len(), waiting.len_of(large)), (Some((turn(1), large)), 4, 2));
    }
}
