//! The jobs that wait, in lines of jobs that ask for the same. What does not fit for the first of a line does not fit for the others: the line
//! stands aside until a node gains.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use super::gang::Gang;
use super::request::JobNumber;

/// Lines in which no job waits are kept until there are more lines than this.
const KEPT_LINES: usize = 1024;

/// A job's place in the order: the lowest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// 255 less the job's priority.
    pub(crate) step: u8,
    pub(crate) rank: u64,
    pub(crate) submitted_ms: u64,
    pub(crate) job: JobNumber,
}

/// A line's number. It is given anew once the line is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LineId(u32);

impl LineId {
    fn at(self) -> usize {
        self.0 as usize
    }
}

/// What the jobs of one line have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Demand {
    pub(crate) gang: Gang,
    pub(crate) queue: u32,
    pub(crate) preemptible: bool,
}

#[derive(Debug)]
struct Line {
    demand: Demand,
    /// With how long each is expected to run, `u64::MAX` when nothing is known about it.
    jobs: BTreeMap<Key, u64>,
    /// No job of the line is expected to run for less.
    shortest_ms: u64,
    stands_aside: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: Vec<Line>,
    numbers: HashMap<Demand, LineId>,
    vacant: Vec<LineId>,
    /// The first job of each line, and of each line that does not stand aside.
    heads: BTreeSet<(Key, LineId)>,
    active: BTreeSet<(Key, LineId)>,
    aside: Vec<LineId>,
    jobs: usize,
}

impl Lines {
    pub(crate) fn len(&self) -> usize {
        self.jobs
    }

    pub(crate) fn demand(&self, line: LineId) -> &Demand {
        &self.lines[line.at()].demand
    }

    pub(crate) fn line(&mut self, demand: &Demand) -> LineId {
        if let Some(line) = self.numbers.get(demand) {
            return *line;
        }
        if self.numbers.len() >= KEPT_LINES {
            self.forget_empty();
        }
        let new = Line { demand: *demand, jobs: BTreeMap::new(), shortest_ms: u64::MAX, stands_aside: false };
        let number = match self.vacant.pop() {
            Some(number) => {
                self.lines[number.at()] = new;
                number
            }
            None => {
                self.lines.push(new);
                LineId(self.lines.len() as u32 - 1)
            }
        };
        self.numbers.insert(*demand, number);
        number
    }

    fn forget_empty(&mut self) {
        let (lines, vacant) = (&self.lines, &mut self.vacant);
        let before = vacant.len();
        self.numbers.retain(|_, line| {
            let is_empty = lines[line.at()].jobs.is_empty();
            if is_empty {
                vacant.push(*line);
            }
            !is_empty
        });
        vacant[before..].sort_unstable();
    }

    pub(crate) fn insert(&mut self, number: LineId, key: Key, expected_ms: u64) {
        let line = &mut self.lines[number.at()];
        let head = line.jobs.first_key_value().map(|(key, _)| *key);
        line.jobs.insert(key, expected_ms);
        line.shortest_ms = line.shortest_ms.min(expected_ms);
        self.jobs += 1;
        if head.is_none_or(|head| key < head) {
            let aside = line.stands_aside;
            if let Some(head) = head {
                self.drop_head(head, number);
            }
            self.set_head(key, number, aside);
        }
    }

    fn drop_head(&mut self, key: Key, line: LineId) {
        self.heads.remove(&(key, line));
        self.active.remove(&(key, line));
    }

    fn set_head(&mut self, key: Key, line: LineId, aside: bool) {
        self.heads.insert((key, line));
        if !aside {
            self.active.insert((key, line));
        }
    }

    pub(crate) fn remove(&mut self, number: LineId, key: Key) {
        let line = &mut self.lines[number.at()];
        let was_head = line.jobs.first_key_value().is_some_and(|(head, _)| *head == key);
        if line.jobs.remove(&key).is_none() {
            return;
        }
        self.jobs -= 1;
        let aside = line.stands_aside;
        let next = line.jobs.first_key_value().map(|(key, _)| *key);
        if next.is_none() {
            line.stands_aside = false;
            line.shortest_ms = u64::MAX;
        }
        if was_head {
            self.drop_head(key, number);
        }
        match next {
            Some(next) if was_head => self.set_head(next, number, aside),
            None if aside => self.aside.retain(|other| *other != number),
            _ => {}
        }
    }

    pub(crate) fn stands_aside(&self, line: LineId) -> bool {
        self.lines[line.at()].stands_aside
    }

