//! From what a run came to, to the rows about it.

use std::collections::HashMap;

use faultline_engine::goodput::{self, Class, bounded_slowdown};

use super::rows::{AttemptLine, FaultLine, Group, JobLine, SummaryLine, UsageLine};
use super::size::SizeClass;
use super::waiting::Waiting;
use crate::outcome::{AttemptEnd, AttemptRow, End, FaultExtent, FaultOrigin, FaultRow, JobRow, Outcome};
use crate::statistics::{KaplanMeier, Observation, mean};
use crate::workload::{Job, Workload};

/// Users and queues that get lines of their own: those whose jobs ask for most.
const MOST_USERS: usize = 20;
const MOST_QUEUES: usize = 50;
const MS_PER_HOUR: f64 = 3_600_000.0;
const WHOLE_MILLI: f64 = 1_000.0;

/// A run with what is needed to describe it.
#[derive(Debug, Clone)]
pub struct Run<'a> {
    pub policy: &'a str,
    pub tie: &'a str,
    pub seed: u64,
    pub workload: &'a Workload,
    pub jobs: &'a [JobRow],
    pub attempts: &'a [AttemptRow],
    /// GPU-milli-milliseconds by class of the goodput accounting; their sum is the cluster's capacity.
    pub classes: Vec<(&'static str, u128)>,
    pub waiting: Waiting,
    /// Jobs submitted before this instant do not count, nor does the GPU time before it.
    pub warm_up_ms: u64,
    pub end_ms: u64,
}

impl<'a> Run<'a> {
    /// An outcome with all attempts, and with usage over time if there is a warm-up: GPU time is cut off at the end of the usage row in which
    /// the warm-up ends.
    pub fn new(policy: &'a str, tie: &'a str, seed: u64, workload: &'a Workload, outcome: &'a Outcome, warm_up_ms: u64) -> Self {
        let after_warm_up = outcome.usage.as_ref().filter(|_| warm_up_ms > 0).map(|usage| {
            let mut sums = [0u128; Class::COUNT];
            for (_, row) in usage.rows().filter(|(from_ms, _)| *from_ms >= warm_up_ms) {
                sums.iter_mut().zip(row).for_each(|(sum, part)| *sum += part);
            }
            Class::ALL.into_iter().map(Class::as_str).zip(sums).collect()
        });
        let whole = || Class::ALL.into_iter().map(|class| (class.as_str(), outcome.totals.of(class))).collect();
        let row_ms = outcome.usage.as_ref().map_or(outcome.end_ms, |usage| usage.row_ms());
        Self {
            policy,
            tie,
            seed,
            workload,
            jobs: &outcome.jobs,
            attempts: &outcome.attempts,
            classes: after_warm_up.unwrap_or_else(whole),
            waiting: Waiting::of(&outcome.jobs, &outcome.attempts, row_ms, warm_up_ms, outcome.end_ms),
            warm_up_ms,
            end_ms: outcome.end_ms,
        }
    }

    fn job(&self, row: &JobRow) -> &Job {
        &self.workload.jobs[row.job as usize]
    }

    fn gpu_milli(&self, job: &Job) -> u64 {
        let class = &self.workload.classes[job.class as usize];
        u64::from(class.gpus) * u64::from(class.gpu_milli) * u64::from(job.tasks)
    }

    fn name(&self, row: u64) -> String {
        self.workload.names.get(row as usize).cloned().unwrap_or_else(|| row.to_string())
    }

    fn share(&self, of: &[&str], whole: &[&str]) -> Option<f64> {
        let sum = |names: &[&str]| -> u128 {
            self.classes.iter().filter(|(name, _)| names.is_empty() || names.contains(name)).map(|(_, amount)| amount).sum()
        };
        let whole = sum(whole);
        (whole > 0).then(|| sum(of) as f64 / whole as f64)
    }
}

