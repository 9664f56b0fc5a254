//! Filling a cluster to the brim: tasks arrive one by one, none ever ends, and one that does not fit is dropped. It shows how much a policy
//! can allocate, and it is how FGD's figures were made.

use std::collections::{BTreeMap, HashMap};

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use thiserror::Error;

use crate::class::{ClassId, TaskClass};
use crate::machine::{InvalidMachine, Machine};
use crate::planner::Planner;
use crate::policy::Fgd;
use crate::settings::{InvalidSettings, Scores, Settings};

/// Why nothing can be filled.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidFill {
    #[error(transparent)]
    Machine(#[from] InvalidMachine),
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
    #[error("the nodes have no GPU: give at least one node with one")]
    NoGpus,
    #[error("no task asks for a GPU: give at least one that does")]
    NoDemand,
}

/// How full a cluster got.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Filled {
    pub arrived: u64,
    pub dropped: u64,
    pub capacity_gpu_milli: u64,
    pub demand_gpu_milli: u64,
    pub allocated_gpu_milli: u64,
    /// The part of the cluster's GPUs that is free and of no use to the tasks that usually come, as FGD defines it.
    pub fragmented_gpu_milli: f64,
}

/// Places tasks that ask for `demand_percent` of the nodes' GPUs: all of `tasks` once, in a random order, then others drawn from them. The
/// nodes join in a random order. The seed of `settings` decides about both. Tasks that would ask for more are left out.
pub fn fill(machines: &[Machine], tasks: &[TaskClass], settings: &Settings, demand_percent: u64) -> Result<Filled, InvalidFill> {
    let workload = counted(tasks);
    let settings =
        Settings { target: if settings.target.is_empty() { workload.clone() } else { settings.target.clone() }, ..settings.clone() };
    let mut planner = Planner::new(&settings)?;
    let mut order: Vec<&Machine> = machines.iter().collect();
    order.shuffle(&mut stream(settings.seed, 1));
    for machine in order {
        planner.join(machine)?;
    }
    let capacity_gpu_milli = planner.gpu_milli();
    if capacity_gpu_milli == 0 {
        return Err(InvalidFill::NoGpus);
    }
    let arrivals =
        arrivals(tasks, capacity_gpu_milli * demand_percent / 100, &mut stream(settings.seed, 2)).ok_or(InvalidFill::NoDemand)?;
    let classes: HashMap<&TaskClass, ClassId> = workload.iter().map(|(task, _)| (task, planner.class(task))).collect();
    let (mut dropped, mut demand_gpu_milli, mut allocated_gpu_milli) = (0, 0, 0);
    for task in &arrivals {
        demand_gpu_milli += gpu_milli(task);
        match planner.place_now(classes[task]) {
            Some(_) => allocated_gpu_milli += gpu_milli(task),
            None => dropped += 1,
        }
    }
    let arrived = arrivals.len() as u64;
    let fragmented_gpu_milli = fragmented_gpu_milli(&planner, &workload)?;
    Ok(Filled { arrived, dropped, capacity_gpu_milli, demand_gpu_milli, allocated_gpu_milli, fragmented_gpu_milli })
}

fn stream(seed: u64, number: u64) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(seed.wrapping_mul(4).wrapping_add(number))
}

fn gpu_milli(task: &TaskClass) -> u64 {
    u64::from(task.gpus) * u64::from(task.gpu_milli)
}

/// The classes of a list of tasks with how often each comes, in the order in which they come.
fn counted(tasks: &[TaskClass]) -> Vec<(TaskClass, u64)> {
    let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
    let mut firsts: HashMap<&TaskClass, usize> = HashMap::new();
    for (position, task) in tasks.iter().enumerate() {
        *counts.entry(*firsts.entry(task).or_insert(position)).or_default() += 1;
    }
    counts.into_iter().map(|(position, count)| (tasks[position].clone(), count)).collect()
}

/// `None` when that much can never be asked for.
fn arrivals<'a>(tasks: &'a [TaskClass], most_gpu_milli: u64, rng: &mut Pcg64Mcg) -> Option<Vec<&'a TaskClass>> {
    if tasks.iter().all(|task| gpu_milli(task) == 0) {
        return None;
    }
    let mut all: Vec<&TaskClass> = tasks.iter().collect();
    all.shuffle(rng);
    let mut demand = 0;
    let within = all.iter().take_while(|task| {
        demand += gpu_milli(task);
        demand <= most_gpu_milli
    });
    let within = within.count();
    if within < all.len() {
        all.truncate(within);
        return Some(all);
    }
    loop {
        let task = &tasks[rng.random_range(0..tasks.len())];
        // As in FGD's simulator, where only one GPU of the task counts in this comparison.
        if demand + u64::from(task.gpu_milli) > most_gpu_milli {
            return Some(all);
        }
        demand += gpu_milli(task);
        all.push(task);
    }
}

fn fragmented_gpu_milli(planner: &Planner, workload: &[(TaskClass, u64)]) -> Result<f64, InvalidSettings> {
    let mut fgd = Fgd::new(workload, Scores::Exact).ok_or(InvalidSettings::NoTarget)?;
    Ok(planner.fragmentation(&mut fgd))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::PolicyName;
    use crate::tests::{gpu_task, machine};

    #[test]
    fn all_tasks_come_once_and_then_drawn_ones() {
        let tasks: Vec<TaskClass> = (1..=10).map(|cpu_milli| gpu_task(1, 1000, cpu_milli)).collect();
        let mut first: Vec<u32> = arrivals(&tasks, 13_000, &mut stream(1, 2)).unwrap()[..10].iter().map(|task| task.cpu_milli).collect();
        let other: Vec<u32> = arrivals(&tasks, 13_000, &mut stream(2, 2)).unwrap()[..10].iter().map(|task| task.cpu_milli).collect();
        assert_ne!(first, other, "the seed decides");
        first.sort_unstable();
        assert_eq!(first, (1..=10).collect::<Vec<_>>());
        assert_eq!(arrivals(&tasks, 13_000, &mut stream(1, 2)).unwrap().len(), 13);
        assert_eq!(arrivals(&tasks, 7_500, &mut stream(1, 2)).unwrap().len(), 7, "thinned");
        assert!(arrivals(&[gpu_task(0, 0, 1)], 1_000, &mut stream(1, 2)).is_none());
    }

    #[test]
    fn what_fits_is_counted_and_what_does_not_is_dropped() {
        // Two nodes of 2 GPUs and 3 cores: each takes a task of 2 cores, and the second GPU stays free for want of CPU.
        let machines = ["a", "b"].map(|name| machine(name, 2, Some(3_000), None));
        let settings = Settings { policy: PolicyName::BestFit, ..Settings::default() };
        let filled = fill(&machines, &[gpu_task(1, 1000, 2_000)], &settings, 130).unwrap();
        assert_eq!((filled.arrived, filled.dropped, filled.allocated_gpu_milli, filled.demand_gpu_milli), (5, 3, 2_000, 5_000));
        assert_eq!(filled.fragmented_gpu_milli, 2_000.0, "nobody can use what is left");
        assert_eq!(fill(&[machine("a", 0, None, None)], &[gpu_task(1, 1000, 1)], &settings, 130), Err(InvalidFill::NoGpus));
    }
}
