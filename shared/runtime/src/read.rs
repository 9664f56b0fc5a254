//! Reads a stream from a point on, in order, through reconnects: an ephemeral pull consumer that acknowledges nothing and is made anew behind
//! the last message read whenever something fails or a message is missing. For RESULTS, EVENTS and DEAD; JOBS is a work queue and lends no
//! such consumer.

use std::ops::ControlFlow;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use bytes::Bytes;
use futures::StreamExt;

use crate::clock_check::stored_ms;
use crate::connect::Nats;
use crate::count::Count;
use crate::generation::Sight;

const BATCH: usize = 1_000;
/// How long the server keeps a request for more messages when there are none.
const EXPIRES: Duration = Duration::from_secs(2);
/// A batch of what is there already that says nothing for this long is broken off: its connection or its consumer is gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);
/// The server forgets the consumer when nothing has been asked for so long.
const FORGET_AFTER: Duration = Duration::from_secs(30);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(250);
/// As many failures in a row as the pauses between them make about ten seconds: a server that restarts is back by then.
const MAX_FAILURES: u32 = 40;
/// What JetStream says of a stream that is not there.
const NO_STREAM: &str = "stream not found";

/// Why a stream is not read any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("the stream {0} does not exist: run `faultline setup`")]
    NoStream(&'static str),
    #[error("reading the stream {stream} failed: {reason}")]
    Failed { stream: &'static str, reason: String },
    #[error("the stream {0} was recreated, or restored from an older copy")]
    BeganAgain(&'static str),
}

/// One message as it lies in the stream.
#[derive(Debug, Clone)]
pub struct Row {
    pub seq: u64,
    pub subject: String,
    pub headers: HeaderMap,
    /// Empty when only headers are read.
    pub body: Bytes,
    pub stored_at_ms: u64,
    /// How many messages came after this one when it was sent.
    pub pending: u64,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Start,
    Seq(u64),
    /// Unix milliseconds.
    Time(u64),
}

/// The last message that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    seq: u64,
    stored_ns: i128,
}

/// A place in a stream.
pub struct Reader {
    nats: Nats,
    stream: &'static str,
    filters: Vec<String>,
    headers_only: bool,
    ends_with_stream: bool,
    from: From,
    last: Option<Last>,
    /// The stream when the last consumer was made.
    sight: Option<Sight>,
    consumer: Option<Consumer<pull::Config>>,
    /// What the consumer has delivered so far: it numbers its messages, so that a missing one shows.
    delivered: u64,
    batch: Option<pull::Batch>,
    connections: Count,
    failures: u32,
}

/// Why one step of reading did not go well.
#[derive(Debug)]
enum Broken {
    BeganAgain,
    Failed(String),
}

impl<E: std::error::Error> std::convert::From<E> for Broken {
    fn from(error: E) -> Self {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let words = error.to_string();
            // Some errors tell their cause themselves.
            if !reason.contains(&words) {
                reason = format!("{reason}: {words}");
            }
            cause = error.source();
        }
        Broken::Failed(reason)
    }
}

impl Reader {
    pub fn new(nats: &Nats, stream: &'static str, from: From) -> Self {
        let mut connections = nats.connections();
        connections.mark_unchanged();
        Self {
            nats: nats.clone(),
            stream,
            filters: Vec::new(),
            headers_only: false,
            ends_with_stream: false,
            from,
            last: None,
            sight: None,
            consumer: None,
            delivered: 0,
            batch: None,
            connections,
            failures: 0,
        }
    }

    /// Only messages on these subjects.
    pub fn filters(mut self, filters: Vec<String>) -> Self {
        self.filters = filters;
        self
    }

    /// Leaves the bodies on the server.
    pub fn headers_only(mut self) -> Self {
        self.headers_only = true;
        self
    }

    /// Makes it an error that the stream was made anew or went back. Without this, reading goes on at the beginning of what there is then.
    pub fn ends_with_stream(mut self) -> Self {
        self.ends_with_stream = true;
        self
    }

    /// Hands over every message until none is left, or until `on_row` breaks off.
    pub async fn read_to_end(&mut self, mut on_row: impl FnMut(Row) -> ControlFlow<()>) -> Result<(), ReadError> {
        let mut last_pending = None;
        loop {
            match self.step(None).await {
                Ok(Some(row)) => {
                    last_pending = Some(row.pending);
                    if on_row(row).is_break() {
                        break;
                    }
                }
                Ok(None) => match last_pending.take() {
                    Some(0) => break,
                    Some(_) => self.failures = 0,
                    // An empty batch means the end, or a batch that was lost on the way: the consumer knows.
                    None => match self.pending_now().await {
                        Ok(0) => break,
                        Ok(_) => self.count_failure(Broken::Failed("no messages arrive although some are left".into())).await?,
                        Err(error) => self.count_failure(error).await?,
                    },
                },
                Err(error) => self.count_failure(error).await?,
            }
        }
        self.forget().await;
        Ok(())
    }

