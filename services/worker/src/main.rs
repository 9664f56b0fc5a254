use std::process::ExitCode;
use std::str::FromStr;

use clap::Parser;
use faultline_engine::fault::FaultPreset;
use faultline_runtime::service::{self, ServiceArgs};
use faultline_worker::Settings;
use serde::Serialize;

/// Hosts one or many GPU nodes of a Faultline cluster and runs the attempts that the scheduler assigns to them.
#[derive(Debug, Parser, Serialize)]
#[command(version)]
struct Args {
    #[command(flatten)]
    #[serde(skip)]
    service: ServiceArgs,
    /// Name of this process, for example worker-01; without one it takes the lowest free number
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Index of the first hosted node, from 1: 3 hosts gpu-node-03 first; only with --name
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    first_node: Option<u64>,
    /// How many nodes to host
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<u64>,
    /// Simulated failures: classroom (5-12 % of nodes a minute and errors of GPUs), calibrated, rsc-1, rsc-2 (published production
    /// rates), lemon, correlated, wear-out or off
    #[arg(long, value_parser = FaultPreset::from_str)]
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<FaultPreset>,
    /// How many times faster than in reality faults come and go, with calibrated, rsc-1 and rsc-2 (default 1)
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    fault_time_scale: Option<f64>,
    /// Seed of the simulated failures, the same for all workers
    #[arg(long, value_parser = faultline_runtime::config::seed)]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// The most attempts at once on a node
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let check = |settings: &Settings| {
        settings.validate().map(|()| settings.name.clone().unwrap_or_else(|| "worker".into())).map_err(anyhow::Error::msg)
    };
    service::run("worker", &args.service, &args, check, faultline_worker::run).await
}
