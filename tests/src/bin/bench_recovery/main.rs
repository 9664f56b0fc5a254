//! `just bench-recovery`: how long a job is away when something dies. Real processes on a NATS of their own, killed for real.
//!
//! Every time is taken by this process: from just before it calls `kill` (or, after a restart of NATS, from the server's answer) until the
//! message that ends the wait arrives here. Standard output gets a JSON line for each measurement and one for each case; standard
//! error gets a table. With `--check` the exit code is 1 when a case misses its target.

mod failover;
mod nats_restart;
mod report;
mod watch;
mod worker_death;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use report::{Report, Sample};
use worker_death::{Death, Detection, Means};

/// Measures how fast a cluster recovers from the death of its parts.
#[derive(Debug, Parser)]
struct Args {
    /// How often each case is measured (default: 50 for the quickest, 5 for the slowest)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: Option<u32>,
    /// Measure these cases alone
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Case>,
    /// Exit with 1 when a case misses its target
    #[arg(long)]
    check: bool,
}

/// What dies, and by what it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Case {
    /// A worker by SIGKILL: the server tells that its connection ended
    Sigkill,
    /// A worker by SIGSTOP, which is what lost power or network looks like: late heartbeats, then an unanswered ping
    Sigstop,
    /// A worker's network stalls: a partition
    Partition,
    /// A worker by SIGKILL, judged by heartbeats alone: no hint, no ping
    Heartbeats,
    /// A worker by SIGKILL while no detector runs: JetStream's ack timeout
    NoDetector,
    /// The leading scheduler by SIGKILL
    Failover,
    /// The NATS server by SIGKILL, started again a second later
    NatsRestart,
}

impl Case {
    fn rounds(self, args: &Args) -> u32 {
        args.rounds.unwrap_or(match self {
            Case::Sigkill => 50,
            Case::Sigstop | Case::Partition => 20,
            Case::Heartbeats | Case::Failover | Case::NatsRestart => 10,
            Case::NoDetector => 5,
        })
    }

    /// How many clusters share the rounds. Only where a round is mostly waiting, so that they do not disturb each other.
    fn clusters(self) -> u32 {
        match self {
            Case::Sigkill | Case::Sigstop | Case::Partition | Case::Failover | Case::NatsRestart => 1,
            Case::Heartbeats => 2,
            Case::NoDetector => 5,
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let mut cases = if args.only.is_empty() { Case::value_variants().to_vec() } else { args.only.clone() };
    cases.sort_unstable();
    cases.dedup();
    let mut report = Report::default();
    for case in cases {
        measure(case, case.rounds(&args), &mut report).await?;
    }
    eprintln!("{}", report.table());
    Ok(if args.check && !report.all_targets_met() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Shares the rounds among the case's clusters.
async fn measure(case: Case, rounds: u32, report: &mut Report) -> anyhow::Result<()> {
    let clusters = case.clusters().min(rounds);
    let shares = (0..clusters).map(|index| rounds / clusters + u32::from(index < rounds % clusters));
    for (samples, nats) in futures::future::try_join_all(shares.map(|share| run(case, share))).await? {
        report.add(samples, &nats);
    }
    report.conclude();
    Ok(())
}

/// So many rounds on one cluster. Returns what was measured and which NATS that was.
async fn run(case: Case, rounds: u32) -> anyhow::Result<(Vec<Sample>, String)> {
    let death = match case {
        Case::Failover => return failover::measure(rounds).await,
        Case::NatsRestart => return nats_restart::measure(rounds).await,
        Case::Sigkill => Death { name: "sigkill", ..Death::default() },
        Case::Sigstop => Death { name: "sigstop", means: Means::Freeze, ..Death::default() },
        Case::Partition => Death { name: "partition", means: Means::Partition, ..Death::default() },
        Case::Heartbeats => Death { name: "heartbeats", detector: Detection::HeartbeatsOnly, ..Death::default() },
        Case::NoDetector => Death { name: "no-detector", detector: Detection::None, ..Death::default() },
    };
    worker_death::measure(death, rounds).await
}
