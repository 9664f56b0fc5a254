use std::collections::BTreeMap;

use faultline_engine::job::{JobId, Priority};
use faultline_protocol::messages::{ClusterEvent, EventKind, Heartbeat, Level, OpenMarker};
use serde_json::{Map, Value, json};

use super::segment::{FRAME, INDEX, PLANES, TEXT, TIME};
use super::*;
use crate::cluster::NatsState;
use crate::compress::{gunzip, gzip};
use crate::view::{SharedView, View, event_seq};

const START_MS: u64 = 1_700_000_000_000;

/// A cluster in which something happens at each instant.
struct World {
    view: SharedView,
    nodes: u64,
}

impl World {
    fn new(nodes: u64) -> Self {
        Self { view: SharedView::new(View::new(START_MS)), nodes }
    }

    fn at(&self, now_ms: u64) -> Taken {
        let second = now_ms / 1000;
        let mut view = self.view.write();
        for node in 0..self.nodes {
            // The last node leaves after two minutes and comes back later: the order of the nodes changes.
            let is_away = node + 1 == self.nodes && (second / 120).is_multiple_of(2);
            let name = format!("node-{node}");
            if is_away {
                view.nodes.remove(&name);
                continue;
            }
            let progress = (second * 7 + node) % 1000;
            let run = json!({"attempt": JobId::new(1, 1), "job": JobId::new(1, 1), "progress_permille": progress});
            let gpu = json!({"utilisation_percent": (second * 3 + node) % 100, "memory_used_mib": 5, "memory_total_mib": 10, "temperature_c": 60});
            let heartbeat = json!({"node": name, "worker": "w", "incarnation": 1, "seq": second, "sent_at_ms": now_ms, "running": [run], "gpus": [gpu]});
            view.on_heartbeat(serde_json::from_value::<Heartbeat>(heartbeat).unwrap(), now_ms);
        }
        let marker = OpenMarker {
            job: JobId::new(second, 1),
            name: format!("job-{second}"),
            kind: "sleep".into(),
            priority: Priority::Normal,
            submitted_at_ms: now_ms,
        };
        view.jobs.on_open(marker);
        let event = ClusterEvent {
            node: Some("node-0".into()),
            ..ClusterEvent::new(now_ms, "detector", Level::Warn, EventKind::NodeSuspect, "late")
        };
        view.on_event(event_seq(second, 0), event);
        view.sample(now_ms);
        drop(view);
        Taken::of(&self.view, now_ms, NatsState { connected: true, silent_for: None }, 0, second)
    }
}

/// What a page knows at an instant.
#[derive(Debug, PartialEq)]
struct Shown {
    at_ms: u64,
    state: Value,
    frame: Vec<u8>,
    index: Value,
}

/// The whole of an instant as it was pushed. Events are those that the page has gathered since the keyframe.
fn shown(taken: &Taken) -> Shown {
    let mut frame = taken.telemetry.clone();
    frame[4..8].fill(0);
    let mut state = serde_json::to_value(&taken.state).unwrap();
    // Those that are told at the instant are as they were; which of before are still among them says nothing.
    state["events"] = json!(taken.state.events.last().map(|event| event.seq));
    Shown { at_ms: taken.at_ms, state, frame, index: serde_json::to_value(&*taken.index).unwrap() }
}

fn by<'a>(rows: &'a Value, key: &str) -> BTreeMap<String, &'a Value> {
    rows.as_array().unwrap().iter().map(|row| (row[key].as_str().unwrap().to_owned(), row)).collect()
}

/// What the page does with a delta.
fn apply(state: &mut Value, delta: &Map<String, Value>) {
    for (part, told) in delta {
        match part.as_str() {
            "nodes" | "jobs" => {
                let key = if part == "nodes" { "node" } else { "id" };
                let before = std::mem::take(&mut state[part]);
                let mut rows = by(&before, key);
                rows.extend(by(&told["changed"], key));
                for removed in told["removed"].as_array().unwrap() {
                    rows.remove(removed.as_str().unwrap());
                }
                let rows: Vec<Value> = rows.into_values().cloned().collect();
                state[part] = if part == "jobs" { rows.into_iter().rev().collect() } else { rows.into_iter().collect() };
            }
            "events" => state["events"] = told.as_array().unwrap().last().unwrap()["seq"].clone(),
            "type" | "seq" | "at_ms" | "events_after" => {}
            _ => state[part] = told.clone(),
        }
    }
}

