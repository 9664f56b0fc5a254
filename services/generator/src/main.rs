//! Reads the command line and hands over to the library. Nothing else lives here.

use std::process::ExitCode;

use clap::Parser;
use faultline_generator::Settings;
use faultline_runtime::service::{self, ServiceArgs};
use serde::Serialize;

/// Submits jobs to a Faultline cluster, as a Poisson process.
#[derive(Debug, Parser)]
#[command(name = "faultline-generator", version)]
struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, clap::Args, Serialize)]
struct Flags {
    /// Jobs a minute, 0.1 to 50; becomes the cluster's setting (default: the setting as it is, else --load 60)
    #[arg(long, value_name = "JOBS_A_MINUTE", conflicts_with = "load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    /// So many jobs that they take this share of the cluster's GPU time, in percent; becomes the cluster's setting
    #[arg(long, value_name = "PERCENT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<f64>,
    /// Seed of the generated jobs
    #[arg(long, value_parser = faultline_runtime::config::seed)]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Take rates outside 0.1 to 50 too, for load tests
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unbounded_rate: bool,
    /// Weights of the kinds, for example sleep=4,compute=3,matrix=2,fault=1; becomes the cluster's setting
    #[arg(long, value_name = "WEIGHTS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    mix: Option<String>,
    /// Jobs that are submitted at once at the start (default 3)
    #[arg(long, value_name = "JOBS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    first_jobs: Option<u32>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let check = |settings: &Settings| settings.validate().map(|()| "generator".to_owned());
    service::run("generator", &args.service, &args.flags, check, faultline_generator::run).await
}
