//! Clocks that are off: nothing is decided by another machine's clock, nor by a wall clock of one's own.

use super::tests::{SETTLED, alive, assignments, beat, delivery, failed, leader, node, spec, submit};
use super::*;
use crate::job::{Priority, RunningAttempt};

const HOUR_MS: u64 = 3_600_000;

fn running(placed_at_ms: u64, elapsed_ms: Option<u64>) -> RunningAttempt {
    let mut old = leader(&[1]);
    let actions = submit(&mut old, spec(1, 100), SETTLED);
    let assignment = Assignment { placed_at_ms, ..assignments(&actions)[0].clone() };
    RunningAttempt { assignment, started_at_ms: placed_at_ms, elapsed_ms }
}

/// A leader that adopted this attempt, at `SETTLED`.
fn adopter(running: RunningAttempt) -> Scheduler {
    let mut scheduler = leader(&[1]);
    scheduler
        .on_synced(SyncedNode { node: "gpu-node-01".into(), incarnation: 1, running: vec![running], part: SyncPart::default() }, SETTLED);
    scheduler.advance(SETTLED);
    scheduler
}

/// Whether the attempt is given up for its time limit when it is `for_ms` later, with heartbeats all the while.
fn overstays(scheduler: &mut Scheduler, for_ms: u64) -> bool {
    let mut at_ms = SETTLED;
    let mut actions = Vec::new();
    while at_ms < SETTLED + for_ms {
        at_ms = (at_ms + 1_000).min(SETTLED + for_ms);
        beat(scheduler, 1, at_ms);
        actions.extend(scheduler.advance(at_ms));
    }
    actions.iter().any(|action| matches!(action, Action::Kill { reason, .. } if reason.contains("past its time limit")))
}

#[test]
fn a_time_limit_is_counted_from_what_the_worker_says_whatever_the_clock_of_the_old_leader_showed() {
    for placed_at_ms in [0, SETTLED + HOUR_MS] {
        // 60 s and 10 s of grace, of which 50 s had passed.
        assert!(!overstays(&mut adopter(running(placed_at_ms, Some(50_000))), 19_000), "placed at {placed_at_ms}");
        assert!(overstays(&mut adopter(running(placed_at_ms, Some(50_000))), 22_000), "placed at {placed_at_ms}");
    }
}

#[test]
fn a_worker_that_does_not_say_how_long_it_runs_gives_the_attempt_its_whole_time_again() {
    let mut scheduler = leader(&[1]);
    let attempt = running(0, None);
    // This leader's clock is an hour ahead of the one that placed it.
    let now_ms = SETTLED + HOUR_MS;
    scheduler.on_heartbeat("gpu-node-01", alive(1, &[]), now_ms);
    scheduler
        .on_synced(SyncedNode { node: "gpu-node-01".into(), incarnation: 1, running: vec![attempt], part: SyncPart::default() }, now_ms);
    let actions = scheduler.advance(now_ms + 1_000);
    assert!(!actions.iter().any(|action| matches!(action, Action::Kill { .. })), "{actions:?}");
    assert_eq!(scheduler.running(), 1);
}

fn order_of_service(scheduler: &Scheduler) -> Vec<JobId> {
    let waiting = scheduler.jobs.values().filter(|held| matches!(held.state, HeldState::Waiting { .. }));
    let mut turns: Vec<_> =
        waiting.map(|held| (planning::turn(&held.spec, held.stored_at_ms, scheduler.config.aging_ms), held.spec.id)).collect();
    turns.sort_unstable();
    turns.into_iter().map(|(_, job)| job).collect()
}

