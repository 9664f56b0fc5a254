mod anything;
mod elastic;
mod parts;
mod preemption;
mod queues;

use faultline_engine::goodput::Class;
use faultline_planner::{DispatchSettings, TaskClass};

use super::*;
use crate::cluster::{Cluster, NodeModel};
use crate::faults::Faults;
use crate::outcome::{AttemptEnd, Violation};
use crate::workload::{Checkpoint, Fate, Interval, Job, Workload};

pub(super) fn job(submit_ms: u64, work_ms: u64) -> Job {
    Job { estimate_ms: Some(work_ms), preemptible: false, ..Job::new(submit_ms, 0, work_ms) }
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
fn word_that_is_on_its_way_holds_gpus_without_work() {
    let jobs = vec![job(0, 1_000), job(100, 2_000)];
    let mut setup = Setup::new(Cluster::uniform(1, &NodeModel::eight_gpus("H100"), 4, 4), workload(jobs, 8), DispatchSettings::default());
    setup.handover = crate::Handover { start_ms: 10, end_ms: 20 };
    let outcome = run(&setup).unwrap();
    let ends: Vec<Option<u64>> = outcome.jobs.iter().map(|row| row.end_ms).collect();
    assert_eq!(ends, [Some(1_030), Some(3_060)]);
    assert_eq!((outcome.totals.of(Class::Handover), outcome.totals.of(Class::Productive)), (8_000 * 60, 8_000 * 3_000));
    assert_eq!(outcome.violations, []);
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

/// A gang and single jobs on a few nodes that fail often.
fn busy(seed: u64) -> Setup {
    let checkpoint = Checkpoint { interval: Interval::Every(600_000), write_ms: 5_000, restore_ms: 60_000, on_preemption: false };
    let mut jobs = vec![Job { tasks: 6, min_tasks: 6, checkpoint: Some(checkpoint), ..job(0, 20 * 86_400_000) }];
    jobs.extend((0..200).map(|at| Job { checkpoint: (at % 2 == 0).then_some(checkpoint), ..job(at * 3_600_000, 7_200_000) }));
    let mut setup = Setup::new(Cluster::uniform(8, &NodeModel::eight_gpus("H100"), 4, 4), workload(jobs, 8), DispatchSettings::default());
    setup.faults = Faults { detector: crate::faults::Detector::PhiAccrual, ..Faults::constant(1.0, 3_600_000) };
    setup.seed = seed;
    setup
}

fn run_with(setup: &Setup, bug: Option<Bug>) -> Outcome {
    let mut simulation = Simulation::new(setup).unwrap();
    simulation.planted = bug;
    simulation.play();
    simulation.finish()
}

fn fault_times(outcome: &Outcome) -> Vec<(u64, u32)> {
    let mut times: Vec<(u64, u32)> = outcome.faults.iter().map(|row| (row.from_ms, row.node)).collect();
    times.sort_unstable();
    times
}

#[test]
fn planted_errors_are_caught() {
    let setup = busy(3);
    assert_eq!(run_with(&setup, None).violations, []);
    let leaked = run_with(&setup, Some(Bug::LeakedGpu)).violations;
    assert!(leaked.iter().any(|violation| matches!(violation, Violation::Leaked { .. })), "{leaked:?}");
    let forgotten = run_with(&setup, Some(Bug::ForgottenLoss)).violations;
    assert!(forgotten.iter().any(|violation| matches!(violation, Violation::CommittedWork { .. })), "{forgotten:?}");
}

#[test]
fn another_policy_changes_no_fault_and_one_that_draws_by_call_order_is_caught() {
    let first = Setup { horizon_ms: Some(30 * 86_400_000), ..busy(4) };
    let mut second = first.clone();
    second.dispatch.placement.policy = faultline_planner::PolicyName::Random;
    second.dispatch.order = faultline_planner::OrderName::Sjf;
    let (one, other) = (run_with(&first, None), run_with(&second, None));
    assert_ne!(one.hash, other.hash);
    assert!(fault_times(&one).len() > 100);
    assert_eq!(fault_times(&one), fault_times(&other));
    let arrivals = |outcome: &Outcome| outcome.jobs.iter().map(|row| row.submit_ms).collect::<Vec<_>>();
    assert_eq!(arrivals(&one), arrivals(&other));
    // Which fault is the how-manieth depends on what happened elsewhere: on one more node, for example.
    let mut larger = first.clone();
    larger.cluster = std::sync::Arc::new(Cluster::uniform(9, &NodeModel::eight_gpus("H100"), 4, 4));
    let of_the_first = |outcome: &Outcome| fault_times(outcome).into_iter().filter(|(_, node)| *node < 8).collect::<Vec<_>>();
    assert_eq!(of_the_first(&run_with(&first, None)), of_the_first(&run_with(&larger, None)));
    let bug = Some(Bug::DrawsByCallOrder);
    assert_ne!(of_the_first(&run_with(&first, bug)), of_the_first(&run_with(&larger, bug)));
}

#[test]
fn nothing_that_breaks_is_the_same_as_no_faults() {
    let off = Setup { faults: Faults::off(), ..busy(5) };
    let never = Faults { detector: crate::faults::Detector::KOfN, hazard: faultline_engine::fault::Hazard::Never, ..busy(5).faults };
    assert_eq!(run(&off).unwrap().hash, run(&Setup { faults: never, ..off.clone() }).unwrap().hash);
}

#[test]
fn a_wrong_diagnosis_takes_a_healthy_node_out_and_leaves_the_broken_one_in() {
    let gang = Job { tasks: 6, min_tasks: 6, ..job(0, 40 * 86_400_000) };
    let checkpoint = Checkpoint { interval: Interval::Every(0), write_ms: 0, restore_ms: 0, on_preemption: false };
    let gang = Job { checkpoint: Some(checkpoint), ..gang };
    let mut setup =
        Setup::new(Cluster::uniform(8, &NodeModel::eight_gpus("H100"), 4, 4), workload(vec![gang], 8), DispatchSettings::default());
    setup.faults = Faults { misdiagnosis: 1.0, ..Faults::constant(0.1, 7_200_000) };
    let outcome = run(&setup).unwrap();
    assert_eq!(outcome.violations, []);
    // Idle nodes are not in a gang: only their faults are repaired where they are.
    let (down, aside) = (outcome.totals.of(Class::Down), outcome.totals.of(Class::Quarantined));
    let interruptions = u128::from(outcome.jobs[0].interrupted);
    assert!(interruptions > 10 && aside > 0 && aside <= interruptions * 7_200_000 * 8_000, "{interruptions} {aside}");
    let never = run(&Setup { faults: Faults { misdiagnosis: 0.0, ..setup.faults.clone() }, ..setup }).unwrap();
    assert_eq!(never.totals.of(Class::Quarantined), 0);
    assert!(down < never.totals.of(Class::Down) / 2);
}

const DAY_MS: u64 = 86_400_000;

#[test]
fn a_job_may_run_for_years() {
    let cluster = Cluster::uniform(2, &NodeModel::eight_gpus("H100"), 4, 4);
    let jobs = vec![job(0, 36_500 * DAY_MS), job(0, 1_000)];
    let outcome = run(&Setup::new(cluster, workload(jobs, 8), DispatchSettings::default())).unwrap();
    assert_eq!(outcome.jobs[0].end_ms, Some(36_500 * DAY_MS));
    assert!(outcome.totals.is_exact());
}

/// Without checkpoints it would need 54 days without a fault of 512 nodes, each of which fails every 154 days.
#[test]
fn a_job_that_begins_again_and_again_is_given_up_after_a_year() {
    let cluster = Cluster::uniform(600, &NodeModel::eight_gpus("H100"), 4, 4);
    let gang = Job { tasks: 512, min_tasks: 512, ..job(0, 54 * DAY_MS) };
    let setup = Setup::new(cluster, workload(vec![gang], 8), DispatchSettings::default());
    let outcome = run(&Setup { faults: Faults::constant(0.0065, 3_600_000), ..setup }).unwrap();
    assert_eq!((outcome.jobs[0].end, outcome.jobs[0].end_ms), (End::Open, None));
    let years = outcome.end_ms as f64 / (366.0 * DAY_MS as f64);
    assert!((0.9..1.1).contains(&years) && outcome.jobs[0].interrupted > 100, "{years}");
}

#[test]
fn a_job_that_no_cluster_could_run_ends_when_it_is_submitted_and_blocks_no_other() {
    let cluster = Cluster::uniform(2, &NodeModel::eight_gpus("H100"), 4, 4);
    let large = Job { tasks: 3, min_tasks: 3, ..job(100, 1_000) };
    let jobs = vec![job(0, 5_000), large.clone(), job(200, 1_000), Job { submit_ms: 300, ..large }];
    let dispatch = DispatchSettings { blocking: faultline_planner::Blocking::Strict, ..DispatchSettings::default() };
    let outcome = run(&Setup::new(cluster, workload(jobs, 8), dispatch)).unwrap();
    let ends: Vec<(End, Option<u64>)> = outcome.jobs.iter().map(|row| (row.end, row.end_ms)).collect();
    let given_up = |at_ms| (End::Impossible, Some(at_ms));
    assert_eq!(ends, [(End::Committed, Some(5_000)), given_up(100), (End::Committed, Some(1_200)), given_up(300)]);
    assert_eq!(outcome.violations, []);
}
