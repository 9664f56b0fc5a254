//! Why the figures may not mean what they seem to.

use faultline_engine::words::{count, plural};

use super::Tables;
use super::words::{list, percent};

/// With a queue in less of the time, policies have hardly anything to decide.
const LITTLE_QUEUE: f64 = 0.05;
/// Open jobs beyond this share bend every mean.
const MANY_OPEN: f64 = 0.005;
/// With fewer jobs there is no load to speak of.
const FEWEST_JOBS: f64 = 10.0;
const ENOUGH_SEEDS: usize = 10;
const ALIKE: &str = "Nothing is drawn in this experiment, so all seeds are alike: its figures are exact for this workload, and intervals without width say nothing about others. `resample = \"days\"` draws workloads from the trace's days.";

/// One sentence or two each, with what to do.
pub fn warnings(tables: &Tables) -> Vec<String> {
    let mut found = Vec::new();
    let contents = &tables.manifest.contents;
    if !contents.complete {
        found.push(stopped(tables));
    }
    let seeds = tables.seeds().len();
    if !tables.manifest.contents.draws {
        found.push(ALIKE.to_owned());
    } else if seeds < ENOUGH_SEEDS {
        found.push(format!(
            "Only {}: intervals from fewer than {ENOUGH_SEEDS} are wide and lean on normality. Raise `seeds`.",
            plural(seeds as u64, "seed")
        ));
    }
    // A single job that is watched fills its cluster, and never ends, on purpose.
    let is_load = tables.policies().iter().filter_map(|policy| tables.of_all(policy, "jobs")).any(|jobs| jobs >= FEWEST_JOBS);
    if is_load {
        found.extend(load(tables));
        found.extend(open_tail(tables));
    }
    found.extend(impossible(tables));
    found.extend(given_up(tables));
    found
}

/// Of an experiment that was interrupted: what the figures are over.
fn stopped(tables: &Tables) -> String {
    let runs = &tables.manifest.contents.runs;
    let without: Vec<String> = tables.policies().iter().filter(|policy| runs.iter().all(|run| run.policy != **policy)).cloned().collect();
    let missing = if without.is_empty() { String::new() } else { format!(" No run of {} had ended.", list(&without)) };
    let shared = plural(tables.seeds().len() as u64, "seed");
    format!(
        "The experiment was stopped before all runs had ended: figures are over the {shared} that all policies with a run have.{missing}"
    )
}

/// Policies whose mean of a metric is such, each with the mean in words.
fn policies_with(tables: &Tables, metric: &str, holds: impl Fn(f64) -> bool, words: impl Fn(f64) -> String) -> Vec<String> {
    let values = tables.policies().iter().filter_map(|policy| Some((policy, tables.of_all(policy, metric)?)));
    values.filter(|(_, value)| holds(*value)).map(|(policy, value)| format!("{policy} {}", words(value))).collect()
}

/// Policies with jobs that this metric counts.
fn counted(tables: &Tables, metric: &str) -> Vec<String> {
    policies_with(tables, metric, |jobs| jobs > 0.0, |jobs| count(jobs.ceil() as u64))
}

fn impossible(tables: &Tables) -> Option<String> {
    let found = counted(tables, "jobs_impossible");
    (!found.is_empty()).then(|| {
        format!(
            "Jobs ask for more than the whole cluster has, and were given up when they were submitted ({}). They count in `jobs`, `jobs_impossible`, and `offered_load` only; add nodes, or leave them out of the workload.",
            list(&found)
        )
    })
}

/// Without a horizon a run ends when no job is left, or none can be expected to end.
fn given_up(tables: &Tables) -> Option<String> {
    let experiment: toml::Table = toml::from_str(&tables.manifest.contents.experiment).unwrap_or_default();
    let has_horizon = experiment.get("run").and_then(|run| run.get("horizon")).is_some();
    let found = counted(tables, "jobs_open");
    (!has_horizon && !found.is_empty()).then(|| {
        format!(
            "Runs were given up with jobs that had not ended ({}): for a year none started for the first time, kept progress, or ended. Set `run.horizon`, take checkpoints, or add nodes.",
            list(&found)
        )
    })
}

fn load(tables: &Tables) -> Vec<String> {
    let mut found = Vec::new();
    let idle = policies_with(tables, "queue_share", |share| share < LITTLE_QUEUE, percent);
    if !idle.is_empty() {
        found.push(format!(
            "The load is too low to show much: jobs waited in less than {} of the time ({}). Use fewer nodes, or compress time with `scale.time`.",
            percent(LITTLE_QUEUE),
            list(&idle)
        ));
    }
    let full = policies_with(tables, "offered_load", |load| load > 1.0, percent);
    if !full.is_empty() {
        found.push(format!(
            "The load is too high: the jobs ask for more GPU time than the cluster has ({}). Queues grow as long as the run lasts, and waits measure its length.",
            list(&full)
        ));
    }
    found
}

fn open_tail(tables: &Tables) -> Option<String> {
    let open = tables.policies().iter().filter_map(|policy| {
        let [open, jobs] = ["jobs_open", "jobs"].map(|metric| tables.of_all(policy, metric));
        Some((policy, open?, jobs.filter(|jobs| *jobs > 0.0)?))
    });
    let open: Vec<String> = open
        .filter(|(_, open, jobs)| open / jobs > MANY_OPEN)
        .map(|(policy, open, jobs)| format!("{policy} {} of {}", count(open.round() as u64), count(jobs.round() as u64)))
        .collect();
    (!open.is_empty()).then(|| {
        format!(
            "The tail is open: jobs still waited or ran at the end ({}). Mean completion times are lower bounds; quantiles take open jobs into account (Kaplan-Meier).",
            list(&open)
        )
    })
}
