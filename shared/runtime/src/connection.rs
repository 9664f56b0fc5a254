//! What a service's loops do over their [`Wire`]: typed publish and request, and what is known of the link. Cheap to clone.

use std::fmt::Display;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::kv::Operation;
use async_nats::jetstream::publish::PublishAck;
use async_nats::{HeaderMap, RequestErrorKind, Subject};
use faultline_protocol::batch::{self, HEADER_BYTES, Parts};
use faultline_protocol::codec::{self, Message};
use serde::Serialize;

use crate::count::Count;
use crate::failure::{BucketError, PublishError, RequestError};
use crate::generation::Generations;
use crate::last_answer::LastAnswer;
use crate::link_health::LinkHealth;
use crate::missing::Missing;
use crate::trace::Tracer;
use crate::wire::{Bucket, Incoming, Over, Post, Wire};

/// A wire, and what is kept about it.
#[derive(Clone)]
pub struct Connection {
    wire: Arc<dyn Wire>,
    pub(crate) health: Arc<LinkHealth>,
    connections: Count,
    pub(crate) tracer: Tracer,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("health", &self.health).finish_non_exhaustive()
    }
}

impl Deref for Connection {
    type Target = dyn Wire;

    fn deref(&self) -> &Self::Target {
        &*self.wire
    }
}

impl Connection {
    /// Over a wire that counts its connections in `connections`.
    pub fn over(wire: Arc<dyn Wire>, connections: Count) -> Self {
        Self::new(wire, connections, Arc::new(LinkHealth::new()), Tracer::default())
    }

    pub(crate) fn new(wire: Arc<dyn Wire>, connections: Count, health: Arc<LinkHealth>, tracer: Tracer) -> Self {
        Self { wire, health, connections, tracer }
    }

    /// Where spans of jobs are told.
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Counts a message that could not be read.
    pub fn note_malformed(&self) {
        self.health.malformed.inc();
    }

    /// What the process works with and is not there.
    pub(crate) fn missing(&self) -> &Missing {
        &self.health.missing
    }

    pub(crate) fn last_answer(&self) -> &LastAnswer {
        &self.health.last_answer
    }

    /// What was seen of each stream.
    pub(crate) fn generations(&self) -> &Generations {
        &self.health.generations
    }

    /// Counts connections; changes at every reconnect.
    pub fn connections(&self) -> Count {
        self.connections.clone()
    }

    /// The most bytes that a message's body may have now. A server says at each connection what it allows.
    pub fn most_bytes(&self) -> usize {
        self.wire.max_payload().min(codec::MAX_BODY_BYTES).saturating_sub(HEADER_BYTES)
    }

    /// The messages that carry these items, none of them larger than the server allows.
    pub fn parts<M: Message, T: Serialize>(&self, items: Vec<T>, message: impl Fn(Vec<T>) -> M) -> Parts<M, T> {
        batch::parts(items, self.most_bytes(), message)
    }

    /// Counts something that was not sent, and says so at the first, second, fourth, eighth, ... time.
    pub fn note_unsent(&self, what: &str, reason: &dyn Display) {
        self.health.unsent.inc();
        let so_far = self.health.unsent.get();
        if so_far.is_power_of_two() {
            tracing::warn!(%reason, so_far, "{what} was not sent");
        }
    }

    /// Plain publish: may be lost. Refuses while disconnected, so that old news does not burst out later.
    pub async fn publish<M: Message>(&self, subject: impl Into<String>, message: &M) -> Result<(), PublishError> {
        if !self.is_connected() {
            let error = PublishError::Other("not connected".into());
            self.note_unsent(M::KIND, &error);
            return Err(error);
        }
        self.send_message(subject.into().into(), message).await
    }

    /// The same, kept by the client until it is connected again.
    pub async fn send_message<M: Message>(&self, subject: Subject, message: &M) -> Result<(), PublishError> {
        let post = Post { subject, reply: None, headers: Some(codec::headers_for::<M>()), body: codec::encode(message) };
        self.wire.send(post).await.inspect_err(|error| self.note_unsent(M::KIND, error))
    }

    /// Words to JetStream about a message that it delivered: an acknowledgement, or what stands in for one.
    pub async fn tell(&self, ack_subject: impl Into<Subject>, words: impl Into<bytes::Bytes>) -> Result<(), PublishError> {
        self.wire.send(Post::bare(ack_subject, words)).await
    }

