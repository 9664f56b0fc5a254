//! Plays the protocol under virtual time, seed after seed, and stops at the first that breaks a promise. `just simulate` runs it.

use std::process::ExitCode;

use clap::Parser;
use faultline_tests::simulation::{Bug, Stats, campaign, run};

/// So many of the last happenings are shown of a seed that failed.
const SHOWN: usize = 60;

#[derive(Debug, Parser)]
#[command(
    about = "Scheduler, detector, workers and submitters in one process under virtual time; every fault that the network and the machines can make"
)]
struct Arguments {
    /// How many seeds; 10000, or 1 when --seed is given.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed; 1 when not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Shows everything that happens. For a single seed.
    #[arg(long)]
    verbose: bool,
    /// Breaks the protocol on purpose.
    #[arg(long)]
    bug: Option<Bug>,
    /// How many threads; one a core when not given.
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let first = arguments.seed.unwrap_or(1);
    let seeds = arguments.seeds.unwrap_or(if arguments.seed.is_some() { 1 } else { 10_000 });
    if arguments.verbose && seeds == 1 {
        let outcome = run(first, arguments.bug, usize::MAX);
        println!("{}", outcome.last.join("\n"));
        println!("trace {:016x}", outcome.trace_hash);
        print_stats(&outcome.stats);
        return match outcome.broken {
            Some(promise) => {
                println!("seed {first} BROKE A PROMISE: {promise}");
                ExitCode::from(5)
            }
            None => ExitCode::SUCCESS,
        };
    }
    let threads = arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let began = tokio::time::Instant::now();
    let done = campaign(first..first.saturating_add(seeds), arguments.bug, threads);
    let seconds = began.elapsed().as_secs_f64();
    println!("{} seeds in {seconds:.1} s on {threads} threads: {:.0} seeds/s", done.seeds, done.seeds as f64 / seconds);
    print_stats(&done.stats);
    match done.failed {
        Some(failed) => {
            println!("{}", run(failed.seed, arguments.bug, SHOWN).explain(arguments.bug));
            ExitCode::from(5)
        }
        None => {
            println!("every promise was kept");
            ExitCode::SUCCESS
        }
    }
}

fn print_stats(stats: &Stats) {
    println!("{:>12} s of virtual time, {} events, {} messages", stats.virtual_ms / 1000, stats.events, stats.messages);
    println!("{:>12} messages lost, {} doubled", stats.lost, stats.doubled);
    for (kind, count) in &stats.faults {
        println!("{count:>12} x {kind}");
    }
    println!(
        "{:>12} jobs: {} committed, {} dead, {} cancelled, {} abandoned",
        stats.jobs, stats.committed, stats.dead, stats.cancelled, stats.abandoned
    );
    println!("{:>12} deliveries, {} attempts, {} beside another of the same job", stats.deliveries, stats.attempts, stats.overlaps);
    println!("{:>12} finished for nothing, {} commits refused, {} requeues", stats.superseded, stats.conflicts, stats.requeues);
    println!(
        "{:>12} terms of leadership, {} assignments of deposed leaders refused, {} verdicts",
        stats.terms, stats.fenced, stats.verdicts
    );
    println!("{:>12} ms from the last fault to the end of the last job, at worst", stats.recovery_ms);
}
