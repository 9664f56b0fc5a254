//! NATS as a wire.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::PublishErrorKind as PlainErrorKind;
use async_nats::connection::State;
use async_nats::jetstream::consumer::{DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::kv::{self, Entry};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::stream::{DirectGetErrorKind, LastRawMessageErrorKind, RawMessageErrorKind, Stream};
use async_nats::jetstream::{self, Message as JetStreamMessage};
use async_nats::{Client, Message, Request, RequestErrorKind, Subject};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};

use crate::failure::PublishError;
use crate::generation::Sight;
use crate::look::{self, Look};
use crate::server_time::{self, stored_ms};
use crate::wire::{Backlog, Bucket, Consumer, Delivered, DeliveryInfo, Doing, Followed, Incoming, Over, Post, Watching, Wire, WriteError};

/// A connection to a NATS server.
pub(crate) struct NatsWire {
    client: Client,
    jetstream: jetstream::Context,
}

impl NatsWire {
    pub(crate) fn new(client: Client, jetstream: jetstream::Context) -> Self {
        Self { client, jetstream }
    }

    async fn stream(&self, name: &str) -> Result<Stream<()>, String> {
        self.jetstream.get_stream_no_info(name).await.map_err(words)
    }

    async fn last_by_leader(&self, stream: &str, subject: &str) -> Result<Option<StreamMessage>, String> {
        match self.stream(stream).await?.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(words(error)),
        }
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// JetStream's words for a full stream (errors 10077 and 10167) and for exhausted resources.
fn says_full(reason: &str) -> bool {
    ["maximum bytes exceeded", "maximum messages exceeded", "insufficient", "resource limits exceeded", "no space"]
        .iter()
        .any(|words| reason.contains(words))
}

fn classify_publish_error(error: jetstream::context::PublishError) -> PublishError {
    let reason = error.to_string();
    match error.kind() {
        PublishErrorKind::WrongLastSequence => PublishError::WrongLastSequence,
        PublishErrorKind::TimedOut => PublishError::Timeout,
        PublishErrorKind::StreamNotFound => PublishError::NoStream,
        PublishErrorKind::MaxPayloadExceeded => PublishError::TooLarge(reason),
        _ if says_full(&reason) => PublishError::StreamFull(reason),
        _ => PublishError::Other(reason),
    }
}

impl From<JetStreamMessage> for Delivered {
    fn from(delivered: JetStreamMessage) -> Self {
        let info = delivered.info().map_err(words).map(|info| DeliveryInfo {
            seq: info.stream_sequence,
            delivered: info.delivered,
            stored_at_ms: stored_ms(info.published),
            pending: info.pending,
        });
        Self { info, message: delivered.message }
    }
}

impl Wire for NatsWire {
    fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    fn send(&self, post: Post) -> Doing<'_, Result<(), PublishError>> {
        async move {
            let Post { subject, reply, headers, body } = post;
            let sent = match (reply, headers) {
                (None, None) => self.client.publish(subject, body).await,
                (None, Some(headers)) => self.client.publish_with_headers(subject, headers, body).await,
                (Some(reply), None) => self.client.publish_with_reply(subject, reply, body).await,
                (Some(reply), Some(headers)) => self.client.publish_with_reply_and_headers(subject, reply, headers, body).await,
            };
            sent.map_err(|error| match error.kind() {
                PlainErrorKind::MaxPayloadExceeded => PublishError::TooLarge(words(error)),
                _ => PublishError::Other(words(error)),
            })
        }
        .boxed()
    }

