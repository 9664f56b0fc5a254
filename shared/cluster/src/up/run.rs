//! `faultline up`: the whole cluster as child processes of one, from the first check to the last process gone.

use std::io::IsTerminal;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use faultline_engine::words::plural;
use faultline_runtime::clock_check::keep_time;
use faultline_runtime::config::{self, Common, LogFormat};
use faultline_runtime::connect::{self, Nats};
use faultline_runtime::shutdown::Shutdown;
use faultline_runtime::{clock, telemetry};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::admin::AdminPorts;
use super::caretaker::Caretaker;
use super::cluster::Cluster;
use super::desk::{self, Desk};
use super::lines::{self, Lines, Look};
use super::links::Links;
use super::orders;
use super::servers::{OwnServers, check_ports, connect_as, start_servers};
use super::services::{self, Plan};
use super::settings::UpSettings;
use super::state::{DataLock, RunningState};
use super::supervisor::Supervisor;
use super::telling::Telling;
use crate::error::Error;
use crate::experiment::service::Experiments;
use crate::nats_server::keys;
use crate::nats_server::permissions::{ADMIN, UP};
use crate::provision::{self, SetupOptions};

const DASHBOARD_START_LIMIT: Duration = Duration::from_secs(15);
const DEFAULT_LOG_DIR: &str = "logs";
const ASK_EVERY: Duration = Duration::from_millis(25);
/// An experiment that runs when `up` is told to stop puts everything right and reports within this time; a killed NATS server has to
/// start again for that.
const LAST_EXPERIMENT_LIMIT: Duration = Duration::from_secs(8);
const LAST_EVENTS_LIMIT: Duration = Duration::from_secs(3);

/// The settings file that services read, too. A pipe was read to its end by this process: they get a copy.
fn config_for_services(file: Option<&Path>, data_dir: &Path) -> Result<Option<PathBuf>, Error> {
    let Some(pipe) = file.filter(|file| !file.is_file()) else { return Ok(file.map(Path::to_owned)) };
    let text = config::read_file(pipe).map_err(|error| Error::Invalid(error.to_string()))?;
    let copy = data_dir.join("config.toml");
    keys::write_private(&copy, &text)?;
    Ok(Some(copy))
}

/// What `up` is started with.
#[derive(Debug, Clone)]
pub struct Start {
    pub settings: UpSettings,
    pub common: Common,
    /// The settings file that services read, too.
    pub config_file: Option<PathBuf>,
    /// Whether NATS runs already, elsewhere.
    pub nats_is_external: bool,
}

/// Runs the cluster until a signal or `faultline down`.
pub async fn run(start: Start) -> Result<(), Error> {
    let Start { mut settings, common, config_file, nats_is_external } = start;
    settings.validate()?;
    if nats_is_external {
        settings.validate_for_external_nats()?;
    }
    settings.data_dir = std::path::absolute(&settings.data_dir).context("finding the data folder")?;
    let color = telemetry::use_color(common.color);
    let mut plan = Plan {
        fault_seed: settings.seed.unwrap_or_else(clock::random_seed),
        settings,
        common,
        config_file: None,
        color,
        bin_dir: services::bin_dir()?,
    };
    plan.check_binaries()?;

    let data_dir = plan.settings.data_dir.clone();
    let _lock = DataLock::take(&data_dir)?;
    if !plan.settings.no_dashboard {
        keys::ensure_secret(&services::dashboard_token(&data_dir))?;
    }
    plan.config_file = config_for_services(config_file.as_deref(), &data_dir)?;
    let server = if nats_is_external { None } else { Some(OwnServers::find(&plan.settings)?) };
    check_ports(&plan.settings, server.as_ref()).await?;
    if let Some(server) = &server {
        plan.common.nats_url = server.ports.url();
    }
    let servers = connect::servers(&plan.common.nats_url).map_err(|error| Error::Invalid(error.to_string()))?;

    let log_dir = plan.common.log_dir.get_or_insert_with(|| DEFAULT_LOG_DIR.into());
    std::fs::create_dir_all(&*log_dir).with_context(|| format!("making the folder for logs {}", log_dir.display()))?;
    let telemetry = telemetry::init_with_prefix("up", &plan.common, lines::prefix("up", color));
    let shutdown = Shutdown::from_signals(plan.common.stop_with_parent);
    let is_watched = std::io::stderr().is_terminal() && plan.common.log_format == LogFormat::Text;
    let verbose = plan.settings.verbose || plan.common.log_level.contains("debug");
    let look = Look { color, format: plan.common.log_format, verbose, quiet: is_watched && !verbose };
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
        tracing::warn!("the running experiment does not end");
    }
    cluster.conclude(LAST_EVENTS_LIMIT).await;
    let open = cluster.stop_all().await;
    RunningState::remove(&data_dir);
    AdminPorts::forget(&data_dir);
    let _ = std::fs::remove_file(orders::socket_path(&data_dir));
    lines.say("up", &stopped_words(open));
    drop((cluster, lines));
    written.wait().await;
    drop(telemetry);
    outcome
}

