//! Commands that ask or tell the running cluster something. Each file holds one group: its flags, the work, the table.
//! Running the cluster itself (`up`, `scale`, `setup`, ...) is not here.

use clap::Subcommand;

use crate::chaos::args::ChaosCommand;
use crate::exit::Failure;
use crate::output::Output;
use crate::session::Session;
use crate::up::remote;
use ask::Link;

pub(crate) mod ask;
pub(crate) mod audit;
mod audit_check;
mod audit_watch;
pub(crate) mod control;
mod decode;
mod events;
pub(crate) mod faults;
mod jobs;
pub(crate) mod nodes;
pub(crate) mod parse;
pub(crate) mod read;
mod submit;
mod wait;

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Submit jobs
    Submit(submit::SubmitFlags),
    /// List jobs, the newest first: active ones, and those that ended in the last ten minutes
    Jobs(jobs::JobsFlags),
    /// Show one job's path: every attempt with its node, times and outcome
    Job {
        #[arg(value_parser = parse::job_id)]
        id: faultline_engine::job::JobId,
    },
    /// List the nodes
    Nodes,
    /// Show one node
    Node {
        #[arg(value_parser = parse::node_name)]
        name: String,
    },
    /// Show what happened in the last hour, or what happens
    Events(events::EventsFlags),
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
        #[arg(value_parser = parse::node_name)]
        node: String,
        /// Why; shown wherever the node is
        #[arg(long, default_value = "drained by an operator")]
        reason: String,
    },
    /// Take a drained node back into service
    Undrain {
        #[arg(value_parser = parse::node_name)]
        node: String,
    },
    /// Break a simulated node, or one of its GPUs, on purpose
    Fault(faults::FaultFlags),
    /// List the faults that can be ordered: what each means, does here, and what an operator does about it
    Faults,
    /// Break something on purpose, watch, put it right, judge
    #[command(subcommand)]
    Chaos(ChaosCommand),
    /// Turn MessagePack on standard input into JSON: nats sub 'job.>' --translate 'faultline decode'
    Decode,
    /// Check that no job was lost and none ended twice; exit code 5 when the books do not balance
    Audit(audit::AuditFlags),
}

/// Runs one command. Data goes to standard output; a failure is returned, not printed.
pub(crate) async fn run(command: DataCommand, session: &Session) -> Result<(), Failure> {
    // Those that need no cluster.
    match command {
        DataCommand::Decode => return decode::run(&Output::new(session.format, session.common.color)),
        DataCommand::Faults => return faults::catalogue(&Output::new(session.format, session.common.color)),
        _ => {}
    }
    // Nonsense is refused whether or not there is a cluster.
    match &command {
        DataCommand::Submit(flags) => flags.check()?,
        DataCommand::Rate(command) => drop(command.wanted()?),
        DataCommand::Fault(flags) => flags.check()?,
        _ => {}
    }
    if let (DataCommand::Chaos(ChaosCommand::Abort), Some(up)) = (&command, remote::here(session)) {
        return crate::chaos::command::abort_here(&up).await;
    }
    let link = Link::open(session).await?;
    let done = dispatch(command, &link).await;
    link.nats.close().await;
    done
}

async fn dispatch(command: DataCommand, link: &Link) -> Result<(), Failure> {
    match command {
        DataCommand::Submit(flags) => submit::run(link, &flags).await,
        DataCommand::Jobs(flags) => jobs::list(link, &flags).await,
        DataCommand::Job { id } => jobs::show(link, id).await,
        DataCommand::Nodes => nodes::list(link).await,
        DataCommand::Node { name } => nodes::show(link, &name).await,
        DataCommand::Events(flags) => events::run(link, &flags).await,
        DataCommand::Rate(command) => control::rate(link, &command).await,
        DataCommand::Mix(command) => control::mix(link, command).await,
        DataCommand::Cancel(flags) => control::cancel(link, &flags).await,
        DataCommand::Drain { node, reason } => nodes::drain(link, &node, reason).await,
        DataCommand::Undrain { node } => nodes::undrain(link, &node).await,
        DataCommand::Fault(flags) => faults::order(link, &flags).await,
        DataCommand::Chaos(command) => crate::chaos::command::run(link, command).await,
        DataCommand::Audit(flags) => audit::run(link, &flags).await,
        DataCommand::Decode | DataCommand::Faults => Ok(()),
    }
}