    fn store(&self, post: Post) -> Doing<'_, Result<PublishAck, PublishError>> {
        async move {
            let published = async {
                let ack = self.jetstream.publish_with_headers(post.subject, post.headers.unwrap_or_default(), post.body).await?;
                ack.await
            };
            published.await.map_err(classify_publish_error)
        }
        .boxed()
    }

    fn request(&self, post: Post, limit: Option<Duration>) -> Doing<'_, Result<Message, (RequestErrorKind, String)>> {
        async move {
            let mut request = Request::new().payload(post.body);
            if let Some(headers) = post.headers {
                request = request.headers(headers);
            }
            if limit.is_some() {
                request = request.timeout(limit);
            }
            self.client.send_request(post.subject, request).await.map_err(|error| (error.kind(), words(error)))
        }
        .boxed()
    }

    fn subscribe(&self, subject: Subject) -> Doing<'_, Result<Incoming<Message>, String>> {
        async move { self.client.subscribe(subject).await.map(StreamExt::boxed).map_err(words) }.boxed()
    }

    fn inbox(&self) -> Subject {
        self.client.new_inbox().into()
    }

    fn last<'a>(&'a self, stream: &'a str, subject: &'a str, surely: bool) -> Doing<'a, Result<Option<StreamMessage>, String>> {
        async move {
            match self.stream(stream).await?.direct_get_last_for_subject(subject).await {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == DirectGetErrorKind::NotFound && surely => self.last_by_leader(stream, subject).await,
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
                Err(error) => Err(words(error)),
            }
        }
        .boxed()
    }

    fn stored<'a>(&'a self, stream: &'a str, seq: u64) -> Doing<'a, Result<Option<StreamMessage>, String>> {
        async move {
            match self.stream(stream).await?.get_raw_message(seq).await {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(words(error)),
            }
        }
        .boxed()
    }

    fn look<'a>(&'a self, stream: &'a str) -> Doing<'a, Result<Look, String>> {
        look::ask(&self.jetstream, stream).boxed()
    }

    fn sight<'a>(&'a self, stream: &'a str) -> Doing<'a, Result<Sight, String>> {
        async move { self.jetstream.get_stream(stream).await.map(|found| Sight::of(found.cached_info())).map_err(words) }.boxed()
    }

    fn subjects<'a>(&'a self, stream: &'a str, filter: String) -> Doing<'a, Result<Incoming<Result<(String, usize), String>>, String>> {
        async move {
            let listed = self.stream(stream).await?.info_with_subjects(filter).await.map_err(words)?;
            Ok(listed.map_err(words).boxed())
        }
        .boxed()
    }

    fn purge<'a>(&'a self, stream: &'a str, filter: String) -> Doing<'a, Result<(), String>> {
        async move { self.stream(stream).await?.purge().filter(filter).await.map(drop).map_err(words) }.boxed()
    }

    fn consumer<'a>(&'a self, stream: &'a str, name: &'a str) -> Doing<'a, Result<Arc<dyn Consumer>, String>> {
        async move {
            let found = self.jetstream.get_consumer_from_stream::<pull::Config, _, _>(name, stream).await.map_err(words)?;
            Ok(Arc::new(found) as Arc<dyn Consumer>)
        }
        .boxed()
    }

    fn follow<'a>(&'a self, stream: &'a str) -> Doing<'a, Result<Followed, String>> {
        async move {
            let config = pull::OrderedConfig { deliver_policy: DeliverPolicy::All, headers_only: true, ..pull::OrderedConfig::default() };
            let consumer = self.stream(stream).await?.create_consumer(config).await.map_err(words)?;
            let pending = consumer.cached_info().num_pending;
            let messages = consumer.messages().await.map_err(words)?;
            Ok(Followed { pending, messages: messages.map_ok(Delivered::from).map_err(words).boxed() })
        }
        .boxed()
    }

    fn bucket<'a>(&'a self, name: &'a str) -> Doing<'a, Result<Arc<dyn Bucket>, String>> {
        async move {
            let store = self.jetstream.get_key_value(name).await.map_err(words)?;
            Ok(Arc::new(store) as Arc<dyn Bucket>)
        }
        .boxed()
    }

    fn learn_time(&self) -> Doing<'_, bool> {
        server_time::learn(&self.jetstream).boxed()
    }
}

impl Consumer for PullConsumer {
    fn backlog(&self) -> Backlog {
        let info = self.cached_info();
        Backlog {
            waiting: info.num_pending,
            unacknowledged: info.num_ack_pending,
            ack_floor: info.ack_floor.stream_sequence,
            delivered: (info.delivered.stream_sequence, info.delivered.consumer_sequence),
        }
    }

    fn fetch(&self, batch: usize, expires: Duration) -> Doing<'_, Result<Incoming<Result<Delivered, String>>, String>> {
        async move {
            let messages = self.batch().max_messages(batch).expires(expires).messages().await.map_err(words)?;
            Ok(messages.map_ok(Delivered::from).map_err(words).boxed())
        }
        .boxed()
    }
}

impl Bucket for kv::Store {
    fn name(&self) -> &str {
        &self.name
    }

    fn stream(&self) -> &str {
        &self.stream_name
    }

    fn max_age(&self) -> Duration {
        self.stream.cached_info().config.max_age
    }

    fn first_revision(&self) -> Doing<'_, Result<u64, String>> {
        async move { self.stream.get_info().await.map(|info| info.config.first_sequence.unwrap_or(0)).map_err(words) }.boxed()
    }

    fn entry<'a>(&'a self, key: &'a str) -> Doing<'a, Result<Option<Entry>, String>> {
        async move { kv::Store::entry(self, key).await.map_err(words) }.boxed()
    }

    fn write<'a>(&'a self, key: &'a str, value: Bytes, over: Over) -> Doing<'a, Result<u64, WriteError>> {
        async move {
            match over {
                Over::Anything => self.put(key, value).await.map_err(|error| WriteError::Other(words(error))),
                Over::Nothing => self.create(key, value).await.map_err(|error| match error.kind() {
                    kv::CreateErrorKind::AlreadyExists => WriteError::Conflict,
                    _ => WriteError::Other(words(error)),
                }),
                Over::Revision(revision) => self.update(key, value, revision).await.map_err(|error| match error.kind() {
                    kv::UpdateErrorKind::WrongLastRevision => WriteError::Conflict,
                    _ => WriteError::Other(words(error)),
                }),
            }
        }
        .boxed()
    }

    fn remove<'a>(&'a self, key: &'a str, revision: Option<u64>) -> Doing<'a, Result<(), String>> {
        async move { self.delete_expect_revision(key, revision).await.map_err(words) }.boxed()
    }

    fn keys(&self) -> Doing<'_, Result<Vec<String>, String>> {
        async move { kv::Store::keys(self).await.map_err(words)?.try_collect().await.map_err(words) }.boxed()
    }

    fn watch(&self) -> Doing<'_, Result<Watching, String>> {
        async move {
            let entries = self.watch_with_history(">").await.map_err(words)?;
            let info = self.stream.cached_info();
            Ok(Watching { sight: Sight::of(info), is_empty: info.state.messages == 0, entries: entries.map_err(words).boxed() })
        }
        .boxed()
    }
}
