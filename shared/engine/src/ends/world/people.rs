//! Submitters and workers.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;

use super::super::build::{MS, SECOND};
use super::super::entry::{Entry, TaskEntry, TaskKind};
use super::super::id::PackTicket;
use super::World;
use crate::job::{AttemptId, PackId};

/// Submitters do not repeat an id that is older.
const MAX_AGE: u64 = 60 * SECOND;

#[derive(Debug, Default)]
pub(super) struct Submitter {
    /// Packs that are to be handed over, with when they are tried next.
    waiting: BTreeMap<PackId, (u16, u64)>,
    /// Those of which the server said that it has them.
    pub(super) confirmed: BTreeMap<PackId, u16>,
    pub(super) all: BTreeMap<PackId, u16>,
    pub(super) is_over: bool,
}

impl Submitter {
    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// An attempt on a worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) ticket: PackTicket,
    pub(super) pack: (PackId, u16),
    pub(super) idx: u16,
    pub(super) attempt: AttemptId,
    pub(super) epoch: u64,
    pub(super) until: u64,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: usize,
    pub(super) runs: Vec<Run>,
    /// Ends that the log has not acknowledged.
    pub(super) outbox: Vec<TaskEntry>,
    pub(super) frozen_until: u64,
    died: u64,
    dead_until: u64,
    pub(super) newest_epoch: u64,
    pub(super) is_calm: bool,
}

impl Worker {
    pub(super) fn new(name: usize) -> Self {
        Self { name, runs: Vec::new(), outbox: Vec::new(), frozen_until: 0, died: 0, dead_until: 0, newest_epoch: 0, is_calm: false }
    }

    pub(super) fn die(&mut self, now: u64, until: u64) {
        if self.dead_until != u64::MAX {
            *self = Self { died: now, dead_until: until, ..Self::new(self.name) };
        }
    }

    /// Whether a leader has heard of it lately. One that is back after a short while, or frozen, it takes for alive.
    pub(super) fn seems_alive(&self, now: u64) -> bool {
        self.dead_until != u64::MAX || now < self.died + SECOND
    }

    pub(super) fn is_up(&self, now: u64) -> bool {
        now >= self.frozen_until.max(self.dead_until)
    }

    pub(super) fn is_dead(&self, now: u64) -> bool {
        now < self.dead_until
    }

    /// What its heartbeats name: an attempt until the log has its end.
    pub(super) fn names(&self) -> BTreeSet<AttemptId> {
        self.runs.iter().map(|run| run.attempt).chain(self.outbox.iter().filter_map(|end| end.attempt)).collect()
    }
}

impl Worker {
    /// The packs of those attempts.
    pub(super) fn tickets(&self) -> impl Iterator<Item = (PackTicket, PackId)> + '_ {
        let running = self.runs.iter().map(|run| (run.ticket, run.pack.0));
        running.chain(self.outbox.iter().map(|end| (end.ticket.of_pack(), end.pack)))
    }
}

impl World {
    pub(super) fn submit(&mut self) {
        if !self.submitter.is_over && self.chance(3) {
            let count = [1, 1, 2, 5][self.rng.random_range(0..4)];
            let pack = PackId::new(self.now / MS, self.rng.random());
            self.submitter.all.insert(pack, count);
            self.submitter.waiting.insert(pack, (count, self.now));
        }
        let due: Vec<(PackId, u16)> =
            self.submitter.waiting.iter().filter(|(_, (_, at))| *at <= self.now).map(|(pack, (count, _))| (*pack, *count)).collect();
        for (pack, count) in due {
            if self.now > pack.unix_ms() * MS + MAX_AGE - SECOND {
                self.submitter.waiting.remove(&pack);
                continue;
            }
            // Of a low priority, it is not delivered while others are there.
            let waits = if self.chance(30) { self.rng.random_range(SECOND..200 * SECOND) } else { 0 };
            self.jobs.publish((pack, count), None, (self.now, waits));
            // The answer may be lost, and some submitters repeat what they journalled after their own restart.
            if self.chance(4) {
                let later = self.rng.random_range(SECOND..25 * SECOND);
                self.submitter.waiting.insert(pack, (count, self.now + later));
            } else {
                self.submitter.waiting.remove(&pack);
                self.submitter.confirmed.insert(pack, count);
            }
        }
    }

    pub(super) fn work(&mut self) {
        for index in 0..self.workers.len() {
            if !self.workers[index].is_up(self.now) {
                continue;
            }
            let (done, running) = std::mem::take(&mut self.workers[index].runs).into_iter().partition(|run: &Run| run.until <= self.now);
            self.workers[index].runs = running;
            for run in done {
                let end = self.end_of(&run);
                self.workers[index].outbox.push(end);
            }
            if self.workers[index].outbox.is_empty() {
                continue;
            }
            let entries = self.workers[index].outbox.iter().cloned().map(Entry::Task).collect();
            self.append(false, true, entries);
            // Without an answer, all of it is appended once more.
            if self.workers[index].is_calm || !self.chance(5) {
                self.workers[index].outbox.clear();
            }
        }
    }

    fn end_of(&mut self, run: &Run) -> TaskEntry {
        let kind = if self.chance(10) { TaskKind::Failed { is_final: false } } else { TaskKind::Committed };
        let (pack, count) = run.pack;
        TaskEntry { ticket: run.ticket.task(run.idx), pack, count, kind, attempt: Some(run.attempt), epoch: run.epoch, detail: Vec::new() }
    }
}
