//! The fold of incidents, told what this process hears.

use std::collections::BTreeSet;

use faultline_engine::job::JobId;
use faultline_protocol::messages::{ClusterEvent, EventKind, NodeRegistration};

use super::View;

/// Between two looks for interrupted jobs whose end was never heard.
const SETTLE_EVERY_MS: u64 = 10_000;

impl View {
    pub(crate) fn on_registration(&mut self, registration: NodeRegistration) {
        self.incidents.on_node(&registration.spec.node, &registration.spec.worker);
        self.nodes.on_registration(registration);
    }

    /// EVENTS was made anew, or is an older copy: it is read from its beginning.
    pub(crate) fn on_events_began_again(&mut self) {
        self.events.begin_again();
        self.incidents.begin_again();
    }

    pub(super) fn fold_event(&mut self, event: &ClusterEvent) {
        self.incidents.on_event(event);
        // The records are read beside the history: the end may have been there first.
        if let (EventKind::AttemptLost, Some(job)) = (event.kind, event.job)
            && let Some((state, at_ms, attempt)) = self.jobs.end_of(job)
        {
            self.incidents.on_ended(job, state, at_ms, attempt);
        }
    }

    /// Interrupted jobs that are not known any more have ended, and their records have expired.
    pub(super) fn settle_incidents(&mut self, now_ms: u64) {
        if now_ms < self.settled_at_ms + SETTLE_EVERY_MS {
            return;
        }
        self.settled_at_ms = now_ms;
        let missing: BTreeSet<JobId> = self.incidents.open_jobs().filter(|job| !self.jobs.contains(*job)).collect();
        // One that is missing for the first time may have a record that is still on its way.
        for job in self.missing_jobs.intersection(&missing) {
            self.incidents.forget(*job);
        }
        self.missing_jobs = missing;
    }
}
