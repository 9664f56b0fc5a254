use faultline_engine::node::{GpuDescriptor, GpuTelemetry, NodeSpec};

use super::*;

fn registration(node: &str, incarnation: u64) -> NodeRegistration {
    let spec = NodeSpec { gpus: vec![GpuDescriptor { model: "H100-80GB".into(), memory_mib: 81_920 }; 2], ..Entry::default().spec(node) };
    NodeRegistration { spec: NodeSpec { incarnation, worker: "worker-01".into(), ..spec }, registered_at_ms: 1, life: 0 }
}

fn heartbeat(node: &str, incarnation: u64) -> Heartbeat {
    let bare = serde_json::json!({"node": node, "worker": "worker-01", "incarnation": incarnation, "seq": 1, "sent_at_ms": 1, "running": [], "gpus": []});
    let gpus = vec![GpuTelemetry { utilisation_percent: Some(40.0), memory_total_mib: Some(24_576), ..GpuTelemetry::default() }];
    Heartbeat { gpus, ..serde_json::from_value(bare).unwrap() }
}

fn verdict(node: &str, incarnation: u64, health: Health, at_ms: u64) -> Verdict {
    Verdict {
        node: node.into(),
        worker: "worker-01".into(),
        incarnation,
        health,
        detector: "phi-accrual".into(),
        phi: 9.0,
        silence_ms: 4_000,
        evidence: "silence".into(),
        at_ms,
    }
}

#[test]
fn a_node_is_what_its_messages_say() {
    let mut table = NodeTable::default();
    table.on_heartbeat(heartbeat("a", 2), 1_000);
    let node = table.get("a", 1_300).unwrap().node;
    assert_eq!((node.health, node.heartbeat_age_ms, node.spec.gpus[0].memory_mib), (Health::Alive, Some(300), 24_576));
    table.on_registration(registration("a", 2));
    assert_eq!(table.get("a", 1_300).unwrap().node.spec.gpus.len(), 2);
    table.on_verdict(verdict("a", 2, Health::Dead, 10));
    table.on_verdict(verdict("a", 2, Health::Suspect, 9));
    assert_eq!(table.get("a", 1_300).unwrap().node.health, Health::Dead, "an older verdict comes too late");
    table.on_registration(registration("a", 3));
    assert_eq!(table.get("a", 1_300).unwrap().node.health, Health::Alive, "the verdict was on an earlier life");
    assert!(table.is_outdated(&heartbeat("a", 1), 1_300) && !table.is_outdated(&heartbeat("a", 2), 1_300));
    assert!(!table.is_outdated(&heartbeat("a", 1), 60_000), "the known life is silent: lives may be counted anew");
    table.remove("a");
    assert_eq!(table.get("a", 1_300), None);
}

#[test]
fn a_detector_whose_clock_is_behind_that_of_the_one_before_is_heard() {
    let mut table = NodeTable::default();
    table.on_heartbeat(heartbeat("a", 2), 1_000);
    table.on_verdict(verdict("a", 2, Health::Dead, 3_600_000));
    table.on_verdict(verdict("a", 2, Health::Alive, 1_000));
    assert_eq!(table.get("a", 1_300).unwrap().node.health, Health::Alive);
}

#[test]
fn a_verdict_alone_makes_no_node() {
    let mut table = NodeTable::default();
    table.on_verdict(verdict("old", 1, Health::Dead, 1));
    assert_eq!((table.len(), table.contains("old"), table.rows(0).count()), (0, false, 0));
}

