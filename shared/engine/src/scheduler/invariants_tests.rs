//! Each violation planted, and what looks like one and is legal.

use super::super::tests::{SETTLED, alive, assignments, beat, leader, node, spec, submit};
use super::super::{SyncPart, SyncedNode};
use super::*;
use crate::job::{AttemptId, JobId, RunningAttempt};

fn reports(actions: &[Action]) -> Vec<&Violation> {
    actions.iter().filter_map(|action| if let Action::Report(violation) = action { Some(violation) } else { None }).collect()
}

/// Two nodes under epoch 5; job 1 runs on the node that is returned.
fn running_one() -> (Scheduler, String, AttemptId) {
    let mut scheduler = leader(&[1, 1]).under_epoch(5);
    let actions = submit(&mut scheduler, spec(1, 400), SETTLED);
    let placed = assignments(&actions)[0].clone();
    (scheduler, placed.node, placed.attempt)
}

fn other(node: &str) -> &'static str {
    if node == "gpu-node-01" { "gpu-node-02" } else { "gpu-node-01" }
}

fn sign(attempt: AttemptId, epoch: u64) -> RunningSign {
    RunningSign { attempt, job: JobId::new(0, 1), progress_permille: 0, epoch }
}

#[test]
fn nothing_is_reported_while_all_is_well() {
    let (mut scheduler, _, _) = running_one();
    for second in 1..20 {
        assert!(reports(&beat(&mut scheduler, 2, SETTLED + second * 1000)).is_empty());
        scheduler.advance(SETTLED + second * 1000);
    }
    assert_eq!(scheduler.counters().violations, 0);
}

#[test]
fn more_attempts_than_slots_are_reported_once() {
    let mut scheduler = leader(&[1]);
    for job in 1..=3 {
        submit(&mut scheduler, spec(job, 100), SETTLED);
    }
    let mut smaller = node(1, 1, 1);
    smaller.slots = 2;
    scheduler.on_registered(smaller, SETTLED + 10);
    let actions = beat(&mut scheduler, 1, SETTLED + 20);
    assert_eq!(reports(&actions), [&Violation::SlotsOverCapacity { node: "gpu-node-01".into(), attempts: 3, slots: 2 }]);
    assert!(reports(&beat(&mut scheduler, 1, SETTLED + 1_020)).is_empty());
    assert_eq!(scheduler.counters().violations, 1);
    assert!(scheduler.counters().last_violation.contains("3 attempts in 2 slots"));
}

#[test]
fn a_gpu_over_its_capacity_is_reported_at_the_placement_and_with_the_heartbeat() {
    let (mut scheduler, name, _) = running_one();
    // No way through the engine's own events leads there, so the books are falsified.
    scheduler.nodes.get_mut(&name).unwrap().slots[0].used_milli = 1_200;
    let mut actions = Vec::new();
    scheduler.check_booked(&name, &[0], &mut actions);
    assert!(matches!(reports(&actions)[..], [Violation::GpuOverCapacity { gpu: 0, used_milli: 1_200, .. }]), "{actions:?}");
    let actions = beat(&mut scheduler, 2, SETTLED + 1_000);
    assert!(matches!(reports(&actions)[..], [Violation::BooksDiffer { .. }]), "the same is not told twice: {actions:?}");
    assert_eq!(scheduler.counters().violations, 2);
}

#[test]
fn a_job_in_the_books_of_two_nodes_is_reported() {
    let (mut scheduler, name, attempt) = running_one();
    let second = AttemptId::new(SETTLED, 99);
    scheduler.nodes.get_mut(other(&name)).unwrap().attempts.insert(second, JobId::new(0, 1));
    let actions = scheduler.on_heartbeat(other(&name), alive(1, &[sign(second, 5)]), SETTLED + 100);
    let expected =
        Violation::TwoLiveAttempts { job: JobId::new(0, 1), node: other(&name).into(), attempt: second, other_node: name, other: attempt };
    assert_eq!(reports(&actions), [&expected]);
}

#[test]
fn two_live_nodes_that_name_a_job_under_the_current_epoch_are_reported() {
    let (mut scheduler, name, attempt) = running_one();
    let forged = AttemptId::new(SETTLED, 99);
    let mut found = Vec::new();
    for now_ms in [SETTLED + 1_000, SETTLED + 2_000, SETTLED + 3_000] {
        scheduler.on_heartbeat(&name, alive(1, &[sign(attempt, 5)]), now_ms);
        found.extend(scheduler.on_heartbeat(other(&name), alive(1, &[sign(forged, 5)]), now_ms));
    }
    let expected = Violation::TwoLiveAttempts {
        job: JobId::new(0, 1),
        node: other(&name).into(),
        attempt: forged,
        other_node: name.clone(),
        other: attempt,
    };
    assert_eq!(reports(&found), [&expected]);
}

