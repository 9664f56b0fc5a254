//! Taking over: when a new leader begins to place, what it adopts, and which messages it hands back.

use super::super::tests::{SETTLED, alive, assignments, delivery, leader, node, spec, submit};
use super::super::{Beat, Past, RecordRead, RunningSign, SchedulerConfig};
use super::*;
use crate::placement::PolicyName;

fn elected(nodes: u8) -> Scheduler {
    let mut scheduler = Scheduler::new(SchedulerConfig::default(), PolicyName::LeastLoaded, 1, 0).under_epoch(5);
    for index in 1..=nodes {
        scheduler.on_registered(node(index, 1, 1), 0);
    }
    scheduler
}

fn answer(index: u8, running: Vec<RunningAttempt>) -> SyncedNode {
    SyncedNode { node: format!("gpu-node-{index:02}"), incarnation: 1, running }
}

fn pending(job: u128) -> PendingMessage {
    PendingMessage { job: JobId::new(0, job), ack_subject: format!("ack.{job}") }
}

fn handed_back(actions: &[Action]) -> Vec<&str> {
    actions
        .iter()
        .filter_map(|action| if let Action::Nak { ack_subject, .. } = action { Some(ack_subject.as_str()) } else { None })
        .collect()
}

/// An attempt as the leader before placed it on node 1.
fn running_before(job: u128) -> RunningAttempt {
    let mut old = leader(&[1]);
    let actions = submit(&mut old, spec(job, 100), SETTLED);
    let mut assignment = assignments(&actions)[0].clone();
    assignment.epoch = 4;
    RunningAttempt { assignment, started_at_ms: SETTLED }
}

#[test]
fn it_places_as_soon_as_every_node_has_answered() {
    let mut scheduler = elected(2);
    scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), 1);
    scheduler.on_delivered(delivery(spec(1, 100), false), 1);
    scheduler.on_synced(answer(1, vec![]), 10);
    assert!(assignments(&scheduler.on_tick(400)).is_empty(), "node 2 has not answered");
    scheduler.on_synced(answer(2, vec![]), 410);
    assert_eq!(assignments(&scheduler.on_tick(420)).len(), 1);
}

#[test]
fn it_listens_for_a_while_even_when_those_it_knows_have_answered_and_no_longer_than_the_limit() {
    let mut scheduler = elected(1);
    scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), 1);
    scheduler.on_delivered(delivery(spec(1, 100), false), 1);
    scheduler.on_synced(answer(1, vec![]), 10);
    assert!(assignments(&scheduler.on_tick(SETTLED_AT_EARLIEST_MS - 1)).is_empty());
    let mut deaf = elected(1);
    deaf.on_heartbeat("gpu-node-01", alive(1, &[]), 1);
    deaf.on_delivered(delivery(spec(1, 100), false), 1);
    assert!(assignments(&deaf.on_tick(1_199)).is_empty());
    assert_eq!(assignments(&deaf.on_tick(1_200)).len(), 1);
}

#[test]
fn messages_that_two_looks_find_without_an_owner_are_handed_back() {
    let mut scheduler = elected(1);
    scheduler.on_synced(answer(1, vec![running_before(1)]), 10);
    scheduler.on_delivered(delivery(spec(2, 100), true), 20);
    assert!(!scheduler.on_tick(SETTLED_AT_EARLIEST_MS - 1).contains(&Action::ListPending));
    assert!(scheduler.on_tick(300).contains(&Action::ListPending));
    assert!(!scheduler.on_tick(350).contains(&Action::ListPending), "one question at a time");
    let all = [pending(1), pending(2), pending(3), pending(4)];
    assert!(scheduler.on_pending(&all, 400).is_empty(), "it may be on its way to us");
    scheduler.on_delivered(delivery(spec(4, 100), false), 500);
    assert!(scheduler.on_tick(900).contains(&Action::ListPending));
    assert_eq!(handed_back(&scheduler.on_pending(&all, 910)), ["ack.3"], "1 runs, 2 waits here, 4 has come");
    assert_eq!(scheduler.counters().reclaimed, 1);
    assert!(!scheduler.on_tick(5_000).contains(&Action::ListPending), "the search is over");
    scheduler.sanity_check();
}

#[test]
fn a_node_that_has_not_answered_is_waited_for_before_messages_are_handed_back() {
    let mut scheduler = elected(2);
    scheduler.on_synced(answer(1, vec![]), 10);
    assert!(!scheduler.on_tick(2_999).contains(&Action::ListPending));
    let mut dead = elected(2);
    dead.on_synced(answer(1, vec![]), 10);
    dead.on_verdict("gpu-node-02", 1, Health::Dead, "test", 0, 20);
    assert!(dead.on_tick(300).contains(&Action::ListPending), "a dead node says nothing any more");
    assert!(scheduler.on_tick(3_000).contains(&Action::ListPending));
}

