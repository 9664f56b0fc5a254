//! `faultline up`: the whole cluster as child processes of one, from the first check to the last process gone.

mod admin;
pub(crate) mod cluster;
pub(crate) mod control;
pub(crate) mod guard;
mod lines;
pub(crate) mod link_command;
mod links;
mod ports;
pub(crate) mod remote;
mod scale;
pub(crate) mod services;
pub(crate) mod settings;
pub(crate) mod state;
pub(crate) mod supervisor;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use faultline_runtime::config::{self, CommonArgs};
use faultline_runtime::connect::{self, ConnectError, Nats};
use faultline_runtime::shutdown::Shutdown;
use faultline_runtime::{clock, telemetry};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::args::UpFlags;
use crate::chaos::service::Experiments;
use crate::exit::Failure;
use crate::nats_server::find::ServerBinary;
use crate::nats_server::permissions::{ADMIN, UP};
use crate::nats_server::{self, find};
use crate::session::Session;
use crate::setup::{self, SetupOptions};
use admin::AdminPorts;
use cluster::Cluster;
use control::Desk;
use lines::{Lines, Look};
use links::Links;
use nats_server::{Layout, Member};
use ports::Port;
use services::Plan;
use settings::{NatsPorts, UpSettings};
use state::{DataLock, RunningState};
use supervisor::Supervisor;

/// After a kill -9 of `up`, its children notice within this time.
const ORPHANS_LIMIT: Duration = Duration::from_secs(6);
/// A server with a large store reads it before it answers.
const SERVER_START_LIMIT: Duration = Duration::from_secs(60);
const DASHBOARD_START_LIMIT: Duration = Duration::from_secs(15);
const DEFAULT_LOG_DIR: &str = "logs";
const ASK_EVERY: Duration = Duration::from_millis(25);
/// An experiment that runs when `up` is told to stop puts everything right and reports within this time; a killed NATS server has to
/// start again for that.
const LAST_EXPERIMENT_LIMIT: Duration = Duration::from_secs(8);
const LAST_EVENTS_LIMIT: Duration = Duration::from_secs(3);

/// Runs the cluster until a signal or `faultline down`.
pub(crate) async fn run(common: &CommonArgs, session: &Session, flags: &UpFlags) -> Result<(), Failure> {
    let flags = UpFlags { data_dir: Some(session.data_dir.clone()), ..flags.clone() };
    let mut settings: UpSettings = config::load_section(common, "up", &flags).map_err(|error| Failure::Usage(error.to_string()))?;
    settings.validate()?;
    settings.data_dir = std::path::absolute(&settings.data_dir).context("finding the data folder")?;
    let color = telemetry::use_color(session.common.color);
    let mut plan = Plan {
        fault_seed: settings.seed.unwrap_or_else(clock::random_seed),
        settings,
        common: session.common.clone(),
        config_file: common.config.clone(),
        color,
        bin_dir: services::bin_dir()?,
    };
    plan.check_binaries()?;

    let data_dir = plan.settings.data_dir.clone();
    let _lock = DataLock::take(&data_dir)?;
    let server = if session.nats_is_external { None } else { Some(OwnServers::find(&plan.settings)?) };
    check_ports(&plan.settings, server.as_ref()).await?;
    if let Some(server) = &server {
        plan.common.nats_url = server.ports.url();
    }
    let servers = connect::servers(&plan.common.nats_url).map_err(|error| Failure::Usage(error.to_string()))?;

    let log_dir = plan.common.log_dir.get_or_insert_with(|| DEFAULT_LOG_DIR.into());
    std::fs::create_dir_all(&*log_dir).with_context(|| format!("making the folder for logs {}", log_dir.display()))?;
    let telemetry = telemetry::init_with_prefix("up", &plan.common, lines::prefix("up", color));
    let shutdown = Shutdown::from_signals(session.common.stop_with_parent);
    let look = Look { color, format: plan.common.log_format, verbose: plan.common.log_level.contains("debug") };
    let (lines, written) = Lines::start(look);
    let links = if plan.settings.no_proxy || plan.common.names_tls() {
        Links::none()
    } else {
        Links::to(&servers, plan.settings.seed.unwrap_or_else(clock::random_seed))
    };
    let cluster = Arc::new(Cluster::new(plan.clone(), Supervisor::new(lines.clone()), links, shutdown.clone()));
    let experiments = OnceLock::new();
    let outcome = tokio::select! {
        outcome = start_and_serve(&plan, server, &cluster, &lines, &shutdown, &experiments) => outcome,
        () = shutdown.token().cancelled_owned() => Ok(()),
    };
    shutdown.stop();
    lines.say("up", "stopping");
    if let Some(experiments) = experiments.get()
        && tokio::time::timeout(LAST_EXPERIMENT_LIMIT, experiments.stop()).await.is_err()
    {
        tracing::warn!("the experiment that runs does not come to an end");
    }
    cluster.conclude(LAST_EVENTS_LIMIT).await;
    cluster.stop_all().await;
    RunningState::remove(&data_dir);
    AdminPorts::forget(&data_dir);
    let _ = std::fs::remove_file(control::socket_path(&data_dir));
    lines.say("up", "stopped");
    drop((cluster, lines));
    written.wait().await;
    drop(telemetry);
    outcome
}

