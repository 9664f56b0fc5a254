//! The flags of `up`, which are keys of `[up]` too: other commands read that section to find the cluster.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use faultline_cluster::nats_server::fsync::Fsync;
use faultline_engine::detector::EstimatorKind;
use faultline_engine::fault::FaultPreset;
use faultline_engine::scheduler::{LivePolicy, PolicyName};
use serde::Serialize;

/// Flags of `up`; each is also a key of `[up]` in the settings file and a variable `FAULTLINE_UP_<KEY>`.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
pub(crate) struct UpFlags {
    /// Set from the global flag `--data-dir`.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Worker processes (default 8)
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) workers: Option<u32>,
    /// Simulated machines in each worker (default 1)
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nodes_per_worker: Option<u32>,
    /// Generated jobs a minute, 0.1 to 50, until `faultline rate` changes it (default: the last setting, else --load 60)
    #[arg(long, value_name = "N", conflicts_with = "load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
    /// As many generated jobs as take this share of the cluster's GPU time, in percent; follows the number of nodes
    #[arg(long, value_name = "PERCENT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) load: Option<f64>,
    /// Let the generator take rates outside 0.1 to 50 too, from --rate and from `faultline rate set N --unbounded`, and a load any rate
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unbounded_rate: bool,
    /// Makes generator, placement and faults repeatable
    #[arg(long, value_name = "N", value_parser = faultline_runtime::config::seed)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    /// Port of the dashboard on 127.0.0.1 (default 8080)
    #[arg(long, value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dashboard_port: Option<u16>,
    /// Port of the NATS server that `up` starts on 127.0.0.1 (default 4222); of three, the first one's
    #[arg(long, value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nats_port: Option<u16>,
    /// How simulated nodes fail: classroom (5-12 % of them a minute and errors of GPUs, the default), calibrated, rsc-1, rsc-2 (published
    /// production rates), lemon, correlated, wear-out or off
    #[arg(long, value_name = "PRESET")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) faults: Option<FaultPreset>,
    /// With calibrated, rsc-1 and rsc-2: how many times faster than in reality faults come and go (default 1)
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault_time_scale: Option<f64>,
    #[arg(long, value_name = "POLICY", value_parser = LivePolicy::from_str, help = policy_help())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<LivePolicy>,
    /// Connect services to NATS directly, not through proxies that `faultline link` can break
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_proxy: bool,
    /// NATS servers: 1, or 3 that form a cluster with three copies of everything (default 1)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nats_servers: Option<u32>,
    /// When NATS writes to its disk what it acknowledged: 1s loses up to the last second when the machine dies, always loses nothing and
    /// is slower (default 1s for one server, always for three)
    #[arg(long, value_name = "WHEN", value_parser = fsync())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sync: Option<Fsync>,
    /// How silent nodes are judged (default phi-accrual)
    #[arg(long, value_parser = detector())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detector: Option<EstimatorKind>,
    /// Scheduler processes: one leads, the others stand by (default 2)
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) schedulers: Option<u32>,
    /// Generate no jobs
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_generator: bool,
    /// Judge no nodes: lost jobs come back by JetStream's ack timeout alone
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_detector: bool,
    /// Serve no dashboard
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_dashboard: bool,
    /// Show all that services say; otherwise a terminal shows what is wrong, and the files in the folder for logs have the rest
    #[arg(short, long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) verbose: bool,
}

fn policy_help() -> String {
    let names = PolicyName::ALL.map(PolicyName::as_str).join(", ");
    format!(
        "How the scheduler chooses among nodes that fit (default least-loaded): {names}, or service:NAME for a program of your own on NATS"
    )
}

pub(crate) fn fsync() -> impl TypedValueParser<Value = Fsync> {
    let named = |name: String| Fsync::ALL.into_iter().find(|fsync| fsync.as_str() == name).unwrap_or(Fsync::Always);
    PossibleValuesParser::new(Fsync::ALL.map(Fsync::as_str)).map(named)
}

fn detector() -> impl TypedValueParser<Value = EstimatorKind> {
    let named = |name: String| EstimatorKind::ALL.into_iter().find(|kind| kind.as_str() == name).unwrap_or_default();
    PossibleValuesParser::new(EstimatorKind::ALL.map(EstimatorKind::as_str)).map(named)
}
