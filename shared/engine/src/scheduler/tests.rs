//! The scheduler in virtual time: each rule by itself, then everything at random with the books checked after every step.

use proptest::prelude::*;

use super::*;
use crate::goodput::history;
use crate::job::{AttemptSummary, Demand, EndedAttempt, JobState, Params, Priority, RunningAttempt, Told};
use crate::node::{GpuDescriptor, GpuTelemetry};

pub(super) const SETTLED: u64 = 100_000;

/// The path of a job that has failed so often.
pub(super) fn failed(failures: u32) -> Path {
    Path { failures, ..Path::default() }
}

pub(super) fn node(index: u8, gpus: usize, incarnation: u64) -> NodeSpec {
    NodeSpec {
        node: format!("gpu-node-{index:02}"),
        worker: format!("worker-{index:02}"),
        incarnation,
        gpus: vec![GpuDescriptor { model: "L4".into(), memory_mib: 24_000 }; gpus],
        rack: "r1".into(),
        slots: 64,
        kinds: vec!["sleep".into()],
        fault_percent_per_min: 0.0,
        telemetry_source: "simulated".into(),
        gpu_problem: None,
    }
}

pub(super) fn spec(n: u128, gpu_milli: u32) -> JobSpec {
    JobSpec {
        id: JobId::new(0, n),
        name: format!("wait-normal-{n}"),
        kind: "sleep".into(),
        params: Params::new(),
        priority: Priority::Normal,
        demand: Demand { gpu_milli, gpu_memory_mib: 1000, models: vec![] },
        expected_ms: 1000,
        timeout_ms: 60_000,
        max_retries: 1,
        submitted_at_ms: 0,
        origin: Default::default(),
    }
}

pub(super) fn delivery(spec: JobSpec, redelivered: bool) -> Delivery {
    Delivery { ack_subject: format!("ack.{}", spec.id), stored_at_ms: spec.submitted_at_ms, spec, open_seq: 7, redelivered }
}

/// A settled leader with beating nodes.
pub(super) fn leader(gpus: &[usize]) -> Scheduler {
    let mut scheduler = Scheduler::new(SchedulerConfig::default(), PolicyName::LeastLoaded, 1, 0);
    for (index, count) in gpus.iter().enumerate() {
        let index = u8::try_from(index).unwrap() + 1;
        scheduler.on_registered(node(index, *count, 1), 0);
        scheduler
            .on_synced(SyncedNode { node: format!("gpu-node-{index:02}"), incarnation: 1, running: vec![], part: SyncPart::default() }, 0);
    }
    beat(&mut scheduler, gpus.len(), SETTLED);
    scheduler
}

pub(super) fn alive(incarnation: u64, running: &[RunningSign]) -> Beat<'_> {
    Beat { incarnation, running, telemetry: &[], leaving: false }
}

pub(super) fn beat(scheduler: &mut Scheduler, nodes: usize, now_ms: u64) -> Vec<Action> {
    let mut actions = Vec::new();
    for index in 1..=nodes {
        let name = format!("gpu-node-{index:02}");
        let signs: Vec<RunningSign> = scheduler
            .node(&name)
            .map(|node| {
                node.attempts
                    .iter()
                    .map(|(attempt, job)| RunningSign { attempt: *attempt, job: *job, progress_permille: 1, epoch: 0 })
                    .collect()
            })
            .unwrap_or_default();
        actions.extend(scheduler.on_heartbeat(&name, alive(1, &signs), now_ms));
    }
    actions
}

pub(super) fn assignments(actions: &[Action]) -> Vec<&Assignment> {
    actions.iter().filter_map(|action| if let Action::Assign { assignment, .. } = action { Some(&**assignment) } else { None }).collect()
}

pub(super) fn submit(scheduler: &mut Scheduler, spec: JobSpec, now_ms: u64) -> Vec<Action> {
    let mut actions = scheduler.on_delivered(delivery(spec, false), now_ms);
    actions.extend(scheduler.advance(now_ms));
    scheduler.sanity_check();
    actions
}

