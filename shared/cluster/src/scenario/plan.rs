//! What a scenario will do, drawn from its seed before anything runs: which job is submitted when, and what breaks when. The same
//! file and seed give the same plan. Only a target that depends on what runs at the moment (a busy worker, the leader) is left open.

use faultline_engine::device::default_node;
use faultline_engine::job::{Demand, JobId, JobSpec, Origin, Param, Params, Priority};
use faultline_protocol::messages::{ChaosKind, ChaosRequest};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::file::{ClusterSettings, Scenario, TimedFault, Workload};
use crate::experiment::fault::Fault;
use crate::experiment::picture::{NodeFacts, Picture};
use crate::experiment::plan as targets;

/// Sizes that a small machine computes in some milliseconds: what the job costs is the time that it holds its GPU.
const MATRIX_SIZE: i64 = 96;
const PRIME_LIMIT: i64 = 50_000;

/// Everything that will be done, in the order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub jobs: Vec<PlannedJob>,
    /// When unreadable job messages are sent, with the ids that they claim to have.
    pub poison: Vec<(u64, u128)>,
    pub faults: Vec<PlannedFault>,
}

/// A job without the time of its submission.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedJob {
    pub at_ms: u64,
    random: u128,
    spec: JobSpec,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PlannedFault {
    pub at_ms: u64,
    pub for_ms: u64,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Drawn(Vec<Fault>),
    /// To be drawn at the moment, from what runs then.
    Open {
        request: Box<ChaosRequest>,
        seed: u64,
    },
}

impl PlannedJob {
    /// The job as it is submitted now.
    pub fn spec(&self, now_ms: u64) -> JobSpec {
        JobSpec { id: JobId::new(now_ms, self.random), submitted_at_ms: now_ms, ..self.spec.clone() }
    }
}

/// Draws the plan; or says which fault cannot be.
pub fn draw(scenario: &Scenario, seed: u64) -> Result<Plan, String> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let workload = &scenario.workload;
    let spread_ms = workload.rate_per_s.map(|rate| 1000.0 / rate);
    let jobs: Vec<PlannedJob> = (0..workload.jobs)
        .map(|index| {
            // Somewhere in its own slot: the rate is kept, and no two plans march in step.
            let at_ms = spread_ms.map_or(0.0, |slot| (f64::from(index) + rng.random::<f64>()) * slot) as u64;
            PlannedJob { at_ms, random: rng.random(), spec: job(workload, index, &mut rng) }
        })
        .collect();
    let last_ms = jobs.last().map_or(0, |job| job.at_ms);
    let poison = (0..workload.poisoned).map(|_| (rng.random_range(0..=last_ms), rng.random())).collect();
    let picture = ideal(&scenario.cluster);
    let mut faults = Vec::new();
    for (index, timed) in scenario.faults.iter().enumerate() {
        let what = what(timed, &picture, rng.random()).map_err(|problem| format!("fault {}: {problem}", index + 1))?;
        for round in 0..timed.times {
            let at_ms = timed.at_ms + u64::from(round) * timed.every_ms;
            faults.push(PlannedFault { at_ms, for_ms: timed.request.for_ms, what: what.clone() });
        }
    }
    faults.sort_by_key(|fault| fault.at_ms);
    Ok(Plan { jobs, poison, faults })
}

fn what(timed: &TimedFault, picture: &Picture, seed: u64) -> Result<What, String> {
    let request = &timed.request;
    if request.kind == ChaosKind::KillBusyWorker || request.target == targets::LEADER {
        return Ok(What::Open { request: Box::new(request.clone()), seed });
    }
    targets::faults(request, picture, seed).map(What::Drawn)
}

/// The cluster as it will be: `up` names workers and nodes by number.
fn ideal(cluster: &ClusterSettings) -> Picture {
    let node = |number: u32| NodeFacts {
        node: format!("gpu-node-{number:02}"),
        worker: format!("worker-{:02}", (number - 1) / cluster.nodes_per_worker + 1),
        rack: default_node(number as usize).rack,
        wrong: None,
        running: 0,
    };
    let mut services: Vec<(String, bool)> = (1..=cluster.workers).map(|number| (format!("worker-{number:02}"), true)).collect();
    services.extend((1..=cluster.schedulers).map(|number| (format!("scheduler-{number}"), true)));
    services.extend((!cluster.no_detector).then(|| ("fault-detector".to_owned(), true)));
    services.push(("nats".to_owned(), true));
    Picture { nodes: (1..=cluster.workers * cluster.nodes_per_worker).map(node).collect(), leader: String::new(), services }
}