/// The instant at `wanted_ms`, read from the records of a segment as a page does it.
fn rebuilt(records: &[u8], wanted_ms: u64) -> Shown {
    let mut shown = Shown { at_ms: 0, state: Value::Null, frame: Vec::new(), index: Value::Null };
    let mut rest = records;
    while let Some((head, after)) = rest.split_at_checked(5) {
        let length = u32::from_le_bytes(head[1..5].try_into().unwrap()) as usize;
        let (bytes, next) = after.split_at(length);
        rest = next;
        match head[0] {
            TIME => {
                let at_ms = u64::from_le_bytes(bytes.try_into().unwrap());
                if at_ms > wanted_ms {
                    break;
                }
                shown.at_ms = at_ms;
            }
            TEXT => {
                let told: Value = serde_json::from_slice(bytes).unwrap();
                if told["type"] == "hello" {
                    shown.state = told["state"].clone();
                    shown.state["events"] =
                        told["state"]["events"].as_array().unwrap().last().map_or(Value::Null, |event| event["seq"].clone());
                } else {
                    apply(&mut shown.state, told.as_object().unwrap());
                }
            }
            FRAME => shown.frame = bytes.to_vec(),
            PLANES => shown.frame = planes::sum(&shown.frame, bytes),
            INDEX => shown.index = serde_json::from_slice(bytes).unwrap(),
            other => panic!("an unknown kind {other}"),
        }
    }
    shown.frame[4..8].fill(0);
    shown
}

fn records(past: &Past, id: &str) -> Vec<u8> {
    match past.segment(id).unwrap() {
        Body::Plain(bytes) => bytes.to_vec(),
        Body::Packed(bytes) => gunzip(&bytes).unwrap(),
    }
}

/// As a page finds it: in the last segment of the smallest step that does not begin later.
fn segment_of(past: &Past, at_ms: u64) -> SegmentInfo {
    let kept = past.kept();
    let of = |every_ms| kept.segments.iter().rfind(|segment| segment.every_ms == every_ms && segment.from_ms <= at_ms);
    of(1_000).or_else(|| of(10_000)).unwrap().clone()
}

fn pack_all(past: &mut Past) {
    while let Some((id, plain)) = past.complete() {
        past.pack(&id, gzip(&plain, 6).unwrap());
    }
}

fn same(rebuilt: &Shown, pushed: &Shown) {
    let index = |shown: &Shown| (shown.index["nodes"].clone(), shown.index["racks"].clone());
    assert_eq!((rebuilt.at_ms, &rebuilt.frame, index(rebuilt)), (pushed.at_ms, &pushed.frame, index(pushed)));
    for (part, value) in pushed.state.as_object().unwrap() {
        assert_eq!(&rebuilt.state[part], value, "{part} at {}", pushed.at_ms);
    }
}

#[test]
fn each_instant_is_rebuilt_as_it_was_pushed() {
    let world = World::new(5);
    let mut past = Past::default();
    let mut pushed = BTreeMap::new();
    for second in 0..400 {
        let now_ms = START_MS + second * 1_000 + second % 3 * 100;
        assert!(past.is_due(now_ms));
        let taken = world.at(now_ms);
        past.push(&taken);
        assert!(!past.is_due(now_ms + 100), "each second once");
        pushed.insert(now_ms, shown(&taken));
        if second % 100 == 0 {
            pack_all(&mut past);
        }
    }
    for (at_ms, pushed) in &pushed {
        // Also between two instants, the older one is shown.
        for asked_ms in [*at_ms, at_ms + 400] {
            same(&rebuilt(&records(&past, &segment_of(&past, asked_ms).id), asked_ms), pushed);
        }
    }
    assert_eq!(past.kept().segments.iter().filter(|segment| segment.every_ms == 1_000).count(), 7);
}

