//! One attempt from its start to its commit, its failure or its silence. The worker owns the message's ack subject, so
//! that everything JetStream hears of the job from now on is said here. Which attempts run where is the node's business.

use std::sync::Arc;
use std::time::Duration;

use faultline_engine::fault::AttemptEnd;
use faultline_engine::job::{Assignment, AttemptOutcome, AttemptSummary, EndedAttempt, JobState, push_history, retry_delay_ms};
use faultline_protocol::messages::{EventKind, Level, TerminalRecord};
use faultline_protocol::streams;
use faultline_runtime::clock::{self, unix_ms};
use faultline_runtime::connect::Nats;
use faultline_runtime::events::EventSink;
use faultline_runtime::record::{Commit, commit};
use tokio::sync::{SetOnce, mpsc};
use tokio_util::sync::CancellationToken;

use crate::executor::{AttemptContext, Executor, ExecutorError, run_attempt};

/// After this long without an answer to a sign of progress the worker must assume that it is cut off and its job placed
/// elsewhere: it stops by itself, before the 15 s of JetStream's ack wait are over.
const FENCED_AFTER: Duration = Duration::from_secs(12);
const COMMIT_PAUSE: Duration = Duration::from_millis(200);
const MAX_RESULT_CHARS: usize = 4096;

/// What all attempts of a worker share.
pub(crate) struct Shared {
    pub(crate) nats: Nats,
    pub(crate) events: EventSink,
    pub(crate) retry_base_ms: u64,
    pub(crate) retry_cap_ms: u64,
    pub(crate) terminal_ttl_s: u64,
    pub(crate) ended: mpsc::UnboundedSender<EndedAttempt>,
}

/// How and why a fault ends an attempt. Unlike a stop, JetStream and the history are told.
pub(crate) type Interruption = SetOnce<(AttemptEnd, String)>;

/// One attempt with what it needs to run.
pub(crate) struct Attempt {
    pub(crate) shared: Arc<Shared>,
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) context: AttemptContext,
    /// Cancelled when the attempt shall stop without a word: its job was cancelled or placed elsewhere.
    pub(crate) stop: CancellationToken,
    /// Set when a fault ends it before its work is done.
    pub(crate) interruption: Arc<Interruption>,
    pub(crate) started_at_ms: u64,
}

enum Executed {
    Done(String),
    Failed {
        outcome: AttemptOutcome,
        detail: String,
        retry: bool,
    },
    /// The machine is to blame.
    Lost(String),
    /// Somebody else decides what becomes of the job.
    Stopped(&'static str),
}

impl Attempt {
    pub(crate) async fn run(self) {
        match self.execute().await {
            Executed::Done(result) => match self.commit(result).await {
                Some((outcome, detail)) => {
                    acknowledge(&self.shared.nats, &self.assignment.ack_subject).await;
                    self.report(outcome, detail, 0);
                }
                None => self.give_up("killed on the scheduler's order before its result was committed"),
            },
            Executed::Failed { outcome, detail, retry } => self.fail(outcome, detail, retry).await,
            Executed::Lost(why) => {
                let assignment = &self.assignment;
                self.hand_back(AttemptOutcome::Lost, why, (assignment.failures, assignment.requeues + 1), 0, false).await;
            }
            Executed::Stopped(why) => self.give_up(why),
        }
    }

    /// Reported all the same: its GPUs are free again.
    fn give_up(&self, why: &'static str) {
        tracing::warn!(job = %self.assignment.spec.id, attempt = %self.assignment.attempt, node = self.assignment.node, why, "attempt stopped");
        self.report(AttemptOutcome::Cancelled, why.to_owned(), 0);
    }

