//! Reads a job's record and its last event back, when JetStream delivers the job again.

use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use faultline_engine::job::{JobId, JobState, Priority};
use faultline_engine::scheduler::{Past, RecordRead};
use faultline_protocol::codec;
use faultline_protocol::messages::{EventBatch, OpenMarker, TerminalRecord};
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::Nats;
use faultline_runtime::record::{JobRecord, read_record_surely};

/// What RESULTS and EVENTS know of a job.
pub(crate) async fn read_back(nats: &Nats, job: JobId) -> RecordRead {
    match read_record_surely(nats, job).await {
        Err(reason) => RecordRead::Failed(reason),
        Ok(None) => RecordRead::Missing,
        Ok(Some(record)) if record.is_open => match last_event(nats, job).await {
            Ok(past) => RecordRead::Open { seq: record.seq, past },
            Err(reason) => RecordRead::Failed(reason),
        },
        Ok(Some(record)) => match record.terminal_state() {
            Some(state) => RecordRead::Ended(state),
            None => RecordRead::Failed("its record has no known Job-State".into()),
        },
    }
}

async fn last_event(nats: &Nats, job: JobId) -> Result<Past, String> {
    let stream: Stream<()> = nats.jetstream.get_stream_no_info(streams::EVENTS).await.map_err(|error| error.to_string())?;
    match stream.direct_get_last_for_subject(subjects::job_event(job)).await {
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(Past::default()),
        Err(error) => Err(error.to_string()),
        Ok(message) => match codec::decode::<EventBatch>(Some(&message.headers), &message.payload) {
            Ok(batch) => Ok(batch.events.into_iter().next_back().map_or_else(Past::default, |event| Past {
                failures: event.failures,
                requeues: event.requeues,
                history: event.history,
                retry_at_ms: event.retry_at_ms.unwrap_or(0),
                no_retry: event.no_retry,
            })),
            Err(error) => {
                // Somebody wrote nonsense there: the job must not suffer for it.
                tracing::warn!(%job, %error, "its last event cannot be read: counting from zero");
                Ok(Past::default())
            }
        },
    }
}

/// The end of a job of which only the open marker can be read.
pub(crate) fn dead_from_marker(job: JobId, found: &JobRecord, reason: &str) -> TerminalRecord {
    ended_from_marker(job, found, JobState::Dead, reason)
}

/// A terminal record made from an open marker; what the marker does not say stays empty.
pub(crate) fn ended_from_marker(job: JobId, found: &JobRecord, state: JobState, reason: &str) -> TerminalRecord {
    let marker = codec::decode::<OpenMarker>(Some(&found.headers), &found.body).ok();
    TerminalRecord {
        job,
        name: marker.as_ref().map(|marker| marker.name.clone()).unwrap_or_default(),
        kind: marker.as_ref().map(|marker| marker.kind.clone()).unwrap_or_default(),
        priority: marker.as_ref().map_or(Priority::Normal, |marker| marker.priority),
        state,
        attempt: None,
        open_seq: found.seq,
        submitted_at_ms: marker.as_ref().map_or(job.unix_ms(), |marker| marker.submitted_at_ms),
        ended_at_ms: unix_ms(),
        result: String::new(),
        reason: reason.to_owned(),
        failures: 0,
        requeues: 0,
        history: Vec::new(),
    }
}
