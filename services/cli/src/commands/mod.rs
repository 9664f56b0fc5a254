//! Commands that need a cluster: they ask or tell it something over NATS. Each file holds one group: its flags, the work, the table.

pub(crate) mod absence;
mod audit;
mod audit_watch;
mod causes;
pub(crate) mod control;
pub(crate) mod decode;
mod events;
mod explain;
pub(crate) mod faults;
mod goodput;
mod ids;
pub(crate) mod incidents;
mod job;
mod jobs;
pub(crate) mod link;
pub(crate) mod nodes;
pub(crate) mod parse;
mod report;
mod resubmit;
mod submit;
mod wait;
mod what_if;

use clap::Subcommand;

use crate::chaos;
use crate::chaos::args::ChaosCommand;
use crate::exit::Failure;
use crate::session::Session;
use crate::setup::{self, SetupFlags};
use crate::top::{self, TopFlags};
use link::Link;

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Submit jobs
    Submit(submit::SubmitFlags),
    /// List jobs, the newest first: active ones, and those that ended in the last ten minutes
    Jobs(jobs::JobsFlags),
    /// Show one job: what was submitted, how it stands, and every attempt with its node, times and outcome
    Job {
        /// The job's id, or at least 8 characters from its beginning or end
        #[arg(value_parser = parse::job_ref)]
        id: faultline_engine::job::JobRef,
    },
    /// Explain why a job waits, or runs where it does: the nodes that refuse it, its place in the order, and what was second best
    Explain {
        /// The job's id, or at least 8 characters from its beginning or end
        #[arg(value_parser = parse::job_ref)]
        id: faultline_engine::job::JobRef,
    },
    /// Say whether jobs would start now, where, and what is in the way, without submitting any; exit code 5 when not all would
    WouldFit(explain::WouldFitFlags),
    /// Place the jobs that run and wait now by other policies, in this process, and compare; changes nothing
    WhatIf(what_if::WhatIfFlags),
    /// Submit a job once more: a new job with the same parameters, demand and limits
    Resubmit(resubmit::ResubmitFlags),
    /// List the nodes
    Nodes,
    /// Show one node
    Node {
        /// Its name in `faultline nodes`, such as gpu-node-03
        #[arg(value_parser = parse::node_name)]
        name: String,
    },
    /// Show what happened in the last hour, or what happens
    Events(events::EventsFlags),
    /// Show what failed in the last hour, by cause: how it was noticed, where the work went, and that nothing was lost
    Incidents(incidents::IncidentsFlags),
    /// Show where GPU time went in the last hour: committed, lost and why, broken, or free and why; and what failures cost
    Goodput(goodput::GoodputFlags),
    /// Write a post-mortem of an incident or of an experiment
    Report(report::ReportFlags),
    /// Show or change how many jobs a minute are generated
    #[command(subcommand)]
    Rate(control::RateCommand),
    /// Show or change the kinds of generated jobs
    #[command(subcommand)]
    Mix(control::MixCommand),
    /// Cancel jobs
    Cancel(control::CancelFlags),
    /// Place nothing new on a node
    Drain {
        /// Its name in `faultline nodes`, such as gpu-node-03
        #[arg(value_parser = parse::node_name)]
        node: String,
        /// Why; shown wherever the node is
        #[arg(long, default_value = "drained by an operator")]
        reason: String,
    },
    /// Take a drained node back into service
    Undrain {
        /// Its name in `faultline nodes`, such as gpu-node-03
        #[arg(value_parser = parse::node_name)]
        node: String,
    },
    /// Inject a fault into a simulated node or one of its GPUs
    Fault(faults::FaultFlags),
    /// Run experiments: inject a fault, watch, repair, check a hypothesis
    #[command(subcommand)]
    Chaos(ChaosCommand),
    /// Check that no job was lost and none ended twice; exit code 5 when a check fails
    Audit(audit::AuditFlags),
    /// Watch nodes and jobs live, and act on them; `?` lists the keys
    Top(TopFlags),
    /// Create streams, consumers, and buckets on an existing NATS server; can be repeated
    Setup(SetupFlags),
}

/// Runs one command. Data goes to standard output; a failure is returned, not printed.
pub(crate) async fn run(command: ClusterCommand, session: &Session) -> Result<(), Failure> {
    match command {
        // It has the terminal for itself.
        ClusterCommand::Top(flags) => top::run(session, &flags).await,
        ClusterCommand::Setup(flags) => session.logged(setup::run(session, &flags)).await,
        ClusterCommand::Chaos(command) => session.logged(chaos::command::run(session, command)).await,
        // Nonsense is refused whether or not there is a cluster.
        ClusterCommand::Submit(flags) => {
            flags.check()?;
            on_link(session, async |link| submit::run(link, &flags).await).await
        }
        ClusterCommand::Rate(command) => {
            command.wanted()?;
            on_link(session, async |link| control::rate(link, &command).await).await
        }
        ClusterCommand::Fault(flags) => {
            flags.check()?;
            on_link(session, async |link| faults::order(link, &flags).await).await
        }
        ClusterCommand::WouldFit(flags) => {
            let query = flags.query()?;
            on_link(session, async |link| explain::would_fit(link, query.clone()).await).await
        }
        ClusterCommand::WhatIf(flags) => on_link(session, async |link| what_if::run(link, &flags).await).await,
        ClusterCommand::Explain { id } => on_link(session, async |link| explain::explain(link, &id).await).await,
        ClusterCommand::Jobs(flags) => on_link(session, async |link| jobs::list(link, &flags).await).await,
        ClusterCommand::Job { id } => on_link(session, async |link| job::show(link, &id).await).await,
        ClusterCommand::Resubmit(flags) => on_link(session, async |link| resubmit::run(link, &flags).await).await,
        ClusterCommand::Nodes => on_link(session, async |link| nodes::list(link).await).await,
        ClusterCommand::Node { name } => on_link(session, async |link| nodes::show(link, &name).await).await,
        ClusterCommand::Events(flags) => on_link(session, async |link| events::run(link, &flags).await).await,
        ClusterCommand::Incidents(flags) => on_link(session, async |link| incidents::run(link, &flags).await).await,
        ClusterCommand::Goodput(flags) => {
            flags.check()?;
            on_link(session, async |link| goodput::run(link, &flags).await).await
        }
        ClusterCommand::Report(flags) => on_link(session, async |link| report::run(link, &flags).await).await,
        ClusterCommand::Mix(command) => on_link(session, async |link| control::mix(link, command).await).await,
        ClusterCommand::Cancel(flags) => on_link(session, async |link| control::cancel(link, &flags).await).await,
        ClusterCommand::Drain { node, reason } => on_link(session, async |link| nodes::drain(link, &node, reason).await).await,
        ClusterCommand::Undrain { node } => on_link(session, async |link| nodes::undrain(link, &node).await).await,
        ClusterCommand::Audit(flags) => on_link(session, async |link| audit::run(link, &flags).await).await,
    }
}

async fn on_link(session: &Session, work: impl AsyncFnOnce(&Link) -> Result<(), Failure>) -> Result<(), Failure> {
    session.logged(link::with(session, work)).await
}
