//! What every handler shares: the view, the cluster, the limits and the newest round of pushes.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use faultline_engine::job::JobId;
use faultline_runtime::clock::unix_ms;
use faultline_runtime::metrics::Metrics;
use faultline_runtime::trace;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, LastMessaging};
use crate::error::ApiError;
use crate::guard::Guard;
use crate::limits::{MAX_REQUESTS, MAX_STREAMS};
use crate::metrics::DashboardMetrics;
use crate::past::SharedPast;
use crate::push::Newest;
use crate::settings::TRACE_ID_PLACE;
use crate::view::SharedView;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) view: SharedView,
    pub(crate) past: SharedPast,
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
    /// Where a trace is looked at, with a place for its id.
    pub(crate) trace_url: Option<Arc<str>>,
}

impl App {
    pub(crate) fn new(
        view: SharedView,
        past: SharedPast,
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
            past,
            cluster,
            guard: Arc::new(guard),
            messaging: Arc::default(),
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
            streams,
            rounds,
            arrivals: Arc::default(),
            stopping,
            trace_url: None,
        }
    }

    /// Where the trace of a job is looked at. Its id is the job's own.
    pub(crate) fn trace_of(&self, job: JobId) -> Option<String> {
        Some(self.trace_url.as_ref()?.replace(TRACE_ID_PLACE, &trace::id_of(job)))
    }

    /// Leave to keep a connection open: a WebSocket, or a stream of events.
    pub(crate) fn stream_permit(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", format!("{MAX_STREAMS} WebSockets and event streams are open already"))
                .remedy("close one of them")
                .with_header(header::RETRY_AFTER, "5")
        })
    }

    pub(crate) fn now_ms(&self) -> u64 {
        unix_ms()
    }
}