#[test]
fn the_leader_says_what_is_booked_and_heartbeats_what_is_measured() {
    let mut table = NodeTable::default();
    table.on_heartbeat(heartbeat("a", 1), 1_000);
    let row = NodeView {
        gpu_used_milli: vec![700],
        health: Health::Suspect,
        heartbeat_age_ms: Some(99_999),
        ..table.get("a", 1_000).unwrap().node
    };
    let other = NodeView { spec: NodeSpec { node: "b".into(), ..row.spec.clone() }, ..row.clone() };
    table.on_leader_rows(None, vec![row, other], true);
    let node = table.get("a", 1_500).unwrap().node;
    assert_eq!((node.gpu_used_milli, node.health, node.heartbeat_age_ms), (vec![700], Health::Suspect, Some(500)));
    assert_eq!(table.len(), 2);
    table.on_leader_rows(None, vec![], true);
    assert_eq!((table.len(), table.get("a", 1_500).unwrap().node.health), (1, Health::Alive));
}

#[test]
fn rows_of_the_leader_replace_those_of_the_nodes_that_they_span() {
    let mut table = NodeTable::default();
    table.on_heartbeat(heartbeat("a", 1), 0);
    let row = |node: &str| NodeView { spec: Entry::default().spec(node), gpu_used_milli: vec![5], ..table.get("a", 0).unwrap().node };
    let rows = |nodes: &[&str]| nodes.iter().map(|node| row(node)).collect::<Vec<_>>();
    let (first, second, late) = (rows(&["a", "b"]), rows(&["c", "d"]), rows(&["d"]));
    table.on_leader_rows(None, first, false);
    table.on_leader_rows(Some("b"), second, true);
    assert_eq!(table.len(), 4);
    table.on_leader_rows(Some("b"), late, true);
    assert!(!table.contains("c") && table.contains("b"), "c was passed over, b was not asked about");
    table.on_leader_rows(None, vec![], true);
    assert_eq!((table.len(), table.get("a", 0).unwrap().node.gpu_used_milli), (1, vec![]));
}

#[test]
fn draining_and_health_are_counted_and_shown() {
    let mut table = NodeTable::default();
    for node in ["c", "a", "b"] {
        table.on_heartbeat(heartbeat(node, 1), 0);
    }
    table.set_draining("b", true);
    assert_eq!(
        table.rows(0).map(|row| (row.node, row.draining)).collect::<Vec<_>>(),
        [("a".into(), false), ("b".into(), true), ("c".into(), false)]
    );
    let mut stats = ClusterStats::default();
    table.on_verdict(verdict("c", 1, Health::Gone, 1));
    table.count_into(&mut stats);
    assert_eq!((stats.nodes_alive, stats.nodes_gone, stats.nodes_draining, stats.gpus_total), (2, 1, 1, 3));
    table.set_draining("b", false);
    assert!(!table.get("b", 0).unwrap().node.draining);
}

fn in_rack(node: &str, rack: &str) -> NodeRegistration {
    let registration = registration(node, 1);
    NodeRegistration { spec: NodeSpec { rack: rack.into(), ..registration.spec }, ..registration }
}

#[test]
fn the_index_is_by_rack_and_changes_its_number_only_with_its_content() {
    let mut table = NodeTable::new(70);
    assert_eq!(*table.index(), NodeIndex { revision: 70, ..NodeIndex::default() });
    for (node, rack) in [("a", "rack-2"), ("b", "rack-1"), ("c", "rack-2"), ("d", "rack-1")] {
        table.on_registration(in_rack(node, rack));
    }
    let index = table.index();
    assert_eq!(index.nodes, ["b", "d", "a", "c"]);
    assert_eq!((&index.racks[..], index.revision), (&[("rack-1".into(), 0, 2), ("rack-2".into(), 2, 2)][..], 71));
    table.on_registration(in_rack("a", "rack-2"));
    table.on_heartbeat(heartbeat("a", 1), 0);
    assert_eq!(table.index().revision, 71);
    table.on_registration(in_rack("a", "rack-1"));
    assert_eq!((table.index().revision, &table.index().nodes[..]), (72, &["a".into(), "b".into(), "d".into(), "c".into()][..]));
    table.remove("b");
    assert_eq!((table.index().revision, table.index().nodes.len()), (73, 3));
}

