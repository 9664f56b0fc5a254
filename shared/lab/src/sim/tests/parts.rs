//! Faults of one GPU, and faults that only slow a node down.

use super::*;
use crate::faults::{Detector, Slow};
use crate::outcome::FaultExtent;

/// Two nodes on which 12 jobs of one GPU run for ten days, with a fault of a GPU every few hours.
fn of_one_gpu(seed: u64) -> Outcome {
    let checkpoint = Checkpoint { interval: Interval::Every(600_000), write_ms: 5_000, restore_ms: 60_000, on_preemption: false };
    let jobs = (0..12).map(|_| Job { checkpoint: Some(checkpoint), ..job(0, 10 * DAY_MS) }).collect();
    let mut setup = Setup::new(Cluster::uniform(2, &NodeModel::eight_gpus("H100"), 4, 4), workload(jobs, 1), DispatchSettings::default());
    setup.faults = Faults { one_gpu: 1.0, detector: Detector::After(30_000), ..Faults::constant(4.0, 7_200_000) };
    setup.seed = seed;
    run(&setup).unwrap()
}

#[test]
fn a_broken_gpu_leaves_the_rest_of_its_node_to_others() {
    let outcome = of_one_gpu(1);
    assert_eq!(outcome.violations, []);
    assert!(outcome.faults.len() > 60 && outcome.faults.iter().all(|row| matches!(row.extent, FaultExtent::Gpu(_))));
    // At most one job is on a GPU, and each that was interrupted was on one that broke.
    assert!(outcome.faults.iter().all(|row| row.interrupted <= 1));
    let interrupted: u32 = outcome.jobs.iter().map(|row| row.interrupted).sum();
    let hit: u32 = outcome.faults.iter().map(|row| row.interrupted).sum();
    assert!(interrupted > 40 && interrupted >= hit, "{interrupted} {hit}");
    // Once a broken GPU is known nothing holds it, so all of that time is down, and no other is.
    let known_ms = |row: &crate::outcome::FaultRow| Some(row.until_ms.unwrap_or(outcome.end_ms) - row.seen_ms?);
    let down_ms: u64 = outcome.faults.iter().filter_map(known_ms).sum();
    assert_eq!(outcome.totals.of(Class::Down), u128::from(down_ms) * 1_000);
    // Until then it is stalled if it is held, and else down without being seen.
    let unseen_ms: u64 = outcome.faults.iter().map(|row| row.seen_ms.unwrap_or(outcome.end_ms) - row.from_ms).sum();
    let unseen = outcome.totals.of(Class::DownUnseen) + outcome.totals.of(Class::Stalled);
    assert_eq!(unseen, u128::from(unseen_ms) * 1_000);
    assert!(outcome.totals.of(Class::DownUnseen) > 0 && outcome.totals.of(Class::Stalled) > 0);
    assert_eq!(of_one_gpu(1), outcome);
}

/// A gang of four nodes, of which now and then one is at half speed for two hours.
#[test]
fn a_gang_goes_at_the_pace_of_its_slowest_member() {
    let checkpoint = Checkpoint { interval: Interval::Every(600_000), write_ms: 5_000, restore_ms: 60_000, on_preemption: false };
    for checkpoint in [None, Some(checkpoint)] {
        let gang = Job { tasks: 4, min_tasks: 4, checkpoint, ..job(0, 10 * DAY_MS) };
        let mut setup =
            Setup::new(Cluster::uniform(4, &NodeModel::eight_gpus("H100"), 4, 4), workload(vec![gang], 8), DispatchSettings::default());
        setup.faults = Faults { slow: Some(Slow { share: 1.0, speed_milli: 500 }), ..Faults::constant(1.0, 7_200_000) };
        let outcome = run(&setup).unwrap();
        assert_eq!(outcome.violations, []);
        let row = &outcome.jobs[0];
        assert_eq!((row.attempts, row.interrupted, row.productive_ms), (1, 0, 10 * DAY_MS));
        let checkpoints = checkpoint.map_or(0, |checkpoint| (10 * DAY_MS).div_ceil(600_000) * checkpoint.write_ms - checkpoint.write_ms);
        assert_eq!(row.checkpoint_ms, checkpoints);
        assert_eq!(row.end_ms, Some(10 * DAY_MS + checkpoints + row.straggling_ms));
        assert_eq!(outcome.totals.of(Class::Straggling), u128::from(row.straggling_ms) * 32_000);
        // Half of the time in which some node was slow, but for checkpoints.
        let mut slow: Vec<(u64, u64)> =
            outcome.faults.iter().map(|row| (row.from_ms, row.until_ms.unwrap_or(outcome.end_ms).min(outcome.end_ms))).collect();
        slow.sort_unstable();
        let (mut slow_ms, mut until_ms) = (0, 0);
        for (from, until) in slow {
            slow_ms += until.saturating_sub(from.max(until_ms));
            until_ms = until_ms.max(until);
        }
        assert!(slow_ms > DAY_MS, "{slow_ms}");
        let expected_ms = slow_ms as f64 / 2.0;
        let tolerance_ms = if checkpoint.is_some() { 0.01 * expected_ms } else { 2.0 * outcome.faults.len() as f64 };
        assert!((row.straggling_ms as f64 - expected_ms).abs() < tolerance_ms, "{} and not {expected_ms}", row.straggling_ms);
    }
}

#[test]
fn shares_of_kinds_change_no_time_at_which_a_node_fails() {
    let times = |one_gpu, slow| {
        let mut setup = Setup { horizon_ms: Some(20 * DAY_MS), ..busy(4) };
        setup.faults = Faults { one_gpu, slow, repair: crate::faults::Repair::After(0), ..setup.faults };
        fault_times(&run(&setup).unwrap())
    };
    let whole = times(0.0, None);
    assert!(whole.len() > 100);
    assert_eq!(whole, times(0.5, Some(Slow { share: 0.3, speed_milli: 500 })));
}
