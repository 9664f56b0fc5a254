//! Streams, consumers and buckets as the server counts them, each with the `nats` command that shows the same.

use std::time::Duration;

use async_nats::jetstream::consumer;
use backon::{ConstantBuilder, Retryable};
use faultline_protocol::streams::{self, Provision};
use faultline_runtime::connect::Nats;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use utoipa::ToSchema;

/// Consumers of one stream that are shown.
const MAX_CONSUMERS: usize = 50;
/// How often a stream or bucket is asked for again.
const RETRIES: usize = 2;
const RETRY_AFTER: Duration = Duration::from_millis(150);

/// A consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ConsumerFigures {
    pub(crate) name: String,
    pub(crate) is_durable: bool,
    /// Messages that it has not delivered yet.
    pub(crate) pending: u64,
    /// Messages delivered and not acknowledged yet.
    pub(crate) ack_pending: u64,
    /// Of those, how many were delivered more than once.
    pub(crate) redelivered: u64,
    /// Pull requests that wait for messages.
    pub(crate) waiting: u64,
    pub(crate) command: String,
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct StreamFigures {
    pub(crate) name: String,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) consumers: Vec<ConsumerFigures>,
    /// There are more than 50 consumers.
    pub(crate) more_consumers: bool,
    pub(crate) command: String,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct BucketFigures {
    pub(crate) name: String,
    /// Keys with a value, deleted ones that are remembered among them.
    pub(crate) values: u64,
    pub(crate) bytes: u64,
    pub(crate) command: String,
}

/// What the server holds of Faultline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Messaging {
    pub(crate) streams: Vec<StreamFigures>,
    pub(crate) buckets: Vec<BucketFigures>,
    /// When the server was asked, in Unix milliseconds.
    pub(crate) at_ms: u64,
    /// Why these are older figures: the server did not answer just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale_reason: Option<String>,
}

impl From<consumer::Info> for ConsumerFigures {
    fn from(info: consumer::Info) -> Self {
        Self {
            command: format!("nats consumer info {} {}", info.stream_name, info.name),
            is_durable: info.config.durable_name.is_some(),
            name: info.name,
            pending: info.num_pending,
            ack_pending: info.num_ack_pending as u64,
            redelivered: info.num_redelivered as u64,
            waiting: info.num_waiting as u64,
        }
    }
}

/// Asks the server.
pub(super) async fn figures(nats: &Nats, at_ms: u64) -> Result<Messaging, String> {
    let names = streams::stream_configs(Provision::default()).into_iter().map(|config| config.name);
    let buckets = streams::bucket_configs(Provision::default()).into_iter().map(|config| config.bucket);
    // One request in twenty that comes too late on a busy server must not cost the other nineteen.
    let again = ConstantBuilder::default().with_delay(RETRY_AFTER).with_max_times(RETRIES);
    let streams = futures::future::try_join_all(names.map(|name| async move { (|| stream(nats, name.clone())).retry(again).await }));
    let buckets = futures::future::try_join_all(buckets.map(|name| async move { (|| bucket(nats, name.clone())).retry(again).await }));
    let (streams, buckets) = futures::try_join!(streams, buckets)?;
    Ok(Messaging { streams, buckets, at_ms, stale_reason: None })
}

async fn stream(nats: &Nats, name: String) -> Result<StreamFigures, String> {
    let failed = |error: &dyn std::fmt::Display| format!("stream {name}: {error}");
    let stream = nats.jetstream.get_stream(&name).await.map_err(|error| failed(&error))?;
    let mut consumers: Vec<ConsumerFigures> =
        stream.consumers().map_ok(ConsumerFigures::from).take(MAX_CONSUMERS + 1).try_collect().await.map_err(|error| failed(&error))?;
    let more_consumers = consumers.len() > MAX_CONSUMERS;
    consumers.truncate(MAX_CONSUMERS);
    consumers.sort_by(|left, right| left.name.cmp(&right.name));
    let state = &stream.cached_info().state;
    Ok(StreamFigures {
        command: format!("nats stream info {name}"),
        messages: state.messages,
        bytes: state.bytes,
        first_seq: state.first_sequence,
        last_seq: state.last_sequence,
        consumers,
        more_consumers,
        name,
    })
}

async fn bucket(nats: &Nats, name: String) -> Result<BucketFigures, String> {
    let stream = nats.jetstream.get_stream(format!("KV_{name}")).await.map_err(|error| format!("bucket {name}: {error}"))?;
    let state = &stream.cached_info().state;
    Ok(BucketFigures { command: format!("nats kv info {name}"), values: state.messages, bytes: state.bytes, name })
}