fn ended(assignment: &Assignment, outcome: AttemptOutcome) -> EndedAttempt {
    EndedAttempt {
        job: assignment.spec.id,
        attempt: assignment.attempt,
        node: assignment.node.clone(),
        outcome,
        detail: "boom".into(),
        at_ms: SETTLED,
        retry_delay_ms: 500,
        told: Told::ByWorker,
        row: None,
        ran_ms: None,
    }
}

fn told(assignment: &Assignment, told: Told) -> EndedAttempt {
    EndedAttempt { told, retry_delay_ms: 0, ..ended(assignment, AttemptOutcome::Lost) }
}

/// Two processes of one name do this: one of them refuses whatever the other one takes.
#[test]
fn a_node_that_refuses_everything_gets_little_and_the_others_do_the_work() {
    let mut scheduler = leader(&[4]);
    let jobs: Vec<JobSpec> = (1..=40).map(|n| spec(n, 100)).collect();
    let mut placed = 0;
    for job in &jobs {
        scheduler.on_delivered(delivery(job.clone(), false), SETTLED);
    }
    for now_ms in (SETTLED..SETTLED + 60_000).step_by(50) {
        if (now_ms - SETTLED).is_multiple_of(1_000) {
            beat(&mut scheduler, 1, now_ms);
        }
        let actions = scheduler.advance(now_ms);
        for assignment in assignments(&actions) {
            placed += 1;
            scheduler.on_ended(&told(assignment, Told::Refused), now_ms + 1);
            // It comes back as soon as it can.
            scheduler.on_delivered(delivery(assignment.spec.clone(), true), now_ms + 2);
            let past = Past::default();
            scheduler.on_record_read(assignment.spec.id, RecordRead::Open { seq: 7, past }, now_ms + 3);
        }
        scheduler.sanity_check();
    }
    assert!((40..=7 * 40).contains(&placed), "{placed} placements of 40 jobs in a minute");
    let why = scheduler.why_waiting(jobs[0].id, SETTLED + 60_000).unwrap();
    assert_eq!(why.rejects, [Reject { reason: RejectReason::RefusedLately, nodes: 1 }]);

    scheduler.on_registered(node(2, 4, 1), SETTLED + 60_000);
    scheduler.on_heartbeat("gpu-node-02", alive(1, &[]), SETTLED + 60_000);
    let actions = scheduler.advance(SETTLED + 60_001);
    assert_eq!(assignments(&actions).iter().filter(|assignment| assignment.node == "gpu-node-02").count(), 40);
}

#[test]
fn what_a_worker_could_not_tell_is_told_by_the_scheduler_and_stays_in_the_path() {
    for (reason, handed_back) in [(Told::ByWorker, 0), (Told::Refused, 0), (Told::Unanswered, 1)] {
        let mut scheduler = leader(&[1]);
        let actions = submit(&mut scheduler, spec(1, 100), SETTLED);
        let placed = assignments(&actions)[0].clone();
        let actions = scheduler.on_ended(&told(&placed, reason), SETTLED + 5);
        let notes: Vec<_> = actions.iter().filter_map(|action| if let Action::Note(note) = action { Some(note) } else { None }).collect();
        let is_told = matches!(notes[..], [Note::Lost { attempt, reason, .. }] if *attempt == placed.attempt && reason == "boom");
        assert_eq!(is_told, reason != Told::ByWorker, "{notes:?}");
        assert_eq!(actions.iter().filter(|action| matches!(action, Action::Nak { .. })).count(), handed_back, "{actions:?}");
        let path = scheduler.job(placed.spec.id).unwrap().path_so_far().history;
        assert_eq!(path.iter().map(|row| (row.attempt, row.outcome)).collect::<Vec<_>>(), [(placed.attempt, AttemptOutcome::Lost)]);
        scheduler.sanity_check();
    }
}

#[test]
fn a_job_whose_assignment_no_message_can_carry_is_given_up_alone() {
    let mut scheduler = leader(&[1]);
    let actions = submit(&mut scheduler, spec(1, 100), SETTLED);
    let placed = assignments(&actions)[0].clone();
    submit(&mut scheduler, spec(2, 100), SETTLED);
    assert_eq!(scheduler.on_unsendable(placed.spec.id, AttemptId::new(0, 9), "of another attempt".into(), SETTLED), []);
    let actions = scheduler.on_unsendable(placed.spec.id, placed.attempt, "too large".into(), SETTLED);
    assert!(
        matches!(&actions[..], [Action::Die { job, reason, .. }] if job.spec.id == placed.spec.id && reason == "too large"),
        "{actions:?}"
    );
    assert_eq!((scheduler.running(), scheduler.job(placed.spec.id)), (1, None));
    scheduler.sanity_check();
}

