//! Performs one attempt: runs its executor, tells [`agent::Life`] what happened and does what that answers. Decides nothing;
//! which attempts run where is the agent's business.

use std::sync::Arc;
use std::time::Duration;

use async_nats::RequestErrorKind;
use async_nats::jetstream::AckKind;
use faultline_engine::agent::{self, AttemptAction, AttemptConfig, CommitAnswer, Executed, FENCED_AFTER_MS, Failure, ProgressAnswer};
use faultline_engine::fault::AttemptEnd;
use faultline_engine::job::{Assignment, AttemptOutcome, EndedAttempt, TerminalRecord};
use faultline_protocol::messages::{EventKind, Level};
use faultline_protocol::streams;
use faultline_runtime::connection::{Connection, nak};
use faultline_runtime::events::EventSink;
use faultline_runtime::record::{Commit, commit};
use faultline_runtime::seldom::Seldom;
use faultline_runtime::wire::Post;
use futures::FutureExt;
use tokio::sync::{SetOnce, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::executor::{AttemptContext, BoxFuture, Executor, ExecutorError, Output, run_attempt};
use crate::metrics::WorkerMetrics;
use crate::trace;

/// One log line about commits that did not get through in so long.
pub(crate) const UNCOMMITTED_EVERY: Duration = Duration::from_secs(5);

/// What all attempts of a worker share.
pub(crate) struct Shared {
    pub(crate) nats: Connection,
    pub(crate) metrics: WorkerMetrics,
    pub(crate) events: EventSink,
    pub(crate) attempts: AttemptConfig,
    pub(crate) terminal_ttl_s: u64,
    pub(crate) ended: mpsc::UnboundedSender<EndedAttempt>,
    /// Log lines about commits that did not get through.
    pub(crate) uncommitted: Seldom,
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
    /// Which JOBS its ack subject is of.
    pub(crate) jobs_generation: u64,
}

/// What came of something that was done for the attempt.
enum Answer {
    Progress(ProgressAnswer),
    /// The node is cut off no more.
    HearsAgain,
    Commit(CommitAnswer),
    FailureWritten(bool),
}

impl Attempt {
    pub(crate) async fn run(self) {
        let began = Instant::now();
        let elapsed_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut life = agent::Life::new(self.shared.attempts, Arc::clone(&self.assignment), self.started_at_ms);
        let mut work = Some(run_attempt(&*self.executor, &self.context).boxed());
        let mut asked: Option<BoxFuture<'_, Answer>> = None;
        let (mut is_stopped, mut is_interrupted) = (false, false);
        while !life.is_over() {
            let wake = life.next_wake_ms().map(|at_ms| began + Duration::from_millis(at_ms));
            let actions = tokio::select! {
                biased;
                () = self.stop.cancelled(), if !is_stopped => {
                    is_stopped = true;
                    life.on_stop(elapsed_ms())
                }
                (end, why) = self.interruption.wait(), if !is_interrupted => {
                    is_interrupted = true;
                    life.on_interrupted(*end, why.clone(), elapsed_ms())
                }
                outcome = or_never(&mut work) => {
                    work = None;
                    self.shared.metrics.on_executed(self.executor.kind(), began.elapsed().as_secs_f64());
                    life.on_executed(executed(outcome), elapsed_ms())
                }
                answer = or_never(&mut asked) => {
                    asked = None;
                    match answer {
                        Answer::HearsAgain => life.on_cut_off(false, elapsed_ms()),
                        Answer::Progress(answer) => life.on_progress_answer(answer, elapsed_ms()),
                        Answer::Commit(answer) => life.on_commit_answer(answer, elapsed_ms()),
                        Answer::FailureWritten(is_written) => life.on_failure_written(is_written, elapsed_ms()),
                    }
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
                    AttemptAction::Ack => acknowledge(&self.shared.nats, self.jobs_generation, &self.assignment.ack_subject).await,
                    AttemptAction::Nak { delay_ms } => {
                        negative_acknowledge(&self.shared.nats, &self.assignment.ack_subject, delay_ms).await;
                    }
                    // The receiver lives as long as the worker's loop; after that no task needs to know.
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
        let question = Post::bare(self.assignment.ack_subject.clone(), AckKind::Progress);
        let answer = self.shared.nats.request(question, Some(Duration::from_millis(limit_ms))).await;
        Answer::Progress(match answer {
            Ok(_) => ProgressAnswer::Heard,
            Err((RequestErrorKind::NoResponders, _)) => {
                tracing::warn!(
                    job = %self.assignment.spec.id,
                    "no consumer waits for the acknowledgement of this job: the attempt continues; recreate the consumer with `faultline setup`"
                );
                ProgressAnswer::NoConsumer
            }
            Err(_) => ProgressAnswer::Unanswered,
        })
    }

    async fn commit(&self, record: Arc<TerminalRecord>) -> Answer {
        self.context.wait_while_cut_off().await;
        let (asked, asked_ms) = (Instant::now(), self.shared.nats.unix_ms());
        let committed = commit(&self.shared.nats, &record, self.shared.terminal_ttl_s).await;
        if let Ok(commit) = &committed {
            self.shared.metrics.commit_seconds.observe(asked.elapsed().as_secs_f64());
            trace::tell_commit(&self.shared.nats, &self.assignment, asked_ms, commit);
        }
        Answer::Commit(match committed {
            Ok(commit) => {
                match commit {
                    Commit::Committed => {}
                    Commit::TooLate(ended) => {
                        tracing::warn!(job = %record.job, attempt = ?record.attempt, ?ended, "the job had already ended: this result was discarded");
                    }
                    Commit::NoRecord => {
                        tracing::error!(job = %record.job, attempt = ?record.attempt, "the job's record is missing in RESULTS: its result could not be written");
                    }
                }
                CommitAnswer::Answered(commit)
            }
            Err(error) => {
                // RESULTS that takes nothing holds up every attempt of this worker at once.
                if let Some(kept_back) = self.shared.uncommitted.admit(Instant::now()) {
                    tracing::warn!(job = %record.job, %error, kept_back, "the commit did not get through yet: trying again");
                }
                CommitAnswer::Unanswered
            }
        })
    }

    async fn write_failure(&self, failure: Failure) -> Answer {
        self.context.wait_while_cut_off().await;
        let Failure { outcome, detail, path, retry_delay_ms, no_retry } = failure;
        let (failures, requeues) = (path.failures, path.requeues);
        let (spec, attempt, node) = (&self.assignment.spec, self.assignment.attempt, &self.assignment.node);
        tracing::warn!(job = %spec.id, %attempt, node, ?outcome, failures, requeues, retry_delay_ms, detail, "attempt ended early");
        let kind = if outcome == AttemptOutcome::Lost { EventKind::AttemptLost } else { EventKind::AttemptFailed };
        let mut event = self.shared.events.event(Level::Warn, kind, detail);
        (event.job, event.attempt, event.node) = (Some(spec.id), Some(attempt), Some(node.clone()));
        event = event.with_path(path);
        (event.retry_at_ms, event.no_retry) = (Some(event.at_ms + retry_delay_ms), no_retry);
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

/// Says that a message of JOBS is done with. In a JOBS that was made anew, or went back, the same sequence is another job's: there
/// nothing is said. What is not acknowledged comes again, and is found ended.
async fn acknowledge(nats: &Connection, jobs_generation: u64, ack_subject: &str) {
    if !nats.is_current(streams::JOBS, jobs_generation) {
        return tracing::debug!(ack_subject, "not acknowledged: the message may be from an earlier JOBS");
    }
    if let Err(error) = nats.tell(ack_subject.to_owned(), AckKind::Ack).await {
        tracing::debug!(%error, "an acknowledgement was not sent");
    }
}

/// Has the message delivered again after `delay_ms`.
pub(crate) async fn negative_acknowledge(nats: &Connection, ack_subject: &str, delay_ms: u64) {
    if let Err(error) = nats.tell(ack_subject.to_owned(), nak(delay_ms)).await {
        tracing::debug!(%error, "a negative acknowledgement was not sent");
    }
}