    /// Publishes to a stream and awaits the acknowledgement. Returns the message's sequence.
    pub async fn publish_durable<M: Message>(&self, subject: impl Into<String>, message: &M) -> Result<u64, PublishError> {
        self.publish_durable_with(subject, codec::headers_for::<M>(), message).await
    }

    /// As [`Connection::publish_durable`], with further headers.
    pub async fn publish_durable_with<M: Message>(
        &self,
        subject: impl Into<String>,
        headers: HeaderMap,
        message: &M,
    ) -> Result<u64, PublishError> {
        self.publish_acknowledged(subject, headers, message).await.map(|ack| ack.sequence)
    }

    /// The same, with all that the server says in its acknowledgement.
    pub async fn publish_acknowledged<M: Message>(
        &self,
        subject: impl Into<String>,
        headers: HeaderMap,
        message: &M,
    ) -> Result<PublishAck, PublishError> {
        let post = Post { subject: subject.into().into(), reply: None, headers: Some(headers), body: codec::encode(message) };
        self.wire.store(post).await.inspect_err(|error| {
            if matches!(error, PublishError::TooLarge(_)) {
                self.note_unsent(M::KIND, error);
            }
        })
    }

    /// Asks and awaits one answer.
    pub async fn ask<Q: Message, A: Message>(&self, subject: impl Into<String>, question: &Q, limit: Duration) -> Result<A, RequestError> {
        let subject = subject.into();
        let headers = Some(codec::headers_for::<Q>());
        let post = Post { subject: subject.as_str().into(), reply: None, headers, body: codec::encode(question) };
        let answer = self.wire.request(post, Some(limit)).await.map_err(|(kind, reason)| match kind {
            RequestErrorKind::NoResponders => RequestError::NoResponders(subject.clone()),
            RequestErrorKind::TimedOut => RequestError::Timeout(subject.clone()),
            _ => RequestError::Other { subject: subject.clone(), reason },
        })?;
        codec::decode(answer.headers.as_ref(), &answer.payload).map_err(|source| RequestError::Decode { subject, source })
    }

    /// Answers a request. The asker chooses where the answer goes, and the server lets an answer pass: so it may only be an inbox, or the
    /// subject that the server itself makes for a request from another account. No client can choose one of those.
    pub async fn reply<M: Message>(&self, reply_to: Subject, message: &M) -> Result<(), PublishError> {
        if !["_INBOX", "_R_."].iter().any(|prefix| reply_to.starts_with(prefix)) {
            return Err(PublishError::Other(format!("invalid reply subject `{reply_to}`: not an inbox")));
        }
        self.send_message(reply_to, message).await
    }

    /// Hears what is published on a subject or a wildcard from now on.
    pub async fn hear(&self, subject: impl Into<Subject>) -> Result<Incoming<async_nats::Message>, String> {
        self.wire.subscribe(subject.into()).await
    }

    pub async fn open_bucket(&self, name: &str) -> Result<Arc<dyn Bucket>, BucketError> {
        self.wire.bucket(name).await.map_err(|reason| BucketError { bucket: name.to_owned(), reason })
    }
}

/// Has JetStream deliver a message again after `delay_ms`.
pub fn nak(delay_ms: u64) -> AckKind {
    AckKind::Nak((delay_ms > 0).then(|| Duration::from_millis(delay_ms)))
}

/// Reads a message from a bucket; an undecodable value is an error that names the key.
pub async fn get<M: Message>(bucket: &dyn Bucket, key: &str) -> Result<Option<M>, BucketError> {
    let fail = |reason: String| BucketError { bucket: bucket.name().to_owned(), reason };
    match bucket.entry(key).await.map_err(fail)?.filter(|entry| entry.operation == Operation::Put) {
        Some(entry) => codec::decode_body(&entry.value).map(Some).map_err(|error| fail(format!("key {key}: {error}"))),
        None => Ok(None),
    }
}

/// Writes a message into a bucket and returns its revision.
pub async fn put<M: Message>(bucket: &dyn Bucket, key: &str, message: &M) -> Result<u64, BucketError> {
    let written = bucket.write(key, codec::encode(message), Over::Anything).await;
    written.map_err(|error| BucketError { bucket: bucket.name().to_owned(), reason: error.to_string() })
}
