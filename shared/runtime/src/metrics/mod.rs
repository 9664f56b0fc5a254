//! What a process counts, for Prometheus: one registry a process, filled when the process starts. A name that is given twice, or that
//! Prometheus would not take, is a bug and panics at the start. Handles are kept by who counts, so that counting is an addition.

mod live;

use faultline_engine::scheduler::BOUNDS_MS;
use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use live::{Family, Kind, Readings};

/// The content type of `/metrics`.
pub const TEXT_FORMAT: &str = prometheus::TEXT_FORMAT;

/// Bounds for durations between a millisecond and five minutes, in seconds: the classes in which the engine counts them, too.
pub const SECONDS: [f64; BOUNDS_MS.len()] = {
    let mut seconds = [0.0; BOUNDS_MS.len()];
    let mut at = 0;
    while at < seconds.len() {
        seconds[at] = BOUNDS_MS[at] as f64 / 1000.0;
        at += 1;
    }
    seconds
};

fn made<C>(collector: prometheus::Result<C>) -> C {
    collector.unwrap_or_else(|error| panic!("a metric cannot be made: {error}"))
}

/// The registry of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// One series, which says what this is.
    info: IntGaugeVec,
}

impl Metrics {
    /// With what every process tells: its version and name, and on Linux its processor time, memory and files.
    pub fn new(service: &str, process: &str) -> Self {
        let metrics = Self::of_none(service, process);
        #[cfg(target_os = "linux")]
        metrics.register(prometheus::process_collector::ProcessCollector::for_self());
        metrics
    }

    /// For a part of another process: without what the operating system says of a process.
    pub(crate) fn of_none(service: &str, process: &str) -> Self {
        let info = Opts::new("faultline_build_info", "Always 1; the labels say which process of which version this is.");
        let info = made(IntGaugeVec::new(info, &["service", "process", "version"]));
        let metrics = Self { registry: Registry::new(), info };
        metrics.register(metrics.info.clone());
        metrics.name(service, process);
        metrics
    }

    /// What the process is called from now on.
    pub(crate) fn name(&self, service: &str, process: &str) {
        self.info.reset();
        self.info.with_label_values(&[service, process, env!("CARGO_PKG_VERSION")]).set(1);
    }

    /// Adds something that is collected at each scrape.
    pub fn register(&self, collector: impl Collector + 'static) {
        if let Err(error) = self.registry.register(Box::new(collector)) {
            panic!("a metric cannot be registered: {error}");
        }
    }

    fn added<C: Collector + Clone + 'static>(&self, collector: prometheus::Result<C>) -> C {
        let collector = made(collector);
        self.register(collector.clone());
        collector
    }

    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.added(IntCounter::new(name, help))
    }

    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.added(IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.added(IntGauge::new(name, help))
    }

    /// A gauge with a fraction, such as one in seconds.
    pub fn real_gauge(&self, name: &str, help: &str) -> Gauge {
        self.added(Gauge::new(name, help))
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.added(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.added(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }

    pub fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.added(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }

    /// Adds series that `read` tells at each scrape.
    pub fn live(&self, families: &'static [Family], read: impl Fn(&mut Readings<'_>) + Send + Sync + 'static) {
        match live::Live::new(families, Box::new(read)) {
            Ok(live) => self.register(live),
            Err(error) => panic!("metrics cannot be made: {error}"),
        }
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const FAMILIES: [Family; 2] = [
        Family { name: "test_heat", help: "A gauge.", kind: Kind::Gauge, labels: &["node", "gpu"] },
        Family { name: "test_joules_total", help: "A counter.", kind: Kind::Counter, labels: &[] },
    ];

    #[test]
    fn live_series_end_with_what_they_tell_of() {
        let metrics = Metrics::new("worker", "worker-01");
        let is_there = Arc::new(AtomicBool::new(true));
        let node = Arc::clone(&is_there);
        metrics.live(&FAMILIES, move |readings| {
            readings.put("test_joules_total", &[], 7.0);
            if node.load(Ordering::Relaxed) {
                readings.put("test_heat", &["gpu-node-01", "0"], 40.5);
            }
        });
        let text = metrics.render().unwrap();
        assert!(text.contains("# TYPE test_heat gauge\ntest_heat{node=\"gpu-node-01\",gpu=\"0\"} 40.5\n"), "{text}");
        assert!(text.contains("# TYPE test_joules_total counter\ntest_joules_total 7\n"), "{text}");
        is_there.store(false, Ordering::Relaxed);
        let text = metrics.render().unwrap();
        assert!(!text.contains("test_heat") && text.contains("test_joules_total"), "{text}");
    }

    #[test]
    fn a_process_that_is_renamed_has_one_name() {
        let metrics = Metrics::new("worker", "worker");
        metrics.name("worker", "worker-03");
        let text = metrics.render().unwrap();
        let infos: Vec<&str> = text.lines().filter(|line| line.starts_with("faultline_build_info{")).collect();
        assert!(infos.len() == 1 && infos[0].contains(r#"process="worker-03""#), "{text}");
    }

    #[test]
    #[should_panic(expected = "cannot be registered")]
    fn a_name_that_is_taken_is_a_bug() {
        let metrics = Metrics::new("worker", "worker-01");
        metrics.counter("test_total", "One.");
        metrics.counter("test_total", "One.");
    }
}
