//! The bound: a bare pipeline on nats-server with the fewest writes that could carry the promise. A message of several jobs is stored once,
//! handed to a worker without being stored again, and its ends are stored once in a log; the log is what is counted, and when it has the ends
//! of all jobs of a message, that message is acknowledged. Nothing is decided, and no code of Faultline takes part but the size of its jobs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, Subject, Subscriber};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use faultline_protocol::codec;
use faultline_protocol::messages::QueuedJob;
use futures::{FutureExt, StreamExt};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use crate::args::Args;
use crate::cpu::Cpu;
use crate::measured::{Measured, new_histogram, record};
use crate::through::no_op;

const QUEUE: &str = "BARE";
const LOG: &str = "BARE_ENDS";
const PULL: usize = 500;
const PULL_LIMIT: Duration = Duration::from_secs(2);
/// What an end has to say at least: the job's ticket, its attempt, when it began and ended, and a short result.
const END_BYTES: usize = 64;
const MOST_BYTES: usize = 256 * 1024;
/// With fewer of them, it would be over before it has begun.
const FEWEST_MESSAGES: usize = 5_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Messages of which not all jobs have ended: where to acknowledge, and how many jobs are left.
type Open = Arc<Mutex<HashMap<u64, (Subject, u32)>>>;

/// The pipeline, ready for jobs.
pub(crate) struct Bare {
    submitter: Context,
    jobs_per_message: u32,
    body: Bytes,
    /// How many jobs the log has the ends of, message by message.
    ended: mpsc::UnboundedReceiver<u32>,
}

impl Bare {
    pub(crate) async fn start(url: &str, jobs_per_message: u32) -> anyhow::Result<Self> {
        let stream = |name: &str, subject: &str, retention| Config {
            name: name.to_owned(),
            subjects: vec![subject.to_owned()],
            retention,
            ..Config::default()
        };
        let leader = jetstream::new(async_nats::connect(url).await?);
        let queue = leader.create_stream(stream(QUEUE, "bare.job", RetentionPolicy::WorkQueue)).await?;
        let log = leader.create_stream(stream(LOG, "bare.end", RetentionPolicy::Limits)).await?;
        let queue = queue.create_consumer(pull::Config { durable_name: Some("leader".into()), max_ack_pending: -1, ..Default::default() });
        let log = log.create_consumer(pull::Config { ack_policy: AckPolicy::None, ..Default::default() });
        let (queue, log) = (queue.await?, log.await?);
        let worker = jetstream::new(async_nats::connect(url).await?);
        let assignments = worker.client().subscribe("bare.assign").await?;
        worker.client().flush().await?;
        let (open, (told, ended)) = (Open::default(), mpsc::unbounded_channel());
        tokio::spawn(hand_out(queue, leader.client(), Arc::clone(&open)));
        tokio::spawn(work(assignments, worker));
        tokio::spawn(acknowledge(log, leader.client(), open, told));
        let job = codec::encode(&QueuedJob { spec: no_op() });
        let mut body = BytesMut::new();
        body.put_u32(jobs_per_message);
        (0..jobs_per_message).for_each(|_| body.put_slice(&job));
        let submitter = jetstream::new(async_nats::connect(url).await?);
        Ok(Self { submitter, jobs_per_message, body: body.freeze(), ended })
    }

    pub(crate) async fn measure(mut self, args: &Args, server: Option<u32>) -> anyhow::Result<Measured> {
        let mut latency = new_histogram()?;
        for _ in 0..args.latency_jobs {
            let began = Instant::now();
            self.submit(1, 1).await?;
            self.wait_for(1).await?;
            record(&mut latency, began.elapsed());
        }
        let messages = args.jobs.div_ceil(self.jobs_per_message as usize).max(FEWEST_MESSAGES);
        let server = server.map(|pid| ("nats-server".to_owned(), pid));
        let (began, cpu) = (Instant::now(), Cpu::of(server.into_iter().chain([("pipeline".to_owned(), std::process::id())])));
        self.submit(messages, args.in_flight).await?;
        self.wait_for(messages).await?;
        let jobs = messages * self.jobs_per_message as usize;
        Ok(Measured { jobs_per_s: jobs as f64 / began.elapsed().as_secs_f64(), latency, cpu_us: cpu.us_each(jobs) })
    }

