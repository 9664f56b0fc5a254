//! What every handler shares: the view, the cluster, the limits and the newest round of pushes.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use faultline_runtime::clock::unix_ms;
use faultline_runtime::metrics::Metrics;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::api::LastMessaging;
use crate::cluster::Cluster;
use crate::guard::Guard;
use crate::metrics::DashboardMetrics;
use crate::push::Newest;
use crate::view::View;

/// WebSockets and event streams that may be open at once.
pub(crate) const MAX_STREAMS: usize = 64;
/// Requests that may be answered at once.
pub(crate) const MAX_REQUESTS: usize = 256;

/// The view behind its lock. Held for moments only, never across an await.
#[derive(Debug, Clone)]
pub(crate) struct SharedView(Arc<RwLock<View>>);

impl SharedView {
    pub(crate) fn new(view: View) -> Self {
        Self(Arc::new(RwLock::new(view)))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, View> {
        // A panic while it was held leaves a view that is merely older than it could be.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, View> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) view: SharedView,
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) messaging: Arc<LastMessaging>,
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) streams: Arc<Semaphore>,
    /// The newest round; each WebSocket sends the newest that there is when it is ready for more.
    pub(crate) rounds: watch::Receiver<Newest>,
    /// Told when a WebSocket was opened.
    pub(crate) arrivals: Arc<Notify>,
    pub(crate) stopping: CancellationToken,
    pub(crate) metrics: DashboardMetrics,
}

impl App {
    pub(crate) fn new(
        view: SharedView,
        cluster: Arc<dyn Cluster>,
        guard: Guard,
        rounds: watch::Receiver<Newest>,
        stopping: CancellationToken,
        metrics: &Metrics,
    ) -> Self {
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        Self {
            metrics: DashboardMetrics::new(metrics, &streams),
            view,
            cluster,
            guard: Arc::new(guard),
            messaging: Arc::default(),
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
            streams,
            rounds,
            arrivals: Arc::default(),
            stopping,
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        unix_ms()
    }
}