#[test]
fn the_order_is_that_in_which_jobs_were_stored_whatever_their_submitters_clocks_showed() {
    // The low job's submitter is an hour behind, the urgent one's an hour ahead.
    let mut scheduler = leader(&[1]);
    submit(&mut scheduler, spec(9, 1000), SETTLED);
    let low = JobSpec { priority: Priority::Low, submitted_at_ms: HOUR_MS, ..spec(1, 1000) };
    let urgent = JobSpec { priority: Priority::Urgent, submitted_at_ms: 3 * HOUR_MS, ..spec(2, 1000) };
    for (job, stored_at_ms) in [(low, 2 * HOUR_MS), (urgent, 2 * HOUR_MS + 10)] {
        scheduler.on_delivered(Delivery { stored_at_ms, ..delivery(job, false) }, SETTLED + 1);
    }
    assert_eq!(order_of_service(&scheduler), [JobId::new(0, 2), JobId::new(0, 1)]);
    // Aging is by the stored time too: three steps later the low job would have gone first.
    let late = JobSpec { priority: Priority::Urgent, ..spec(3, 1000) };
    scheduler.on_delivered(Delivery { stored_at_ms: 2 * HOUR_MS + 180_001, ..delivery(late, false) }, SETTLED + 2);
    assert_eq!(order_of_service(&scheduler), [JobId::new(0, 2), JobId::new(0, 1), JobId::new(0, 3)]);
    scheduler.sanity_check();
}

#[test]
fn a_job_that_was_adopted_takes_its_place_by_its_stored_time_when_it_comes_back() {
    let mut scheduler = adopter(running(0, Some(0)));
    scheduler.on_registered(node(1, 1, 2), SETTLED + 10);
    scheduler.on_delivered(Delivery { stored_at_ms: 77, ..delivery(spec(1, 100), true) }, SETTLED + 20);
    let read = RecordRead::Open { seq: 7, past: Past::default() };
    scheduler.on_record_read(JobId::new(0, 1), read, SETTLED + 30);
    assert_eq!((scheduler.waiting(), scheduler.job(JobId::new(0, 1)).unwrap().stored_at_ms), (1, 77));
    scheduler.sanity_check();
}

#[test]
fn a_pause_before_a_retry_is_kept_once_and_never_longer_than_it_was_meant_to_be() {
    let mut scheduler = leader(&[1]);
    // This leader is an hour behind the server's clock, by which the event was stored.
    let past = Past { path: failed(1), retry_delay_ms: 700, written_at_ms: SETTLED + HOUR_MS, ..Past::default() };
    scheduler.on_delivered(delivery(spec(1, 100), true), SETTLED);
    let actions = scheduler.on_record_read(JobId::new(0, 1), RecordRead::Open { seq: 7, past: past.clone() }, SETTLED);
    assert!(matches!(actions[..], [Action::Nak { delay_ms: 700, .. }]), "{actions:?}");
    scheduler.on_delivered(delivery(spec(1, 100), true), SETTLED + 700);
    assert!(scheduler.on_record_read(JobId::new(0, 1), RecordRead::Open { seq: 7, past }, SETTLED + 700).is_empty());
    assert_eq!(scheduler.waiting(), 1, "it has waited");
}

#[test]
fn what_people_read_is_in_the_clusters_time_and_rows_last_as_long_as_was_measured_here() {
    let mut scheduler = leader(&[1]);
    scheduler.set_cluster_time(SETTLED, SETTLED + HOUR_MS);
    let stored_at_ms = SETTLED + HOUR_MS - 40;
    scheduler.on_delivered(Delivery { stored_at_ms, ..delivery(spec(1, 100), false) }, SETTLED);
    let actions = scheduler.advance(SETTLED);
    let assignment = assignments(&actions)[0].clone();
    assert_eq!((assignment.placed_at_ms, assignment.attempt.unix_ms()), (SETTLED + HOUR_MS, SETTLED + HOUR_MS));
    assert_eq!(scheduler.counters().wait.sum_ms(), 40);
    // The server's clock is set back before the attempt ends.
    scheduler.set_cluster_time(SETTLED + 500, 0);
    scheduler.on_registered(node(1, 1, 2), SETTLED + 500);
    let row = &scheduler.job(assignment.spec.id).unwrap().path.history[0];
    assert_eq!((row.placed_at_ms, row.ended_at_ms), (SETTLED + HOUR_MS, Some(SETTLED + HOUR_MS + 500)));
}
