//! Breaks things inside `faultline up` and puts them right again: at the end of the time given, when it is told to, and when `up`
//! stops. Putting right what is whole already does nothing. Each fault of a process is written into the history as it really was;
//! links and nodes write their own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use faultline_client::faults;
use faultline_engine::fault::{cause, fault_id};
use faultline_protocol::messages::{ClusterEvent, EventKind, FaultCause, FaultDepth, FaultOrder, FaultOrderKind, FaultTruth, Level};
use faultline_proxy::LinkConditions;
use faultline_runtime::clock::{random_u128, unix_ms};
use faultline_runtime::connect::Nats;
use tokio::time::Instant;

use crate::experiment::fault::Fault;
use crate::up::cluster::Cluster;
use crate::up::supervisor::Signal;

/// A process that is let go runs again within this time, or is left to its supervisor.
const START_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// What is broken now, by the id of the fault.
pub(crate) struct Injector {
    cluster: Arc<Cluster>,
    nats: Nats,
    active: Mutex<BTreeMap<String, Active>>,
}

struct Active {
    fault: Fault,
    began_ms: u64,
    by: String,
}

impl Injector {
    pub(crate) fn new(cluster: Arc<Cluster>, nats: Nats) -> Arc<Self> {
        Arc::new(Self { cluster, nats, active: Mutex::default() })
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Breaks it, and puts it right after `for_ms` by itself. `by` says for whom, in the history. Returns the fault's id.
    pub(crate) async fn inject(self: &Arc<Self>, fault: Fault, for_ms: u64, by: &str) -> Result<String, String> {
        let began_ms = unix_ms();
        let id = fault_id(began_ms, random_u128());
        match &fault {
            Fault::Kill { service } => self.cluster.kill_and_hold(service)?,
            Fault::Freeze { service } => self.signal(service, Signal::STOP)?,
            Fault::Link { service, conditions } => self.link(service, *conditions, by)?,
            Fault::Node { worker, order } => self.order(worker, &FaultOrder { by: by.to_owned(), ..order.clone() }).await?,
        }
        tracing::warn!(id, for_ms, by, "injected: {}", fault.words());
        let active = Active { fault, began_ms, by: by.to_owned() };
        self.write_truth(&id, &active, Some(began_ms + for_ms), EventKind::FaultBegan);
        self.locked().insert(id.clone(), active);
        // The client may be gone by then.
        let (injector, due) = (Arc::clone(self), id.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(for_ms)).await;
            injector.restore(&due).await;
        });
        Ok(id)
    }

    /// Puts one fault right, if it is not already.
    pub(crate) async fn restore(&self, id: &str) {
        let Some(active) = self.locked().remove(id) else { return };
        let fault = &active.fault;
        let restored = match fault {
            Fault::Kill { service } => self.let_run(service).await,
            Fault::Freeze { service } => self.signal(service, Signal::CONT),
            Fault::Link { service, .. } => self.link(service, LinkConditions::default(), &active.by),
            Fault::Node { worker, order } => self.end_order(worker, order).await,
        };
        match restored {
            Ok(()) => tracing::info!(id, "put right: {}", fault.target()),
            // It was scaled away, or died of something else: there is nothing to put right.
            Err(reason) => tracing::warn!(id, reason, "{} could not be repaired", fault.target()),
        }
        self.write_truth(id, &active, Some(unix_ms()), EventKind::FaultEnded);
    }

    /// Puts everything right that is still broken; false when nothing is.
    pub(crate) async fn restore_all(&self) -> bool {
        let ids: Vec<String> = self.locked().keys().cloned().collect();
        for id in &ids {
            self.restore(id).await;
        }
        !ids.is_empty()
    }

    fn signal(&self, service: &str, signal: Signal) -> Result<(), String> {
        self.cluster.signal(service, signal).map(drop).map_err(|error| error.to_string())
    }

    fn link(&self, service: &str, conditions: LinkConditions, by: &str) -> Result<(), String> {
        self.cluster.link(service, conditions, by).map_err(|error| error.to_string())
    }

    async fn let_run(&self, service: &str) -> Result<(), String> {
        self.cluster.release(service)?;
        let give_up = Instant::now() + START_LIMIT;
        while !self.cluster.services().iter().any(|(name, runs)| name == service && *runs) {
            if Instant::now() >= give_up {
                return Err("it does not start again".into());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn order(&self, worker: &str, order: &FaultOrder) -> Result<(), String> {
        faults::hand_over(&self.nats, worker, order).await.map_err(|error| error.to_string())
    }

    /// The fault ends by itself at its time; this only makes sure, and so need not be heard.
    async fn end_order(&self, worker: &str, order: &FaultOrder) -> Result<(), String> {
        let restore = FaultOrder { kind: FaultOrderKind::Restore, ..order.clone() };
        faults::send(&self.nats, worker, &restore).await.map_err(|error| error.to_string())
    }

    fn write_truth(&self, id: &str, active: &Active, until_ms: Option<u64>, kind: EventKind) {
        let Active { fault, began_ms, by } = active;
        let word = match fault {
            Fault::Kill { .. } => cause::KILL,
            Fault::Freeze { .. } => cause::FREEZE,
            Fault::Link { .. } | Fault::Node { .. } => return,
        };
        let truth = FaultTruth {
            id: id.to_owned(),
            kind: word.to_owned(),
            depth: FaultDepth::Process,
            target: fault.target().to_owned(),
            gpu: None,
            from_ms: *began_ms,
            until_ms,
            cause: FaultCause::Ordered,
            domain: None,
            by: by.clone(),
        };
        let is_begin = kind == EventKind::FaultBegan;
        let words = if is_begin { format!("{}, by {by}", fault.words()) } else { format!("{word} of {} is over", fault.target()) };
        let at_ms = if is_begin { *began_ms } else { until_ms.unwrap_or(*began_ms) };
        let mut event = ClusterEvent::new(at_ms, "up", Level::Warn, kind, words);
        event.fault = Some(truth);
        self.cluster.tell(event);
    }
}
