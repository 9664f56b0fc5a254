use faultline_engine::node::GpuTelemetry;

use super::*;

fn registration(node: &str, incarnation: u64) -> NodeRegistration {
    let spec = NodeSpec { gpus: vec![GpuDescriptor { model: "H100-80GB".into(), memory_mib: 81_920 }; 2], ..Entry::default().spec(node) };
    NodeRegistration { spec: NodeSpec { incarnation, worker: "worker-01".into(), ..spec }, registered_at_ms: 1 }
}

fn heartbeat(node: &str, incarnation: u64) -> Heartbeat {
    let bare = serde_json::json!({"node": node, "worker": "worker-01", "incarnation": incarnation, "seq": 1, "sent_at_ms": 1, "running": [], "gpus": []});
    let gpus = vec![GpuTelemetry { utilisation_percent: 40.0, memory_total_mib: 24_576, ..GpuTelemetry::default() }];
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
    let node = table.get("a", 1_300).unwrap();
    assert_eq!((node.health, node.heartbeat_age_ms, node.spec.gpus[0].memory_mib), (Health::Alive, Some(300), 24_576));
    table.on_registration(registration("a", 2));
    assert_eq!(table.get("a", 1_300).unwrap().spec.gpus.len(), 2);
    table.on_verdict(verdict("a", 2, Health::Dead, 10));
    table.on_verdict(verdict("a", 2, Health::Suspect, 9));
    assert_eq!(table.get("a", 1_300).unwrap().health, Health::Dead, "an older verdict comes too late");
    table.on_registration(registration("a", 3));
    assert_eq!(table.get("a", 1_300).unwrap().health, Health::Alive, "the verdict was on an earlier life");
    assert!(!table.on_heartbeat(Heartbeat { incarnation: 1, ..heartbeat("a", 1) }, 2_000));
    table.remove("a");
    assert_eq!(table.get("a", 1_300), None);
}

#[test]
fn a_verdict_alone_makes_no_node() {
    let mut table = NodeTable::default();
    table.on_verdict(verdict("old", 1, Health::Dead, 1));
    assert_eq!((table.len(), table.contains("old"), table.page(None, 10, 0).len()), (0, false, 0));
}

#[test]
fn the_leader_says_what_is_booked_and_heartbeats_what_is_measured() {
    let mut table = NodeTable::default();
    table.on_heartbeat(heartbeat("a", 1), 1_000);
    let row =
        NodeView { gpu_used_milli: vec![700], health: Health::Suspect, heartbeat_age_ms: Some(99_999), ..table.get("a", 1_000).unwrap() };
    let other = NodeView { spec: NodeSpec { node: "b".into(), ..row.spec.clone() }, ..row.clone() };
    table.on_leader_rows(vec![row, other]);
    let node = table.get("a", 1_500).unwrap();
    assert_eq!((node.gpu_used_milli, node.health, node.heartbeat_age_ms), (vec![700], Health::Suspect, Some(500)));
    assert_eq!(table.len(), 2);
    table.on_leader_rows(vec![]);
    assert_eq!((table.len(), table.get("a", 1_500).unwrap().health), (1, Health::Alive));
}

#[test]
fn pages_are_by_name_and_draining_is_shown() {
    let mut table = NodeTable::default();
    for node in ["c", "a", "b"] {
        table.on_heartbeat(heartbeat(node, 1), 0);
    }
    table.set_draining("b", true);
    let names = |after, limit| table.page(after, limit, 0).into_iter().map(|node| (node.spec.node, node.draining)).collect::<Vec<_>>();
    assert_eq!(names(None, 2), [("a".to_owned(), false), ("b".to_owned(), true)]);
    assert_eq!(names(Some("b"), 2), [("c".to_owned(), false)]);
    let mut stats = ClusterStats::default();
    table.on_verdict(verdict("c", 1, Health::Gone, 1));
    table.count_into(&mut stats);
    assert_eq!((stats.nodes_alive, stats.nodes_gone, stats.nodes_draining, stats.gpus_total), (2, 1, 1, 3));
    table.set_draining("b", false);
    assert!(!table.get("b", 0).unwrap().draining);
}
