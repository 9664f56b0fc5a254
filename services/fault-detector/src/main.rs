//! Reads the command line and hands over to the library. Nothing else lives here.

use std::process::ExitCode;

use clap::Parser;
use faultline_fault_detector::Settings;
use faultline_runtime::service::{self, ServiceArgs};
use serde::Serialize;

/// Judges which nodes of a Faultline cluster are alive.
#[derive(Debug, Parser)]
#[command(name = "faultline-fault-detector", version)]
struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, clap::Args, Serialize)]
struct Flags {
    /// How silence is judged (default phi-accrual)
    #[arg(long, value_name = "KIND", value_parser = ["phi-accrual", "fixed-timeout", "k-of-n"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    detector: Option<String>,
    /// Judge by heartbeats alone: no hints about connections, no pings. For measuring what those are worth
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    heartbeats_only: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let check = |settings: &Settings| Ok(settings.validate().map(|()| "fault-detector".to_owned())?);
    service::run("fault-detector", &args.service, &args.flags, check, faultline_fault_detector::run).await
}
