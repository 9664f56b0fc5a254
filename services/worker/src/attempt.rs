//! Performs one attempt: runs its executor, tells [`agent::Attempt`] what happened and does what that answers. Decides nothing;
//! which attempts run where is the agent's business.

use std::sync::Arc;
use std::time::Duration;

use faultline_engine::agent::{self, AttemptAction, AttemptConfig, CommitAnswer, Executed, FENCED_AFTER_MS, Failure};
use faultline_engine::fault::AttemptEnd;
use faultline_engine::job::{Assignment, AttemptOutcome, EndedAttempt, TerminalRecord};
use faultline_protocol::messages::{EventKind, Level};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::Nats;
use faultline_runtime::events::EventSink;
use faultline_runtime::record::{Commit, commit};
use futures::FutureExt;
use tokio::sync::{SetOnce, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::executor::{AttemptContext, BoxFuture, Executor, ExecutorError, Output, run_attempt};
use crate::metrics::WorkerMetrics;
use crate::trace;

/// What all attempts of a worker share.
pub(crate) struct Shared {
    pub(crate) nats: Nats,
    pub(crate) metrics: WorkerMetrics,
    pub(crate) events: EventSink,
    pub(crate) attempts: AttemptConfig,
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

/// What came of something that was done for the attempt.
enum Answer {
    Progress(bool),
    /// The node is cut off no more.
    HearsAgain,
    Commit(CommitAnswer),
    FailureWritten(bool),
}

impl Attempt {
    pub(crate) async fn run(self) {
        let began = Instant::now();
        let elapsed_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut life = agent::Attempt::new(self.shared.attempts, Arc::clone(&self.assignment), self.started_at_ms);
        let mut work = Some(run_attempt(&*self.executor, &self.context).boxed());
        let mut asked: Option<BoxFuture<'_, Answer>> = None;
        let (mut is_stopped, mut is_interrupted) = (false, false);
        while !life.is_over() {
            let wake = life.next_wake_ms().map(|at_ms| began + Duration::from_millis(at_ms));
            let actions = tokio::select! {
                outcome = or_never(&mut work) => {
                    work = None;
                    self.shared.metrics.on_executed(self.executor.kind(), began.elapsed().as_secs_f64());
                    life.on_executed(executed(outcome), elapsed_ms())
                }
                answer = or_never(&mut asked) => {
                    asked = None;
                    match answer {
                        Answer::HearsAgain => life.on_cut_off(false, elapsed_ms()),
                        Answer::Progress(is_answered) => life.on_progress_answer(is_answered, elapsed_ms()),
                        Answer::Commit(answer) => life.on_commit_answer(answer, elapsed_ms()),
                        Answer::FailureWritten(is_written) => life.on_failure_written(is_written, elapsed_ms()),
                    }
                }
                () = self.stop.cancelled(), if !is_stopped => {
                    is_stopped = true;
                    life.on_stop(elapsed_ms())
                }
                (end, why) = self.interruption.wait(), if !is_interrupted => {
                    is_interrupted = true;
                    life.on_interrupted(*end, why.clone(), elapsed_ms())
                }
                () = sleep_until(wake) => life.on_time(elapsed_ms()),
            };
            for action in actions {
                match action {
                    AttemptAction::StopWork => work = None,
                    AttemptAction::SayProgress { .. } if self.context.is_cut_off() => {
                        life.on_cut_off(true, elapsed_ms());
                        asked = Some(self.hear_again().boxed());
                    }
                    AttemptAction::SayProgress { limit_ms } => asked = Some(self.say_progress(limit_ms).boxed()),
                    AttemptAction::Commit(record) => asked = Some(self.commit(record).boxed()),
                    AttemptAction::WriteFailure(failure) => asked = Some(self.write_failure(*failure).boxed()),
                    AttemptAction::Ack => acknowledge(&self.shared.nats, &self.assignment.ack_subject).await,
                    AttemptAction::Nak { delay_ms } => {
                        negative_acknowledge(&self.shared.nats, &self.assignment.ack_subject, delay_ms).await;
                    }
                    // The receiver lives as long as the worker's loop; after that nobody needs to know.
                    AttemptAction::Report(ended) => {
                        trace::tell_attempt(self.shared.nats.tracer(), &self.assignment, self.started_at_ms, &ended);
                        drop(self.shared.ended.send(ended));
                    }
                }
            }
        }
    }

    async fn hear_again(&self) -> Answer {
        self.context.wait_while_cut_off().await;
        Answer::HearsAgain
    }

    async fn say_progress(&self, limit_ms: u64) -> Answer {
        let request = async_nats::Request::new().payload("+WPI".into()).timeout(Some(Duration::from_millis(limit_ms)));
        let answer = self.shared.nats.client.send_request(self.assignment.ack_subject.clone(), request).await;
        Answer::Progress(answer.is_ok())
    }

    async fn commit(&self, record: Arc<TerminalRecord>) -> Answer {
        self.context.wait_while_cut_off().await;
        let (asked, asked_ms) = (Instant::now(), unix_ms());
        let committed = commit(&self.shared.nats, &record, self.shared.terminal_ttl_s, self.assignment.traceparent.as_deref()).await;
        if let Ok(commit) = &committed {
            self.shared.metrics.commit_seconds.observe(asked.elapsed().as_secs_f64());
            trace::tell_commit(self.shared.nats.tracer(), &self.assignment, asked_ms, commit);
        }
        Answer::Commit(match committed {
            Ok(commit) => {
                if let Commit::TooLate(ended) = commit {
                    tracing::warn!(job = %record.job, attempt = ?record.attempt, ?ended, "the job had already ended: this result was discarded");
                }
                CommitAnswer::Answered(commit)
            }
            Err(error) => {
                tracing::warn!(job = %record.job, %error, "the commit did not get through yet: trying again");
                CommitAnswer::Unanswered
            }
        })
    }

    async fn write_failure(&self, failure: Failure) -> Answer {
        self.context.wait_while_cut_off().await;
        let Failure { outcome, detail, failures, requeues, history, retry_delay_ms, no_retry } = failure;
        let (spec, attempt, node) = (&self.assignment.spec, self.assignment.attempt, &self.assignment.node);
        tracing::warn!(job = %spec.id, %attempt, node, ?outcome, failures, requeues, retry_delay_ms, detail, "attempt ended early");
        let kind = if outcome == AttemptOutcome::Lost { EventKind::AttemptLost } else { EventKind::AttemptFailed };
        let mut event = self.shared.events.event(Level::Warn, kind, detail);
        (event.job, event.attempt, event.node) = (Some(spec.id), Some(attempt), Some(node.clone()));
        (event.failures, event.requeues, event.history) = (failures, requeues, history);
        (event.retry_at_ms, event.no_retry) = (Some(unix_ms() + retry_delay_ms), no_retry);
        Answer::FailureWritten(self.shared.events.send_durably(event, Duration::from_millis(FENCED_AFTER_MS)).await)
    }
}

fn executed(outcome: Result<Output, ExecutorError>) -> Executed {
    match outcome {
        Ok(output) => Executed::Done { result: output.result },
        Err(ExecutorError::Cancelled) => Executed::Stopped,
        Err(error @ (ExecutorError::Invalid(_) | ExecutorError::Final(_))) => Executed::Failed { detail: error.to_string(), retry: false },
        Err(error) => Executed::Failed { detail: error.to_string(), retry: true },
    }
}

async fn or_never<T>(future: &mut Option<BoxFuture<'_, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

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
