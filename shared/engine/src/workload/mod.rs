//! What the generator submits: the distributions that jobs are drawn from, all of them here, all of them seeded. When a job is
//! submitted at which rate is decided by the operator; sending it is the generator's business.
//!
//! | what | distribution |
//! | --- | --- |
//! | kind | the mix: sleep 4, compute 3, matrix 2, fault 1 by default |
//! | priority | urgent 5 %, high 20 %, normal 55 %, low 20 % |
//! | GPU share | 70 % a share of 0.10 to 0.95, 22 % one GPU, 5 % two, 2 % four, 1 % eight |
//! | memory on each GPU | uniform: 30 to 90 % of 16 GiB times the share; for whole GPUs 4 to 30 GiB |
//! | models | 92 % any; else one model or two that are large enough |
//! | expected duration | lognormal, median 8 s, sigma 0.8, kept within 0.5 to 60 s |
//! | time limit | 4 to 8 times the expected duration, at least 30 s, at most 10 min |
//! | retries | 0: 5 %, 1: 10 %, 2: 20 %, 3: 45 %, 5: 20 % |
//! | time between jobs | exponential (a Poisson process) |
//!
//! The GPU shares follow production in outline: of the tasks of Alibaba's cluster-trace-gpu-v2023 that use GPUs, 44 % ask
//! for a share of one, 55 % for one, 1 % for more (Weng et al., "Beware of Fragmentation", USENIX ATC 2023). Shares are more common
//! here so that eight nodes hold many jobs at once, and large jobs too, so that some are hard to place.

mod load;

use std::collections::BTreeMap;
use std::str::FromStr;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp1, LogNormal};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use crate::device::{DEFAULT_NODES, GpuModel, default_node};
use crate::job::{Demand, JobId, JobSpec, Param, Params, Priority};

pub use load::{DEFAULT_LOAD_PERCENT, LOADS_PERCENT, check_load, jobs_per_minute, mean_gpu_ms, shorten};

const MS_PER_MIN: f64 = 60_000.0;
/// The longest wait for the next job, in milliseconds: ten years, for rates of next to nothing.
const MAX_INTERVAL_MS: f64 = 10.0 * 365.0 * 24.0 * 3_600_000.0;
const MIB_PER_GIB: u32 = 1024;
const MEMORY_STEP_MIB: u32 = 256;

/// The kinds that are generated, in the order of [`WorkloadConfig`]'s fields.
pub const KINDS: [&str; 4] = ["sleep", "compute", "matrix", "fault"];

const PRIORITY_PERCENT: [(Priority, u32); 4] = [(Priority::Urgent, 5), (Priority::High, 20), (Priority::Normal, 55), (Priority::Low, 20)];
/// Whole GPUs and their percentage; what is left are shares.
const WHOLE_GPUS_PERCENT: [(u32, u32); 4] = [(1, 22), (2, 5), (4, 2), (8, 1)];
const ANY_MODEL_ODDS: f64 = 0.92;
const EXPECTED_MEDIAN_MS: f64 = 8_000.0;
const EXPECTED_SIGMA: f64 = 0.8;
const EXPECTED_BOUNDS_MS: (f64, f64) = (500.0, 60_000.0);
const TIMEOUT_BOUNDS_MS: (u64, u64) = (30_000, 600_000);
const RETRIES_PERCENT: [(u32, u32); 5] = [(0, 5), (1, 10), (2, 20), (3, 45), (5, 20)];
const MATRIX_SIZES: [i64; 5] = [96, 128, 192, 256, 384];

/// The mix of kinds cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mix: {0}; use for example `sleep=4,compute=3,matrix=2,fault=1`")]
pub struct InvalidMix(String);

/// Relative weights of the four kinds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkloadConfig {
    pub sleep: f64,
    pub compute: f64,
    pub matrix: f64,
    pub fault: f64,
}

impl Default for WorkloadConfig {
    fn default() -> Self {
        Self { sleep: 4.0, compute: 3.0, matrix: 2.0, fault: 1.0 }
    }
}

impl WorkloadConfig {
    /// From weights by kind; a kind that is not named gets none.
    pub fn from_weights(weights: &BTreeMap<String, f64>) -> Result<Self, InvalidMix> {
        let mut config = Self { sleep: 0.0, compute: 0.0, matrix: 0.0, fault: 0.0 };
        for (kind, &weight) in weights {
            match kind.as_str() {
                "sleep" => config.sleep = weight,
                "compute" => config.compute = weight,
                "matrix" => config.matrix = weight,
                "fault" => config.fault = weight,
                unknown => return Err(InvalidMix(format!("unknown kind `{unknown}`: use {}", KINDS.join(", ")))),
            }
        }
        config.validate()?;
        Ok(config)
    }

