//! Where GPU time goes, by hand: each case is a node of a few GPUs for a few seconds.

use super::super::tests::{SETTLED, alive, assignments, beat, delivery, leader, node, spec, submit};
use super::*;
use crate::goodput::{Group, LossCause};
use crate::job::{AttemptOutcome, EndedAttempt, JobId, RunningAttempt, Told};
use crate::node::Health;
use crate::scheduler::{Action, PolicyName, RunningSign, SchedulerConfig, SyncPart, SyncedNode};

/// GPU seconds of a leader's term by class, without those in which nothing was wanted before the test begins.
fn seconds(scheduler: &Scheduler, from: &Goodput, now_ms: u64) -> Vec<(Class, f64)> {
    let now = scheduler.goodput(now_ms);
    let amount = |class: Class| (now.term.of(class) - from.term.of(class)) as f64 / 1e6;
    Class::ALL.into_iter().map(|class| (class, amount(class))).filter(|(_, seconds)| *seconds > 0.0).collect()
}

fn told(actions: &[Action], outcome: AttemptOutcome, ran_ms: u64) -> EndedAttempt {
    let assignment = assignments(actions)[0];
    EndedAttempt {
        job: assignment.spec.id,
        attempt: assignment.attempt,
        node: assignment.node.clone(),
        outcome,
        detail: String::new(),
        at_ms: 0,
        retry_delay_ms: 0,
        told: Told::ByWorker,
        row: None,
        ran_ms: Some(ran_ms),
    }
}

#[test]
fn a_committed_job_is_productive_but_for_what_travelled() {
    let mut scheduler = leader(&[2]);
    let before = scheduler.goodput(SETTLED);
    let actions = submit(&mut scheduler, spec(1, 1000), SETTLED);
    let open = seconds(&scheduler, &before, SETTLED + 1_000);
    assert_eq!(open, [(Class::Handover, 1.0), (Class::NoDemand, 1.0)], "whether it has begun is not known yet");
    beat(&mut scheduler, 1, SETTLED + 1_000);
    assert_eq!(seconds(&scheduler, &before, SETTLED + 1_000), [(Class::Open, 1.0), (Class::NoDemand, 1.0)]);
    scheduler.on_ended(&told(&actions, AttemptOutcome::Committed, 1_990), SETTLED + 2_000);
    scheduler.advance(SETTLED + 2_000);
    let after = seconds(&scheduler, &before, SETTLED + 3_000);
    assert_eq!(after, [(Class::Productive, 1.99), (Class::Handover, 0.01), (Class::NoDemand, 4.0)]);
}

#[test]
fn work_on_a_node_that_dies_is_lost_up_to_its_last_sign_and_stalled_from_there() {
    let mut scheduler = leader(&[1]);
    let before = scheduler.goodput(SETTLED);
    submit(&mut scheduler, spec(1, 1000), SETTLED);
    beat(&mut scheduler, 1, SETTLED + 1_000);
    scheduler.on_verdict("gpu-node-01", 1, Health::Gone, "its connection closed", 400, SETTLED + 1_400);
    scheduler.advance(SETTLED + 1_400);
    let seen = seconds(&scheduler, &before, SETTLED + 3_400);
    assert_eq!(seen, [(Class::Down, 2.0), (Class::Lost, 1.0), (Class::Stalled, 0.4)]);
    assert_eq!(scheduler.goodput(SETTLED + 3_400).term.lost_by(LossCause::NodeFault), 1_000_000);
}

#[test]
fn an_attempt_that_its_worker_never_named_was_on_its_way() {
    let mut scheduler = leader(&[1]);
    let before = scheduler.goodput(SETTLED);
    submit(&mut scheduler, spec(1, 1000), SETTLED);
    scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), SETTLED + 2_000);
    assert_eq!(seconds(&scheduler, &before, SETTLED + 2_000), [(Class::Handover, 2.0)]);
}

#[test]
fn what_ends_without_a_result_is_lost_by_its_cause() {
    let causes = [
        (AttemptOutcome::Failed, LossCause::OwnFailure),
        (AttemptOutcome::TimedOut, LossCause::TimeLimit),
        (AttemptOutcome::Cancelled, LossCause::Cancel),
        (AttemptOutcome::Superseded, LossCause::Duplicate),
        (AttemptOutcome::Lost, LossCause::NodeFault),
    ];
    for (outcome, cause) in causes {
        let mut scheduler = leader(&[1]);
        let actions = submit(&mut scheduler, spec(1, 500), SETTLED);
        scheduler.on_ended(&told(&actions, outcome, 1_000), SETTLED + 1_000);
        let term = scheduler.goodput(SETTLED + 1_000).term;
        assert_eq!((term.of(Class::Lost), term.lost_by(cause)), (500_000, 500_000), "{outcome:?}");
    }
}

