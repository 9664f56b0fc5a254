//! Nodes that only register and beat: what the dashboard hears of a large cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use faultline_engine::job::{AttemptId, JobId};
use faultline_engine::node::{GpuDescriptor, GpuTelemetry, NodeSpec};
use faultline_protocol::messages::{Heartbeat, NodeRegistration, RunningBrief};
use faultline_protocol::{codec, streams, subjects};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::{Nats, kv_put};
use futures::{StreamExt, TryStreamExt};

/// Nodes that one worker hosts, and workers in a rack.
const NODES_OF_A_WORKER: usize = 8;
const NODES_OF_A_RACK: usize = 64;
const MEMORY_MIB: u32 = 81_920;
const PUTS_AT_ONCE: usize = 256;
/// A second in so many parts, so that heartbeats come evenly.
const SLICES: usize = 50;

/// What the cluster is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    pub(crate) gpus: usize,
    pub(crate) running: usize,
}

/// Counts what was sent.
#[derive(Debug, Default)]
pub(crate) struct Beats(AtomicU64);

impl Beats {
    pub(crate) fn sent(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn name(node: usize) -> String {
    format!("gpu-node-{node:05}")
}

fn worker(node: usize) -> String {
    format!("worker-{:04}", node / NODES_OF_A_WORKER)
}

/// Writes all registrations, as workers do.
pub(crate) async fn register(nats: &Nats, shape: &Shape) -> anyhow::Result<()> {
    let bucket = nats.bucket(streams::KV_NODES).await?;
    let puts = (0..shape.nodes).map(|node| {
        let spec = NodeSpec {
            node: name(node),
            worker: worker(node),
            incarnation: 1,
            gpus: vec![GpuDescriptor { model: "H100-80GB".into(), memory_mib: MEMORY_MIB }; shape.gpus],
            rack: format!("rack-{:03}", node / NODES_OF_A_RACK),
            slots: 256,
            kinds: ["sleep", "compute", "matrix", "fault"].map(str::to_owned).to_vec(),
            fault_percent_per_min: 0.0,
            telemetry_source: "simulated".into(),
            gpu_problem: None,
        };
        let registration = NodeRegistration { spec, registered_at_ms: unix_ms(), life: 0 };
        let bucket = bucket.clone();
        async move { kv_put(&bucket, &registration.spec.node, &registration).await }
    });
    futures::stream::iter(puts).buffer_unordered(PUTS_AT_ONCE).try_collect::<Vec<_>>().await.context("registering")?;
    Ok(())
}

/// A heartbeat of every node every second, for ever.
pub(crate) async fn beat(nats: Nats, shape: Shape, beats: Arc<Beats>) {
    let running: Vec<Vec<RunningBrief>> = (0..shape.nodes)
        .map(|node| {
            let brief = |n: usize| {
                let id = (node * shape.running + n) as u128;
                RunningBrief { attempt: AttemptId::new(unix_ms(), id), job: JobId::new(unix_ms(), id), progress_permille: 0, epoch: 1 }
            };
            (0..shape.running).map(brief).collect()
        })
        .collect();
    let mut ticks = tokio::time::interval(Duration::from_millis(1_000 / SLICES as u64));
    for seq in 1.. {
        for slice in 0..SLICES {
            ticks.tick().await;
            for node in (slice..shape.nodes).step_by(SLICES) {
                let heartbeat = heartbeat(node, seq, &shape, running[node].clone());
                // Without the typed publish, whose answer would be awaited one by one; the bytes are the same.
                let sent = nats.client.publish_with_headers(
                    subjects::heartbeat(&heartbeat.node),
                    codec::headers_for::<Heartbeat>(),
                    codec::encode(&heartbeat),
                );
                if sent.await.is_ok() {
                    beats.0.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

fn heartbeat(node: usize, seq: u64, shape: &Shape, mut running: Vec<RunningBrief>) -> Heartbeat {
    let phase = (node as u64 * 7 + seq * 3) % 100;
    for brief in &mut running {
        brief.progress_permille = ((seq * 10) % 1_000) as u16;
    }
    let gpu = GpuTelemetry {
        utilisation_percent: Some(phase as f32),
        memory_utilisation_percent: Some(phase as f32 / 2.0),
        memory_used_mib: Some(MEMORY_MIB / 100 * phase as u32),
        memory_total_mib: Some(MEMORY_MIB),
        temperature_c: Some(35.0 + phase as f32 / 2.0),
        memory_temperature_c: Some(40.0 + phase as f32 / 2.0),
        power_w: Some(90.0 + 5.0 * phase as f32),
        energy_j: Some(seq as f64 * 300.0),
        sm_clock_mhz: Some(1_980),
        memory_clock_mhz: Some(2_619),
        throttled: Some(phase > 97),
        out_of_service: false,
        xid: Some(0),
    };
    Heartbeat {
        node: name(node),
        worker: worker(node),
        incarnation: 1,
        seq,
        sent_at_ms: unix_ms(),
        running,
        gpus: vec![gpu; shape.gpus],
        leaving: false,
    }
}
