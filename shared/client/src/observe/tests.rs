use faultline_engine::job::Priority;
use faultline_protocol::messages::{FaultCause, FaultDepth, Level};

use super::measure::spread;
use super::*;

fn job(number: u128) -> JobId {
    JobId::new(0, number)
}

fn attempt(number: u128) -> AttemptId {
    AttemptId::new(0, number)
}

fn event(at_ms: u64, kind: EventKind) -> ClusterEvent {
    ClusterEvent::new(at_ms, "test", Level::Info, kind, "")
}

fn placed(at_ms: u64, of: u128, number: u128, node: &str) -> ClusterEvent {
    ClusterEvent { job: Some(job(of)), attempt: Some(attempt(number)), node: Some(node.into()), ..event(at_ms, EventKind::JobPlaced) }
}

fn lost(at_ms: u64, of: u128, number: u128, node: &str) -> ClusterEvent {
    ClusterEvent { kind: EventKind::AttemptLost, ..placed(at_ms, of, number, node) }
}

fn verdict(at_ms: u64, kind: EventKind, node: &str) -> ClusterEvent {
    ClusterEvent { node: Some(node.into()), ..event(at_ms, kind) }
}

fn fault(target: &str, from_ms: u64, until_ms: Option<u64>) -> ClusterEvent {
    let truth = FaultTruth {
        id: format!("{target}-{from_ms}"),
        kind: "kill".into(),
        depth: FaultDepth::Process,
        target: target.into(),
        gpu: None,
        from_ms,
        until_ms,
        cause: FaultCause::Ordered,
        domain: None,
        by: String::new(),
    };
    ClusterEvent { fault: Some(truth), ..event(from_ms, EventKind::FaultBegan) }
}

fn fault_ended(target: &str, from_ms: u64, until_ms: u64) -> ClusterEvent {
    ClusterEvent { kind: EventKind::FaultEnded, ..fault(target, from_ms, Some(until_ms)) }
}

fn row(number: u128, placed_at_ms: u64, ended_at_ms: u64, outcome: AttemptOutcome, gpu_milli: u32) -> AttemptSummary {
    AttemptSummary {
        attempt: attempt(number),
        node: "n1".into(),
        incarnation: 1,
        gpus: vec![0],
        gpu_milli,
        placed_at_ms,
        started_at_ms: None,
        ended_at_ms: Some(ended_at_ms),
        outcome,
        detail: String::new(),
        why: String::new(),
        choice: None,
    }
}

fn ended(of: u128, state: JobState, submitted_at_ms: u64, ended_at_ms: u64, history: Vec<AttemptSummary>) -> TerminalRecord {
    TerminalRecord {
        job: job(of),
        name: "job".into(),
        kind: "sleep".into(),
        priority: Priority::Normal,
        state,
        attempt: history.last().map(|row| row.attempt),
        open_seq: 1,
        submitted_at_ms,
        ended_at_ms,
        result: String::new(),
        reason: String::new(),
        failures: 0,
        requeues: 0,
        history,
        submission: None,
    }
}

/// Its record is stored the moment it is written.
fn store(observer: &mut Observer, record: &TerminalRecord, seq: u64) {
    observer.on_ended(record, seq, record.ended_at_ms);
}

/// A worker with two nodes, and one with another.
fn observer() -> Observer {
    let mut observer = Observer::default();
    for (node, worker) in [("n1", "w1"), ("n2", "w1"), ("n3", "w2")] {
        observer.on_node(node, worker);
    }
    observer
}

fn told(events: &[ClusterEvent]) -> Observer {
    let mut observer = observer();
    events.iter().for_each(|event| observer.on_event(event));
    observer
}

#[test]
fn a_killed_worker_is_noticed_and_its_job_goes_on() {
    let mut observer = told(&[
        placed(1_000, 1, 1, "n2"),
        fault("w1", 5_000, Some(9_000)),
        verdict(5_120, EventKind::NodeGone, "n2"),
        verdict(7_000, EventKind::NodeDead, "n1"),
        lost(5_130, 1, 1, "n2"),
        placed(5_150, 1, 2, "n3"),
        fault_ended("w1", 5_000, 8_000),
    ]);
    store(&mut observer, &ended(1, JobState::Committed, 900, 6_400, vec![]), 9);
    let measured = observer.measure(4_000, 20_000);
    assert_eq!((measured.faults, measured.faults_unnoticed, measured.false_verdicts), (1, 0, 0));
    assert_eq!(measured.detection.unwrap().max_ms, 120);
    assert_eq!((measured.attempts_lost, measured.unrecovered), (1, 0));
    assert_eq!(measured.recovery.unwrap().p50_ms, 150);
    assert_eq!(measured.recommit.unwrap().p50_ms, 1_400);
    assert_eq!((measured.committed, measured.latency.unwrap().max_ms), (1, 5_500));
}

