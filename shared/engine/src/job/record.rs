//! How a job ends: its terminal record, and what a commit that met a conflict has to conclude. The first to replace the open marker
//! ends the job; writing and reading the record is the caller's.

use serde::{Deserialize, Serialize};

use super::{AttemptId, AttemptSummary, JobId, JobSpec, JobState, Path, Priority, Submission};

/// What replaces the open marker of a job: the one result, and the path that led to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TerminalRecord {
    pub job: JobId,
    pub name: String,
    pub kind: String,
    pub priority: Priority,
    pub state: JobState,
    /// The attempt that committed; none for a job that was cancelled or died in the queue.
    pub attempt: Option<AttemptId>,
    /// The sequence of the open marker that this record replaced.
    pub open_seq: u64,
    pub submitted_at_ms: u64,
    pub ended_at_ms: u64,
    /// What the executor returned, in words, when committed.
    #[serde(default)]
    pub result: String,
    /// Why the job ended otherwise.
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub failures: u32,
    #[serde(default)]
    pub requeues: u32,
    #[serde(default)]
    pub history: Vec<AttemptSummary>,
    /// What was submitted; none in records of builds that did not write it, and of jobs of which only the open marker was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submission: Option<Submission>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// The record is the job's end.
    Committed,
    /// The job had ended otherwise.
    TooLate(Option<JobState>),
    /// The job has no record: it ended so long ago that the record has expired, or RESULTS lost it.
    NoRecord,
}

/// What stands where a commit met a conflict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found<'a> {
    Nothing,
    Open {
        seq: u64,
    },
    /// An end; what cannot be read of it is `None`.
    Ended {
        state: Option<JobState>,
        record: Option<&'a TerminalRecord>,
    },
}

impl TerminalRecord {
    /// The end of a job of which nothing but its open marker's sequence is known.
    pub fn bare(job: JobId, open_seq: u64, state: JobState, ended_at_ms: u64) -> Self {
        Self {
            job,
            name: String::new(),
            kind: String::new(),
            priority: Priority::Normal,
            state,
            attempt: None,
            open_seq,
            submitted_at_ms: job.unix_ms(),
            ended_at_ms,
            result: String::new(),
            reason: String::new(),
            failures: 0,
            requeues: 0,
            history: Vec::new(),
            submission: None,
        }
    }

    /// The end of a job with all that was submitted, and the path that led to it.
    pub fn of(spec: &JobSpec, open_seq: u64, state: JobState, ended_at_ms: u64, path: Path) -> Self {
        Self {
            name: spec.name.clone(),
            kind: spec.kind.clone(),
            priority: spec.priority,
            submitted_at_ms: spec.submitted_at_ms,
            submission: Some(Submission::for_record(spec)),
            ..Self::bare(spec.id, open_seq, state, ended_at_ms).with_path(path)
        }
    }

    pub fn with_path(self, path: Path) -> Self {
        Self { failures: path.failures, requeues: path.requeues, history: path.history, ..self }
    }

    /// Judges a conflict by what was read back. `None` when the marker still stands there: the commit has to be tried again.
    ///
    /// The server compares sequences before it looks for duplicates, so our own commit whose answer was lost looks like a conflict.
    pub fn after_conflict(&self, found: Found<'_>) -> Option<Commit> {
        match found {
            Found::Nothing => Some(Commit::NoRecord),
            Found::Open { seq } if seq == self.open_seq => None,
            Found::Open { .. } => Some(Commit::TooLate(None)),
            Found::Ended { record: Some(record), .. } if self.is_same_end(record) => Some(Commit::Committed),
            Found::Ended { state, .. } => Some(Commit::TooLate(state)),
        }
    }

    fn is_same_end(&self, other: &TerminalRecord) -> bool {
        (other.attempt, other.state, other.ended_at_ms) == (self.attempt, self.state, self.ended_at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(attempt: u128) -> TerminalRecord {
        TerminalRecord { attempt: Some(AttemptId::new(0, attempt)), ..TerminalRecord::bare(JobId::new(0, 1), 7, JobState::Committed, 9) }
    }

    #[test]
    fn a_conflict_with_our_own_record_is_a_success_and_with_any_other_too_late() {
        let (ours, again, theirs) = (record(1), record(1), record(2));
        let ended = |record| Found::Ended { state: Some(JobState::Committed), record };
        assert_eq!(ours.after_conflict(ended(Some(&again))), Some(Commit::Committed));
        assert_eq!(ours.after_conflict(ended(Some(&theirs))), Some(Commit::TooLate(Some(JobState::Committed))));
        assert_eq!(ours.after_conflict(ended(None)), Some(Commit::TooLate(Some(JobState::Committed))));
        assert_eq!(ours.after_conflict(Found::Nothing), Some(Commit::NoRecord));
        assert_eq!(ours.after_conflict(Found::Open { seq: 8 }), Some(Commit::TooLate(None)));
        assert_eq!(ours.after_conflict(Found::Open { seq: 7 }), None);
    }
}
