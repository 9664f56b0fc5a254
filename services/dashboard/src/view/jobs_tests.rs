use faultline_engine::job::{AttemptOutcome, AttemptSummary};
use faultline_protocol::messages::{EventKind, Level};
use proptest::prelude::*;

use super::*;

fn id(n: u64) -> JobId {
    JobId::new(n, u128::from(n))
}

fn marker(n: u64) -> OpenMarker {
    OpenMarker { job: id(n), name: format!("wait-urgent-{n}"), kind: "sleep".into(), priority: Priority::Urgent, submitted_at_ms: n }
}

fn attempt(node: &str, n: u64, outcome: AttemptOutcome) -> AttemptSummary {
    AttemptSummary {
        attempt: AttemptId::new(n, 1),
        node: node.into(),
        incarnation: 1,
        gpus: vec![0],
        gpu_milli: 0,
        placed_at_ms: n,
        started_at_ms: Some(n),
        ended_at_ms: None,
        outcome,
        detail: String::new(),
        why: String::new(),
        choice: None,
    }
}

fn record(n: u64, state: JobState) -> TerminalRecord {
    TerminalRecord {
        job: id(n),
        name: format!("gpu-algebra-{n}"),
        kind: "matrix".into(),
        priority: Priority::Low,
        state,
        attempt: None,
        open_seq: 1,
        submitted_at_ms: n,
        ended_at_ms: 5_000,
        result: "fine".into(),
        reason: String::new(),
        failures: 1,
        requeues: 1,
        history: vec![attempt("a", 1, AttemptOutcome::Lost), attempt("b", 2, AttemptOutcome::Committed)],
        submission: None,
    }
}

fn runs(n: u64, attempt: u64) -> RunningBrief {
    RunningBrief { attempt: AttemptId::new(attempt, 1), job: id(n), progress_permille: 250, epoch: 7 }
}

fn row(n: u64, state: JobState) -> JobView {
    JobView { state, attempts: vec![attempt("c", 3, AttemptOutcome::Failed)], failures: 1, ..ended_view(&record(n, JobState::Dead)) }
}

#[test]
fn jobs_are_sorted_by_what_is_asked_and_the_newest_of_equal_ones_comes_first() {
    let mut table = JobTable::new(10);
    // Two that wait, and two that ended at 5,000 after two attempts each, placed at 1.
    table.on_open(marker(10));
    table.on_open(marker(4_000));
    table.on_end(record(20, JobState::Committed));
    table.on_end(record(30, JobState::Dead));
    let sorted = |key, is_descending| {
        let (rows, total) = table.page(&JobFilter::default(), JobOrder { key, is_descending }, 6_000, 0, 9);
        assert_eq!(total, 4);
        rows.iter().map(|row| row.submitted_at_ms).collect::<Vec<_>>()
    };
    for (key, is_descending, expected) in [
        (JobKey::Submitted, true, [4_000, 30, 20, 10]),
        (JobKey::Submitted, false, [10, 20, 30, 4_000]),
        (JobKey::Name, false, [20, 30, 10, 4_000]),
        (JobKey::Kind, true, [4_000, 10, 30, 20]),
        (JobKey::Priority, false, [4_000, 10, 30, 20]),
        (JobKey::State, false, [4_000, 10, 20, 30]),
        (JobKey::Attempts, true, [20, 30, 4_000, 10]),
        (JobKey::Wait, true, [10, 4_000, 30, 20]),
        (JobKey::Took, false, [4_000, 30, 20, 10]),
    ] {
        assert_eq!(sorted(key, is_descending), expected, "{key:?}");
    }
    let second = table.page(&JobFilter::default(), JobOrder { key: JobKey::Took, is_descending: false }, 6_000, 1, 1).0;
    assert_eq!(second.iter().map(|row| row.submitted_at_ms).collect::<Vec<_>>(), [30]);
    // One that ended at 5,000 and was never placed waited until then, and not until now.
    table.on_end(TerminalRecord { history: Vec::new(), submitted_at_ms: 1_500, ..record(40, JobState::Cancelled) });
    let longest = table.page(&JobFilter::default(), JobOrder { key: JobKey::Wait, is_descending: true }, 9_000, 0, 9).0;
    assert_eq!(longest.iter().map(|row| row.submitted_at_ms).collect::<Vec<_>>(), [10, 4_000, 1_500, 30, 20]);
}

#[test]
fn a_job_is_queued_then_running_then_committed() {
    let mut table = JobTable::new(10);
    table.on_open(marker(1));
    assert_eq!(table.get(id(1)).unwrap().state, JobState::Queued);
    table.on_running("a", &[runs(1, 1)]);
    let job = table.get(id(1)).unwrap();
    assert_eq!((job.state, job.node.as_deref(), job.progress_permille), (JobState::Running, Some("a"), 250));
    assert_eq!((table.running(), table.queued()), (1, 0));
    table.on_end(record(1, JobState::Committed));
    let job = table.get(id(1)).unwrap();
    assert_eq!((job.state, job.node.as_deref(), job.attempts.len()), (JobState::Committed, Some("b"), 2));
    assert_eq!((table.running(), table.committed_last_minute(5_000)), (0, 1));
}

