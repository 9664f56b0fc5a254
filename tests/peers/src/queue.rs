//! The queue, its workers, and what tells that a job has begun or ended.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use apalis::prelude::*;
use apalis_nats::{Config, NatsJetStream};
use async_nats::Subscriber;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, Context};
use futures::StreamExt;
use tokio::process::{Child, Command};
use ulid::Ulid;

const QUEUE: &str = "peers";
/// A worker says here that it has begun a job, with its process's number.
const BEGUN: &str = "begun";
const PATIENCE: Duration = Duration::from_secs(120);

/// Jobs are kept until they are acknowledged, as in every queue of its kind.
fn config() -> Config<pull::Config> {
    let mut config = Config::new(QUEUE).with_pull_consumer().durable();
    config.stream.retention = jetstream::stream::RetentionPolicy::WorkQueue;
    config
}

pub(crate) async fn work(nats_url: &str) -> anyhow::Result<()> {
    let client = async_nats::connect(nats_url).await?;
    let backend = NatsJetStream::<u64, _>::new(client.clone()).with_config(config());
    let run = move |length_ms: u64| {
        let client = client.clone();
        async move {
            if length_ms > 0 {
                client.publish(BEGUN, std::process::id().to_string().into()).await?;
                client.flush().await?;
                tokio::time::sleep(Duration::from_millis(length_ms)).await;
            }
            Ok::<(), BoxDynError>(())
        }
    };
    let name = format!("worker-{}", std::process::id());
    WorkerBuilder::new(name).backend(backend).build(run).run().await.context("the worker ended")?;
    Ok(())
}

#[derive(Clone)]
pub(crate) struct Submitter(Context);

impl Submitter {
    /// Returns when the server has confirmed the job.
    pub(crate) async fn submit(&self, length_ms: u64) -> anyhow::Result<()> {
        let publish = PublishMessage::build().message_id(Ulid::generate().to_string()).payload(length_ms.to_string().into());
        self.0.send_publish(QUEUE, publish).await?.await?;
        Ok(())
    }
}

/// The workers that this process has started, and what tells of their jobs.
pub(crate) struct Queue {
    pub(crate) submitter: Submitter,
    ended: Subscriber,
    begun: Subscriber,
    workers: Vec<Child>,
    url: String,
}

impl Queue {
    pub(crate) async fn start(url: &str, workers: usize) -> anyhow::Result<Self> {
        let client = async_nats::connect(url).await?;
        let context = jetstream::new(client.clone());
        context.create_stream(config().stream).await?;
        // Acknowledgements are messages, and all who may can hear them.
        let ended = client.subscribe(format!("$JS.ACK.{QUEUE}.>")).await?;
        let begun = client.subscribe(BEGUN).await?;
        client.flush().await?;
        let mut queue = Self { submitter: Submitter(context), ended, begun, workers: Vec::new(), url: url.to_owned() };
        for _ in 0..workers {
            queue.add_worker()?;
        }
        // One job tells that the first worker listens; the others need as long.
        queue.submitter.submit(0).await?;
        queue.wait_ended().await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(queue)
    }

    pub(crate) fn add_worker(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--nats-url", &self.url, "work"]).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        self.workers.push(command.spawn()?);
        Ok(())
    }

    /// Kills the worker that this process number belongs to, and takes it off the list.
    pub(crate) async fn kill(&mut self, pid: u32) -> anyhow::Result<()> {
        let index = self.workers.iter().position(|worker| worker.id() == Some(pid)).context("the job began in no worker of this run")?;
        self.workers.swap_remove(index).kill().await?;
        Ok(())
    }

    pub(crate) async fn wait_ended(&mut self) -> anyhow::Result<()> {
        loop {
            let told = tokio::time::timeout(PATIENCE, self.ended.next()).await.context("no job has ended for too long")?;
            if told.context("the connection ended")?.payload.starts_with(b"+ACK") {
                return Ok(());
            }
        }
    }

    /// Which process has begun a job.
    pub(crate) async fn wait_begun(&mut self) -> anyhow::Result<u32> {
        let told = tokio::time::timeout(PATIENCE, self.begun.next()).await.context("no job has begun for too long")?;
        Ok(std::str::from_utf8(&told.context("the connection ended")?.payload)?.parse()?)
    }

    /// What the server has not seen acknowledged.
    pub(crate) async fn left(&self) -> anyhow::Result<u64> {
        Ok(self.submitter.0.get_stream(QUEUE).await?.cached_info().state.messages)
    }
}