#[test]
fn a_gpu_out_of_service_gets_no_job_until_the_node_says_that_it_is_back() {
    let mut scheduler = leader(&[1]);
    let beat = |out_of_service, scheduler: &mut Scheduler, now_ms| {
        let telemetry = [GpuTelemetry { out_of_service, ..GpuTelemetry::default() }];
        scheduler.on_heartbeat("gpu-node-01", Beat { telemetry: &telemetry, ..alive(1, &[]) }, now_ms)
    };
    beat(true, &mut scheduler, SETTLED + 1);
    let job = spec(1, 500);
    scheduler.on_delivered(delivery(job.clone(), false), SETTLED + 2);
    assert!(scheduler.advance(SETTLED + 3).iter().all(|action| !matches!(action, Action::Assign { .. })));
    let why = scheduler.why_waiting(job.id, SETTLED + 3).unwrap();
    assert_eq!(why.rejects, [Reject { reason: RejectReason::GpuOutOfService, nodes: 1 }]);
    beat(false, &mut scheduler, SETTLED + 1_000);
    assert!(scheduler.advance(SETTLED + 1_001).iter().any(|action| matches!(action, Action::Assign { .. })));
    scheduler.sanity_check();
}

#[test]
fn a_fresh_job_goes_to_the_emptiest_node_and_its_end_frees_the_gpu() {
    let mut scheduler = leader(&[1, 4]);
    let actions = submit(&mut scheduler, spec(1, 1000), SETTLED);
    let placed = assignments(&actions)[0].clone();
    let actions = submit(&mut scheduler, spec(2, 1000), SETTLED);
    assert_eq!((placed.node.as_str(), assignments(&actions)[0].node.as_str()), ("gpu-node-01", "gpu-node-02"));
    assert_eq!(scheduler.running(), 2);
    scheduler.on_ended(&ended(&placed, AttemptOutcome::Committed), SETTLED + 1);
    scheduler.sanity_check();
    assert_eq!((scheduler.running(), scheduler.job(placed.spec.id)), (1, None));
}

#[test]
fn a_new_leader_listens_before_it_places() {
    let mut scheduler = Scheduler::new(SchedulerConfig::default(), PolicyName::BestFit, 1, 0);
    scheduler.on_registered(node(1, 1, 1), 0);
    beat(&mut scheduler, 1, 10);
    assert!(assignments(&submit(&mut scheduler, spec(1, 500), 10)).is_empty());
    assert_eq!(scheduler.why_waiting(JobId::new(0, 1), 10).unwrap().summary, "a new leader listens before it places");
    assert_eq!(assignments(&scheduler.advance(1_200)).len(), 1);
}

#[test]
fn a_dead_node_gives_its_jobs_back_once_and_they_are_read_back_before_they_run_again() {
    let mut scheduler = leader(&[1, 1]);
    let actions = submit(&mut scheduler, spec(1, 1000), SETTLED);
    let first = assignments(&actions)[0].clone();
    let actions = scheduler.on_verdict(&first.node, 1, Health::Dead, "silent for 5 s", 5_000, SETTLED + 5_000);
    scheduler.sanity_check();
    assert!(matches!(&actions[0], Action::Nak { delay_ms: 0, .. }));
    assert!(matches!(&actions[1], Action::Note(Note::Lost { path: Path { requeues: 1, failures: 0, .. }, .. })));
    assert!(scheduler.on_verdict(&first.node, 1, Health::Dead, "still", 6_000, SETTLED + 6_000).is_empty());
    let actions = scheduler.on_delivered(delivery(spec(1, 1000), true), SETTLED + 5_001);
    assert_eq!(actions, [Action::ReadBack { job: JobId::new(0, 1) }]);
    let other = if first.node == "gpu-node-01" { "gpu-node-02" } else { "gpu-node-01" };
    scheduler.on_heartbeat(other, alive(1, &[]), SETTLED + 5_001);
    scheduler.on_record_read(JobId::new(0, 1), RecordRead::Open { seq: 7, past: Past::default() }, SETTLED + 5_002);
    let actions = scheduler.advance(SETTLED + 5_002);
    let second = assignments(&actions)[0];
    assert_eq!((second.node.as_str(), second.requeues, second.failures), (other, 1, 0));
    assert_eq!(second.history[0].outcome, AttemptOutcome::Lost);
    assert_eq!(scheduler.counters().requeue.percentile_ms(50), 5_000);
    assert_eq!(scheduler.counters().recovery.percentile_ms(50), 2);
    scheduler.sanity_check();
}