#[test]
fn nodes_that_take_nothing_new_are_told_apart() {
    let mut scheduler = leader(&[1, 1, 1, 1]);
    let before = scheduler.goodput(SETTLED);
    scheduler.on_drain("gpu-node-01", true, SETTLED);
    scheduler.on_verdict("gpu-node-02", 1, Health::Suspect, "it is silent", 0, SETTLED);
    scheduler.on_verdict("gpu-node-03", 1, Health::Dead, "it is silent", 0, SETTLED);
    // The fourth one beats no more, and the detector says nothing.
    let silent_ms = SETTLED + SchedulerConfig::default().silent_after_ms;
    for name in ["gpu-node-01", "gpu-node-02", "gpu-node-03"] {
        scheduler.on_heartbeat(name, alive(1, &[]), silent_ms);
    }
    scheduler.advance(silent_ms);
    let seen = seconds(&scheduler, &before, silent_ms + 1_000);
    let expected =
        [(Class::Down, 4.0), (Class::DownUnseen, 1.0), (Class::Quarantined, 4.0), (Class::Draining, 4.0), (Class::NoDemand, 3.0)];
    assert_eq!(seen, expected);
}

#[test]
fn free_gpus_are_classified_by_what_waits() {
    let class = |gpus: &[usize], running: &[u32], waiting: u32| {
        let mut scheduler = leader(gpus);
        let before = scheduler.goodput(SETTLED);
        for (n, milli) in running.iter().enumerate() {
            submit(&mut scheduler, spec(n as u128 + 1, *milli), SETTLED);
        }
        submit(&mut scheduler, spec(99, waiting), SETTLED);
        assert_eq!(scheduler.waiting(), 1);
        let free = seconds(&scheduler, &before, SETTLED + 1_000);
        free.into_iter().filter(|(class, _)| class.group() == Group::Free).collect::<Vec<_>>()
    };
    // One GPU is free on each of two nodes, and two on one are wanted.
    assert_eq!(class(&[2, 2], &[1000, 1000], 2000), [(Class::Fragmented, 2.0)]);
    // One is free, and two are wanted.
    assert_eq!(class(&[2], &[1000], 2000), [(Class::Short, 1.0)]);
    // No node has three.
    assert_eq!(class(&[2, 2], &[], 3000), [(Class::Constrained, 4.0)]);
}

#[test]
fn a_node_without_a_slot_is_stranded_and_a_new_leader_is_undecided() {
    let mut scheduler = Scheduler::new(SchedulerConfig::default(), PolicyName::LeastLoaded, 1, 0);
    scheduler.on_registered(crate::node::NodeSpec { slots: 1, ..node(1, 2, 1) }, 0);
    scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), 100);
    scheduler.on_delivered(delivery(spec(1, 100), false), 100);
    scheduler.advance(100);
    let free = |scheduler: &Scheduler, from: &Goodput, now_ms: u64| {
        seconds(scheduler, from, now_ms).into_iter().filter(|(class, _)| class.group() == Group::Free).collect::<Vec<_>>()
    };
    let listening = scheduler.goodput(100);
    assert_eq!(free(&scheduler, &listening, 1_100), [(Class::Undecided, 2.0)]);
    scheduler.on_delivered(delivery(spec(2, 100), false), 2_000);
    scheduler.advance(2_000);
    let placed = scheduler.goodput(2_000);
    assert_eq!(free(&scheduler, &placed, 3_000), [(Class::Stranded, 1.9)]);
}

#[test]
fn a_new_leader_says_what_became_of_work_that_was_done_before_its_term() {
    let mut first = leader(&[1]);
    let actions = submit(&mut first, spec(1, 1000), SETTLED);
    let assignment = assignments(&actions)[0].clone();
    let mut second = Scheduler::new(SchedulerConfig::default(), PolicyName::LeastLoaded, 1, 50_000);
    second.set_cluster_time(50_000, 1_000_000);
    second.on_registered(node(1, 1, 1), 50_000);
    let running = RunningAttempt { assignment: assignment.clone(), started_at_ms: SETTLED, elapsed_ms: Some(30_200) };
    second.on_synced(SyncedNode { node: "gpu-node-01".into(), incarnation: 1, running: vec![running], part: SyncPart::default() }, 50_200);
    let sign = RunningSign { attempt: assignment.attempt, job: JobId::new(0, 1), progress_permille: 1, epoch: 0 };
    second.on_heartbeat("gpu-node-01", alive(1, &[sign]), 51_000);
    assert_eq!(second.goodput(52_000).term.of(Class::Open), 1_800_000);
    second.on_ended(&told(&actions, AttemptOutcome::Committed, 33_000), 53_000);
    let goodput = second.goodput(53_000);
    assert_eq!(goodput.term.of(Class::Productive), 2_800_000, "of this term, since it was adopted");
    assert_eq!(goodput.carried, [Carried { from_ms: 970_000, until_ms: 1_000_000, milli: 1000, lost: None }]);
}
