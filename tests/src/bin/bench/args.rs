//! The command line.

use clap::Parser;

/// Measures the cluster against a bare pipeline with the fewest durable writes.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Jobs of one throughput measurement
    #[arg(long, default_value_t = 20_000)]
    pub(crate) jobs: usize,
    /// Jobs of one latency measurement, one at a time
    #[arg(long, default_value_t = 300)]
    pub(crate) latency_jobs: usize,
    /// How often everything is measured
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Submissions under way at once
    #[arg(long, default_value_t = 1_000)]
    pub(crate) in_flight: usize,
    /// Worker processes, of four nodes each
    #[arg(long, default_value_t = 2)]
    pub(crate) workers: usize,
    /// Leave the dashboard out
    #[arg(long)]
    pub(crate) no_dashboard: bool,
    /// Put every service behind a proxy of its own, as `faultline up` does
    #[arg(long)]
    pub(crate) proxies: bool,
    /// Run the services only, without the bound
    #[arg(long)]
    pub(crate) services_only: bool,
    /// Measure this program beside them, which `just bench-peers` builds
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) peer: Option<std::path::PathBuf>,
}
