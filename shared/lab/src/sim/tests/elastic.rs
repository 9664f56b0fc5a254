//! Jobs that get and lose tasks while they run, by hand.

use super::*;
use crate::faults::{Detector, RecordedFault};
use faultline_engine::goodput::LossCause;

fn dispatch() -> DispatchSettings {
    DispatchSettings { resize_min_ms: Some(60_000), ..DispatchSettings::default() }
}

fn elastic(tasks: u32, min_tasks: u32, work_ms: u64) -> Job {
    let checkpoint = Checkpoint { interval: Interval::Every(100_000), write_ms: 10_000, restore_ms: 20_000, on_preemption: false };
    Job { tasks, min_tasks, checkpoint: Some(checkpoint), ..job(0, work_ms) }
}

fn gpu_seconds(outcome: &Outcome, class: Class) -> u128 {
    assert_eq!(outcome.violations, []);
    assert!(outcome.totals.is_exact());
    outcome.totals.of(class) / 1_000_000
}

/// Work of 1,000 s on two nodes. At second 250, when 200 s are durable, a job of 50 s comes. On one node the rest takes 1,600 s from second 270 on.
/// At second 310, 60 s after it lost a task, the job gets it back: it writes 40 s of work for 10 s, restores for 20 s, and works for 780 s with
/// seven checkpoints.
fn gives_way(grace: bool) -> Outcome {
    let mut long = elastic(2, 1, 1_000_000);
    if let (true, Some(checkpoint)) = (grace, &mut long.checkpoint) {
        checkpoint.on_preemption = true;
        long.grace_ms = 10_000;
    }
    let cluster = Cluster::uniform(2, &NodeModel::eight_gpus("H100"), 4, 4);
    run(&Setup::new(cluster, workload(vec![long, job(250_000, 50_000)], 8), dispatch())).unwrap()
}

#[test]
fn a_job_gives_a_node_to_another_one_and_gets_it_back() {
    let outcome = gives_way(false);
    let row = &outcome.jobs[0];
    assert_eq!((row.attempts, row.resized, row.preempted, row.wait_ms), (1, 2, 0, 0));
    assert_eq!((row.lost_ms, row.restore_ms, row.checkpoint_ms), (30_000, 40_000, 20_000 + 10_000 + 70_000));
    assert_eq!((row.productive_ms, row.end_ms), (200_000 + 40_000 + 780_000, Some(1_190_000)));
    assert_eq!((outcome.jobs[1].first_start_ms, outcome.jobs[1].end_ms), (Some(250_000), Some(300_000)));
    assert_eq!(gpu_seconds(&outcome, Class::Productive), 8 * (2 * 1_000 + 50));
    assert_eq!((gpu_seconds(&outcome, Class::Lost), outcome.totals.lost_by(LossCause::Preemption)), (480, 480_000_000));
    assert_eq!(gpu_seconds(&outcome, Class::NoDemand), 8 * 10);
    let parts: Vec<(u32, u32, AttemptEnd)> = outcome.attempts.iter().map(|row| (row.attempt, row.tasks, row.end)).collect();
    let resized = |tasks| (1, tasks, AttemptEnd::Resized);
    assert_eq!(parts, [resized(2), resized(1), (1, 1, AttemptEnd::Done), (1, 2, AttemptEnd::Done)]);
}

/// With a grace of 10 s nothing is lost: the job writes until second 260, and so long the other one waits for the node.
#[test]
fn a_job_whose_grace_suffices_loses_nothing() {
    let outcome = gives_way(true);
    assert_eq!((gpu_seconds(&outcome, Class::Lost), gpu_seconds(&outcome, Class::Handover)), (0, 80));
    assert_eq!(outcome.jobs[1].end_ms, Some(310_000));
    assert_eq!(outcome.jobs[0].checkpoint_ms % 10_000, 0);
    assert_eq!(gpu_seconds(&outcome, Class::Productive), 8 * (2 * 1_000 + 50));
}

/// Work of 900 s on three nodes, of which one is down from second 250 to 650, which is seen after 10 s. At second 280 the job goes on from second
/// 200 with two tasks. By second 650 they have done 370 s, less three checkpoints; the third task comes back then.
#[test]
fn a_lost_member_costs_its_part_until_it_is_back() {
    let cluster = Cluster::uniform(3, &NodeModel::eight_gpus("H100"), 4, 4);
    let mut setup = Setup::new(cluster, workload(vec![elastic(3, 2, 900_000)], 8), dispatch());
    setup.faults.recorded = vec![RecordedFault { node: 1, from_ms: 250_000, until_ms: 650_000 }];
    setup.faults.detector = Detector::After(10_000);
    let outcome = run(&setup).unwrap();
    let row = &outcome.jobs[0];
    assert_eq!((row.attempts, row.resized, row.interrupted), (1, 2, 0));
    assert_eq!((row.stalled_ms, row.lost_ms, row.restore_ms), (10_000, 30_000, 40_000));
    // 2,700 s of one task, of which 3 * 200 + 2 * 340 were done: 473.3 s for three, and four more checkpoints.
    assert_eq!(row.end_ms, Some(650_000 + 10_000 + 20_000 + 473_334 + 40_000));
    assert_eq!(outcome.totals.lost_by(LossCause::NodeFault), 30_000 * 24_000);
    assert_eq!(gpu_seconds(&outcome, Class::Down), 8 * 390);
    assert_eq!(outcome.attempts.iter().map(|row| row.culprit).collect::<Vec<_>>(), [Some(1), None, None]);
    // Without resizing it waits for the node.
    let rigid = run(&Setup { dispatch: DispatchSettings::default(), ..setup }).unwrap();
    assert_eq!((rigid.jobs[0].attempts, rigid.jobs[0].interrupted, rigid.jobs[0].resized), (2, 1, 0));
}

#[test]
fn a_job_that_loses_too_many_members_waits_again() {
    let cluster = Cluster::uniform(3, &NodeModel::eight_gpus("H100"), 4, 4);
    let mut setup = Setup::new(cluster, workload(vec![elastic(3, 2, 900_000)], 8), dispatch());
    setup.faults.recorded = (0..2).map(|node| RecordedFault { node, from_ms: 250_000, until_ms: 650_000 }).collect();
    let outcome = run(&setup).unwrap();
    let row = &outcome.jobs[0];
    assert_eq!((row.attempts, row.interrupted, row.resized, row.wait_ms), (2, 1, 1, 400_000));
    assert_eq!(gpu_seconds(&outcome, Class::Productive), 8 * 2_700);
}
