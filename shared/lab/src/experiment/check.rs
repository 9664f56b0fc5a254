//! What makes sense in a file whose fields are all of the right kind.

use faultline_engine::fault::FaultPreset;

use super::expect::{Expect, unknown_metric};
use super::file::{ClusterTable, FaultsTable, File, Generator, JobsTable, PolicyTable, WorkloadTable};
use super::jobs::gpu_milli;
use super::problem::{Lines, Problem};
use super::sensitivity::{Variation, variations};
use crate::tables::Metric;

/// The most nodes, and the most jobs of a generator.
const MAX_NODES: u64 = 1_000_000;
const MAX_JOBS: u32 = 10_000_000;
/// With less a year of virtual time passes between two jobs.
const MIN_LOAD: f64 = 1e-4;
const MAX_LOAD: f64 = 100.0;
/// A fault every minute and a half.
const MAX_FAULTS_PER_NODE_DAY: f64 = 1e3;

/// Everything that does not make sense.
pub(super) fn check(file: &File, text: &str) -> Vec<Problem> {
    let lines = Lines::of(text);
    let mut found = Found { lines: &lines, problems: Vec::new() };
    cluster(&mut found, &file.cluster);
    workload(&mut found, &file.workload);
    jobs(&mut found, "jobs", &file.jobs);
    faults(&mut found, "faults", &file.faults);
    if file.policy.is_empty() {
        found.add("policy", "no policy: add at least one, such as `[policy.first-fit]`");
    }
    for (name, queue) in &file.queue {
        if let Some(parent) = queue.parent.as_ref().filter(|parent| !file.queue.contains_key(*parent)) {
            found.add(&format!("queue.{name}.parent"), format!("unknown queue `{parent}`: add `[queue.{parent}]`, or take the parent out"));
        }
    }
    for (name, policy) in &file.policy {
        of_policy(&mut found, name, policy);
    }
    run(&mut found, file);
    match variations(file) {
        Err((field, why)) => found.add(&field, why),
        Ok(all) => {
            for Variation { varied, table } in &all {
                let at = format!("sensitivity.vary.{}", varied.field);
                let mut own = Found { lines: &lines, problems: Vec::new() };
                fields_of_policy(&mut own, &at, table);
                found.problems.extend(own.problems.into_iter().map(|problem| Problem {
                    line: lines.line_of(&at),
                    field: at.clone(),
                    ..problem
                }));
            }
        }
    }
    found.problems
}

struct Found<'a> {
    lines: &'a Lines<'a>,
    problems: Vec<Problem>,
}

impl Found<'_> {
    fn add(&mut self, path: &str, problem: impl Into<String>) {
        self.problems.push(self.lines.problem(path, problem));
    }

    /// Exactly one of some fields.
    fn one_of(&mut self, table: &str, fields: &[(&str, bool)]) {
        let names = fields.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let given: Vec<&str> = fields.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect();
        match given.as_slice() {
            [_] => {}
            [] => self.add(table, format!("nothing given: write one of {names}")),
            [_, second, ..] => self.add(&format!("{table}.{second}"), format!("only one of {names} makes sense: take the others out")),
        }
    }

    fn within(&mut self, path: &str, value: Option<f64>, low: f64, high: f64) {
        if let Some(value) = value.filter(|value| !(low..=high).contains(value)) {
            self.add(path, format!("{value} is out of range: write {low} to {high}"));
        }
    }

    fn positive(&mut self, path: &str, value: Option<f64>) {
        if let Some(value) = value.filter(|value| !(value.is_finite() && *value > 0.0)) {
            self.add(path, format!("{value} is out of range: write a number above 0"));
        }
    }
}

