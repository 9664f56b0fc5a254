//! Jobs that are stopped for others, by hand.

use faultline_engine::goodput::Class;
use faultline_planner::{Bounds, PreemptionSettings, QueueSettings};

use super::*;

fn dispatch() -> DispatchSettings {
    let preemption = PreemptionSettings { by_priority: true, reclaim: true, min_run_ms: 0 };
    DispatchSettings { preemption, ..DispatchSettings::default() }
}

fn on_nodes(nodes: usize, jobs: Vec<Job>, dispatch: DispatchSettings) -> Outcome {
    let outcome = run(&Setup::new(Cluster::uniform(nodes, &NodeModel::eight_gpus("H100"), 4, 4), workload(jobs, 8), dispatch)).unwrap();
    assert_eq!(outcome.violations, []);
    assert!(outcome.totals.is_exact());
    outcome
}

/// Work of 1,000 s with a checkpoint of 10 s every 100 s. At second 250 two are durable and 30 s of work are not. From second 300 on it restores
/// for 20 s, works for 800 s, and writes seven more.
#[test]
fn a_stopped_job_loses_what_it_did_since_its_checkpoint() {
    let checkpoint = Checkpoint { interval: Interval::Every(100_000), write_ms: 10_000, restore_ms: 20_000, on_preemption: false };
    let low = Job { preemptible: true, checkpoint: Some(checkpoint), ..job(0, 1_000_000) };
    let urgent = Job { priority: 1, ..job(250_000, 50_000) };
    let outcome = on_nodes(1, vec![low, urgent], dispatch());
    let row = &outcome.jobs[0];
    assert_eq!((row.attempts, row.preempted, row.interrupted), (2, 1, 0));
    assert_eq!((row.lost_ms, row.wait_ms, row.restore_ms), (30_000, 50_000, 20_000));
    assert_eq!((row.end_ms, outcome.jobs[1].end_ms), (Some(1_190_000), Some(300_000)));
    assert_eq!(outcome.totals.of(Class::Productive), 8_000 * 1_050_000);
}

#[test]
fn the_job_with_the_younger_checkpoint_is_stopped() {
    let checkpoint = Checkpoint { interval: Interval::Every(100_000), write_ms: 10_000, restore_ms: 20_000, on_preemption: false };
    let kept = Job { preemptible: true, ..job(0, 1_000_000) };
    let stopped = Job { checkpoint: Some(checkpoint), ..kept.clone() };
    let urgent = Job { priority: 1, ..job(250_000, 50_000) };
    for jobs in [[kept.clone(), stopped.clone()], [stopped, kept]] {
        let victim = usize::from(jobs[1].checkpoint.is_some());
        let outcome = on_nodes(2, vec![jobs[0].clone(), jobs[1].clone(), urgent.clone()], dispatch());
        assert_eq!((outcome.jobs[victim].preempted, outcome.jobs[1 - victim].preempted), (1, 0));
    }
}

/// Four nodes, and a quota of two for queue 1. Queue 0 has all four until the other one comes.
#[test]
fn a_quota_is_given_back() {
    let jobs = (0..4).map(|_| Job { preemptible: true, ..job(0, 100_000) });
    let others = (0..3).map(|_| Job { queue: 1, ..job(10_000, 20_000) });
    let mut workload = workload(jobs.chain(others).collect(), 8);
    workload.queues.push("other".into());
    let quota = Bounds { gpu_milli: Some(16_000), ..Bounds::default() };
    let queues = vec![QueueSettings::new(0, "q".into()), QueueSettings { quota, ..QueueSettings::new(1, "other".into()) }];
    let cluster = Cluster::uniform(4, &NodeModel::eight_gpus("H100"), 4, 4);
    let outcome = run(&Setup::new(cluster, workload, DispatchSettings { queues, ..dispatch() })).unwrap();
    assert_eq!(outcome.violations, []);
    let preempted: Vec<u32> = outcome.jobs.iter().map(|row| row.preempted).collect();
    let ends: Vec<u64> = outcome.jobs.iter().filter_map(|row| row.end_ms).collect();
    // Two jobs run for 10 s and begin anew: one when two of the other queue have ended and its third has taken one of their nodes, and the other
    // when that one has ended too. The third cannot be preempted, so it must stay within the quota.
    assert_eq!(preempted, [0, 0, 1, 1, 0, 0, 0]);
    assert_eq!(ends, [100_000, 100_000, 130_000, 150_000, 30_000, 30_000, 50_000]);
}