    /// Hands over what comes within about `wait`, at once as it comes.
    pub async fn follow(&mut self, wait: Duration, mut on_row: impl FnMut(Row) -> ControlFlow<()>) -> Result<(), ReadError> {
        loop {
            match self.step(Some(wait)).await {
                Ok(Some(row)) => {
                    if on_row(row).is_break() {
                        return Ok(());
                    }
                }
                Ok(None) => {
                    self.failures = 0;
                    return Ok(());
                }
                Err(error) => return self.count_failure(error).await,
            }
        }
    }

    /// The next message, whenever it comes. May be dropped at any moment, and loses nothing by that.
    pub async fn next(&mut self) -> Result<Row, ReadError> {
        loop {
            match self.step(Some(EXPIRES)).await {
                Ok(read) => {
                    self.failures = 0;
                    if let Some(row) = read {
                        return Ok(row);
                    }
                }
                Err(error) => self.count_failure(error).await?,
            }
        }
    }

    /// How many messages there are to be read, before the first of them was asked for.
    pub async fn pending(&mut self) -> Result<u64, ReadError> {
        loop {
            match self.consumer().await {
                Ok(consumer) => return Ok(consumer.cached_info().num_pending),
                Err(error) => self.count_failure(error).await?,
            }
        }
    }

    async fn pending_now(&mut self) -> Result<u64, Broken> {
        let mut consumer = self.consumer().await?;
        Ok(consumer.info().await?.num_pending)
    }

    async fn count_failure(&mut self, error: Broken) -> Result<(), ReadError> {
        self.failures += 1;
        (self.consumer, self.batch) = (None, None);
        let reason = match error {
            Broken::BeganAgain => return Err(ReadError::BeganAgain(self.stream)),
            Broken::Failed(reason) if reason.contains(NO_STREAM) => return Err(ReadError::NoStream(self.stream)),
            Broken::Failed(reason) if self.failures >= MAX_FAILURES => return Err(ReadError::Failed { stream: self.stream, reason }),
            Broken::Failed(reason) => reason,
        };
        tracing::debug!(stream = self.stream, reason, "reading was interrupted: continuing after the last message");
        tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        Ok(())
    }

    /// Frees the consumer at once instead of after [`FORGET_AFTER`].
    async fn forget(&mut self) {
        self.batch = None;
        if let Some(consumer) = self.consumer.take() {
            let deleted = self.nats.jetstream.delete_consumer_from_stream(&consumer.cached_info().name, self.stream).await;
            if let Err(error) = deleted {
                tracing::debug!(stream = self.stream, %error, "a consumer was left to expire");
            }
        }
    }

