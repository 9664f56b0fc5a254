//! The parts of NATS that the cluster stands on, with the habits that were measured: an acknowledgement acts on the stream's sequence
//! only, from any client; sequences are compared before duplicates are looked for; a killed server forgets the deliveries of its
//! last tenth of a second, and which messages it had seen of jobs that are gone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use async_nats::{HeaderMap, Message, StatusCode, Subject};
use bytes::Bytes;
use faultline_engine::job::{JobId, Priority};
use faultline_engine::ledger::LedgerState;
use faultline_engine::node::NodeSpec;
use faultline_protocol::codec;
use faultline_protocol::messages::{EventBatch, NodeRegistration, TerminalRecord};
use faultline_protocol::streams::{ACK_WAIT, DEAD, DEDUPE_WINDOW, EVENTS, JOBS, KEY_LEDGER, KV_LEASE, KV_LEDGER, KV_NODES, RESULTS};
use faultline_protocol::subjects::{self, JOBS_DIRECT_GET};
use faultline_runtime::clock::ms;
use faultline_runtime::wire::{Backlog, Over, Post};
use serde::Deserialize;

use super::bug::Bug;
use super::cast::{Cast, Proc};
use super::message::{Msg, Op, Reply, Stored, is_event};
use super::net::Net;
use super::stream::{KV_OPERATION, Stream, bucket_stream, bucket_subject, key_of};

pub(crate) const LEASE_MAX_AGE_MS: u64 = 3_000;
/// What a killed server had not yet written down of its deliveries.
const FORGOTTEN_MS: u64 = 100;
const TICK_MS: u64 = 100;
const END_OF_BATCH: u16 = 204;

/// A delivery that was not acknowledged.
struct Pending {
    first_at: u64,
    due_at: u64,
    count: u64,
    /// It waits for a pull.
    is_due: bool,
}

struct Pull {
    of: Proc,
    life: u32,
    pull: u64,
    left: usize,
    until: u64,
}

struct Consumer {
    filter: String,
    /// The first sequence that was not delivered yet.
    next: u64,
    deliveries: u64,
    pending: BTreeMap<u64, Pending>,
    due: BTreeSet<u64>,
    pulls: VecDeque<Pull>,
}

pub(crate) struct Server {
    streams: BTreeMap<&'static str, Stream>,
    seen: BTreeMap<String, u64>,
    consumers: [Consumer; Priority::ALL.len()],
}

/// JetStream's request for one message, or for many from a sequence on.
#[derive(Deserialize)]
struct Ask {
    #[serde(default)]
    batch: usize,
    #[serde(default)]
    seq: u64,
    next_by_subj: Option<String>,
    last_by_subj: Option<String>,
}

fn message(subject: impl Into<Subject>, reply: Option<Subject>, headers: Option<HeaderMap>, payload: Bytes) -> Message {
    let length = payload.len();
    Message { subject: subject.into(), reply, payload, headers, status: None, description: None, length }
}

fn stream_of(subject: &str) -> Option<&'static str> {
    match subject {
        _ if subject.starts_with("job.q.") => Some(JOBS),
        _ if subject.starts_with("job.res.") => Some(RESULTS),
        _ if subject.starts_with("job.dead.") => Some(DEAD),
        _ => is_event(subject).then_some(EVENTS),
    }
}

impl Server {
    pub(crate) fn new() -> Self {
        Self { streams: Stream::all_by_name(), seen: BTreeMap::new(), consumers: Priority::ALL.map(Consumer::new) }
    }

    fn stream(&mut self, name: &str) -> &mut Stream {
        self.streams.get_mut(name).expect("all streams are there")
    }

    fn jobs(&self) -> &Stream {
        &self.streams[JOBS]
    }

    /// Whether anything came into a stream after a sequence.
    pub(crate) fn has_news(&self, stream: &str, seq: u64) -> bool {
        self.streams[stream].after(seq).next().is_some()
    }

    pub(crate) fn is_queue_empty(&self) -> bool {
        self.jobs().is_empty()
    }

