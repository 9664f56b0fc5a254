//! A recording replays line by line, and what is not the same is found where it begins.

use super::flight::{Entry, Header, Replay, VERSION, line};
use super::tests::{delivery, node, spec};
use super::*;

fn header(seed: u64) -> Header {
    let config = SchedulerConfig::default();
    Header {
        version: VERSION,
        scheduler: "scheduler-1".into(),
        policy: PolicyName::Random,
        program: None,
        seed,
        epoch: 3,
        began_ms: 0,
        config,
    }
}

/// A leader with three nodes and fifty jobs, one of which fails, recorded as the service does it.
fn recorded(header: &Header) -> Vec<Entry> {
    let mut scheduler = Scheduler::new(header.config.clone(), header.policy, header.seed, header.began_ms).under_epoch(header.epoch);
    let mut entries = Vec::new();
    let mut tell = |call: Call, at_ms: u64| {
        let actions = scheduler.call(call.clone(), at_ms);
        entries.push(Entry { at_ms, call, decided: actions.iter().map(line).collect() });
        actions
    };
    for index in 1..=3 {
        tell(Call::Registered(node(index, 4, 1)), 0);
        let (node, running) = (format!("gpu-node-{index:02}"), Vec::new());
        tell(Call::Synced(SyncedNode { node: node.clone(), incarnation: 1, running, part: SyncPart::default() }), 5);
        tell(Call::Heartbeat { node, incarnation: 1, running: Vec::new(), telemetry: Vec::new(), leaving: false }, 10_000);
    }
    for n in 1..=50 {
        tell(Call::Delivered(delivery(spec(n, 100), false)), 10_001);
    }
    let placed = tell(Call::Advance { cluster_ms: 1_700_000_000_000 }, 10_002);
    let first =
        placed.iter().find_map(|action| if let Action::Assign { assignment, .. } = action { Some(assignment.clone()) } else { None });
    let assignment = first.unwrap();
    tell(Call::Left { node: assignment.node.clone(), incarnation: 1 }, 10_500);
    tell(Call::Advance { cluster_ms: 1_700_000_000_600 }, 10_600);
    entries
}

#[test]
fn a_recording_replays_decision_by_decision_and_survives_its_encoding() {
    let header = header(7);
    let entries = recorded(&header);
    let mut replay = Replay::begin(&header);
    for entry in &entries {
        let bytes = serde_json::to_vec(entry).unwrap();
        replay.check(serde_json::from_slice(&bytes).unwrap()).unwrap();
    }
    assert_eq!(replay.calls, entries.len() as u64);
    assert_eq!(replay.placements, 50);
    assert_eq!(replay.decisions, entries.iter().map(|entry| entry.decided.len() as u64).sum::<u64>());
}

#[test]
fn the_first_decision_that_differs_is_named() {
    let entries = recorded(&header(7));
    let replayed = |header: &Header, entries: Vec<Entry>| {
        let mut replay = Replay::begin(header);
        entries.into_iter().find_map(|entry| replay.check(entry).err())
    };
    // Another seed draws other nodes.
    let difference = replayed(&header(8), entries.clone()).unwrap();
    assert!(matches!(difference.call, Call::Advance { .. }), "{difference:?}");
    assert!(difference.recorded.unwrap().starts_with("assign ") && difference.replayed.unwrap().starts_with("assign "));
    // A decision that the recording lacks, and a call that was left out.
    let mut shorter = entries.clone();
    let at = shorter.iter().rposition(|entry| !entry.decided.is_empty()).unwrap();
    let last = shorter[at].decided.pop();
    let difference = replayed(&header(7), shorter).unwrap();
    assert_eq!((difference.recorded, difference.replayed, difference.call_number), (None, last, at as u64 + 1));
    let without_a_job =
        entries.iter().filter(|entry| !matches!(&entry.call, Call::Delivered(delivery) if delivery.spec.id == JobId::new(0, 3)));
    assert!(replayed(&header(7), without_a_job.cloned().collect()).is_some());
}