/// Rows of `jobs.csv`, in the order of the jobs.
pub fn job_lines(run: &Run) -> Vec<JobLine> {
    let line = |row: &JobRow| {
        let job = run.job(row);
        let named = |names: &[String], at: u32| names.get(at as usize).cloned().unwrap_or_default();
        JobLine {
            policy: run.policy.to_owned(),
            seed: run.seed,
            job: run.name(row.job),
            user: named(&run.workload.users, job.user),
            queue: named(&run.workload.queues, job.queue),
            tasks: job.tasks,
            gpu_milli: run.gpu_milli(job),
            counts: row.submit_ms >= run.warm_up_ms,
            submit_ms: row.submit_ms,
            first_start_ms: row.first_start_ms,
            end_ms: row.end_ms,
            end: end_name(row.end).to_owned(),
            attempts: row.attempts,
            interrupted: row.interrupted,
            preempted: row.preempted,
            wait_ms: row.wait_ms,
            run_ms: row.run_ms,
            productive_ms: row.productive_ms,
            lost_ms: row.lost_ms,
            checkpoint_ms: row.checkpoint_ms,
            restore_ms: row.restore_ms,
            stalled_ms: row.stalled_ms,
        }
    };
    run.jobs.iter().map(line).collect()
}

/// Rows of `attempts.csv`, in the order in which they are in the outcome.
pub fn attempt_lines(run: &Run) -> Vec<AttemptLine> {
    let line = |row: &AttemptRow| AttemptLine {
        policy: run.policy.to_owned(),
        seed: run.seed,
        job: run.name(row.job),
        attempt: row.attempt,
        start_ms: row.start_ms,
        end_ms: row.end_ms,
        end: attempt_end_name(row.end).to_owned(),
        tasks: row.tasks,
        nodes: row.nodes.iter().map(u32::to_string).collect::<Vec<_>>().join(" "),
        culprit: row.culprit,
    };
    run.attempts.iter().map(line).collect()
}

/// Rows of `faults.csv`, in the order in which the faults came.
pub fn fault_lines(run: &Run, outcome: &Outcome) -> Vec<FaultLine> {
    let line = |row: &FaultRow| FaultLine {
        policy: run.policy.to_owned(),
        seed: run.seed,
        node: row.node,
        from_ms: row.from_ms,
        seen_ms: row.seen_ms,
        until_ms: row.until_ms,
        origin: match row.origin {
            FaultOrigin::Node => "node",
            FaultOrigin::Defect => "defect",
            FaultOrigin::Outage => "outage",
            FaultOrigin::Network => "network",
            FaultOrigin::Recorded => "recorded",
        }
        .to_owned(),
        extent: match row.extent {
            FaultExtent::Node => "node".to_owned(),
            FaultExtent::Gpu(gpu) => format!("gpu {gpu}"),
            FaultExtent::Slow => "slow".to_owned(),
        },
        interrupted: row.interrupted,
    };
    outcome.faults.iter().map(line).collect()
}

/// Rows of `usage.csv` of an outcome that has usage over time.
pub fn usage_lines(run: &Run, outcome: &Outcome) -> Vec<UsageLine> {
    let rows = outcome.usage.iter().flat_map(|usage| usage.rows()).zip(&run.waiting.rows);
    let line = |((_, classes), waiting): ((u64, &[u128; Class::COUNT]), &super::waiting::WaitingRow)| UsageLine {
        policy: run.policy.to_owned(),
        seed: run.seed,
        from_ms: waiting.from_ms,
        to_ms: waiting.to_ms,
        waiting: waiting.waiting,
        running: waiting.running,
        gpu_ms: classes.iter().map(|milli_ms| *milli_ms as f64 / WHOLE_MILLI).collect(),
    };
    rows.map(line).collect()
}

fn end_name(end: End) -> &'static str {
    match end {
        End::Committed => "committed",
        End::Failed => "failed",
        End::Killed => "killed",
        End::Impossible => "impossible",
        End::Open => "open",
    }
}