fn cluster(found: &mut Found, table: &ClusterTable) {
    let ClusterTable { file, processors, rack_nodes, block_racks, spares, nodes } = table;
    found.one_of("cluster", &[("file", file.is_some()), ("processors", processors.is_some()), ("nodes", nodes.is_some())]);
    let groups = nodes.as_deref().unwrap_or_default();
    let all = groups.iter().map(|group| u64::from(group.count)).sum::<u64>() + u64::from(processors.unwrap_or(0));
    if all > MAX_NODES {
        found.add("cluster", format!("{all} nodes are too many: at most {MAX_NODES}"));
    }
    if nodes.is_some() && groups.iter().all(|group| group.count == 0 || group.gpus == 0) {
        found.add("cluster.nodes", "the nodes have no GPU: give at least one node with one");
    }
    for (at, group) in groups.iter().enumerate().filter(|(_, group)| usize::from(group.gpus) > faultline_planner::MAX_NODE_GPUS) {
        let (path, most) = (format!("cluster.nodes.{at}.gpus"), faultline_planner::MAX_NODE_GPUS);
        found.add(&path, format!("{} GPUs are too many for a node: at most {most}", group.gpus));
    }
    for (name, value) in [("rack_nodes", rack_nodes), ("block_racks", block_racks), ("processors", processors)] {
        found.positive(&format!("cluster.{name}"), value.map(f64::from));
    }
    if nodes.is_some() && spares.is_some_and(|spares| u64::from(spares) >= all) {
        found.add("cluster.spares", format!("all {all} nodes would be spares: keep some to run jobs on"));
    }
}

fn workload(found: &mut Found, table: &WorkloadTable) {
    let WorkloadTable { file, format: _, node_gpus, processors: _, from, until, resample: _, scale, generator, job } = table;
    found.one_of("workload", &[("file", file.is_some()), ("generator", generator.is_some()), ("job", job.is_some())]);
    if from.zip(*until).is_some_and(|(from, until)| from >= until) {
        found.add("workload.until", "the window ends before it begins: write a later instant than `from`");
    }
    found.within("workload.node_gpus", node_gpus.map(f64::from), 1.0, faultline_planner::MAX_NODE_GPUS as f64);
    if let Some(scale) = scale {
        for (name, value) in [("time", scale.time), ("jobs", scale.jobs), ("gpus", scale.gpus)] {
            found.within(&format!("workload.scale.{name}"), Some(value), 1e-6, if name == "time" { 1e6 } else { 1e3 });
        }
    }
    if let Some(generator) = generator {
        of_generator(found, generator);
    }
    if job.as_ref().is_some_and(|job| job.gpus == 0 || job.work.ms == 0) {
        found.add("workload.job", "a job without GPUs or work is over at once: give both");
    }
}

fn of_generator(found: &mut Found, generator: &Generator) {
    found.within("workload.generator.jobs", Some(f64::from(generator.jobs)), 1.0, f64::from(MAX_JOBS));
    found.within("workload.generator.load", Some(generator.load), MIN_LOAD, MAX_LOAD);
    found.within("workload.generator.users", Some(f64::from(generator.users)), 1.0, 1e6);
    found.within("workload.generator.queues", Some(f64::from(generator.queues)), 1.0, 1e4);
    for (gpus, share) in &generator.gpus {
        let path = "workload.generator.gpus".to_owned();
        if gpu_milli(gpus).is_none() {
            found.add(&path, "invalid size: write a share below 1 such as 0.5, or a whole number up to 1,000,000");
        }
        found.positive(&path, Some(*share));
    }
    if generator.gpus.is_empty() {
        found.add("workload.generator.gpus", "no size: write at least one, such as `1 = 1.0`");
    }
}

fn jobs(found: &mut Found, at: &str, table: &JobsTable) {
    found.positive(&format!("{at}.elastic"), table.elastic);
    found.within(&format!("{at}.elastic"), table.elastic.filter(|share| *share > 0.0), 0.0, 1.0);
    found.within(&format!("{at}.estimate_error"), table.estimate_error, 0.0, 5.0);
}

