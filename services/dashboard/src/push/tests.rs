use faultline_engine::job::{JobId, Priority};
use faultline_protocol::messages::{ClusterEvent, EventKind, Heartbeat, Level, OpenMarker};
use serde_json::{Value, json};

use super::*;
use crate::view::{View, event_seq};

const CONNECTED: NatsState = NatsState { connected: true, silent_for: None };

fn shared() -> SharedView {
    SharedView::new(View::new(1_000))
}

fn next(rounds: &mut Rounds, view: &SharedView, now_ms: u64) -> Arc<Round> {
    let taken = Taken::of(view, now_ms, CONNECTED, 1, rounds.next_seq());
    rounds.next(taken)
}

fn beat(view: &SharedView, node: &str, progress: u16) {
    let run = json!({"attempt": JobId::new(1, 1), "job": JobId::new(1, 1), "progress_permille": progress});
    let heartbeat = json!({"node": node, "worker": "w", "incarnation": 1, "seq": 1, "sent_at_ms": 1, "running": [run], "gpus": []});
    view.write().on_heartbeat(serde_json::from_value::<Heartbeat>(heartbeat).unwrap(), 1_000);
}

fn happened(view: &SharedView, seq: u64, detail: &str) {
    view.write().on_event(event_seq(seq, 0), ClusterEvent::new(seq, "detector", Level::Warn, EventKind::NodeSuspect, detail));
}

/// A node in a rack of its own.
fn registered(view: &SharedView, node: &str) {
    let spec = json!({"node": node, "worker": "w", "incarnation": 1, "gpus": [], "rack": format!("rack-of-{node}"), "slots": 1, "kinds": [],
        "fault_percent_per_min": 0.0, "telemetry_source": "simulated"});
    let registration = json!({"spec": spec, "registered_at_ms": 1});
    view.write().nodes.on_registration(serde_json::from_value(registration).unwrap());
}

fn opened(view: &SharedView, n: u64) {
    let marker = OpenMarker {
        job: JobId::new(n, 1),
        name: format!("job-{n}"),
        kind: "sleep".into(),
        priority: Priority::Normal,
        submitted_at_ms: n,
    };
    view.write().jobs.on_open(marker);
}

fn parsed(text: &Utf8Bytes) -> Value {
    serde_json::from_str(text).unwrap()
}

/// What a page does with the messages that it gets.
#[derive(Default)]
struct Page {
    seq: u64,
    nodes: std::collections::BTreeMap<String, Value>,
    jobs: std::collections::BTreeSet<String>,
    last_event: u64,
    missed_events: bool,
}

