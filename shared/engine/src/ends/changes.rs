//! What a fold counts, and what a message changes in it.

use serde::{Deserialize, Serialize};

use super::entry::WentBack;
use super::id::{PackTicket, Ticket};
use super::packs::EndKind;
use crate::job::{JobId, PackId};

/// What was counted. The tasks that have ended are those of the first four and of `double`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub committed: u64,
    pub dead: u64,
    pub cancelled: u64,
    pub void: u64,
    /// A job ended under a second ticket: it ran twice, and the first end counts. A broken promise.
    pub double: u64,
    /// Failures of jobs that may be tried again.
    pub failed: u64,
    /// Entries for what had ended.
    pub late: u64,
    /// Decisions of a leader after its successor's term had begun.
    pub fenced: u64,
    /// Decisions of leaders that came from elsewhere.
    pub forged: u64,
    /// Entries for another message than the one that is known by that ticket.
    pub conflict: u64,
    pub malformed: u64,
    pub republished: u64,
}

impl Counts {
    /// Jobs that have ended.
    pub fn jobs(&self) -> u64 {
        self.committed + self.dead + self.cancelled
    }

    /// Each count with its name.
    pub fn named(&self) -> [(&'static str, u64); 12] {
        [
            ("committed", self.committed),
            ("dead", self.dead),
            ("cancelled", self.cancelled),
            ("void", self.void),
            ("double", self.double),
            ("failed", self.failed),
            ("late", self.late),
            ("fenced", self.fenced),
            ("forged", self.forged),
            ("conflict", self.conflict),
            ("malformed", self.malformed),
            ("republished", self.republished),
        ]
    }

    /// A task has ended so.
    pub(super) fn end(&mut self, kind: EndKind) {
        match kind {
            EndKind::Committed => self.committed += 1,
            EndKind::Dead => self.dead += 1,
            EndKind::Cancelled => self.cancelled += 1,
            EndKind::Void => self.void += 1,
        }
    }
}

/// A task that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Which entry of the message says so.
    pub entry: usize,
    pub ticket: Ticket,
    pub job: JobId,
    /// `Void` also for a second end of a job.
    pub kind: EndKind,
}

/// A task that failed and has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    pub entry: usize,
    pub ticket: Ticket,
    pub job: JobId,
    /// This one included.
    pub failures: u32,
    pub is_final: bool,
}

/// A pack of which all tasks have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    pub ticket: PackTicket,
    pub pack: PackId,
}

/// A leader said that its term begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    pub epoch: u64,
    /// False when a term of this epoch or a higher one had begun before: that leader has to step down.
    pub is_new: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    pub entry: usize,
    pub kind: AlarmKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmKind {
    /// The entry is about another message than the one that is known by its ticket.
    Conflict,
    /// The job had ended under this ticket.
    Double { first: PackTicket },
    /// A worker wrote what only leaders decide.
    Forged,
}

/// What a message changed, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub ended: Vec<Ended>,
    pub failed: Vec<Failed>,
    pub closed: Vec<Closed>,
    pub terms: Vec<Term>,
    pub went_back: Vec<WentBack>,
    /// Which entries came from a leader of a lower epoch than the term's. If they are those of the reader itself, it has to decide again.
    pub fenced: Vec<usize>,
    pub alarms: Vec<Alarm>,
}
