//! The running cluster as orders see it: what runs, how many workers, what is wrong with whose network, and how all of it stops.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use faultline_protocol::messages::ClusterEvent;
use faultline_proxy::LinkConditions;
use faultline_runtime::clock;
use faultline_runtime::connect::Nats;
use faultline_runtime::events::EventSink;
use faultline_runtime::shutdown::Shutdown;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::admin::AdminPorts;
use super::control::{Order, Reply};
use super::lines::NATS;
use super::links::{LinkError, Links, OWN_NAME};
use super::scale::{self, worker_index, worker_name};
use super::services::{Plan, stop_order};
use super::supervisor::{Service, Signal, State, Stop, Supervisor, is_stopped};
use crate::args::{KillSignal, MAX_WORKERS};
use crate::chaos::fault::Fault;

/// A worker that is scaled away finishes what it runs, or hands it back after 30 s of its own; only a stuck one is killed.
const DRAIN_LIMIT: Duration = Duration::from_secs(35);

/// How long an event is tried to be written; NATS may just be down.
const WRITE_LIMIT: Duration = Duration::from_secs(60);

/// Everything that `up` runs.
#[derive(Debug)]
pub(crate) struct Cluster {
    plan: Plan,
    supervisor: Supervisor,
    links: Links,
    admin: AdminPorts,
    /// Once NATS has answered: the truth about faults is written there.
    nats: OnceLock<Nats>,
    shutdown: Shutdown,
    started: Instant,
    /// One change of the number of workers at a time.
    scaling: Mutex<()>,
    /// Events that are being written.
    writes: TaskTracker,
}

