//! Reads the command line and hands over to the library. Nothing else lives here.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use faultline_dashboard::Settings;
use faultline_runtime::config::{self, Common, CommonArgs};
use faultline_runtime::shutdown::Shutdown;
use faultline_runtime::{connect, telemetry};
use serde::Serialize;

/// Shows the cluster and takes orders: a page, a REST API and a WebSocket.
#[derive(Debug, Parser)]
#[command(name = "faultline-dashboard", version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, clap::Args, Serialize)]
struct Flags {
    /// TCP port of the page (default 8080)
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    /// Address to listen on (default 127.0.0.1); any other than loopback needs --token-file
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    bind: Option<IpAddr>,
    /// File with the token that every request must then carry as `Authorization: Bearer`
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let loaded =
        args.common.load().and_then(|common| Ok((common, config::load_section::<Settings>(&args.common, "dashboard", &args.flags)?)));
    let (common, settings) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("faultline-dashboard: {error}");
            return ExitCode::FAILURE;
        }
    };
    let _telemetry = telemetry::init("dashboard", &common);
    match start(&common, &settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start(common: &Common, settings: &Settings) -> anyhow::Result<()> {
    let shutdown = Shutdown::from_signals(common.stop_with_parent);
    // Before NATS, so that a port in use is said at once.
    let door = faultline_dashboard::open(settings).await?;
    let nats = tokio::select! {
        () = shutdown.token().cancelled_owned() => return Ok(()),
        nats = connect::connect(common, "dashboard", "dashboard") => nats.context("connecting to NATS")?,
    };
    faultline_dashboard::serve(door, nats.clone(), shutdown).await?;
    nats.close().await;
    Ok(())
}