    /// The weights by kind, as they travel.
    pub fn to_weights(self) -> BTreeMap<String, f64> {
        KINDS.iter().map(|kind| (*kind).to_owned()).zip(self.in_order()).collect()
    }

    pub fn validate(&self) -> Result<(), InvalidMix> {
        if self.in_order().iter().any(|weight| !(0.0..=1e6).contains(weight)) {
            return Err(InvalidMix("each weight must be a number from 0 to 1,000,000".into()));
        }
        if self.in_order().iter().sum::<f64>() <= 0.0 {
            return Err(InvalidMix("at least one weight must be above 0".into()));
        }
        Ok(())
    }

    fn in_order(&self) -> [f64; 4] {
        [self.sleep, self.compute, self.matrix, self.fault]
    }
}

impl FromStr for WorkloadConfig {
    type Err = InvalidMix;

    fn from_str(text: &str) -> Result<Self, InvalidMix> {
        let mut weights = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (kind, weight) = part.split_once('=').ok_or_else(|| InvalidMix(format!("`{part}` is not kind=weight")))?;
            let weight = weight.trim().parse::<f64>().map_err(|_| InvalidMix(format!("invalid number `{weight}`")))?;
            if weights.insert(kind.trim().to_owned(), weight).is_some() {
                return Err(InvalidMix(format!("`{}` is given twice", kind.trim())));
            }
        }
        Self::from_weights(&weights)
    }
}

/// Draws jobs. The same configuration and seed give the same jobs, but for their ids and times.
#[derive(Debug, Clone)]
pub struct Workload {
    config: WorkloadConfig,
    rng: Pcg64Mcg,
    /// The part of the last interval below a millisecond, so that high rates are right on average.
    interval_rest_ms: f64,
    /// What the default nodes are made of: model and GPUs a node, the most of each.
    models: Vec<(&'static GpuModel, u32)>,
}

impl Workload {
    pub fn new(config: WorkloadConfig, seed: u64) -> Self {
        let mut models: BTreeMap<&'static str, (&'static GpuModel, u32)> = BTreeMap::new();
        for node in (1..=DEFAULT_NODES).map(default_node) {
            let entry = models.entry(node.model.name).or_insert((node.model, 0));
            entry.1 = entry.1.max(node.gpu_count as u32);
        }
        let rng = Pcg64Mcg::seed_from_u64(seed);
        Self { config, rng, interval_rest_ms: 0.0, models: models.into_values().collect() }
    }

    pub fn config(&self) -> WorkloadConfig {
        self.config
    }

    /// Changes the mix from the next job on.
    pub fn set_config(&mut self, config: WorkloadConfig) {
        self.config = config;
    }

    /// The time to the next job in milliseconds, at a mean rate of `rate_per_minute`. A rate of 0 or less, or none at all,
    /// gives years.
    pub fn next_interval_ms(&mut self, rate_per_minute: f64) -> u64 {
        let unit: f64 = Exp1.sample(&mut self.rng);
        let mean_ms = if rate_per_minute > 0.0 { MS_PER_MIN / rate_per_minute } else { MAX_INTERVAL_MS };
        let exact_ms = (unit * mean_ms + self.interval_rest_ms).min(MAX_INTERVAL_MS);
        self.interval_rest_ms = exact_ms.fract();
        exact_ms as u64
    }

    /// The next job, under an id of the caller's.
    pub fn next_job(&mut self, id: JobId, now_ms: u64) -> JobSpec {
        let kind = self.draw_kind();
        let priority = draw_percent(&mut self.rng, &PRIORITY_PERCENT).unwrap_or(Priority::Normal);
        let demand = self.draw_demand();
        let expected_ms = self.draw_expected_ms();
        let timeout_ms = (expected_ms as f64 * self.rng.random_range(4.0..8.0)) as u64;
        JobSpec {
            id,
            name: self.draw_name(kind, priority),
            kind: kind.to_owned(),
            params: self.draw_params(kind, expected_ms),
            priority,
            demand,
            expected_ms,
            timeout_ms: timeout_ms.clamp(TIMEOUT_BOUNDS_MS.0, TIMEOUT_BOUNDS_MS.1),
            max_retries: draw_percent(&mut self.rng, &RETRIES_PERCENT).unwrap_or(3),
            submitted_at_ms: now_ms,
            origin: Default::default(),
        }
    }

