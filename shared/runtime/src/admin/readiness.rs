//! Whether a process can do its work. What it still waits for are conditions with reasons; the connection is asked anew each time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;

/// Reasons that a report lists; a worker of a thousand nodes can wait for each of them.
const MAX_REASONS: usize = 10;

/// The answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyReport {
    /// `worker`; empty from a process of an older version.
    #[serde(default)]
    pub service: String,
    pub process: String,
    pub ready: bool,
    /// What it does, in words: `leads, epoch 7`.
    pub state: String,
    /// Why it is not ready.
    pub reasons: Vec<String>,
    /// What is wrong although the work goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What a process tells about itself. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: String,
    stopping: CancellationToken,
    nats: OnceLock<Connection>,
    own: Mutex<Own>,
}

#[derive(Debug, Default)]
struct Own {
    process: String,
    state: String,
    /// Reasons by the name of the condition that is not met.
    unmet: BTreeMap<String, String>,
    /// Warnings by what they are about.
    warnings: BTreeMap<String, String>,
}

impl Readiness {
    /// Not ready before [`Readiness::connected`], nor once `stopping` is cancelled.
    pub fn new(service: &str, process: &str, stopping: CancellationToken) -> Self {
        let own = Own { process: process.to_owned(), ..Own::default() };
        Self(Arc::new(Inner { service: service.to_owned(), stopping, nats: OnceLock::new(), own: Mutex::new(own) }))
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.0.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rename(&self, process: &str) {
        process.clone_into(&mut self.own().process);
    }

    /// From now on the connection's state counts.
    pub fn connected(&self, nats: &Connection) {
        // There is one connection in the life of a process.
        let _ = self.0.nats.set(nats.clone());
    }

    /// Not ready until [`Readiness::met`], and why.
    pub fn unmet(&self, condition: &str, reason: impl Into<String>) {
        self.own().unmet.insert(condition.to_owned(), reason.into());
    }

    pub fn met(&self, condition: &str) {
        self.own().unmet.remove(condition);
    }

    /// What is wrong although the work goes on; none ends the warning.
    pub fn warn(&self, about: &str, warning: Option<String>) {
        let mut own = self.own();
        match warning {
            Some(warning) => drop(own.warnings.insert(about.to_owned(), warning)),
            None => drop(own.warnings.remove(about)),
        }
    }

    /// What the process does, in words.
    pub fn describe(&self, state: impl Into<String>) {
        self.own().state = state.into();
    }

    pub fn report(&self) -> ReadyReport {
        let mut reasons = Vec::new();
        if self.0.stopping.is_cancelled() {
            reasons.push("it is stopping".to_owned());
        }
        match self.0.nats.get() {
            None => reasons.push("NATS has not been reached yet".to_owned()),
            Some(nats) => {
                let silence = nats.silent_for();
                reasons.extend(silence.map(|silence| format!("NATS has not answered for {:.1} s", silence.as_secs_f64())));
                if !nats.is_connected() {
                    reasons.push("the connection to NATS is down and is made again".to_owned());
                } else if silence.is_none() {
                    reasons.extend(nats.missing().reasons());
                }
            }
        }
        let own = self.own();
        let more = own.unmet.len().saturating_sub(MAX_REASONS);
        reasons.extend(own.unmet.values().take(MAX_REASONS).cloned());
        if more > 0 {
            reasons.push(format!("and {more} more"));
        }
        let (service, process, state) = (self.0.service.clone(), own.process.clone(), own.state.clone());
        let warnings = own.warnings.values().cloned().collect();
        ReadyReport { service, process, ready: reasons.is_empty(), state, reasons, warnings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_told_and_is_no_reason_to_be_unready() {
        let readiness = Readiness::new("worker", "worker-01", CancellationToken::new());
        let reasons = readiness.report().reasons;
        readiness.warn("clock", Some("it is an hour ahead".into()));
        let report = readiness.report();
        assert_eq!((report.warnings, report.reasons), (vec!["it is an hour ahead".to_owned()], reasons));
        readiness.warn("clock", None);
        assert!(readiness.report().warnings.is_empty());
    }

    #[test]
    fn every_unmet_condition_is_a_reason_until_it_is_met() {
        let stopping = CancellationToken::new();
        let readiness = Readiness::new("worker", "worker-01", stopping.clone());
        for index in 1..=12 {
            readiness.unmet(&format!("node {index:02}"), format!("node {index:02} is not registered yet"));
        }
        readiness.describe("hosts 12 nodes");
        let report = readiness.report();
        assert!(!report.ready);
        assert_eq!((report.reasons.len(), report.reasons.last().unwrap().as_str()), (12, "and 2 more"));
        for index in 1..=12 {
            readiness.met(&format!("node {index:02}"));
        }
        assert_eq!(readiness.report().reasons, ["NATS has not been reached yet"]);
        stopping.cancel();
        readiness.rename("worker-02");
        assert_eq!((readiness.report().process.as_str(), readiness.report().reasons[0].as_str()), ("worker-02", "it is stopping"));
    }
}
