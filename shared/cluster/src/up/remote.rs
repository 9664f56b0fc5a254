//! The running `up` as other processes of this machine reach it: where it is, and what it is asked, over its socket.

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use faultline_protocol::messages::ProcessSignalled;
use faultline_proxy::LinkConditions;
use tokio::time::Instant;

use super::links::LinkStatus;
use super::orders::{self, Order, Reply};
use super::signal::KillSignal;
use super::state::{self, RunningState};
use super::supervisor::{ChildStatus, Signal, send_signal};
use crate::error::Error;
use crate::experiment::fault::Fault;

const STOP_LIMIT: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_millis(25);

/// Where the `up` of this data folder is to be found.
pub fn running(data_dir: &Path) -> Result<RunningState, Error> {
    state::check_access(data_dir)?;
    let nothing = || Error::NotFound(format!("no `faultline up` runs on the data folder {}", data_dir.display()));
    let pid = state::holder(data_dir).ok_or_else(nothing)?;
    // While it starts, the note is still the last one's, or not there.
    let state = RunningState::read(data_dir).filter(|state| state.pid == pid);
    state.ok_or_else(|| Error::Failed(anyhow!("`faultline up` (process {pid}) is still starting, or stopping: try again")))
}

/// Stops the `up` of this data folder and waits until it has ended. False when none runs.
pub async fn stop(data_dir: &Path) -> Result<bool, Error> {
    state::check_access(data_dir)?;
    let Some(pid) = state::holder(data_dir) else { return Ok(false) };
    send_signal(pid, Signal::TERM);
    let deadline = Instant::now() + STOP_LIMIT;
    while state::holder(data_dir).is_some() {
        if Instant::now() >= deadline {
            return Err(Error::Failed(anyhow!("process {pid} did not stop within {} s", STOP_LIMIT.as_secs())));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(true)
}

/// How long it has run, in seconds, and its processes.
pub async fn status(up: &RunningState) -> Result<(u64, Vec<ChildStatus>), Error> {
    match ask(up, &Order::Status).await? {
        Reply::Status { uptime_s, services } => Ok((uptime_s, services)),
        _ => Err(unexpected()),
    }
}

/// Changes how many workers run, once that is done. Returns the names of those that were started and of those that were stopped.
pub async fn scale(up: &RunningState, workers: u32) -> Result<(Vec<String>, Vec<String>), Error> {
    match ask(up, &Order::Scale { workers }).await? {
        Reply::Scaled { started, stopped } => Ok((started, stopped)),
        _ => Err(unexpected()),
    }
}

/// Sends a signal to a process. `via` names the command that asks.
pub async fn kill(up: &RunningState, service: String, signal: KillSignal, via: &str) -> Result<ProcessSignalled, Error> {
    match ask(up, &Order::Kill { service, signal, via: via.to_owned() }).await? {
        Reply::Signalled { told } => Ok(told),
        _ => Err(unexpected()),
    }
}

/// The services' links.
pub async fn links(up: &RunningState) -> Result<Vec<LinkStatus>, Error> {
    match ask(up, &Order::Links).await? {
        Reply::Links { links } => Ok(links),
        _ => Err(unexpected()),
    }
}

/// Changes what a service's link is like.
pub async fn link(up: &RunningState, service: String, conditions: LinkConditions) -> Result<(), Error> {
    done(ask(up, &Order::Link { service, conditions }).await?)
}

/// Ends the experiment that runs, or only this one; returns its name.
pub async fn abort(up: &RunningState, run: Option<String>) -> Result<String, Error> {
    match ask(up, &Order::Abort { run }).await? {
        Reply::Aborting { run } => Ok(run),
        _ => Err(unexpected()),
    }
}

/// Breaks something for a time. `via` names the command that asks.
pub(crate) async fn inject(up: &RunningState, fault: Fault, for_ms: u64, via: &str) -> Result<(), Error> {
    done(ask(up, &Order::Inject { fault, for_ms, via: via.to_owned() }).await?)
}

fn done(reply: Reply) -> Result<(), Error> {
    if reply == Reply::Done { Ok(()) } else { Err(unexpected()) }
}

fn unexpected() -> Error {
    Error::Failed(anyhow!("unexpected reply from `faultline up` (different version?)"))
}

/// Sends an order; a refusal is an error with the reason.
async fn ask(up: &RunningState, order: &Order) -> Result<Reply, Error> {
    match orders::ask(&up.control_socket, order).await? {
        Reply::NotFound { reason } => Err(Error::NotFound(reason)),
        Reply::Failed { reason } => Err(Error::Failed(anyhow!(reason))),
        reply => Ok(reply),
    }
}
