//! Taking over: when a new leader begins to place, what it adopts, and which messages it hands back.

use super::super::tests::{SETTLED, alive, assignments, delivery, failed, leader, node, spec, submit};
use super::super::{Beat, Note, Past, RecordRead, RunningSign, SchedulerConfig, SyncPart};
use super::*;
use crate::job::{AttemptId, AttemptOutcome, AttemptSummary, EndedAttempt, JobSpec, Path, RunningAttempt, Told};
use crate::scheduler::PolicyName;

fn elected(nodes: u8) -> Scheduler {
    let mut scheduler = Scheduler::new(SchedulerConfig::default(), PolicyName::LeastLoaded, 1, 0).under_epoch(5);
    for index in 1..=nodes {
        scheduler.on_registered(node(index, 1, 1), 0);
    }
    scheduler
}

fn answer(index: u8, running: Vec<RunningAttempt>) -> SyncedNode {
    SyncedNode { node: format!("gpu-node-{index:02}"), incarnation: 1, running, part: SyncPart::default() }
}

#[test]
fn an_answer_in_parts_counts_once_all_of_one_answer_have_come() {
    let mut scheduler = elected(1);
    scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), 1);
    let part = |answer, index, job| SyncedNode { part: SyncPart { answer, index, of: 2 }, ..self::answer(1, vec![running_before(job)]) };
    scheduler.on_synced(part(1, 0, 1), 10);
    // The second part of the first answer was lost.
    scheduler.on_synced(part(2, 1, 2), 20);
    assert!(!scheduler.node("gpu-node-01").unwrap().synced);
    assert_eq!(scheduler.running(), 2, "what is named is adopted at once");
    scheduler.on_synced(part(2, 0, 1), 30);
    let known = scheduler.node("gpu-node-01").unwrap();
    assert_eq!((known.synced, known.listed.len()), (true, 2));

    let mut early = Scheduler::new(SchedulerConfig::default(), PolicyName::LeastLoaded, 1, 0).under_epoch(5);
    [part(7, 0, 1), part(7, 1, 2)].into_iter().for_each(|part| drop(early.on_synced(part, 5)));
    early.on_registered(node(1, 1, 1), 10);
    assert_eq!((early.running(), early.node("gpu-node-01").unwrap().synced), (2, true));
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
    (assignment.epoch, assignment.attempt) = (4, AttemptId::new(SETTLED, job));
    RunningAttempt { assignment, started_at_ms: SETTLED, elapsed_ms: None }
}

#[test]
fn it_places_as_soon_as_every_node_has_answered() {
    let mut scheduler = elected(2);
    scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), 1);
    scheduler.on_delivered(delivery(spec(1, 100), false), 1);
    scheduler.on_synced(answer(1, vec![]), 10);
    assert!(assignments(&scheduler.advance(400)).is_empty(), "node 2 has not answered");
    scheduler.on_synced(answer(2, vec![]), 410);
    assert_eq!(assignments(&scheduler.advance(420)).len(), 1);
}

#[test]
fn it_listens_for_a_while_even_when_those_it_knows_have_answered_and_no_longer_than_the_limit() {
    let mut scheduler = elected(1);
    scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), 1);
    scheduler.on_delivered(delivery(spec(1, 100), false), 1);
    scheduler.on_synced(answer(1, vec![]), 10);
    assert!(assignments(&scheduler.advance(SETTLED_AT_EARLIEST_MS - 1)).is_empty());
    let mut deaf = elected(1);
    deaf.on_heartbeat("gpu-node-01", alive(1, &[]), 1);
    deaf.on_delivered(delivery(spec(1, 100), false), 1);
    assert!(assignments(&deaf.advance(1_199)).is_empty());
    assert_eq!(assignments(&deaf.advance(1_200)).len(), 1);
}