#[test]
fn a_frame_packs_each_node_into_five_bytes_in_the_order_of_the_index() {
    let mut table = NodeTable::new(8);
    let gpu = |utilisation_percent, temperature_c| GpuTelemetry {
        utilisation_percent: Some(utilisation_percent),
        memory_used_mib: Some(5_000),
        memory_total_mib: Some(20_000),
        temperature_c: Some(temperature_c),
        ..GpuTelemetry::default()
    };
    table.on_registration(in_rack("z", "rack-1"));
    table.on_registration(in_rack("quiet", "rack-2"));
    table.on_registration(in_rack("dead", "rack-3"));
    table.on_heartbeat(Heartbeat { gpus: vec![gpu(100.0, 61.4), gpu(50.5, 80.6)], ..heartbeat("z", 1) }, 1_000);
    table.on_heartbeat(
        Heartbeat {
            gpus: vec![GpuTelemetry {
                throttled: Some(true),
                temperature_c: Some(1e9),
                utilisation_percent: Some(f32::NAN),
                ..gpu(0.0, 0.0)
            }],
            ..heartbeat("dead", 1)
        },
        1_000,
    );
    table.on_verdict(verdict("dead", 1, Health::Dead, 5));
    table.set_draining("dead", true);
    let fault = |id: &str, until_ms| NodeFault { id: id.into(), kind: "slow".into(), from_ms: 900, until_ms };
    table.on_fault_began("z", fault("1", Some(3_500)));
    table.on_fault_began("z", fault("2", None));
    table.on_fault_ended("z", "2");
    assert_eq!(table.index().nodes, ["z", "quiet", "dead"]);
    let frame = table.frame(0x0102_0304, 3_000);
    assert_eq!(&frame[..16], &[1, 0, 0, 0, 4, 3, 2, 1, 9, 0, 0, 0, 3, 0, 0, 0]);
    // Half percents: 75.25 % is 150.5, rounded up; a quarter of the memory is 50.
    assert_eq!(&frame[16..21], &[151, 50, 81, 1 << 5, 0]);
    assert_eq!(&frame[21..26], &[255, 255, 255, 4 | (1 << 6), 0], "nothing is reported of it");
    assert_eq!(&frame[26..31], &[0, 50, 254, 3 | (1 << 3) | (1 << 4), 0]);
    assert_eq!(table.frame(1, 3_600)[19], 1 << 6, "the planned end of the fault has passed, and the heartbeat is late");
    table.remove("z");
    assert_eq!(table.frame(1, 3_000)[16..21], [0, 0, 0, 4, 0], "the order stays until the index is asked for again");
}

#[test]
fn ten_thousand_nodes_fit_into_a_frame_of_64_kib() {
    let mut table = NodeTable::default();
    for n in 0..10_000 {
        table.on_heartbeat(heartbeat(&format!("node-{n:05}"), 1), 0);
    }
    assert_eq!((table.index().nodes.len(), table.frame(1, 0).len()), (10_000, 50_016));
}

