//! What the dashboard tells Prometheus: who watches, and what that costs.

use std::sync::Arc;

use faultline_runtime::metrics::{Family, Kind, Metrics};
use prometheus::IntCounter;
use tokio::sync::Semaphore;

use crate::limits::MAX_STREAMS;

const FAMILIES: [Family; 1] =
    [Family { name: "faultline_dashboard_clients", help: "WebSockets and event streams that are open.", kind: Kind::Gauge, labels: &[] }];

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct DashboardMetrics {
    pub(crate) frames: IntCounter,
    pub(crate) frame_bytes: IntCounter,
}

impl DashboardMetrics {
    /// `streams` has a permit for each connection that could still be opened.
    pub(crate) fn new(metrics: &Metrics, streams: &Arc<Semaphore>) -> Self {
        let streams = Arc::clone(streams);
        metrics.live(&FAMILIES, move |out| {
            out.put("faultline_dashboard_clients", &[], (MAX_STREAMS - streams.available_permits().min(MAX_STREAMS)) as f64);
        });
        Self {
            frames: metrics.counter("faultline_dashboard_frames_total", "WebSocket messages that were sent, to all clients."),
            frame_bytes: metrics.counter("faultline_dashboard_frame_bytes_total", "Bytes in those messages."),
        }
    }
}
