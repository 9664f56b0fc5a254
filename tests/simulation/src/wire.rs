//! The wire of a simulated process: every operation is a message to the model of the server. Some of the planted bugs are here: the
//! wire then says what is not so.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::{HeaderMap, Message, RequestErrorKind, Subject};
use bytes::Bytes;
use faultline_engine::job::{JobState, Priority};
use faultline_protocol::codec::HEADER_JOB_STATE;
use faultline_protocol::streams::{self, JOBS, KV_NODES};
use faultline_runtime::connect::PublishError;
use faultline_runtime::connection::Connection;
use faultline_runtime::generation::Sight;
use faultline_runtime::sight::Look;
use faultline_runtime::wire::{Bucket, Consumer, Doing, Followed, Incoming, Post, Spawner, Wire};
use futures::FutureExt;
use futures::stream::{self, StreamExt};
use rand::RngExt;

use super::bucket::ModelBucket;
use super::bug::Bug;
use super::cast::Proc;
use super::client::{ANSWER_LIMIT, Client, TIMED_OUT, datetime};
use super::message::{EPOCH_MS, Op, Reply, Stored, delivered};
use super::queue::ModelConsumer;
use super::stage::Stage;
use super::stream::{bucket_stream, static_name};
use super::world::World;
use super::{planted, witness};

/// The connection of the present life of a process.
pub(crate) fn connect(world: &World, proc: Proc, stage: &Stage) -> Connection {
    let link = &stage.net.links[proc];
    Connection::over(Arc::new(Client { world: world.clone(), proc, life: link.life }), link.connections())
}

fn stream_message(stored: &Stored) -> StreamMessage {
    StreamMessage {
        subject: stored.subject.clone(),
        sequence: stored.seq,
        headers: stored.headers.clone(),
        payload: stored.body.clone(),
        time: datetime(stored.at_ms),
    }
}

impl Wire for Client {
    fn is_connected(&self) -> bool {
        self.stage().is_some_and(|stage| stage.net.links[self.proc].is_connected)
    }

    fn max_payload(&self) -> usize {
        1 << 20
    }

