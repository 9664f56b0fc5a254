//! The `faultline` command: reads the command line, runs one command, turns its failure into an exit code.
//! Commands are sorted by what they need: a cluster (`commands`), the `up` of this machine (`local`), or neither (`offline`).

#![deny(clippy::print_stdout, reason = "it panics when the reader has gone: `output::Output` does not")]

use std::process::ExitCode;

use clap::FromArgMatches;

/// A line on standard error. A closed standard error must not cause a panic: the exit code tells what came of it.
macro_rules! note {
    ($($words:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

mod chaos;
mod command_line;
mod commands;
mod demo;
mod doctor;
mod examples;
mod exit;
mod glossary;
mod interrupt;
mod lab;
mod local;
mod manual;
mod nats_config;
mod offline;
mod options;
mod output;
mod scenario;
mod session;
mod settings;
mod setup;
mod top;
mod up_flags;
mod whole_file;

use command_line::{Cli, Command};
use exit::Failure;
use session::Session;

fn parse() -> Cli {
    let matches = command_line::definition().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(parse()).await {
        Ok(code) => code,
        Err(failure @ Failure::ReaderGone) => failure.exit_code(),
        Err(failure) => {
            note!("faultline: {}", output::printable(&failure.to_string(), false));
            failure.exit_code()
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let Cli { options, command } = cli;
    match command {
        Command::Offline(command) => return offline::run(command, &options, command_line::whole).await,
        Command::Local(command) => local::run(command, &options, &Session::begin(&options)?).await?,
        Command::Cluster(command) => commands::run(command, &Session::begin(&options)?).await?,
    }
    Ok(ExitCode::SUCCESS)
}
