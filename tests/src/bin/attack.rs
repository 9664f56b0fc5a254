//! `just attack`: malformed messages on every subject that any process listens to, while normal jobs run. The table goes to standard error,
//! one JSON line to standard output.

use std::process::ExitCode;

use clap::Parser;
use faultline_runtime::clock::random_seed;
use faultline_tests::attack::{self, Settings};

/// Starts a cluster and sends it garbage; exit code 1 when a process ended or grew too much, a job was lost, or the audit is not clean.
#[derive(Debug, Parser)]
struct Args {
    /// How many messages
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// The same seed sends the same (default: drawn)
    #[arg(long)]
    seed: Option<u64>,
    /// Messages a second, at most
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Normal jobs that run meanwhile
    #[arg(long, default_value_t = 2_000)]
    jobs: u64,
    /// How much any process may grow, in MiB; the NATS server by half a KiB a message more, since it stores them
    #[arg(long, default_value_t = 128)]
    max_growth_mib: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    anyhow::ensure!((1_000..=100_000_000).contains(&args.messages), "--messages: {} is outside 1000 to 100000000", args.messages);
    anyhow::ensure!((1..=10_000_000).contains(&args.rate), "--rate: {} is outside 1 to 10000000", args.rate);
    anyhow::ensure!((1..=100_000).contains(&args.jobs), "--jobs: {} is outside 1 to 100000", args.jobs);
    let settings = Settings {
        messages: args.messages,
        seed: args.seed.unwrap_or_else(|| random_seed() % 1_000_000),
        rate: args.rate,
        jobs: args.jobs,
        max_growth_mib: args.max_growth_mib,
    };
    eprintln!("attack: {} messages, seed {}", settings.messages, settings.seed);
    let report = attack::run(&settings).await?;
    eprintln!("{}", report.table());
    if !report.wrong.is_empty() {
        eprintln!("the end of the cluster's log:\n{}", report.log_tail);
    }
    println!("{}", report.figures());
    Ok(if report.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