    pub(crate) fn queued_jobs(&self) -> impl Iterator<Item = JobId> + '_ {
        self.jobs().all().filter_map(|stored| subjects::queued_job_id(&stored.subject))
    }

    pub(crate) fn has_record(&self, job: JobId) -> bool {
        self.streams[RESULTS].last_of(&subjects::result(job)).is_some()
    }

    pub(crate) fn results_seq(&self) -> u64 {
        self.streams[RESULTS].last_seq
    }

    pub(crate) fn ledger(&self) -> LedgerState {
        let stored = self.streams[bucket_stream(KV_LEDGER)].last_of(&bucket_subject(KV_LEDGER, KEY_LEDGER));
        stored.and_then(|stored| codec::decode_body(&stored.body).ok()).unwrap_or_default()
    }

    /// A node as it is registered.
    pub(crate) fn registered(&self, node: &str) -> Option<NodeSpec> {
        let stored = self.streams[bucket_stream(KV_NODES)].last_of(&bucket_subject(KV_NODES, node))?;
        codec::decode_body::<NodeRegistration>(&stored.body).ok().filter(|_| stored.is_present()).map(|found| found.spec)
    }

    /// The server stops without a word.
    pub(crate) fn crash(&mut self, net: &mut Net) {
        net.server_crash();
        for consumer in &mut self.consumers {
            consumer.pulls.clear();
            let forgotten: Vec<u64> =
                consumer.pending.iter().filter(|(_, it)| it.first_at + FORGOTTEN_MS > net.now).map(|(seq, _)| *seq).collect();
            for seq in forgotten {
                if let Some(job) = self.streams[JOBS].at(seq).and_then(|stored| subjects::queued_job_id(&stored.subject)) {
                    net.shadow.on_forgotten(job);
                }
                consumer.pending.remove(&seq);
                consumer.due.remove(&seq);
                consumer.next = consumer.next.min(seq);
            }
        }
        let still_there: BTreeSet<String> = self.queued_jobs().map(|job| job.to_string()).collect();
        self.seen.retain(|id, _| still_there.contains(id));
    }

    /// The bucket LEASE is made anew, or an older copy of it is put back: its revisions begin again.
    pub(crate) fn lease_begins_again(&mut self, revision: u64, net: &Net) {
        self.stream(bucket_stream(KV_LEASE)).begins_again(revision, net.server_ms());
    }

    /// The bucket NODES is made anew: no node is registered.
    pub(crate) fn nodes_begin_again(&mut self, net: &mut Net) {
        let nodes: Vec<String> = self.streams[bucket_stream(KV_NODES)].all().map(|stored| key_of(stored).to_owned()).collect();
        for node in nodes {
            net.shadow.on_unregistered(&node, net.now);
        }
        self.stream(bucket_stream(KV_NODES)).begins_again(0, net.server_ms());
    }

    /// Time passes: what was not acknowledged is due again, and a lease that was not renewed ends.
    pub(crate) fn tick(&mut self, net: &mut Net, cast: &Cast) {
        let now = net.now;
        for consumer in &mut self.consumers {
            for (seq, pending) in &mut consumer.pending {
                if !pending.is_due && pending.due_at <= now {
                    pending.is_due = true;
                    consumer.due.insert(*seq);
                }
            }
        }
        let now_ms = net.server_ms();
        let leases = self.stream(bucket_stream(KV_LEASE));
        let ended: Vec<Subject> = leases
            .all()
            .filter(|stored| stored.is_present() && stored.at_ms + LEASE_MAX_AGE_MS <= now_ms)
            .map(|stored| stored.subject.clone())
            .collect();
        for subject in ended {
            leases.write(subject, removal(), Bytes::new(), now_ms);
        }
        self.serve_pulls(net, cast);
        net.server_tick(TICK_MS);
    }

    fn serve_pulls(&mut self, net: &mut Net, cast: &Cast) {
        for priority in Priority::ALL {
            let consumer = &mut self.consumers[priority as usize];
            while let Some(Pull { of, life, pull, left, until }) = consumer.pulls.front() {
                let (to, pull, link) = (*of, *pull, &net.links[*of]);
                if *left == 0 || *until <= net.now || !link.is_connected || link.life != *life || !link.waits_for_pull(pull) {
                    consumer.pulls.pop_front();
                    continue;
                }
                let Some((stored, count)) = consumer.take_next(&self.streams[JOBS], net.now) else { break };
                consumer.pulls[0].left -= 1;
                consumer.deliveries += 1;
                net.stats.deliveries += 1;
                let ack = format!(
                    "$JS.ACK.{JOBS}.{}.{count}.{}.{}.{}.0",
                    faultline_protocol::streams::queue_consumer_name(priority),
                    stored.seq,
                    consumer.deliveries,
                    u128::from(stored.at_ms) * 1_000_000
                );
                net.say(|| format!("JETSTREAM delivers {} to {} (seq {}, count {count})", stored.subject, cast.name(to), stored.seq));
                if let Some(job) = subjects::queued_job_id(&stored.subject) {
                    net.shadow.on_delivered(job, net.now);
                }
                net.deliver(to, Msg::Delivery { pull, stored, ack_subject: ack.into(), delivered: count });
            }
        }
    }

    /// What the server does about something that a process says; `None`: nothing that is answered now.
    pub(crate) fn handle(&mut self, (from, request): (Proc, Option<u64>), op: Op, net: &mut Net, cast: &Cast) -> Option<Reply> {
        Some(match op {
            Op::Publish(post) => return self.publish(from, request, post, net, cast),
            Op::Store(post) => self.store(from, post, net, cast),
            Op::Last { stream, subject } => Reply::Stored(self.stream(stream).last_of(&subject).cloned()),
            Op::At { stream, seq } => Reply::Stored(self.stream(stream).at(seq).cloned()),
            Op::Look { stream } => {
                let now_ms = net.server_ms();
                let stream = self.stream(stream);
                Reply::Look(stream.look(now_ms), stream.sight())
            }
            Op::Subjects { filter } => {
                let found = self.jobs().all().filter(|stored| subjects::matches(&filter, &stored.subject));
                let mut counts: BTreeMap<String, usize> = BTreeMap::new();
                found.for_each(|stored| *counts.entry(stored.subject.to_string()).or_default() += 1);
                Reply::Subjects(counts.into_iter().collect())
            }
            Op::Purge { filter } => {
                let purged: Vec<u64> =
                    self.jobs().all().filter(|stored| subjects::matches(&filter, &stored.subject)).map(|stored| stored.seq).collect();
                for seq in purged {
                    self.stream(JOBS).remove(seq);
                }
                self.forget_missing();
                Reply::Done
            }
            Op::Backlog { priority } => Reply::Backlog(self.backlog(priority)),
            Op::Since { stream, seq } => {
                let stream = self.stream(stream);
                Reply::Since(stream.sight(), stream.after(seq).cloned().collect())
            }
            Op::Pull { priority, pull, want, expires_ms } => {
                let pull = Pull { of: from, life: net.links[from].life, pull, left: want, until: net.now + expires_ms };
                self.consumers[priority as usize].pulls.push_back(pull);
                self.serve_pulls(net, cast);
                return None;
            }
            Op::Write { bucket, key, value, over } => self.write(bucket, &key, value, over, net),
            Op::Remove { bucket, key, revision } => self.remove(bucket, &key, revision, net),
        })
    }

    fn publish(&mut self, from: Proc, request: Option<u64>, post: Post, net: &mut Net, cast: &Cast) -> Option<Reply> {
        let Post { subject, reply, headers, body } = post;
        if let Some(seq) = subjects::ack_seq(&subject) {
            self.acknowledge(seq, &body, net.now);
            self.serve_pulls(net, cast);
            return Some(Reply::Message(message(subject, None, None, Bytes::new())));
        }
        if subject.as_str() == JOBS_DIRECT_GET {
            return self.direct_get((from, reply), &body, net);
        }
        if let Some((to, life, asked)) = request_of_inbox(&subject) {
            if net.links[to].life == life {
                let answer = message(subject, None, headers, body);
                net.deliver(to, Msg::Reply { request: asked, reply: Reply::Message(answer) });
            }
            return None;
        }
        if stream_of(&subject).is_some() {
            self.store(from, Post { subject, reply, headers, body }, net, cast);
            return None;
        }
        let reply = request.map_or(reply, |request| Some(inbox_of_request(from, net.links[from].life, request)));
        let listeners: Vec<Proc> =
            (0..net.links.len()).filter(|to| net.links[*to].is_connected && net.links[*to].hears(&subject)).collect();
        if listeners.is_empty() {
            return Some(Reply::NobodyListens);
        }
        for to in listeners {
            net.deliver(to, Msg::Plain(message(subject.clone(), reply.clone(), headers.clone(), body.clone())));
        }
        None
    }

    /// The last message of a subject as the answer, or many into an inbox.
    fn direct_get(&self, (from, inbox): (Proc, Option<Subject>), body: &[u8], net: &mut Net) -> Option<Reply> {
        let ask: Ask = serde_json::from_slice(body).expect("the request is well-formed");
        if let Some(subject) = ask.last_by_subj {
            let answer = match self.jobs().last_of(&subject) {
                Some(stored) => message(subject, None, Some(stored.headers.clone()), stored.body.clone()),
                None => Message { status: StatusCode::from_u16(404).ok(), ..message(subject, None, None, Bytes::new()) },
            };
            return Some(Reply::Message(answer));
        }
        let (inbox, filter) = (inbox?, ask.next_by_subj?);
        let found = self.jobs().after(ask.seq.saturating_sub(1)).filter(|stored| subjects::matches(&filter, &stored.subject));
        let mut answers: Vec<Message> = found
            .take(ask.batch)
            .map(|stored| {
                let mut headers = stored.headers.clone();
                headers.insert("Nats-Sequence", stored.seq.to_string());
                headers.insert("Nats-Subject", stored.subject.as_str());
                message(inbox.clone(), None, Some(headers), stored.body.clone())
            })
            .collect();
        answers.push(Message { status: StatusCode::from_u16(END_OF_BATCH).ok(), ..message(inbox, None, None, Bytes::new()) });
        net.deliver(from, Msg::Many(answers));
        None
    }

    /// What the stream still holds up to a consumer's last delivery.
    fn backlog(&self, priority: Priority) -> Backlog {
        let consumer = &self.consumers[priority as usize];
        let waiting =
            self.jobs().after(consumer.next.saturating_sub(1)).filter(|stored| subjects::matches(&consumer.filter, &stored.subject));
        let last = consumer.next.saturating_sub(1);
        Backlog {
            waiting: waiting.count() as u64,
            unacknowledged: consumer.pending.len(),
            ack_floor: consumer.pending.first_key_value().map_or(last, |(seq, _)| seq - 1),
            delivered: (last, consumer.deliveries),
        }
    }

    /// From any process, and whatever became of the delivery meanwhile.
    fn acknowledge(&mut self, seq: u64, words: &[u8], now: u64) {
        let words = std::str::from_utf8(words).unwrap_or_default();
        if words.starts_with("+ACK") || words.starts_with("+TERM") {
            self.stream(JOBS).remove(seq);
            self.forget_missing();
        } else if let Some(nak) = words.strip_prefix("-NAK") {
            let delay_ns: u64 = nak.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
            self.reschedule(seq, now + delay_ns / 1_000_000);
        } else if words.starts_with("+WPI") {
            self.reschedule(seq, now + ms(ACK_WAIT));
        }
    }

    fn reschedule(&mut self, seq: u64, due_at: u64) {
        for consumer in &mut self.consumers {
            if let Some(pending) = consumer.pending.get_mut(&seq) {
                pending.due_at = due_at;
                // What is due already goes out all the same.
            }
        }
    }

    fn forget_missing(&mut self) {
        let jobs = &self.streams[JOBS];
        for consumer in &mut self.consumers {
            consumer.pending.retain(|seq, _| jobs.at(*seq).is_some());
            consumer.due.retain(|seq| jobs.at(*seq).is_some());
        }
    }

    fn store(&mut self, from: Proc, post: Post, net: &mut Net, cast: &Cast) -> Reply {
        let Post { subject, headers, body, .. } = post;
        let (headers, now_ms) = (headers.unwrap_or_default(), net.server_ms());
        let name = stream_of(&subject).expect("only subjects of streams are stored");
        let last = self.stream(name).last_of(&subject).map_or(0, |stored| stored.seq);
        let expected = headers.get(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE).and_then(|value| value.as_str().parse::<u64>().ok());
        if expected.is_some_and(|expected| expected != last) {
            net.stats.conflicts += 1;
            return Reply::Conflict;
        }
        if name == JOBS
            && let Some(id) = headers.get(NATS_MESSAGE_ID).map(|id| id.as_str().to_owned())
        {
            let is_seen = self.seen.get(&id).is_some_and(|at| at + ms(DEDUPE_WINDOW) > net.now);
            if is_seen && !net.has(Bug::NoDedupe) {
                return Reply::Written { seq: last, is_duplicate: true };
            }
            self.seen.insert(id, net.now);
        }
        self.note_stored(from, name, &subject, &body, net, cast);
        let seq = self.stream(name).write(subject, headers, body, now_ms);
        if name == JOBS {
            self.serve_pulls(net, cast);
        }
        Reply::Written { seq, is_duplicate: false }
    }

    /// Tells the shadow what a stream takes.
    fn note_stored(&self, from: Proc, stream: &str, subject: &str, body: &[u8], net: &mut Net, cast: &Cast) {
        match stream {
            JOBS => net.shadow.on_queued(subjects::queued_job_id(subject).expect("a job's subject")),
            RESULTS => {
                if let Ok(record) = codec::decode_body::<TerminalRecord>(body) {
                    net.shadow.on_ended(&Arc::new(record), net.now);
                }
            }
            EVENTS if cast.workers().contains(&from) => on_failure_stored(body, net),
            _ => {}
        }
    }

    fn write(&mut self, bucket: &str, key: &str, value: Bytes, over: Over, net: &mut Net) -> Reply {
        let (now_ms, subject) = (net.server_ms(), bucket_subject(bucket, key));
        let found = self.stream(bucket_stream(bucket)).last_of(&subject);
        let fits = match over {
            Over::Anything => true,
            Over::Nothing => found.is_none_or(|stored| !stored.is_present()),
            Over::Revision(revision) => found.map_or(0, |stored| stored.seq) == revision,
        };
        if !fits {
            return Reply::Conflict;
        }
        if bucket == KV_NODES {
            net.shadow.on_registered(key, net.now);
        }
        let seq = self.stream(bucket_stream(bucket)).write(subject.into(), HeaderMap::new(), value, now_ms);
        Reply::Written { seq, is_duplicate: false }
    }

    fn remove(&mut self, bucket: &str, key: &str, revision: Option<u64>, net: &mut Net) -> Reply {
        let (now_ms, subject) = (net.server_ms(), bucket_subject(bucket, key));
        let found = self.stream(bucket_stream(bucket)).last_of(&subject).map_or(0, |stored| stored.seq);
        if revision.is_some_and(|revision| revision != found) {
            return Reply::Conflict;
        }
        if bucket == KV_NODES {
            net.shadow.on_unregistered(key, net.now);
        }
        self.stream(bucket_stream(bucket)).write(subject.into(), removal(), Bytes::new(), now_ms);
        Reply::Done
    }
}