impl Cluster {
    pub(crate) fn new(plan: Plan, supervisor: Supervisor, links: Links, shutdown: Shutdown) -> Self {
        let admin = AdminPorts::new(&plan.settings.data_dir);
        Self {
            plan,
            supervisor,
            links,
            admin,
            nats: OnceLock::new(),
            shutdown,
            started: Instant::now(),
            scaling: Mutex::default(),
            writes: TaskTracker::new(),
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

    /// How a child ended the last time, if it did.
    pub(crate) fn last_exit(&self, name: &str) -> Option<String> {
        self.supervisor.statuses().into_iter().find(|status| status.name == name)?.last_exit
    }

    pub(crate) async fn handle(&self, order: Order) -> Reply {
        match order {
            Order::Status => Reply::Status { uptime_s: self.started.elapsed().as_secs(), services: self.supervisor.statuses() },
            Order::Scale { workers } if workers > MAX_WORKERS => Reply::Failed { reason: format!("at most {MAX_WORKERS} workers") },
            Order::Scale { workers } => self.scale(workers).await,
            Order::Kill { service, signal } => self.kill(&service, signal),
            Order::Link { service, conditions } => self.link(&service, conditions),
            Order::Links => match self.links.list() {
                Ok(links) => Reply::Links { links },
                Err(error) => Reply::Failed { reason: error.to_string() },
            },
            // The desk's, which has what it takes.
            Order::Inject { .. } | Order::Abort { .. } => Reply::Failed { reason: "experiments are not ordered this way".into() },
            Order::Stop => {
                self.shutdown.stop();
                Reply::Done
            }
        }
    }

    async fn scale(&self, workers: u32) -> Reply {
        let _one_at_a_time = self.scaling.lock().await;
        if self.is_stopping() {
            return Reply::Failed { reason: "the cluster is stopping".into() };
        }
        let running: BTreeSet<u32> = self.supervisor.names().iter().filter_map(|name| worker_index(name)).collect();
        let change = scale::change(&running, workers);
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
            self.write(stopped.iter().filter_map(|name| self.links.remove(name, clock::unix_ms())).collect());
        }
        let started: Vec<String> = change.start.into_iter().map(worker_name).collect();
        tracing::info!(workers, "scaled: {} started, {} stopped", started.len(), stopped.len());
        Reply::Scaled { started, stopped }
    }

    fn kill(&self, service: &str, signal: KillSignal) -> Reply {
        let sent = match signal {
            KillSignal::Kill => Signal::KILL,
            KillSignal::Term => Signal::TERM,
            KillSignal::Stop => Signal::STOP,
            KillSignal::Cont => Signal::CONT,
        };
        if self.supervisor.signal(service, sent) {
            tracing::info!(service, ?signal, "a signal was sent, as ordered");
            return Reply::Done;
        }
        let names = self.supervisor.names().join(", ");
        Reply::NotFound { reason: format!("no process called {service} runs now; there are {names}") }
    }

    fn link(&self, service: &str, conditions: LinkConditions) -> Reply {
        match self.links.set(service, conditions, clock::unix_ms()) {
            Ok(events) => {
                tracing::info!(service, "the network of {service}, as ordered: {conditions}");
                self.write(events);
                Reply::Done
            }
            Err(error @ LinkError::Unknown { .. }) => Reply::NotFound { reason: error.to_string() },
            Err(error @ (LinkError::NoLinks | LinkError::Invalid(_))) => Reply::Failed { reason: error.to_string() },
        }
    }

    /// SIGKILL, and not started again before [`Cluster::release`].
    pub(crate) fn kill_and_hold(&self, service: &str) -> Result<(), String> {
        if !self.supervisor.hold(service, true) {
            return Err(format!("no process is called {service}; there are {}", self.supervisor.names().join(", ")));
        }
        // One that is down already stays down.
        self.supervisor.signal(service, Signal::KILL);
        Ok(())
    }

    /// The process may start again.
    pub(crate) fn release(&self, service: &str) -> Result<(), String> {
        if self.supervisor.hold(service, false) { Ok(()) } else { Err(format!("no process is called {service} any more")) }
    }

    /// All processes by name, with whether each runs.
    pub(crate) fn services(&self) -> Vec<(String, bool)> {
        self.supervisor.statuses().into_iter().map(|status| (status.name, status.state == State::Running)).collect()
    }

    /// That somebody has frozen this process or broken this link and not undone it, with what undoes it.
    pub(crate) fn is_broken_already(&self, fault: &Fault) -> Option<String> {
        match fault {
            Fault::Freeze { service } => {
                let status = self.supervisor.statuses().into_iter().find(|status| status.name == *service)?;
                let frozen = status.pid.is_some_and(is_stopped);
                frozen.then(|| format!("{service} is frozen already: `faultline kill {service} --signal cont`"))
            }
            Fault::Link { service, .. } => {
                let links = self.links.list().unwrap_or_default();
                let broken = links.iter().any(|link| link.service == *service && !link.conditions.is_clean());
                broken.then(|| format!("the network of {service} is broken already: `faultline link {service} heal`"))
            }
            Fault::Kill { .. } | Fault::Node { .. } => None,
        }
    }

    /// Writes events in their order, beside everything else: the order itself must not wait for NATS.
    pub(crate) fn write(&self, events: Vec<ClusterEvent>) {
        let Some(history) = self.nats.get().map(|nats| EventSink::new(nats, OWN_NAME)) else { return };
        self.writes.spawn(async move {
            for event in events {
                history.send_durably(event, WRITE_LIMIT).await;
            }
        });
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.shutdown.token().is_cancelled()
    }

    /// Ends what was done to the services' networks, and waits until the history has it, and all else that it was told.
    pub(crate) async fn conclude(&self, limit: Duration) {
        self.write(self.links.heal_all(clock::unix_ms()));
        self.writes.close();
        if tokio::time::timeout(limit, self.writes.wait()).await.is_err() {
            tracing::warn!(events = self.writes.len(), "the history does not have the ends of all faults: NATS did not answer in time");
        }
    }

    /// Stops everything in order, the NATS server last.
    pub(crate) async fn stop_all(&self) {
        // One that is frozen could not hear that it shall stop.
        for name in self.supervisor.names() {
            self.supervisor.signal(&name, Signal::CONT);
        }
        for (names, limit) in stop_order(&self.supervisor.names()) {
            if let Some(nats) = self.nats.get().filter(|_| names.iter().any(|name| name.starts_with(NATS))) {
                nats.clone().close().await;
            }
            self.supervisor.stop(&names, Stop::Hurry(limit)).await;
        }
    }
}