#[test]
fn the_first_end_stands_whatever_comes_later() {
    let mut table = JobTable::new(10);
    table.on_end(record(1, JobState::Cancelled));
    table.on_open(marker(1));
    table.on_running("a", &[runs(1, 9)]);
    table.on_end(record(1, JobState::Committed));
    table.on_leader_rows(vec![row(1, JobState::Running)]);
    assert_eq!(table.get(id(1)).unwrap().state, JobState::Cancelled);
    assert_eq!(table.committed_last_minute(5_000), 0);
}

#[test]
fn the_youngest_attempt_says_where_a_job_runs() {
    let mut table = JobTable::new(10);
    table.on_open(marker(1));
    table.on_running("young", &[runs(1, 5)]);
    table.on_running("zombie", &[runs(1, 4)]);
    assert_eq!(table.get(id(1)).unwrap().node.as_deref(), Some("young"));
    table.on_running("young", &[]);
    assert_eq!(table.get(id(1)).unwrap().state, JobState::Queued);
}

#[test]
fn events_tell_the_path_until_the_leader_does() {
    let mut table = JobTable::new(10);
    table.on_open(marker(1));
    let mut event = ClusterEvent::new(1, "scheduler", Level::Warn, EventKind::AttemptLost, "node died");
    event.job = Some(id(1));
    event.requeues = 2;
    event.history = vec![attempt("a", 1, AttemptOutcome::Lost)];
    table.on_event(&event);
    let job = table.get(id(1)).unwrap();
    assert_eq!((job.requeues, job.attempts.len()), (2, 1));
    table.on_leader_rows(vec![row(1, JobState::Running), row(2, JobState::Queued)]);
    assert_eq!(table.get(id(1)).unwrap().attempts[0].node, "c");
    assert_eq!(table.len(), 2);
    table.on_leader_rows(vec![]);
    assert_eq!(table.get(id(1)).unwrap().requeues, 2, "the marker is still there");
    assert_eq!(table.get(id(2)), None, "the leader alone knew it");
}

#[test]
fn pages_are_newest_first_and_join_without_gaps() {
    let mut table = JobTable::new(100);
    (1..=7).for_each(|n| table.on_open(marker(n)));
    let ids =
        |skip, limit| table.page(&JobFilter::default(), JobOrder::default(), 0, skip, limit).0.iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(0, 3), [id(7), id(6), id(5)]);
    assert_eq!(ids(6, 3), [id(1)]);
    assert_eq!((ids(7, 3).len(), table.page(&JobFilter::default(), JobOrder::default(), 0, 7, 3).1), (0, 7));
}

#[test]
fn filters_look_at_what_they_say() {
    let mut table = JobTable::new(100);
    table.on_open(marker(1));
    table.on_end(record(2, JobState::Committed));
    table.on_end(TerminalRecord { reason: "Out of Retries".into(), ..record(3, JobState::Dead) });
    table.on_running("n", &[runs(1, 1)]);
    let found = |filter: JobFilter| {
        let (rows, total) = table.page(&filter, JobOrder::default(), 0, 0, 10);
        assert_eq!(rows.len(), total);
        total
    };
    let states = |states: &[JobState]| JobFilter { states: states.iter().copied().collect(), ..JobFilter::default() };
    assert_eq!(found(states(&[JobState::Running])), 1);
    assert_eq!(found(states(&[JobState::Committed, JobState::Dead])), 2);
    assert_eq!(found(states(&[JobState::Queued])), 0);
    assert_eq!(found(JobFilter { kind: Some("matrix".into()), ..JobFilter::default() }), 2);
    assert_eq!(found(JobFilter { priority: Some(Priority::Urgent), ..JobFilter::default() }), 1);
    assert_eq!(found(JobFilter { node: Some("a".into()), ..JobFilter::default() }), 2);
    assert_eq!(found(JobFilter { node: Some("n".into()), ..JobFilter::default() }), 1);
    assert_eq!(found(JobFilter { min_attempts: 2, ..JobFilter::default() }), 2);
    assert_eq!(found(JobFilter { text: Some("algebra".into()), ..JobFilter::default() }), 2);
    assert_eq!(found(JobFilter { text: Some("out of".into()), ..JobFilter::default() }), 1);
    assert_eq!(found(JobFilter { text: Some(id(1).to_string().to_lowercase()), ..JobFilter::default() }), 1);
}