#[test]
fn a_zombie_beside_its_heir_is_legal() {
    let (mut scheduler, name, zombie) = running_one();
    scheduler.on_verdict(&name, 1, Health::Dead, "test", 5_000, SETTLED + 5_000);
    beat(&mut scheduler, 0, SETTLED);
    scheduler.on_heartbeat(other(&name), alive(1, &[]), SETTLED + 5_000);
    scheduler.on_delivered(super::super::tests::delivery(spec(1, 400), true), SETTLED + 5_010);
    let read = super::super::RecordRead::Open { seq: 7, past: super::super::Past::default() };
    scheduler.on_record_read(JobId::new(0, 1), read, SETTLED + 5_020);
    let actions = scheduler.advance(SETTLED + 5_030);
    let heir = assignments(&actions)[0].attempt;
    scheduler.on_verdict(&name, 1, Health::Alive, "test", 0, SETTLED + 6_000);
    let mut found = Vec::new();
    for now_ms in (SETTLED + 6_000..SETTLED + 20_000).step_by(1_000) {
        scheduler.on_heartbeat(other(&name), alive(1, &[sign(heir, 5)]), now_ms);
        found.extend(scheduler.on_heartbeat(&name, alive(1, &[sign(zombie, 5)]), now_ms));
    }
    assert!(reports(&found).is_empty(), "{found:?}");
    assert!(found.iter().any(|action| matches!(action, Action::Kill { attempt, .. } if *attempt == zombie)));
}

#[test]
fn an_attempt_of_an_older_epoch_that_was_taken_after_the_answer_is_reported() {
    let (mut scheduler, name, _) = running_one();
    let old = AttemptId::new(SETTLED, 77);
    let mut found = Vec::new();
    for now_ms in [SETTLED + 1_000, SETTLED + 2_000] {
        found.extend(scheduler.on_heartbeat(other(&name), alive(1, &[sign(old, 4)]), now_ms));
    }
    assert!(matches!(reports(&found)[..], [Violation::OldEpoch { epoch: 4, current: 5, .. }]), "{found:?}");
}

#[test]
fn a_heartbeat_from_before_the_answer_that_comes_after_it_is_legal() {
    let mut scheduler = leader(&[1]).under_epoch(5);
    let name = "gpu-node-02".to_owned();
    scheduler.on_registered(node(2, 2, 1), SETTLED);
    let named = sign(AttemptId::new(SETTLED, 77), 4);
    let mut found = scheduler.on_heartbeat(&name, alive(1, &[named]), SETTLED);
    // It ends, the worker answers, and the answer overtakes a heartbeat.
    let answer = SyncedNode { node: name.clone(), incarnation: 1, running: Vec::new(), part: SyncPart::default() };
    scheduler.on_synced(answer, SETTLED + 4_000);
    found.extend(scheduler.on_heartbeat(&name, alive(1, &[named]), SETTLED + 4_000));
    found.extend(scheduler.on_heartbeat(&name, alive(1, &[]), SETTLED + 4_000));
    assert!(reports(&found).is_empty(), "{found:?}");
}

#[test]
fn an_attempt_of_an_older_epoch_that_was_named_in_the_answer_is_legal() {
    let (mut scheduler, name, _) = running_one();
    let mut elsewhere = leader(&[1]);
    // The same seed draws the same first attempt id as above.
    submit(&mut elsewhere, spec(3, 100), SETTLED);
    let actions = submit(&mut elsewhere, spec(2, 100), SETTLED);
    let mut assignment = assignments(&actions)[0].clone();
    (assignment.node, assignment.epoch) = (name.clone(), 4);
    let attempt = assignment.attempt;
    let running = vec![RunningAttempt { assignment, started_at_ms: SETTLED, elapsed_ms: None }];
    scheduler.on_synced(SyncedNode { node: name.clone(), incarnation: 1, running, part: SyncPart::default() }, SETTLED);
    scheduler.on_verdict(&name, 1, Health::Gone, "test", 100, SETTLED + 100);
    scheduler.on_verdict(&name, 1, Health::Alive, "test", 0, SETTLED + 200);
    let mut found = Vec::new();
    let named = RunningSign { job: JobId::new(0, 2), ..sign(attempt, 4) };
    for now_ms in [SETTLED + 1_000, SETTLED + 2_000, SETTLED + 3_000] {
        found.extend(scheduler.on_heartbeat(&name, alive(1, &[named]), now_ms));
    }
    assert!(reports(&found).is_empty(), "{found:?}");
}
