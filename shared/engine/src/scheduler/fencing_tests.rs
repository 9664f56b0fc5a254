//! Refusals: a leader whose epoch fell below what workers have heard of gets above it, and places nothing until then. And nodes whose
//! lives are counted anew.

use super::super::tests::{SETTLED, alive, assignments, leader, node, spec, submit};
use super::super::{Beat, RunningSign, SyncPart, SyncedNode, raised_epoch};
use super::*;

fn refused(epoch: u64, newest: u64, attempts: Vec<AttemptId>) -> Refused {
    Refused { worker: "worker-01".into(), epoch, newest, attempts }
}

fn raises(actions: &[Action]) -> Vec<u64> {
    actions.iter().filter_map(|action| if let Action::RaiseEpoch { above } = action { Some(*above) } else { None }).collect()
}

#[test]
fn a_refused_leader_takes_its_assignments_back_and_asks_for_a_higher_epoch() {
    let mut scheduler = leader(&[1]).under_epoch(1);
    let placed = submit(&mut scheduler, spec(1, 100), SETTLED);
    let attempt = assignments(&placed)[0].attempt;
    let actions = scheduler.on_refused(&refused(1, 232, vec![attempt]), SETTLED + 5);
    assert_eq!(raises(&actions), [232]);
    assert!(actions.iter().any(|action| matches!(action, Action::Nak { delay_ms: 0, .. })), "{actions:?}");
    assert_eq!(scheduler.running(), 0);
    assert!(scheduler.refusals().standing.contains("epoch 232"), "{:?}", scheduler.refusals());
    // Told again by others: asked for once, unless another worker has heard of a higher one.
    assert!(raises(&scheduler.on_refused(&refused(1, 200, vec![]), SETTLED + 6)).is_empty());
    assert_eq!(raises(&scheduler.on_refused(&refused(1, 240, vec![]), SETTLED + 7)), [240]);
    scheduler.sanity_check();
}

#[test]
fn nothing_is_placed_until_the_epoch_is_raised_and_all_are_asked_again() {
    let mut scheduler = leader(&[1]).under_epoch(1);
    scheduler.on_refused(&refused(1, 232, vec![]), SETTLED);
    assert!(assignments(&submit(&mut scheduler, spec(1, 100), SETTLED + 1)).is_empty());
    scheduler.on_epoch_raised(233, SETTLED + 2);
    assert!(scheduler.refusals().standing.is_empty());
    assert!(assignments(&scheduler.advance(SETTLED + 100)).is_empty(), "the nodes have not answered yet");
    scheduler
        .on_synced(SyncedNode { node: "gpu-node-01".into(), incarnation: 1, running: vec![], part: SyncPart::default() }, SETTLED + 150);
    let placed = scheduler.advance(SETTLED + 400);
    assert_eq!(assignments(&placed)[0].epoch, 233);
}

#[test]
fn what_ran_before_the_epoch_was_raised_is_adopted_and_breaks_no_invariant() {
    let mut scheduler = leader(&[1]).under_epoch(1);
    let assignment = assignments(&submit(&mut scheduler, spec(1, 100), SETTLED))[0].clone();
    let sign = RunningSign { attempt: assignment.attempt, job: assignment.spec.id, progress_permille: 0, epoch: 1 };
    scheduler.on_epoch_raised(233, SETTLED + 10);
    let running = vec![crate::job::RunningAttempt { assignment, started_at_ms: SETTLED, elapsed_ms: Some(10) }];
    scheduler.on_synced(SyncedNode { node: "gpu-node-01".into(), incarnation: 1, running, part: SyncPart::default() }, SETTLED + 20);
    for second in 1..=4 {
        let actions = scheduler.on_heartbeat("gpu-node-01", alive(1, &[sign]), SETTLED + second * 1_000);
        assert!(actions.is_empty(), "{actions:?}");
    }
    assert_eq!((scheduler.running(), scheduler.counters().violations), (1, 0));
}

#[test]
fn old_news_and_claims_beyond_all_epochs_move_nothing() {
    let mut scheduler = leader(&[1]).under_epoch(5);
    assert!(scheduler.on_refused(&refused(4, 9, vec![]), SETTLED).is_empty(), "an epoch that it no longer has");
    assert!(scheduler.on_refused(&refused(5, 5, vec![]), SETTLED).is_empty(), "not above its own");
    assert!(scheduler.on_refused(&refused(5, u64::MAX, vec![]), SETTLED).is_empty());
    assert!(scheduler.refusals().standing.contains("higher than any leader's"), "but it is told");
    scheduler.on_epoch_raised(3, SETTLED);
    assert_eq!(scheduler.epoch(), 5, "an epoch never falls");
}

#[test]
fn two_leaders_that_heard_of_the_same_epoch_get_different_ones() {
    assert_eq!(raised_epoch(232, 7, 0), 240);
    assert_eq!(raised_epoch(232, 8, 0), 241);
    assert_eq!(raised_epoch(232, 1_800_000_000_005, 1_800_000_000_000), 1_800_000_000_005, "a revision that is high enough is the epoch");
    assert_eq!(raised_epoch(1_800_000_000_232, 1_700_000_000_007, 1_700_000_000_000), 1_800_000_000_240);
    assert_eq!(raised_epoch(u64::MAX, 7, 0), u64::MAX);
}

#[test]
fn an_attempt_that_another_worker_refused_stays() {
    let mut scheduler = leader(&[1, 1]).under_epoch(1);
    let attempt = assignments(&submit(&mut scheduler, spec(1, 100), SETTLED))[0].attempt;
    let elsewhere = Refused { worker: "worker-09".into(), epoch: 1, newest: 7, attempts: vec![attempt] };
    scheduler.on_refused(&elsewhere, SETTLED + 1);
    assert_eq!(scheduler.running(), 1);
}

#[test]
fn a_node_whose_lives_are_counted_anew_is_believed_once_the_known_life_is_silent() {
    let mut scheduler = leader(&[1]);
    scheduler.on_registered(node(1, 1, 9), SETTLED);
    scheduler.on_heartbeat("gpu-node-01", alive(9, &[]), SETTLED);
    // Its bucket was made anew, and so was the worker: it counts from the beginning.
    assert!(scheduler.on_registered(node(1, 2, 1), SETTLED + 1_000).is_empty());
    scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), SETTLED + 2_000);
    assert_eq!(scheduler.node("gpu-node-01").unwrap().spec.incarnation, 9, "the other life was heard a moment ago");
    scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), SETTLED + 3_000);
    let known = scheduler.node("gpu-node-01").unwrap();
    assert_eq!((known.spec.incarnation, known.spec.gpus.len()), (1, 2), "with what it registered meanwhile");
    scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), SETTLED + 4_000);
    assert_eq!(assignments(&submit(&mut scheduler, spec(1, 100), SETTLED + 4_001))[0].incarnation, 1);
}

#[test]
fn a_late_word_of_an_earlier_life_takes_nothing_from_the_present_one() {
    let mut scheduler = leader(&[1]);
    scheduler.on_registered(node(1, 1, 2), SETTLED);
    scheduler.on_heartbeat("gpu-node-01", alive(2, &[]), SETTLED);
    submit(&mut scheduler, spec(1, 100), SETTLED);
    scheduler.on_registered(node(1, 1, 1), SETTLED + 10);
    let stale = Beat { incarnation: 1, running: &[], telemetry: &[], leaving: true };
    assert!(scheduler.on_heartbeat("gpu-node-01", stale, SETTLED + 20).is_empty());
    assert_eq!((scheduler.running(), scheduler.node("gpu-node-01").unwrap().leaving), (1, false));
}
