//! What is known of a job's attempts: how each went, what is handed to a worker, and when a failed job is tried again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AttemptId, Choice, JobId, JobSpec};

/// How one attempt ended, or that it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// Placed, and not known to have ended.
    Running,
    /// Its result is the job's result.
    Committed,
    /// The job itself failed; costs a retry.
    Failed,
    /// The job ran past its time limit; costs a retry.
    TimedOut,
    /// The node or the worker went away; costs the job nothing.
    Lost,
    /// Stopped because the job was cancelled.
    Cancelled,
    /// Finished, but another attempt (or a cancellation) had already been committed: the result was discarded.
    Superseded,
}

/// One row of a job's path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AttemptSummary {
    pub attempt: AttemptId,
    pub node: String,
    pub incarnation: u64,
    /// Indexes of the GPUs on the node.
    pub gpus: Vec<u8>,
    /// Thousandths of a GPU that it held, over all of them; 0 in records of builds that did not write it.
    #[serde(default, skip_serializing_if = "crate::unset::is_default")]
    pub gpu_milli: u32,
    pub placed_at_ms: u64,
    #[serde(default)]
    pub started_at_ms: Option<u64>,
    #[serde(default)]
    pub ended_at_ms: Option<u64>,
    pub outcome: AttemptOutcome,
    /// Why the attempt ended so, in words; empty when there is nothing to add.
    #[serde(default)]
    pub detail: String,
    /// Why this node was chosen, in words. Empty on its way over NATS where `choice` says it.
    #[serde(default)]
    pub why: String,
    /// The same in numbers; none in rows of builds that did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Box<Choice>>,
}

impl AttemptSummary {
    /// Why this node was chosen, in words; empty when that is not known.
    pub fn why_words(&self) -> String {
        self.choice.as_ref().map_or_else(|| self.why.clone(), |choice| choice.words())
    }

    /// The row as people and programs outside read it: with the words.
    pub fn say(&mut self) {
        self.why = self.why_words();
    }
}

/// Where a job stands. The last four are terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Accepted; waits in the queue or for a retry.
    Queued,
    /// An attempt is placed on a node.
    Running,
    /// Done, with a result.
    Committed,
    /// Given up, with a reason.
    Dead,
    Cancelled,
    /// Its submitter died between the marker and the job; swept up.
    Abandoned,
}

impl JobState {
    pub const ALL: [JobState; 6] = [Self::Queued, Self::Running, Self::Committed, Self::Dead, Self::Cancelled, Self::Abandoned];

    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Committed => "committed",
            JobState::Dead => "dead",
            JobState::Cancelled => "cancelled",
            JobState::Abandoned => "abandoned",
        }
    }

    /// The word of the glossary, for people; programs read [`JobState::as_str`].
    pub fn words(self) -> &'static str {
        match self {
            JobState::Dead => "given up",
            state => state.as_str(),
        }
    }

    /// The terminal state of this name; `None` for any other text.
    pub fn terminal(text: &str) -> Option<JobState> {
        JobState::ALL.into_iter().find(|state| state.is_terminal() && state.as_str() == text)
    }

    pub fn is_terminal(self) -> bool {
        !matches!(self, JobState::Queued | JobState::Running)
    }
}

/// One attempt for one node. The worker owns `ack_subject` from here on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    pub spec: JobSpec,
    pub attempt: AttemptId,
    pub node: String,
    pub incarnation: u64,
    pub gpus: Vec<u8>,
    pub open_seq: u64,
    pub ack_subject: String,
    pub placed_at_ms: u64,
    /// How often the job itself has failed so far.
    #[serde(default)]
    pub failures: u32,
    /// How often it was requeued because a node went away.
    #[serde(default)]
    pub requeues: u32,
    /// Earlier attempts.
    #[serde(default)]
    pub history: Vec<AttemptSummary>,
    /// Why its node was chosen, in words; empty where `choice` says it.
    #[serde(default)]
    pub why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Box<Choice>>,
    /// The lease under which it was placed; 0 when that was not said.
    #[serde(default, skip_serializing_if = "crate::unset::is_default")]
    pub epoch: u64,
}

impl Assignment {
    /// Why its node was chosen, in words; empty when that is not known.
    pub fn why_words(&self) -> String {
        self.choice.as_ref().map_or_else(|| self.why.clone(), |choice| choice.words())
    }
}

