//! Commands that need the `up` of this machine: they start it, or talk to it over the socket in its data folder.

pub(crate) mod kill;
mod link;
mod record;
mod scale;
mod status;
mod up;

use clap::Subcommand;
use faultline_cluster::up::remote;

use crate::exit::Failure;
use crate::options::Options;
use crate::session::Session;
use crate::up_flags::UpFlags;

#[derive(Debug, Subcommand)]
pub(crate) enum LocalCommand {
    /// Run the whole cluster until Ctrl-C: NATS server, services and workers
    Up(UpFlags),
    /// Stop the cluster that `up` runs
    Down,
    /// Show what `up` runs
    Status,
    /// Change the number of workers; leaving ones finish their jobs first
    Scale(scale::ScaleFlags),
    /// Send a signal to one process of the running cluster, to see what happens
    Kill(kill::KillFlags),
    /// Show or break the network between services and NATS: cut, stall, delay, limit, loss, heal
    Link(link::LinkFlags),
    /// Write the last minutes of the dashboard into one HTML file: it shows them anywhere, without a network
    Record(record::RecordFlags),
}

pub(crate) async fn run(command: LocalCommand, options: &Options, session: &Session) -> Result<(), Failure> {
    match command {
        // It has a log of its own.
        LocalCommand::Up(flags) => up::run(options, session, &flags).await,
        LocalCommand::Down => session.logged(down(session)).await,
        LocalCommand::Status => session.logged(status::run(session)).await,
        LocalCommand::Scale(flags) => session.logged(scale::run(session, &flags)).await,
        LocalCommand::Kill(flags) => session.logged(kill::run(session, flags)).await,
        LocalCommand::Link(flags) => session.logged(link::run(session, &flags)).await,
        LocalCommand::Record(flags) => session.logged(record::run(session, &flags)).await,
    }
}

/// Also fine when nothing runs.
async fn down(session: &Session) -> Result<(), Failure> {
    match remote::stop(&session.data_dir).await? {
        true => note!("stopped"),
        false => note!("nothing runs on {}", session.data_dir.display()),
    }
    Ok(())
}
