//! What the streams hold of one job: the very messages, so that a person sees what went over the wire.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use faultline_engine::job::JobId;
use faultline_protocol::codec::{self, HEADER_KIND, Message};
use faultline_protocol::messages::{DeadLetter, EventBatch, OpenMarker, QueuedJob, TerminalRecord};
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock_check::stored_ms;
use faultline_runtime::connect::Nats;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A job's events that are read; each attempt that failed or was lost wrote one.
const MAX_EVENTS: usize = 50;
const MAX_HEADER_CHARS: usize = 300;

/// A message of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct StoredMessage {
    pub(crate) stream: String,
    pub(crate) subject: String,
    /// Its sequence in the stream.
    pub(crate) seq: u64,
    /// When the server stored it, in Unix milliseconds.
    pub(crate) at_ms: u64,
    pub(crate) headers: BTreeMap<String, String>,
    /// The body, decoded; null when it cannot be.
    #[schema(value_type = Object)]
    pub(crate) body: Value,
    /// Why it cannot be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

impl StoredMessage {
    pub(crate) fn new(stream: &str, message: &StreamMessage) -> Self {
        let (body, problem) = match readable(&message.headers, &message.payload) {
            Ok(body) => (body, None),
            Err(problem) => (Value::Null, Some(problem)),
        };
        let at_ms = stored_ms(message.time);
        Self {
            stream: stream.to_owned(),
            subject: message.subject.to_string(),
            seq: message.sequence,
            at_ms,
            headers: texts(&message.headers),
            body,
            problem,
        }
    }
}

fn texts(headers: &HeaderMap) -> BTreeMap<String, String> {
    let clip = |text: &str| text.chars().take(MAX_HEADER_CHARS).collect::<String>();
    let joined = |values: &[async_nats::HeaderValue]| values.iter().map(|value| clip(value.as_str())).collect::<Vec<_>>().join(", ");
    headers.iter().map(|(name, values)| (clip(name.as_ref()), joined(values))).collect()
}

/// The body as JSON, read as what its headers say it is.
fn readable(headers: &HeaderMap, body: &[u8]) -> Result<Value, String> {
    let kind = headers.get(HEADER_KIND).map_or("", |kind| kind.as_str());
    match kind {
        QueuedJob::KIND => json::<QueuedJob>(headers, body),
        OpenMarker::KIND => json::<OpenMarker>(headers, body),
        TerminalRecord::KIND => json::<TerminalRecord>(headers, body),
        EventBatch::KIND => json::<EventBatch>(headers, body),
        DeadLetter::KIND => json::<DeadLetter>(headers, body),
        _ => Err(format!("the header {HEADER_KIND} says `{}`, which no message about a job is", kind.chars().take(40).collect::<String>())),
    }
}

fn json<M: Message>(headers: &HeaderMap, body: &[u8]) -> Result<Value, String> {
    let message: M = codec::decode(Some(headers), body).map_err(|error| error.to_string())?;
    serde_json::to_value(message).map_err(|error| error.to_string())
}

/// All that JOBS, RESULTS, EVENTS and DEAD hold of a job alone, in the order in which it was stored. Placements are not
/// among it: they are stored many in one message. `queued_as` is where it waits, if its class is known.
pub(super) async fn of_job(nats: &Nats, job: JobId, queued_as: Option<String>) -> Result<Vec<StoredMessage>, String> {
    let queued = async {
        match queued_as {
            Some(subject) => last(nats, streams::JOBS, subject).await,
            None => Ok(None),
        }
    };
    let (queued, record, letter, events) = futures::join!(
        queued,
        last(nats, streams::RESULTS, subjects::result(job)),
        last(nats, streams::DEAD, subjects::dead(&job.to_string())),
        all(nats, streams::EVENTS, subjects::job_event(job))
    );
    let mut found: Vec<StoredMessage> = [queued?, record?, letter?].into_iter().flatten().chain(events?).collect();
    found.sort_by(|left, right| (left.at_ms, &left.stream, left.seq).cmp(&(right.at_ms, &right.stream, right.seq)));
    Ok(found)
}

async fn stream(nats: &Nats, name: &str) -> Result<Stream<()>, String> {
    nats.jetstream.get_stream_no_info(name).await.map_err(|error| error.to_string())
}

async fn last(nats: &Nats, name: &str, subject: String) -> Result<Option<StoredMessage>, String> {
    match stream(nats, name).await?.direct_get_last_for_subject(subject).await {
        Ok(message) => Ok(Some(StoredMessage::new(name, &message))),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

async fn all(nats: &Nats, name: &str, subject: String) -> Result<Vec<StoredMessage>, String> {
    let stream = stream(nats, name).await?;
    let (mut found, mut next) = (Vec::new(), 1);
    while found.len() < MAX_EVENTS {
        match stream.direct_get_next_for_subject(subject.clone(), Some(next)).await {
            Ok(message) => {
                next = message.sequence + 1;
                found.push(StoredMessage::new(name, &message));
            }
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::Priority;

    use super::*;

    #[test]
    fn a_body_is_read_as_what_its_headers_say() {
        let marker =
            OpenMarker { job: JobId::new(1, 1), name: "j".into(), kind: "sleep".into(), priority: Priority::Low, submitted_at_ms: 1 };
        let headers = codec::headers_for::<OpenMarker>();
        assert_eq!(readable(&headers, &codec::encode(&marker)).unwrap()["name"], "j");
        assert!(readable(&headers, b"\xc1").unwrap_err().contains("open-marker"));
        assert!(readable(&HeaderMap::new(), b"").unwrap_err().contains(HEADER_KIND));
    }
}
