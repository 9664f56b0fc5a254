//! The command line.

use clap::Parser;
use faultline_planner::{PolicyName, TieRule};

/// Measures how fast the planner decides.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Args {
    /// Numbers of nodes
    #[arg(long, value_delimiter = ',', default_values_t = [8, 100, 1213, 10_000, 100_000], value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) nodes: Vec<u32>,
    /// Numbers of classes that wait
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 256], value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) classes: Vec<u32>,
    /// Policies; all when left out
    #[arg(long, value_delimiter = ',')]
    pub(crate) policies: Vec<PolicyName>,
    /// Which of equal nodes is taken
    #[arg(long, default_value_t = TieRule::First)]
    pub(crate) tie: TieRule,
    /// Makes the run repeatable
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Processor time for each figure, in milliseconds
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub(crate) time_ms: u64,
}
