//! The buckets, the lease and DEAD: what has a few versions, of which the machine's death takes the last.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use faultline_engine::ends::{PackTicket, Snapshot, Ticket};

use super::message::Saved;
use super::proc::Proc;
use super::tail::Tail;
use faultline_engine::job::JobId;

pub(crate) const LEASE_MS: u64 = 3_000;
/// As many snapshots LEDGER keeps.
pub(crate) const SNAPSHOTS: usize = 8;

/// Who leads.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lease {
    pub(crate) revision: u64,
    pub(crate) holder: Option<(Proc, u64)>,
}

impl Lease {
    /// The revision, for the process that finds it free.
    pub(crate) fn acquire(&mut self, of: Proc, now: u64) -> Option<u64> {
        if self.holder.is_some_and(|(_, until)| until > now) {
            return None;
        }
        self.revision += 1;
        self.holder = Some((of, now + LEASE_MS));
        Some(self.revision)
    }

    pub(crate) fn renew(&mut self, of: Proc, revision: u64, now: u64) -> Option<u64> {
        let is_own = self.holder.is_some_and(|(holder, until)| holder == of && until > now) && self.revision == revision;
        if !is_own {
            return None;
        }
        self.revision += 1;
        self.holder = Some((of, now + LEASE_MS));
        Some(self.revision)
    }
}

/// LEDGER: the last snapshots, and the packs that leaders may die of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) revision: u64,
    pub(crate) saved: VecDeque<Saved>,
    /// How often each pack was tried alone that leaders may have died of.
    pub(crate) tries: BTreeMap<PackTicket, u32>,
}

impl Ledger {
    pub(crate) fn save(&mut self, over: u64, snapshot: Rc<Snapshot>) -> Option<u64> {
        if self.saved.back().map_or(0, |saved| saved.revision) != over {
            return None;
        }
        self.revision += 1;
        self.saved.push_back(Saved { revision: self.revision, snapshot });
        if self.saved.len() > SNAPSHOTS {
            self.saved.pop_front();
        }
        Some(self.revision)
    }
}

/// Something whose last versions may be lost.
#[derive(Debug)]
pub(crate) struct Versions<T> {
    pub(crate) now: T,
    tail: Tail<T>,
}

impl<T: Default> Default for Versions<T> {
    fn default() -> Self {
        Self { now: T::default(), tail: Tail::default() }
    }
}

impl<T: Clone> Versions<T> {
    /// Changes it; `None` from `change`: it was refused.
    pub(crate) fn change<R>(&mut self, at: u64, change: impl FnOnce(&mut T) -> Option<R>) -> Option<R> {
        let before = self.now.clone();
        let changed = change(&mut self.now);
        if changed.is_some() {
            self.tail.push(at, before);
        }
        changed
    }

    pub(crate) fn lose_since(&mut self, since: u64) {
        if let Some(oldest) = self.tail.lost_since(since).pop() {
            self.now = oldest;
        }
    }
}

/// Dead letters.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    pub(crate) stored: BTreeMap<Ticket, JobId>,
    tail: Tail<Ticket>,
}

impl Letters {
    /// The ticket is the message id: a second one is the first one.
    pub(crate) fn store(&mut self, ticket: Ticket, job: JobId, now: u64) {
        if self.stored.insert(ticket, job).is_none() {
            self.tail.push(now, ticket);
        }
    }

    pub(crate) fn lose_since(&mut self, since: u64) {
        for ticket in self.tail.lost_since(since) {
            self.stored.remove(&ticket);
        }
    }
}
