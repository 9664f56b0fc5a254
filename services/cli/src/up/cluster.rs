//! The running cluster as orders see it: what runs, how many workers, and how all of it stops.

use std::collections::BTreeSet;
use std::time::Duration;

use faultline_runtime::shutdown::Shutdown;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::control::{Order, Reply};
use super::scale::{self, worker_index, worker_name};
use super::services::{Plan, stop_order};
use super::supervisor::{Service, Signal, Stop, Supervisor};
use crate::args::{KillSignal, MAX_WORKERS};

/// A worker that is scaled away finishes what it runs, or hands it back after 30 s of its own; only a stuck one is killed.
const DRAIN_LIMIT: Duration = Duration::from_secs(35);

/// Everything that `up` runs.
#[derive(Debug)]
pub(crate) struct Cluster {
    plan: Plan,
    supervisor: Supervisor,
    shutdown: Shutdown,
    started: Instant,
    /// One change of the number of workers at a time.
    scaling: Mutex<()>,
}

impl Cluster {
    pub(crate) fn new(plan: Plan, supervisor: Supervisor, shutdown: Shutdown) -> Self {
        Self { plan, supervisor, shutdown, started: Instant::now(), scaling: Mutex::default() }
    }

    pub(crate) fn start(&self, service: Service) {
        self.supervisor.start(service);
    }

    pub(crate) fn start_services(&self) {
        for service in self.plan.all() {
            self.supervisor.start(service);
        }
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
            Order::Stop => {
                self.shutdown.stop();
                Reply::Done
            }
        }
    }

    async fn scale(&self, workers: u32) -> Reply {
        let _one_at_a_time = self.scaling.lock().await;
        if self.shutdown.token().is_cancelled() {
            return Reply::Failed { reason: "the cluster is stopping".into() };
        }
        let running: BTreeSet<u32> = self.supervisor.names().iter().filter_map(|name| worker_index(name)).collect();
        let change = scale::change(&running, workers);
        for &index in &change.start {
            self.supervisor.start(self.plan.worker(index));
        }
        let stopped: Vec<String> = change.stop.into_iter().map(worker_name).collect();
        if !stopped.is_empty() {
            tracing::info!(workers = stopped.join(" "), "draining workers");
            self.supervisor.stop(&stopped, Stop::Drain(DRAIN_LIMIT)).await;
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

    /// Stops everything in order, the NATS server last.
    pub(crate) async fn stop_all(&self) {
        for (names, limit) in stop_order(&self.supervisor.names()) {
            self.supervisor.stop(&names, Stop::Hurry(limit)).await;
        }
    }
}
