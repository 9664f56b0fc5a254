//! The running cluster as orders see it: what runs, how many workers, what is wrong with whose network, and how all of it stops.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use faultline_protocol::messages::{ClusterEvent, EventKind, Level, ProcessSignalled};
use faultline_protocol::streams;
use faultline_proxy::LinkConditions;
use faultline_runtime::clock;
use faultline_runtime::connect::Nats;
use faultline_runtime::shutdown::Shutdown;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::acts::Acts;
use super::admin::AdminPorts;
use super::history::{History, NATS, OWN_NAME};
use super::links::{LinkError, Links};
use super::orders::{Order, Reply};
use super::scale::{self, worker_index, worker_name};
use super::services::{Plan, stop_order};
use super::settings::MAX_WORKERS;
use super::signal::KillSignal;
use super::supervisor::{ChildStatus, Reached, Service, Signal, State, Stop, Supervisor, is_stopped};
use super::who;
use crate::experiment::fault::Fault;

/// A worker that is scaled away finishes what it runs, or hands it back after 30 s of its own; only a stuck one is killed.
const DRAIN_LIMIT: Duration = Duration::from_secs(35);

/// Counting the jobs that are left must not hold up the end.
const OPEN_JOBS_LIMIT: Duration = Duration::from_secs(1);
const SCALE_COMMAND: &str = "faultline scale";
const LINK_COMMAND: &str = "faultline link";

/// Everything that `up` runs.
#[derive(Debug)]
pub(crate) struct Cluster {
    plan: Plan,
    supervisor: Supervisor,
    links: Links,
    admin: AdminPorts,
    /// Once NATS has answered.
    nats: OnceLock<Nats>,
    history: Arc<History>,
    acts: Arc<Acts>,
    shutdown: Shutdown,
    started: Instant,
    /// One change of the number of workers at a time.
    scaling: Mutex<()>,
}

impl Cluster {
    pub(crate) fn new(plan: Plan, supervisor: Supervisor, links: Links, shutdown: Shutdown) -> Self {
        let admin = AdminPorts::new(&plan.settings.data_dir);
        let history = Arc::new(History::new());
        Self {
            plan,
            supervisor,
            links,
            admin,
            nats: OnceLock::new(),
            acts: Acts::new(Arc::clone(&history)),
            history,
            shutdown,
            started: Instant::now(),
            scaling: Mutex::default(),
        }
    }

    /// A process without a link of its own.
    pub(crate) fn start(&self, service: Service) {
        self.supervisor.start(service);
    }

    pub(crate) fn start_services(&self, nats: Nats) -> anyhow::Result<()> {
        // There is one start.
        let _ = self.nats.set(nats);
        self.plan.all().into_iter().try_for_each(|service| self.start_linked(service))
    }

    fn start_linked(&self, service: Service) -> anyhow::Result<()> {
        self.supervisor.start(self.links.in_front_of(self.admin.give(service)?)?);
        Ok(())
    }

    /// How long `up` has run, and its processes.
    pub(crate) fn statuses(&self) -> (Duration, Vec<ChildStatus>) {
        (self.started.elapsed(), self.supervisor.statuses())
    }

    /// How a child ended the last time, if it did.
    pub(crate) fn last_exit(&self, name: &str) -> Option<String> {
        self.supervisor.statuses().into_iter().find(|status| status.name == name)?.last_exit
    }

    /// What happens from now on, and all that has happened since the start, is written over this connection.
    pub(crate) fn write_history_to(&self, nats: &Nats) {
        self.history.write_to(nats);
    }

