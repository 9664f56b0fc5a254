//! The NATS servers of `up`: their ports, their files, their start.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use faultline_runtime::connect::{self, ConnectError, Nats};
use tokio::time::Instant;

use super::caretaker::OwnServer;
use super::cluster::Cluster;
use super::ports::{self, Port};
use super::services::{self, Plan};
use super::settings::{NatsPorts, UpSettings};
use super::state::RunningState;
use crate::error::Error;
use crate::nats_server::files::{self, Layout};
use crate::nats_server::find::{self, ServerBinary};
use crate::nats_server::former_store;
use crate::nats_server::keys;
use crate::nats_server::member::Member;
use crate::nats_server::permissions::ADMIN;

/// After a kill -9 of `up`, its children notice within this time.
const ORPHANS_LIMIT: Duration = Duration::from_secs(6);
/// A server with a large store reads it before it answers.
const SERVER_START_LIMIT: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_millis(25);

/// The NATS servers that `up` runs by itself.
pub(crate) struct OwnServers {
    binary: ServerBinary,
    pub(crate) ports: NatsPorts,
}

impl OwnServers {
    pub(crate) fn find(settings: &UpSettings) -> Result<Self, Error> {
        let ports = settings.nats_ports().context("ports for the NATS servers")?;
        Ok(Self { binary: find::nats_server()?, ports })
    }

    fn names(&self) -> Vec<String> {
        let count = self.ports.clients.len() as u32;
        (1..=count).map(|number| services::nats_name(number, count)).collect()
    }

    pub(crate) fn list(&self) -> Vec<OwnServer> {
        self.names().into_iter().zip(&self.ports.clients).map(|(name, &port)| OwnServer { name, port }).collect()
    }
}

/// Refuses ports that are in use, before anything is started.
pub(crate) async fn check_ports(settings: &UpSettings, own: Option<&OwnServers>) -> Result<(), Error> {
    let nats = own.iter().flat_map(|own| own.ports.all());
    let mut ports: Vec<Port> = nats.map(|number| Port { number, purpose: "the NATS server", flag: "--nats-port" }).collect();
    if !settings.no_dashboard {
        ports.push(Port { number: settings.dashboard_port, purpose: "the dashboard", flag: "--dashboard-port" });
    }
    // The note is removed by an orderly stop.
    let patience = if RunningState::read(&settings.data_dir).is_some() { ORPHANS_LIMIT } else { Duration::ZERO };
    ports::check_all(&ports, patience).await
}

/// Starts them and waits until they answer.
pub(crate) async fn start_servers(plan: &Plan, own: &OwnServers, cluster: &Cluster) -> Result<Nats, Error> {
    let settings = &plan.settings;
    let names = own.names();
    let own_program: PathBuf = std::env::current_exe().context("finding this program")?;
    let layout = Layout::together(&settings.data_dir)?;
    for (index, (name, &port)) in names.iter().zip(&own.ports.clients).enumerate() {
        let member = own.ports.routes.get(index).map(|_| Member::on_loopback(index, &own.ports.routes));
        adopt_former_store(&settings.data_dir, &layout, member.as_ref()).await?;
        let config = files::prepare(&layout, (Ipv4Addr::LOCALHOST.into(), port), settings.sync, member.as_ref(), None)?;
        for change in &config.changes {
            tracing::info!("{name} starts with another setting than the last time: {change}");
        }
        tracing::info!(version = %own.binary.version, binary = %own.binary.path.display(), port, "starting nats-server");
        cluster.start(services::nats_server(name.clone(), own_program.clone(), &own.binary.path, &config.path));
    }
    let deadline = Instant::now() + SERVER_START_LIMIT;
    loop {
        match connect_as(plan, ADMIN).await {
            Ok(nats) => return Ok(nats),
            Err(ConnectError::Unreachable { .. }) if Instant::now() < deadline => {}
            Err(error) => return Err(Error::Unreachable(error.to_string())),
        }
        if let Some(reason) = names.iter().find_map(|name| cluster.last_exit(name)) {
            return Err(Error::Failed(anyhow::anyhow!(
                "nats-server {reason}; its output is above, its configuration in {}",
                settings.data_dir.display()
            )));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Moves the streams of an earlier version's store to where this one keeps them.
async fn adopt_former_store(data_dir: &Path, layout: &Layout, member: Option<&Member>) -> Result<(), Error> {
    let folder = layout.store_dir(member);
    if member.is_some() {
        return former_store::refuse_former_member(&folder);
    }
    if !former_store::is_former(&folder)? {
        return Ok(());
    }
    // The server of an `up` that was killed may still be ending, perhaps on another port.
    let former = RunningState::read(data_dir).and_then(|state| connect::servers(&state.nats_url).ok()).unwrap_or_default();
    let purpose = "the NATS server of the last `faultline up`";
    let ports: Vec<Port> = former.iter().map(|server| Port { number: server.port(), purpose, flag: "--nats-port" }).collect();
    ports::check_all(&ports, ORPHANS_LIMIT).await?;
    let moved = former_store::adopt(&folder)?;
    tracing::info!(moved, folder = %folder.display(), "the streams of an earlier version were moved to the accounts of this one");
    Ok(())
}

/// Connects as one of the users, with its key of the data folder unless a key file is named.
pub(crate) async fn connect_as(plan: &Plan, user: &str) -> Result<Nats, ConnectError> {
    let mut common = plan.common.clone();
    if common.nkey_file.is_none() {
        common.nkey_file = Some(keys::seed_path(&plan.settings.data_dir, user)).filter(|path| path.is_file());
    }
    connect::connect_once(&common, user, "faultline-up").await
}
