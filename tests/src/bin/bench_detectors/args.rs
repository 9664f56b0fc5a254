//! The command line.

use clap::Parser;

/// Compares failure detectors with what really happened.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Args {
    /// Makes the run repeatable
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Hours of life, over all nodes, for each share of loss
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) node_hours: u64,
    /// Print the tables of docs/detectors.md instead of JSON lines
    #[arg(long)]
    pub(crate) markdown: bool,
}