/// How one attempt ended on a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndedAttempt {
    pub job: JobId,
    pub attempt: AttemptId,
    pub node: String,
    pub outcome: AttemptOutcome,
    #[serde(default)]
    pub detail: String,
    pub at_ms: u64,
    /// For a failure: when JetStream delivers the job again.
    #[serde(default)]
    pub retry_delay_ms: u64,
    #[serde(default, skip_serializing_if = "crate::unset::is_default")]
    pub told: Told,
    /// Its row of the job's path, when the history may not have it: the worker repeats this end to a new leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<Box<AttemptSummary>>,
    /// For how long it worked, by the worker's monotonic clock. A worker of an older version does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_ms: Option<u64>,
}

/// Who tells the history of an attempt that came to no result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// Its worker has.
    #[default]
    ByWorker,
    /// The scheduler shall: the worker refused the assignment and handed the message back.
    Refused,
    /// The scheduler shall: the worker stopped the attempt because JetStream did not answer.
    Unanswered,
}

/// An attempt that a worker runs, with what a new leader needs to adopt it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunningAttempt {
    pub assignment: Assignment,
    pub started_at_ms: u64,
    /// For how long it has run, by the worker's monotonic clock: a new leader counts its time limit from there. A worker of an older
    /// version does not say it, and then the leader counts from the moment at which it hears of the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
}

/// The newest rows of a job's path that are carried along; older ones are dropped and only counted.
pub const MAX_HISTORY: usize = 16;

/// What is kept of the words about how an attempt ended, and of why its node was chosen, in bytes: a path travels with each message of its job.
pub const MAX_DETAIL_BYTES: usize = 1024;
const MAX_WHY_BYTES: usize = 256;
/// What is kept of the names of a policy and of a runner-up: those of ours are shorter.
const MAX_NAME_BYTES: usize = 64;

/// Cuts a text to at most so many bytes, between two characters.
pub fn cut(text: &mut String, most_bytes: usize) {
    text.truncate(text.floor_char_boundary(most_bytes));
}

/// Appends a row and keeps the newest [`MAX_HISTORY`].
pub fn push_history(history: &mut Vec<AttemptSummary>, mut row: AttemptSummary) {
    cut(&mut row.detail, MAX_DETAIL_BYTES);
    cut(&mut row.why, MAX_WHY_BYTES);
    if let Some(choice) = &mut row.choice {
        cut(&mut choice.policy, MAX_NAME_BYTES);
        if let Some(second) = &mut choice.runner_up {
            cut(&mut second.node, MAX_NAME_BYTES);
        }
    }
    if history.len() >= MAX_HISTORY {
        history.remove(0);
    }
    history.push(row);
}

/// The delay before retry number `failures` (1 for the first), in milliseconds: `base * 2^(failures-1)` up to
/// `cap`, of which a random half is jitter ("equal jitter", AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
/// `random` is uniform in `0.0..1.0`.
pub fn retry_delay_ms(failures: u32, base_ms: u64, cap_ms: u64, random: f64) -> u64 {
    let exponent = failures.saturating_sub(1).min(32);
    let full = base_ms.saturating_mul(1 << exponent).min(cap_ms);
    let half = full / 2;
    half + ((full - half) as f64 * random.clamp(0.0, 1.0)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_delay_doubles_up_to_the_cap_and_jitters_by_half() {
        assert_eq!(retry_delay_ms(1, 1000, 60_000, 0.0), 500);
        assert_eq!(retry_delay_ms(1, 1000, 60_000, 1.0), 1000);
        assert_eq!(retry_delay_ms(3, 1000, 60_000, 1.0), 4000);
        assert_eq!(retry_delay_ms(40, 1000, 60_000, 1.0), 60_000);
    }

    #[test]
    fn history_keeps_the_newest_rows() {
        let row = |n: u128| AttemptSummary {
            attempt: AttemptId::new(0, n),
            node: "n".into(),
            incarnation: 1,
            gpus: vec![],
            gpu_milli: 0,
            placed_at_ms: 0,
            started_at_ms: None,
            ended_at_ms: None,
            outcome: AttemptOutcome::Lost,
            detail: String::new(),
            why: String::new(),
            choice: None,
        };
        let mut history = Vec::new();
        for n in 0..20 {
            push_history(&mut history, row(n));
        }
        assert_eq!(history.len(), MAX_HISTORY);
        assert_eq!(history[0].attempt, AttemptId::new(0, 4));
    }
}