impl Page {
    fn take(&mut self, message: &Value) {
        let seq = message["seq"].as_u64().unwrap();
        if message["type"] == "hello" {
            let state = &message["state"];
            *self = Page { seq, ..Page::default() };
            self.nodes = rows(&state["nodes"]).into_iter().map(|row| (row["node"].as_str().unwrap().to_owned(), row)).collect();
            self.jobs = rows(&state["jobs"]).iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
            self.last_event = rows(&state["events"]).last().map_or(0, |event| event["seq"].as_u64().unwrap());
            return;
        }
        assert_eq!((&message["type"], seq), (&json!("delta"), self.seq + 1));
        self.seq = seq;
        for row in rows(&message["nodes"]["changed"]) {
            self.nodes.insert(row["node"].as_str().unwrap().to_owned(), row);
        }
        rows(&message["nodes"]["removed"]).iter().for_each(|node| drop(self.nodes.remove(node.as_str().unwrap())));
        self.jobs.extend(rows(&message["jobs"]["changed"]).iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        rows(&message["jobs"]["removed"]).iter().for_each(|job| assert!(self.jobs.remove(job.as_str().unwrap())));
        if let Some(after) = message["events_after"].as_u64() {
            self.missed_events |= after != self.last_event;
            self.last_event = rows(&message["events"]).last().unwrap()["seq"].as_u64().unwrap();
        }
    }
}

fn rows(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

#[test]
fn deltas_lead_from_the_hello_to_the_state() {
    let view = shared();
    let mut rounds = Rounds::default();
    beat(&view, "a", 1);
    happened(&view, 1, "late");
    let mut page = Page::default();
    page.take(&parsed(&next(&mut rounds, &view, 2_000).hello()));
    assert_eq!((page.seq, page.nodes.len(), page.last_event), (1, 1, event_seq(1, 0)));

    beat(&view, "b", 1);
    beat(&view, "a", 7);
    happened(&view, 2, &"very late ".repeat(100));
    (1..=60).for_each(|n| opened(&view, n));
    let round = next(&mut rounds, &view, 2_500);
    page.take(&parsed(&round.delta));
    assert_eq!(page.nodes["a"]["running_jobs"][0]["progress_permille"], 7);
    assert_eq!((page.nodes.len(), page.jobs.len(), page.missed_events), (2, 50, false));
    assert!(parsed(&round.delta)["events"][0]["detail"].as_str().unwrap().len() <= 200);

    view.write().nodes.remove("a");
    (61..=70).for_each(|n| opened(&view, n));
    let round = next(&mut rounds, &view, 3_000);
    page.take(&parsed(&round.delta));
    let mut fresh = Page::default();
    fresh.take(&parsed(&round.hello()));
    assert_eq!((&page.nodes, &page.jobs, page.last_event), (&fresh.nodes, &fresh.jobs, fresh.last_event));
}

#[test]
fn what_did_not_change_is_not_told() {
    let view = shared();
    let mut rounds = Rounds::default();
    beat(&view, "a", 1);
    opened(&view, 1);
    next(&mut rounds, &view, 2_000);
    beat(&view, "a", 1);
    let delta = parsed(&next(&mut rounds, &view, 2_500).delta);
    let parts: Vec<&str> = delta.as_object().unwrap().keys().map(String::as_str).collect();
    // The figures carry the time at which they were counted.
    assert_eq!(parts, ["at_ms", "seq", "stats", "type"]);
}

#[test]
fn all_rows_that_are_ever_pushed_fit_into_64_kib() {
    let view = shared();
    let mut rounds = Rounds::default();
    next(&mut rounds, &view, 2_000);
    let names: Vec<String> = (0..64).map(|n| format!("node-with-a-long-name-{n:03}")).collect();
    for node in &names {
        registered(&view, node);
        beat(&view, node, 900);
        let fault = json!({"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "target": node, "kind": "heartbeat_loss", "depth": "simulated", "cause": "ordered", "from_ms": 1_000, "until_ms": null});
        let event = ClusterEvent::new(1, "worker-with-a-long-name", Level::Warn, EventKind::FaultBegan, "x".repeat(300).as_str());
        let event = ClusterEvent { node: Some(node.clone()), fault: serde_json::from_value(fault).unwrap(), ..event };
        let seq = view.read().events.last_seq() + 1;
        view.write().on_event(seq, event);
    }
    (1..=60).for_each(|n| opened(&view, n));
    let round = next(&mut rounds, &view, 3_000);
    let (hello, delta) = (parsed(&round.hello()), parsed(&round.delta));
    assert_eq!((rows(&hello["state"]["nodes"]).len(), rows(&delta["nodes"]["changed"]).len()), (64, 64));
    assert!(rows(&hello["state"]["nodes"]).iter().all(|row| row["fault"]["kind"] == "heartbeat_loss"));
    assert!(round.hello().len() < 64 * 1024 && round.delta.len() < 64 * 1024, "{} and {} bytes", round.hello().len(), round.delta.len());
}

#[test]
fn a_page_can_see_that_it_missed_events() {
    let view = shared();
    let mut rounds = Rounds::default();
    let mut page = Page::default();
    happened(&view, 1, "first");
    page.take(&parsed(&next(&mut rounds, &view, 2_000).hello()));
    (2..100).for_each(|seq| happened(&view, seq, &"x".repeat(5_000)));
    let round = next(&mut rounds, &view, 2_500);
    page.take(&parsed(&round.delta));
    assert!(page.missed_events && round.delta.len() < 64 * 1024);
}

#[test]
fn of_a_large_cluster_no_rows_are_pushed() {
    let view = shared();
    let mut rounds = Rounds::default();
    for n in 0..10_000 {
        registered(&view, &format!("node-{n:05}"));
        beat(&view, &format!("node-{n:05}"), 1);
    }
    let round = next(&mut rounds, &view, 2_000);
    let hello = parsed(&round.hello());
    assert_eq!((&hello["state"]["nodes"], &hello["state"]["nodes_by_rest"]), (&json!([]), &json!(true)));
    assert_eq!((round.telemetry.len(), round.telemetry[4]), (16 + 10_000 * 5, 1));
    assert!(round.hello().len() < 64 * 1024);
}
