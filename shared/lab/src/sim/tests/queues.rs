//! Queues whose mean waits are known, and changes of a setup whose effect is known.

use faultline_planner::{Blocking, OrderName, TieRule};
use rand::RngExt;
use rand_distr::{Distribution, Exp1};

use super::*;
use crate::faults::{Detector, RecordedFault};
use crate::streams::{Purpose, stream};

const MEAN_WORK_MS: f64 = 1e6;
const JOBS: u64 = 20_000;
const WARM_UP: usize = 2_000;

/// Jobs of one GPU with Poisson arrivals, so many to a mean work time.
fn poisson(load: f64, seed: u64, work: impl Fn(u64) -> f64) -> Vec<Job> {
    let mut at_ms = 0.0;
    (0..JOBS)
        .map(|number| {
            let gap: f64 = Exp1.sample(&mut stream(seed, Purpose::Arrival, number, 0));
            at_ms += gap * MEAN_WORK_MS / load;
            job(at_ms as u64, (work(number) * MEAN_WORK_MS).max(1.0) as u64)
        })
        .collect()
}

fn exponential(seed: u64) -> impl Fn(u64) -> f64 {
    move |number| Exp1.sample(&mut stream(seed, Purpose::Work, number, 0))
}

/// One node with so many GPUs.
fn servers(count: u8, jobs: Vec<Job>) -> Setup {
    let model = NodeModel { gpus: count, ..NodeModel::eight_gpus("H100") };
    Setup { keep_attempts: false, ..Setup::new(Cluster::uniform(1, &model, 1, 1), workload(jobs, 1), DispatchSettings::default()) }
}

/// The mean wait in units of the mean work time, and its standard error, over independent runs.
fn wait(of: impl Fn(u64) -> Setup) -> (f64, f64) {
    let means: Vec<f64> = (1..21)
        .map(|seed| {
            let outcome = run(&of(seed)).unwrap();
            assert_eq!(outcome.violations, []);
            let waits = outcome.jobs[WARM_UP..].iter().map(|row| row.wait_ms as f64);
            waits.sum::<f64>() / (outcome.jobs.len() - WARM_UP) as f64 / MEAN_WORK_MS
        })
        .collect();
    crate::repro::mean_and_error(&means)
}

fn assert_within_two_errors((mean, error): (f64, f64), expected: f64) {
    assert!((mean - expected).abs() < 2.0 * error, "mean {mean}, standard error {error}, expected {expected}");
}

#[test]
fn one_server_with_exponential_work_waits_as_the_formula_says() {
    assert_within_two_errors(wait(|seed| servers(1, poisson(0.7, seed, exponential(seed)))), 0.7 / 0.3);
}

#[test]
fn several_servers_wait_as_erlang_says() {
    const SERVERS: u8 = 5;
    let (count, offered) = (f64::from(SERVERS), 4.0);
    let term = |k: u32| f64::powi(offered, k as i32) / (1..=k).map(f64::from).product::<f64>();
    let all_busy = term(u32::from(SERVERS)) * count / (count - offered);
    let waits = all_busy / ((0..u32::from(SERVERS)).map(term).sum::<f64>() + all_busy);
    assert_within_two_errors(wait(|seed| servers(SERVERS, poisson(offered, seed, exponential(seed)))), waits / (count - offered));
}

#[test]
fn one_server_with_any_work_waits_as_pollaczek_and_khinchine_say() {
    // A tenth of the jobs is long: mean 1, second moment 0.9 * (5/9)^2 + 0.1 * 5^2.
    let two_sizes = |seed| move |number| if stream(seed, Purpose::Work, number, 0).random::<f64>() < 0.1 { 5.0 } else { 5.0 / 9.0 };
    let second_moment = 0.9 * (5.0_f64 / 9.0).powi(2) + 0.1 * 25.0;
    assert_within_two_errors(wait(|seed| servers(1, poisson(0.6, seed, two_sizes(seed)))), 0.6 * second_moment / (2.0 * 0.4));
}

#[test]
fn shortest_first_waits_less_than_first_in_first_out_on_one_gpu() {
    let mean_wait = |order: OrderName, seed: u64| {
        let mut setup = servers(1, poisson(0.8, seed, exponential(seed)));
        (setup.dispatch.order, setup.dispatch.blocking) = (order, Blocking::Strict);
        run(&setup).unwrap().jobs.iter().map(|row| row.wait_ms).sum::<u64>()
    };
    for seed in 1..6 {
        assert!(mean_wait(OrderName::Sjf, seed) < mean_wait(OrderName::Fifo, seed));
    }
}

/// Gangs, shared GPUs, and recorded faults on a few nodes, with all times multiplied.
fn mixed(times: u64) -> Setup {
    let checkpoint =
        Checkpoint { interval: Interval::Every(3_000 * times), write_ms: 200 * times, restore_ms: 1_000 * times, on_preemption: false };
    let draw = |number: u64, up_to: u64| stream(9, Purpose::Work, number, up_to).random_range(1..up_to);
    let mut at_ms = 0;
    let jobs = (0..400).map(|number| {
        at_ms += draw(number, 9_000) * times;
        let tasks = if number % 7 == 0 { 4 } else { 1 };
        Job {
            tasks,
            min_tasks: tasks,
            start_ms: 500 * times,
            checkpoint: (number % 3 > 0).then_some(checkpoint),
            ..job(at_ms, draw(number, 60_000) * times)
        }
    });
    let mut setup =
        Setup::new(Cluster::uniform(6, &NodeModel::eight_gpus("H100"), 2, 2), workload(jobs.collect(), 8), DispatchSettings::default());
    let faults = (0..150).map(|number| {
        let from_ms = draw(number, 2_400_000) * times;
        RecordedFault { node: (number % 6) as usize, from_ms, until_ms: from_ms + draw(number, 50_000) * times }
    });
    setup.faults = Faults { recorded: faults.collect(), detector: Detector::After(300 * times), ..Faults::off() };
    setup
}

#[test]
fn times_doubled_are_everything_doubled() {
    let (once, twice) = (run(&mixed(1)).unwrap(), run(&mixed(2)).unwrap());
    assert!(once.violations.is_empty() && once.jobs.iter().map(|row| row.interrupted).sum::<u32>() > 20);
    for (one, other) in once.jobs.iter().zip(&twice.jobs) {
        let ends = |row: &crate::outcome::JobRow, times: u64| (row.end_ms.map(|ms| ms * times), row.wait_ms * times, row.lost_ms * times);
        assert_eq!(ends(one, 2), ends(other, 1));
    }
    for class in Class::ALL {
        assert_eq!(once.totals.of(class) * 2, twice.totals.of(class), "{class}");
    }
}

#[test]
fn other_names_change_nothing_but_ties_by_name() {
    let renamed = |tie: TieRule| {
        let mut setup = mixed(1);
        setup.dispatch.placement.tie = tie;
        let mut cluster = Cluster::clone(&setup.cluster);
        let names: Vec<String> = cluster.machines.iter().rev().map(|machine| machine.name.clone()).collect();
        cluster.machines.iter_mut().zip(names).for_each(|(machine, name)| machine.name = name);
        let before = run(&setup).unwrap();
        setup.cluster = std::sync::Arc::new(cluster);
        (before.hash, run(&setup).unwrap().hash)
    };
    let (before, after) = renamed(TieRule::First);
    assert_eq!(before, after);
    let (before, after) = renamed(TieRule::ByName);
    assert_ne!(before, after);
}
