//! What stands in the log of ends.

use super::id::{Gen, PackTicket, Ticket};
use crate::job::{AttemptId, PackId};

/// One entry. A message of the log has one or more, and their order counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// What became of one task.
    Task(TaskEntry),
    /// A leader begins its term. Whatever a leader of a lower epoch decides counts for nothing from here on, for every reader alike.
    Term {
        epoch: u64,
    },
    WentBack(WentBack),
    Republished(Republished),
    Looked(Looked),
}

/// What became of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEntry {
    pub ticket: Ticket,
    pub pack: PackId,
    /// How many tasks the pack has.
    pub count: u16,
    pub kind: TaskKind,
    /// None where no attempt came to this end.
    pub attempt: Option<AttemptId>,
    /// From a worker the epoch under which the attempt was placed, from a leader its own one.
    pub epoch: u64,
    /// What people are shown of it, encoded. The fold never reads it, so that readers of different builds fold alike.
    pub detail: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    Committed,
    /// The job itself failed, which ends an attempt and not the job. `is_final`: no retry would help.
    Failed {
        is_final: bool,
    },
    /// Given up.
    Dead,
    Cancelled,
    /// The job has ended, or will end, under another ticket.
    Void {
        first: PackTicket,
    },
}

impl TaskKind {
    /// Whether only a leader decides so.
    pub fn is_leaders(self) -> bool {
        match self {
            TaskKind::Dead | TaskKind::Cancelled | TaskKind::Void { .. } => true,
            TaskKind::Committed | TaskKind::Failed { .. } => false,
        }
    }
}

/// JOBS lost its tail: it had handed out sequences up to `from_seq`, whose message was stored at `from_ts`, and continues after `to_seq`.
/// The packs in between that had not ended are lost for good. The sequences come again, stored after `from_ts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WentBack {
    pub epoch: u64,
    pub r#gen: Gen,
    pub from_seq: u64,
    pub from_ts: u64,
    pub to_seq: u64,
}

/// The pack came on a sequence that another one had before JOBS went back. The leader publishes it again under a sequence of its own. It says so
/// before, because the id may be older by then than an id may be, and once more when JOBS has stored it: from then on nothing is owed to the
/// message at `ticket`, however late it is delivered. A message whose pack id cannot be read is named by [`PackTicket::stand_in`], here and in the
/// message id of its copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Republished {
    pub epoch: u64,
    pub ticket: PackTicket,
    pub pack: PackId,
    pub is_stored: bool,
}

/// The leader has judged the subject of each message that JOBS stored before `ts`, delivered or not. A queue may be so long that a repeated pack is
/// delivered when the fold has forgotten the first one. So a pack is forgotten only when all that could repeat it has been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    pub epoch: u64,
    pub ts: u64,
}

impl Entry {
    /// Whether only a leader decides so.
    pub fn is_leaders(&self) -> bool {
        match self {
            Entry::Task(task) => task.kind.is_leaders(),
            Entry::Term { .. } | Entry::WentBack(_) | Entry::Republished(_) | Entry::Looked(_) => true,
        }
    }

    pub fn epoch(&self) -> u64 {
        match self {
            Entry::Task(task) => task.epoch,
            Entry::Term { epoch } => *epoch,
            Entry::WentBack(entry) => entry.epoch,
            Entry::Republished(entry) => entry.epoch,
            Entry::Looked(entry) => entry.epoch,
        }
    }
}
