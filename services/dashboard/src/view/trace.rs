//! A window of the timeline in the Trace Event Format, which Perfetto and chrome://tracing open: a process a worker,
//! threads for the GPUs and the faults of each node, an arrow from an attempt that did not end its job to the next.
//! The format is described in
//! <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>: times in microseconds, `X` with a
//! duration, `M` for names, `s` and `f` for arrows. What one thread does must nest, so attempts that overlap on one
//! GPU get threads of their own.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::timeline::{Bar, Window};

/// A file of the Trace Event Format, in its object form.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trace {
    #[schema(value_type = Vec<Object>)]
    pub(crate) trace_events: Vec<Value>,
    /// Always `ms`.
    pub(crate) display_time_unit: &'static str,
}

/// A row of the trace: the process, and what runs on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Track {
    worker: String,
    node: String,
    what: String,
}

/// Something with a beginning and an end on a track.
struct Slice {
    track: Track,
    start_us: u64,
    end_us: u64,
    name: String,
    category: &'static str,
    args: Value,
    /// The arrow that begins at its end, with the time at which that arrow ends, and the one that ends at its beginning.
    leads_to: Option<(u64, u64)>,
    comes_from: Option<u64>,
}

/// The window as a trace. `worker_of` says which process a node lives in.
pub(crate) fn trace(window: &Window, now_ms: u64, worker_of: impl Fn(&str) -> Option<String>) -> Trace {
    let track =
        |node: &str, what: String| Track { worker: worker_of(node).unwrap_or_else(|| node.to_owned()), node: node.to_owned(), what };
    let last_ms = now_ms.min(window.to_ms).max(window.from_ms);
    // An arrow needs both of its ends in the window, and leads forward in time.
    let starts: BTreeMap<_, u64> = window.bars.iter().map(|bar| (bar.attempt, bar.start_ms)).collect();
    let pointed_at = window.bars.iter().filter(|bar| bar.end_ms.is_some()).filter_map(|bar| {
        let next = bar.next_attempt?;
        starts.get(&next).filter(|next_start| **next_start >= bar.start_ms).map(|_| next)
    });
    // Numbers, since Perfetto reads no other ids of arrows.
    let arrows: BTreeMap<_, u64> = pointed_at.zip(1..).collect();
    let mut slices: Vec<Slice> = Vec::new();
    for bar in &window.bars {
        let what = bar.gpus.first().map_or("GPU ?".to_owned(), |gpu| format!("GPU {gpu}"));
        let next = bar.next_attempt.filter(|_| bar.end_ms.is_some());
        let leads_to = next.and_then(|next| Some((*arrows.get(&next)?, starts.get(&next)? * 1_000)));
        slices.push(Slice {
            track: track(&bar.node, what),
            start_us: bar.start_ms * 1_000,
            end_us: bar.end_ms.unwrap_or(last_ms).max(bar.start_ms) * 1_000,
            name: if bar.name.is_empty() { bar.job.to_string() } else { bar.name.clone() },
            category: "attempt",
            args: attempt_args(bar),
            leads_to,
            comes_from: arrows.get(&bar.attempt).copied(),
        });
    }
    for fault in &window.faults {
        slices.push(Slice {
            track: track(&fault.node, "faults".into()),
            start_us: fault.from_ms * 1_000,
            end_us: fault.until_ms.unwrap_or(last_ms).max(fault.from_ms) * 1_000,
            name: fault.kind.clone(),
            category: "fault",
            args: json!({ "node": fault.node, "id": fault.id, "by": fault.by }),
            leads_to: None,
            comes_from: None,
        });
    }
    Trace { trace_events: events(slices), display_time_unit: "ms" }
}

fn attempt_args(bar: &Bar) -> Value {
    json!({ "job": bar.job, "attempt": bar.attempt, "kind": bar.kind, "node": bar.node, "gpus": bar.gpus, "outcome": bar.outcome })
}

fn events(mut slices: Vec<Slice>) -> Vec<Value> {
    slices.sort_by(|left, right| (&left.track, left.start_us).cmp(&(&right.track, right.start_us)));
    let mut events = Vec::new();
    let mut processes: BTreeMap<String, u32> = BTreeMap::new();
    let mut threads = 0_u32;
    // The threads of the track at hand, each with the time at which it is free again.
    let mut lanes: Vec<(u32, u64)> = Vec::new();
    let mut at: Option<Track> = None;
    for slice in slices {
        let known = processes.len() as u32 + 1;
        let pid = *processes.entry(slice.track.worker.clone()).or_insert_with(|| {
            events.push(json!({ "ph": "M", "name": "process_name", "pid": known, "tid": 0, "args": { "name": slice.track.worker } }));
            known
        });
        if at.as_ref() != Some(&slice.track) {
            lanes.clear();
            at = Some(slice.track.clone());
        }
        let lane = lanes.iter().position(|(_, free_us)| *free_us <= slice.start_us).unwrap_or_else(|| {
            threads += 1;
            lanes.push((threads, 0));
            let number = if lanes.len() > 1 { format!(" ({})", lanes.len()) } else { String::new() };
            let name = format!("{} {}{number}", slice.track.node, slice.track.what);
            events.push(json!({ "ph": "M", "name": "thread_name", "pid": pid, "tid": threads, "args": { "name": name } }));
            events.push(json!({ "ph": "M", "name": "thread_sort_index", "pid": pid, "tid": threads, "args": { "sort_index": threads } }));
            lanes.len() - 1
        });
        let tid = lanes[lane].0;
        lanes[lane].1 = slice.end_us;
        push_slice(&mut events, &slice, pid, tid);
    }
    events
}