#[test]
fn a_job_that_has_ended_is_acknowledged_and_not_run_again() {
    for read in [RecordRead::Ended(JobState::Committed), RecordRead::Open { seq: 8, past: Past::default() }] {
        let mut scheduler = leader(&[1]);
        scheduler.on_delivered(delivery(spec(1, 100), true), SETTLED);
        let actions = scheduler.on_record_read(JobId::new(0, 1), read, SETTLED);
        assert!(matches!(actions[..], [Action::Ack { .. }]));
        assert!(scheduler.job(JobId::new(0, 1)).is_none());
    }
}

#[test]
fn a_job_that_failed_too_often_dies_with_its_last_error() {
    let mut scheduler = leader(&[1]);
    for round in 0..2 {
        let actions = if round == 0 { submit(&mut scheduler, spec(1, 100), SETTLED) } else { scheduler.advance(SETTLED) };
        let placed = assignments(&actions)[0].clone();
        assert_eq!(placed.failures, round);
        scheduler.on_ended(&ended(&placed, AttemptOutcome::Failed), SETTLED);
        scheduler.on_delivered(delivery(spec(1, 100), true), SETTLED + 500);
        let actions = scheduler.on_record_read(JobId::new(0, 1), RecordRead::Open { seq: 7, past: Past::default() }, SETTLED + 500);
        scheduler.sanity_check();
        if round == 1 {
            let [Action::Die { reason, last_error, job }] = &actions[..] else { panic!("{actions:?}") };
            assert_eq!((reason.as_str(), last_error.as_str(), job.path.failures), ("failed 2 times, 1 retry was allowed", "boom", 2));
        }
    }
    assert!(scheduler.job(JobId::new(0, 1)).is_none());
}

#[test]
fn a_new_leader_learns_the_failures_from_the_last_event() {
    let mut scheduler = leader(&[1]);
    scheduler.on_delivered(delivery(spec(1, 100), true), SETTLED);
    let actions = scheduler.on_record_read(
        JobId::new(0, 1),
        RecordRead::Open { seq: 7, past: Past { path: Path { failures: 2, requeues: 1, ..Path::default() }, ..Past::default() } },
        SETTLED,
    );
    assert!(matches!(actions[..], [Action::Die { .. }]));
}

#[test]
fn what_no_node_could_ever_run_dies_but_only_after_the_nodes_had_time_to_come() {
    let mut scheduler = leader(&[1]);
    assert!(assignments(&submit(&mut scheduler, spec(1, 2000), 2_000)).is_empty());
    assert_eq!(scheduler.why_waiting(JobId::new(0, 1), SETTLED).unwrap().summary, "1 node: too few GPUs");
    let actions = pass(&mut scheduler, 3_000, 12_000);
    assert!(matches!(&actions[..], [.., Action::Die { reason, .. }] if reason.contains("too few GPUs")), "{actions:?}");
    let mut absurd = spec(2, 100);
    absurd.timeout_ms = 0;
    assert!(matches!(&submit(&mut scheduler, absurd, 12_000)[..], [Action::Die { reason, .. }] if reason.contains("timeout")));
    let mut unknown = spec(3, 100);
    unknown.kind = "poetry".into();
    assert!(matches!(&submit(&mut scheduler, unknown, 12_000)[..], [Action::Die { reason, .. }] if reason.contains("no executor")));
}

