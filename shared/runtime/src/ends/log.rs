//! Reading the log of ends with direct gets, many messages in one request. Each read begins with the last message that was read and compares its
//! time: a log can be created again, or lose its tail, without any connection being lost, and gives the lost positions to other messages then.

use std::time::Duration;

use async_nats::datetime::parse_rfc3339;
use async_nats::{HeaderMap, Message};
use faultline_engine::ends::{Entry, LogMessage};
use faultline_protocol::ends::{MAX_BYTES, Unreadable, decode, told};
use faultline_protocol::streams::packs::ENDS;
use faultline_protocol::subjects::packs::is_leaders_end;
use futures::StreamExt;
use serde::Serialize;

use crate::connection::Connection;
use crate::wire::Post;

const DIRECT_GET: &str = "$JS.API.DIRECT.GET.ENDS";
/// Messages in one request, the one that was read before included.
const BATCH: u64 = 257;
/// What one answer has at most, in bytes: a few of the largest messages.
const BATCH_BYTES: usize = 16 * MAX_BYTES;
/// JetStream's status codes at the end of an answer.
const END_OF_BATCH: u16 = 204;
const NOTHING_THERE: u16 = 404;
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// JetStream's request for many messages at once, from a sequence on (its ADR-31).
#[derive(Serialize)]
struct Ask {
    batch: u64,
    max_bytes: usize,
    seq: u64,
}

/// Why the log cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("reading the log of ends failed: {0}; try again")]
    Failed(String),
    #[error("the log of ends is another one, or lost what was read of it: begin again, with a snapshot that fits or from the beginning")]
    WentBack,
    #[error("the log of ends begins at position {first_pos}, and {expected} comes next: begin again with the newest snapshot")]
    Trimmed { expected: u64, first_pos: u64 },
}

/// One message of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    pub pos: u64,
    /// When the log stored it, in nanoseconds since 1970.
    pub ts: u64,
    /// It came on the subject that only leaders write.
    pub is_leaders: bool,
    /// A client had the server send it there: it was stored with the headers of a stored message.
    pub is_copy: bool,
    pub entries: Result<Vec<Entry>, Unreadable>,
}

impl LogRow {
    /// As the fold reads it.
    pub fn message(&self) -> LogMessage<'_> {
        LogMessage { pos: self.pos, ts: self.ts, is_leaders: self.is_leaders, is_copy: self.is_copy, body: told(&self.entries) }
    }
}

/// What one request brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPart {
    /// In the order of positions, without a gap.
    pub rows: Vec<LogRow>,
    /// How many more the server had when it answered.
    pub left: u64,
}

/// A place in the log of ends. A replica that lags only makes it slower.
#[derive(Debug)]
pub struct LogReader {
    nats: Connection,
    pos: u64,
    /// When the message at `pos` was stored; 0 at the beginning.
    ts: u64,
}

impl LogReader {
    /// Reads on behind a position, as a fold or a snapshot has it with the time of its message; from the beginning with zeros.
    pub fn behind(nats: &Connection, (pos, ts): (u64, u64)) -> Self {
        Self { nats: nats.clone(), pos, ts }
    }

    /// Reads what is left of a log of which the beginning is trimmed.
    pub fn of_remains(nats: &Connection, first_pos: u64) -> Self {
        Self { nats: nats.clone(), pos: first_pos.saturating_sub(1), ts: 0 }
    }

    /// The last message that was read.
    pub fn pos(&self) -> u64 {
        self.pos
    }

    /// The next messages; none at the end of the log. After an error, or when this was dropped, nothing counts as read.
    pub async fn read(&mut self) -> Result<LogPart, LogError> {
        let is_known = self.ts > 0;
        let seq = if is_known { self.pos } else { self.pos + 1 };
        let mut part = ask(&self.nats, seq).await?;
        if is_known {
            let is_same = part.rows.first().is_some_and(|first| (first.pos, first.ts) == (self.pos, self.ts));
            if !is_same {
                return self.ask_leader().await;
            }
            part.rows.remove(0);
        }
        for (expected, row) in (self.pos + 1..).zip(&part.rows) {
            if row.pos != expected {
                return Err(LogError::Trimmed { expected, first_pos: row.pos });
            }
        }
        if let Some(last) = part.rows.last() {
            (self.pos, self.ts) = (last.pos, last.ts);
        }
        Ok(part)
    }

    /// The message that was read last is not there. The server that leads the stream knows whether it is gone, or only a replica lags.
    async fn ask_leader(&self) -> Result<LogPart, LogError> {
        let found = self.nats.stored(ENDS, self.pos).await.map_err(LogError::Failed)?;
        match found.and_then(|message| u64::try_from(message.time.unix_timestamp_nanos()).ok()) {
            Some(ts) if ts == self.ts => Ok(LogPart::default()),
            _ => Err(LogError::WentBack),
        }
    }
}

/// What the server has from this sequence on. Below its first one, it begins there without saying so.
async fn ask(nats: &Connection, seq: u64) -> Result<LogPart, LogError> {
    let ask = Ask { batch: BATCH, max_bytes: BATCH_BYTES, seq };
    let body = serde_json::to_vec(&ask).map_err(|error| LogError::Failed(error.to_string()))?;
    let inbox = nats.inbox();
    let mut answers = nats.hear(inbox.clone()).await.map_err(LogError::Failed)?;
    let sent = nats.send(Post { reply: Some(inbox), ..Post::bare(DIRECT_GET, body) }).await;
    sent.map_err(|error| LogError::Failed(error.to_string()))?;
    let mut part = LogPart::default();
    loop {
        let answer = tokio::time::timeout(ANSWER_LIMIT, answers.next()).await.map_err(|_| LogError::Failed("no answer in time".into()))?;
        let answer = answer.ok_or_else(|| LogError::Failed("the connection ended".into()))?;
        if let Some(status) = answer.status {
            return match status.as_u16() {
                END_OF_BATCH => {
                    part.left = answer.headers.as_ref().and_then(|headers| last(headers, "Nats-Num-Pending")?.parse().ok()).unwrap_or(0);
                    Ok(part)
                }
                NOTHING_THERE => Ok(part),
                _ => Err(LogError::Failed(format!("JetStream answers {status}"))),
            };
        }
        part.rows.push(row(&answer).ok_or_else(|| LogError::Failed("an answer without sequence, time, or subject".into()))?);
    }
}

/// The server writes what it says of a message behind the headers that the message was stored with.
fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(name).last().map(|value| value.as_str())
}

fn row(answer: &Message) -> Option<LogRow> {
    let headers = answer.headers.as_ref()?;
    let time = parse_rfc3339(last(headers, "Nats-Time-Stamp")?).ok()?;
    Some(LogRow {
        pos: last(headers, "Nats-Sequence")?.parse().ok()?,
        ts: u64::try_from(time.unix_timestamp_nanos()).ok()?,
        // What is stored where nobody may write decides nothing.
        is_leaders: is_leaders_end(last(headers, "Nats-Subject")?) == Some(true),
        is_copy: headers.get_all("Nats-Stream").count() > 1,
        entries: decode(&answer.payload),
    })
}
