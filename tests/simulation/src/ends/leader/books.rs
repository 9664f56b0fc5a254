//! The packs that a leader holds, task by task.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use faultline_engine::ends::{Books, PackTicket, Standing, Ticket};
use faultline_engine::job::{AttemptId, PackId};

use crate::ends::message::{ConsumerName, Queued, Script};
use crate::ends::proc::Proc;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Waiting {
        due_ms: u64,
    },
    Placed {
        attempt: AttemptId,
        worker: Proc,
        incarnation: u64,
        placed_ms: u64,
        /// When it began, by the first heartbeat that named it.
        began_ms: Option<u64>,
        heard_ms: u64,
    },
    /// The leader has decided something, and the log does not say it yet. With the attempt that failed, if that is it.
    Decided(Option<AttemptId>),
    Ended,
}

impl Task {
    /// The attempt that runs, or whose failure is decided.
    pub(super) fn attempt(&self) -> Option<AttemptId> {
        match self {
            Task::Placed { attempt, .. } => Some(*attempt),
            Task::Decided(attempt) => *attempt,
            Task::Waiting { .. } | Task::Ended => None,
        }
    }
}

/// A pack in the books.
pub(super) struct Held {
    pub(super) message: Rc<Queued>,
    /// As it is read, and how it is named.
    pub(super) ticket: PackTicket,
    pub(super) pack: PackId,
    pub(super) tasks: Vec<Task>,
    /// The connection that delivered it last.
    pub(super) connection: u32,
    /// Another ticket of its pack goes on in its place, and the log does not say so yet.
    pub(super) is_given_up: bool,
}

impl Held {
    pub(super) fn count(&self) -> u16 {
        self.tasks.len() as u16
    }

    /// By which entries name it.
    pub(super) fn name(&self) -> (PackId, u16) {
        (self.pack, self.count())
    }

    pub(super) fn consumer(&self) -> ConsumerName {
        self.message.consumer()
    }

    pub(super) fn script(&self, idx: u16) -> Script {
        self.message.pack.jobs[usize::from(idx)]
    }

    pub(super) fn standing(&self, idx: u16) -> Option<Standing> {
        match *self.tasks.get(usize::from(idx))? {
            Task::Waiting { .. } | Task::Decided(_) | Task::Ended => Some(Standing::Waiting),
            Task::Placed { heard_ms, .. } => Some(Standing::Placed { heard_ms }),
        }
    }

    /// The tasks whose attempts no worker has named since then.
    pub(super) fn silent_since(&self, before_ms: u64) -> Vec<Ticket> {
        self.tasks_that(|task| matches!(task, Task::Placed { heard_ms, .. } if *heard_ms < before_ms)).collect()
    }

    pub(super) fn tasks_that(&self, is_meant: impl Fn(&Task) -> bool) -> impl Iterator<Item = Ticket> {
        (0..).zip(&self.tasks).filter(move |(_, task)| is_meant(task)).map(|(idx, _)| self.ticket.task(idx))
    }
}

#[derive(Default)]
pub(super) struct Packs {
    held: BTreeMap<PackTicket, Held>,
    by_sequence: HashMap<(faultline_engine::ends::Gen, u64), PackTicket>,
}

impl Packs {
    pub(super) fn insert(&mut self, held: Held) {
        self.by_sequence.insert((held.ticket.r#gen, held.ticket.seq), held.ticket);
        self.held.insert(held.ticket, held);
    }

    pub(super) fn remove(&mut self, ticket: PackTicket) -> Option<Held> {
        self.by_sequence.remove(&(ticket.r#gen, ticket.seq));
        self.held.remove(&ticket)
    }

    pub(super) fn get(&self, ticket: PackTicket) -> Option<&Held> {
        self.held.get(&ticket)
    }

    pub(super) fn get_mut(&mut self, ticket: PackTicket) -> Option<&mut Held> {
        self.held.get_mut(&ticket)
    }

    pub(super) fn task_mut(&mut self, ticket: Ticket) -> Option<&mut Task> {
        self.held.get_mut(&ticket.of_pack())?.tasks.get_mut(usize::from(ticket.idx))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.values()
    }

    pub(super) fn give_up(&mut self, ticket: PackTicket, is_given_up: bool) {
        if let Some(held) = self.held.get_mut(&ticket) {
            held.is_given_up = is_given_up;
        }
    }

    /// The tasks of all packs.
    pub(super) fn tasks_that(&self, is_meant: impl Fn(&Task) -> bool) -> Vec<Ticket> {
        self.held.values().flat_map(|held| held.tasks_that(&is_meant)).collect()
    }

    /// What they say about a delivery.
    pub(super) fn about(&self, ticket: PackTicket, pack: PackId) -> Books {
        Books {
            at_sequence: self.by_sequence.get(&(ticket.r#gen, ticket.seq)).copied(),
            of_pack: self.held.values().find(|held| held.pack == pack && held.ticket != ticket).map(|held| held.ticket),
        }
    }
}
