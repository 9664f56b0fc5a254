//! The cluster of one scenario or demo: a `faultline up` of its own, with a folder and ports of its own, which nothing that runs elsewhere can see.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use faultline_client::observe::nodes_and_leader;
use faultline_protocol::messages::ProcessSignalled;
use faultline_runtime::clock::random_u128;
use faultline_runtime::config::Common;
use faultline_runtime::connect::{self, Nats};
use tokio::time::Instant;

use super::file::ClusterSettings;
use crate::error::Error;
use crate::experiment::fault::Fault;
use crate::experiment::picture::Picture;
use crate::nats_server::{find, keys};
use crate::up::own::OwnUp;
use crate::up::remote;
use crate::up::signal::KillSignal;
use crate::up::state::{self, RunningState};
use crate::up::supervisor::{State, is_running};

const START_LIMIT: Duration = Duration::from_secs(60);
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;

/// How the folders are called: what they are for, and the number of the process that made them, come behind it.
const FOLDER: &str = "faultline-";
const KEPT: &str = "faultline-kept-";
/// What the clusters are for, as the folders' names say.
const PURPOSES: [&str; 2] = ["scenario", "demo"];

/// Which cluster is wanted.
pub(crate) struct Wanted {
    /// One of [`PURPOSES`].
    pub(crate) purpose: &'static str,
    /// Flags of `up`, beside those that say where it lives.
    pub(crate) flags: Vec<String>,
    /// Its `faultline.toml`.
    pub(crate) config: &'static str,
    /// How many nodes make it whole.
    pub(crate) nodes: usize,
    /// Whether its folder outlives it.
    pub(crate) keep: bool,
}

/// It ends with the value, whatever happens.
pub struct OwnCluster {
    own: OwnUp,
    keep: bool,
    pub(crate) nats: Nats,
    up: RunningState,
}

impl OwnCluster {
    /// Starts it and waits until every node is alive.
    pub async fn start(settings: &ClusterSettings, seed: u64, keep: bool) -> Result<Self, Error> {
        let nodes = (settings.workers * settings.nodes_per_worker) as usize;
        Self::start_wanted(Wanted { purpose: "scenario", flags: flags(settings, seed), config: "", nodes, keep }).await
    }

    /// The same of any cluster.
    pub(crate) async fn start_wanted(wanted: Wanted) -> Result<Self, Error> {
        remove_abandoned();
        let Wanted { purpose, flags, config, nodes, keep } = wanted;
        let prefix = if keep { format!("{KEPT}{purpose}-") } else { format!("{FOLDER}{purpose}-{}-", std::process::id()) };
        let folder = tempfile::Builder::new().prefix(&prefix).disable_cleanup(keep).tempdir().context("making a temporary folder")?;
        let data_dir = folder.path().join("data");
        std::fs::write(folder.path().join("faultline.toml"), config).context("writing settings")?;
        let args = place(folder.path())?.into_iter().chain(flags).collect();
        let server = find::nats_server()?;
        let program = std::env::current_exe().context("finding this program")?;
        let started = Instant::now();
        let mut own = OwnUp::start(program, folder, args, Some(path_with(server.path.parent().unwrap_or(Path::new(".")))))?;
        let noted = async |own: &OwnUp| RunningState::read(&data_dir).filter(|state| state.pid == own.pid());
        let up = own.until(START_LIMIT, noted).await?;
        let common = Common { nats_url: up.nats_url.clone(), nkey_file: Some(keys::seed_path(&data_dir, "cli")), ..Common::default() };
        let nats = connect::connect_once(&common, "cli", &format!("faultline-{purpose}")).await.map_err(|error| anyhow!(error))?;
        let is_whole = |picture: &Picture| picture.nodes.len() == nodes && picture.unfit().is_none();
        let whole = async |_: &OwnUp| picture_of(&nats, &up).await.filter(is_whole);
        own.until(START_LIMIT.saturating_sub(started.elapsed()), whole).await?;
        Ok(Self { own, keep, nats, up })
    }