    /// The jobs of a line in their order, with how long each is expected to run.
    pub(crate) fn jobs(&self, line: LineId) -> impl Iterator<Item = (Key, u64)> + '_ {
        self.lines[line.at()].jobs.iter().map(|(key, expected_ms)| (*key, *expected_ms))
    }

    /// The first job behind `key` in its line that is expected to run for less than `below_ms`.
    pub(crate) fn next_shorter(&self, line: LineId, key: Key, below_ms: u64) -> Option<Key> {
        let line = &self.lines[line.at()];
        if line.shortest_ms >= below_ms {
            return None;
        }
        let behind = line.jobs.range((Bound::Excluded(key), Bound::Unbounded));
        behind.into_iter().find(|(_, expected_ms)| **expected_ms < below_ms).map(|(key, _)| *key)
    }

    /// The jobs of a line that are expected to run for less than `below_ms`.
    pub(crate) fn shorter(&self, line: LineId, below_ms: u64) -> impl Iterator<Item = Key> + '_ {
        let line = Some(&self.lines[line.at()]).filter(|line| line.shortest_ms < below_ms);
        let jobs = line.into_iter().flat_map(|line| line.jobs.iter());
        jobs.filter(move |(_, expected_ms)| **expected_ms < below_ms).map(|(key, _)| *key)
    }

    /// The job behind `key` in its line.
    pub(crate) fn next(&self, line: LineId, key: Key) -> Option<Key> {
        self.lines[line.at()].jobs.range((Bound::Excluded(key), Bound::Unbounded)).next().map(|(key, _)| *key)
    }

    /// The first job of all.
    pub(crate) fn first(&self) -> Option<(Key, LineId)> {
        self.heads.first().copied()
    }

    /// Of the jobs that are first in their line the next behind a job.
    pub(crate) fn next_head(&self, behind: Option<(Key, LineId)>) -> Option<(Key, LineId)> {
        self.heads.range((behind.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)).next().copied()
    }

    /// The first jobs of all lines, in their order.
    pub(crate) fn heads(&self) -> impl Iterator<Item = (Key, LineId)> + '_ {
        self.heads.iter().copied()
    }

    /// The first jobs of lines that do not stand aside, in their order.
    pub(crate) fn active(&self) -> impl Iterator<Item = (Key, LineId)> + '_ {
        self.active.iter().copied()
    }

    /// The first job of all whose line does not stand aside.
    pub(crate) fn first_active(&self) -> Option<(Key, LineId)> {
        self.active.first().copied()
    }

    /// Nothing fits the line now.
    pub(crate) fn step_aside(&mut self, number: LineId) {
        let line = &mut self.lines[number.at()];
        if let Some((head, _)) = line.jobs.first_key_value()
            && !std::mem::replace(&mut line.stands_aside, true)
        {
            self.active.remove(&(*head, number));
            self.aside.push(number);
        }
    }

    /// The first job of a line.
    pub(crate) fn head(&self, line: LineId) -> Option<Key> {
        self.lines[line.at()].jobs.first_key_value().map(|(key, _)| *key)
    }

    /// Something fits the line after all.
    pub(crate) fn step_forward(&mut self, number: LineId) {
        let line = &mut self.lines[number.at()];
        if std::mem::replace(&mut line.stands_aside, false) {
            self.aside.retain(|other| *other != number);
            self.active.extend(line.jobs.first_key_value().map(|(head, _)| (*head, number)));
        }
    }

    /// The lines that stand aside.
    pub(crate) fn aside(&self) -> &[LineId] {
        &self.aside
    }

    /// Those of which this holds take part again.
    pub(crate) fn rejoin(&mut self, mut has_room: impl FnMut(&Demand) -> bool) {
        let (lines, active) = (&mut self.lines, &mut self.active);
        self.aside.retain(|number| {
            let line = &mut lines[number.at()];
            let rejoins = has_room(&line.demand);
            if rejoins {
                line.stands_aside = false;
                active.extend(line.jobs.first_key_value().map(|(head, _)| (*head, *number)));
            }
            !rejoins
        });
    }

    /// All that wait.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Key, LineId)> + '_ {
        let numbered = self.lines.iter().enumerate();
        numbered.flat_map(|(number, line)| line.jobs.keys().map(move |key| (*key, LineId(number as u32))))
    }

    /// All jobs get a new place in the order.
    pub(crate) fn reorder(&mut self, mut key: impl FnMut(Key) -> Key) {
        self.heads.clear();
        self.active.clear();
        for (number, line) in self.lines.iter_mut().enumerate() {
            line.jobs = std::mem::take(&mut line.jobs).into_iter().map(|(old, expected_ms)| (key(old), expected_ms)).collect();
            if let Some((head, _)) = line.jobs.first_key_value() {
                self.heads.insert((*head, LineId(number as u32)));
                if !line.stands_aside {
                    self.active.insert((*head, LineId(number as u32)));
                }
            }
        }
    }
}
