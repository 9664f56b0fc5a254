//! The leading scheduler dies; the time until its successor places a job that is submitted then, and one that the dead leader
//! had pulled from JetStream and not placed.

use std::time::Duration;

use async_nats::jetstream::kv;
use faultline_engine::job::{JobId, JobState};
use faultline_protocol::messages::DrainSetting;
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::kv_put;
use faultline_tests::cluster::{Cluster, sleep_job};
use faultline_tests::nats::TestNats;
use tokio::time::Instant;

use crate::report::{Sample, Target, ms};
use crate::watch::{Seen, Watch};

const WORKERS: usize = 2;
const TARGET_MS: f64 = 5_000.0;
const SCHEDULERS: [&str; 2] = ["scheduler-1", "scheduler-2"];

pub(crate) async fn measure(rounds: u32) -> anyhow::Result<(Vec<Sample>, String)> {
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    cluster.log_level("info");
    for name in SCHEDULERS {
        cluster.scheduler(name);
    }
    cluster.detector();
    for index in 1..=WORKERS {
        cluster.worker(index);
    }
    cluster.wait_for_nodes(WORKERS).await;
    let control = cluster.nats.bucket(streams::KV_CONTROL).await?;
    let mut watch = Watch::start(&cluster.nats).await?;
    let mut samples = Vec::new();
    for round in 1..=rounds {
        // The standby has started, and the leader's term is older than its first seconds.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let [new, held] = one_failover(&mut cluster, &mut watch, &control).await?;
        eprintln!("failover {round}/{rounds}: {:.0} ms for a new job, {:.0} ms for one that was pulled", new.ms, held.ms);
        samples.extend([new, held]);
    }
    cluster.assert_audit_clean();
    Ok((samples, cluster.server.description().to_owned()))
}

async fn one_failover(cluster: &mut Cluster, watch: &mut Watch, control: &kv::Store) -> anyhow::Result<[Sample; 2]> {
    // With all nodes drained a job is pulled and has to wait in the leader's memory.
    for index in 1..=WORKERS {
        kv_put(control, &drain_key(index), &DrainSetting { reason: "bench".into(), at_ms: unix_ms(), by: String::new() }).await?;
    }
    cluster.wait_until("all nodes are drained", async || cluster.nodes().await.iter().all(|node| node.draining)).await;
    let held = cluster.submit(&[sleep_job(0)]).await[0];
    cluster
        .wait_until("the leader holds the job", async || cluster.job(held).await.is_some_and(|view| view.state == JobState::Queued))
        .await;
    let leader = cluster.stats().await.map(|stats| stats.leader).ok_or_else(|| anyhow::anyhow!("no scheduler leads"))?;

    let started = Instant::now();
    cluster.kill9(&leader);
    for index in 1..=WORKERS {
        control.delete(drain_key(index)).await?;
    }
    let new = cluster.submit(&[sleep_job(0)]).await[0];
    let (mut new_at, mut held_at) = (None, None);
    watch
        .until("both placements", |at, seen| {
            if let Seen::Assigned { job, .. } = seen {
                note(job, new, at, &mut new_at);
                note(job, held, at, &mut held_at);
            }
            new_at.zip(held_at)
        })
        .await?;
    cluster.wait_ended(&[new, held]).await;
    cluster.scheduler(&leader);
    let sample = |case, at: Option<Instant>| {
        let took = at.map_or(Duration::MAX, |at| at - started);
        Sample { case, ms: ms(took), verdict_ms: None, placed_ms: None, targets: vec![Target::max(TARGET_MS)] }
    };
    Ok([sample("failover-new", new_at), sample("failover-held", held_at)])
}

fn note(job: JobId, wanted: JobId, at: Instant, into: &mut Option<Instant>) {
    if job == wanted {
        into.get_or_insert(at);
    }
}

fn drain_key(index: usize) -> String {
    subjects::drain_key(&format!("gpu-node-{index:02}"))
}
