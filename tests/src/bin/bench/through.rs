//! The same jobs through the services as processes of their own: scheduler, workers, detector and dashboard.

use std::time::Duration;

use faultline_engine::job::JobSpec;
use faultline_protocol::codec::HEADER_JOB_STATE;
use faultline_protocol::subjects;
use faultline_runtime::connect::Nats;
use faultline_runtime::submit::Submitter;
use faultline_tests::cluster::{Cluster, sleep_job};
use faultline_tests::nats::TestNats;
use futures::StreamExt;
use tokio::time::Instant;

use crate::args::{Args, Fleet};
use crate::cpu::Cpu;
use crate::measured::{Measured, new_histogram, record};

pub(crate) async fn measure(server: TestNats, args: &Args, fleet: Fleet) -> anyhow::Result<Measured> {
    let mut cluster = Cluster::bare(server).await;
    cluster.log_level("info");
    if args.proxies {
        cluster.with_links();
    }
    cluster.scheduler("scheduler-1");
    cluster.detector();
    for index in 1..=fleet.workers {
        let name = format!("worker-{index:02}");
        let (first, nodes) = (((index - 1) * fleet.nodes_per_worker + 1).to_string(), fleet.nodes_per_worker.to_string());
        cluster.spawn(&name, "faultline-worker", &["--name", &name, "--first-node", &first, "--nodes", &nodes, "--faults", "off"]);
    }
    if !args.no_dashboard {
        cluster.spawn("dashboard", "faultline-dashboard", &["--port", "0"]);
    }
    cluster.wait_for_nodes(fleet.nodes()).await;
    // A new leader listens before it places; the dashboard reads what there is.
    tokio::time::sleep(Duration::from_secs(2)).await;

    let nats = cluster.nats.clone();
    let mut done = nats.client.subscribe(subjects::DONE_ALL).await?;
    let mut latency = new_histogram()?;
    for _ in 0..args.latency_jobs {
        let started = Instant::now();
        Submitter::new(&nats).submit(&no_op()).await?;
        next_commit(&mut done).await?;
        record(&mut latency, started.elapsed());
    }
    let own = ("submitter".to_owned(), std::process::id());
    let server = cluster.server.pid().map(|pid| ("nats-server".to_owned(), pid));
    let (started, cpu) = (Instant::now(), Cpu::of(cluster.pids().into_iter().chain([own]).chain(server)));
    let submitting = submit_all(&nats, args.jobs, args.in_flight);
    let committing = async {
        for _ in 0..args.jobs {
            next_commit(&mut done).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(submitting, committing)?;
    let jobs_per_s = args.jobs as f64 / started.elapsed().as_secs_f64();
    let cpu_us = cpu.us_each(args.jobs);
    cluster.assert_audit_clean();
    Ok(Measured { jobs_per_s, latency, cpu_us })
}

/// Submits so many no-op jobs, so many at once.
async fn submit_all(nats: &Nats, count: usize, in_flight: usize) -> anyhow::Result<()> {
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

/// Waits for the next record that says committed; open markers are republished too.
async fn next_commit(done: &mut async_nats::Subscriber) -> anyhow::Result<()> {
    loop {
        let message =
            tokio::time::timeout(Duration::from_secs(60), done.next()).await?.ok_or_else(|| anyhow::anyhow!("the subscription ended"))?;
        if message.headers.as_ref().and_then(|headers| headers.get(HEADER_JOB_STATE)).is_some_and(|state| state.as_str() == "committed") {
            return Ok(());
        }
    }
}