#[test]
fn nodes_are_found_and_ordered() {
    let mut table = NodeTable::default();
    for (node, rack, utilisation_percent) in [("a", "rack-1", 10.0), ("b", "rack-2", 90.0), ("c", "rack-1", 50.0)] {
        table.on_registration(in_rack(node, rack));
        table.on_heartbeat(
            Heartbeat {
                gpus: vec![GpuTelemetry { utilisation_percent: Some(utilisation_percent), ..GpuTelemetry::default() }],
                ..heartbeat(node, 1)
            },
            0,
        );
    }
    table.on_verdict(verdict("c", 1, Health::Dead, 1));
    let found = |filter: NodeFilter, order, is_descending, skip, limit| {
        let (rows, total) = table.list(&filter, (order, is_descending), skip, limit, 0);
        (rows.into_iter().map(|row| row.node.spec.node).collect::<Vec<_>>().concat(), total)
    };
    let all = NodeFilter::default;
    assert_eq!(found(all(), NodeOrder::Node, false, 0, 2), ("ab".into(), 3));
    assert_eq!(found(all(), NodeOrder::Node, false, 2, 2), ("c".into(), 3));
    assert_eq!(found(all(), NodeOrder::Node, true, 0, 9), ("cba".into(), 3));
    assert_eq!(found(all(), NodeOrder::Utilisation, true, 0, 9), ("bca".into(), 3));
    assert_eq!(found(all(), NodeOrder::Health, false, 0, 9), ("cab".into(), 3));
    assert_eq!(found(all(), NodeOrder::Rack, true, 0, 9), ("bac".into(), 3), "by name among equals");
    assert_eq!(found(NodeFilter { rack: Some("rack-1".into()), ..all() }, NodeOrder::Node, false, 0, 1), ("a".into(), 2));
    assert_eq!(found(NodeFilter { health: [Health::Dead].into(), ..all() }, NodeOrder::Node, false, 0, 9), ("c".into(), 1));
    assert_eq!(found(NodeFilter { text: Some("c".into()), ..all() }, NodeOrder::Node, false, 0, 9), ("c".into(), 1));
    assert_eq!(found(NodeFilter { text: Some("h100".into()), ..all() }, NodeOrder::Node, false, 0, 9).1, 3, "the model's name counts too");
    let these = ["a", "c", "unknown"].map(String::from).into();
    assert_eq!(found(NodeFilter { nodes: these, ..all() }, NodeOrder::Node, false, 0, 9), ("ac".into(), 2));
    assert_eq!(found(NodeFilter { worker: Some("other".into()), ..all() }, NodeOrder::Node, false, 0, 9), (String::new(), 0));
}

#[test]
fn the_index_tells_worker_and_model_of_each_node_and_changes_with_them() {
    let mut table = NodeTable::new(7);
    for node in ["a", "b", "c"] {
        table.on_registration(in_rack(node, "rack-1"));
        table.on_heartbeat(heartbeat(node, 1), 0);
    }
    let index = table.index();
    assert_eq!((index.workers.len(), &index.worker_of, &index.model_of), (1, &vec![0, 0, 0], &vec![0, 0, 0]));
    table.on_heartbeat(heartbeat("b", 1), 1);
    assert_eq!(table.index().revision, index.revision, "nothing has moved");
    table.on_heartbeat(Heartbeat { worker: "another".into(), ..heartbeat("b", 1) }, 2);
    let moved = table.index();
    assert_eq!((moved.revision, &moved.workers[1], &moved.worker_of), (index.revision + 1, &"another".to_owned(), &vec![0, 1, 0]));
}

#[test]
fn numbers_in_names_are_ordered_as_numbers() {
    let mut table = NodeTable::default();
    for (node, rack) in [("n-10", "r-2"), ("n-9", "r-2"), ("n-100", "r-10"), ("n-007", "r-1"), ("n-08", "r-1"), ("z", "r-1")] {
        table.on_registration(in_rack(node, rack));
    }
    let index = table.index();
    assert_eq!(index.nodes, ["n-007", "n-08", "z", "n-9", "n-10", "n-100"]);
    assert_eq!(index.racks.iter().map(|(rack, ..)| rack.as_str()).collect::<Vec<_>>(), ["r-1", "r-2", "r-10"]);
}

#[test]
fn a_node_that_is_silent_without_a_verdict_is_unjudged() {
    let mut table = NodeTable::default();
    table.on_heartbeat(heartbeat("a", 2), 1_000);
    table.on_heartbeat(heartbeat("b", 2), 1_000);
    assert_eq!(table.fleet(21_000).nodes_unjudged, 0);
    assert_eq!(table.fleet(21_001).nodes_unjudged, 2);
    table.on_verdict(verdict("a", 2, Health::Suspect, 9));
    assert_eq!(table.fleet(21_001).nodes_unjudged, 1);
    table.on_heartbeat(heartbeat("b", 2), 21_000);
    assert_eq!(table.fleet(21_001).nodes_unjudged, 0);
}
