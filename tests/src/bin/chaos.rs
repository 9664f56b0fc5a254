//! `just chaos`: kills, freezes and breaks everything for some minutes under load, then checks that every job ended exactly
//! once. The seed at the beginning and a table at the end go to standard error, one JSON line to standard output.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use faultline_runtime::clock::random_seed;
use faultline_tests::chaos::{self, Settings};

/// Kills, freezes and breaks everything under load; exit code 1 when a job was lost or ended twice, or anything else is wrong.
#[derive(Debug, Parser)]
struct Args {
    /// How long it goes on, at least half a minute
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// The same seed gives the same plan of faults (default: drawn)
    #[arg(long, value_parser = faultline_runtime::config::seed)]
    seed: Option<u64>,
    /// Jobs a second from each of the two submitters
    #[arg(long, default_value_t = 60)]
    rate: u32,
    /// The most resident memory that any process may have, in MiB
    #[arg(long, default_value_t = 400)]
    max_memory_mib: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    anyhow::ensure!((0.5..=600.0).contains(&args.minutes), "--minutes: {} is outside 0.5 to 600", args.minutes);
    anyhow::ensure!((1..=10_000).contains(&args.rate), "--rate: {} is outside 1 to 10000", args.rate);
    let settings = Settings {
        seed: args.seed.unwrap_or_else(|| random_seed() % 1_000_000),
        length: Duration::from_secs_f64(args.minutes * 60.0),
        rate: args.rate,
        max_memory_mib: args.max_memory_mib,
    };
    eprintln!("chaos: seed {} for {} minutes; the same again with --seed {}", settings.seed, args.minutes, settings.seed);
    let report = chaos::run(&settings).await?;
    eprintln!("{}", report.table);
    println!("{}", report.figures);
    Ok(if report.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
