use faultline_engine::job::Priority;
use faultline_protocol::messages::{FaultCause, FaultDepth, FaultTruth, JobState, Level};

use super::*;

fn job(n: u64) -> JobId {
    JobId::new(n, 1)
}

fn attempt(n: u64) -> AttemptId {
    AttemptId::new(n, 1)
}

fn placed(at_ms: u64, n: u64, node: &str) -> ClusterEvent {
    ClusterEvent { job: Some(job(n)), attempt: Some(attempt(at_ms)), ..about(at_ms, EventKind::JobPlaced, node) }
}

fn about(at_ms: u64, kind: EventKind, node: &str) -> ClusterEvent {
    ClusterEvent { node: Some(node.into()), ..ClusterEvent::new(at_ms, "x", Level::Info, kind, "") }
}

fn row(n: u64, node: &str, ended_at_ms: u64, outcome: AttemptOutcome) -> AttemptSummary {
    AttemptSummary {
        attempt: attempt(n),
        node: node.into(),
        incarnation: 1,
        gpus: vec![1],
        gpu_milli: 0,
        placed_at_ms: n,
        started_at_ms: Some(n + 1),
        ended_at_ms: Some(ended_at_ms),
        outcome,
        detail: String::new(),
        why: String::new(),
        choice: None,
    }
}

fn record(n: u64, history: Vec<AttemptSummary>) -> TerminalRecord {
    TerminalRecord {
        job: job(n),
        name: format!("job-{n}"),
        kind: "matrix".into(),
        priority: Priority::Normal,
        state: JobState::Committed,
        attempt: None,
        open_seq: 1,
        submitted_at_ms: 1,
        ended_at_ms: 900,
        result: String::new(),
        reason: String::new(),
        failures: 0,
        requeues: 0,
        history,
        submission: None,
    }
}

fn fault(at_ms: u64, kind: EventKind, node: &str, until_ms: Option<u64>) -> ClusterEvent {
    let truth = FaultTruth {
        id: format!("fault-of-{node}"),
        kind: "crash".into(),
        depth: FaultDepth::Simulated,
        target: node.into(),
        gpu: None,
        from_ms: 150,
        until_ms,
        cause: FaultCause::Ordered,
        domain: None,
        by: "`faultline kill`, user root".into(),
    };
    ClusterEvent { fault: Some(truth), ..about(at_ms, kind, node) }
}

fn all(timeline: &Timeline) -> Window {
    let filter = WindowFilter { from_ms: 0, to_ms: u64::MAX, ..WindowFilter::default() };
    timeline.window(&filter, 10_000, |_| Some(("asked".into(), "sleep".into())), |_| vec![], |_| None)
}

/// Job 1 is lost on a, goes on on b and is committed there; job 2 runs on c.
fn broken() -> Timeline {
    let mut timeline = Timeline::default();
    timeline.on_event(&placed(100, 1, "a"));
    timeline.on_event(&placed(120, 2, "c"));
    timeline.on_event(&fault(150, EventKind::FaultBegan, "a", Some(5_000)));
    timeline.on_event(&about(200, EventKind::NodeGone, "a"));
    let lost = ClusterEvent { job: Some(job(1)), attempt: Some(attempt(100)), ..about(210, EventKind::AttemptLost, "a") };
    timeline.on_event(&lost);
    timeline.on_event(&placed(300, 1, "b"));
    timeline
}

#[test]
fn a_lost_attempt_points_to_the_one_that_took_over() {
    let timeline = broken();
    let window = all(&timeline);
    let bars: Vec<_> = window.bars.iter().map(|bar| (bar.node.as_str(), bar.outcome, bar.end_ms, bar.next_attempt)).collect();
    assert_eq!(
        bars,
        [
            ("a", AttemptOutcome::Lost, Some(210), Some(attempt(300))),
            ("c", AttemptOutcome::Running, None, None),
            ("b", AttemptOutcome::Running, None, None)
        ]
    );
    assert_eq!((window.bars[0].name.as_str(), &window.nodes[..]), ("asked", &["a".into(), "b".into(), "c".into()][..]));
    assert_eq!((window.faults[0].kind.as_str(), window.faults[0].until_ms), ("crash", Some(5_000)));
    assert_eq!(window.verdicts, [VerdictMark { node: "a".into(), health: Health::Gone, at_ms: 200 }]);
}

#[test]
fn an_attempt_of_which_nobody_said_more_is_lost_once_the_job_is_placed_anew() {
    let mut timeline = Timeline::default();
    timeline.on_event(&placed(300, 1, "b"));
    timeline.on_event(&placed(100, 1, "a"));
    let window = all(&timeline);
    assert_eq!((window.bars[0].outcome, window.bars[0].end_ms), (AttemptOutcome::Lost, Some(300)));
    assert_eq!((window.bars[0].next_attempt, window.bars[1].outcome), (Some(attempt(300)), AttemptOutcome::Running));
    let later = WindowFilter { from_ms: 400, to_ms: 500, affected: true, ..WindowFilter::default() };
    assert!(timeline.window(&later, 10_000, |_| None, |_| vec![], |_| None).bars.is_empty(), "it ended before that");
    timeline.on_event(&ClusterEvent { job: Some(job(1)), attempt: Some(attempt(100)), ..about(210, EventKind::AttemptFailed, "a") });
    assert_eq!((all(&timeline).bars[0].outcome, all(&timeline).bars[0].end_ms), (AttemptOutcome::Failed, Some(210)), "news that come late");
}