#[test]
fn messages_that_two_looks_find_without_an_owner_are_handed_back() {
    let mut scheduler = elected(1);
    scheduler.on_synced(answer(1, vec![running_before(1)]), 10);
    scheduler.on_delivered(delivery(spec(2, 100), true), 20);
    assert!(!scheduler.advance(SETTLED_AT_EARLIEST_MS - 1).contains(&Action::ListPending));
    assert!(scheduler.advance(300).contains(&Action::ListPending));
    assert!(!scheduler.advance(350).contains(&Action::ListPending), "one question at a time");
    let all = [pending(1), pending(2), pending(3), pending(4)];
    assert!(scheduler.on_pending(&all, 400).is_empty(), "it may be on its way to us");
    scheduler.on_delivered(delivery(spec(4, 100), false), 500);
    assert!(scheduler.advance(900).contains(&Action::ListPending));
    assert_eq!(handed_back(&scheduler.on_pending(&all, 910)), ["ack.3"], "1 runs, 2 waits here, 4 has come");
    assert_eq!(scheduler.counters().reclaimed, 1);
    assert!(!scheduler.advance(5_000).contains(&Action::ListPending), "the search is over");
    scheduler.sanity_check();
}

#[test]
fn a_node_that_has_not_answered_is_waited_for_before_messages_are_handed_back() {
    let mut scheduler = elected(2);
    scheduler.on_synced(answer(1, vec![]), 10);
    assert!(!scheduler.advance(2_999).contains(&Action::ListPending));
    let mut dead = elected(2);
    dead.on_synced(answer(1, vec![]), 10);
    dead.on_verdict("gpu-node-02", 1, Health::Dead, "test", 0, 20);
    assert!(dead.advance(300).contains(&Action::ListPending), "a dead node says nothing any more");
    assert!(scheduler.advance(3_000).contains(&Action::ListPending));
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
    scheduler.advance(9_100);
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
    assert!(asked(scheduler.advance(1_000)).is_empty(), "no worker hears it yet");
    scheduler.on_heartbeat("gpu-node-02", alive(1, &[]), 1_500);
    assert_eq!(asked(scheduler.advance(2_000)), [Action::AskSync { worker: "worker-02".into() }]);
    assert!(asked(scheduler.advance(2_500)).is_empty(), "once a second");
    scheduler.on_synced(answer(2, vec![]), 2_600);
    assert!(asked(scheduler.advance(3_100)).is_empty());
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
    scheduler.advance(SETTLED);
    scheduler.on_pending(&[], SETTLED);
    assert!(!scheduler.advance(SETTLED + 10).contains(&Action::ListPending));
    scheduler.on_reconnected(SETTLED + 20);
    assert!(!scheduler.advance(SETTLED + 1_219).contains(&Action::ListPending));
    assert!(scheduler.advance(SETTLED + 1_220).contains(&Action::ListPending));
}

#[test]
fn a_failed_job_that_is_handed_back_early_still_waits_for_its_retry() {
    let mut scheduler = leader(&[1]);
    scheduler.on_delivered(delivery(spec(1, 100), true), SETTLED);
    let past = Past { path: failed(1), retry_delay_ms: 700, written_at_ms: SETTLED, ..Past::default() };
    let actions = scheduler.on_record_read(JobId::new(0, 1), RecordRead::Open { seq: 7, past }, SETTLED);
    assert!(matches!(actions[..], [Action::Nak { delay_ms: 700, .. }]), "{actions:?}");
    assert_eq!(scheduler.waiting(), 0);
    scheduler.sanity_check();
}

#[test]
fn a_failure_that_no_retry_helps_ends_the_job_and_is_counted_once() {
    let mut scheduler = leader(&[1]);
    scheduler.on_delivered(delivery(spec(1, 100), true), SETTLED);
    let past = Past { path: failed(1), no_retry: true, ..Past::default() };
    let actions = scheduler.on_record_read(JobId::new(0, 1), RecordRead::Open { seq: 7, past }, SETTLED);
    let [Action::Die { job, reason, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(job.path.failures, 1);
    assert!(reason.contains("no retry helps"), "{reason}");
}

#[test]
fn a_beat_of_another_incarnation_forgets_the_answer() {
    let mut scheduler = elected(1);
    scheduler.on_synced(answer(1, vec![]), 10);
    scheduler.on_heartbeat("gpu-node-01", Beat { incarnation: 2, running: &[], telemetry: &[], leaving: false }, 20);
    assert!(!scheduler.all_have_synced());
}

/// The end of an attempt of before that its worker could not tell: NATS stood still, and the leader is another one now.
fn untold(outcome: AttemptOutcome) -> EndedAttempt {
    let assignment = running_before(1).assignment;
    let row = AttemptSummary {
        attempt: assignment.attempt,
        node: assignment.node.clone(),
        incarnation: assignment.incarnation,
        gpus: assignment.gpus.clone(),
        gpu_milli: 100,
        placed_at_ms: SETTLED,
        started_at_ms: Some(SETTLED),
        ended_at_ms: Some(SETTLED + 12_000),
        outcome,
        detail: "no answer".into(),
        why: String::new(),
        choice: None,
    };
    EndedAttempt {
        job: assignment.spec.id,
        attempt: assignment.attempt,
        node: assignment.node,
        outcome,
        detail: row.detail.clone(),
        at_ms: SETTLED + 12_000,
        retry_delay_ms: 0,
        told: Told::Unanswered,
        row: Some(Box::new(row)),
        ran_ms: Some(12_000),
    }
}

fn notes_of_lost(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Note(Note::Lost { .. }))).count()
}