fn push_slice(events: &mut Vec<Value>, slice: &Slice, pid: u32, tid: u32) {
    let Slice { start_us, end_us, name, category, args, .. } = slice;
    events.push(
        json!({ "ph": "X", "name": name, "cat": category, "ts": start_us, "dur": end_us - start_us, "pid": pid, "tid": tid, "args": args }),
    );
    if let Some(id) = &slice.comes_from {
        events
            .push(json!({ "ph": "f", "bp": "e", "name": "goes on", "cat": "recovery", "id": id, "ts": start_us, "pid": pid, "tid": tid }));
    }
    if let Some((id, until_us)) = &slice.leads_to {
        // It belongs to the slice that encloses it, so it must not begin after the end; nor after its own end, which a zombie's
        // does that outlives the beginning of its heir.
        let ts = end_us.saturating_sub(1).min(*until_us).max(*start_us);
        events.push(json!({ "ph": "s", "name": "goes on", "cat": "recovery", "id": id, "ts": ts, "pid": pid, "tid": tid }));
    }
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::{AttemptId, AttemptOutcome, JobId};

    use super::*;
    use crate::view::timeline::FaultSpan;

    fn bar(n: u64, node: &str, end_ms: Option<u64>, next: Option<u64>) -> Bar {
        Bar {
            job: JobId::new(1, 1),
            name: "job".into(),
            kind: "matrix".into(),
            attempt: AttemptId::new(n, 1),
            node: node.into(),
            gpus: vec![0],
            start_ms: n,
            end_ms,
            outcome: AttemptOutcome::Lost,
            next_attempt: next.map(|next| AttemptId::new(next, 1)),
            cause: None,
        }
    }

    fn of(bars: Vec<Bar>, faults: Vec<FaultSpan>) -> Vec<Value> {
        let window = Window { from_ms: 0, to_ms: 10_000, nodes: vec![], bars, faults, verdicts: vec![], truncated: false };
        trace(&window, 5_000, |node| Some(format!("worker-of-{node}"))).trace_events
    }

    fn only(events: &[Value], phase: &str) -> Vec<Value> {
        events.iter().filter(|event| event["ph"] == phase).cloned().collect()
    }

    #[test]
    fn an_arrow_leads_from_inside_the_lost_attempt_to_the_beginning_of_the_next() {
        let events = of(vec![bar(100, "a", Some(200), Some(300)), bar(300, "b", None, None)], vec![]);
        let slices = only(&events, "X");
        assert_eq!((&slices[0]["ts"], &slices[0]["dur"], &slices[0]["cat"]), (&json!(100_000), &json!(100_000), &json!("attempt")));
        assert_eq!(slices[1]["dur"], json!(4_700_000), "what runs ends now");
        let (start, end) = (&only(&events, "s")[0], &only(&events, "f")[0]);
        assert_eq!((&start["id"], &start["name"], &start["cat"]), (&end["id"], &end["name"], &end["cat"]));
        assert_eq!((&start["ts"], &start["tid"]), (&json!(199_999), &slices[0]["tid"]));
        assert_eq!((&end["ts"], &end["tid"], &end["bp"]), (&json!(300_000), &slices[1]["tid"], &json!("e")));
    }

    #[test]
    fn a_zombies_arrow_does_not_lead_back_in_time() {
        let events = of(vec![bar(100, "a", Some(900), Some(300)), bar(300, "b", Some(500), None)], vec![]);
        assert_eq!((&only(&events, "s")[0]["ts"], &only(&events, "f")[0]["ts"]), (&json!(300_000), &json!(300_000)));
    }

    #[test]
    fn an_arrow_without_its_other_end_is_left_out() {
        let events = of(vec![bar(100, "a", Some(200), Some(300))], vec![]);
        assert_eq!((only(&events, "s").len(), only(&events, "f").len()), (0, 0));
    }

    #[test]
    fn overlapping_attempts_of_one_gpu_never_share_a_thread() {
        let bars = (0..40).map(|n| bar(n * 10, "a", Some(n * 10 + 25), None)).collect();
        let events = of(bars, vec![]);
        let mut free_us: BTreeMap<u64, u64> = BTreeMap::new();
        for slice in only(&events, "X") {
            let (tid, start_us) = (slice["tid"].as_u64().unwrap(), slice["ts"].as_u64().unwrap());
            let free = free_us.entry(tid).or_default();
            assert!(*free <= start_us, "{slice}");
            *free = start_us + slice["dur"].as_u64().unwrap();
        }
        assert_eq!(free_us.len(), 3);
    }

    #[test]
    fn every_process_and_thread_has_a_name_and_faults_have_their_own() {
        let fault = FaultSpan {
            id: "1".into(),
            node: "a".into(),
            kind: "crash".into(),
            from_ms: 150,
            until_ms: None,
            gpu: None,
            by: String::new(),
        };
        let events = of(vec![bar(100, "a", Some(200), None), bar(100, "b", Some(200), None)], vec![fault]);
        let names: Vec<String> = only(&events, "M").iter().filter_map(|event| event["args"]["name"].as_str().map(str::to_owned)).collect();
        assert_eq!(names, ["worker-of-a", "a GPU 0", "a faults", "worker-of-b", "b GPU 0"]);
        for slice in only(&events, "X") {
            let named = |what: &str| {
                events.iter().any(|event| {
                    event["name"] == what && event["pid"] == slice["pid"] && (what == "process_name" || event["tid"] == slice["tid"])
                })
            };
            assert!(named("process_name") && named("thread_name"), "{slice}");
        }
    }
}