    /// Each is confirmed when it returns.
    async fn submit(&self, messages: usize, in_flight: usize) -> anyhow::Result<()> {
        let one = |_| async { anyhow::Ok(self.submitter.publish("bare.job", self.body.clone()).await?.await?) };
        let mut submitted = futures::stream::iter(0..messages).map(one).buffer_unordered(in_flight);
        while let Some(confirmed) = submitted.next().await {
            confirmed?;
        }
        Ok(())
    }

    async fn wait_for(&mut self, messages: usize) -> anyhow::Result<()> {
        let mut left = messages * self.jobs_per_message as usize;
        while left > 0 {
            let ended = tokio::time::timeout(PATIENCE, self.ended.recv()).await?;
            left -= ended.ok_or_else(|| anyhow::anyhow!("the bare pipeline broke off"))? as usize;
        }
        Ok(())
    }
}

type Consumer = jetstream::consumer::Consumer<pull::Config>;

/// The leader's first half: takes messages from the queue and hands them to the worker, with their sequences.
async fn hand_out(queue: Consumer, client: Client, open: Open) -> anyhow::Result<()> {
    loop {
        let mut messages = queue.batch().max_messages(PULL).expires(PULL_LIMIT).messages().await?;
        while let Some(message) = messages.next().await {
            let message = message.map_err(|error| anyhow::anyhow!("{error}"))?;
            let seq = message.info().map_err(|error| anyhow::anyhow!("{error}"))?.stream_sequence;
            let reply = message.reply.clone().ok_or_else(|| anyhow::anyhow!("a message without an acknowledgement's subject"))?;
            open.lock().await.insert(seq, (reply, message.payload.clone().get_u32()));
            let mut assignment = BytesMut::with_capacity(8 + message.payload.len());
            assignment.put_u64(seq);
            assignment.put_slice(&message.payload);
            client.publish("bare.assign", assignment.freeze()).await?;
        }
    }
}

/// The worker: every job ends at once, and one message under way has the ends of all that ended meanwhile.
async fn work(mut assignments: Subscriber, context: Context) -> anyhow::Result<()> {
    while let Some(first) = assignments.next().await {
        let mut ends = BytesMut::new();
        let mut next = Some(first);
        while let Some(assignment) = next {
            let mut body = assignment.payload;
            let (seq, jobs) = (body.get_u64(), body.get_u32());
            ends.put_u64(seq);
            ends.put_u32(jobs);
            ends.put_bytes(0, jobs as usize * END_BYTES);
            next = if ends.len() < MOST_BYTES { assignments.next().now_or_never().flatten() } else { None };
        }
        context.publish("bare.end", ends.freeze()).await?.await?;
    }
    Ok(())
}

/// The leader's second half: reads the log, counts, and acknowledges messages of which all jobs have ended.
async fn acknowledge(log: Consumer, client: Client, open: Open, told: mpsc::UnboundedSender<u32>) -> anyhow::Result<()> {
    loop {
        let mut messages = log.batch().max_messages(PULL).expires(PULL_LIMIT).messages().await?;
        while let Some(message) = messages.next().await {
            let mut ends = message.map_err(|error| anyhow::anyhow!("{error}"))?.payload.clone();
            while ends.has_remaining() {
                let (seq, jobs) = (ends.get_u64(), ends.get_u32());
                ends.advance(jobs as usize * END_BYTES);
                let mut open = open.lock().await;
                let Some((reply, left)) = open.get_mut(&seq) else { continue };
                *left -= jobs;
                if *left == 0 {
                    client.publish(reply.clone(), Bytes::from_static(b"+ACK")).await?;
                    open.remove(&seq);
                }
                told.send(jobs)?;
            }
        }
    }
}
