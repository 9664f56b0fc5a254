//! One attempt from its start to its commit, its failure or its silence. The worker owns the message's ack subject, so that
//! everything JetStream hears of the job from now on is decided here.
//!
//! Time is counted from the attempt's start and must not jump with the wall clock: a lease is kept by it.

use std::sync::Arc;

use crate::fault::AttemptEnd;
use crate::job::{
    Assignment, AttemptOutcome, AttemptSummary, Commit, EndedAttempt, JobState, MAX_DETAIL_BYTES, Path, TerminalRecord, Told, cut,
    push_history, retry_delay_ms,
};
use crate::words::limit;

/// How often the owner of a message says that it still works on it.
pub const PROGRESS_EVERY_MS: u64 = 5_000;
/// After this long without an answer to a sign of progress the worker must assume that it is cut off and its job placed
/// elsewhere: it stops by itself, before the 15 s of JetStream's ack wait are over.
pub const FENCED_AFTER_MS: u64 = 12_000;
/// The longest wait for one answer to a sign of progress.
const PROGRESS_ANSWER_MS: u64 = 2_000;
/// Before what was not answered is tried again.
const PAUSE_MS: u64 = 200;
/// The longest result that is kept; what is beyond is cut off.
pub const MAX_RESULT_CHARS: usize = 4096;

/// What can be set about retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptConfig {
    /// First retry delay; doubles with every failure.
    pub retry_base_ms: u64,
    pub retry_cap_ms: u64,
}

/// What an executor came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executed {
    Done {
        result: String,
    },
    /// `retry`: whether another attempt may help.
    Failed {
        detail: String,
        retry: bool,
    },
    /// It stopped because it was asked to.
    Stopped,
}

/// What JetStream said to a sign of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressAnswer {
    Heard,
    /// No consumer waits for it: the job's consumer was deleted. NATS is there all the same, and the message stays in the stream, which
    /// cannot deliver it: the work continues.
    NoConsumer,
    Unanswered,
}

/// What became of a try to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitAnswer {
    Answered(Commit),
    /// It may or may not have got through.
    Unanswered,
}

/// An end without a result, as the history must know it before JetStream may deliver the job again: a new leader counts from there.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub outcome: AttemptOutcome,
    pub detail: String,
    /// This attempt included.
    pub path: Path,
    /// When the job is tried again; 0 when its retries are used up or would not help, and the scheduler buries it.
    pub retry_delay_ms: u64,
    /// No retry would mend it.
    pub no_retry: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum AttemptAction {
    /// Stop the executor, if it still works.
    StopWork,
    /// Tell JetStream, as a request, that the work goes on; the outcome goes to [`Life::on_progress_answer`].
    SayProgress { limit_ms: u64 },
    /// Replace the open marker; the outcome goes to [`Life::on_commit_answer`].
    Commit(Arc<TerminalRecord>),
    /// Write it into the history until that is acknowledged, or has failed for [`FENCED_AFTER_MS`]; the outcome goes to
    /// [`Life::on_failure_written`].
    WriteFailure(Box<Failure>),
    /// A lost acknowledgement does no harm: the job is delivered again, found ended, and acknowledged then.
    Ack,
    /// Have the message delivered again.
    Nak { delay_ms: u64 },
    /// The attempt is over: [`super::Agent::on_ended`], and tell the scheduler.
    Report(EndedAttempt),
}

#[derive(Debug)]
enum State {
    Working {
        /// When the last answered sign of progress was sent.
        answered_ms: u64,
        asking: Asking,
    },
    Committing {
        record: Arc<TerminalRecord>,
        stopped: bool,
        /// When it is tried again; none while an answer is awaited.
        retry_at_ms: Option<u64>,
    },
    /// The failure is being written down.
    Failing(Box<Failure>),
    Over,
}

#[derive(Debug, Clone, Copy)]
enum Asking {
    Next {
        at_ms: u64,
    },
    Asked {
        at_ms: u64,
    },
    /// Cut off: a zombie does not know that no message arrives, so it does not stop by itself.
    Deaf,
}

