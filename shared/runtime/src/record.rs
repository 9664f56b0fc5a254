//! The record of a job in RESULTS: read it, and replace an open marker by the job's end, once and for all.

use anyhow::Context;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DirectGetErrorKind, LastRawMessageErrorKind, Stream};
use async_nats::{HeaderMap, header};
pub use faultline_engine::job::Commit;
use faultline_engine::job::{Found, JobId, JobState};
use faultline_protocol::codec::{self, HEADER_JOB_STATE, HEADER_TRACEPARENT};
use faultline_protocol::messages::TerminalRecord;
use faultline_protocol::{streams, subjects};
use futures::TryStreamExt;

use crate::connect::{Nats, PublishError};

/// The value of the header Job-State of an open marker.
pub const OPEN: &str = "open";

/// What RESULTS holds of a job.
#[derive(Debug, Clone)]
pub struct JobRecord {
    pub seq: u64,
    pub is_open: bool,
    pub headers: HeaderMap,
    pub body: bytes::Bytes,
}

impl JobRecord {
    /// How the job ended, by the header; `None` while it is open, or when the header says nothing known.
    pub fn terminal_state(&self) -> Option<JobState> {
        JobState::terminal(self.headers.get(HEADER_JOB_STATE)?.as_str())
    }
}

impl From<StreamMessage> for JobRecord {
    fn from(message: StreamMessage) -> Self {
        let is_open = message.headers.get(HEADER_JOB_STATE).is_some_and(|state| state.as_str() == OPEN);
        Self { seq: message.sequence, is_open, headers: message.headers, body: message.payload }
    }
}

/// Reads the record of a job; `None` when there is none. On a cluster any server that has a copy answers, and one that has just
/// come back may be behind: who concludes something from `None` calls [`read_record_surely`].
pub async fn read_record(nats: &Nats, job: JobId) -> Result<Option<JobRecord>, String> {
    let stream: Stream<()> = nats.jetstream.get_stream_no_info(streams::RESULTS).await.map_err(|error| error.to_string())?;
    match stream.direct_get_last_for_subject(subjects::result(job)).await {
        Ok(message) => Ok(Some(message.into())),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// The same, but that there is none is the word of the server that leads the stream, which knows everything that was acknowledged.
pub async fn read_record_surely(nats: &Nats, job: JobId) -> Result<Option<JobRecord>, String> {
    match read_record(nats, job).await {
        Ok(None) => read_record_from_leader(nats, job).await,
        found => found,
    }
}

async fn read_record_from_leader(nats: &Nats, job: JobId) -> Result<Option<JobRecord>, String> {
    let stream: Stream<()> = nats.jetstream.get_stream_no_info(streams::RESULTS).await.map_err(|error| error.to_string())?;
    match stream.get_last_raw_message_by_subject(&subjects::result(job)).await {
        Ok(message) => Ok(Some(message.into())),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Calls `take` with the subject of every message in JOBS. A work queue lends no second consumer: its subjects are listed, in as many pages
/// as it takes, which costs the server something when the queue is long.
pub async fn each_queued(nats: &Nats, mut take: impl FnMut(String)) -> anyhow::Result<()> {
    let stream: Stream<()> = nats.jetstream.get_stream_no_info(streams::JOBS).await.context("JOBS cannot be looked at")?;
    let mut listed =
        stream.info_with_subjects(">").await.context("JOBS cannot be looked at; run `faultline setup` if it does not exist")?;
    while let Some((subject, _messages)) = listed.try_next().await.context("the list of JOBS broke off")? {
        take(subject);
    }
    Ok(())
}

/// Replaces the open marker `record.open_seq` by `record`. Whoever comes first wins; everybody else is told so.
/// A transient error may have committed all the same: call again, it is found out by reading back.
pub async fn commit(nats: &Nats, record: &TerminalRecord, ttl_s: u64, traceparent: Option<&str>) -> Result<Commit, PublishError> {
    let mut headers = codec::headers_for::<TerminalRecord>();
    headers.insert(HEADER_JOB_STATE, record.state.as_str());
    headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, record.open_seq.to_string());
    headers.insert(header::NATS_MESSAGE_TTL, format!("{ttl_s}s"));
    if let Some(traceparent) = traceparent {
        headers.insert(HEADER_TRACEPARENT, traceparent);
    }
    match nats.publish_durable_with(subjects::result(record.job), headers, record).await {
        Ok(_) => Ok(Commit::Committed),
        Err(PublishError::WrongLastSequence) => {
            let found = read_record(nats, record.job).await.map_err(PublishError::Other)?;
            judge(record, found.as_ref()).ok_or_else(|| PublishError::Other("the record is still open".into()))
        }
        Err(error) => Err(error),
    }
}

fn judge(record: &TerminalRecord, found: Option<&JobRecord>) -> Option<Commit> {
    match found {
        None => record.after_conflict(Found::Nothing),
        Some(found) if found.is_open => record.after_conflict(Found::Open { seq: found.seq }),
        Some(found) => {
            let other = codec::decode::<TerminalRecord>(Some(&found.headers), &found.body).ok();
            record.after_conflict(Found::Ended { state: found.terminal_state(), record: other.as_ref() })
        }
    }
}
