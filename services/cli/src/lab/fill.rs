//! `faultline lab fill`: tasks that never end, until no more fit.

use std::path::PathBuf;

use clap::ValueEnum;
use faultline_lab::in_parallel;
use faultline_lab::read::{Source, nodes, openb_tasks};
use faultline_lab::statistics::{mean, sd};
use faultline_planner::{Filled, InvalidFill, Machine, PolicyName, Scores, Settings, TaskClass, TieRule, fill};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Output, count, figure, table};

use super::files::unreadable;

/// Runs of one command.
const MAX_SEEDS: u64 = 10_000;

/// How finely scores are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum ScoresFlag {
    /// Whole numbers from 0 to 100, as published figures were made
    #[default]
    Cut,
    /// As the policy's formula gives them
    Exact,
}

impl ScoresFlag {
    fn as_str(self) -> &'static str {
        match self {
            ScoresFlag::Cut => "cut",
            ScoresFlag::Exact => "exact",
        }
    }
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FillFlags {
    /// CSV file with the columns sn, cpu_milli, memory_mib, gpu, and model
    #[arg(long, value_name = "FILE")]
    nodes: PathBuf,
    /// CSV file with the columns cpu_milli, memory_mib, num_gpu, gpu_milli, and, if tasks are bound to models, gpu_spec
    #[arg(long, value_name = "FILE")]
    tasks: PathBuf,
    #[arg(long, value_name = "NAME", help = format!("Placement policy: {}", PolicyName::ALL.map(PolicyName::as_str).join(", ")))]
    policy: PolicyName,
    #[arg(long, value_name = "RULE", default_value_t, help = format!("Which of equal nodes is taken: {}", TieRule::ALL.map(TieRule::as_str).join(", ")))]
    tie: TieRule,
    /// How finely scores are told apart
    #[arg(long, value_enum, default_value_t)]
    scores: ScoresFlag,
    /// One seed, or the first and the last of several
    #[arg(long, value_name = "FIRST..LAST", default_value = "42..51", value_parser = seeds)]
    seeds: Seeds,
    /// How much the tasks ask for, in percent of the GPUs
    #[arg(long, value_name = "PERCENT", default_value_t = 130, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    demand: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seeds {
    first: u64,
    last: u64,
}

/// `42`, or `42..51` with both ends.
fn seeds(text: &str) -> Result<Seeds, String> {
    let seed = faultline_runtime::config::seed;
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let seeds = Seeds { first: seed(first)?, last: seed(last)? };
    match seeds.last.checked_sub(seeds.first) {
        None => Err(format!("the last seed is smaller than the first: use {last}..{first}")),
        Some(more) if more >= MAX_SEEDS => Err(format!("more than {} seeds: use fewer", count(MAX_SEEDS))),
        Some(_) => Ok(seeds),
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct RunView {
    seed: u64,
    allocation_percent: f64,
    fragmentation_percent: f64,
    demand_percent: f64,
    arrived: u64,
    dropped: u64,
}

/// All runs of the command.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct FillView {
    policy: &'static str,
    tie: &'static str,
    scores: &'static str,
    nodes: usize,
    gpus: u64,
    tasks: usize,
    mean_allocation_percent: f64,
    /// Of the runs' allocations, with one less than their number; absent for a single run.
    #[serde(skip_serializing_if = "Option::is_none")]
    sd_allocation_percent: Option<f64>,
    mean_fragmentation_percent: f64,
    runs: Vec<RunView>,
}

pub(super) fn run(out: &Output, flags: &FillFlags) -> Result<(), Failure> {
    out.one(&fill_view(flags)?, |view| in_words(out, view))
}

fn fill_view(flags: &FillFlags) -> Result<FillView, Failure> {
    let machines = Source::open(&flags.nodes).and_then(|source| nodes(&source)).map_err(unreadable)?;
    let tasks = Source::open(&flags.tasks).and_then(|source| openb_tasks(&source)).map_err(unreadable)?;
    let runs = fill_all(flags, &machines, &tasks).map_err(|error| match error {
        InvalidFill::NoGpus => Failure::Usage(format!("{}: {error}", flags.nodes.display())),
        InvalidFill::NoDemand => Failure::Usage(format!("{}: {error}", flags.tasks.display())),
        InvalidFill::Machine(_) | InvalidFill::Settings(_) => Failure::Usage(error.to_string()),
    })?;
    let of_runs = |of: fn(&RunView) -> f64| runs.iter().map(of).collect::<Vec<f64>>();
    let allocations = of_runs(|run| run.allocation_percent);
    Ok(FillView {
        policy: flags.policy.as_str(),
        tie: flags.tie.as_str(),
        scores: flags.scores.as_str(),
        nodes: machines.len(),
        gpus: machines.iter().map(|machine| machine.gpus.len() as u64).sum(),
        tasks: tasks.len(),
        mean_allocation_percent: rounded(mean(&allocations)),
        sd_allocation_percent: sd(&allocations).map(rounded),
        mean_fragmentation_percent: rounded(mean(&of_runs(|run| run.fragmentation_percent))),
        runs,
    })
}

/// The runs are independent of each other: as many at once as there are processors, in the order of their seeds.
fn fill_all(flags: &FillFlags, machines: &[Machine], tasks: &[TaskClass]) -> Result<Vec<RunView>, InvalidFill> {
    let seeds: Vec<u64> = (flags.seeds.first..=flags.seeds.last).collect();
    let scores = if flags.scores == ScoresFlag::Cut { Scores::Cut } else { Scores::Exact };
    in_parallel(&seeds, |seed| {
        let settings = Settings { policy: flags.policy, tie: flags.tie, scores, target: Vec::new(), seed: *seed };
        Ok(view(*seed, &fill(machines, tasks, &settings, flags.demand)?))
    })
}

fn view(seed: u64, filled: &Filled) -> RunView {
    let percent = |gpu_milli: f64| rounded(100.0 * gpu_milli / filled.capacity_gpu_milli as f64);
    RunView {
        seed,
        allocation_percent: percent(filled.allocated_gpu_milli as f64),
        fragmentation_percent: percent(filled.fragmented_gpu_milli),
        demand_percent: percent(filled.demand_gpu_milli as f64),
        arrived: filled.arrived,
        dropped: filled.dropped,
    }
}

/// To thousandths: more would promise more than ten runs can tell.
fn rounded(percent: f64) -> f64 {
    (percent * 1e3).round() / 1e3
}

fn in_words(out: &Output, view: &FillView) -> String {
    let spread = view.sd_allocation_percent.map_or_else(String::new, |sd| format!(", sd {sd:.2}"));
    let mut rows = table(&["SEED", "ALLOCATED", "FRAGMENTED", "DEMAND", "ARRIVED", "DROPPED"]);
    for run in &view.runs {
        let percent = |value: f64| figure(format!("{value:.2} %"));
        let demand = percent(run.demand_percent);
        rows.add_row([
            figure(run.seed),
            percent(run.allocation_percent),
            percent(run.fragmentation_percent),
            demand,
            figure(count(run.arrived)),
            figure(count(run.dropped)),
        ]);
    }
    format!(
        "{}, ties {}, scores {}, {} nodes with {} GPUs: {:.2} % allocated{spread}, {:.2} % fragmented\n\n{}",
        view.policy,
        view.tie,
        view.scores,
        count(view.nodes as u64),
        count(view.gpus),
        view.mean_allocation_percent,
        view.mean_fragmentation_percent,
        out.render(rows)
    )
}

#[cfg(test)]
#[path = "fill/tests.rs"]
mod tests;
