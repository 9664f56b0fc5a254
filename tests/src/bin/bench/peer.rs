//! Another job queue, measured by a program of its own: `just bench-peers` builds it. It gets a server and how much to do, and prints one
//! JSON line.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use faultline_tests::nats::TestNats;

use crate::args::Args;
use crate::cpu::Cpu;
use crate::measured::median;

/// How often a worker is killed: each time costs half a minute.
const RECOVERIES: usize = 3;

pub(crate) async fn throughput(program: &Path, args: &Args) -> anyhow::Result<Value> {
    let server = TestNats::start_open().await;
    let cpu = Cpu::of(server.pid().map(|pid| ("nats-server".to_owned(), pid)));
    // As many as the services have in the first of their measurements.
    let workers = args.fleets.first().map_or(1, |fleet| fleet.workers);
    let [jobs, latency_jobs, in_flight, workers] = [args.jobs, args.latency_jobs, args.in_flight, workers].map(|number| number.to_string());
    let options = ["throughput", "--jobs", &jobs, "--latency-jobs", &latency_jobs, "--in-flight", &in_flight, "--workers", &workers];
    let mut measured = run(program, &server, &options).await?;
    measured["cpu_us_per_job"] = json!(cpu.us_each(args.jobs + args.latency_jobs));
    eprintln!("peer: {} jobs/s", measured["jobs_per_s"]);
    Ok(measured)
}

pub(crate) async fn recovery(program: &Path) -> anyhow::Result<Value> {
    let server = TestNats::start_open().await;
    run(program, &server, &["recovery", "--rounds", &RECOVERIES.to_string()]).await
}

pub(crate) fn summary(program: &Path, rounds: &[Value], recovery: &Value) -> Value {
    json!({
        "peer": program.file_name().map(|name| name.to_string_lossy()),
        "jobs_per_message": 1,
        "jobs_per_s": median(rounds.iter().filter_map(|round| round["jobs_per_s"].as_f64())),
        "rounds": rounds,
        "recovery": recovery,
    })
}

async fn run(program: &Path, server: &TestNats, options: &[&str]) -> anyhow::Result<Value> {
    let named = || program.display();
    let mut command = Command::new(program);
    command.args(["--nats-url", &server.url()]).args(options).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = command.output().await.with_context(|| format!("running {}", named()))?;
    ensure!(output.status.success(), "{} ended with {}", named(), output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("reading what {} measured", named()))
}
