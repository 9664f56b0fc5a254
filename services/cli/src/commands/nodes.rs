//! `nodes` and `node` as the leading scheduler sees them; `drain` and `undrain`, which work without a leader.

use anyhow::anyhow;
use comfy_table::{Cell, Table};
use faultline_engine::node::Health;
use faultline_protocol::messages::{DrainSetting, NodeRegistration, NodeView};
use faultline_protocol::streams::{KV_CONTROL, KV_NODES};
use faultline_protocol::subjects;
use faultline_protocol::views::DrainView;
use faultline_runtime::clock;
use faultline_runtime::connect::{Nats, kv_get, kv_put};

use super::ask::{self, Link};
use super::control::bucket_failure;
use crate::exit::Failure;
use crate::output::{Mood, ago, facts, figure, mood, span, table};

pub(crate) async fn list(link: &Link) -> Result<(), Failure> {
    let nodes = ask::nodes(&link.nats).await?;
    link.out.rows(&nodes, nodes_table)
}

pub(crate) async fn show(link: &Link, name: &str) -> Result<(), Failure> {
    let Some(node) = ask::node(&link.nats, name).await? else {
        return Err(unknown(name));
    };
    let now_ms = clock::unix_ms();
    link.out.one(&node, |node| node_words(link, node, now_ms))
}

fn unknown(name: &str) -> Failure {
    Failure::NotFound(format!("no node is called {name}: `faultline nodes` lists them"))
}

fn health_cell(node: &NodeView) -> Cell {
    let how = match node.health {
        Health::Alive if node.draining => return mood("alive, draining", Mood::Doubtful),
        Health::Alive => Mood::Good,
        Health::Suspect => Mood::Doubtful,
        Health::Gone | Health::Dead => Mood::Bad,
    };
    let draining = if node.draining { ", draining" } else { "" };
    mood(format!("{}{draining}", node.health.as_str()), how)
}

/// `H100-80GB x4`; a machine with different GPUs names each.
pub(crate) fn gpus_words(node: &NodeView) -> String {
    let mut groups: Vec<(&str, u32)> = Vec::new();
    for gpu in &node.spec.gpus {
        match groups.iter_mut().find(|(model, _)| *model == gpu.model) {
            Some((_, number)) => *number += 1,
            None => groups.push((&gpu.model, 1)),
        }
    }
    groups.iter().map(|(model, number)| format!("{model} x{number}")).collect::<Vec<_>>().join(", ")
}

pub(crate) fn heartbeat_words(node: &NodeView) -> String {
    node.heartbeat_age_ms.map_or_else(|| "none yet".to_owned(), |age| format!("{} ago", span(age)))
}

fn nodes_table(nodes: &[NodeView]) -> Table {
    let mut rows = table(&["NODE", "WORKER", "HEALTH", "GPUS", "GPU USED", "RUNNING", "HOTTEST", "HEARTBEAT"]);
    for node in nodes {
        let used: u64 = node.gpu_used_milli.iter().map(|&milli| u64::from(milli)).sum();
        let hottest = node.telemetry.iter().map(|gpu| gpu.temperature_c).fold(f32::NAN, f32::max);
        rows.add_row([
            node.spec.node.as_str().into(),
            node.spec.worker.as_str().into(),
            health_cell(node),
            gpus_words(node).into(),
            figure(format!("{}.{} of {}", used / 1000, used % 1000 / 100, node.spec.gpus.len())),
            figure(node.running.len()),
            figure(if hottest.is_nan() { "-".to_owned() } else { format!("{hottest:.0} °C") }),
            figure(heartbeat_words(node)),
        ]);
    }
    rows
}

fn node_words(link: &Link, node: &NodeView, now_ms: u64) -> String {
    let mut lines = vec![
        ("node", node.spec.node.clone()),
        ("worker", node.spec.worker.clone()),
        ("health", format!("{}{}", node.health.as_str(), if node.draining { ", draining" } else { "" })),
        ("incarnation", node.spec.incarnation.to_string()),
        ("rack", node.spec.rack.clone()),
        ("slots", format!("{} of {} taken", node.running.len(), node.spec.slots)),
        ("runs", node.spec.kinds.join(", ")),
        ("heartbeat", heartbeat_words(node)),
        ("telemetry", node.spec.telemetry_source.clone()),
        ("faults", format!("{} % a minute", node.spec.fault_percent_per_min)),
    ];
    if let Some(verdict) = &node.verdict {
        let words = format!("{} by {} {}: {}", verdict.health.as_str(), verdict.detector, ago(now_ms, verdict.at_ms), verdict.evidence);
        lines.push(("verdict", words));
    }
    let mut parts = vec![link.out.render(facts(&lines)), link.out.render(gpu_table(node))];
    if !node.running.is_empty() {
        let mut running = table(&["RUNNING JOB", "ATTEMPT", "PROGRESS"]);
        for brief in &node.running {
            let percent = format!("{} %", brief.progress_permille / 10);
            running.add_row([brief.job.to_string().into(), brief.attempt.to_string().into(), figure(percent)]);
        }
        parts.push(link.out.render(running));
    }
    parts.join("\n\n")
}