    fn draw_kind(&mut self) -> &'static str {
        let weights = self.config.in_order();
        let mut left = self.rng.random::<f64>() * weights.iter().sum::<f64>();
        for (kind, weight) in KINDS.into_iter().zip(weights) {
            if left < weight {
                return kind;
            }
            left -= weight;
        }
        KINDS[0]
    }

    fn draw_demand(&mut self) -> Demand {
        let (gpu_milli, memory_mib) = match draw_percent(&mut self.rng, &WHOLE_GPUS_PERCENT) {
            Some(gpus) => (gpus * 1000, self.rng.random_range(4 * MIB_PER_GIB..=30 * MIB_PER_GIB)),
            None => {
                let milli = self.rng.random_range(2..=19_u32) * 50;
                let share_mib = 16.0 * f64::from(MIB_PER_GIB) * f64::from(milli) / 1000.0;
                (milli, (share_mib * self.rng.random_range(0.3..0.9)) as u32)
            }
        };
        let mut demand = Demand { gpu_milli, gpu_memory_mib: memory_mib.next_multiple_of(MEMORY_STEP_MIB), models: Vec::new() };
        if !self.rng.random_bool(ANY_MODEL_ODDS) {
            demand.models = self.draw_models(&demand);
        }
        demand
    }

    fn draw_models(&mut self, demand: &Demand) -> Vec<String> {
        let fits = |&&(model, gpus): &&(&GpuModel, u32)| gpus >= demand.gpu_count() && model.memory_mib >= demand.gpu_memory_mib;
        let mut names: Vec<&str> = self.models.iter().filter(fits).map(|(model, _)| model.name).collect();
        let wanted = self.rng.random_range(1..=2);
        while names.len() > wanted {
            names.swap_remove(self.rng.random_range(0..names.len()));
        }
        names.sort_unstable();
        names.into_iter().map(str::to_owned).collect()
    }

    fn draw_expected_ms(&mut self) -> u64 {
        let drawn = LogNormal::new(EXPECTED_MEDIAN_MS.ln(), EXPECTED_SIGMA).map_or(EXPECTED_MEDIAN_MS, |d| d.sample(&mut self.rng));
        drawn.clamp(EXPECTED_BOUNDS_MS.0, EXPECTED_BOUNDS_MS.1) as u64
    }

    /// Names as the original simulator gave them, such as `wait-urgent-1234`, `gpu-algebra-5678`, `check-verify-1234`.
    fn draw_name(&mut self, kind: &str, priority: Priority) -> String {
        let words: &[&str] = match priority {
            Priority::Urgent => &["urgent", "critical"],
            Priority::High => &["important", "high"],
            Priority::Normal => &["standard", "normal"],
            Priority::Low => &["background", "low"],
        };
        let (first, second): (&[&str], &[&str]) = match kind {
            "compute" => (&["calc", "process"], words),
            "matrix" => (&["gpu", "matrix", "tensor"], &["algebra", "linear", "product"]),
            "fault" => (&["validate", "check", "inject"], &["test", "verify"]),
            _ => (&["wait", "pause", "idle"], words),
        };
        let mut pick = |words: &[&'static str]| words.choose(&mut self.rng).copied().unwrap_or("job");
        format!("{}-{}-{:04}", pick(first), pick(second), self.rng.random_range(1000..10_000))
    }

    /// The parameters that the worker's executors read. `hold_ms` is the simulated GPU time of a job whose real work is small.
    fn draw_params(&mut self, kind: &str, expected_ms: u64) -> Params {
        let expected = Param::Int(expected_ms as i64);
        let params = match kind {
            "compute" => vec![("limit", Param::Int(self.rng.random_range(1..=40_i64) * 50_000)), ("hold_ms", expected)],
            "matrix" => {
                let size = MATRIX_SIZES.choose(&mut self.rng).copied().unwrap_or(MATRIX_SIZES[0]);
                vec![("size", Param::Int(size)), ("hold_ms", expected)]
            }
            "fault" => {
                // From a job that nearly always succeeds to one that uses up its retries.
                let trouble = self.rng.random_range(0.1..0.9);
                let odds = |share: f64| Param::Float((trouble * share * 1000.0_f64).round() / 1000.0);
                vec![
                    ("fail_odds", odds(0.6)),
                    ("panic_odds", odds(0.2)),
                    ("oom_odds", odds(0.15)),
                    ("hang_odds", odds(0.05)),
                    ("duration_ms", expected),
                ]
            }
            _ => vec![("duration_ms", expected)],
        };
        params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Picks by percentage; none for what is left to 100.
fn draw_percent<T: Copy>(rng: &mut Pcg64Mcg, table: &[(T, u32)]) -> Option<T> {
    let mut left = rng.random_range(0..100_u32);
    for (value, percent) in table {
        if left < *percent {
            return Some(*value);
        }
        left -= percent;
    }
    None
}

#[cfg(test)]
mod tests;
