//! The bound: the open marker, the queued job, the committed record and the ack, with the same bodies, headers and streams,
//! in one process and with nothing decided in between.

use std::sync::Arc;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::stream::Stream;
use faultline_engine::job::{AttemptId, AttemptOutcome, AttemptSummary, JobId, JobSpec, JobState, Path, Priority};
use faultline_protocol::codec::{self, HEADER_JOB_OPEN_SEQ};
use faultline_protocol::messages::{QueuedJob, TerminalRecord};
use faultline_protocol::streams::{self, Provision};
use faultline_protocol::subjects;
use faultline_runtime::clock::{random_u128, unix_ms};
use faultline_runtime::connect::Nats;
use faultline_runtime::record::commit;
use faultline_runtime::submit::Submitter;
use faultline_tests::cluster::sleep_job;
use futures::StreamExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::args::Args;
use crate::measured::{Measured, new_histogram, record};

const TTL_S: u64 = 120;
const BATCH: usize = 500;

pub(crate) async fn measure(nats: &Nats, args: &Args) -> anyhow::Result<Measured> {
    for config in streams::stream_configs(Provision::default()) {
        nats.jetstream.create_stream(config).await?;
    }
    let jobs: Stream = nats.jetstream.get_stream(streams::JOBS).await?;
    let config = streams::queue_consumers(1, streams::ACK_WAIT)
        .into_iter()
        .find(|config| config.durable_name.as_deref() == Some(&streams::queue_consumer_name(Priority::Normal)));
    let consumer: Consumer<pull::Config> =
        jobs.create_consumer(config.ok_or_else(|| anyhow::anyhow!("there is no consumer for normal priority"))?).await?;
    let (committed, mut done) = mpsc::unbounded_channel();
    let consuming = tokio::spawn(consume(nats.clone(), consumer, Arc::new(Semaphore::new(args.in_flight)), committed));

    let mut latency = new_histogram()?;
    for _ in 0..args.latency_jobs {
        let started = Instant::now();
        Submitter::new(nats).submit(&no_op()).await?;
        done.recv().await;
        record(&mut latency, started.elapsed());
    }
    let started = Instant::now();
    submit_all(nats, args.jobs, args.in_flight).await?;
    for _ in 0..args.jobs {
        done.recv().await;
    }
    let jobs_per_s = args.jobs as f64 / started.elapsed().as_secs_f64();
    consuming.abort();
    Ok(Measured { jobs_per_s, latency })
}

/// Submits so many no-op jobs, so many at once.
pub(crate) async fn submit_all(nats: &Nats, count: usize, in_flight: usize) -> anyhow::Result<()> {
    let submitter = Submitter::new(nats);
    let mut submissions = futures::stream::iter(0..count)
        .map(|_| {
            let submitter = submitter.clone();
            async move { submitter.submit(&no_op()).await }
        })
        .buffer_unordered(in_flight);
    while let Some(submitted) = submissions.next().await {
        submitted?;
    }
    Ok(())
}

/// A job that asks for a tenth of a GPU and does nothing with it.
pub(crate) fn no_op() -> JobSpec {
    sleep_job(0)
}

async fn consume(
    nats: Nats,
    consumer: Consumer<pull::Config>,
    permits: Arc<Semaphore>,
    committed: mpsc::UnboundedSender<JobId>,
) -> anyhow::Result<()> {
    loop {
        let mut messages = consumer.batch().max_messages(BATCH).expires(std::time::Duration::from_secs(2)).messages().await?;
        while let Some(message) = messages.next().await {
            let message = message.map_err(|error| anyhow::anyhow!("{error}"))?;
            let permit = Arc::clone(&permits).acquire_owned().await?;
            let (nats, committed) = (nats.clone(), committed.clone());
            tokio::spawn(async move {
                if let Err(error) = finish(&nats, &message).await {
                    eprintln!("the bound lost a job: {error}");
                    return;
                }
                if let Some(job) = subjects::queued_job_id(&message.subject) {
                    let _ = committed.send(job);
                }
                drop(permit);
            });
        }
    }
}

async fn finish(nats: &Nats, message: &async_nats::jetstream::Message) -> anyhow::Result<()> {
    let spec = codec::decode::<QueuedJob>(message.headers.as_ref(), &message.payload)?.spec;
    let header = message.headers.as_ref().and_then(|headers| headers.get(HEADER_JOB_OPEN_SEQ));
    let open_seq = header.ok_or_else(|| anyhow::anyhow!("no {HEADER_JOB_OPEN_SEQ}"))?.as_str().parse()?;
    let now_ms = unix_ms();
    let attempt = AttemptId::new(now_ms, random_u128());
    let row = AttemptSummary {
        attempt,
        node: "gpu-node-01".into(),
        incarnation: 1,
        gpus: vec![0],
        gpu_milli: 0,
        placed_at_ms: now_ms,
        started_at_ms: Some(now_ms),
        ended_at_ms: Some(now_ms),
        outcome: AttemptOutcome::Committed,
        detail: String::new(),
        why: "least-loaded: 100 % free, best of 8 of 8 nodes".into(),
    };
    let path = Path { history: vec![row], ..Path::default() };
    let record = TerminalRecord {
        name: spec.name,
        kind: spec.kind,
        priority: spec.priority,
        submitted_at_ms: spec.submitted_at_ms,
        attempt: Some(attempt),
        result: "slept 0 ms".into(),
        ..TerminalRecord::bare(spec.id, open_seq, JobState::Committed, now_ms).with_path(path)
    };
    commit(nats, &record, TTL_S).await?;
    if let Some(reply) = message.reply.clone() {
        nats.client.publish(reply, AckKind::Ack.into()).await?;
    }
    Ok(())
}