#[test]
fn ended_jobs_are_forgotten_before_those_that_run() {
    let mut table = JobTable::new(3);
    table.on_open(marker(1));
    table.on_end(record(2, JobState::Committed));
    table.on_end(record(3, JobState::Committed));
    table.on_open(marker(4));
    assert!(table.get(id(1)).is_some() && table.get(id(2)).is_none());
    (5..=9).for_each(|n| table.on_open(marker(n)));
    assert_eq!(table.len(), 3);
    assert!(table.get(id(9)).is_some() && table.get(id(3)).is_none());
}

#[test]
fn long_texts_are_cut_on_a_character() {
    let mut text = "é".repeat(5_000);
    clip(&mut text);
    assert!(text.len() <= 4_100 && text.ends_with('…'));
}

proptest! {
    #[test]
    fn the_table_stays_bounded_and_consistent(steps in proptest::collection::vec((0_u8..6, 0_u64..12, 0_u64..4), 0..80)) {
        let mut table = JobTable::new(5);
        for (step, n, node) in steps {
            let node = format!("n{node}");
            match step {
                0 => table.on_open(marker(n)),
                1 => table.on_end(record(n, JobState::Committed)),
                2 => table.on_running(&node, &[runs(n, n + 1), runs(n + 1, n)]),
                3 => table.on_running(&node, &[]),
                4 => table.on_leader_rows(vec![row(n, JobState::Running)]),
                _ => table.on_leader_rows(vec![]),
            }
            prop_assert!(table.len() <= 5);
            prop_assert!(table.ended.len() <= table.entries.len());
            prop_assert!(table.ended.iter().all(|(_, job)| table.entries.get(job).is_some_and(|entry| entry.end.is_some())));
            prop_assert!(table.entries.iter().all(|(job, entry)| entry.end.is_none() || table.ended.contains(&(entry.arrived_ms, *job))));
            prop_assert!(table.entries.iter().all(|(job, entry)| table.order.contains(&(entry.arrived_ms, *job))));
            prop_assert_eq!(table.order.len(), table.entries.len());
            prop_assert!(table.queued() <= table.len());
            prop_assert_eq!(table.page(&JobFilter::default(), JobOrder::default(), 0, 0, 100).0.len(), table.len());
        }
    }
}

#[test]
fn a_job_that_waits_for_its_retry_does_not_run_until_its_next_attempt() {
    let mut table = JobTable::new(10);
    table.on_open(marker(1));
    table.on_running("a", &[runs(1, 4)]);
    assert_eq!(table.get(id(1)).unwrap().state, JobState::Running);
    let mut failed = ClusterEvent::new(1, "worker-01", Level::Warn, EventKind::AttemptFailed, "failed on purpose");
    (failed.job, failed.failures, failed.history) = (Some(id(1)), 1, vec![attempt("a", 4, AttemptOutcome::Failed)]);
    table.on_event(&failed);
    // The next heartbeat may have been written before the failure.
    for beats in 0..2 {
        let job = table.get(id(1)).unwrap();
        assert_eq!((job.state, job.state_words(), job.progress_permille), (JobState::Queued, "waiting for a retry", 0), "{beats}");
        assert_eq!((table.running(), table.queued(), table.oldest_queued_ms()), (0, 1, Some(1)));
        let running = JobFilter { states: BTreeSet::from([JobState::Running]), ..JobFilter::default() };
        assert_eq!(table.page(&running, JobOrder::default(), 0, 0, 9).1, 0);
        table.on_running("a", &[runs(1, 4)]);
    }
    table.on_leader_rows(vec![JobView { attempts: vec![attempt("a", 4, AttemptOutcome::Failed)], ..row(1, JobState::Queued) }]);
    assert_eq!(table.get(id(1)).unwrap().state, JobState::Queued);
    table.on_running("b", &[runs(1, 5)]);
    assert_eq!((table.get(id(1)).unwrap().state, table.running()), (JobState::Running, 1));
}

#[test]
fn the_list_is_in_the_order_of_arrival_whatever_the_submitters_clocks_showed() {
    let mut table = JobTable::new(2);
    // Its id and its word are an hour ahead; it was stored first.
    let early = OpenMarker { submitted_at_ms: 10, ..marker(3_600_000) };
    table.on_open(early);
    table.on_open(marker(20));
    let page: Vec<JobId> = table.page(&JobFilter::default(), JobOrder::default(), 0, 0, 10).0.iter().map(|job| job.id).collect();
    assert_eq!(page, [id(20), id(3_600_000)]);
    assert_eq!(table.oldest_queued_ms(), Some(10));
    // The end repeats the submitter's word; what the first message was judged by stands.
    table.on_end(TerminalRecord { submitted_at_ms: 3_600_000, ..record(3_600_000, JobState::Dead) });
    assert_eq!(table.get(id(3_600_000)).unwrap().submitted_at_ms, 10);
    table.on_open(marker(30));
    assert_eq!((table.len(), table.get(id(3_600_000))), (2, None), "the ended one goes first");
    table.on_open(marker(40));
    assert_eq!(table.oldest_queued_ms(), Some(30), "then the oldest");
}
