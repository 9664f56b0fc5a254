//! What people are shown of an attempt or a job that has ended. It travels in the entry, because the job's message is gone by then.

use crate::job::{AttemptSummary, JobId, JobState, MAX_TASKS, Path, Priority, Submission, TerminalRecord};

use super::entry::{TaskEntry, TaskKind};

/// The detail of an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Detail {
    /// Of a job's end.
    End(Box<EndRecord>),
    /// Of a failure: the row of the attempt.
    Failure(Box<AttemptSummary>),
}

/// All that a [`TerminalRecord`] says beyond the entry that carries this. The worker is in the entry's subject.
#[derive(Debug, Clone, PartialEq)]
pub struct EndRecord {
    pub name: String,
    pub kind: String,
    pub priority: Priority,
    pub submitted_at_ms: u64,
    /// By the clock of the worker or the leader.
    pub ended_at_ms: u64,
    /// What the executor returned, in words, when committed.
    pub result: String,
    /// Why the job ended otherwise.
    pub reason: String,
    pub path: Path,
    /// What was submitted; none for a job that could not be read.
    pub submission: Option<Submission>,
}

impl TaskKind {
    /// How the job stands after an entry of this kind; none where it has not ended by it.
    pub fn state(self) -> Option<JobState> {
        match self {
            TaskKind::Committed => Some(JobState::Committed),
            TaskKind::Dead => Some(JobState::Dead),
            TaskKind::Cancelled => Some(JobState::Cancelled),
            TaskKind::Failed { .. } | TaskKind::Void { .. } => None,
        }
    }
}

impl TaskEntry {
    /// The id of the job. None for an entry that names no task of a pack, which the fold counts as a conflict.
    pub fn job(&self) -> Option<JobId> {
        let is_possible = self.ticket.idx < self.count && self.count <= MAX_TASKS;
        is_possible.then(|| JobId::of(self.pack, self.ticket.idx, self.count))
    }
}

impl From<TerminalRecord> for EndRecord {
    fn from(record: TerminalRecord) -> Self {
        Self {
            name: record.name,
            kind: record.kind,
            priority: record.priority,
            submitted_at_ms: record.submitted_at_ms,
            ended_at_ms: record.ended_at_ms,
            result: record.result,
            reason: record.reason,
            path: Path { failures: record.failures, requeues: record.requeues, history: record.history },
            submission: record.submission,
        }
    }
}