#[test]
fn a_record_knows_best_and_ends_what_still_ran() {
    let mut timeline = broken();
    timeline.on_event(&placed(400, 1, "d"));
    timeline.on_end(&record(1, vec![row(100, "a", 205, AttemptOutcome::Lost), row(300, "b", 900, AttemptOutcome::Committed)]));
    let bars = all(&timeline).bars;
    let of = |node: &str| bars.iter().find(|bar| bar.node == node).unwrap();
    assert_eq!((of("a").start_ms, of("a").end_ms, &of("a").gpus[..], of("a").name.as_str()), (101, Some(205), &[1][..], "job-1"));
    assert_eq!((of("b").outcome, of("b").next_attempt), (AttemptOutcome::Committed, None));
    assert_eq!((of("d").outcome, of("d").end_ms), (AttemptOutcome::Superseded, Some(900)), "a zombie");
    timeline.on_event(&placed(300, 1, "b"));
    assert_eq!(all(&timeline).bars.iter().find(|bar| bar.node == "b").unwrap().end_ms, Some(900), "late news changes nothing");
}

#[test]
fn a_fault_gets_its_real_end() {
    let mut timeline = broken();
    timeline.on_event(&fault(2_000, EventKind::FaultEnded, "a", Some(1_900)));
    let faults = all(&timeline).faults;
    assert_eq!((faults.len(), faults[0].from_ms, faults[0].until_ms), (1, 150, Some(1_900)));
}

#[test]
fn a_bar_that_broke_off_names_the_fault_that_explains_it() {
    let bars = all(&broken()).bars;
    let cause = bars[0].cause.as_ref().unwrap();
    assert_eq!((cause.kind.as_str(), cause.by.as_str()), ("crash", "`faultline kill`, user root"));
    assert!(bars[1..].iter().all(|bar| bar.cause.is_none()), "what runs has none");
    let mut failed = Timeline::default();
    failed.on_event(&placed(100, 1, "a"));
    failed.on_event(&fault(150, EventKind::FaultBegan, "a", Some(5_000)));
    failed.on_event(&ClusterEvent { job: Some(job(1)), attempt: Some(attempt(100)), ..about(210, EventKind::AttemptFailed, "a") });
    assert_eq!(all(&failed).bars[0].cause, None, "a crash makes no job fail");
}

#[test]
fn the_end_of_a_fault_may_come_before_its_beginning() {
    let mut timeline = Timeline::default();
    timeline.on_event(&fault(2_000, EventKind::FaultEnded, "a", Some(1_900)));
    timeline.on_event(&fault(150, EventKind::FaultBegan, "a", None));
    assert_eq!(all(&timeline).faults[0].until_ms, Some(1_900));
}

#[test]
fn a_window_is_a_part() {
    let timeline = broken();
    let nodes = |filter: WindowFilter| {
        timeline
            .window(&filter, 10_000, |_| None, |_| vec![], |_| None)
            .bars
            .iter()
            .map(|bar| bar.node.clone())
            .collect::<Vec<_>>()
            .concat()
    };
    let window = |from_ms, to_ms| WindowFilter { from_ms, to_ms, ..WindowFilter::default() };
    assert_eq!(nodes(window(0, 110)), "a");
    assert_eq!(nodes(window(211, 250)), "c", "what runs still is in every later window");
    assert_eq!(nodes(window(211, 20_000)), "cb");
    assert_eq!(nodes(WindowFilter { nodes: ["b".into()].into(), ..window(0, 20_000) }), "b");
    assert_eq!(nodes(WindowFilter { affected: true, ..window(0, 20_000) }), "a");
}

#[test]
fn the_line_is_bounded_everywhere() {
    let mut timeline = Timeline::default();
    for n in 0..60_000 {
        timeline.on_event(&placed(n, n, "a"));
        timeline.on_event(&about(n, EventKind::NodeDead, "a"));
    }
    assert_eq!((timeline.attempts.len(), timeline.jobs.len(), timeline.verdicts.len()), (MAX_ATTEMPTS, MAX_ATTEMPTS, MAX_VERDICTS));
    let window = all(&timeline);
    assert_eq!((window.bars.len(), window.truncated, window.bars[0].start_ms), (MAX_BARS, true, 55_000));
}

#[test]
fn a_fault_of_a_process_is_drawn_on_its_nodes() {
    let mut timeline = Timeline::default();
    timeline.on_event(&fault(150, EventKind::FaultBegan, "worker-01", None));
    timeline.on_event(&fault(150, EventKind::FaultBegan, "nats", None));
    let hosted = |process: &str| if process == "worker-01" { vec!["a".to_owned(), "b".to_owned()] } else { vec![] };
    let window = timeline.window(&WindowFilter { to_ms: 1_000, ..WindowFilter::default() }, 500, |_| None, hosted, |_| None);
    assert_eq!(window.faults.iter().map(|fault| fault.node.as_str()).collect::<Vec<_>>(), ["a", "b", "nats"]);
    assert_eq!(window.nodes, ["a", "b", "nats"]);
}