    /// Carries out an order of a user of this machine.
    pub(crate) async fn handle(&self, order: Order, user: &str) -> Reply {
        match order {
            Order::Status => {
                let (uptime, services) = self.statuses();
                Reply::Status { uptime_s: uptime.as_secs(), services }
            }
            Order::Scale { workers } if workers > MAX_WORKERS => Reply::Failed { reason: format!("at most {MAX_WORKERS} workers") },
            Order::Scale { workers } => self.scale(workers, &who::by(SCALE_COMMAND, user)).await,
            Order::Kill { service, signal, via } => match self.kill(&service, signal, &who::by(&via, user)).await {
                Ok(told) => Reply::Signalled { told },
                Err(NotDone::NotFound(reason)) => Reply::NotFound { reason },
                Err(NotDone::Failed(reason)) => Reply::Failed { reason },
            },
            Order::Link { service, conditions } => match self.link(&service, conditions, &who::by(LINK_COMMAND, user)) {
                Ok(()) => Reply::Done,
                Err(error @ LinkError::Unknown { .. }) => Reply::NotFound { reason: error.to_string() },
                Err(error @ (LinkError::NoLinks | LinkError::Invalid(_))) => Reply::Failed { reason: error.to_string() },
            },
            Order::Links => match self.links.list() {
                Ok(links) => Reply::Links { links },
                Err(error) => Reply::Failed { reason: error.to_string() },
            },
            // The desk's, which has what it takes.
            Order::Inject { .. } | Order::Abort { .. } => Reply::Failed { reason: "unsupported order for an experiment".into() },
            Order::Stop => {
                self.shutdown.stop();
                Reply::Done
            }
        }
    }

    async fn scale(&self, workers: u32, by: &str) -> Reply {
        let _one_at_a_time = self.scaling.lock().await;
        if self.is_stopping() {
            return Reply::Failed { reason: "the cluster is stopping".into() };
        }
        let running: BTreeSet<u32> = self.supervisor.names().iter().filter_map(|name| worker_index(name)).collect();
        let change = scale::change(&running, workers);
        let words = format!("scaling from {} to {workers} workers, by {by}", running.len());
        self.history.tell(ClusterEvent::new(clock::unix_ms(), OWN_NAME, Level::Info, EventKind::WorkersScaled, words));
        for &index in &change.start {
            if let Err(error) = self.start_linked(self.plan.worker(index)) {
                return Reply::Failed { reason: format!("{error:#}") };
            }
        }
        let stopped: Vec<String> = change.stop.into_iter().map(worker_name).collect();
        if !stopped.is_empty() {
            tracing::info!(workers = stopped.join(" "), "draining workers");
            self.supervisor.stop(&stopped, Stop::Drain(DRAIN_LIMIT)).await;
            if let Err(error) = self.admin.remove(&stopped) {
                tracing::warn!("{error:#}");
            }
            stopped.iter().filter_map(|name| self.links.remove(name, clock::unix_ms())).for_each(|event| self.history.tell(event));
        }
        let started: Vec<String> = change.start.into_iter().map(worker_name).collect();
        tracing::info!(workers, "scaled: {} started, {} stopped", started.len(), stopped.len());
        Reply::Scaled { started, stopped }
    }

    /// Sends a signal to a process, now, whatever else is broken or under way. Returns once the process has felt it.
    pub(crate) async fn kill(&self, service: &str, signal: KillSignal, by: &str) -> Result<ProcessSignalled, NotDone> {
        if signal == KillSignal::Stop && self.is_frozen(service) {
            let reason = format!("{service} is frozen already: `faultline kill {service} --signal cont` resumes it");
            return Err(NotDone::Failed(reason));
        }
        let sent = match signal {
            KillSignal::Kill => Signal::KILL,
            KillSignal::Term => Signal::TERM,
            KillSignal::Stop => Signal::STOP,
            KillSignal::Cont => Signal::CONT,
        };
        let reached = self.signal(service, sent)?;
        Ok(self.acts.follow(service, signal, reached, by).await)
    }

    /// The bare signal, which the history does not hear of.
    pub(crate) fn signal(&self, service: &str, signal: Signal) -> Result<Reached, NotDone> {
        if let Some(reached) = self.supervisor.signal(service, signal) {
            return Ok(reached);
        }
        let names = self.supervisor.names();
        if names.iter().any(|name| name == service) {
            return Err(NotDone::Failed(format!("{service} does not run now: `faultline status` shows when it runs again")));
        }
        Err(NotDone::NotFound(format!("unknown process {service}: use one of {}", names.join(", "))))
    }

