use std::process::ExitCode;
use std::str::FromStr;

use clap::Parser;
use faultline_engine::scheduler::{LivePolicy, PolicyName};
use faultline_runtime::service::{self, ServiceArgs};
use faultline_scheduler::Settings;
use serde::Serialize;

/// Places the jobs of a Faultline cluster on its nodes. Several can run: one leads, the others stand by.
#[derive(Debug, Parser, Serialize)]
#[command(version)]
struct Args {
    #[command(flatten)]
    #[serde(skip)]
    service: ServiceArgs,
    /// Name of this process, for example scheduler-1
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[arg(long, value_parser = LivePolicy::from_str, help = format!("How a node is chosen: {}, or service:NAME for a program of your own on NATS", PolicyName::ALL.map(PolicyName::as_str).join(", ")))]
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<LivePolicy>,
    /// Seed of random decisions
    #[arg(long, value_parser = faultline_runtime::config::seed)]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let check = |settings: &Settings| settings.validate().map(|()| settings.name.clone()).map_err(anyhow::Error::msg);
    service::run("scheduler", &args.service, &args, check, faultline_scheduler::run).await
}
