//! What a worker tells Prometheus about its attempts. Its GPUs are in `dcgm`.

use std::collections::BTreeMap;

use faultline_engine::fault::FaultKind;
use faultline_engine::job::AttemptOutcome;
use faultline_runtime::metrics::{Metrics, SECONDS};
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use crate::dcgm::GpuSeries;
use crate::executor::Registry;

const OUTCOMES: [(AttemptOutcome, &str); 6] = [
    (AttemptOutcome::Committed, "committed"),
    (AttemptOutcome::Failed, "failed"),
    (AttemptOutcome::TimedOut, "timed_out"),
    (AttemptOutcome::Lost, "interrupted"),
    (AttemptOutcome::Cancelled, "cancelled"),
    (AttemptOutcome::Superseded, "superseded"),
];

#[derive(Clone)]
pub(crate) struct WorkerMetrics {
    pub(crate) running: IntGauge,
    pub(crate) commit_seconds: Histogram,
    pub(crate) gpus: GpuSeries,
    ended: [IntCounter; OUTCOMES.len()],
    executor_seconds: BTreeMap<&'static str, Histogram>,
    faults: IntCounterVec,
}

impl WorkerMetrics {
    /// With a series for each kind that the registry knows.
    pub(crate) fn new(metrics: &Metrics, registry: &Registry) -> Self {
        let ended = metrics.counters("faultline_worker_attempts_total", "Attempts that ended here, by how.", &["outcome"]);
        let executor_seconds = metrics.histograms(
            "faultline_worker_executor_seconds",
            "How long executors worked on an attempt, whatever its outcome.",
            &["kind"],
            &SECONDS,
        );
        let faults = metrics.counters(
            "faultline_worker_faults_total",
            "Faults that began on this worker's nodes, simulated or of real GPUs.",
            &["kind"],
        );
        for kind in FaultKind::ALL {
            faults.with_label_values(&[kind.as_str()]);
        }
        Self {
            running: metrics.gauge("faultline_worker_attempts_running", "Attempts that run on this worker's nodes."),
            commit_seconds: metrics.histogram(
                "faultline_worker_commit_seconds",
                "From the publish of a result to the answer of the stream.",
                &SECONDS,
            ),
            gpus: GpuSeries::new(metrics),
            ended: OUTCOMES.map(|(_, outcome)| ended.with_label_values(&[outcome])),
            executor_seconds: registry.kinds().map(|kind| (kind, executor_seconds.with_label_values(&[kind]))).collect(),
            faults,
        }
    }

    pub(crate) fn on_ended(&self, outcome: AttemptOutcome) {
        if let Some(at) = OUTCOMES.iter().position(|(known, _)| *known == outcome) {
            self.ended[at].inc();
        }
    }

    pub(crate) fn on_executed(&self, kind: &str, seconds: f64) {
        if let Some(histogram) = self.executor_seconds.get(kind) {
            histogram.observe(seconds);
        }
    }

    pub(crate) fn on_fault(&self, kind: &str) {
        // Kinds are a closed set: nothing else can make a series.
        if let Some(known) = FaultKind::ALL.iter().find(|known| known.as_str().replace('-', "_") == kind) {
            self.faults.with_label_values(&[known.as_str()]).inc();
        }
    }
}
