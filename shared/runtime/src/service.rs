//! What all five services do before they do anything of their own: read their settings, start logging, listen for signals, open the
//! admin listener, connect. A service is its library's `run`; its `main` names it and passes the command line on.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::{self, Admin, Readiness};
use crate::clock_check;
use crate::config::{self, Common, CommonArgs};
use crate::connect::{self, Nats};
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use crate::telemetry;

/// The flags that every service takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ServiceArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Answer /healthz, /readyz and /metrics there, for example on 127.0.0.1:9100; not given: nowhere. No password is asked for: on
    /// another address than a loopback one, everyone who reaches it can read it. There are no secrets in it
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin_bind: Option<SocketAddr>,
    /// Ask the process that runs with these settings whether it is ready, and exit with 0 or 1
    #[arg(long)]
    pub probe: bool,
    /// Print the settings of this program's section as JSON, with their origins, and end: `faultline config` asks so
    #[arg(long, hide = true)]
    pub print_settings: bool,
}

/// One process of a service, before it has a connection.
#[derive(Debug, Clone)]
pub struct Process {
    /// What it is called, for example worker-01.
    pub name: String,
    pub shutdown: Shutdown,
    pub readiness: Readiness,
    pub metrics: Metrics,
    user: &'static str,
    common: Common,
}

impl Process {
    /// One that is given its connection, and cannot make another.
    pub fn over_any_wire(service: &'static str, name: &str, shutdown: Shutdown) -> Self {
        let (readiness, metrics) = (Readiness::new(service, name, shutdown.token()), Metrics::of_none(service, name));
        Self { name: name.to_owned(), shutdown, readiness, metrics, user: service, common: Common::default() }
    }

    /// For one that learns its name after it began.
    pub fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.name);
        self.readiness.rename(name);
        self.metrics.name(self.user, name);
    }

    /// Connects to NATS; tries until it is there. None when the process shall stop first.
    pub async fn connect(&self) -> anyhow::Result<Option<Nats>> {
        let Some(nats) = self.connect_aside(&self.name).await? else { return Ok(None) };
        nats.register_metrics(&self.metrics);
        self.readiness.connected(&nats);
        clock_check::register_metric(&self.metrics);
        self.shutdown.spawn("clock", clock_check::watch(self.readiness.clone(), self.shutdown.token()));
        self.shutdown.spawn("answering", nats.clone().keep_asking(self.shutdown.token()));
        Ok(Some(nats))
    }

    /// The same under another name, and no part of what the process says of itself. For a connection beside its own.
    pub async fn connect_aside(&self, name: &str) -> anyhow::Result<Option<Nats>> {
        tokio::select! {
            () = self.shutdown.token().cancelled_owned() => Ok(None),
            nats = connect::connect(&self.common, self.user, name) => nats.context("connecting to NATS").map(Some),
        }
    }

    /// Connects and waits for the streams. None when the process shall stop first.
    pub async fn connect_to_streams(&self) -> anyhow::Result<Option<Nats>> {
        match self.connect().await? {
            Some(nats) if nats.wait_until_provisioned(&self.shutdown.token()).await => {
                self.shutdown.spawn("provisioned", nats.connection().keep_looking(self.shutdown.token()));
                Ok(Some(nats))
            }
            _ => Ok(None),
        }
    }
}

/// Runs a service to its end. `service` is its section of the settings, its NATS user, and its program's name without `faultline-`.
/// `flags` skips what was not given; `check` refuses settings, or says what the process is called.
pub async fn run<S, F>(
    service: &'static str,
    args: &ServiceArgs,
    flags: &impl Serialize,
    check: impl FnOnce(&S) -> anyhow::Result<String>,
    run: impl FnOnce(S, Process) -> F,
) -> ExitCode
where
    S: Serialize + DeserializeOwned + Default,
    F: Future<Output = anyhow::Result<()>>,
{
    let loaded = load(service, args, flags, check);
    let (common, settings, name, admin_bind) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("faultline-{service}: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    if args.print_settings {
        return print_settings::<S>(service, args, flags);
    }
    if args.probe {
        return match admin::probe(service, admin_bind).await {
            Ok(report) => {
                print(&format!("{} is ready: {}", report.process, report.state));
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let _telemetry = telemetry::init(&name, &common);
    let outcome = async {
        let shutdown = Shutdown::from_signals(common.stop_with_parent);
        let metrics = Metrics::new(service, &name);
        let readiness = Readiness::new(service, &name, shutdown.token());
        if let Some(address) = admin_bind {
            // A parent that takes its children with it may hold their ports between two lives.
            let admin = Admin { readiness: readiness.clone(), metrics: metrics.clone() };
            let address = admin::start(address, common.stop_with_parent, admin)?;
            tracing::info!(address = %address, "serving /healthz, /readyz, and /metrics");
            if !address.ip().is_loopback() {
                tracing::warn!(address = %address, "the admin address can be reached from other machines, and it has no password");
            }
        }
        run(settings, Process { name, shutdown, readiness, metrics, user: service, common }).await
    };
    match outcome.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A line on standard output, whose reader may have gone.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn print_settings<S>(service: &str, args: &ServiceArgs, flags: &impl Serialize) -> ExitCode
where
    S: Serialize + DeserializeOwned + Default,
{
    let settings = config::service_settings::<S>(&args.common, service, args.admin_bind, flags).map_err(|error| error.to_string());
    match settings.and_then(|settings| serde_json::to_string(&settings).map_err(|error| error.to_string())) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("faultline-{service}: {error}");
            ExitCode::FAILURE
        }
    }
}

type Loaded<S> = (Common, S, String, Option<SocketAddr>);

fn load<S>(
    service: &str,
    args: &ServiceArgs,
    flags: &impl Serialize,
    check: impl FnOnce(&S) -> anyhow::Result<String>,
) -> anyhow::Result<Loaded<S>>
where
    S: Serialize + DeserializeOwned + Default,
{
    let common = args.common.load();
    let own = config::load_service(&args.common, service, args.admin_bind, flags);
    // At a start the first mistake is enough; `faultline config` wants all.
    if let (true, Err(one), Err(other)) = (args.print_settings, &common, &own) {
        anyhow::bail!("{one}\n{other}");
    }
    let (common, (settings, admin_bind)) = (common?, own?);
    let name = check(&settings).with_context(|| format!("settings of [{service}]"))?;
    Ok((common, settings, name, admin_bind))
}
