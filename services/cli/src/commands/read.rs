//! Reads a stream from a point on, in order, through reconnects: an ephemeral pull consumer that acknowledges nothing
//! and is made anew after the last message read whenever something fails. Works for RESULTS and EVENTS; JOBS is a work
//! queue and lends no such consumer (see `audit`).

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context, anyhow};
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use bytes::Bytes;
use faultline_runtime::connect::Nats;
use futures::StreamExt;

const BATCH: usize = 1_000;
/// A batch that says nothing for this long is broken off: its connection or its consumer is gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);
/// The server forgets the consumer when nobody has asked for this long.
const FORGET_AFTER: Duration = Duration::from_secs(30);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(250);
/// As many failures in a row as the pauses between them make about ten seconds: a server that restarts is back by then.
const MAX_FAILURES: u32 = 40;

/// One message as it lies in the stream.
#[derive(Debug, Clone)]
pub(crate) struct Row {
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
pub(crate) enum From {
    Start,
    Seq(u64),
    /// Unix milliseconds.
    Time(u64),
}

/// A place in a stream.
pub(crate) struct Reader<'a> {
    nats: &'a Nats,
    stream: &'static str,
    filters: Vec<String>,
    headers_only: bool,
    from: From,
    consumer: Option<Consumer<pull::Config>>,
    failures: u32,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(nats: &'a Nats, stream: &'static str, from: From) -> Self {
        Self { nats, stream, filters: Vec::new(), headers_only: false, from, consumer: None, failures: 0 }
    }

    /// Only messages on these subjects.
    pub(crate) fn filters(mut self, filters: Vec<String>) -> Self {
        self.filters = filters;
        self
    }

    /// Leaves the bodies on the server.
    pub(crate) fn headers_only(mut self) -> Self {
        self.headers_only = true;
        self
    }

    /// Hands over every message up to the moment when there is no further one, or until `on_row` breaks off.
    pub(crate) async fn read_to_end(&mut self, mut on_row: impl FnMut(Row) -> ControlFlow<()>) -> anyhow::Result<()> {
        loop {
            match self.read_batch(None, &mut on_row).await {
                Ok(BatchEnd::BrokenOff) => break,
                Ok(BatchEnd::Read { last_pending: Some(0) }) => break,
                Ok(BatchEnd::Read { last_pending: Some(_) }) => self.failures = 0,
                Ok(BatchEnd::Read { last_pending: None }) => {
                    // An empty batch means the end, or a batch that was lost on the way: the consumer knows.
                    match self.is_at_end().await {
                        Ok(true) => break,
                        Ok(false) => self.count_failure(anyhow!("no messages arrive although some are left")).await?,
                        Err(error) => self.count_failure(error).await?,
                    }
                }
                Err(error) => self.count_failure(error).await?,
            }
        }
        self.forget().await;
        Ok(())
    }

    /// Hands over what comes within about `wait`, at once as it comes.
    pub(crate) async fn follow(&mut self, wait: Duration, mut on_row: impl FnMut(Row) -> ControlFlow<()>) -> anyhow::Result<()> {
        match self.read_batch(Some(wait), &mut on_row).await {
            Ok(_) => {
                self.failures = 0;
                Ok(())
            }
            Err(error) => self.count_failure(error).await,
        }
    }

    async fn is_at_end(&mut self) -> anyhow::Result<bool> {
        match &mut self.consumer {
            None => Ok(false),
            Some(consumer) => Ok(consumer.info().await.context("the consumer is gone")?.num_pending == 0),
        }
    }

    async fn count_failure(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        self.failures += 1;
        self.consumer = None;
        let reason = format!("{error:#}");
        if self.failures >= MAX_FAILURES || reason.contains("stream not found") {
            let advice = if reason.contains("stream not found") { ": run `faultline setup`" } else { "" };
            return Err(error.context(format!("the stream {} cannot be read{advice}", self.stream)));
        }
        tracing::debug!(stream = self.stream, reason, "reading broke off: continuing behind the last message");
        tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        Ok(())
    }

    /// Frees the consumer at once instead of after [`FORGET_AFTER`].
    async fn forget(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            let deleted = self.nats.jetstream.delete_consumer_from_stream(&consumer.cached_info().name, self.stream).await;
            if let Err(error) = deleted {
                tracing::debug!(stream = self.stream, %error, "a consumer was left to expire");
            }
        }
    }

    async fn consumer(&mut self) -> anyhow::Result<Consumer<pull::Config>> {
        if let Some(consumer) = &self.consumer {
            return Ok(consumer.clone());
        }
        let config = pull::Config {
            deliver_policy: match self.from {
                From::Start => DeliverPolicy::All,
                From::Seq(start_sequence) => DeliverPolicy::ByStartSequence { start_sequence: start_sequence.max(1) },
                From::Time(unix_ms) => DeliverPolicy::ByStartTime {
                    start_time: async_nats::datetime::from_nanos(i128::from(unix_ms) * 1_000_000)
                        .map_err(|error| anyhow!("{unix_ms} is no time: {error}"))?,
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
        let made = self.nats.jetstream.create_consumer_on_stream(config, self.stream).await.context("no consumer could be made")?;
        self.consumer = Some(made.clone());
        Ok(made)
    }

    async fn read_batch(&mut self, wait: Option<Duration>, on_row: &mut impl FnMut(Row) -> ControlFlow<()>) -> anyhow::Result<BatchEnd> {
        let consumer = self.consumer().await?;
        let request = async {
            match wait {
                None => consumer.fetch().max_messages(BATCH).messages().await,
                Some(wait) => consumer.batch().max_messages(BATCH).expires(wait).messages().await,
            }
        };
        let mut batch = request.await.context("the server took no request for messages")?;
        let patience = wait.unwrap_or_default() + SILENCE_LIMIT;
        let mut last_pending = None;
        loop {
            let message = match tokio::time::timeout(patience, batch.next()).await {
                Err(_) => return Err(anyhow!("no message within {} s", patience.as_secs())),
                Ok(None) => return Ok(BatchEnd::Read { last_pending }),
                Ok(Some(message)) => message.map_err(|error| anyhow!(error))?,
            };
            let row = row_of(message)?;
            self.from = From::Seq(row.seq + 1);
            last_pending = Some(row.pending);
            if on_row(row).is_break() {
                return Ok(BatchEnd::BrokenOff);
            }
        }
    }
}

enum BatchEnd {
    Read { last_pending: Option<u64> },
    BrokenOff,
}

fn row_of(message: async_nats::jetstream::Message) -> anyhow::Result<Row> {
    let info = message.info().map_err(|error| anyhow!("a message without delivery facts: {error}"))?;
    let stored_at_ms = u64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    let (seq, pending) = (info.stream_sequence, info.pending);
    let async_nats::Message { subject, headers, payload, .. } = message.message;
    Ok(Row { seq, subject: subject.to_string(), headers: headers.unwrap_or_default(), body: payload, stored_at_ms, pending })
}