    async fn execute(&self) -> Executed {
        let limit = Duration::from_millis(self.assignment.spec.timeout_ms);
        tokio::select! {
            outcome = run_attempt(&*self.executor, &self.context) => match outcome {
                Ok(output) => Executed::Done(output.result.chars().take(MAX_RESULT_CHARS).collect()),
                Err(ExecutorError::Cancelled) => Executed::Stopped("cancelled"),
                Err(ExecutorError::Invalid(invalid)) => Executed::Failed { outcome: AttemptOutcome::Failed, detail: invalid.to_string(), retry: false },
                Err(error) => Executed::Failed { outcome: AttemptOutcome::Failed, detail: error.to_string(), retry: true },
            },
            () = tokio::time::sleep(limit) => Executed::Failed {
                outcome: AttemptOutcome::TimedOut,
                detail: format!("ran past its time limit of {} ms", self.assignment.spec.timeout_ms),
                retry: true,
            },
            (end, why) = self.interruption.wait() => match end {
                AttemptEnd::Requeued => Executed::Lost(why.clone()),
                AttemptEnd::Failed => Executed::Failed { outcome: AttemptOutcome::Failed, detail: why.clone(), retry: true },
            },
            () = self.keep_message() => Executed::Stopped("cut off from NATS: the job is placed elsewhere"),
            () = self.stop.cancelled() => Executed::Stopped("killed on the scheduler's order"),
        }
    }

    /// Says every 5 s that the work goes on. Ends when nobody has answered for 12 s.
    async fn keep_message(&self) {
        let mut answered = tokio::time::Instant::now();
        loop {
            tokio::time::sleep_until(answered + streams::PROGRESS_EVERY).await;
            if self.context.is_cut_off() {
                // A zombie does not know that nobody hears it, so it does not stop by itself.
                self.context.wait_while_cut_off().await;
                answered = tokio::time::Instant::now();
            }
            let deadline = answered + FENCED_AFTER;
            loop {
                let request = async_nats::Request::new().payload("+WPI".into()).timeout(Some(Duration::from_secs(2)));
                let asked = tokio::time::Instant::now();
                match tokio::time::timeout_at(deadline, self.shared.nats.client.send_request(self.assignment.ack_subject.clone(), request))
                    .await
                {
                    Ok(Ok(_)) => {
                        answered = asked;
                        break;
                    }
                    Ok(Err(_)) if tokio::time::Instant::now() < deadline => tokio::time::sleep(COMMIT_PAUSE).await,
                    Ok(Err(_)) | Err(_) => return,
                }
            }
        }
    }

    /// Commits the result unless another attempt, or a cancellation, came first. `None` when stopped on the way.
    async fn commit(&self, result: String) -> Option<(AttemptOutcome, String)> {
        let assignment = &self.assignment;
        let ended_at_ms = unix_ms();
        let mut history = assignment.history.clone();
        push_history(&mut history, self.summary(AttemptOutcome::Committed, ended_at_ms, ""));
        let record = TerminalRecord {
            job: assignment.spec.id,
            name: assignment.spec.name.clone(),
            kind: assignment.spec.kind.clone(),
            priority: assignment.spec.priority,
            state: JobState::Committed,
            attempt: Some(assignment.attempt),
            open_seq: assignment.open_seq,
            submitted_at_ms: assignment.spec.submitted_at_ms,
            ended_at_ms,
            result,
            reason: String::new(),
            failures: assignment.failures,
            requeues: assignment.requeues,
            history,
        };
        while !self.stop.is_cancelled() {
            self.context.wait_while_cut_off().await;
            match commit(&self.shared.nats, &record, self.shared.terminal_ttl_s, assignment.traceparent.as_deref()).await {
                Ok(Commit::Committed) => return Some((AttemptOutcome::Committed, String::new())),
                Ok(Commit::TooLate(ended)) => {
                    tracing::warn!(job = %record.job, attempt = %assignment.attempt, ?ended, "the job had already ended: this result was discarded");
                    return Some((AttemptOutcome::Superseded, "the job had already ended: this result was discarded".into()));
                }
                Err(error) => tracing::warn!(job = %record.job, %error, "the commit did not get through yet: trying again"),
            }
            tokio::time::sleep(COMMIT_PAUSE).await;
        }
        None
    }

