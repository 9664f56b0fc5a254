//! The `faultline` command: reads the command line, runs one command, turns its failure into an exit code.
//! Commands that ask or tell the running cluster something live in `commands`; those that run it, in `up` and beside it.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use faultline_runtime::telemetry;

/// A line on standard error. One that nobody can read is no reason to panic: the exit code tells what came of it.
macro_rules! note {
    ($($words:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

mod args;
mod chaos;
mod commands;
mod doctor;
mod examples;
mod exit;
mod interrupt;
mod manual;
mod nats_server;
mod output;
mod scenario;
mod session;
mod settings;
mod setup;
mod top;
mod up;

use args::{Cli, Command};
use exit::Failure;
use session::Session;

/// The whole command line, with examples in its help.
fn definition() -> clap::Command {
    /// A negative number is taken for a value, not for an unknown flag: the error then names the flag that it was meant for.
    fn with_negative_numbers(command: clap::Command) -> clap::Command {
        command.allow_negative_numbers(true).mut_subcommands(with_negative_numbers)
    }
    examples::add(with_negative_numbers(Cli::command()))
}

fn parse() -> Cli {
    let matches = definition().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(parse()).await {
        Ok(code) => code,
        Err(failure) => {
            note!("faultline: {}", output::printable(&failure.to_string(), false));
            failure.exit_code()
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    // These know nothing of settings: they must work, whatever a configuration file says.
    match &cli.command {
        Command::Guard { command } => return up::guard::run(command).await,
        Command::Doctor => return doctor::run(&cli).await.map(|()| ExitCode::SUCCESS),
        Command::Config(command) => return settings::run(&cli, command).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => return manual::completions(definition(), *shell).map(|()| ExitCode::SUCCESS),
        Command::Man { out } => return manual::pages(definition(), out.as_deref()).map(|()| ExitCode::SUCCESS),
        _ => {}
    }
    let session = Session::open(&cli)?;
    // `up` starts its own log, and `top` has the terminal for itself; other commands only report what goes wrong.
    let _log = (!matches!(cli.command, Command::Up(_) | Command::Top(_))).then(|| telemetry::init("faultline", &session.quiet_log()));
    match cli.command {
        Command::Up(flags) => up::run(&cli.common, &session, &flags).await?,
        Command::Down => up::remote::down(&session).await?,
        Command::Status => up::remote::status(&session).await?,
        Command::Scale { what, count } => up::remote::scale(&session, what, count).await?,
        Command::Kill { service, signal } => up::remote::kill(&session, service, signal).await?,
        Command::Link(flags) => up::link_command::run(&session, &flags).await?,
        Command::Setup(flags) => setup::command(&session, &flags).await?,
        Command::NatsConfig(flags) => nats_server::write_for_others(&flags)?,
        Command::Scenario(command) => scenario::command::run(&session, &command).await?,
        Command::Top(flags) => top::run(&session, &flags).await?,
        Command::Data(command) => commands::run(command, &session).await?,
        Command::Guard { .. } | Command::Doctor | Command::Config(_) | Command::Completions { .. } | Command::Man { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}
