//! `nodes` and `node` as the leading scheduler sees them; `drain` and `undrain`, which work without a leader.

use comfy_table::{Cell, Table};
use faultline_client::faults::registration;
use faultline_client::{ClientError, Leader, settings};
use faultline_cluster::up::who;
use faultline_engine::node::Health;
use faultline_protocol::messages::{DrainSetting, NodeView};
use faultline_protocol::views::DrainView;
use faultline_runtime::clock;
use faultline_runtime::connect::Nats;

use super::link::Link;
use crate::exit::Failure;
use crate::output::{Ids, Mood, ago, facts, figure, mood, span, table};

/// What a narrow terminal goes without, the first of them first.
const NODES_DROPS: [&str; 5] = ["HOTTEST", "WORKER", "GPUS", "HEARTBEAT", "RUNNING"];
const GPU_DROPS: [&str; 6] = ["CLOCK", "RESERVED", "POWER", "MEMORY USED", "MODEL", "TEMP"];

pub(crate) async fn list(link: &Link) -> Result<(), Failure> {
    let nodes = Leader::of(&link.nats).nodes().await?;
    link.out.rows_fitting(&nodes, |nodes, _| nodes_table(nodes), &NODES_DROPS)
}

pub(crate) async fn show(link: &Link, name: &str) -> Result<(), Failure> {
    let Some(node) = Leader::of(&link.nats).node(name).await? else {
        return Err(ClientError::UnknownNode(name.to_owned()).into());
    };
    let now_ms = clock::unix_ms();
    link.out.one(&node, |node| node_words(link, node, now_ms))
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
    if node.spec.gpu_problem.is_some() {
        return "unusable".to_owned();
    }
    groups.iter().map(|(model, number)| format!("{model} x{number}")).collect::<Vec<_>>().join(", ")
}

pub(crate) fn heartbeat_words(node: &NodeView) -> String {
    node.heartbeat_age_ms.map_or_else(|| "none yet".to_owned(), |age| format!("{} ago", span(age)))
}

/// A reading in words, or a dash where the GPU does not give it.
fn reading<T>(value: Option<T>, words: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), words)
}