fn attempt_end_name(end: AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::Done => "done",
        AttemptEnd::Failed => "failed",
        AttemptEnd::Killed => "killed",
        AttemptEnd::Fault => "fault",
        AttemptEnd::Preempted => "preempted",
        AttemptEnd::Resized => "resized",
        AttemptEnd::Open => "open",
    }
}

/// Rows of `summary.csv`: all jobs, then the goodput classes, size classes, queues, and users.
pub fn summarize(run: &Run) -> Vec<SummaryLine> {
    let counted: Vec<&JobRow> = run.jobs.iter().filter(|row| row.submit_ms >= run.warm_up_ms).collect();
    let mut lines = Vec::new();
    let mut add = |group: Group, of: &str, metric: &str, value: Option<f64>| {
        let (policy, tie, metric) = (run.policy.to_owned(), run.tie.to_owned(), metric.to_owned());
        lines.push(SummaryLine { policy, tie, seed: run.seed, group, of: of.to_owned(), metric, value });
    };
    for (metric, value) in of_cluster(run, &counted).into_iter().chain(of_jobs(run, &counted)) {
        add(Group::All, "", metric, value);
    }
    for (name, _) in &run.classes {
        add(Group::Class, name, "share", run.share(&[name], &[]));
    }
    let mut grouped = |group: Group, of: &str, rows: &[&JobRow]| {
        for (metric, value) in of_jobs(run, rows) {
            add(group, of, metric, value);
        }
    };
    for size in SizeClass::ALL {
        let rows: Vec<&JobRow> = counted.iter().copied().filter(|row| SizeClass::of(run.gpu_milli(run.job(row))) == size).collect();
        if !rows.is_empty() {
            grouped(Group::Size, size.as_str(), &rows);
        }
    }
    for (at, rows) in largest(run, &counted, |job| job.queue, MOST_QUEUES) {
        grouped(Group::Queue, run.workload.queues.get(at as usize).map_or("", String::as_str), &rows);
    }
    for (at, rows) in largest(run, &counted, |job| job.user, MOST_USERS) {
        grouped(Group::User, run.workload.users.get(at as usize).map_or("", String::as_str), &rows);
    }
    lines
}

/// Those whose jobs ask for most GPU time, the same for every policy; nothing when there is only one.
fn largest<'a>(run: &Run, rows: &[&'a JobRow], key: fn(&Job) -> u32, most: usize) -> Vec<(u32, Vec<&'a JobRow>)> {
    let mut groups: HashMap<u32, (u128, Vec<&JobRow>)> = HashMap::new();
    for row in rows {
        let job = run.job(row);
        let (asked, rows) = groups.entry(key(job)).or_default();
        *asked += asked_milli_ms(run, job);
        rows.push(row);
    }
    if groups.len() < 2 {
        return Vec::new();
    }
    let mut groups: Vec<(u32, (u128, Vec<&JobRow>))> = groups.into_iter().collect();
    groups.sort_by_key(|(at, (asked, _))| (std::cmp::Reverse(*asked), *at));
    groups.truncate(most);
    groups.into_iter().map(|(at, (_, rows))| (at, rows)).collect()
}

fn asked_milli_ms(run: &Run, job: &Job) -> u128 {
    u128::from(job.work_ms) * u128::from(run.gpu_milli(job))
}