/// The history takes a worker's word on a failure.
fn on_failure_stored(body: &[u8], net: &mut Net) {
    let last = codec::decode_body::<EventBatch>(body).ok().and_then(|batch| batch.events.into_iter().next_back());
    if let Some(event) = last
        && let Some(job) = event.job
    {
        net.shadow.on_failure_written(job, event.failures);
    }
}

fn removal() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(KV_OPERATION, "DEL");
    headers
}

fn inbox_of_request(of: Proc, life: u32, request: u64) -> Subject {
    format!("_INBOX.request.{of}.{life}.{request}").into()
}

fn request_of_inbox(subject: &str) -> Option<(Proc, u32, u64)> {
    let mut tokens = subject.strip_prefix("_INBOX.request.")?.split('.');
    Some((tokens.next()?.parse().ok()?, tokens.next()?.parse().ok()?, tokens.next()?.parse().ok()?))
}

impl Consumer {
    fn new(of: Priority) -> Self {
        Self {
            filter: subjects::queue_filter(of),
            next: 0,
            deliveries: 0,
            pending: BTreeMap::new(),
            due: BTreeSet::new(),
            pulls: VecDeque::new(),
        }
    }

    /// What is delivered next, and how often that makes.
    fn take_next(&mut self, jobs: &Stream, now: u64) -> Option<(Arc<Stored>, u64)> {
        let due_at = now + ms(ACK_WAIT);
        if let Some(seq) = self.due.pop_first()
            && let Some(pending) = self.pending.get_mut(&seq)
        {
            (pending.is_due, pending.due_at, pending.count) = (false, due_at, pending.count + 1);
            return Some((Arc::clone(jobs.at(seq)?), pending.count));
        }
        let is_new = |stored: &&Arc<Stored>| subjects::matches(&self.filter, &stored.subject) && !self.pending.contains_key(&stored.seq);
        let stored = Arc::clone(jobs.after(self.next.saturating_sub(1)).find(is_new)?);
        self.next = stored.seq + 1;
        self.pending.insert(stored.seq, Pending { first_at: now, due_at, count: 1, is_due: false });
        Some((stored, 1))
    }
}