    /// Changes a service's network.
    pub(crate) fn link(&self, service: &str, conditions: LinkConditions, by: &str) -> Result<(), LinkError> {
        let events = self.links.set(service, conditions, by, clock::unix_ms())?;
        tracing::info!(service, by, "the network of {service}, as ordered: {conditions}");
        events.into_iter().for_each(|event| self.history.tell(event));
        Ok(())
    }

    /// Ends a process in order; the supervisor starts it again.
    pub(crate) fn restart(&self, service: &str) {
        self.supervisor.signal(service, Signal::TERM);
    }

    /// SIGKILL, and not started again before [`Cluster::release`].
    pub(crate) fn kill_and_hold(&self, service: &str) -> Result<(), String> {
        if !self.supervisor.hold(service, true) {
            return Err(format!("unknown process {service}: use one of {}", self.supervisor.names().join(", ")));
        }
        // One that is down already stays down.
        let _ = self.supervisor.signal(service, Signal::KILL);
        Ok(())
    }

    /// The process may start again.
    pub(crate) fn release(&self, service: &str) -> Result<(), String> {
        if self.supervisor.hold(service, false) { Ok(()) } else { Err(format!("process {service} no longer exists")) }
    }

    /// All processes by name, with whether each runs.
    pub(crate) fn services(&self) -> Vec<(String, bool)> {
        self.supervisor.statuses().into_iter().map(|status| (status.name, status.state == State::Running)).collect()
    }

    /// That an operator has frozen this process or broken this link and not undone it, with what undoes it.
    pub(crate) fn is_broken_already(&self, fault: &Fault) -> Option<String> {
        match fault {
            Fault::Freeze { service } => {
                self.is_frozen(service).then(|| format!("{service} is frozen already: `faultline kill {service} --signal cont`"))
            }
            Fault::Link { service, .. } => {
                let links = self.links.list().unwrap_or_default();
                let broken = links.iter().any(|link| link.service == *service && !link.conditions.is_clean());
                broken.then(|| format!("the network of {service} is broken already: `faultline link {service} heal`"))
            }
            Fault::Kill { .. } | Fault::Node { .. } => None,
        }
    }

    fn is_frozen(&self, service: &str) -> bool {
        self.supervisor.statuses().iter().any(|status| status.name == service && status.pid.is_some_and(is_stopped))
    }

    /// For the history, as soon as NATS takes it.
    pub(crate) fn tell(&self, event: ClusterEvent) {
        self.history.tell(event);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.shutdown.token().is_cancelled()
    }

    /// Ends what was done to the services' networks, and waits until the history has it, and all else that it was told.
    pub(crate) async fn conclude(&self, limit: Duration) {
        self.links.heal_all(clock::unix_ms()).into_iter().for_each(|event| self.history.tell(event));
        self.acts.end_all();
        if !self.history.conclude(limit).await {
            tracing::warn!("the history does not have the ends of all faults: NATS did not answer in time");
        }
    }

    /// Stops everything in order, the NATS server last. Returns how many jobs wait in JOBS for the next start; none when that is not known.
    pub(crate) async fn stop_all(&self) -> Option<u64> {
        let mut open = None;
        // One that stops early may need another one that is frozen, such as the NATS server.
        for name in self.supervisor.names() {
            let _ = self.supervisor.signal(&name, Signal::CONT);
        }
        for (names, limit) in stop_order(&self.supervisor.names()) {
            if let Some(nats) = self.nats.get().filter(|_| names.iter().any(|name| name.starts_with(NATS))) {
                // No service runs any more: what JOBS still has was not acknowledged.
                open = open_jobs(nats).await;
                nats.clone().close().await;
            }
            self.supervisor.stop(&names, Stop::Hurry(limit)).await;
        }
        open
    }
}

async fn open_jobs(nats: &Nats) -> Option<u64> {
    let stream = tokio::time::timeout(OPEN_JOBS_LIMIT, nats.jetstream.get_stream(streams::JOBS)).await.ok()?.ok()?;
    Some(stream.cached_info().state.messages)
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotDone {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Failed(String),
}