type Figure = (&'static str, Option<f64>);

/// Figures that only the whole cluster has.
fn of_cluster(run: &Run, counted: &[&JobRow]) -> Vec<Figure> {
    let of_group = |wanted: fn(goodput::Group) -> bool| -> Vec<&str> {
        Class::ALL.into_iter().filter(|class| wanted(class.group())).map(Class::as_str).collect()
    };
    let gone = of_group(|group| group == goodput::Group::Unusable);
    let there = of_group(|group| group != goodput::Group::Unusable);
    let booked = of_group(|group| group == goodput::Group::Booked);
    let capacity: u128 = run.classes.iter().map(|(_, amount)| amount).sum();
    let asked: u128 = counted.iter().map(|row| asked_milli_ms(run, run.job(row))).sum();
    let window_ms = run.end_ms.saturating_sub(run.warm_up_ms);
    let first_ms = counted.iter().map(|row| row.submit_ms).min();
    let last_ms = counted.iter().filter(|row| row.end != End::Impossible).map(|row| row.end_ms.unwrap_or(run.end_ms)).max();
    vec![
        ("goodput", run.share(&["productive"], &[])),
        ("availability", run.share(&gone, &[]).map(|gone| 1.0 - gone)),
        ("occupancy", run.share(&booked, &there)),
        ("runtime_goodput", run.share(&["productive"], &booked)),
        ("lost_share", run.share(&["lost"], &[])),
        ("makespan_s", first_ms.zip(last_ms).map(|(first, last)| seconds(last.saturating_sub(first)))),
        ("queue_share", (window_ms > 0).then(|| run.waiting.queue_ms as f64 / window_ms as f64)),
        ("offered_load", (capacity > 0).then(|| asked as f64 / capacity as f64)),
    ]
}

/// Figures of a group of jobs.
fn of_jobs(run: &Run, rows: &[&JobRow]) -> Vec<Figure> {
    let possible: Vec<&JobRow> = rows.iter().copied().filter(|row| row.end != End::Impossible).collect();
    let until = |row: &JobRow, instant: Option<u64>| Observation {
        time: seconds(instant.or(row.end_ms).unwrap_or(run.end_ms).saturating_sub(row.submit_ms)),
        ended: instant.is_some(),
    };
    let waits = KaplanMeier::new(possible.iter().map(|row| until(row, row.first_start_ms)).collect());
    let times: Vec<Observation> = possible.iter().map(|row| until(row, row.end_ms)).collect();
    let mean_of = |values: Vec<f64>| (!values.is_empty()).then(|| mean(&values));
    let ended = possible.iter().filter(|row| row.end != End::Open);
    let by_gpus = |of: fn(&JobRow) -> u64| -> f64 { possible.iter().map(|row| of(row) as f64 * run.gpu_milli(run.job(row)) as f64).sum() };
    let scheduled = by_gpus(|row| row.wait_ms + row.run_ms);
    let hours = |milli_ms: f64| milli_ms / WHOLE_MILLI / MS_PER_HOUR;
    let number = |of: fn(&JobRow) -> u32| Some(rows.iter().map(|row| f64::from(of(row))).sum());
    let ending = |end: End| Some(rows.iter().filter(|row| row.end == end).count() as f64);
    vec![
        ("ettr", (scheduled > 0.0).then(|| by_gpus(|row| row.productive_ms) / scheduled)),
        ("wait_mean_s", mean_of(possible.iter().map(|row| seconds(row.wait_ms)).collect())),
        ("wait_p50_s", waits.quantile(0.5)),
        ("wait_p90_s", waits.quantile(0.9)),
        ("wait_p99_s", waits.quantile(0.99)),
        ("jct_mean_s", mean_of(times.iter().map(|one| one.time).collect())),
        ("slowdown_mean", mean_of(ended.map(|row| bounded_slowdown(row.wait_ms, row.run_ms)).collect())),
        ("lost_gpu_h", Some(hours(by_gpus(|row| row.lost_ms)))),
        ("gpu_h", Some(hours(by_gpus(|row| row.run_ms)))),
        ("jobs", Some(rows.len() as f64)),
        ("jobs_open", ending(End::Open)),
        ("jobs_impossible", ending(End::Impossible)),
        ("interrupted", number(|row| row.interrupted)),
        ("preempted", number(|row| row.preempted)),
    ]
    .into_iter()
    .chain({
        let times = KaplanMeier::new(times.clone());
        [("jct_p50_s", 0.5), ("jct_p90_s", 0.9), ("jct_p99_s", 0.99)].map(|(name, share)| (name, times.quantile(share)))
    })
    .collect()
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

#[cfg(test)]
#[path = "summary/tests.rs"]
mod tests;