#[test]
fn a_verdict_that_nobody_repeats_is_forgotten_when_the_node_beats() {
    let mut scheduler = leader(&[1]);
    scheduler.on_verdict("gpu-node-01", 1, Health::Dead, "silent", 5_000, SETTLED);
    assert!(assignments(&submit(&mut scheduler, spec(1, 100), SETTLED)).is_empty());
    beat(&mut scheduler, 1, SETTLED + 9_000);
    assert!(assignments(&scheduler.advance(SETTLED + 9_000)).is_empty());
    beat(&mut scheduler, 1, SETTLED + 10_000);
    assert_eq!(assignments(&scheduler.advance(SETTLED + 10_000)).len(), 1);
}

/// A second at a time.
fn pass(scheduler: &mut Scheduler, from_ms: u64, to_ms: u64) -> Vec<Action> {
    (from_ms..=to_ms).step_by(1_000).flat_map(|now_ms| scheduler.advance(now_ms)).collect()
}

#[test]
fn a_leader_that_stood_still_takes_nothing_for_impossible_before_the_nodes_had_time_to_come() {
    let mut scheduler = leader(&[1]);
    submit(&mut scheduler, spec(1, 2000), 2_000);
    // Frozen for half a minute, deposed meanwhile: it has missed the node that the job is running on by now.
    let dies = |actions: Vec<Action>| actions.iter().any(|action| matches!(action, Action::Die { .. }));
    assert!(!dies(scheduler.advance(32_000)));
    assert!(!dies(pass(&mut scheduler, 33_000, 41_000)));
    assert!(dies(scheduler.advance(42_000)));
}

#[test]
fn drained_silent_and_suspect_nodes_get_nothing() {
    let mut scheduler = leader(&[1]);
    assert!(scheduler.on_drain("gpu-node-01", true, SETTLED));
    assert!(!scheduler.on_drain("gpu-node-01", true, SETTLED));
    assert!(assignments(&submit(&mut scheduler, spec(1, 100), SETTLED)).is_empty());
    scheduler.on_drain("gpu-node-01", false, SETTLED);
    scheduler.on_verdict("gpu-node-01", 1, Health::Suspect, "late", 3_000, SETTLED);
    assert!(assignments(&scheduler.advance(SETTLED)).is_empty());
    scheduler.on_verdict("gpu-node-01", 1, Health::Alive, "back", 0, SETTLED);
    assert!(assignments(&scheduler.advance(SETTLED + 60_000)).is_empty(), "silent for a minute");
    let leaving = Beat { leaving: true, ..alive(1, &[]) };
    scheduler.on_heartbeat("gpu-node-01", leaving, SETTLED + 60_000);
    assert!(assignments(&scheduler.advance(SETTLED + 60_000)).is_empty(), "it leaves");
    beat(&mut scheduler, 1, SETTLED + 60_000);
    scheduler.on_drain("gpu-node-01", false, SETTLED);
    assert_eq!(assignments(&scheduler.advance(SETTLED + 60_000)).len(), 1);
}

#[test]
fn an_assignment_that_never_arrived_is_found_by_the_heartbeat() {
    let mut scheduler = leader(&[1]);
    submit(&mut scheduler, spec(1, 100), SETTLED);
    assert!(scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), SETTLED + 1_000).is_empty());
    let actions = scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), SETTLED + 2_000);
    assert!(matches!(actions[..], [Action::Nak { .. }, Action::Note(Note::Lost { .. })]));
    scheduler.sanity_check();
}

#[test]
fn a_second_delivery_of_a_living_attempt_changes_nothing_and_of_a_silent_one_repeats_it() {
    let mut scheduler = leader(&[1]);
    submit(&mut scheduler, spec(1, 100), SETTLED);
    beat(&mut scheduler, 1, SETTLED + 1_000);
    assert!(scheduler.on_delivered(delivery(spec(1, 100), false), SETTLED + 1_500).is_empty());
    let actions = scheduler.on_delivered(delivery(spec(1, 100), true), SETTLED + 15_000);
    assert!(matches!(actions[..], [Action::Kill { .. }, Action::Note(_), Action::ReadBack { .. }]), "{actions:?}");
    scheduler.sanity_check();
}