/// Only returns when the start failed: a cluster that runs is stopped by the caller.
async fn start_and_serve(
    plan: &Plan,
    server: Option<OwnServers>,
    cluster: &Arc<Cluster>,
    lines: &Lines,
    shutdown: &Shutdown,
    experiments: &OnceLock<Arc<Experiments>>,
) -> Result<(), Failure> {
    let data_dir = &plan.settings.data_dir;
    let nats = match server {
        Some(server) => start_servers(plan, &server, cluster).await?,
        None => connect_as(plan, ADMIN).await.map_err(|error| Failure::Unreachable(error.to_string()))?,
    };
    let replicas = (plan.settings.nats_servers > 1).then_some(plan.settings.nats_servers as usize);
    let provisioned = setup::provision(&nats, SetupOptions { replicas, ..SetupOptions::default() }).await?;
    tracing::info!(created = provisioned.created.len(), found = provisioned.kept.len(), "streams, buckets and consumers are there");

    let socket = control::socket_path(data_dir);
    let listener = control::listen(&socket)?;
    let dashboard_url = (!plan.settings.no_dashboard).then(|| format!("http://{}:{}", Ipv4Addr::LOCALHOST, plan.settings.dashboard_port));
    let state = RunningState {
        pid: std::process::id(),
        nats_url: plan.common.nats_url.clone(),
        dashboard_url: dashboard_url.clone(),
        control_socket: socket,
        started_at_ms: clock::unix_ms(),
    };
    state.write(data_dir)?;
    cluster.start_services(nats)?;
    if let Some(started) = start_experiments(plan, cluster).await {
        // There is one start.
        let _ = experiments.set(started);
    }
    let experiments = experiments.get();
    let desk = Desk { cluster: Arc::clone(cluster), experiments: experiments.cloned() };
    let serve_experiments = async {
        if let Some(experiments) = experiments
            && let Err(error) = Arc::clone(experiments).serve().await
        {
            tracing::error!(%error, "requests for experiments are not answered any more");
        }
    };
    tokio::join!(control::serve(listener, desk, shutdown.token()), serve_experiments, announce(plan, dashboard_url, lines));
    Ok(())
}

/// What answers requests for experiments. A server that was set up without this user runs everything else.
async fn start_experiments(plan: &Plan, cluster: &Arc<Cluster>) -> Option<Arc<Experiments>> {
    match connect_as(plan, UP).await {
        Ok(nats) => Some(Experiments::new(Arc::clone(cluster), nats)),
        Err(error) => {
            tracing::warn!(%error, "no experiments: `faultline nats-config` writes a configuration with the user `up`");
            None
        }
    }
}

