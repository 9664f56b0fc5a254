//! The record of a job in RESULTS: read it, and replace an open marker by the job's end, once and for all.

use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::message::StreamMessage;
use async_nats::{HeaderMap, header};
pub use faultline_engine::job::Commit;
use faultline_engine::job::{Found, JobId, JobSpec, JobState, Priority, is_token};
use faultline_engine::ledger::{LedgerRecord, Took};
use faultline_protocol::codec::{self, HEADER_JOB_MESSAGE, HEADER_JOB_STATE};
use faultline_protocol::messages::{QueuedJob, RecordState, TerminalRecord};
use faultline_protocol::{streams, subjects};
use futures::TryStreamExt;

use crate::clock_check::stored_ms;
use crate::connect::PublishError;
use crate::connection::Connection;
use crate::wire::Post;

/// How long reading a queued job may take.
const QUEUE_LIMIT: Duration = Duration::from_secs(2);

/// What RESULTS holds of a job.
#[derive(Debug, Clone)]
pub struct JobRecord {
    pub seq: u64,
    pub stored_at_ms: u64,
    pub is_open: bool,
    pub headers: HeaderMap,
    pub body: bytes::Bytes,
}

impl JobRecord {
    /// How the job ended, by the header; `None` while it is open, or when the header says nothing known.
    pub fn terminal_state(&self) -> Option<JobState> {
        match RecordState::of(Some(&self.headers))? {
            RecordState::Ended(state) => Some(state),
            RecordState::Open => None,
        }
    }
}

impl From<StreamMessage> for JobRecord {
    fn from(message: StreamMessage) -> Self {
        let is_open = RecordState::of(Some(&message.headers)) == Some(RecordState::Open);
        Self { seq: message.sequence, stored_at_ms: stored_ms(message.time), is_open, headers: message.headers, body: message.payload }
    }
}

/// What a message of RESULTS means to the ledger; `None` when it is not a record.
pub fn read_for_ledger(subject: &str, headers: Option<&HeaderMap>, seq: u64, stored_at_ms: u64) -> Option<LedgerRecord> {
    let state = match RecordState::of(headers)? {
        RecordState::Open => JobState::Queued,
        RecordState::Ended(state) => state,
    };
    let job = subjects::result_job_id(subject)?;
    let message = headers.and_then(|headers| headers.get(HEADER_JOB_MESSAGE)).map(|value| value.as_str());
    Some(LedgerRecord { seq, job, state, stored_at_ms, took: Took::read(message, state) })
}

/// How many messages JOBS holds of a job.
pub async fn count_messages(nats: &Connection, job: JobId) -> anyhow::Result<usize> {
    let listed = nats.subjects(streams::JOBS, subjects::queue_any(job)).await.map_err(anyhow::Error::msg);
    let listed = listed.context("asking for the stream JOBS failed")?.map_err(anyhow::Error::msg);
    let counts: Vec<(String, usize)> = listed.try_collect().await.context("the list of JOBS broke off")?;
    Ok(counts.into_iter().map(|(_, count)| count).sum())
}

/// Reads the record of a job; `None` when there is none. On a cluster any server that has a copy answers, and one that has just
/// come back may be behind: who concludes something from `None` calls [`read_record_surely`].
pub async fn read_record(nats: &Connection, job: JobId) -> Result<Option<JobRecord>, String> {
    Ok(nats.last(streams::RESULTS, &subjects::result(job), false).await?.map(JobRecord::from))
}

/// The same, but that there is none is the word of the server that leads the stream, which knows everything that was acknowledged.
pub async fn read_record_surely(nats: &Connection, job: JobId) -> Result<Option<JobRecord>, String> {
    Ok(nats.last(streams::RESULTS, &subjects::result(job), true).await?.map(JobRecord::from))
}

/// What the queue holds of a job; `None` when it is not there. Of a kind, `class` is the part before the colon.
pub async fn read_queued(nats: &Connection, priority: Priority, class: &str, job: JobId) -> Result<Option<JobSpec>, String> {
    /// What the server answers for "no message".
    const NOT_FOUND: u16 = 404;
    if !is_token(class) {
        return Ok(None);
    }
    let ask = serde_json::json!({ "last_by_subj": subjects::queue(priority, class, job) }).to_string();
    let asked = nats.request(Post::bare(subjects::JOBS_DIRECT_GET, ask), None);
    let answer = tokio::time::timeout(QUEUE_LIMIT, asked).await.map_err(|_| "JetStream did not answer in time".to_owned())?;
    let answer = answer.map_err(|(_, reason)| reason)?;
    match answer.status.map(|status| status.as_u16()) {
        None => {}
        Some(NOT_FOUND) => return Ok(None),
        Some(status) => return Err(format!("JetStream answered {status}")),
    }
    let queued: QueuedJob = codec::decode(answer.headers.as_ref(), &answer.payload).map_err(|error| error.to_string())?;
    Ok(Some(queued.spec))
}

/// Calls `take` with the subject of every message in JOBS. A work queue lends no second consumer: its subjects are listed, in as many pages
/// as it takes, which costs the server something when the queue is long.
pub async fn each_queued(nats: &Connection, mut take: impl FnMut(String)) -> anyhow::Result<()> {
    let listed = nats.subjects(streams::JOBS, ">".into()).await.map_err(anyhow::Error::msg);
    let mut listed =
        listed.context("the state of JOBS cannot be read; run `faultline setup` if it does not exist")?.map_err(anyhow::Error::msg);
    while let Some((subject, _messages)) = listed.try_next().await.context("the list of JOBS broke off")? {
        take(subject);
    }
    Ok(())
}

/// Replaces the open marker `record.open_seq` by `record`. The first writer wins; all others are told so.
/// A transient error may have committed all the same: call again, it is found out by reading back.
pub async fn commit(nats: &Connection, record: &TerminalRecord, ttl_s: u64) -> Result<Commit, PublishError> {
    commit_with(nats, record, ttl_s, codec::headers_for::<TerminalRecord>()).await
}

/// As [`commit`], for the end of a job that has no message in JOBS which could be acknowledged.
pub async fn commit_without_message(nats: &Connection, record: &TerminalRecord, ttl_s: u64, took: Took) -> Result<Commit, PublishError> {
    let mut headers = codec::headers_for::<TerminalRecord>();
    headers.insert(HEADER_JOB_MESSAGE, took.as_str());
    commit_with(nats, record, ttl_s, headers).await
}

async fn commit_with(nats: &Connection, record: &TerminalRecord, ttl_s: u64, mut headers: HeaderMap) -> Result<Commit, PublishError> {
    headers.insert(HEADER_JOB_STATE, record.state.as_str());
    headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, record.open_seq.to_string());
    headers.insert(header::NATS_MESSAGE_TTL, format!("{ttl_s}s"));
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
