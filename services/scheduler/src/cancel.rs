//! Cancels jobs: the commit decides, whatever runs is stopped afterwards.

use faultline_engine::job::{AttemptOutcome, AttemptSummary, JobId, JobState, Path, Submission, class};
use faultline_engine::ledger::Took;
use faultline_engine::ledger::survey::Orphan;
use faultline_protocol::messages::{CancelAnswer, CancelOutcome, EventKind, Level, TerminalRecord};
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock::ms;
use faultline_runtime::connection::Connection;
use faultline_runtime::events::EventSink;
use faultline_runtime::record::{Commit, JobRecord, commit, commit_without_message, count_messages, read_queued, read_record};
use tokio::sync::mpsc;

use crate::intake::Input;
use crate::records::ended_from_marker;

/// The most jobs that one request may name.
pub(crate) const MAX_CANCELS: usize = 1000;
const TRIES: usize = 5;

/// What the books say of a job that is to be cancelled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// The attempt that runs included.
    pub(crate) path: Path,
    /// None for a job that the scheduler has not pulled yet: its message in the queue says it.
    pub(crate) submission: Option<Submission>,
    /// The scheduler holds it, so it was queued.
    pub(crate) is_held: bool,
}

/// Cancels one job and says what became of it.
pub(crate) async fn cancel(
    nats: &Connection,
    events: &EventSink,
    inputs: &mpsc::Sender<Input>,
    job: JobId,
    known: Known,
    by: &str,
    ttl_s: u64,
) -> CancelAnswer {
    let answer = |outcome, detail: String| CancelAnswer { job, outcome, detail };
    for _ in 0..TRIES {
        let found = match read_record(nats, job).await {
            Err(reason) => return answer(CancelOutcome::Failed, reason),
            Ok(None) => return answer(CancelOutcome::NotFound, "unknown job, or its record has expired".into()),
            Ok(Some(found)) if !found.is_open => {
                let state = found.terminal_state().map_or("ended", JobState::as_str);
                return answer(CancelOutcome::AlreadyEnded, format!("it is {state} already"));
            }
            Ok(Some(found)) => found,
        };
        let mut record = ended_from_marker(job, &found, JobState::Cancelled, &format!("cancelled by {by}"), nats.unix_ms());
        (record.failures, record.requeues) = (known.path.failures, known.path.requeues);
        record.history = known.path.history.iter().cloned().map(|row| ended_row(row, record.ended_at_ms)).collect();
        record.submission = match &known.submission {
            Some(submission) => Some(submission.clone()),
            None => queued_submission(nats, &record).await,
        };
        // A job without a message must not be counted among those whose end took one out of JOBS.
        let messages = if known.is_held { None } else { count_messages(nats, job).await.ok() };
        let committed = match messages {
            Some(0) => commit_without_message(nats, &record, ttl_s, Took::Nothing).await,
            _ => commit(nats, &record, ttl_s).await,
        };
        match committed {
            Ok(Commit::TooLate(_) | Commit::NoRecord) => {}
            Err(error) => return answer(CancelOutcome::Failed, error.to_string()),
            Ok(Commit::Committed) => {
                purge(nats, job).await;
                let _ = inputs.send(Input::Cancelled(job)).await;
                let mut event = events.event(Level::Info, EventKind::JobCancelled, record.reason);
                event.job = Some(job);
                event.history = record.history;
                events.send(event).await;
                return answer(CancelOutcome::Cancelled, String::new());
            }
        }
    }
    answer(CancelOutcome::Failed, "the record kept changing: try again".into())
}

/// What was submitted of a job that still waits in the queue.
async fn queued_submission(nats: &Connection, record: &TerminalRecord) -> Option<Submission> {
    match read_queued(nats, record.priority, class(&record.kind), record.job).await {
        Ok(spec) => spec.as_ref().map(Submission::for_record),
        Err(reason) => {
            tracing::debug!(job = %record.job, reason, "the record of a cancelled job says nothing of what was submitted");
            None
        }
    }
}

fn ended_row(mut row: AttemptSummary, ended_at_ms: u64) -> AttemptSummary {
    if row.outcome == AttemptOutcome::Running {
        row.outcome = AttemptOutcome::Cancelled;
        row.ended_at_ms = Some(ended_at_ms);
    }
    row
}

/// Takes the queued message away. When that fails it is delivered, found ended and acknowledged; so are several of one job, each of which
/// is then counted.
async fn purge(nats: &Connection, job: JobId) {
    if !matches!(count_messages(nats, job).await, Ok(1)) {
        return;
    }
    if let Err(error) = nats.purge(streams::JOBS, subjects::queue_any(job)).await {
        tracing::debug!(%job, %error, "the cancelled job's message was not purged");
    }
}

/// Closes an opening of a job that had ended, with a record that says so and nothing about the job.
async fn close_returned(nats: &Connection, job: JobId, found: &JobRecord) {
    let reason = "it had ended, and NATS brought its opening back when the server was killed";
    let record = ended_from_marker(job, found, JobState::Abandoned, reason, nats.unix_ms());
    match commit_without_message(nats, &record, ms(streams::MIN_TERMINAL_TTL) / 1000, Took::Returned).await {
        Ok(_) => tracing::info!(%job, "closed an opening that NATS brought back after the job had ended"),
        Err(error) => tracing::debug!(%job, %error, "an opening that NATS brought back is not closed yet"),
    }
}

/// Ends an open job that has no message in JOBS, when that is still true.
pub(crate) async fn end_orphan(nats: &Connection, events: &EventSink, orphan: &Orphan, ttl_s: u64) {
    let Orphan { job, open_seq, took, .. } = *orphan;
    if !matches!(count_messages(nats, job).await, Ok(0)) {
        return;
    }
    let Ok(Some(found)) = read_record(nats, job).await else { return };
    if !found.is_open || found.seq != open_seq {
        return;
    }
    let (level, reason) = match took {
        Took::Returned => {
            close_returned(nats, job, &found).await;
            return;
        }
        Took::Vanished => (Level::Error, "lost: it had been queued, and its message was removed from JOBS before it had ended"),
        Took::Unclear => (Level::Error, "it has no message in JOBS: it was never queued, or it is one of those whose message was removed"),
        Took::Message | Took::Nothing => (Level::Warn, "its submitter stopped between opening it and queueing it"),
    };
    let record = ended_from_marker(job, &found, JobState::Abandoned, reason, nats.unix_ms());
    if let Ok(Commit::Committed) = commit_without_message(nats, &record, ttl_s, took).await {
        if level == Level::Error {
            tracing::error!(%job, reason, "an open job without a message was ended");
        } else {
            tracing::warn!(%job, reason, "an open job without a message was abandoned");
        }
        let mut event = events.event(level, EventKind::JobAbandoned, record.reason);
        event.job = Some(job);
        events.send(event).await;
    }
}
