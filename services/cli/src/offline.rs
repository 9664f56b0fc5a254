//! Commands that need no cluster. Those that need no settings either must work whatever a configuration file says.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use faultline_cluster::up::guard;

use crate::commands::{decode, faults, link};
use crate::demo::{self, DemoFlags};
use crate::exit::Failure;
use crate::lab::{self, LabCommand};
use crate::nats_config::{self, NatsConfigFlags};
use crate::options::{self, Options};
use crate::output::Output;
use crate::scenario::{self, ScenarioCommand};
use crate::session::Session;
use crate::settings::{self, ConfigCommand};
use crate::{doctor, glossary, manual};

#[derive(Debug, Subcommand)]
pub(crate) enum OfflineCommand {
    /// Watch a throwaway cluster of 64 nodes break and recover: a rack, the leader, NATS, and then what you kill
    Demo(DemoFlags),
    /// Run a scenario on a throwaway cluster and check its assertions
    #[command(subcommand)]
    Scenario(ScenarioCommand),
    /// Experiments in virtual time, and with the planner alone; only `lab record` needs a cluster
    #[command(subcommand)]
    Lab(LabCommand),
    /// List the faults: what each means, what it does here, and what an operator does about it
    Faults,
    /// Check everything that a cluster needs, with the remedy for what is wrong; exit code 5 when a check failed, 3 without NATS
    Doctor,
    /// Show effective settings and where they come from, or check a file
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write a configuration and users' keys for your own nats-server
    NatsConfig(NatsConfigFlags),
    /// Turn MessagePack on standard input into JSON: nats sub 'job.>' --translate 'faultline decode'
    Decode,
    /// Print the meaning of Faultline's terms
    #[command(long_about = crate::glossary::text())]
    Glossary,
    #[command(about = options::ABOUT)]
    Options,
    /// Print a script that lets a shell complete commands and flags
    Completions {
        /// The shell to print it for
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print this program's manual page, or write the pages of all commands
    Man {
        /// Folder for all pages; made when it is not there
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Run a command until it ends or standard input does
    #[command(hide = true)]
    Guard {
        /// The guard's process id, for the process that becomes the command
        #[arg(long, value_name = "PID")]
        child_of: Option<u32>,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

/// `whole`: the command line with everything in it.
pub(crate) async fn run(command: OfflineCommand, options: &Options, whole: fn() -> clap::Command) -> Result<ExitCode, Failure> {
    let out = |session: &Session| Output::new(session.format, session.common.color);
    match command {
        OfflineCommand::Demo(flags) => {
            let session = Session::begin(options)?;
            let played = demo::run(&session, &flags);
            // A log would run into the captions, and what is wrong is in them.
            if flags.headless { session.logged(played).await? } else { played.await? }
        }
        OfflineCommand::Scenario(command) => {
            let session = Session::begin(options)?;
            session.logged(scenario::run(&session, &command)).await?;
        }
        OfflineCommand::Lab(LabCommand::Record(flags)) => {
            let session = Session::begin(options)?;
            session.logged(link::with(&session, async |link| lab::record(link, &flags).await)).await?;
        }
        OfflineCommand::Lab(command) => lab::run(&out(&Session::begin(options)?), &command).await?,
        OfflineCommand::Faults => faults::catalogue(&out(&Session::begin(options)?))?,
        OfflineCommand::Doctor => doctor::run(options).await?,
        OfflineCommand::Config(command) => settings::run(options, &command)?,
        OfflineCommand::NatsConfig(flags) => {
            nats_config::run(&Session::begin(options)?, &flags)?;
        }
        OfflineCommand::Decode => decode::run(&out(&Session::begin(options)?))?,
        OfflineCommand::Glossary => glossary::print()?,
        OfflineCommand::Options => options::print()?,
        OfflineCommand::Completions { shell } => manual::completions(whole(), shell)?,
        OfflineCommand::Man { out } => manual::pages(whole(), out.as_deref())?,
        OfflineCommand::Guard { child_of: None, command } => return Ok(guard::run(&command).await?),
        OfflineCommand::Guard { child_of: Some(guard), command } => return Err(guard::become_command(guard, &command).into()),
    }
    Ok(ExitCode::SUCCESS)
}
