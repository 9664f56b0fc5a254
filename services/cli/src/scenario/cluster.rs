//! The cluster of one scenario: a `faultline up` of its own as a child, with a folder and ports of its own, which nothing that runs
//! elsewhere can see. It ends with the value, whatever happens.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow};
use faultline_runtime::clock::random_u128;
use faultline_runtime::config::Common;
use faultline_runtime::connect::{self, Nats};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::file::ClusterSettings;
use crate::args::word;
use crate::chaos::picture::Picture;
use crate::chaos::watch::nodes_and_leader;
use crate::exit::Failure;
use crate::nats_server::{find, keys};
use crate::up::control::{self, Order, Reply};
use crate::up::state::{self, RunningState};
use crate::up::supervisor::{State, is_running};

const START_LIMIT: Duration = Duration::from_secs(60);
/// `up` stops in order within 5 s; then it is killed, and its children end with it.
const STOP_LIMIT: Duration = Duration::from_secs(10);
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;
const POLL: Duration = Duration::from_millis(50);
/// The last lines of the log that are shown when it does not start.
const LOG_TAIL: usize = 15;

/// How the folders are called, with the number of the process that made them behind it.
const FOLDER: &str = "faultline-scenario-";
const KEPT: &str = "faultline-kept-scenario-";

/// The child and its folder.
pub(crate) struct OwnCluster {
    child: Child,
    /// Goes with the value, unless it shall be kept.
    folder: TempDir,
    keep: bool,
    pub(crate) nats: Nats,
    socket: PathBuf,
}

impl OwnCluster {
    /// Starts it and waits until every node is alive.
    pub(crate) async fn start(settings: &ClusterSettings, seed: u64, keep: bool) -> Result<Self, Failure> {
        remove_abandoned();
        let prefix = if keep { KEPT.to_owned() } else { format!("{FOLDER}{}-", std::process::id()) };
        let folder = tempfile::Builder::new().prefix(&prefix).disable_cleanup(keep).tempdir().context("making a temporary folder")?;
        let mut child = command(settings, seed, folder.path())?.spawn().context("starting `faultline up`")?;
        let deadline = Instant::now() + START_LIMIT;
        let data_dir = folder.path().join("data");
        let state = loop {
            match RunningState::read(&data_dir) {
                Some(state) if Some(state.pid) == child.id() => break state,
                _ => still_starting(&mut child, deadline, folder.path()).await?,
            }
        };
        let common = Common { nats_url: state.nats_url, nkey_file: Some(keys::seed_path(&data_dir, "cli")), ..Common::default() };
        let nats = connect::connect_once(&common, "cli", "faultline-scenario").await.map_err(|error| anyhow!(error))?;
        let own = Self { child, folder, keep, nats, socket: state.control_socket };
        own.wait_until_whole(settings, deadline).await
    }

    async fn wait_until_whole(mut self, settings: &ClusterSettings, deadline: Instant) -> Result<Self, Failure> {
        let nodes = (settings.workers * settings.nodes_per_worker) as usize;
        loop {
            if let Some(picture) = self.picture().await
                && picture.nodes.len() == nodes
                && picture.unfit().is_none()
            {
                return Ok(self);
            }
            still_starting(&mut self.child, deadline, self.folder.path()).await?;
        }
    }

    /// What runs, as the scheduler and `up` see it; none while one of them does not answer.
    pub(crate) async fn picture(&self) -> Option<Picture> {
        let (nodes, leader) = nodes_and_leader(&self.nats).await?;
        let Ok(Reply::Status { services, .. }) = control::ask(&self.socket, &Order::Status).await else { return None };
        let services = services.into_iter().map(|child| (child.name, child.state == State::Running)).collect();
        Some(Picture::new(&nodes, &leader, services))
    }

    /// Tells `up` to do something.
    pub(crate) async fn order(&self, order: &Order) -> Result<(), String> {
        match control::ask(&self.socket, order).await {
            Ok(Reply::Done) => Ok(()),
            Ok(Reply::NotFound { reason } | Reply::Failed { reason }) => Err(reason),
            Ok(_) => Err("`up` gave another answer than was asked for".into()),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    /// Stops everything and removes the folder, or says where it is when it shall be kept.
    pub(crate) async fn stop(mut self) -> Option<PathBuf> {
        self.nats.clone().close().await;
        // Its standard input ends: `--stop-with-parent` takes that for an order.
        drop(self.child.stdin.take());
        if tokio::time::timeout(STOP_LIMIT, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        self.keep.then(|| self.folder.path().to_owned())
    }
}

/// Folders of runs that were killed: nobody else comes back to them. One whose cluster still winds up is left for the next time.
fn remove_abandoned() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(FOLDER)?.split_once('-')?.0.parse().ok());
        if pid.is_some_and(|pid| !is_running(pid)) && state::holder(&entry.path().join("data")).is_none() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn command(settings: &ClusterSettings, seed: u64, folder: &std::path::Path) -> Result<Command, Failure> {
    let port = free_port()?;
    let server = find::nats_server()?;
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.arg("--data-dir").arg(folder.join("data")).arg("--log-dir").arg(folder.join("logs"));
    command.args(["--color", "never", "--stop-with-parent", "up", "--no-generator", "--no-dashboard"]);
    for (flag, value) in [
        ("--workers", settings.workers.to_string()),
        ("--nodes-per-worker", settings.nodes_per_worker.to_string()),
        ("--schedulers", settings.schedulers.to_string()),
        ("--faults", settings.faults.as_str().to_owned()),
        ("--detector", word(&settings.detector)),
        ("--policy", word(&settings.policy)),
        ("--seed", seed.to_string()),
        ("--nats-port", port.to_string()),
    ] {
        command.args([flag, &value]);
    }
    if settings.no_detector {
        command.arg("--no-detector");
    }
    // Neither this folder's settings nor the environment's are the scenario's.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FAULTLINE_") && name != "FAULTLINE_BIN_DIR" {
            command.env_remove(name);
        }
    }
    command.env("PATH", path_with(server.path.parent().unwrap_or(std::path::Path::new("."))));
    let log = std::fs::File::create(folder.join("up.log")).context("making a log file")?;
    command.current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
    // Ctrl-C must reach this process alone, which then stops the child in order.
    command.process_group(0).kill_on_drop(true);
    Ok(command)
}

/// The server that was found here must be found there, too.
fn path_with(folder: &std::path::Path) -> OsString {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let rest = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&rest))).unwrap_or(rest)
}

/// A port below those that the system gives to outgoing connections: nobody takes it while the server is down for an experiment.
fn free_port() -> anyhow::Result<u16> {
    (0..100)
        .map(|_| FIRST_PORT + (random_u128() % u128::from(PORTS)) as u16)
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .context("no free port on the loopback")
}

async fn still_starting(child: &mut Child, deadline: Instant, folder: &std::path::Path) -> Result<(), Failure> {
    let tail = || {
        let log = std::fs::read_to_string(folder.join("up.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
    };
    if let Ok(Some(status)) = child.try_wait() {
        return Err(Failure::Failed(anyhow!("the scenario's cluster did not start ({status}):\n{}", tail())));
    }
    if Instant::now() >= deadline {
        let seconds = START_LIMIT.as_secs();
        return Err(Failure::Failed(anyhow!("the scenario's cluster was not whole within {seconds} s:\n{}", tail())));
    }
    tokio::time::sleep(POLL).await;
    Ok(())
}