fn weighted<'a, T>(choices: &'a [(T, f64)], rng: &mut Pcg64Mcg) -> &'a T {
    let mut left = rng.random::<f64>() * choices.iter().map(|(_, weight)| weight).sum::<f64>();
    for (choice, weight) in choices {
        if left < *weight {
            return choice;
        }
        left -= weight;
    }
    &choices[choices.len() - 1].0
}

fn job(workload: &Workload, index: u32, rng: &mut Pcg64Mcg) -> JobSpec {
    let kind = weighted(&workload.kinds, rng).clone();
    let priority: Priority = *weighted(&workload.priorities, rng);
    let duration_ms = rng.random_range(workload.duration_ms.0..=workload.duration_ms.1);
    let length = Param::Int(i64::try_from(duration_ms).unwrap_or(i64::MAX));
    let mut params = match kind.as_str() {
        "compute" => Params::from([("limit".to_owned(), Param::Int(PRIME_LIMIT)), ("hold_ms".to_owned(), length)]),
        "matrix" => Params::from([("size".to_owned(), Param::Int(MATRIX_SIZE)), ("hold_ms".to_owned(), length)]),
        _ => Params::from([("duration_ms".to_owned(), length)]),
    };
    params.extend(workload.params.clone());
    JobSpec {
        id: JobId::new(0, 0),
        name: format!("{kind}-{priority}-{:04}", index + 1),
        kind,
        params,
        priority,
        demand: Demand { gpu_milli: workload.gpu_milli, gpu_memory_mib: 0, models: Vec::new() },
        expected_ms: duration_ms,
        timeout_ms: workload.timeout_ms,
        max_retries: workload.max_retries,
        submitted_at_ms: 0,
        origin: Origin::by("scenario"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{file, shipped};
    use super::*;

    #[test]
    fn every_shipped_scenario_has_a_plan_that_its_seed_decides() {
        for shipped in shipped::ALL {
            let scenario = file::parse(shipped.text).unwrap_or_else(|problem| panic!("{}: {problem}", shipped.name));
            let plan = draw(&scenario, 7).unwrap_or_else(|problem| panic!("{}: {problem}", shipped.name));
            assert_eq!(plan, draw(&scenario, 7).unwrap());
            assert_ne!(plan, draw(&scenario, 8).unwrap(), "{}: the seed decides nothing", shipped.name);
            assert_eq!(plan.jobs.len(), scenario.workload.jobs as usize);
            assert!(plan.jobs.iter().all(|job| job.spec(1).validate().is_ok()));
        }
    }

    #[test]
    fn a_repeated_fault_hits_the_same_target_each_time() {
        let text = shipped::find("lemon-node").unwrap().text;
        let plan = draw(&file::parse(text).unwrap(), 3).unwrap();
        assert!(plan.faults.len() > 2);
        assert!(plan.faults.iter().all(|fault| fault.what == plan.faults[0].what));
        assert!(plan.faults.windows(2).all(|pair| pair[0].at_ms + pair[0].for_ms < pair[1].at_ms));
    }

    #[test]
    fn a_target_that_is_not_there_is_named() {
        let text =
            shipped::find("partition").unwrap().text.replacen("kind = \"partition\"", "kind = \"partition\"\ntarget = \"worker-99\"", 1);
        let problem = draw(&file::parse(&text).unwrap(), 3).unwrap_err();
        assert!(problem.starts_with("fault 1: ") && problem.contains("worker-99") && problem.contains("worker-01"), "{problem}");
    }

    #[test]
    fn jobs_keep_the_rate_and_their_ids_are_of_the_seed() {
        let mut scenario = file::parse(shipped::find("worker-crash").unwrap().text).unwrap();
        (scenario.workload.jobs, scenario.workload.rate_per_s) = (100, Some(10.0));
        let plan = draw(&scenario, 1).unwrap();
        assert!(plan.jobs.iter().enumerate().all(|(index, job)| (index as u64 * 100..(index as u64 + 1) * 100).contains(&job.at_ms)));
        let ids: std::collections::BTreeSet<JobId> = plan.jobs.iter().map(|job| job.spec(5).id).collect();
        assert_eq!(ids.len(), 100);
    }
}