#[test]
fn an_hour_is_kept_and_its_age_thins_it() {
    let world = World::new(2);
    let mut past = Past::default();
    let mut pushed = BTreeMap::new();
    for second in 0..4_300 {
        let taken = world.at(START_MS + second * 1_000);
        past.push(&taken);
        pushed.insert(taken.at_ms, shown(&taken));
        pack_all(&mut past);
    }
    let now_ms = START_MS + 4_299_000;
    let kept = past.kept();
    let reach_s = |every_ms: u64| (now_ms - kept.segments.iter().find(|segment| segment.every_ms == every_ms).unwrap().from_ms) / 1_000;
    assert!((600..=661).contains(&reach_s(1_000)) && (3_600..=4_210).contains(&reach_s(10_000)), "{} {}", reach_s(1_000), reach_s(10_000));
    assert!(kept.bytes < kept.max_bytes / 10, "{} bytes", kept.bytes);
    let packed = past.covering(now_ms - 500_000, now_ms - 400_000).remove(0).1;
    assert!(matches!(&packed, Body::Packed(bytes) if bytes.capacity() < bytes.len() + 64), "no more memory than what is counted");
    for (asked_s, every_s) in [(5, 1), (599, 1), (1_800, 10), (3_599, 10)] {
        let asked_ms = now_ms - asked_s * 1_000;
        let info = segment_of(&past, asked_ms);
        let found = rebuilt(&records(&past, &info.id), asked_ms);
        assert!(asked_ms - found.at_ms < every_s * 1_000, "{asked_s} s ago: {} ms before", asked_ms - found.at_ms);
        same(&found, &pushed[&found.at_ms]);
    }
}

#[test]
fn a_stretch_is_covered_in_the_smallest_steps_and_without_gaps() {
    let world = World::new(2);
    let mut past = Past::default();
    (0..1_500).for_each(|second| past.push(&world.at(START_MS + second * 1_000)));
    let now_ms = START_MS + 1_499_000;
    let steps = |from_ms, to_ms| past.covering(from_ms, to_ms).into_iter().map(|(info, _)| info.every_ms).collect::<Vec<_>>();
    assert_eq!(steps(now_ms - 30_000, now_ms), [1_000; 1]);
    assert!(steps(now_ms - 600_000, now_ms).iter().all(|every_ms| *every_ms == 1_000));
    let all = past.covering(START_MS, now_ms);
    assert_eq!((all[0].0.from_ms, all[0].0.every_ms, all.last().unwrap().0.to_ms), (START_MS, 10_000, now_ms));
    assert!(
        all.windows(2).all(|two| two[1].0.from_ms <= two[0].0.to_ms + 10_000),
        "{:?}",
        all.iter().map(|(info, _)| info).collect::<Vec<_>>()
    );
    assert!(past.covering(now_ms - 900_000, now_ms - 895_000).iter().all(|(info, _)| info.every_ms == 10_000));
}

#[test]
fn memory_is_bounded_and_the_newest_stays() {
    let bounds = Bounds { every_ms: 1_000, keep_ms: 600_000, max_bytes: 200_000 };
    let (world, mut tier) = (World::new(50), Tier::new(bounds));
    for second in 0..600 {
        tier.push(&world.at(START_MS + second * 1_000));
        let bytes: Vec<usize> = tier.infos().map(|segment| segment.bytes).collect();
        let complete: usize = bytes[..bytes.len() - 1].iter().sum();
        assert!(complete <= bounds.max_bytes, "{bytes:?}");
    }
    assert_eq!(tier.infos().last().unwrap().to_ms, START_MS + 599_000);
}

#[test]
fn a_clock_that_was_set_back_begins_the_past_anew() {
    let world = World::new(1);
    let mut past = Past::default();
    (0..30).for_each(|second| past.push(&world.at(START_MS + second * 1_000)));
    past.push(&world.at(START_MS + 27_000));
    assert_eq!(past.kept().to_ms, Some(START_MS + 29_000), "a little: it waits until the clock is there again");
    past.push(&world.at(START_MS - 60_000));
    assert_eq!((past.kept().from_ms, past.kept().to_ms), (Some(START_MS - 60_000), Some(START_MS - 60_000)));
}
