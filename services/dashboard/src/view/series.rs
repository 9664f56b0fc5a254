//! The cluster second by second, for charts: kept since the start of this process, an hour of it.

use std::collections::VecDeque;

use faultline_protocol::messages::{ClusterEvent, EventKind};
use serde::Serialize;
use utoipa::ToSchema;

use super::jobs::clip_to;

/// How many seconds are kept.
pub(crate) const SERIES_SECONDS: usize = 3_600;
const MAX_MARKERS: usize = 2_000;
const MAX_DETAIL_BYTES: usize = 200;

/// One second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub(crate) struct SeriesPoint {
    /// When it was taken, in Unix milliseconds.
    pub(crate) t_ms: u64,
    /// Jobs submitted in the second before.
    pub(crate) arrivals_per_s: u64,
    /// Jobs committed in the second before.
    pub(crate) completions_per_s: u64,
    /// Jobs that wait.
    pub(crate) queue: u64,
    pub(crate) running: u64,
    /// Mean over the GPUs of all nodes that are heard, 0 to 100; none while no node is.
    pub(crate) gpu_utilisation_percent: Option<f32>,
    /// Booked thousandths of GPUs by all there are, 0 to 100; none while no scheduler answers.
    pub(crate) gpu_allocated_percent: Option<f32>,
    pub(crate) temperature_max_c: Option<f32>,
    pub(crate) temperature_mean_c: Option<f32>,
    pub(crate) nodes_alive: u32,
}

/// Something to mark in a chart.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Marker {
    pub(crate) t_ms: u64,
    pub(crate) kind: EventKind,
    pub(crate) node: Option<String>,
    pub(crate) detail: String,
}

/// The points as columns, oldest first, and what happened meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Columns {
    pub(crate) t_ms: Vec<u64>,
    pub(crate) arrivals_per_s: Vec<u64>,
    pub(crate) completions_per_s: Vec<u64>,
    pub(crate) queue: Vec<u64>,
    pub(crate) running: Vec<u64>,
    pub(crate) gpu_utilisation_percent: Vec<Option<f32>>,
    pub(crate) gpu_allocated_percent: Vec<Option<f32>>,
    pub(crate) temperature_max_c: Vec<Option<f32>>,
    pub(crate) temperature_mean_c: Vec<Option<f32>>,
    pub(crate) nodes_alive: Vec<u32>,
    /// Faults and verdicts, changes of leader and rate.
    pub(crate) markers: Vec<Marker>,
}

/// The newest hour.
#[derive(Debug, Default)]
pub(crate) struct Series {
    points: VecDeque<SeriesPoint>,
    markers: VecDeque<Marker>,
}

impl Series {
    pub(crate) fn push(&mut self, point: SeriesPoint) {
        if self.points.len() >= SERIES_SECONDS {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    /// The newest point; none in the first second.
    pub(crate) fn last(&self) -> Option<SeriesPoint> {
        self.points.back().copied()
    }

    pub(crate) fn on_event(&mut self, event: &ClusterEvent) {
        let marks = matches!(
            event.kind,
            EventKind::FaultBegan
                | EventKind::FaultEnded
                | EventKind::NodeSuspect
                | EventKind::NodeGone
                | EventKind::NodeDead
                | EventKind::NodeRecovered
                | EventKind::LeaderElected
                | EventKind::LeaderLost
                | EventKind::RateChanged
                | EventKind::WorkersScaled
                | EventKind::PolicyFailed
                | EventKind::PolicyRecovered
        );
        if !marks {
            return;
        }
        if self.markers.len() >= MAX_MARKERS {
            self.markers.pop_front();
        }
        let mut detail = event.detail.clone();
        clip_to(&mut detail, MAX_DETAIL_BYTES);
        self.markers.push_back(Marker { t_ms: event.at_ms, kind: event.kind, node: event.node.clone(), detail });
    }

    /// What is known of the time from `from_ms` on.
    pub(crate) fn since(&self, from_ms: u64) -> Columns {
        let mut columns = Columns::default();
        for point in self.points.iter().filter(|point| point.t_ms >= from_ms) {
            columns.t_ms.push(point.t_ms);
            columns.arrivals_per_s.push(point.arrivals_per_s);
            columns.completions_per_s.push(point.completions_per_s);
            columns.queue.push(point.queue);
            columns.running.push(point.running);
            columns.gpu_utilisation_percent.push(point.gpu_utilisation_percent);
            columns.gpu_allocated_percent.push(point.gpu_allocated_percent);
            columns.temperature_max_c.push(point.temperature_max_c);
            columns.temperature_mean_c.push(point.temperature_mean_c);
            columns.nodes_alive.push(point.nodes_alive);
        }
        columns.markers = self.markers.iter().filter(|marker| marker.t_ms >= from_ms).cloned().collect();
        columns
    }
}

#[cfg(test)]
mod tests {
    use faultline_protocol::messages::Level;

    use super::*;

    fn point(t_ms: u64) -> SeriesPoint {
        SeriesPoint {
            t_ms,
            arrivals_per_s: 1,
            completions_per_s: 2,
            queue: 3,
            running: 4,
            gpu_utilisation_percent: Some(5.0),
            gpu_allocated_percent: None,
            temperature_max_c: Some(6.0),
            temperature_mean_c: Some(7.0),
            nodes_alive: 8,
        }
    }

    #[test]
    fn an_hour_is_kept_and_read_as_columns() {
        let mut series = Series::default();
        assert_eq!((series.last(), series.since(0)), (None, Columns::default()));
        (0..4_000).for_each(|second| series.push(point(second * 1_000)));
        let all = series.since(0);
        assert_eq!((all.t_ms.len(), all.t_ms[0], all.t_ms[3_599]), (3_600, 400_000, 3_999_000));
        let newest = series.since(3_998_000);
        assert_eq!((newest.queue, newest.gpu_allocated_percent), (vec![3, 3], vec![None, None]));
    }

    #[test]
    fn what_happened_to_nodes_and_leaders_is_marked_and_jobs_are_not() {
        let mut series = Series::default();
        let event = |at_ms, kind| ClusterEvent::new(at_ms, "detector", Level::Warn, kind, "x".repeat(1_000));
        series.on_event(&event(1, EventKind::NodeDead));
        series.on_event(&event(2, EventKind::JobPlaced));
        series.on_event(&event(3, EventKind::LeaderLost));
        let markers = series.since(2).markers;
        assert_eq!((markers.len(), markers[0].kind), (1, EventKind::LeaderLost));
        assert!(markers[0].detail.len() <= 210);
        (0..5_000).for_each(|at_ms| series.on_event(&event(at_ms, EventKind::FaultBegan)));
        assert_eq!(series.since(0).markers.len(), MAX_MARKERS);
    }
}
