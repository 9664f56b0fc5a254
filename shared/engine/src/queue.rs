//! The jobs that wait for room, in the order in which they are tried. Aging is part of the key: a job one priority
//! lower goes first once it has waited one aging step longer, so no job starves behind a stream of urgent work.
//!
//! The times are those at which JetStream stored the jobs: one clock for all of them. Submitters' clocks decide nothing.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::job::{JobId, Priority};

/// A place in the order, with the job that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u64, JobId);

impl Place {
    pub fn job(self) -> JobId {
        self.1
    }
}

/// Waiting jobs in order of service.
#[derive(Debug, Clone)]
pub struct Queue {
    aging_ms: u64,
    order: BTreeSet<(u64, JobId)>,
    by_priority: [usize; Priority::ALL.len()],
}

impl Queue {
    /// `aging_ms`: how much longer a job must have waited to go before one of the next higher priority.
    pub fn new(aging_ms: u64) -> Self {
        Self { aging_ms, order: BTreeSet::new(), by_priority: [0; Priority::ALL.len()] }
    }

    fn key(&self, priority: Priority, stored_at_ms: u64) -> u64 {
        stored_at_ms.saturating_add(self.aging_ms.saturating_mul(priority as u64))
    }

    pub fn insert(&mut self, job: JobId, priority: Priority, stored_at_ms: u64) {
        if self.order.insert((self.key(priority, stored_at_ms), job)) {
            self.by_priority[priority as usize] += 1;
        }
    }

    /// Takes a job out; false when it was not waiting.
    pub fn remove(&mut self, job: JobId, priority: Priority, stored_at_ms: u64) -> bool {
        let removed = self.order.remove(&(self.key(priority, stored_at_ms), job));
        self.by_priority[priority as usize] -= usize::from(removed);
        removed
    }

    /// How many wait with this priority.
    pub fn len_of(&self, priority: Priority) -> usize {
        self.by_priority[priority as usize]
    }

    /// The first job in the order, or the first one behind a place in it; with its own place.
    pub fn next_after(&self, place: Option<Place>) -> Option<Place> {
        let start = place.map_or(Bound::Unbounded, |Place(key, job)| Bound::Excluded((key, job)));
        self.order.range((start, Bound::Unbounded)).next().map(|(key, job)| Place(*key, *job))
    }

    pub fn iter(&self) -> impl Iterator<Item = JobId> + '_ {
        self.order.iter().map(|(_, job)| *job)
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_first_then_age_and_age_wins_in_the_end() {
        let mut queue = Queue::new(60_000);
        let job = |n| JobId::new(0, n);
        queue.insert(job(1), Priority::Low, 0);
        queue.insert(job(2), Priority::Urgent, 1_000);
        queue.insert(job(3), Priority::Urgent, 500);
        queue.insert(job(4), Priority::Normal, 0);
        queue.insert(job(5), Priority::Urgent, 200_000);
        assert_eq!(queue.iter().collect::<Vec<_>>(), [job(3), job(2), job(4), job(1), job(5)]);
        assert!(queue.remove(job(4), Priority::Normal, 0));
        assert!(!queue.remove(job(4), Priority::Normal, 0));
        assert_eq!((queue.len(), queue.len_of(Priority::Urgent), queue.len_of(Priority::Normal)), (4, 3, 0));
    }
}
