use faultline_engine::goodput::Class;
use faultline_planner::{DispatchSettings, TaskClass};

use super::*;
use crate::cluster::{Cluster, NodeModel};
use crate::faults::Faults;
use crate::workload::{Checkpoint, Fate, Interval, Job, Workload};

pub(super) fn job(submit_ms: u64, work_ms: u64) -> Job {
    Job {
        submit_ms,
        tasks: 1,
        min_tasks: 1,
        class: 0,
        work_ms,
        estimate_ms: Some(work_ms),
        start_ms: 0,
        checkpoint: None,
        grace_ms: 0,
        queue: 0,
        user: 0,
        priority: 0,
        preemptible: false,
        topology: None,
        fate: Fate::Passed,
    }
}

pub(super) fn workload(jobs: Vec<Job>, gpus: u16) -> Workload {
    let class = TaskClass { gpus, gpu_milli: 1000, ..TaskClass::default() };
    Workload { jobs, classes: vec![class], queues: vec!["q".into()], users: vec!["u".into()], names: Vec::new() }
}

#[test]
fn jobs_queue_for_one_node_first_in_first_out() {
    let jobs = vec![job(0, 1_000), job(100, 2_000), job(200, 500)];
    let setup = Setup::new(Cluster::uniform(1, &NodeModel::eight_gpus("H100"), 4, 4), workload(jobs, 8), DispatchSettings::default());
    let outcome = run(&setup).unwrap();
    let ends: Vec<Option<u64>> = outcome.jobs.iter().map(|row| row.end_ms).collect();
    assert_eq!(ends, [Some(1_000), Some(3_000), Some(3_500)]);
    let waits: Vec<u64> = outcome.jobs.iter().map(|row| row.wait_ms).collect();
    assert_eq!(waits, [0, 900, 2_800]);
    assert_eq!(outcome.totals.of(Class::Productive), 8_000 * 3_500);
    assert!(outcome.totals.is_exact());
    assert_eq!(outcome.attempts.len(), 3);
}

#[test]
fn a_gang_with_faults_commits_all_of_its_work() {
    let checkpoint = Checkpoint { interval: Interval::Every(600_000), write_ms: 5_000, restore_ms: 60_000, on_preemption: false };
    let gang = Job { tasks: 8, min_tasks: 8, start_ms: 60_000, checkpoint: Some(checkpoint), ..job(0, 30 * 86_400_000) };
    let mut setup =
        Setup::new(Cluster::uniform(10, &NodeModel::eight_gpus("H100"), 4, 4), workload(vec![gang], 8), DispatchSettings::default());
    setup.faults = Faults { detector: crate::faults::Detector::PhiAccrual, ..Faults::constant(0.5, 3_600_000) };
    setup.seed = 7;
    let outcome = run(&setup).unwrap();
    let row = &outcome.jobs[0];
    assert_eq!((row.end, row.productive_ms), (End::Committed, 30 * 86_400_000));
    assert!(row.interrupted > 80 && row.lost_ms > 0 && row.stalled_ms > 0, "{row:?}");
    assert!(outcome.totals.is_exact());
    assert_eq!(run(&setup).unwrap().hash, outcome.hash);
    assert_ne!(run(&Setup { seed: 8, ..setup }).unwrap().hash, outcome.hash);
}