#[test]
fn a_failed_job_that_comes_back_before_the_news_of_its_failure_is_not_forgotten() {
    let mut scheduler = leader(&[1]);
    let actions = submit(&mut scheduler, spec(1, 100), SETTLED);
    let placed = assignments(&actions)[0].clone();
    assert!(scheduler.on_delivered(delivery(spec(1, 100), true), SETTLED + 10).is_empty());
    let actions = scheduler.on_ended(&ended(&placed, AttemptOutcome::Failed), SETTLED + 11);
    assert_eq!(actions, [Action::ReadBack { job: placed.spec.id }]);
    scheduler.sanity_check();
}

#[test]
fn a_failure_whose_news_got_lost_is_read_back_and_not_covered_up() {
    let mut scheduler = leader(&[1]);
    submit(&mut scheduler, spec(1, 100), SETTLED);
    // The worker wrote the failure down and handed the job back; its report never arrived, and its heartbeat names nothing.
    let actions = scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), SETTLED + 2_000);
    let [Action::Nak { .. }, Action::Note(lost)] = &actions[..] else { panic!("{actions:?}") };
    assert!(!lost.is_read_back());
    let job = JobId::new(0, 1);
    scheduler.on_delivered(delivery(spec(1, 100), true), SETTLED + 2_001);
    let failed = AttemptSummary { outcome: AttemptOutcome::Failed, ..row() };
    scheduler.on_record_read(
        job,
        RecordRead::Open { seq: 7, past: Past { path: Path { failures: 1, history: vec![failed], ..Path::default() }, ..Past::default() } },
        SETTLED + 2_002,
    );
    let actions = scheduler.advance(SETTLED + 2_002);
    assert_eq!(assignments(&actions)[0].failures, 1);
    let placed = actions.iter().find_map(|action| if let Action::Note(note) = action { Some(note) } else { None }).unwrap();
    assert!(placed.is_read_back() && matches!(placed, Note::Placed { path: Path { failures: 1, requeues: 1, .. }, .. }));
}

fn row() -> AttemptSummary {
    AttemptSummary {
        attempt: AttemptId::new(0, 1),
        node: "gpu-node-01".into(),
        incarnation: 1,
        gpus: vec![0],
        gpu_milli: 100,
        placed_at_ms: 0,
        started_at_ms: None,
        ended_at_ms: None,
        outcome: AttemptOutcome::Lost,
        detail: String::new(),
        why: String::new(),
        choice: None,
    }
}

#[test]
fn a_zombie_is_killed_and_its_commit_ends_the_other_attempt() {
    let mut scheduler = leader(&[1, 1]);
    let actions = submit(&mut scheduler, spec(1, 1000), SETTLED);
    let zombie = assignments(&actions)[0].clone();
    scheduler.on_verdict(&zombie.node, 1, Health::Dead, "silent", 5_000, SETTLED);
    scheduler.on_delivered(delivery(spec(1, 1000), true), SETTLED);
    scheduler.on_record_read(JobId::new(0, 1), RecordRead::Open { seq: 7, past: Past::default() }, SETTLED);
    let actions = scheduler.advance(SETTLED);
    let heir = assignments(&actions)[0].clone();
    assert_ne!(heir.node, zombie.node);
    let sign = RunningSign { attempt: zombie.attempt, job: zombie.spec.id, progress_permille: 0, epoch: 0 };
    assert!(scheduler.on_heartbeat(&zombie.node, alive(1, &[sign]), SETTLED + 1_000).is_empty());
    let actions = scheduler.on_heartbeat(&zombie.node, alive(1, &[sign]), SETTLED + 4_000);
    assert!(matches!(&actions[..], [Action::Kill { attempt, .. }] if *attempt == zombie.attempt));
    let actions = scheduler.on_ended(&ended(&zombie, AttemptOutcome::Committed), SETTLED + 4_000);
    assert!(matches!(&actions[..], [Action::Kill { attempt, .. }] if *attempt == heir.attempt));
    assert_eq!(scheduler.running(), 0);
    scheduler.sanity_check();
}