#[test]
fn an_attempt_that_ended_between_two_leaders_stays_in_the_path() {
    let (id, end, now_ms) = (JobId::new(0, 1), untold(AttemptOutcome::Lost), SETTLED + 16_000);
    let placed_with = |actions: &[Action]| {
        let assignment = assignments(actions)[0];
        (assignment.requeues, assignment.history.iter().map(|row| row.attempt).collect::<Vec<_>>())
    };
    // Before the job comes, while its record is read, and while it waits.
    for moment in 0..3 {
        let mut scheduler = leader(&[1]);
        scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), now_ms);
        let mut actions = Vec::new();
        let mut tell = |scheduler: &mut Scheduler, at| {
            if at == moment {
                actions.extend(scheduler.on_ended(&end, now_ms))
            }
        };
        tell(&mut scheduler, 0);
        let read = scheduler.on_delivered(delivery(spec(1, 100), true), now_ms);
        assert_eq!(read, [Action::ReadBack { job: id }]);
        tell(&mut scheduler, 1);
        let after = scheduler.on_record_read(id, RecordRead::Open { seq: 7, past: Past::default() }, now_ms);
        tell(&mut scheduler, 2);
        actions.extend(after);
        assert_eq!(notes_of_lost(&actions), 1, "told at moment {moment}");
        assert!(scheduler.on_ended(&end, now_ms).is_empty(), "once");
        assert_eq!(placed_with(&scheduler.advance(now_ms)), (1, vec![end.attempt]));
        assert!(scheduler.on_ended(&end, now_ms).is_empty(), "once");
        scheduler.sanity_check();
    }
}

#[test]
fn an_end_that_is_told_late_or_again_is_in_the_path_once() {
    let (id, end, now_ms) = (JobId::new(0, 1), untold(AttemptOutcome::Lost), SETTLED + 16_000);
    let mut scheduler = leader(&[1]);
    scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), now_ms);
    scheduler.on_delivered(delivery(spec(1, 100), false), now_ms);
    scheduler.advance(now_ms);
    assert_eq!(notes_of_lost(&scheduler.on_ended(&end, now_ms)), 1, "its next attempt runs already");
    assert_eq!(scheduler.job(id).unwrap().path_so_far().history.len(), 2);
    // A leader after that one reads it back from the history, and is told again.
    let mut next = leader(&[1]);
    next.on_delivered(delivery(spec(1, 100), true), now_ms);
    next.on_ended(&end, now_ms);
    let path = Path { requeues: 1, history: vec![*end.row.clone().unwrap()], ..Path::default() };
    let past = Past { path, ..Past::default() };
    let actions = next.on_record_read(id, RecordRead::Open { seq: 7, past }, now_ms);
    assert_eq!((notes_of_lost(&actions), next.job(id).unwrap().path.requeues, next.job(id).unwrap().path.history.len()), (0, 1, 1));
}

#[test]
fn a_failure_that_no_leader_heard_of_costs_its_retry() {
    let mut scheduler = leader(&[1]);
    scheduler.on_ended(&untold(AttemptOutcome::Failed), SETTLED);
    let last = JobSpec { max_retries: 0, ..spec(1, 100) };
    scheduler.on_delivered(delivery(last, true), SETTLED);
    let actions = scheduler.on_record_read(JobId::new(0, 1), RecordRead::Open { seq: 7, past: Past::default() }, SETTLED);
    assert!(matches!(&actions[..], [Action::Die { last_error, .. }] if last_error == "no answer"), "{actions:?}");
}
