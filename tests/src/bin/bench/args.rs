//! The command line.

use std::str::FromStr;

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
    /// Worker processes and the nodes of each, for example 10x1000. Given several times, each round measures all of them in turn
    #[arg(long = "fleet", value_name = "WORKERSxNODES", default_value = "2x4")]
    pub(crate) fleets: Vec<Fleet>,
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

/// The nodes of one measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fleet {
    pub(crate) workers: usize,
    pub(crate) nodes_per_worker: usize,
}

impl Fleet {
    pub(crate) fn nodes(self) -> usize {
        self.workers * self.nodes_per_worker
    }
}

impl FromStr for Fleet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let count = |text: &str| text.parse().ok().filter(|count| *count > 0);
        let parts = text.split_once('x').and_then(|(workers, nodes)| Some((count(workers)?, count(nodes)?)));
        let (workers, nodes_per_worker) = parts.ok_or("invalid fleet: give two numbers from 1 on, such as 10x1000")?;
        Ok(Self { workers, nodes_per_worker })
    }
}