#[test]
fn a_new_leader_adopts_what_runs_and_places_nothing_over_it() {
    let mut old = leader(&[1]);
    let actions = submit(&mut old, spec(1, 1000), SETTLED);
    let running = RunningAttempt { assignment: assignments(&actions)[0].clone(), started_at_ms: SETTLED, elapsed_ms: None };
    let mut new = leader(&[1]);
    new.on_delivered(delivery(spec(1, 1000), true), SETTLED);
    let synced = SyncedNode { node: "gpu-node-01".into(), incarnation: 1, running: vec![running], part: SyncPart::default() };
    assert!(new.on_synced(synced, SETTLED).is_empty());
    new.sanity_check();
    assert_eq!((new.running(), new.waiting()), (1, 0));
    assert!(assignments(&submit(&mut new, spec(2, 100), SETTLED)).is_empty(), "the GPU is taken");
    assert!(new.on_record_read(JobId::new(0, 1), RecordRead::Missing, SETTLED).is_empty());
}

#[test]
fn a_restarted_node_loses_what_it_ran() {
    let mut scheduler = leader(&[1]);
    submit(&mut scheduler, spec(1, 100), SETTLED);
    let actions = scheduler.on_registered(node(1, 1, 2), SETTLED + 10);
    assert!(matches!(actions[..], [Action::Nak { .. }, Action::Note(Note::Lost { .. })]), "{actions:?}");
    scheduler.sanity_check();
    submit(&mut scheduler, spec(2, 100), SETTLED + 20);
    assert!(scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), SETTLED + 9_000).is_empty(), "a voice from the former life");
}

#[test]
fn an_attempt_that_overstays_is_killed_and_repeated() {
    let mut scheduler = leader(&[1]);
    submit(&mut scheduler, spec(1, 100), SETTLED);
    for second in 1..70 {
        beat(&mut scheduler, 1, SETTLED + second * 1000);
    }
    let actions = scheduler.advance(SETTLED + 70_001);
    assert!(actions.iter().any(|action| matches!(action, Action::Kill { .. })));
    assert!(actions.iter().any(|action| matches!(action, Action::Nak { .. })));
    scheduler.sanity_check();
}