fn stopped_words(open: Option<u64>) -> String {
    match open {
        None => "stopped".to_owned(),
        Some(0) => "stopped; no job is open".to_owned(),
        Some(open) => format!("stopped; {} open, which the next `faultline up` on this data goes on with", are(open)),
    }
}

fn are(jobs: u64) -> String {
    format!("{} {}", plural(jobs, "job"), if jobs == 1 { "is" } else { "are" })
}

/// Only returns when the start failed: a cluster that runs is stopped by the caller.
async fn start_and_serve(
    plan: &Plan,
    server: Option<OwnServers>,
    cluster: &Arc<Cluster>,
    lines: &Lines,
    shutdown: &Shutdown,
    experiments: &OnceLock<Arc<Experiments>>,
) -> Result<(), Error> {
    let data_dir = &plan.settings.data_dir;
    let servers = server.as_ref().map(OwnServers::list).unwrap_or_default();
    let nats = match server {
        Some(server) => start_servers(plan, &server, cluster).await?,
        None => connect_as(plan, ADMIN).await.map_err(|error| Error::Unreachable(error.to_string()))?,
    };
    let replicas = (plan.settings.nats_servers > 1).then_some(plan.settings.nats_servers as usize);
    let provisioned = provision::provision(&nats, SetupOptions { replicas, ..SetupOptions::default() }).await?;
    tracing::info!(created = provisioned.created.len(), found = provisioned.kept.len(), "streams, buckets, and consumers are ready");

    let socket = orders::socket_path(data_dir);
    let listener = desk::listen(&socket)?;
    let dashboard_url = (!plan.settings.no_dashboard).then(|| format!("http://{}:{}", Ipv4Addr::LOCALHOST, plan.settings.dashboard_port));
    let state = RunningState {
        pid: std::process::id(),
        nats_url: plan.common.nats_url.clone(),
        dashboard_url: dashboard_url.clone(),
        control_socket: socket,
        started_at_ms: clock::unix_ms(),
    };
    state.write(data_dir)?;
    // Faults are written down in the cluster's time.
    nats.learn_time().await;
    let keep_time = keep_time(nats.clone());
    let caretaker = Caretaker { cluster: Arc::clone(cluster), nats: nats.clone(), servers, data_dir: data_dir.clone() };
    cluster.start_services(nats.clone())?;
    let own = connect_as_up(plan, cluster).await;
    if let Some(nats) = own.clone() {
        // There is one start.
        let _ = experiments.set(Experiments::new(Arc::clone(cluster), nats));
    }
    // The first one who writes stays; without the user `up` it is the one that provisions.
    cluster.write_history_to(&nats);
    let experiments = experiments.get();
    let desk = Desk { cluster: Arc::clone(cluster), experiments: experiments.cloned() };
    let serve_experiments = async {
        if let Some(experiments) = experiments
            && let Err(error) = Arc::clone(experiments).serve().await
        {
            tracing::error!(%error, "no longer answering requests for experiments");
        }
    };
    tokio::join!(
        desk::serve(listener, desk, shutdown.token()),
        serve_experiments,
        tell_of_processes(plan, cluster, lines, own),
        announce(plan, dashboard_url, lines),
        caretaker.run(shutdown.token()),
        keep_time
    );
    Ok(())
}

/// Answers what is asked of the processes, over the connection that also answers requests for experiments.
async fn tell_of_processes(plan: &Plan, cluster: &Arc<Cluster>, lines: &Lines, own: Option<Nats>) {
    let Some(nats) = own else { return };
    let log_dir = std::path::absolute(plan.common.log_dir.clone().unwrap_or_default()).unwrap_or_default();
    let telling = Telling { cluster: Arc::clone(cluster), tail: lines.tail(), log_dir };
    if let Err(error) = telling.serve(nats).await {
        tracing::error!(%error, "no longer telling of processes and their logs");
    }
}

/// The connection on which experiments and processes are asked about. A server that was set up without this user runs everything else.
async fn connect_as_up(plan: &Plan, cluster: &Arc<Cluster>) -> Option<Nats> {
    match connect_as(plan, UP).await {
        Ok(nats) => {
            cluster.write_history_to(&nats);
            Some(nats)
        }
        Err(error) => {
            tracing::warn!(%error, "no experiments, and the page cannot show processes: `faultline nats-config` writes a configuration with the user `up`");
            None
        }
    }
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
    let link = lines.stand_out(&dashboard_link(plan, url));
    lines.say("up", &format!("the cluster runs; dashboard: {link}; NATS: {nats}; Ctrl-C stops it"));
}

/// What the person who runs `up` opens. Where the system does not tell the dashboard who connects, the link carries the token, in the part
/// of an address that browsers keep to themselves.
fn dashboard_link(plan: &Plan, url: String) -> String {
    if cfg!(target_os = "linux") {
        return url;
    }
    let token = keys::ensure_secret(&services::dashboard_token(&plan.settings.data_dir));
    token.map_or_else(|_| url.clone(), |token| format!("{url}/#token={token}"))
}
