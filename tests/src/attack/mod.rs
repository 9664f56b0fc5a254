//! Malformed messages by the hundred thousand, published by the administrator on every subject that any process listens to, while normal
//! jobs run: every process goes on, keeps its memory, and all jobs commit. At last the one place where garbage stays in the books,
//! RESULTS: no service stops there either, and `audit` has to find it. What is sent is drawn from a seed in [`ammunition`].

pub mod ammunition;
mod report;
mod settings;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use faultline_protocol::streams;
use faultline_runtime::config::Common;
use faultline_runtime::connect::{Nats, connect_once};
use futures::StreamExt as _;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::proc;
use crate::up::Up;
use ammunition::{Arsenal, Shot};

pub use report::Report;
pub use settings::{Process, Settings};

/// How many are sent before the server has to answer.
const BURST: u64 = 250;
const WORKERS: usize = 2;
/// After the last message, the cluster has this long to be as before.
const CALM: Duration = Duration::from_secs(60);
/// The part of all messages that goes into RESULTS, after the first audit.
const RECORDS_SHARE: u64 = 50;

/// Starts a cluster, attacks it, and says what came of it.
pub async fn run(settings: &Settings) -> anyhow::Result<Report> {
    let up = Up::start_all(WORKERS, &["--rate", "30"]).await;
    let nats = administrator(&up).await?;
    // The first jobs make every process touch the memory that normal work takes.
    let warm_up = up.faultline(&["submit", "--kind", "sleep", "--duration", "50ms", "--count", "200", "--wait"]);
    anyhow::ensure!(warm_up.status.success(), "no job commits before anything is sent: {}", crate::up::text(&warm_up));
    let mut report = Report::new(settings, processes(&up));

    let arsenal = Arsenal::load(settings.seed, WORKERS)?;
    let mut jobs = normal_jobs(&up, settings.jobs);
    let jobs = tokio::task::spawn_blocking(move || jobs.output());
    let records = settings.messages / RECORDS_SHARE;
    let began = Instant::now();
    report.sent = fire(&nats, settings, settings.messages - records, arsenal.shots()).await?;
    report.took = began.elapsed();
    report.note_jobs(&jobs.await??);
    tidy_up(&nats).await?;
    report.note_calm(wait_until_calm(&up).await);
    report.note_processes(processes(&up));
    report.note_clean_audit(&up.faultline(&["audit"]));

    for (target, count) in fire(&nats, settings, records, arsenal.records()).await? {
        *report.sent.entry(target).or_default() += count;
    }
    let late = up.faultline(&["submit", "--kind", "sleep", "--duration", "50ms", "--count", "50", "--wait"]);
    report.note_late_jobs(&late);
    report.note_processes(processes(&up));
    report.note_dirty_audit(&up.faultline(&["audit"]));
    report.note_log(&up.log());
    nats.close().await;
    Ok(report)
}

async fn administrator(up: &Up) -> anyhow::Result<Nats> {
    let common = Common { nats_url: up.url(), nkey_file: Some(up.data_dir().join("nkeys/admin.nk")), ..Common::default() };
    Ok(connect_once(&common, "admin", "attack").await?)
}

fn normal_jobs(up: &Up, count: u64) -> Command {
    let count = count.to_string();
    up.command(&["submit", "--kind", "sleep", "--duration", "100ms", "--gpus", "0.1", "--count", &count, "--wait"])
}

/// Sends so many, not faster than the rate, and counts them by what they were aimed at.
async fn fire(
    nats: &Nats,
    settings: &Settings,
    count: u64,
    mut shots: impl Iterator<Item = Shot>,
) -> anyhow::Result<BTreeMap<&'static str, u64>> {
    let mut sent = BTreeMap::new();
    let began = Instant::now();
    let mut done = 0;
    while done < count {
        for shot in shots.by_ref().take(usize::try_from(BURST.min(count - done))?) {
            *sent.entry(shot.target).or_default() += 1;
            match shot.headers {
                Some(headers) => nats.client.publish_with_headers(shot.subject, headers, shot.body.into()).await?,
                None => nats.client.publish(shot.subject, shot.body.into()).await?,
            }
        }
        done += BURST.min(count - done);
        nats.client.flush().await?;
        let due = Duration::from_secs_f64(done as f64 / settings.rate as f64);
        sleep(due.saturating_sub(began.elapsed())).await;
    }
    Ok(sent)
}

/// Takes away the keys that were written: what is in a bucket is a setting, and stays one.
async fn tidy_up(nats: &Nats) -> anyhow::Result<()> {
    for bucket in [streams::KV_NODES, streams::KV_HEALTH, streams::KV_CONTROL, streams::KV_LEASE, streams::KV_LEDGER] {
        let store = nats.bucket(bucket).await?;
        let mut keys = store.keys().await?;
        while let Some(key) = keys.next().await {
            let key = key?;
            if key.contains(ammunition::STRANGER) || key == streams::KEY_MIX || key == streams::KEY_RATE {
                store.purge(&key).await?;
            }
        }
    }
    Ok(())
}

/// Waits until the queue is empty, and exactly the cluster's nodes are alive; what is wrong when that does not come.
async fn wait_until_calm(up: &Up) -> Result<(), String> {
    let deadline = Instant::now() + CALM;
    loop {
        let wrong = what_is_wrong(up);
        match wrong {
            None => return Ok(()),
            Some(wrong) if Instant::now() >= deadline => return Err(wrong),
            Some(_) => sleep(Duration::from_millis(250)).await,
        }
    }
}

fn what_is_wrong(up: &Up) -> Option<String> {
    let Some(Value::Array(nodes)) = up.json(&["nodes"]) else { return Some("`faultline nodes` does not answer".into()) };
    let mut names: Vec<&str> = nodes.iter().filter_map(|node| node["node"].as_str()).collect();
    names.sort_unstable();
    let wanted: Vec<String> = (1..=WORKERS).map(|index| format!("gpu-node-{index:02}")).collect();
    if names != wanted {
        return Some(format!("the nodes are {}", names.join(", ")));
    }
    if let Some(node) = nodes.iter().find(|node| node["health"] != "alive" || node["draining"] == true) {
        return Some(format!("a node is not as it should be: {node}"));
    }
    let queued = up.json(&["jobs", "--state", "queued"])?;
    if queued.as_array().is_some_and(|jobs| !jobs.is_empty()) { Some("jobs wait still".into()) } else { None }
}

/// What `faultline status` says of each process, with its resident memory.
fn processes(up: &Up) -> BTreeMap<String, Process> {
    let status = up.json(&["status"]).unwrap_or_default();
    let services = status["services"].as_array().cloned().unwrap_or_default();
    let process = |service: &Value| {
        let pid = service["pid"].as_u64()?;
        let restarts = service["restarts"].as_u64()?;
        Some((service["name"].as_str()?.to_owned(), Process { pid, restarts, resident_kib: resident_kib(pid)? }))
    };
    services.iter().filter_map(process).collect()
}

/// A guarded process is its guard's child; the larger of the two is meant.
fn resident_kib(pid: u64) -> Option<u64> {
    proc::children(pid).into_iter().chain([pid]).filter_map(|pid| proc::kib(pid, "VmRSS")).max()
}