    async fn consumer(&mut self) -> Result<Consumer<pull::Config>, Broken> {
        if let Some(consumer) = &self.consumer {
            return Ok(consumer.clone());
        }
        self.look_whether_it_began_again().await?;
        let config = pull::Config {
            deliver_policy: match self.from {
                From::Start => DeliverPolicy::All,
                From::Seq(start_sequence) => DeliverPolicy::ByStartSequence { start_sequence: start_sequence.max(1) },
                From::Time(unix_ms) => DeliverPolicy::ByStartTime {
                    start_time: async_nats::datetime::from_nanos(i128::from(unix_ms) * 1_000_000)
                        .map_err(|error| Broken::Failed(format!("invalid time {unix_ms}: {error}")))?,
                },
            },
            ack_policy: AckPolicy::None,
            filter_subjects: self.filters.clone(),
            headers_only: self.headers_only,
            inactive_threshold: FORGET_AFTER,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let made = self.nats.jetstream.create_consumer_on_stream(config, self.stream).await?;
        self.consumer = Some(made.clone());
        self.delivered = 0;
        Ok(made)
    }

    /// A place in a stream that was made anew, or went back, means nothing.
    async fn look_whether_it_began_again(&mut self) -> Result<(), Broken> {
        let stream = self.nats.jetstream.get_stream(self.stream).await?;
        let now = Sight::of(stream.cached_info());
        let (Some(former), From::Seq(next)) = (self.sight, self.from) else {
            self.sight = Some(now);
            return Ok(());
        };
        let found_ns = match self.last {
            Some(last) if last.seq <= now.last_seq => stored_ns(&stream, last.seq).await?,
            Some(_) | None => None,
        };
        self.sight = Some(now);
        if !still_holds(&former, &now, next, self.last, found_ns) {
            tracing::warn!(stream = self.stream, "the stream was recreated, or restored from an older copy");
            (self.from, self.last) = (From::Start, None);
            if self.ends_with_stream {
                return Err(Broken::BeganAgain);
            }
        }
        Ok(())
    }

    /// Asks for messages. When this is dropped half-way the consumer goes with it: what it may have sent by then is lost.
    async fn request(&mut self, wait: Option<Duration>) -> Result<(), Broken> {
        let consumer = self.consumer().await?;
        self.consumer = None;
        let batch = match wait {
            None => consumer.fetch().max_messages(BATCH).messages().await?,
            Some(wait) => consumer.batch().max_messages(BATCH).expires(wait).messages().await?,
        };
        (self.consumer, self.batch) = (Some(consumer), Some(batch));
        Ok(())
    }

    /// The next message of a batch; none at its end. Without `wait`, of what is there now.
    async fn step(&mut self, wait: Option<Duration>) -> Result<Option<Row>, Broken> {
        if self.connections.has_changed() {
            self.connections.mark_unchanged();
            (self.consumer, self.batch) = (None, None);
        }
        if self.batch.is_none() {
            self.request(wait).await?;
        }
        let Some(batch) = &mut self.batch else { return Ok(None) };
        let patience = wait.unwrap_or_default() + SILENCE_LIMIT;
        let message = tokio::select! {
            biased;
            message = tokio::time::timeout(patience, batch.next()) => message,
            // The server drops the rest of the batch, or has forgotten all of it.
            Ok(()) = self.connections.changed() => return Err(Broken::Failed("reconnected".into())),
        };
        let message = match message {
            Err(_) => return Err(Broken::Failed(format!("no message within {} s", patience.as_secs()))),
            Ok(None) => {
                self.batch = None;
                return Ok(None);
            }
            Ok(Some(message)) => message.map_err(|error| Broken::Failed(error.to_string()))?,
        };
        self.take(message).map(Some)
    }

    fn take(&mut self, message: async_nats::jetstream::Message) -> Result<Row, Broken> {
        let info = message.info().map_err(|error| Broken::Failed(format!("a message without delivery facts: {error}")))?;
        if info.consumer_sequence != self.delivered + 1 {
            return Err(Broken::Failed(format!("messages before {} were lost on the way", info.stream_sequence)));
        }
        self.delivered = info.consumer_sequence;
        let (seq, pending, stored_at_ms) = (info.stream_sequence, info.pending, stored_ms(info.published));
        self.last = Some(Last { seq, stored_ns: info.published.unix_timestamp_nanos() });
        self.from = From::Seq(seq + 1);
        let async_nats::Message { subject, headers, payload, .. } = message.message;
        Ok(Row { seq, subject: subject.to_string(), headers: headers.unwrap_or_default(), body: payload, stored_at_ms, pending })
    }
}

/// Whether reading can go on at `next`, after `last`. `found_ns`: when the message that has the sequence of `last` now was stored; none when
/// there is none, since messages expire.
fn still_holds(former: &Sight, now: &Sight, next: u64, last: Option<Last>, found_ns: Option<i128>) -> bool {
    let is_same = match (last, found_ns) {
        (Some(last), Some(found_ns)) => last.stored_ns == found_ns,
        (_, _) => true,
    };
    is_same && now.created_ns == former.created_ns && next <= now.last_seq + 1
}

/// When the message with this sequence was stored; none when there is none.
async fn stored_ns(stream: &Stream, sequence: u64) -> Result<Option<i128>, Broken> {
    match stream.direct_get(sequence).await {
        Ok(message) => Ok(Some(message.time.unix_timestamp_nanos())),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_holds_in_the_stream_that_it_was_taken_in_and_nowhere_else() {
        let stream = |created_ns, last_seq| Sight { created_ns, first_seq: 1, last_seq };
        let holds = |now: Sight, found_ns| still_holds(&stream(1, 60), &now, 51, Some(Last { seq: 50, stored_ns: 7 }), found_ns);
        assert!(holds(stream(1, 50), Some(7)) && holds(stream(1, 90), None));
        assert!(!holds(stream(2, 90), Some(7)), "made anew");
        assert!(!holds(stream(1, 49), None), "an older copy");
        assert!(!holds(stream(1, 90), Some(8)), "an older copy that has grown past it");
        assert!(still_holds(&stream(1, 0), &stream(1, 0), 1, None, None), "nothing was read yet");
    }
}