#[test]
fn a_fault_that_no_verdict_follows_is_unnoticed_and_no_sample() {
    let observer = told(&[fault("n3", 5_000, Some(6_000)), verdict(20_000, EventKind::NodeSuspect, "n3")]);
    let measured = observer.measure(0, 30_000);
    assert_eq!((measured.faults_unnoticed, measured.detection), (1, None));
    assert_eq!(measured.false_verdicts, 1, "a verdict long after the fault is a false one");
    // A service without nodes gets no verdict, nor does a node for one of its GPUs.
    let mut of_gpu = fault("n3", 5_000, None);
    of_gpu.fault.as_mut().unwrap().gpu = Some(2);
    for nobodys in [fault("scheduler-1", 5_000, None), of_gpu] {
        let measured = told(&[nobodys]).measure(0, 30_000);
        assert_eq!((measured.faults, measured.faults_unnoticed), (1, 0));
    }
}

#[test]
fn a_verdict_on_a_healthy_node_is_false() {
    let observer =
        told(&[fault("w1", 5_000, None), verdict(5_100, EventKind::NodeDead, "n1"), verdict(5_200, EventKind::NodeSuspect, "n3")]);
    assert_eq!(observer.measure(0, 9_000).false_verdicts, 1);
}

#[test]
fn an_attempt_lost_without_a_fault_is_no_sample_of_recovery() {
    let measured = told(&[placed(1, 1, 1, "n3"), lost(5_000, 1, 1, "n3"), placed(5_100, 1, 2, "n1")]).measure(0, 9_000);
    assert_eq!((measured.attempts_lost, measured.recovery, measured.unrecovered), (1, None, 0));
}

#[test]
fn what_was_placed_on_a_broken_node_waits_from_then_on() {
    let events = [fault("n3", 1_000, None), placed(4_000, 1, 1, "n3"), lost(5_000, 1, 1, "n3"), placed(5_500, 1, 2, "n1")];
    assert_eq!(told(&events).measure(0, 9_000).recovery.unwrap().max_ms, 1_500);
}

#[test]
fn a_lost_attempt_that_is_never_repeated_is_unrecovered() {
    let observer = told(&[placed(1, 1, 1, "n3"), fault("n3", 4_000, None), lost(5_000, 1, 1, "n3")]);
    let measured = observer.measure(0, 9_000);
    assert_eq!((measured.unrecovered, measured.recovery), (1, None));
}

#[test]
fn an_open_job_that_is_nowhere_is_lost() {
    let mut observer = told(&[placed(1_000, 1, 1, "n1"), placed(1_000, 2, 2, "n1"), placed(1_000, 3, 3, "n1")]);
    store(&mut observer, &ended(3, JobState::Committed, 900, 6_400, vec![]), 9);
    // Opened a moment ago: its submission may be under way.
    observer.on_opened(&OpenMarker {
        job: job(4),
        name: "young".into(),
        kind: "sleep".into(),
        priority: Priority::Normal,
        submitted_at_ms: 9_000,
    });
    assert_eq!(observer.measure(0, 9_000).lost, None, "the queue was not looked at");
    observer.on_queue(BTreeSet::from([job(1)]), 10_000);
    assert_eq!(observer.measure(0, 10_000).lost, Some(1), "job 2 was placed, is not in JOBS and has no end");
    observer.on_accepted(job(4), 9_000, 9_010);
    observer.on_queue(BTreeSet::from([job(1)]), 12_000);
    assert_eq!(observer.measure(0, 12_000).lost, Some(2), "now it is known that job 4 was handed over");
    observer.on_queue(BTreeSet::from([job(1), job(2), job(4)]), 13_000);
    assert_eq!(observer.measure(0, 13_000).lost, Some(0));
    // Without any word on it but its age.
    let mut old = Observer::default();
    old.on_opened(&OpenMarker { job: job(4), name: "old".into(), kind: "sleep".into(), priority: Priority::Normal, submitted_at_ms: 0 });
    old.on_queue(BTreeSet::new(), 160_000);
    assert_eq!(old.measure(0, 160_000).lost, Some(1));
}

