//! All that a service's loops have of the world: messages, streams, buckets, clocks, entropy, and a place for their tasks. NATS is one
//! [`Wire`]; the simulation is another, under which the same loops run in virtual time.
//!
//! A loop that is to run under either takes everything from its `Connection`, lets tokio's `select!` be
//! `biased`, and spawns through a [`Spawner`].

use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::Entry;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::{HeaderMap, Message, RequestErrorKind, Subject};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::clock;
use crate::failure::PublishError;
use crate::generation::Sight;
use crate::look::Look;

pub use crate::spawner::{Gate, Spawner};

/// Something that a wire does.
pub type Doing<'a, T> = BoxFuture<'a, T>;
/// What comes in, one after another.
pub type Incoming<T> = BoxStream<'static, T>;

/// A message on its way out.
#[derive(Debug, Clone)]
pub struct Post {
    pub subject: Subject,
    pub reply: Option<Subject>,
    pub headers: Option<HeaderMap>,
    pub body: Bytes,
}

impl Post {
    /// A body alone, as JetStream's own requests are.
    pub fn bare(subject: impl Into<Subject>, body: impl Into<Bytes>) -> Self {
        Self { subject: subject.into(), reply: None, headers: None, body: body.into() }
    }
}

/// What JetStream says of a message that it delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryInfo {
    pub seq: u64,
    /// How often it has been delivered, this time included.
    pub delivered: i64,
    pub stored_at_ms: u64,
    /// How many more there are for this consumer.
    pub pending: u64,
}

/// A message of a stream, as a consumer delivers it; its reply subject takes the acknowledgement.
#[derive(Debug)]
pub struct Delivered {
    pub message: Message,
    /// Or why JetStream's word on it cannot be read.
    pub info: Result<DeliveryInfo, String>,
}

impl Deref for Delivered {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

/// How far a consumer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Not delivered yet.
    pub waiting: u64,
    /// Delivered and not acknowledged.
    pub unacknowledged: usize,
    /// Sequence of the stream up to which everything is acknowledged.
    pub ack_floor: u64,
    /// The last delivery: the stream's sequence, and the consumer's.
    pub delivered: (u64, u64),
}

/// A stream that is read from its beginning, headers alone.
pub struct Followed {
    /// How many messages it has now.
    pub pending: u64,
    pub messages: Incoming<Result<Delivered, String>>,
}

/// A bucket that is watched.
pub struct Watching {
    /// The bucket as the watch found it.
    pub sight: Sight,
    pub is_empty: bool,
    /// The present entries, and every change.
    pub entries: Incoming<Result<Entry, String>>,
}

/// What a key must be for a write to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Anything,
    Nothing,
    Revision(u64),
}

/// Why a key was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("the key is not at the revision that was expected")]
    Conflict,
    #[error("{0}")]
    Other(String),
}

/// A bucket of keys and values.
pub trait Bucket: Debug + Send + Sync {
    fn name(&self) -> &str;

    /// The stream that it is.
    fn stream(&self) -> &str;

    /// How long a key lives.
    fn max_age(&self) -> Duration;

    /// Where its revisions begin, as the server says now.
    fn first_revision(&self) -> Doing<'_, Result<u64, String>>;

    /// The newest entry of a key, also one that says that the key was removed.
    fn entry<'a>(&'a self, key: &'a str) -> Doing<'a, Result<Option<Entry>, String>>;

    /// Returns the key's new revision.
    fn write<'a>(&'a self, key: &'a str, value: Bytes, over: Over) -> Doing<'a, Result<u64, WriteError>>;

    /// With a revision: only if the key still has it.
    fn remove<'a>(&'a self, key: &'a str, revision: Option<u64>) -> Doing<'a, Result<(), String>>;

    fn keys(&self) -> Doing<'_, Result<Vec<String>, String>>;

    fn watch(&self) -> Doing<'_, Result<Watching, String>>;
}

/// A durable consumer.
pub trait Consumer: Send + Sync {
    /// As it was when it was looked up.
    fn backlog(&self) -> Backlog;

    /// Up to `batch` messages within `expires`.
    fn fetch(&self, batch: usize, expires: Duration) -> Doing<'_, Result<Incoming<Result<Delivered, String>>, String>>;
}

/// Subjects of a stream with the number of messages of each, as they come.
pub type SubjectCounts = Incoming<Result<(String, usize), String>>;

/// See the module.
pub trait Wire: Send + Sync {
    fn is_connected(&self) -> bool;

    /// The most bytes that a message may have.
    fn max_payload(&self) -> usize;

    /// Not acknowledged, and kept while there is no connection.
    fn send(&self, post: Post) -> Doing<'_, Result<(), PublishError>>;

    /// Acknowledged by the stream that takes the subject.
    fn store(&self, post: Post) -> Doing<'_, Result<PublishAck, PublishError>>;

    /// One answer; without a limit, within the client's own.
    fn request(&self, post: Post, limit: Option<Duration>) -> Doing<'_, Result<Message, (RequestErrorKind, String)>>;

    fn subscribe(&self, subject: Subject) -> Doing<'_, Result<Incoming<Message>, String>>;

    /// A subject that only this process hears.
    fn inbox(&self) -> Subject;

    /// The last message of a subject. `surely`: that there is none is the word of the server that leads the stream.
    fn last<'a>(&'a self, stream: &'a str, subject: &'a str, surely: bool) -> Doing<'a, Result<Option<StreamMessage>, String>>;

    /// The message with this sequence.
    fn stored<'a>(&'a self, stream: &'a str, seq: u64) -> Doing<'a, Result<Option<StreamMessage>, String>>;

    /// What the server that leads a stream says of it.
    fn look<'a>(&'a self, stream: &'a str) -> Doing<'a, Result<Look, String>>;

    /// Whether a stream is there, and which one.
    fn sight<'a>(&'a self, stream: &'a str) -> Doing<'a, Result<Sight, String>>;

    /// The subjects in a stream, with how many messages each has.
    fn subjects<'a>(&'a self, stream: &'a str, filter: String) -> Doing<'a, Result<SubjectCounts, String>>;

    fn purge<'a>(&'a self, stream: &'a str, filter: String) -> Doing<'a, Result<(), String>>;

    fn consumer<'a>(&'a self, stream: &'a str, name: &'a str) -> Doing<'a, Result<Arc<dyn Consumer>, String>>;

    fn follow<'a>(&'a self, stream: &'a str) -> Doing<'a, Result<Followed, String>>;

    fn bucket<'a>(&'a self, name: &'a str) -> Doing<'a, Result<Arc<dyn Bucket>, String>>;

    /// Sets the cluster's time of this process by the server's clock; false when that did not work.
    fn learn_time(&self) -> Doing<'_, bool>;

    /// See [`clock::steady_ms`].
    fn steady_ms(&self) -> u64 {
        clock::steady_ms()
    }

    /// See [`clock::unix_ms`].
    fn unix_ms(&self) -> u64 {
        clock::unix_ms()
    }

    /// Random bits for an id.
    fn random_u128(&self) -> u128 {
        clock::random_u128()
    }

    /// Where the tasks of this process run.
    fn spawner(&self) -> Spawner {
        Spawner::default()
    }
}
