//! What the parts of one term of leadership share.

use std::time::Duration;

use faultline_runtime::admin::Readiness;
use faultline_runtime::connection::Connection;
use faultline_runtime::events::EventSink;
use faultline_runtime::lease::Validity;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::memory::SharedMemory;
use crate::metrics::SchedulerMetrics;
use crate::settings::Settings;

/// What the parts of one term share.
pub(crate) struct Term<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) nats: &'a Connection,
    pub(crate) events: &'a EventSink,
    pub(crate) metrics: &'a SchedulerMetrics,
    /// What this process has seen of the ledger and its streams.
    pub(crate) memory: &'a SharedMemory,
    pub(crate) readiness: &'a Readiness,
    pub(crate) epoch: u64,
    pub(crate) raises: mpsc::Sender<u64>,
    pub(crate) validity: Validity,
    /// Cancelled when the term ends.
    pub(crate) over: CancellationToken,
    /// Between two looks at the clock, when nothing else happens.
    pub(crate) tick: Duration,
    pub(crate) tasks: TaskTracker,
}

impl Term<'_> {
    /// A task that ends with the term.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.nats.spawner().spawn_tracked(&self.tasks, task);
    }
}
