use std::str::FromStr;

use clap::Parser;
use faultline_engine::placement::PolicyName;
use faultline_runtime::config::{CommonArgs, load_section};
use faultline_runtime::{connect, shutdown::Shutdown, telemetry};
use faultline_scheduler::Settings;
use serde::Serialize;

/// Places the jobs of a Faultline cluster on its nodes. Several can run: one leads, the others stand by.
#[derive(Debug, Parser, Serialize)]
#[command(version)]
struct Args {
    #[command(flatten)]
    #[serde(skip)]
    common: CommonArgs,
    /// Name of this process, for example scheduler-1
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// How a node is chosen: least-loaded, best-fit, round-robin or random
    #[arg(long, value_parser = PolicyName::from_str)]
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<PolicyName>,
    /// Seed of whatever is drawn
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let common = args.common.load()?;
    let settings: Settings = load_section(&args.common, "scheduler", &args)?;
    settings.validate().map_err(anyhow::Error::msg)?;
    let _telemetry = telemetry::init(&settings.name, &common);
    let shutdown = Shutdown::from_signals(common.stop_with_parent);
    let connected = tokio::select! {
        connected = connect::connect(&common, "scheduler", &settings.name) => connected?,
        () = shutdown.token().cancelled_owned() => return Ok(()),
    };
    faultline_scheduler::run(settings, connected, shutdown).await
}
