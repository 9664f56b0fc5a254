//! What the generator tells Prometheus: the rate that was asked for, and what became of the submissions.

use faultline_runtime::metrics::{Metrics, SECONDS};
use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use crate::load::Target;

#[derive(Debug, Clone)]
pub(crate) struct GeneratorMetrics {
    pub(crate) in_force_per_second: Gauge,
    pub(crate) load_ratio: Gauge,
    pub(crate) submitted: IntCounter,
    pub(crate) repeated: IntCounter,
    pub(crate) given_up: IntCounter,
    pub(crate) in_flight: IntGauge,
    pub(crate) submit_seconds: Histogram,
}

impl GeneratorMetrics {
    pub(crate) fn show(&self, target: &Target) {
        self.in_force_per_second.set(target.per_minute() / 60.0);
        self.load_ratio.set(target.asked().load_percent().unwrap_or_default() / 100.0);
    }

    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            in_force_per_second: metrics.real_gauge(
                "faultline_generator_in_force_jobs_per_second",
                "The rate at which jobs are generated: the setting, unless it was refused, or what a load comes to.",
            ),
            load_ratio: metrics.real_gauge(
                "faultline_generator_load_ratio",
                "The share of the cluster's GPU time that is asked for, 1 for all of it; 0 while a rate is set instead.",
            ),
            submitted: metrics
                .counter("faultline_generator_submitted_jobs_total", "Jobs that were handed over: its rate is the achieved one."),
            repeated: metrics
                .counter("faultline_generator_repeated_submissions_total", "Submissions that did not work and were tried again."),
            given_up: metrics.counter("faultline_generator_given_up_jobs_total", "Jobs that could not be handed over."),
            in_flight: metrics.gauge("faultline_generator_submissions_in_flight", "Jobs that are being handed over."),
            submit_seconds: metrics.histogram(
                "faultline_generator_submit_seconds",
                "From the moment a job was due to its two acknowledgements, repetitions included.",
                &SECONDS,
            ),
        }
    }
}