    fn send(&self, post: Post) -> Doing<'_, Result<(), PublishError>> {
        if let Some(mut stage) = self.stage()
            && let Some(post) = planted::on_sending(&mut stage, self.proc, post)
        {
            witness::on_post(&mut stage, self.proc, &post);
            stage.net.send(self.proc, Op::Publish(post));
        }
        std::future::ready(Ok(())).boxed()
    }

    fn store(&self, mut post: Post) -> Doing<'_, Result<PublishAck, PublishError>> {
        let subject = post.subject.clone();
        let mut is_trusted = false;
        if let Some(mut stage) = self.stage() {
            witness::on_post(&mut stage, self.proc, &post);
            let is_result = self.is_worker(&stage) && subject.starts_with("job.res.");
            match stage.net.bug {
                Some(Bug::SkipCas) if is_result => post.headers = post.headers.map(planted::without_expectation),
                Some(Bug::NakFirst) if self.is_worker(&stage) => planted::nak_first(&mut stage, self.proc, &post),
                // The result is on its way: who would not acknowledge now?
                Some(Bug::TrustAck) if is_result => {
                    is_trusted = true;
                    stage.net.send(self.proc, Op::Store(post.clone()));
                }
                _ => {}
            }
        }
        async move {
            if is_trusted {
                return Ok(PublishAck { sequence: 1, ..PublishAck::default() });
            }
            match self.ask(Op::Store(post), ANSWER_LIMIT).await {
                Ok(Reply::Written { seq, is_duplicate }) => {
                    Ok(PublishAck { sequence: seq, duplicate: is_duplicate, ..PublishAck::default() })
                }
                Ok(Reply::Conflict) => {
                    self.note_conflict(&subject);
                    Err(PublishError::WrongLastSequence)
                }
                Ok(other) => Err(PublishError::Other(format!("{other:?}"))),
                Err(_) => Err(PublishError::Timeout),
            }
        }
        .boxed()
    }

    fn request(&self, post: Post, limit: Option<Duration>) -> Doing<'_, Result<Message, (RequestErrorKind, String)>> {
        async move {
            let (subject, is_progress) = (post.subject.clone(), post.body.starts_with(b"+WPI"));
            match self.ask(Op::Publish(post), limit.unwrap_or(ANSWER_LIMIT)).await {
                Ok(Reply::Message(message)) => Ok(message),
                Ok(Reply::NobodyListens) => Err((RequestErrorKind::NoResponders, "no responders".into())),
                Err(_) if is_progress && self.stage().is_some_and(|stage| stage.net.has(Bug::NoSelfFence)) => {
                    Ok(Message { subject, reply: None, payload: Bytes::new(), headers: None, status: None, description: None, length: 0 })
                }
                Ok(other) => Err((RequestErrorKind::Other, format!("{other:?}"))),
                Err(reason) => Err((RequestErrorKind::TimedOut, reason)),
            }
        }
        .boxed()
    }

    fn subscribe(&self, subject: Subject) -> Doing<'_, Result<Incoming<Message>, String>> {
        let messages = self.stage().map(|mut stage| stage.net.links[self.proc].subscribe(subject));
        let messages = messages.map(|messages| stream::unfold(messages, |mut it| async { it.recv().await.map(|got| (got, it)) }).boxed());
        std::future::ready(messages.ok_or_else(|| "the process is dead".into())).boxed()
    }

    fn inbox(&self) -> Subject {
        let number = self.stage().map_or(0, |mut stage| stage.net.next_request());
        format!("_INBOX.{}.{number}", self.proc).into()
    }

    fn last<'a>(&'a self, stream: &'a str, subject: &'a str, _surely: bool) -> Doing<'a, Result<Option<StreamMessage>, String>> {
        async move {
            if self.forge(subject) {
                let mut headers = HeaderMap::new();
                headers.insert(HEADER_JOB_STATE, JobState::Committed.as_str());
                let (subject, time) = (subject.to_owned().into(), datetime(EPOCH_MS));
                return Ok(Some(StreamMessage { subject, sequence: u64::MAX, headers, payload: Bytes::new(), time }));
            }
            match self.ask(Op::Last { stream: static_name(stream), subject: subject.to_owned() }, ANSWER_LIMIT).await? {
                Reply::Stored(stored) => Ok(stored.map(|stored| stream_message(&stored))),
                other => Err(format!("{other:?}")),
            }
        }
        .boxed()
    }

    fn stored<'a>(&'a self, stream: &'a str, seq: u64) -> Doing<'a, Result<Option<StreamMessage>, String>> {
        async move {
            match self.ask(Op::At { stream: static_name(stream), seq }, ANSWER_LIMIT).await? {
                Reply::Stored(stored) => Ok(stored.map(|stored| stream_message(&stored))),
                other => Err(format!("{other:?}")),
            }
        }
        .boxed()
    }

    fn look<'a>(&'a self, stream: &'a str) -> Doing<'a, Result<Look, String>> {
        async move { self.look_at(stream).await.map(|(look, _)| look) }.boxed()
    }

    fn sight<'a>(&'a self, stream: &'a str) -> Doing<'a, Result<Sight, String>> {
        async move {
            // The others are never made anew here, and no process holds their sequences.
            if stream == JOBS || stream == bucket_stream(KV_NODES) {
                return self.look_at(stream).await.map(|(_, sight)| sight);
            }
            if self.is_connected() { Ok(Sight { created_ns: 0, first_seq: 0, last_seq: u64::MAX }) } else { Err(TIMED_OUT.into()) }
        }
        .boxed()
    }

    fn subjects<'a>(&'a self, _stream: &'a str, filter: String) -> Doing<'a, Result<Incoming<Result<(String, usize), String>>, String>> {
        async move {
            match self.ask(Op::Subjects { filter }, ANSWER_LIMIT).await? {
                Reply::Subjects(found) => Ok(stream::iter(found).map(Ok).boxed()),
                other => Err(format!("{other:?}")),
            }
        }
        .boxed()
    }

    fn purge<'a>(&'a self, _stream: &'a str, filter: String) -> Doing<'a, Result<(), String>> {
        async move { self.ask(Op::Purge { filter }, ANSWER_LIMIT).await.map(drop) }.boxed()
    }

    fn consumer<'a>(&'a self, _stream: &'a str, name: &'a str) -> Doing<'a, Result<Arc<dyn Consumer>, String>> {
        async move {
            let priority = Priority::ALL.into_iter().find(|priority| streams::queue_consumer_name(*priority) == name);
            let priority = priority.expect("a consumer of JOBS");
            match self.ask(Op::Backlog { priority }, ANSWER_LIMIT).await? {
                Reply::Backlog(backlog) => Ok(Arc::new(ModelConsumer { client: self.clone(), priority, backlog }) as Arc<dyn Consumer>),
                other => Err(format!("{other:?}")),
            }
        }
        .boxed()
    }

    fn follow<'a>(&'a self, stream: &'a str) -> Doing<'a, Result<Followed, String>> {
        async move {
            let stream = static_name(stream);
            let (_, found) = self.since(stream, 0).await?;
            let pending = found.len() as u64;
            let messages =
                self.clone().follow_from(stream, found).map(|(stored, pending)| Ok(delivered(&stored, None, 1, pending))).boxed();
            Ok(Followed { pending, messages })
        }
        .boxed()
    }

    fn bucket<'a>(&'a self, name: &'a str) -> Doing<'a, Result<Arc<dyn Bucket>, String>> {
        async move {
            self.look_at(bucket_stream(name)).await?;
            Ok(Arc::new(ModelBucket::new(self.clone(), name)) as Arc<dyn Bucket>)
        }
        .boxed()
    }

    fn learn_time(&self) -> Doing<'_, bool> {
        std::future::ready(true).boxed()
    }

    fn steady_ms(&self) -> u64 {
        let stage = self.world.lock();
        stage.net.steady_ms(self.proc, stage.net.now)
    }

    fn unix_ms(&self) -> u64 {
        let stage = self.world.lock();
        // A submitter's clock is the one with which it made its ids.
        if self.proc > stage.cast.detector() { EPOCH_MS + stage.net.now } else { stage.net.wall_ms(self.proc, stage.net.now) }
    }

    fn random_u128(&self) -> u128 {
        self.world.lock().net.links[self.proc].rng.random()
    }

    fn spawner(&self) -> Spawner {
        Spawner::behind(self.world.lock().net.links[self.proc].gate.clone())
    }
}