fn gpu_table(node: &NodeView) -> Table {
    let mut rows = table(&["GPU", "MODEL", "BOOKED", "RESERVED", "BUSY", "MEMORY USED", "POWER", "TEMPERATURE", "CLOCK", "NOTE"]);
    for (index, gpu) in node.spec.gpus.iter().enumerate() {
        let booked = node.gpu_used_milli.get(index).copied().unwrap_or(0);
        let reserved = node.gpu_reserved_mib.get(index).copied().unwrap_or(0);
        let mut cells = vec![
            figure(index),
            gpu.model.as_str().into(),
            figure(format!("{} %", booked / 10)),
            figure(format!("{reserved} of {} MiB", gpu.memory_mib)),
        ];
        if let Some(report) = node.telemetry.get(index) {
            let note = match (report.xid, report.throttled) {
                (0, false) => String::new(),
                (0, true) => "throttled".to_owned(),
                (xid, false) => format!("XID {xid}"),
                (xid, true) => format!("XID {xid}, throttled"),
            };
            cells.extend([
                figure(format!("{:.0} %", report.utilisation_percent)),
                figure(format!("{} MiB", report.memory_used_mib)),
                figure(format!("{:.0} W", report.power_w)),
                figure(format!("{:.0} °C", report.temperature_c)),
                figure(format!("{} MHz", report.sm_clock_mhz)),
                mood(note, Mood::Doubtful),
            ]);
        }
        rows.add_row(cells);
    }
    rows
}

pub(super) async fn registration(nats: &Nats, node: &str) -> Result<NodeRegistration, Failure> {
    let store = nats.bucket(KV_NODES).await.map_err(bucket_failure)?;
    kv_get(&store, node).await.map_err(bucket_failure)?.ok_or_else(|| unknown(node))
}

pub(crate) async fn drain(link: &Link, node: &str, reason: String) -> Result<(), Failure> {
    set_draining(&link.nats, node, reason.clone()).await?;
    let view = DrainView { node: node.to_owned(), draining: true, reason: Some(reason) };
    link.out.one(&view, |_| format!("{node} drains: nothing new is placed there; what runs there ends by itself"))
}

/// From now on nothing new is placed on the node.
pub(crate) async fn set_draining(nats: &Nats, node: &str, reason: String) -> Result<(), Failure> {
    registration(nats, node).await?;
    let store = nats.bucket(KV_CONTROL).await.map_err(bucket_failure)?;
    let setting = DrainSetting { reason, at_ms: clock::unix_ms() };
    kv_put(&store, &subjects::drain_key(node), &setting).await.map(drop).map_err(bucket_failure)
}

pub(crate) async fn undrain(link: &Link, node: &str) -> Result<(), Failure> {
    let was_drained = end_draining(&link.nats, node).await?;
    let words = if was_drained { format!("{node} takes jobs again") } else { format!("{node} was not drained") };
    link.out.one(&DrainView { node: node.to_owned(), draining: false, reason: None }, |_| words)
}

/// The node takes jobs again; whether it was drained.
pub(crate) async fn end_draining(nats: &Nats, node: &str) -> Result<bool, Failure> {
    let store = nats.bucket(KV_CONTROL).await.map_err(bucket_failure)?;
    let key = subjects::drain_key(node);
    let was_drained = kv_get::<DrainSetting>(&store, &key).await.map_err(bucket_failure)?.is_some();
    if was_drained {
        store.delete(&key).await.map_err(|error| Failure::Failed(anyhow!("{key} cannot be deleted: {error}")))?;
    } else {
        // An unknown name is more likely a slip than a node that was never drained.
        registration(nats, node).await?;
    }
    Ok(was_drained)
}

#[cfg(test)]
mod tests {
    use faultline_engine::node::{GpuDescriptor, GpuTelemetry, NodeSpec};

    use super::*;

    fn node() -> NodeView {
        let gpu = GpuDescriptor { model: "H100-80GB".into(), memory_mib: 81_920 };
        NodeView {
            spec: NodeSpec {
                node: "gpu-node-01".into(),
                worker: "worker-01".into(),
                incarnation: 3,
                gpus: vec![gpu.clone(), gpu],
                rack: "r1".into(),
                slots: 16,
                kinds: vec!["sleep".into()],
                fault_percent_per_min: 5.0,
                telemetry_source: "simulated".into(),
            },
            health: Health::Alive,
            draining: false,
            gpu_used_milli: vec![500, 1000],
            gpu_reserved_mib: vec![0, 1024],
            running: vec![],
            telemetry: vec![GpuTelemetry { temperature_c: 41.4, ..GpuTelemetry::default() }; 2],
            heartbeat_age_ms: Some(340),
            verdict: None,
        }
    }

    #[test]
    fn the_table_of_nodes() {
        let mut silent = node();
        (silent.spec.node, silent.health, silent.draining) = ("gpu-node-02".into(), Health::Dead, true);
        (silent.telemetry, silent.heartbeat_age_ms) = (vec![], None);
        let mut table = nodes_table(&[node(), silent]);
        table.force_no_tty().set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        let expected = "\
NODE         WORKER     HEALTH          GPUS          GPU USED  RUNNING  HOTTEST  HEARTBEAT
gpu-node-01  worker-01  alive           H100-80GB x2  1.5 of 2        0    41 °C  340 ms ago
gpu-node-02  worker-01  dead, draining  H100-80GB x2  1.5 of 2        0        -    none yet";
        assert_eq!(table.trim_fmt(), expected);
    }
}