/// The life of one attempt. All times are milliseconds since its start.
#[derive(Debug)]
pub struct Life {
    config: AttemptConfig,
    assignment: Arc<Assignment>,
    started_at_ms: u64,
    /// How long its executor worked, once that has come to an end.
    worked_ms: Option<u64>,
    state: State,
}

impl Life {
    /// `started_at_ms`: the start in Unix time.
    pub fn new(config: AttemptConfig, assignment: Arc<Assignment>, started_at_ms: u64) -> Self {
        let state = State::Working { answered_ms: 0, asking: Asking::Next { at_ms: PROGRESS_EVERY_MS } };
        Self { config, assignment, started_at_ms, worked_ms: None, state }
    }

    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// When [`Life::on_time`] has to be called next.
    pub fn next_wake_ms(&self) -> Option<u64> {
        match &self.state {
            State::Working { answered_ms, asking } => {
                let timeout_ms = self.assignment.spec.timeout_ms;
                let deadline = (answered_ms + FENCED_AFTER_MS).min(timeout_ms);
                match asking {
                    Asking::Next { at_ms } => Some(deadline.min(*at_ms)),
                    Asking::Asked { .. } => Some(deadline),
                    Asking::Deaf => Some(timeout_ms),
                }
            }
            State::Committing { retry_at_ms, .. } => *retry_at_ms,
            State::Failing(_) | State::Over => None,
        }
    }

    /// Time passed.
    pub fn on_time(&mut self, now_ms: u64) -> Vec<AttemptAction> {
        match &mut self.state {
            State::Working { answered_ms, asking } => {
                if !matches!(asking, Asking::Deaf) && now_ms >= *answered_ms + FENCED_AFTER_MS {
                    return self.stop_unanswered(now_ms);
                }
                let timeout_ms = self.assignment.spec.timeout_ms;
                if now_ms >= timeout_ms {
                    return self.fail(AttemptOutcome::TimedOut, format!("ran past its time limit of {}", limit(timeout_ms)), true, now_ms);
                }
                match asking {
                    Asking::Next { at_ms } if now_ms >= *at_ms => {
                        *asking = Asking::Asked { at_ms: now_ms };
                        vec![AttemptAction::SayProgress { limit_ms: PROGRESS_ANSWER_MS.min(*answered_ms + FENCED_AFTER_MS - now_ms) }]
                    }
                    Asking::Next { .. } | Asking::Asked { .. } | Asking::Deaf => Vec::new(),
                }
            }
            State::Committing { record, retry_at_ms, .. } if retry_at_ms.is_some_and(|at_ms| now_ms >= at_ms) => {
                *retry_at_ms = None;
                vec![AttemptAction::Commit(Arc::clone(record))]
            }
            State::Committing { .. } | State::Failing(_) | State::Over => Vec::new(),
        }
    }

    /// JetStream answered a sign of progress, or did not.
    pub fn on_progress_answer(&mut self, answer: ProgressAnswer, now_ms: u64) -> Vec<AttemptAction> {
        let is_answered = answer != ProgressAnswer::Unanswered;
        if let State::Working { answered_ms, asking } = &mut self.state
            && let Asking::Asked { at_ms } = *asking
        {
            if is_answered {
                *answered_ms = at_ms;
            }
            *asking = Asking::Next { at_ms: if is_answered { at_ms + PROGRESS_EVERY_MS } else { now_ms + PAUSE_MS } };
        }
        Vec::new()
    }

    /// The node turned out to be cut off when a sign of progress should be given, or is so no more.
    pub fn on_cut_off(&mut self, is_cut_off: bool, now_ms: u64) -> Vec<AttemptAction> {
        if let State::Working { answered_ms, asking } = &mut self.state {
            (*answered_ms, *asking) = if is_cut_off { (*answered_ms, Asking::Deaf) } else { (now_ms, Asking::Next { at_ms: now_ms }) };
        }
        Vec::new()
    }

    /// A fault of the machine ends it before its work is done.
    pub fn on_interrupted(&mut self, end: AttemptEnd, why: String, now_ms: u64) -> Vec<AttemptAction> {
        if !matches!(self.state, State::Working { .. }) {
            return Vec::new();
        }
        match end {
            AttemptEnd::Failed => self.fail(AttemptOutcome::Failed, why, true, now_ms),
            // The machine is to blame: it costs the job nothing.
            AttemptEnd::Requeued => self.hand_back(AttemptOutcome::Lost, why, 0, false, now_ms),
        }
    }

