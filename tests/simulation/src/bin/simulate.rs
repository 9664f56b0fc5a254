//! Plays the protocol under virtual time, seed after seed, and stops at the first that breaks a promise. `just simulate` runs it.

use std::ops::Range;
use std::process::ExitCode;

use clap::Parser;
use faultline_simulation::ends::{EndsBug, EndsStats, ends_campaign, run_ends};
use faultline_simulation::{Bug, Campaign, Outcome, Stats, campaign, run};

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
    bug: Option<String>,
    /// Plays a model of the next protocol, with packs and a log of ends, instead of the services.
    #[arg(long)]
    ends: bool,
    /// How many threads; one a core when not given.
    #[arg(long)]
    threads: Option<usize>,
}

/// What was played, whichever protocol it was.
struct Played {
    seeds: u64,
    summary: String,
    /// Of the lowest seed that broke a promise: what broke.
    failed: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let first = arguments.seed.unwrap_or(1);
    let seeds = arguments.seeds.unwrap_or(if arguments.seed.is_some() { 1 } else { 10_000 });
    let threads = arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let range = first..first.saturating_add(seeds);
    let is_single = arguments.verbose && seeds == 1;
    let began = tokio::time::Instant::now();
    let bug = arguments.bug.as_deref();
    let played = match (arguments.ends, is_single) {
        (false, true) => named(bug).map(|bug| one(run(first, bug, usize::MAX), summary)),
        (false, false) => named(bug).map(|bug| play(range, bug, threads)),
        (true, true) => named(bug).map(|bug| one(run_ends(first, bug, usize::MAX), summary_of_ends)),
        (true, false) => named(bug).map(|bug| play_ends(range, bug, threads)),
    };
    let played = match played {
        Ok(played) => played,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    if !is_single {
        let seconds = began.elapsed().as_secs_f64();
        println!("{} seeds in {seconds:.1} s on {threads} threads: {:.0} seeds/s", played.seeds, played.seeds as f64 / seconds);
    }
    print!("{}", played.summary);
    match played.failed {
        Some(failed) => {
            println!("{failed}");
            ExitCode::from(5)
        }
        None => {
            println!("every promise was kept");
            ExitCode::SUCCESS
        }
    }
}

fn named<B: std::str::FromStr>(bug: Option<&str>) -> Result<Option<B>, B::Err> {
    bug.map(str::parse).transpose()
}

/// Many seeds; `explain` plays the one that failed once more, and tells.
fn many<F>(done: Campaign<F>, summary: fn(&F) -> String, explain: impl FnOnce(u64) -> String) -> Played {
    Played { seeds: done.seeds, summary: summary(&done.stats), failed: done.failed.map(|failed| explain(failed.seed)) }
}

/// One seed, of which everything is shown.
fn one<F>(outcome: Outcome<F>, summary: fn(&F) -> String) -> Played {
    let (seed, summary) = (outcome.seed, summary(&outcome.stats));
    let summary = format!("{}\ntrace {:016x}\n{summary}", outcome.last.join("\n"), outcome.trace_hash);
    Played { seeds: 1, summary, failed: outcome.broken.map(|promise| format!("seed {seed} BROKE A PROMISE: {promise}")) }
}

fn play(seeds: Range<u64>, bug: Option<Bug>, threads: usize) -> Played {
    many(campaign(seeds, bug, threads), summary, |seed| run(seed, bug, SHOWN).explain(bug))
}

fn play_ends(seeds: Range<u64>, bug: Option<EndsBug>, threads: usize) -> Played {
    many(ends_campaign(seeds, bug, threads), summary_of_ends, |seed| run_ends(seed, bug, SHOWN).explain(bug))
}

fn summary(stats: &Stats) -> String {
    let mut lines = vec![
        format!("{:>12} s of virtual time, {} events, {} messages", stats.virtual_ms / 1000, stats.events, stats.messages),
        format!("{:>12} messages lost, {} doubled", stats.lost, stats.doubled),
    ];
    lines.extend(stats.faults.iter().map(|(kind, count)| format!("{count:>12} x {kind}")));
    lines.push(format!(
        "{:>12} jobs: {} committed, {} dead, {} cancelled, {} abandoned",
        stats.jobs, stats.committed, stats.dead, stats.cancelled, stats.abandoned
    ));
    lines.push(format!(
        "{:>12} deliveries, {} attempts, {} beside another of the same job",
        stats.deliveries, stats.attempts, stats.overlaps
    ));
    lines.push(format!("{:>12} finished for nothing, {} commits refused, {} requeues", stats.superseded, stats.conflicts, stats.requeues));
    lines.push(format!(
        "{:>12} terms of leadership, {} assignments refused for their epoch, {} epochs raised, {} verdicts, {} requests to policy programs",
        stats.terms, stats.fenced, stats.raised, stats.verdicts, stats.asked
    ));
    lines.push(format!("{:>12} ms from the last fault to the end of the last job, at worst", stats.recovery_ms));
    lines.join("\n") + "\n"
}

fn summary_of_ends(stats: &EndsStats) -> String {
    let mut lines = vec![
        format!("{:>12} s of virtual time, {} events, {} messages", stats.virtual_ms / 1000, stats.events, stats.messages),
        format!("{:>12} messages lost, {} doubled", stats.lost, stats.doubled),
    ];
    lines.extend(stats.faults.iter().map(|(kind, count)| format!("{count:>12} x {kind}")));
    lines.push(format!(
        "{:>12} jobs in {} packs: {} committed, {} dead, {} cancelled; {} tickets void",
        stats.jobs, stats.packs, stats.committed, stats.dead, stats.cancelled, stats.void
    ));
    lines.push(format!(
        "{:>12} failures, {} late ends, {} decisions fenced, {} packs published again",
        stats.failed, stats.late, stats.fenced, stats.republished
    ));
    lines.push(format!(
        "{:>12} deliveries, {} attempts, {} beside another of the same job",
        stats.deliveries, stats.attempts, stats.overlaps
    ));
    lines.push(format!(
        "{:>12} terms of leadership, {} snapshots, {} trims, {} appends without room, {} terms from the remains of the log",
        stats.terms, stats.snapshots, stats.trims, stats.no_room, stats.from_remains
    ));
    lines.push(format!("{:>12} jobs lost as the design says; {} packs named by {} audits", stats.excused, stats.named, stats.audits));
    lines.push(format!(
        "{:>12} ms from the last fault to the end of the last job, at worst; {} in all",
        stats.recovery_ms, stats.recovery_sum_ms
    ));
    lines.join("\n") + "\n"
}