fn faults(found: &mut Found, at: &str, table: &FaultsTable) {
    let FaultsTable { preset, per_node_day, time_scale, trace: _, detector: _, repair, pipeline, .. } = table;
    let FaultsTable { retirement, one_gpu, slow, slow_speed, misdiagnosis, .. } = table;
    let path = |name: &str| format!("{at}.{name}");
    if per_node_day.is_some() && preset.is_some_and(|preset| preset.value != FaultPreset::Off) {
        found.add(&path("per_node_day"), "`preset` has a rate of its own: take one of the two out");
    }
    if repair.is_some() && pipeline.is_some() {
        found.add(&path("repair"), "`pipeline` says how long repairs take: take one of the two out");
    }
    found.within(&path("per_node_day"), *per_node_day, 0.0, MAX_FAULTS_PER_NODE_DAY);
    found.positive(&path("time_scale"), *time_scale);
    found.within(&path("one_gpu"), *one_gpu, 0.0, 1.0);
    found.within(&path("slow"), *slow, 0.0, 1.0);
    if one_gpu.unwrap_or(0.0) + slow.unwrap_or(0.0) > 1.0 {
        found.add(&path("slow"), "with `one_gpu` more than all faults: write shares that sum to 1 at most");
    }
    found.within(&path("slow_speed"), *slow_speed, 0.001, 1.0);
    found.within(&path("misdiagnosis"), *misdiagnosis, 0.0, 1.0);
    if let Some(pipeline) = pipeline {
        for (name, value) in [
            ("escalated", pipeline.escalated),
            ("automatic_in_vain", pipeline.automatic_in_vain),
            ("manual_in_vain", pipeline.manual_in_vain),
        ] {
            found.within(&path(&format!("pipeline.{name}")), Some(value), 0.0, 1.0);
        }
    }
    if retirement.as_ref().is_some_and(|retirement| retirement.faults == 0) {
        found.add(&path("retirement.faults"), "0 faults would retire every node: write 1 or more");
    }
    if retirement.as_ref().is_some_and(|retirement| retirement.within.ms == 0) {
        found.add(&path("retirement.within"), "no two faults are within no time: write a longer duration");
    }
}

fn of_policy(found: &mut Found, name: &str, table: &PolicyTable) {
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_+".contains(c));
    if !is_plain {
        found.add(
            &format!("policy.{name}"),
            "the name is not plain: use letters, digits, `-`, `_`, and `+`, because it stands in tables and expectations",
        );
    }
    fields_of_policy(found, &format!("policy.{name}"), table);
}

fn fields_of_policy(found: &mut Found, at: &str, table: &PolicyTable) {
    if let Some(table) = &table.jobs {
        jobs(found, &format!("{at}.jobs"), table);
    }
    if let Some(table) = &table.faults {
        faults(found, &format!("{at}.faults"), table);
    }
}

fn run(found: &mut Found, file: &File) {
    if let Some(judge) = file.run.judge.as_deref().filter(|judge| Metric::named(judge).is_none()) {
        found.add("run.judge", unknown_metric(judge));
    }
    if file.run.warm_up.zip(file.run.horizon).is_some_and(|(warm_up, horizon)| warm_up >= horizon) {
        found.add("run.warm_up", "the run ends before the warm-up does: write a shorter one than `horizon`");
    }
    if file.run.horizon.is_some_and(|horizon| horizon.ms == 0) {
        found.add("run.horizon", "a run of no length has no figures: write a longer duration, or leave it out");
    }
    for (at, text) in file.expect.that.iter().enumerate() {
        let path = format!("expect.that.{at}");
        match text.parse::<Expect>() {
            Err(problem) => found.add(&path, problem),
            Ok(expect) => {
                for policy in expect.policies().into_iter().filter(|policy| !file.policy.contains_key(*policy)) {
                    let names = file.order.join(", ");
                    found.add(&path, format!("unknown policy `{policy}`: the file has {names}"));
                }
            }
        }
    }
}