#[test]
fn an_attempt_that_a_heartbeat_names_before_its_node_has_answered_is_asked_for_and_not_killed() {
    let mut scheduler = elected(1);
    let running = running_before(1);
    let sign = RunningSign { attempt: running.assignment.attempt, job: JobId::new(0, 1), progress_permille: 1, epoch: 4 };
    for now_ms in [1_000, 2_000, 9_000] {
        let actions = scheduler.on_heartbeat("gpu-node-01", alive(1, &[sign]), now_ms);
        assert_eq!(actions, [Action::AskSync { worker: "worker-01".into() }]);
    }
    scheduler.on_tick(9_100);
    assert!(scheduler.on_pending(&[pending(1)], 9_200).is_empty());
    assert!(scheduler.on_pending(&[pending(1)], 9_800).is_empty(), "its message has an owner");
    scheduler.on_synced(answer(1, vec![running]), 9_900);
    assert_eq!(scheduler.running(), 1);
    assert!(scheduler.on_heartbeat("gpu-node-01", alive(1, &[sign]), 10_000).is_empty());
}

#[test]
fn a_node_that_came_after_the_question_is_asked_until_it_answers() {
    let mut scheduler = elected(2);
    scheduler.on_synced(answer(1, vec![]), 10);
    let asked = |actions: Vec<Action>| actions.into_iter().filter(|action| matches!(action, Action::AskSync { .. })).collect::<Vec<_>>();
    assert!(asked(scheduler.on_tick(1_000)).is_empty(), "nobody hears it yet");
    scheduler.on_heartbeat("gpu-node-02", alive(1, &[]), 1_500);
    assert_eq!(asked(scheduler.on_tick(2_000)), [Action::AskSync { worker: "worker-02".into() }]);
    assert!(asked(scheduler.on_tick(2_500)).is_empty(), "once a second");
    scheduler.on_synced(answer(2, vec![]), 2_600);
    assert!(asked(scheduler.on_tick(3_100)).is_empty());
}

#[test]
fn an_answer_that_comes_before_the_registration_is_kept() {
    let mut scheduler = elected(0);
    scheduler.on_synced(answer(1, vec![running_before(1)]), 10);
    assert_eq!(scheduler.running(), 0);
    scheduler.on_registered(node(1, 1, 1), 20);
    assert_eq!(scheduler.running(), 1);
    let mut reborn = elected(0);
    reborn.on_synced(answer(1, vec![running_before(1)]), 10);
    reborn.on_registered(node(1, 1, 2), 20);
    assert_eq!(reborn.running(), 0, "what ran in a former life is gone");
    scheduler.sanity_check();
}

#[test]
fn after_a_reconnect_it_looks_again() {
    let mut scheduler = leader(&[1]);
    scheduler.on_tick(SETTLED);
    scheduler.on_pending(&[], SETTLED);
    assert!(!scheduler.on_tick(SETTLED + 10).contains(&Action::ListPending));
    scheduler.on_reconnected(SETTLED + 20);
    assert!(!scheduler.on_tick(SETTLED + 1_219).contains(&Action::ListPending));
    assert!(scheduler.on_tick(SETTLED + 1_220).contains(&Action::ListPending));
}

#[test]
fn a_failed_job_that_is_handed_back_early_still_waits_for_its_retry() {
    let mut scheduler = leader(&[1]);
    scheduler.on_delivered(delivery(spec(1, 100), true), SETTLED);
    let past = Past { failures: 1, retry_at_ms: SETTLED + 700, ..Past::default() };
    let actions = scheduler.on_record_read(JobId::new(0, 1), RecordRead::Open { seq: 7, past }, SETTLED);
    assert!(matches!(actions[..], [Action::Nak { delay_ms: 700, .. }]), "{actions:?}");
    assert_eq!(scheduler.waiting(), 0);
    scheduler.sanity_check();
}

#[test]
fn a_failure_that_no_retry_helps_ends_the_job_and_is_counted_once() {
    let mut scheduler = leader(&[1]);
    scheduler.on_delivered(delivery(spec(1, 100), true), SETTLED);
    let past = Past { failures: 1, no_retry: true, ..Past::default() };
    let actions = scheduler.on_record_read(JobId::new(0, 1), RecordRead::Open { seq: 7, past }, SETTLED);
    let [Action::Die { job, reason, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(job.failures, 1);
    assert!(reason.contains("no retry helps"), "{reason}");
}

#[test]
fn a_beat_of_another_incarnation_forgets_the_answer() {
    let mut scheduler = elected(1);
    scheduler.on_synced(answer(1, vec![]), 10);
    scheduler.on_heartbeat("gpu-node-01", Beat { incarnation: 2, running: &[], telemetry: &[], leaving: false }, 20);
    assert!(!scheduler.all_have_synced());
}
