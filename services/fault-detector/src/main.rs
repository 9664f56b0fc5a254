//! Reads the command line and hands over to the library. Nothing else lives here.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use faultline_fault_detector::Settings;
use faultline_runtime::config::{self, CommonArgs};
use faultline_runtime::shutdown::Shutdown;
use faultline_runtime::{connect, telemetry};
use serde::Serialize;

/// Judges which nodes of a Faultline cluster are alive.
#[derive(Debug, Parser)]
#[command(name = "faultline-fault-detector", version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
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
    match start(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("faultline-fault-detector: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start(args: Args) -> anyhow::Result<()> {
    let common = args.common.load()?;
    let settings: Settings = config::load_section(&args.common, "fault-detector", &args.flags)?;
    settings.validate().context("settings of [fault-detector]")?;
    let _telemetry = telemetry::init("fault-detector", &common);
    let shutdown = Shutdown::from_signals(common.stop_with_parent);
    let nats = tokio::select! {
        () = shutdown.token().cancelled_owned() => return Ok(()),
        nats = connect::connect(&common, "fault-detector", "fault-detector") => nats.context("connecting to NATS")?,
    };
    faultline_fault_detector::run(settings, nats, shutdown).await
}
