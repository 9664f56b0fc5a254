//! What a scenario does, drawn from its seed before anything runs: which jobs are submitted when, and which workers are killed when.

use rand::RngExt;
use rand::seq::SliceRandom;

use super::file::{File, JobTable};
use crate::experiment::{Span, gpu_milli};
use crate::streams::{Purpose, stream};

/// From the start of a worker's process until its nodes have registered.
const BOOT_MS: u64 = 100;

/// Everything that will be done, in the order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub seed: u64,
    pub jobs: Vec<PlannedJob>,
    pub kills: Vec<PlannedKill>,
    /// Whether all events are as far apart as the file wants.
    pub is_spaced: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PlannedJob {
    pub at_ms: u64,
    pub duration_ms: u64,
    pub gpu_milli: u32,
    pub models: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedKill {
    /// Its number, from 1.
    pub worker: u32,
    pub at_ms: u64,
    pub down_ms: u64,
}

/// A node was down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Down {
    /// Its number, from 0.
    pub node: usize,
    pub from_ms: u64,
    pub until_ms: u64,
}

/// When what was planned happened, in milliseconds from the beginning of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instants {
    pub submits_ms: Vec<u64>,
    pub downs: Vec<Down>,
    /// For how long GPU time is accounted for; until the last job has ended when left out.
    pub window_ms: Option<u64>,
}

impl Plan {
    /// As the seed draws it, however close events come.
    pub(super) fn drawn(file: &File, seed: u64) -> Self {
        let mut kills = kills(file, seed);
        kills.sort_by_key(|kill| (kill.at_ms, kill.worker));
        Self { seed, jobs: jobs(file, seed), kills, is_spaced: true }
    }

    /// The instants as they are planned.
    pub fn instants(&self, file: &File) -> Instants {
        let nodes_per_worker = file.cluster.nodes_per_worker as usize;
        let downs = self.kills.iter().flat_map(|kill| {
            let first = (kill.worker as usize - 1) * nodes_per_worker;
            let until_ms = kill.at_ms + kill.down_ms + BOOT_MS;
            (first..first + nodes_per_worker).map(move |node| Down { node, from_ms: kill.at_ms, until_ms })
        });
        Instants { submits_ms: self.jobs.iter().map(|job| job.at_ms).collect(), downs: downs.collect(), window_ms: None }
    }
}

fn jobs(file: &File, seed: u64) -> Vec<PlannedJob> {
    let table = &file.workload;
    let mut jobs: Vec<PlannedJob> = table.job.iter().map(given).collect();
    let drawn = table.jobs.zip(table.within).zip(table.duration).zip(table.gpus.as_ref());
    if let Some((((count, within), (shortest, longest)), weights)) = drawn {
        let sizes: Vec<(u32, f64)> = weights.iter().filter_map(|(size, weight)| Some((gpu_milli(size)?, *weight))).collect();
        jobs.extend((0..count).map(|number| {
            let mut rng = stream(seed, Purpose::Work, number.into(), 0);
            // Somewhere in a slot of its own: the rate is kept.
            let at_ms = (f64::from(number) + rng.random::<f64>()) * within.ms as f64 / f64::from(count);
            PlannedJob {
                at_ms: at_ms as u64,
                duration_ms: rng.random_range(shortest.ms..=longest.ms),
                gpu_milli: weighted(&sizes, rng.random()),
                models: Vec::new(),
            }
        }));
    }
    jobs.sort_by_key(|job| job.at_ms);
    jobs
}

fn given(table: &JobTable) -> PlannedJob {
    PlannedJob {
        at_ms: table.at.ms,
        duration_ms: table.duration.ms,
        gpu_milli: gpu_milli(&table.gpus.to_string()).unwrap_or_default(),
        models: table.models.clone(),
    }
}

/// What a number from 0 to 1 chooses.
fn weighted(choices: &[(u32, f64)], drawn: f64) -> u32 {
    let mut left = drawn * choices.iter().map(|(_, weight)| weight).sum::<f64>();
    let chosen = choices.iter().find(|(_, weight)| {
        left -= weight;
        left < 0.0
    });
    chosen.or(choices.last()).map_or(0, |(choice, _)| *choice)
}

fn kills(file: &File, seed: u64) -> Vec<PlannedKill> {
    let given = file.faults.kill.iter().map(|kill| PlannedKill { worker: kill.worker, at_ms: kill.at.ms, down_ms: kill.down.ms });
    let mut kills: Vec<PlannedKill> = given.collect();
    let Some(drawn) = &file.faults.kills else { return kills };
    let mut rng = stream(seed, Purpose::Endurance, 0, 0);
    let mut workers: Vec<u32> = (1..=file.cluster.workers).collect();
    workers.shuffle(&mut rng);
    let (from, until): (Span, Span) = drawn.within;
    let slot_ms = (until.ms - from.ms) as f64 / f64::from(drawn.count.max(1));
    kills.extend(workers.into_iter().take(drawn.count as usize).enumerate().map(|(at, worker)| PlannedKill {
        worker,
        at_ms: from.ms + ((at as f64 + rng.random::<f64>()) * slot_ms) as u64,
        down_ms: rng.random_range(drawn.down.0.ms..=drawn.down.1.ms),
    }));
    kills
}