#[test]
fn a_second_end_is_a_duplicate_whoever_finds_it() {
    let mut observer = observer();
    store(&mut observer, &ended(1, JobState::Committed, 0, 10, vec![]), 5);
    store(&mut observer, &ended(1, JobState::Committed, 0, 10, vec![]), 5);
    assert_eq!(observer.measure(0, 100).duplicates, 0);
    store(&mut observer, &ended(1, JobState::Committed, 0, 12, vec![]), 6);
    assert_eq!(observer.measure(0, 100).duplicates, 1);
    for (through_seq, duplicates) in [(5, 2), (9, 5)] {
        observer.on_ledger(&LedgerSnapshot { through_seq, duplicates, ..LedgerSnapshot::default() });
    }
    assert_eq!(observer.measure(0, 100).duplicates, 3, "the ledger's first count was there before");
}

/// What a worker whose report was lost came to counts from the moment at which RESULTS had it.
#[test]
fn a_job_has_ended_when_its_record_is_stored() {
    let mut observer = observer();
    observer.on_ended(&ended(1, JobState::Committed, 1_000, 4_000, vec![]), 5, 9_000);
    let measured = observer.measure(2_000, 10_000);
    assert_eq!((measured.latency.unwrap().max_ms, measured.stall_ms), (8_000, Some(7_000)));
}

#[test]
fn a_leader_that_dies_is_followed() {
    let mut observer = observer();
    observer.on_leader("scheduler-1", 1_000);
    observer.on_event(&fault("scheduler-2", 3_000, None));
    assert_eq!(observer.measure(0, 20_000).failover, None, "it did not lead");
    observer.on_event(&fault("scheduler-1", 4_000, None));
    assert_eq!(observer.measure(0, 20_000).failover, None, "no scheduler leads yet");
    observer.on_event(&ClusterEvent { service: "scheduler-2".into(), ..event(7_100, EventKind::LeaderElected) });
    assert_eq!(observer.measure(0, 20_000).failover.unwrap().max_ms, 3_100);
}

#[test]
fn gpu_time_counts_once_and_what_did_not_commit_is_wasted() {
    let mut observer = observer();
    let first = row(1, 1_000, 3_000, AttemptOutcome::Lost, 500);
    let second = row(2, 3_000, 6_000, AttemptOutcome::Committed, 500);
    let with_history = ClusterEvent { history: vec![first.clone()], ..lost(3_000, 1, 1, "n1") };
    observer.on_event(&with_history);
    store(&mut observer, &ended(1, JobState::Committed, 0, 6_000, vec![first, second]), 5);
    let measured = observer.measure(0, 10_000);
    assert!((measured.gpu_s_used - 2.5).abs() < 1e-9 && (measured.gpu_s_committed - 1.5).abs() < 1e-9, "{measured:?}");
    assert!((measured.goodput.unwrap() - 0.6).abs() < 1e-9);
    // A record of an older build says only which GPUs it had.
    store(&mut observer, &ended(2, JobState::Committed, 0, 2_000, vec![row(9, 1_000, 2_000, AttemptOutcome::Committed, 0)]), 7);
    assert!((observer.measure(0, 10_000).gpu_s_used - 3.5).abs() < 1e-9);
    assert_eq!(Observer::default().measure(0, 10_000).goodput, None);
}

#[test]
fn counts_are_of_the_window_alone() {
    let mut observer = observer();
    for (number, state, at_ms) in
        [(1, JobState::Committed, 1_000), (2, JobState::Committed, 5_000), (3, JobState::Dead, 6_000), (4, JobState::Committed, 8_000)]
    {
        store(&mut observer, &ended(number, state, at_ms - 100, at_ms, vec![]), at_ms);
    }
    observer.on_dead_letter(1, 6_000);
    let measured = observer.measure(4_000, 8_000);
    assert_eq!((measured.submitted, measured.committed, measured.dead, measured.dead_letters), (3, 2, 1, 1));
    assert_eq!(measured.stall_ms, Some(3_000));
    assert!((measured.throughput_per_s - 0.5).abs() < 1e-9);
    assert_eq!(observer.measure(0, 4_000).stall_ms, Some(1_000), "also before the first commit");
    assert_eq!(observer.measure(2_000, 4_000).stall_ms, None);
}

