//! Reads a job's record and its last event back, when JetStream delivers the job again.

use faultline_engine::job::{JobId, JobState, Path};
use faultline_engine::scheduler::{Past, RecordRead};
use faultline_protocol::codec;
use faultline_protocol::messages::{ClusterEvent, EventBatch, OpenMarker, TerminalRecord};
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock_check::stored_ms;
use faultline_runtime::connection::Connection;
use faultline_runtime::record::{JobRecord, read_record_surely};

/// What RESULTS and EVENTS know of a job.
pub(crate) async fn read_back(nats: &Connection, job: JobId) -> RecordRead {
    match read_record_surely(nats, job).await {
        Err(reason) => RecordRead::Failed(reason),
        Ok(None) => RecordRead::Missing,
        Ok(Some(record)) if record.is_open => match past_of(nats, job).await {
            Ok(past) => RecordRead::Open { seq: record.seq, past },
            Err(reason) => RecordRead::Failed(reason),
        },
        Ok(Some(record)) => match record.terminal_state() {
            Some(state) => RecordRead::Ended(state),
            None => RecordRead::Failed("its record has no known Job-State".into()),
        },
    }
}

/// The job's last event, with what its interrupted attempts say of its path.
async fn past_of(nats: &Connection, job: JobId) -> Result<Past, String> {
    let (event, interrupted) = (subjects::job_event(job), subjects::job_interrupted_event(job));
    let (mut past, interrupted) = futures::try_join!(last_event(nats, job, &event), last_event(nats, job, &interrupted))?;
    past.path.merge(interrupted.path);
    Ok(past)
}

async fn last_event(nats: &Connection, job: JobId, subject: &str) -> Result<Past, String> {
    match nats.last(streams::EVENTS, subject, false).await? {
        None => Ok(Past::default()),
        Some(message) => {
            let written_at_ms = stored_ms(message.time);
            match codec::decode::<EventBatch>(Some(&message.headers), &message.payload) {
                Ok(batch) => Ok(batch.events.into_iter().next_back().map_or_else(Past::default, |event| past(event, written_at_ms))),
                Err(error) => {
                    // The job must not suffer for nonsense in its history.
                    tracing::warn!(%job, %error, "its last event cannot be read: counting from zero");
                    Ok(Past::default())
                }
            }
        }
    }
}

/// What an event that JetStream stored at `written_at_ms` says of its job. Both times in it are by the clock of its worker: only their
/// difference means something here.
fn past(event: ClusterEvent, written_at_ms: u64) -> Past {
    Past {
        path: Path { failures: event.failures, requeues: event.requeues, history: event.history },
        retry_delay_ms: event.retry_at_ms.map_or(0, |retry_at_ms| retry_at_ms.saturating_sub(event.at_ms)),
        written_at_ms,
        no_retry: event.no_retry,
    }
}

/// The end of a job of which only the open marker can be read.
pub(crate) fn dead_from_marker(job: JobId, found: &JobRecord, reason: &str, now_ms: u64) -> TerminalRecord {
    ended_from_marker(job, found, JobState::Dead, reason, now_ms)
}

/// A terminal record made from an open marker; what the marker does not say stays empty.
pub(crate) fn ended_from_marker(job: JobId, found: &JobRecord, state: JobState, reason: &str, now_ms: u64) -> TerminalRecord {
    let record = TerminalRecord { reason: reason.to_owned(), ..TerminalRecord::bare(job, found.seq, state, now_ms) };
    match codec::decode::<OpenMarker>(Some(&found.headers), &found.body) {
        Ok(OpenMarker { name, kind, priority, submitted_at_ms, .. }) => TerminalRecord { name, kind, priority, submitted_at_ms, ..record },
        Err(_) => record,
    }
}
