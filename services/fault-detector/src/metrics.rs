//! What the fault detector tells Prometheus: verdicts, how long the silence was before them, and how suspicious each node is now.

use std::sync::{Arc, Mutex, PoisonError};

use faultline_engine::detector::{NodeVerdict, PingOutcome};
use faultline_engine::node::Health;
use faultline_runtime::metrics::{Family, Kind, Metrics, SECONDS};
use prometheus::{HistogramVec, IntCounter, IntCounterVec};

/// Beyond this a suspicion says nothing more, and an estimator's number can be infinite.
const MAX_SUSPICION: f64 = 1000.0;

const FAMILIES: [Family; 2] = [
    Family { name: "faultline_detector_nodes_watched", help: "Nodes that are watched.", kind: Kind::Gauge, labels: &[] },
    Family {
        name: "faultline_detector_suspicion",
        help: "How suspicious a node's silence is (phi, at most 1000); 0 for detectors that have no number.",
        kind: Kind::Gauge,
        labels: &["node"],
    },
];

type Suspicions = Arc<Mutex<Vec<(String, f64)>>>;

pub(crate) struct DetectorMetrics {
    pub(crate) heartbeats: IntCounter,
    verdicts: IntCounterVec,
    detection_seconds: HistogramVec,
    pings: IntCounterVec,
    suspicions: Suspicions,
}

impl DetectorMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let suspicions = Suspicions::default();
        let told = Arc::clone(&suspicions);
        metrics.live(&FAMILIES, move |readings| {
            let suspicions = told.lock().unwrap_or_else(PoisonError::into_inner);
            readings.put("faultline_detector_nodes_watched", &[], suspicions.len() as f64);
            for (node, phi) in suspicions.iter() {
                readings.put("faultline_detector_suspicion", &[node], *phi);
            }
        });
        let made = Self {
            heartbeats: metrics.counter("faultline_detector_heartbeats_total", "Heartbeats that were heard."),
            verdicts: metrics.counters("faultline_detector_verdicts_total", "Changes of opinion about a node.", &["verdict"]),
            detection_seconds: metrics.histograms(
                "faultline_detection_seconds",
                "From a node's last sign of life to the verdict on it.",
                &["verdict"],
                &SECONDS,
            ),
            pings: metrics.counters("faultline_detector_pings_total", "Workers that were asked for a sign of life.", &["answer"]),
            suspicions,
        };
        for health in Health::ALL {
            made.verdicts.with_label_values(&[health.as_str()]);
        }
        for health in [Health::Suspect, Health::Gone, Health::Dead] {
            made.detection_seconds.with_label_values(&[health.as_str()]);
        }
        for answer in ["answered", "garbled", "nobody_listens", "timed_out", "not_asked"] {
            made.pings.with_label_values(&[answer]);
        }
        made
    }

    pub(crate) fn on_verdict(&self, verdict: &NodeVerdict) {
        let health = verdict.health.as_str();
        self.verdicts.with_label_values(&[health]).inc();
        if verdict.health != Health::Alive {
            self.detection_seconds.with_label_values(&[health]).observe(verdict.silence_ms as f64 / 1000.0);
        }
    }

    pub(crate) fn on_ping_answer(&self, outcome: &PingOutcome) {
        let answer = match outcome {
            PingOutcome::Answered { .. } => "answered",
            PingOutcome::Garbled => "garbled",
            PingOutcome::NobodyListens => "nobody_listens",
            PingOutcome::TimedOut => "timed_out",
            PingOutcome::NotAsked => "not_asked",
        };
        self.pings.with_label_values(&[answer]).inc();
    }

    pub(crate) fn set_suspicions<'a>(&self, suspicions: impl Iterator<Item = (&'a str, f64)>) {
        let sane = |phi: f64| if phi.is_nan() { 0.0 } else { phi.clamp(0.0, MAX_SUSPICION) };
        *self.suspicions.lock().unwrap_or_else(PoisonError::into_inner) =
            suspicions.map(|(node, phi)| (node.to_owned(), sane(phi))).collect();
    }
}
