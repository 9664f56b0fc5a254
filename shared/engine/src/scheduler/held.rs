//! Jobs in the scheduler's books, and the attempts that run.

use faultline_planner::{ClassId, Placement};

use crate::goodput::Account;
use crate::job::{AttemptId, AttemptOutcome, AttemptSummary, Choice, JobSpec, Path};

/// An attempt in the scheduler's books.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningState {
    pub attempt: AttemptId,
    pub node: String,
    pub incarnation: u64,
    pub gpus: Vec<u8>,
    /// The lease under which it was placed.
    pub epoch: u64,
    /// In the cluster's time, for people: the word of the leader that placed it.
    pub placed_at_ms: u64,
    /// When it was placed here; of an adopted attempt, the adoption less the time for which its worker said that it had run.
    pub since_ms: u64,
    /// When a heartbeat named it last.
    pub seen_at_ms: Option<u64>,
    pub progress_permille: u16,
    /// JetStream delivered its job again while it was believed to run: the news of its failure may be on the way.
    pub delivered_again: bool,
    /// Why there, in words: of an attempt that was adopted from a leader that did not say it in numbers.
    pub why: String,
    pub choice: Option<Box<Choice>>,
    /// What it holds in the planner's books.
    pub(super) placement: Placement,
    /// What it did with what it holds.
    pub(super) account: Box<Account>,
    /// How long it had run when this term began.
    pub(super) before_term_ms: u64,
}

/// Where a job stands that the scheduler holds.
#[derive(Debug, Clone, PartialEq)]
pub enum HeldState {
    /// It was delivered before: its record is being read.
    ReadingBack,
    /// It waits for room.
    Waiting {
        since_ms: u64,
        /// How many placements there had been when it began to wait.
        placed_before: u64,
        /// What it asks of a node, as the planner knows it.
        class: ClassId,
    },
    Running(RunningState),
    /// It comes back by itself: handed back to JetStream, or failed and waiting for its retry.
    Returning {
        since_ms: u64,
        until_ms: u64,
    },
}

/// A job whose message the scheduler has, or gave to a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    pub spec: JobSpec,
    pub open_seq: u64,
    /// When JetStream stored it, by the server's clock: its place in the order. 0 for a job that was adopted while it ran, until JetStream
    /// delivers it again.
    pub stored_at_ms: u64,
    pub ack_subject: String,
    /// The attempts that ended.
    pub path: Path,
    pub state: HeldState,
    /// When the message was last kept from being delivered again.
    pub(super) progress_sent_ms: u64,
    /// When the last attempt was lost, until the next one is placed.
    pub(super) lost_at_ms: Option<u64>,
    /// Since its last placement it has already been made to wait for its retry.
    pub(super) has_paused: bool,
}

impl RunningState {
    /// Its row of the job's path. All times are by the clock of the leader that placed it; the duration is measured here.
    pub(super) fn summary(&self, spec: &JobSpec, outcome: AttemptOutcome, now_ms: u64, detail: &str) -> AttemptSummary {
        let ended_at_ms = self.placed_at_ms.saturating_add(now_ms.saturating_sub(self.since_ms));
        AttemptSummary {
            attempt: self.attempt,
            node: self.node.clone(),
            incarnation: self.incarnation,
            gpus: self.gpus.clone(),
            gpu_milli: spec.demand.gpu_milli,
            placed_at_ms: self.placed_at_ms,
            started_at_ms: Some(self.placed_at_ms),
            ended_at_ms: (outcome != AttemptOutcome::Running).then_some(ended_at_ms),
            outcome,
            detail: detail.to_owned(),
            why: self.why.clone(),
            choice: self.choice.clone(),
        }
    }
}

impl RunningState {
    /// What it has held until now, in thousandths of a GPU times milliseconds.
    pub(super) fn gpu_milli_ms(&self, spec: &JobSpec, now_ms: u64) -> u64 {
        u64::from(spec.demand.gpu_milli).saturating_mul(now_ms.saturating_sub(self.since_ms))
    }
}

impl Held {
    /// The job's path: the attempts that ended, and the one that runs.
    pub fn path_so_far(&self) -> Path {
        let mut path = self.path.clone();
        if let HeldState::Running(running) = &self.state {
            path.history.push(running.summary(&self.spec, AttemptOutcome::Running, 0, ""));
        }
        path
    }
}
