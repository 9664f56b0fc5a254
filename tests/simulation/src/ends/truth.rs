//! The log of ends, folded naively: all of it, nothing forgotten, and independent of the engine's fold.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use faultline_engine::ends::{Entry, Gen, TaskEntry, TaskKind, Ticket};
use faultline_engine::job::{AttemptId, JobId, PackId};

use super::message::Logged;

/// What the log says of jobs.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) term: u64,
    pub(crate) ends: HashMap<Ticket, TaskKind>,
    pub(crate) failures: HashMap<Ticket, BTreeSet<AttemptId>>,
    final_failures: BTreeSet<Ticket>,
    /// Which message has a sequence, and its name, as the log says.
    owners: HashMap<(Gen, u64), (u64, PackId, u16)>,
    /// How each job ended, and under which ticket.
    pub(crate) jobs: BTreeMap<JobId, (Ticket, TaskKind)>,
    pub(crate) committed: u64,
    pub(crate) dead: u64,
    pub(crate) cancelled: u64,
    pub(crate) void: u64,
    pub(crate) failed: u64,
    pub(crate) late: u64,
    pub(crate) fenced: u64,
    pub(crate) conflict: u64,
    /// Jobs that ended under two tickets.
    pub(crate) double: Vec<JobId>,
}

/// An entry that had an effect.
pub(crate) struct Effect<'a> {
    pub(crate) entry: &'a TaskEntry,
    pub(crate) is_leaders: bool,
}

impl Truth {
    /// Calls `on_effect` for what counts.
    pub(crate) fn apply(&mut self, message: &Logged, mut on_effect: impl FnMut(&Truth, Effect<'_>)) {
        for entry in message.entries.iter() {
            match entry {
                Entry::Term { epoch } => self.term = self.term.max(*epoch),
                entry if message.is_leaders && entry.epoch() < self.term => self.fenced += 1,
                Entry::Task(task) => {
                    if self.on_task(task) {
                        on_effect(self, Effect { entry: task, is_leaders: message.is_leaders });
                    }
                }
                Entry::WentBack(_) | Entry::Republished(_) | Entry::Looked(_) => {}
            }
        }
    }

    fn on_task(&mut self, task: &TaskEntry) -> bool {
        let ticket = task.ticket;
        let owner = (ticket.ts, task.pack, task.count);
        let is_possible = ticket.idx < task.count && task.count <= 256;
        if !is_possible || *self.owners.entry((ticket.r#gen, ticket.seq)).or_insert(owner) != owner {
            self.conflict += 1;
            return false;
        }
        if self.ends.contains_key(&ticket) {
            self.late += 1;
            return false;
        }
        if let TaskKind::Failed { is_final } = task.kind {
            let attempt = task.attempt.unwrap_or(AttemptId::from_u128(0));
            let is_new = self.failures.entry(ticket).or_default().insert(attempt);
            *(if is_new { &mut self.failed } else { &mut self.late }) += 1;
            if is_final {
                self.final_failures.insert(ticket);
            }
            return is_new;
        }
        self.ends.insert(ticket, task.kind);
        let job = JobId::of(task.pack, ticket.idx, task.count);
        match task.kind {
            TaskKind::Void { .. } => self.void += 1,
            _ if self.jobs.contains_key(&job) => self.double.push(job),
            kind => {
                self.jobs.insert(job, (ticket, kind));
                match kind {
                    TaskKind::Committed => self.committed += 1,
                    TaskKind::Dead => self.dead += 1,
                    _ => self.cancelled += 1,
                }
            }
        }
        true
    }

    pub(crate) fn failures_of(&self, ticket: Ticket) -> u32 {
        self.failures.get(&ticket).map_or(0, |attempts| attempts.len() as u32)
    }

    pub(crate) fn has_failed_for_good(&self, ticket: Ticket) -> bool {
        self.final_failures.contains(&ticket)
    }
}