#[test]
fn waiting_messages_are_kept_from_coming_again() {
    let mut scheduler = leader(&[]);
    submit(&mut scheduler, spec(1, 100), SETTLED);
    let actions = scheduler.advance(SETTLED + 5_000);
    assert!(matches!(actions[..], [Action::InProgress { .. }]));
    assert_eq!(scheduler.on_cancelled(JobId::new(0, 1), 5_000), [Action::Ack { ack_subject: format!("ack.{}", JobId::new(0, 1)) }]);
    scheduler.sanity_check();
    assert_eq!(scheduler.waiting(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Submit { job: u128, milli: u32, redelivered: bool },
    Read { job: u128, ended: bool },
    End { pick: usize, outcome: AttemptOutcome },
    Beat { node: u8, honest: bool },
    Verdict { node: u8, health: Health },
    Restart { node: u8 },
    Leave { node: u8 },
    Cancel { job: u128 },
    Drain { node: u8, on: bool },
    Wait { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        Just(AttemptOutcome::Committed),
        Just(AttemptOutcome::Failed),
        Just(AttemptOutcome::Superseded),
        Just(AttemptOutcome::Lost)
    ];
    let health = prop_oneof![Just(Health::Alive), Just(Health::Suspect), Just(Health::Gone), Just(Health::Dead)];
    prop_oneof![
        4 => (0_u128..20, prop_oneof![Just(100_u32), Just(500), Just(1000), Just(2000)], any::<bool>()).prop_map(|(job, milli, redelivered)| Step::Submit { job, milli, redelivered }),
        3 => (0_u128..20, any::<bool>()).prop_map(|(job, ended)| Step::Read { job, ended }),
        3 => (0_usize..8, outcome).prop_map(|(pick, outcome)| Step::End { pick, outcome }),
        4 => (1_u8..5, any::<bool>()).prop_map(|(node, honest)| Step::Beat { node, honest }),
        1 => (1_u8..5, health).prop_map(|(node, health)| Step::Verdict { node, health }),
        1 => (1_u8..5).prop_map(|node| Step::Restart { node }),
        1 => (1_u8..5).prop_map(|node| Step::Leave { node }),
        1 => (0_u128..20).prop_map(|job| Step::Cancel { job }),
        1 => (1_u8..5, any::<bool>()).prop_map(|(node, on)| Step::Drain { node, on }),
        3 => (0_u64..4000).prop_map(|ms| Step::Wait { ms }),
    ]
}

fn gpu_milli(scheduler: &Scheduler) -> u64 {
    scheduler.nodes().map(|node| node.slots.len() as u64 * 1000).sum()
}

proptest! {
    /// Whatever happens in whatever order: no GPU is oversubscribed, no index contradicts another, and a job leaves the
    /// books only by an acknowledgement, its death, its end or its cancellation.
    #[test]
    fn the_books_stay_right_whatever_happens(steps in proptest::collection::vec(step(), 1..120), seed in any::<u64>()) {
        let mut scheduler = Scheduler::new(SchedulerConfig::default(), PolicyName::Random, seed, 0);
        let mut now_ms = 2_000;
        let mut incarnations = [1_u64; 5];
        for index in 1..=4_u8 {
            scheduler.on_registered(node(index, 2, 1), now_ms);
        }
        let (mut books_began_ms, mut gpu_milli_ms) = (2_000, 0);
        for step in steps {
            now_ms += 1;
            gpu_milli_ms += gpu_milli(&scheduler) * (now_ms - books_began_ms);
            books_began_ms = now_ms;
            let name = |node: u8| format!("gpu-node-{node:02}");
            match step {
                Step::Submit { job, milli, redelivered } => drop(scheduler.on_delivered(delivery(spec(job, milli), redelivered), now_ms)),
                Step::Read { job, ended } => {
                    let read = if ended { RecordRead::Ended(JobState::Committed) } else { RecordRead::Open { seq: 7, past: Past::default() } };
                    scheduler.on_record_read(JobId::new(0, job), read, now_ms);
                }
                Step::End { pick, outcome } => {
                    let attempt = scheduler.nodes().flat_map(|node| node.attempts.iter().map(|(attempt, job)| (*attempt, *job))).nth(pick);
                    if let Some((attempt, job)) = attempt {
                        let ended = EndedAttempt { job, attempt, node: String::new(), outcome, detail: String::new(), at_ms: now_ms, retry_delay_ms: 10, told: Told::ByWorker, row: None, ran_ms: None };
                        scheduler.on_ended(&ended, now_ms);
                    }
                }
                Step::Beat { node, honest } => {
                    let signs: Vec<RunningSign> = scheduler.node(&name(node)).filter(|_| honest)
                        .map(|node| node.attempts.iter().map(|(attempt, job)| RunningSign { attempt: *attempt, job: *job, progress_permille: 5, epoch: 0 }).collect())
                        .unwrap_or_default();
                    scheduler.on_heartbeat(&name(node), alive(incarnations[usize::from(node)], &signs), now_ms);
                }
                Step::Verdict { node, health } => drop(scheduler.on_verdict(&name(node), incarnations[usize::from(node)], health, "drawn", 10, now_ms)),
                Step::Restart { node: index } => {
                    incarnations[usize::from(index)] += 1;
                    scheduler.on_registered(node(index, 2, incarnations[usize::from(index)]), now_ms);
                }
                Step::Leave { node } => drop(scheduler.on_left(&name(node), incarnations[usize::from(node)], now_ms)),
                Step::Cancel { job } => drop(scheduler.on_cancelled(JobId::new(0, job), now_ms)),
                Step::Drain { node, on } => drop(scheduler.on_drain(&name(node), on, now_ms)),
                Step::Wait { ms } => now_ms += ms,
            }
            scheduler.sanity_check();
            let actions = scheduler.advance(now_ms);
            scheduler.sanity_check();
            let goodput = scheduler.goodput(now_ms);
            let waited = gpu_milli(&scheduler) * (now_ms - books_began_ms);
            prop_assert_eq!(goodput.term.classes.iter().sum::<u64>(), gpu_milli_ms + waited + goodput.overbooked, "GPU time is in no class, or in two");
            prop_assert_eq!(goodput.overbooked, 0);
            prop_assert_eq!(history::total(&goodput.rows).sum(), history::total([&goodput.term]).sum());
            for assignment in assignments(&actions) {
                prop_assert_eq!(scheduler.node(&assignment.node).unwrap().health, Health::Alive);
                prop_assert!(!scheduler.node(&assignment.node).unwrap().draining);
            }
        }
    }
}