#[test]
fn what_is_forgotten_changes_nothing_later() {
    let mut observer = told(&[placed(100, 1, 1, "n1"), fault("n1", 200, Some(300)), verdict(250, EventKind::NodeDead, "n1")]);
    observer.on_leader("scheduler-1", 50);
    store(&mut observer, &ended(1, JobState::Committed, 90, 400, vec![]), 5);
    observer.on_event(&placed(500, 2, 2, "n1"));
    observer.on_event(&fault("scheduler-1", 6_000, None));
    observer.on_leader("scheduler-2", 7_000);
    let before = observer.measure(5_000, 9_000);
    observer.forget_before(5_000);
    assert_eq!(observer.measure(5_000, 9_000), before);
    assert_eq!((before.open, before.failover.unwrap().max_ms), (1, 1_000));
    assert_eq!(observer.measure(0, 400).committed, 0);
}

#[test]
fn percentiles_are_by_nearest_rank() {
    assert_eq!(spread(vec![]), None);
    let hundred = spread((1..=100).rev().collect()).unwrap();
    assert_eq!((hundred.count, hundred.p50_ms, hundred.p95_ms, hundred.p99_ms, hundred.max_ms), (100, 50, 95, 99, 100));
    let one = spread(vec![7]).unwrap();
    assert_eq!((one.p50_ms, one.p99_ms), (7, 7));
    assert_eq!(spread(vec![1, 2]).unwrap().p50_ms, 1);
}

proptest::proptest! {
    /// News come twice and out of order; the figures do not depend on it.
    #[test]
    fn the_order_of_the_news_does_not_matter(order in proptest::collection::vec(0_usize..8, 8..40)) {
        let events = [
            placed(1_000, 1, 1, "n2"),
            fault("w1", 5_000, Some(9_000)),
            verdict(5_120, EventKind::NodeGone, "n2"),
            verdict(7_000, EventKind::NodeDead, "n1"),
            lost(5_130, 1, 1, "n2"),
            placed(5_150, 1, 2, "n3"),
            fault_ended("w1", 5_000, 8_000),
            ClusterEvent { service: "scheduler-2".into(), ..event(7_100, EventKind::LeaderElected) },
        ];
        let expected = told(&events).measure(0, 20_000);
        let mut shuffled: Vec<ClusterEvent> = order.iter().map(|&index| events[index].clone()).collect();
        shuffled.extend(events.iter().rev().cloned());
        let measured = told(&shuffled).measure(0, 20_000);
        proptest::prop_assert_eq!(measured, expected);
    }
}

#[test]
fn an_experiment_is_measured_by_what_it_did_and_not_by_what_happened_beside_it() {
    let by = |who: &str, mut event: ClusterEvent| {
        event.fault.as_mut().unwrap().by = who.into();
        event
    };
    let observer = told(&[
        placed(1_000, 1, 1, "n1"),
        placed(1_000, 2, 2, "n3"),
        by("experiment 7", fault("w1", 5_000, Some(8_000))),
        fault("n3", 5_500, None),
        verdict(5_100, EventKind::NodeGone, "n1"),
        verdict(5_600, EventKind::NodeGone, "n3"),
        lost(5_200, 1, 1, "n1"),
        lost(5_700, 2, 2, "n3"),
        placed(5_300, 1, 3, "n3"),
    ]);
    let all = observer.measure(4_000, 9_000);
    assert_eq!((all.faults, all.attempts_lost, all.unrecovered, all.detection.unwrap().count), (2, 2, 1, 2));
    let focus = Focus { by: "experiment 7".into(), baseline: BTreeSet::new() };
    let own = observer.measure_of(4_000, 9_000, Some(&focus));
    assert_eq!((own.faults, own.attempts_lost, own.unrecovered, own.detection.unwrap().count), (1, 1, 0, 1));
    assert_eq!((own.recovery.unwrap().max_ms, own.false_verdicts), (300, 0));
    assert_eq!(observer.measure_of(5_003, 9_000, Some(&focus)).faults, 1, "by the clock of the machine that broke, which is 3 ms behind");
    assert!(observer.is_excused(&focus, "n3", 6_000), "another fault took it away");
    assert!(!observer.is_excused(&focus, "n3", 5_400) && !observer.is_excused(&focus, "n1", 6_000));
    let down_before = Focus { baseline: BTreeSet::from(["n1".into()]), ..focus };
    assert!(observer.is_excused(&down_before, "n1", 6_000));
}
