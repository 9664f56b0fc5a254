//! Reads the command line and hands over to the library. Nothing else lives here.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use faultline_dashboard::Settings;
use faultline_runtime::service::{self, ServiceArgs};
use serde::Serialize;

/// Shows the cluster and takes orders: a page, a REST API and a WebSocket.
#[derive(Debug, Parser)]
#[command(name = "faultline-dashboard", version)]
struct Args {
    #[command(flatten)]
    service: ServiceArgs,
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
    /// File with the token (16 or more characters) that one signs in with on the page, and that programs send as
    /// `Authorization: Bearer`
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<PathBuf>,
    /// As --token-file, but the user who runs the dashboard needs no token on a connection within this machine (Linux only)
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    #[serde(skip_serializing_if = "Option::is_none")]
    local_token_file: Option<PathBuf>,
    /// Where the page of a job links to for its trace, such as http://127.0.0.1:16686/trace/{trace_id}
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_url: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let probes = args.service.probe;
    let check = |settings: &Settings| {
        // A probe asks the process that runs, whose token may have been named by a flag.
        if !probes {
            settings.check()?;
        }
        Ok("dashboard".to_owned())
    };
    service::run("dashboard", &args.service, &args.flags, check, faultline_dashboard::run).await
}
