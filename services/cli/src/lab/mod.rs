//! `faultline lab ...`: experiments in virtual time, and with the planner alone. Nothing here needs a cluster. What is computed, and how it is
//! judged and drawn, is in `shared/lab`; here are files, the progress bar, signals, and exit codes.

mod compare;
mod cross_check;
mod files;
mod fill;
mod import;
mod lists;
mod record;
mod replay;
mod replay_decisions;
mod report;
mod repro;
mod run;

use clap::Subcommand;

use crate::exit::Failure;
use crate::output::Output;

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum LabCommand {
    /// Run an experiment: all its policies and seeds, in virtual time; exit code 5 when an expectation does not hold
    Run(run::RunFlags),
    /// Check an experiment's file without running it
    Check {
        /// A file, or the name of an experiment that comes with the program
        experiment: String,
    },
    /// Compare policies on a trace: an experiment from flags instead of a file
    Compare(compare::CompareFlags),
    /// Replay a trace on your cluster as the policy of today would have run it, and say what others would change
    Replay(replay::ReplayFlags),
    /// Write the history of a live cluster as a trace for the lab
    Record(record::RecordFlags),
    /// Say what is in a trace: rows used, rows dropped and why, the mix of statuses, the load
    Import(import::ImportFlags),
    /// Make the report of a folder again from its tables
    Report {
        /// A folder that `faultline lab run` made
        #[arg(value_name = "DIR")]
        folder: std::path::PathBuf,
    },
    /// Compute published results again, and show both; exit code 5 when one differs
    Repro(repro::ReproFlags),
    /// List the formats of traces: their columns, and where such traces come from
    Formats,
    /// List what a policy is made of: placements, ties, orders, and ways to block
    Policies,
    /// List the experiments that come with the program, or print the file of one
    Presets {
        /// Print the file of this one
        name: Option<String>,
    },
    /// Fill a cluster with tasks that never end, and measure how much of its GPUs a policy can allocate
    Fill(fill::FillFlags),
    /// Run one scenario on a throwaway cluster and in the lab, and compare; exit code 5 when one figure differs
    CrossCheck(cross_check::CrossCheckFlags),
    /// Play recordings of what leaders were told to the same engine, and compare decision by decision
    ReplayDecisions(replay_decisions::ReplayFlags),
}

pub(crate) use record::run as record;

pub(crate) async fn run(out: &Output, command: &LabCommand) -> Result<(), Failure> {
    match command {
        LabCommand::Run(flags) => run::run(out, flags).await,
        LabCommand::Check { experiment } => run::check(out, experiment),
        LabCommand::Compare(flags) => compare::run(out, flags).await,
        LabCommand::Replay(flags) => replay::run(out, flags).await,
        // With a connection it is `record` that is called.
        LabCommand::Record(_) => Err(Failure::Usage("lab record reads a live cluster: say where it is with --nats-url".to_owned())),
        LabCommand::Import(flags) => import::run(out, flags),
        LabCommand::Report { folder } => report::run(out, folder),
        LabCommand::Repro(flags) => repro::run(out, flags),
        LabCommand::Formats => lists::formats(out),
        LabCommand::Policies => lists::policies(out),
        LabCommand::Presets { name } => lists::presets(out, name.as_deref()),
        LabCommand::Fill(flags) => fill::run(out, flags),
        LabCommand::CrossCheck(flags) => cross_check::run(out, flags).await,
        LabCommand::ReplayDecisions(flags) => replay_decisions::run(out, flags),
    }
}

#[cfg(test)]
mod tests;