fn nodes_table(nodes: &[NodeView]) -> Table {
    let mut rows = table(&["NODE", "WORKER", "HEALTH", "GPUS", "GPU USED", "RUNNING", "HOTTEST", "HEARTBEAT"]);
    for node in nodes {
        let used: u64 = node.gpu_used_milli.iter().map(|&milli| u64::from(milli)).sum();
        let hottest = node.telemetry.iter().filter_map(|gpu| gpu.temperature_c).reduce(f32::max);
        rows.add_row([
            node.spec.node.as_str().into(),
            node.spec.worker.as_str().into(),
            health_cell(node),
            gpus_words(node).into(),
            figure(format!("{}.{} of {}", used / 1000, used % 1000 / 100, node.spec.gpus.len())),
            figure(node.running.len()),
            figure(reading(hottest, |celsius| format!("{celsius:.0} °C"))),
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
    if let Some(problem) = &node.spec.gpu_problem {
        lines.push(("GPUs", format!("unusable. {problem}")));
    }
    if let Some(verdict) = &node.verdict {
        let words = format!("{} by {} {}: {}", verdict.health.as_str(), verdict.detector, ago(now_ms, verdict.at_ms), verdict.evidence);
        lines.push(("verdict", words));
    }
    let mut parts = vec![link.out.render(facts(&lines)), link.out.fitting(|_| gpu_table(node), &GPU_DROPS)];
    if !node.running.is_empty() {
        parts.push(link.out.fitting(|ids| running_table(node, ids), &[]));
    }
    parts.join("\n\n")
}

fn running_table(node: &NodeView, ids: Ids) -> Table {
    let mut running = table(&["RUNNING JOB", "ATTEMPT", "PROGRESS"]);
    for brief in &node.running {
        let percent = format!("{} %", brief.progress_permille / 10);
        running.add_row([ids.write(brief.job).into(), ids.write(brief.attempt).into(), figure(percent)]);
    }
    running
}

fn gpu_table(node: &NodeView) -> Table {
    let mut rows = table(&["GPU", "MODEL", "BOOKED", "RESERVED", "BUSY", "MEMORY USED", "POWER", "TEMP", "CLOCK", "NOTE"]);
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
            let notes = [
                report.xid.filter(|xid| *xid > 0).map(|xid| format!("XID {xid}")),
                report.out_of_service.then(|| "out of service".to_owned()),
                (report.throttled == Some(true)).then(|| "throttled".to_owned()),
            ];
            cells.extend([
                figure(reading(report.utilisation_percent, |percent| format!("{percent:.0} %"))),
                figure(reading(report.memory_used_mib, |mib| format!("{mib} MiB"))),
                figure(reading(report.power_w, |watts| format!("{watts:.0} W"))),
                figure(reading(report.temperature_c, |celsius| format!("{celsius:.0} °C"))),
                figure(reading(report.sm_clock_mhz, |mhz| format!("{mhz} MHz"))),
                mood(notes.into_iter().flatten().collect::<Vec<_>>().join(", "), Mood::Doubtful),
            ]);
        }
        rows.add_row(cells);
    }
    rows
}

pub(crate) async fn drain(link: &Link, node: &str, reason: String) -> Result<(), Failure> {
    set_draining(&link.nats, node, reason.clone(), "faultline drain").await?;
    let in_force = is_in_force(&link.nats, node, true).await;
    let view = DrainView { node: node.to_owned(), draining: true, in_force, reason: Some(reason) };
    link.out.one(&view, |view| drain_words(view, true))
}

/// From now on nothing new is placed on the node. `command` says through what it is asked for.
pub(crate) async fn set_draining(nats: &Nats, node: &str, reason: String, command: &str) -> Result<(), Failure> {
    registration(nats, node).await?;
    let setting = DrainSetting { reason, at_ms: clock::unix_ms(), by: who::me(command) };
    Ok(settings::drain(nats, node, &setting).await?)
}

pub(crate) async fn undrain(link: &Link, node: &str) -> Result<(), Failure> {
    let was_drained = end_draining(&link.nats, node).await?;
    let in_force = is_in_force(&link.nats, node, false).await;
    link.out.one(&DrainView { node: node.to_owned(), draining: false, in_force, reason: None }, |view| drain_words(view, was_drained))
}

/// Whether the leading scheduler says of the node what was set.
pub(crate) async fn is_in_force(nats: &Nats, node: &str, draining: bool) -> bool {
    settings::is_drain_in_force(Leader::of(nats), node, draining).await
}

pub(crate) fn drain_words(view: &DrainView, was_drained: bool) -> String {
    let node = &view.node;
    match (view.draining, view.in_force) {
        (true, true) => format!("{node} drains: it gets no new jobs, and its running jobs finish"),
        (false, true) if was_drained => format!("{node} takes jobs again"),
        (false, _) if !was_drained => format!("{node} was not drained"),
        (_, _) => format!("stored for {node}, and not in force yet: no scheduler that knows the node has answered"),
    }
}

/// The node takes jobs again; whether it was drained.
pub(crate) async fn end_draining(nats: &Nats, node: &str) -> Result<bool, Failure> {
    let was_drained = settings::undrain(nats, node).await?;
    if !was_drained {
        // An unknown name is more likely a slip than a node that was never drained.
        registration(nats, node).await?;
    }
    Ok(was_drained)
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::{AttemptId, JobId};
    use faultline_engine::node::{GpuDescriptor, GpuTelemetry, NodeSpec};
    use faultline_protocol::messages::RunningBrief;
    use faultline_runtime::config::Color;

    use super::*;
    use crate::output::{Format, Output};

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
                gpu_problem: None,
            },
            health: Health::Alive,
            draining: false,
            gpu_used_milli: vec![500, 1000],
            gpu_reserved_mib: vec![0, 1024],
            running: vec![],
            telemetry: vec![GpuTelemetry { temperature_c: Some(41.4), ..GpuTelemetry::default() }; 2],
            heartbeat_age_ms: Some(340),
            verdict: None,
        }
    }

    #[test]
    fn a_drain_is_told_as_what_it_is() {
        let words = |draining, in_force, was_drained| {
            drain_words(&DrainView { node: "gpu-node-01".into(), draining, in_force, reason: None }, was_drained)
        };
        assert!(words(true, true, true).starts_with("gpu-node-01 drains"));
        assert_eq!(words(false, true, true), "gpu-node-01 takes jobs again");
        assert_eq!(words(false, true, false), "gpu-node-01 was not drained");
        assert!(words(true, false, true).contains("not in force yet") && words(false, false, true).contains("not in force yet"));
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

    #[test]
    fn nodes_and_their_gpus_fit_eighty_columns() {
        let out = Output::new(Format::Table, Color::Never).with_width(80);
        let mut busy = node();
        (busy.health, busy.draining, busy.heartbeat_age_ms) = (Health::Suspect, true, Some(3_599_000));
        let brief = RunningBrief { job: JobId::new(1, 2), attempt: AttemptId::new(3, 4), progress_permille: 1000, epoch: 1 };
        busy.running = vec![brief; 16];
        busy.telemetry[0].xid = Some(79);
        let nodes = out.fitting(|_| nodes_table(std::slice::from_ref(&busy)), &NODES_DROPS);
        let expected = "\
NODE         HEALTH             GPUS          GPU USED  RUNNING  HEARTBEAT
gpu-node-01  suspect, draining  H100-80GB x2  1.5 of 2       16  59 min 59 s ago";
        assert_eq!(nodes, expected);
        let gpus = out.fitting(|_| gpu_table(&busy), &GPU_DROPS);
        let running = out.fitting(|ids| running_table(&busy, ids), &[]);
        for text in [&nodes, &gpus, &running] {
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        }
        assert!(gpus.contains("XID 79") && gpus.contains("BUSY") && gpus.lines().count() == 3, "{gpus}");
    }
}