    /// The job itself failed: it is tried again later, or never.
    async fn fail(&self, outcome: AttemptOutcome, detail: String, retry: bool) {
        let assignment = &self.assignment;
        let spec = &assignment.spec;
        let failures = assignment.failures + 1;
        let exhausted = !retry || failures > spec.max_retries;
        let delay_ms = if exhausted {
            0
        } else {
            let random = (clock::random_u128() % 1_000_000) as f64 / 1e6;
            retry_delay_ms(failures, self.shared.retry_base_ms, self.shared.retry_cap_ms, random)
        };
        self.hand_back(outcome, detail, (failures, assignment.requeues), delay_ms, !retry).await;
    }

    /// Writes the end into the history (a new leader counts from there), then has the job delivered again.
    async fn hand_back(&self, outcome: AttemptOutcome, detail: String, counts: (u32, u32), delay_ms: u64, no_retry: bool) {
        let (failures, requeues) = counts;
        self.context.wait_while_cut_off().await;
        let assignment = &self.assignment;
        let spec = &assignment.spec;
        let kind = if outcome == AttemptOutcome::Lost { EventKind::AttemptLost } else { EventKind::AttemptFailed };
        let mut event = self.shared.events.event(Level::Warn, kind, detail.clone());
        event.job = Some(spec.id);
        event.attempt = Some(assignment.attempt);
        event.node = Some(assignment.node.clone());
        event.failures = failures;
        event.requeues = requeues;
        event.retry_at_ms = Some(unix_ms() + delay_ms);
        event.no_retry = no_retry;
        event.history.clone_from(&assignment.history);
        push_history(&mut event.history, self.summary(outcome, unix_ms(), &detail));
        tracing::warn!(job = %spec.id, attempt = %assignment.attempt, node = assignment.node, ?outcome, failures, requeues, delay_ms, detail, "attempt ended early");
        self.shared.events.send_durably(event, FENCED_AFTER).await;
        negative_acknowledge(&self.shared.nats, &assignment.ack_subject, delay_ms).await;
        self.report(outcome, detail, delay_ms);
    }

    fn summary(&self, outcome: AttemptOutcome, ended_at_ms: u64, detail: &str) -> AttemptSummary {
        let assignment = &self.assignment;
        AttemptSummary {
            attempt: assignment.attempt,
            node: assignment.node.clone(),
            incarnation: assignment.incarnation,
            gpus: assignment.gpus.clone(),
            gpu_milli: assignment.spec.demand.gpu_milli,
            placed_at_ms: assignment.placed_at_ms,
            started_at_ms: Some(self.started_at_ms),
            ended_at_ms: Some(ended_at_ms),
            outcome,
            detail: detail.to_owned(),
            why: assignment.why.clone(),
        }
    }

    fn report(&self, outcome: AttemptOutcome, detail: String, retry_delay_ms: u64) {
        let ended = EndedAttempt {
            job: self.assignment.spec.id,
            attempt: self.assignment.attempt,
            node: self.assignment.node.clone(),
            outcome,
            detail,
            at_ms: unix_ms(),
            retry_delay_ms,
        };
        // The receiver lives as long as the worker's loop; after that nobody needs to know.
        let _ = self.shared.ended.send(ended);
    }
}

/// A lost acknowledgement does no harm: the job is delivered again, found ended, and acknowledged then.
async fn acknowledge(nats: &Nats, ack_subject: &str) {
    if let Err(error) = nats.client.publish(ack_subject.to_owned(), "+ACK".into()).await {
        tracing::debug!(%error, "an acknowledgement was not sent");
    }
}

/// Has the message delivered again after `delay_ms`.
pub(crate) async fn negative_acknowledge(nats: &Nats, ack_subject: &str, delay_ms: u64) {
    let body = if delay_ms == 0 { "-NAK".to_owned() } else { format!("-NAK {{\"delay\": {}}}", u128::from(delay_ms) * 1_000_000) };
    if let Err(error) = nats.client.publish(ack_subject.to_owned(), body.into()).await {
        tracing::debug!(%error, "a negative acknowledgement was not sent");
    }
}
