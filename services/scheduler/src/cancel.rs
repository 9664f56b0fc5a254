//! Cancels jobs: the commit decides, whatever runs is stopped afterwards.

use async_nats::jetstream::stream::Stream;
use faultline_engine::job::{AttemptOutcome, AttemptSummary, JobId, JobState};
use faultline_protocol::messages::{CancelAnswer, CancelOutcome, EventKind, Level};
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::Nats;
use faultline_runtime::events::EventSink;
use faultline_runtime::record::{Commit, commit, read_record};
use tokio::sync::mpsc;

use crate::intake::Input;
use crate::records::ended_from_marker;

/// The most jobs that one request may name.
pub(crate) const MAX_CANCELS: usize = 1000;
const TRIES: usize = 5;

/// What the books say of a job that is to be cancelled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    pub(crate) path: Vec<AttemptSummary>,
    pub(crate) failures: u32,
    pub(crate) requeues: u32,
}

/// Cancels one job and says what became of it.
pub(crate) async fn cancel(
    nats: &Nats,
    events: &EventSink,
    inputs: &mpsc::Sender<Input>,
    job: JobId,
    past: Past,
    by: &str,
    ttl_s: u64,
) -> CancelAnswer {
    let answer = |outcome, detail: String| CancelAnswer { job, outcome, detail };
    for _ in 0..TRIES {
        let found = match read_record(nats, job).await {
            Err(reason) => return answer(CancelOutcome::Failed, reason),
            Ok(None) => return answer(CancelOutcome::NotFound, "no such job, or it ended so long ago that its record expired".into()),
            Ok(Some(found)) if !found.is_open => {
                let state = found.terminal_state().map_or("ended", JobState::as_str);
                return answer(CancelOutcome::AlreadyEnded, format!("it is {state} already"));
            }
            Ok(Some(found)) => found,
        };
        let mut record = ended_from_marker(job, &found, JobState::Cancelled, &format!("cancelled by {by}"));
        (record.failures, record.requeues) = (past.failures, past.requeues);
        record.history = past.path.iter().cloned().map(|row| ended_row(row, record.ended_at_ms)).collect();
        match commit(nats, &record, ttl_s, None).await {
            Ok(Commit::TooLate(_)) => {}
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

fn ended_row(mut row: AttemptSummary, ended_at_ms: u64) -> AttemptSummary {
    if row.outcome == AttemptOutcome::Running {
        row.outcome = AttemptOutcome::Cancelled;
        row.ended_at_ms = Some(ended_at_ms);
    }
    row
}

/// Takes the queued message away. When that fails it is delivered, found ended and acknowledged.
async fn purge(nats: &Nats, job: JobId) {
    let stream: Result<Stream<()>, _> = nats.jetstream.get_stream_no_info(streams::JOBS).await;
    if let Ok(stream) = stream
        && let Err(error) = stream.purge().filter(subjects::queue_any(job)).await
    {
        tracing::debug!(%job, %error, "the cancelled job's message was not purged");
    }
}

/// Marks a job whose submitter died between its two writes: an open marker, and no message in JOBS.
pub(crate) async fn abandon_if_orphan(nats: &Nats, events: &EventSink, job: JobId, open_seq: u64, ttl_s: u64) {
    let Ok(stream) = nats.jetstream.get_stream(streams::JOBS).await else { return };
    let queued = stream.info_with_subjects(subjects::queue_any(job)).await;
    match queued {
        Err(_) => return,
        Ok(mut subjects) => {
            if futures::StreamExt::next(&mut subjects).await.is_some() {
                return;
            }
        }
    }
    let Ok(Some(found)) = read_record(nats, job).await else { return };
    if !found.is_open || found.seq != open_seq {
        return;
    }
    let record = ended_from_marker(job, &found, JobState::Abandoned, "its submitter stopped between opening it and queueing it");
    if let Ok(Commit::Committed) = commit(nats, &record, ttl_s, None).await {
        tracing::warn!(%job, age_ms = unix_ms().saturating_sub(job.unix_ms()), "an open job without a message was abandoned");
        let mut event = events.event(Level::Warn, EventKind::JobAbandoned, record.reason);
        event.job = Some(job);
        events.send(event).await;
    }
}