    /// The executor came to an end.
    pub fn on_executed(&mut self, executed: Executed, now_ms: u64) -> Vec<AttemptAction> {
        if !matches!(self.state, State::Working { .. }) {
            return Vec::new();
        }
        self.worked_ms = Some(now_ms);
        match executed {
            Executed::Done { result } => {
                let record = Arc::new(self.committed_record(result, now_ms));
                self.state = State::Committing { record: Arc::clone(&record), stopped: false, retry_at_ms: None };
                vec![AttemptAction::Commit(record)]
            }
            Executed::Failed { detail, retry } => self.fail(AttemptOutcome::Failed, detail, retry, now_ms),
            Executed::Stopped => self.stop_silently("cancelled", now_ms),
        }
    }

    /// The scheduler wants it stopped: its job was cancelled or placed elsewhere. What was already begun to be written stays.
    pub fn on_stop(&mut self, now_ms: u64) -> Vec<AttemptAction> {
        match &mut self.state {
            State::Working { .. } => self.stop_silently("killed on the scheduler's order", now_ms),
            State::Committing { stopped, retry_at_ms: None, .. } => {
                *stopped = true;
                Vec::new()
            }
            State::Committing { .. } => self.stop_silently("killed before its commit got through", now_ms),
            State::Failing(_) | State::Over => Vec::new(),
        }
    }

    /// A try to commit was answered, or was not.
    pub fn on_commit_answer(&mut self, answer: CommitAnswer, now_ms: u64) -> Vec<AttemptAction> {
        let State::Committing { stopped, retry_at_ms, .. } = &mut self.state else { return Vec::new() };
        let (outcome, detail) = match answer {
            CommitAnswer::Answered(Commit::Committed) => (AttemptOutcome::Committed, ""),
            // Without a record it is unknown how the job ended, or whether it did. Not acknowledged, it comes again, and the scheduler,
            // which reads it back, writes to DEAD what became of it.
            CommitAnswer::Answered(Commit::NoRecord) => {
                self.state = State::Over;
                let detail = "the job's record is missing in RESULTS, so that its result could not be written".to_owned();
                return vec![
                    AttemptAction::Nak { delay_ms: 0 },
                    AttemptAction::Report(self.ended(AttemptOutcome::Lost, detail, 0, now_ms)),
                ];
            }
            CommitAnswer::Answered(Commit::TooLate(_)) => {
                (AttemptOutcome::Superseded, "the job had already ended: this result was discarded")
            }
            CommitAnswer::Unanswered if *stopped => return self.stop_silently("killed before its commit got through", now_ms),
            CommitAnswer::Unanswered => {
                *retry_at_ms = Some(now_ms + PAUSE_MS);
                return Vec::new();
            }
        };
        self.state = State::Over;
        vec![AttemptAction::Ack, AttemptAction::Report(self.ended(outcome, detail.to_owned(), 0, now_ms))]
    }

    /// The failure is in the history: only now may JetStream be asked to deliver the job again. A failure that could not be written is
    /// not handed back, or the next attempt would not know of it: JetStream's ack wait brings the job back.
    pub fn on_failure_written(&mut self, is_written: bool, now_ms: u64) -> Vec<AttemptAction> {
        let State::Failing(mut failure) = std::mem::replace(&mut self.state, State::Over) else { return Vec::new() };
        let delay_ms = failure.retry_delay_ms;
        let nak = is_written.then_some(AttemptAction::Nak { delay_ms });
        let row = if is_written { None } else { failure.path.history.pop().map(Box::new) };
        let ended = self.ended(failure.outcome, failure.detail, delay_ms, now_ms);
        nak.into_iter().chain([AttemptAction::Report(EndedAttempt { row, ..ended })]).collect()
    }