/// The NATS servers that `up` runs by itself.
struct OwnServers {
    binary: ServerBinary,
    ports: NatsPorts,
}

impl OwnServers {
    fn find(settings: &UpSettings) -> Result<Self, Failure> {
        let ports = settings.nats_ports().context("ports for the NATS servers")?;
        Ok(Self { binary: find::nats_server()?, ports })
    }

    fn names(&self) -> Vec<String> {
        let count = self.ports.clients.len() as u32;
        (1..=count).map(|number| services::nats_name(number, count)).collect()
    }
}

async fn check_ports(settings: &UpSettings, own: Option<&OwnServers>) -> Result<(), Failure> {
    let nats = own.iter().flat_map(|own| own.ports.all());
    let mut ports: Vec<Port> = nats.map(|number| Port { number, purpose: "the NATS server", flag: "--nats-port" }).collect();
    if !settings.no_dashboard {
        ports.push(Port { number: settings.dashboard_port, purpose: "the dashboard", flag: "--dashboard-port" });
    }
    // The note is removed by an orderly stop.
    let patience = if RunningState::read(&settings.data_dir).is_some() { ORPHANS_LIMIT } else { Duration::ZERO };
    ports::check_all(&ports, patience).await
}

async fn start_servers(plan: &Plan, own: &OwnServers, cluster: &Cluster) -> Result<Nats, Failure> {
    let settings = &plan.settings;
    let names = own.names();
    let own_program: PathBuf = std::env::current_exe().context("finding this program")?;
    for (index, (name, &port)) in names.iter().zip(&own.ports.clients).enumerate() {
        let member = own.ports.routes.get(index).map(|_| Member::on_loopback(index, &own.ports.routes));
        let layout = Layout::together(&settings.data_dir)?;
        let config = nats_server::prepare(&layout, Ipv4Addr::LOCALHOST.into(), port, member.as_ref(), None)?;
        tracing::info!(version = %own.binary.version, binary = %own.binary.path.display(), port, "starting nats-server");
        cluster.start(services::nats_server(name.clone(), own_program.clone(), &own.binary.path, &config));
    }
    let deadline = Instant::now() + SERVER_START_LIMIT;
    loop {
        match connect_as(plan, ADMIN).await {
            Ok(nats) => return Ok(nats),
            Err(ConnectError::Unreachable { .. }) if Instant::now() < deadline => {}
            Err(error) => return Err(Failure::Unreachable(error.to_string())),
        }
        if let Some(reason) = names.iter().find_map(|name| cluster.last_exit(name)) {
            return Err(Failure::Failed(anyhow::anyhow!(
                "nats-server {reason}; what it said is above, its configuration is in {}",
                settings.data_dir.display()
            )));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn connect_as(plan: &Plan, user: &str) -> Result<Nats, ConnectError> {
    let mut common = plan.common.clone();
    if common.nkey_file.is_none() {
        common.nkey_file = Some(nats_server::keys::seed_path(&plan.settings.data_dir, user)).filter(|path| path.is_file());
    }
    connect::connect_once(&common, user, "faultline-up").await
}

/// Says where the page is as soon as it answers.
async fn announce(plan: &Plan, dashboard_url: Option<String>, lines: &Lines) {
    let nats = &plan.common.nats_url;
    let Some(url) = dashboard_url else {
        lines.say("up", &format!("the cluster runs; NATS: {nats}; Ctrl-C stops it"));
        return;
    };
    let deadline = Instant::now() + DASHBOARD_START_LIMIT;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, plan.settings.dashboard_port)).await.is_err() {
        if Instant::now() >= deadline {
            tracing::warn!(url, "the dashboard does not answer yet");
            break;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    lines.say("up", &format!("the cluster runs; dashboard: {url}; NATS: {nats}; Ctrl-C stops it"));
}
