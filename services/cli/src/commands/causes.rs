//! Which faults a job's attempts broke off by, from the ground truth in the history.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use faultline_client::faults::registration;
use faultline_engine::job::{AttemptOutcome, AttemptSummary};
use faultline_protocol::messages::{ClusterEvent, EventBatch, EventKind, FaultTruth};
use faultline_protocol::views::AttemptCause;
use faultline_protocol::{codec, streams, subjects};
use faultline_runtime::connect::Nats;
use faultline_runtime::read::{From, Reader};

/// Faults by their id.
#[derive(Debug, Default)]
struct Faults(BTreeMap<String, FaultTruth>);

impl Faults {
    /// The end says until when a fault really lasted, the beginning only what was planned; they may come in any order.
    fn add(&mut self, events: Vec<ClusterEvent>) {
        for event in events {
            let Some(truth) = event.fault else { continue };
            if event.kind == EventKind::FaultEnded || !self.0.contains_key(&truth.id) {
                self.0.insert(truth.id.clone(), truth);
            }
        }
    }
}

/// The cause of each attempt that a fault explains; none where the history cannot be read, which is said.
pub(crate) async fn of(nats: &Nats, attempts: &[AttemptSummary]) -> Vec<AttemptCause> {
    let is_broken = |row: &&AttemptSummary| matches!(row.outcome, AttemptOutcome::Lost | AttemptOutcome::Failed | AttemptOutcome::TimedOut);
    let broken: Vec<&AttemptSummary> = attempts.iter().filter(is_broken).collect();
    let mut workers: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for row in &broken {
        if !workers.contains_key(row.node.as_str()) {
            // A node that is gone for good is registered nowhere.
            workers.insert(&row.node, registration(nats, &row.node).await.ok().map(|found| found.spec.worker));
        }
    }
    if broken.is_empty() {
        return Vec::new();
    }
    let targets = workers.iter().flat_map(|(node, worker)| [Some(*node), worker.as_deref()]).flatten();
    let subjects: BTreeSet<String> = targets.map(subjects::fault_event).collect();
    let mut faults = Faults::default();
    let mut reader = Reader::new(nats, streams::EVENTS, From::Start).filters(subjects.into_iter().collect());
    let read = reader.read_to_end(|row| {
        if let Ok(batch) = codec::decode::<EventBatch>(Some(&row.headers), &row.body) {
            faults.add(batch.anchored(row.stored_at_ms));
        }
        ControlFlow::Continue(())
    });
    if let Err(error) = read.await {
        tracing::warn!("no causes are shown, because the history cannot be read: {error:#}");
        return Vec::new();
    }
    let worker_of = |row: &AttemptSummary| workers.get(row.node.as_str()).and_then(Option::as_deref);
    broken.iter().filter_map(|row| AttemptCause::of(row, worker_of(row), faults.0.values())).collect()
}

#[cfg(test)]
mod tests {
    use faultline_protocol::messages::{FaultCause, FaultDepth, Level};

    use super::*;

    #[test]
    fn the_end_of_a_fault_counts_whenever_it_comes() {
        let event = |kind, until_ms| {
            let truth = FaultTruth {
                id: "1".into(),
                kind: "kill".into(),
                depth: FaultDepth::Process,
                target: "worker-01".into(),
                gpu: None,
                from_ms: 5,
                until_ms,
                cause: FaultCause::Ordered,
                domain: None,
                by: String::new(),
            };
            ClusterEvent { fault: Some(truth), ..ClusterEvent::new(5, "up", Level::Warn, kind, "") }
        };
        let (began, ended) = (event(EventKind::FaultBegan, None), event(EventKind::FaultEnded, Some(9)));
        for events in [vec![began.clone(), ended.clone()], vec![ended, began]] {
            let mut faults = Faults::default();
            faults.add(events);
            assert_eq!(faults.0["1"].until_ms, Some(9));
        }
    }
}