    /// JetStream is about to deliver the job again, or has done so. The history is the scheduler's to write: what this worker wrote now could
    /// cover what the job's next attempt has written.
    fn stop_unanswered(&mut self, now_ms: u64) -> Vec<AttemptAction> {
        self.state = State::Over;
        let detail = format!(
            "JetStream answered no sign of progress for {} s: the worker stopped the attempt, and the job is delivered again",
            FENCED_AFTER_MS / 1000
        );
        let row = Some(Box::new(self.summary(AttemptOutcome::Lost, &detail, now_ms)));
        let ended = self.ended(AttemptOutcome::Lost, detail, 0, now_ms);
        vec![AttemptAction::StopWork, AttemptAction::Report(EndedAttempt { told: Told::Unanswered, row, ..ended })]
    }

    /// The scheduler decides what becomes of the job.
    fn stop_silently(&mut self, why: &str, now_ms: u64) -> Vec<AttemptAction> {
        self.state = State::Over;
        vec![AttemptAction::StopWork, AttemptAction::Report(self.ended(AttemptOutcome::Cancelled, why.to_owned(), 0, now_ms))]
    }

    fn fail(&mut self, outcome: AttemptOutcome, detail: String, retry: bool, now_ms: u64) -> Vec<AttemptAction> {
        let assignment = &self.assignment;
        let max_retries = assignment.spec.max_retries;
        let failures = assignment.failures + 1;
        let retry_delay_ms = if !retry || failures > max_retries {
            0
        } else {
            // The lowest bits of an attempt's id are random: jitter enough.
            let random = (assignment.attempt.to_u128() & 0xf_ffff) as f64 / f64::from(1 << 20);
            retry_delay_ms(failures, self.config.retry_base_ms, self.config.retry_cap_ms, random)
        };
        self.hand_back(outcome, detail, retry_delay_ms, !retry, now_ms)
    }

    fn hand_back(
        &mut self,
        outcome: AttemptOutcome,
        mut detail: String,
        retry_delay_ms: u64,
        no_retry: bool,
        now_ms: u64,
    ) -> Vec<AttemptAction> {
        cut(&mut detail, MAX_DETAIL_BYTES);
        let mut path = self.assignment.path();
        let row = self.summary(outcome, &detail, now_ms);
        if outcome == AttemptOutcome::Lost {
            path.requeue(row)
        } else {
            path.fail(row)
        }
        let failure = Failure { outcome, detail, path, retry_delay_ms, no_retry };
        self.state = State::Failing(Box::new(failure.clone()));
        vec![AttemptAction::StopWork, AttemptAction::WriteFailure(Box::new(failure))]
    }

    fn committed_record(&self, result: String, now_ms: u64) -> TerminalRecord {
        let assignment = &self.assignment;
        let mut path = assignment.path();
        push_history(&mut path.history, self.summary(AttemptOutcome::Committed, "", now_ms));
        TerminalRecord {
            attempt: Some(assignment.attempt),
            result: result.chars().take(MAX_RESULT_CHARS).collect(),
            ..TerminalRecord::of(&assignment.spec, assignment.open_seq, JobState::Committed, self.started_at_ms + now_ms, path)
        }
    }

    fn summary(&self, outcome: AttemptOutcome, detail: &str, now_ms: u64) -> AttemptSummary {
        let assignment = &self.assignment;
        AttemptSummary {
            attempt: assignment.attempt,
            node: assignment.node.clone(),
            incarnation: assignment.incarnation,
            gpus: assignment.gpus.clone(),
            gpu_milli: assignment.spec.demand.gpu_milli,
            placed_at_ms: assignment.placed_at_ms,
            started_at_ms: Some(self.started_at_ms),
            ended_at_ms: Some(self.started_at_ms + now_ms),
            outcome,
            detail: detail.to_owned(),
            why: assignment.why.clone(),
            choice: assignment.choice.clone(),
        }
    }

    fn ended(&self, outcome: AttemptOutcome, detail: String, retry_delay_ms: u64, now_ms: u64) -> EndedAttempt {
        EndedAttempt {
            job: self.assignment.spec.id,
            attempt: self.assignment.attempt,
            node: self.assignment.node.clone(),
            outcome,
            detail,
            at_ms: self.started_at_ms + now_ms,
            retry_delay_ms,
            told: Told::ByWorker,
            row: None,
            ran_ms: Some(self.worked_ms.unwrap_or(now_ms)),
        }
    }
}