    /// What runs, as the scheduler and `up` see it; none while one of them does not answer.
    pub(crate) async fn picture(&self) -> Option<Picture> {
        picture_of(&self.nats, &self.up).await
    }

    /// Breaks something, and has it put right after `for_ms`.
    pub(crate) async fn inject(&self, fault: Fault, for_ms: u64, via: &str) -> Result<(), Error> {
        remote::inject(&self.up, fault, for_ms, via).await
    }

    /// Sends a signal to a process of it.
    pub(crate) async fn kill(&self, service: String, signal: KillSignal, via: &str) -> Result<ProcessSignalled, Error> {
        remote::kill(&self.up, service, signal, via).await
    }

    /// Where its page is, if it has one.
    pub fn dashboard_url(&self) -> Option<&str> {
        self.up.dashboard_url.as_deref()
    }

    /// Stops everything and removes the folder, or says where it is when it shall be kept.
    pub async fn stop(mut self) -> Option<PathBuf> {
        self.nats.clone().close().await;
        self.own.stop().await;
        self.keep.then(|| self.own.folder().to_owned())
    }
}

async fn picture_of(nats: &Nats, up: &RunningState) -> Option<Picture> {
    let (nodes, leader) = nodes_and_leader(nats).await?;
    let (_, services) = remote::status(up).await.ok()?;
    let services = services.into_iter().map(|child| (child.name, child.state == State::Running)).collect();
    Some(Picture::new(&nodes, &leader, services))
}

/// Folders of runs that were killed: no other process removes them. One whose cluster still winds up is left for the next time.
fn remove_abandoned() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(pid_in);
        if pid.is_some_and(|pid| !is_running(pid)) && state::holder(&entry.path().join("data")).is_none() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// The process that made a folder of this name.
fn pid_in(name: &str) -> Option<u32> {
    let (purpose, rest) = name.strip_prefix(FOLDER)?.split_once('-')?;
    PURPOSES.contains(&purpose).then(|| rest.split_once('-')?.0.parse().ok()).flatten()
}

/// Where a cluster lives.
fn place(folder: &Path) -> Result<Vec<String>, Error> {
    let pairs = [
        ("--data-dir", folder.join("data").display().to_string()),
        ("--log-dir", folder.join("logs").display().to_string()),
        ("--color", "never".to_owned()),
        ("--nats-port", free_port()?.to_string()),
    ];
    Ok(pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect())
}

fn flags(settings: &ClusterSettings, seed: u64) -> Vec<String> {
    let pairs = [
        ("--workers", settings.workers.to_string()),
        ("--nodes-per-worker", settings.nodes_per_worker.to_string()),
        ("--schedulers", settings.schedulers.to_string()),
        ("--faults", settings.faults.as_str().to_owned()),
        ("--detector", settings.detector.as_str().to_owned()),
        ("--policy", settings.policy.as_str().to_owned()),
        ("--seed", seed.to_string()),
    ];
    let switches = ["--no-generator", "--no-dashboard"].into_iter().chain(settings.no_detector.then_some("--no-detector"));
    pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).chain(switches.map(str::to_owned)).collect()
}

/// The server that was found here must be found there, too.
fn path_with(folder: &Path) -> OsString {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let rest = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&rest))).unwrap_or(rest)
}

/// A port below those that the system gives to outgoing connections: no other program takes it while the server is down for an experiment.
fn free_port() -> anyhow::Result<u16> {
    (0..100)
        .map(|_| FIRST_PORT + (random_u128() % u128::from(PORTS)) as u16)
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .context("no free port on the loopback")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_clusters_that_nobody_keeps_are_removed() {
        assert_eq!((pid_in("faultline-scenario-12-aB3"), pid_in("faultline-demo-345-x")), (Some(12), Some(345)));
        for name in ["faultline-kept-scenario-x7", "faultline-browser.Zz", "faultline-17.sock", "faultline-demo-x-1", "other-demo-12-x"] {
            assert_eq!(pid_in(name), None, "{name}");
        }
    }
}
