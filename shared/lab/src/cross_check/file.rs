//! What a scenario of the cross-check may say, and what makes sense of it.

use std::collections::BTreeMap;

use faultline_engine::device::default_node;
use faultline_engine::scheduler::PolicyName;
use serde::{Deserialize, Serialize};

use crate::experiment::{Lines, Problem, Seeds, Span, gpu_milli, read_as};
use crate::read::{self, ReadSettings, Source};
use crate::workload::Job;

const MAX_WORKERS: u32 = 64;
const MAX_NODES_PER_WORKER: u32 = 16;
const MAX_JOBS: u32 = 2_000;
/// A run takes as long as it says.
const LONGEST_MS: u64 = 600_000;
/// A worker that is back sooner may not have been missed.
const SHORTEST_DOWN_MS: u64 = 1_000;
/// What a fault detector waits for after a broken connection, and its ping.
const DISCONNECT_SEEN: Span = Span { ms: 120 };

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub title: String,
    pub cluster: ClusterTable,
    pub workload: WorkloadTable,
    #[serde(default)]
    pub faults: Faults,
    #[serde(default)]
    pub run: RunTable,
    #[serde(default, rename = "virtual")]
    pub virtual_: VirtualTable,
}

/// `[cluster]`: its nodes are those that workers simulate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterTable {
    pub workers: u32,
    #[serde(default = "one")]
    pub nodes_per_worker: u32,
    #[serde(default)]
    pub policy: PolicyName,
}

fn one() -> u32 {
    1
}

/// `[workload]`: `jobs` that are drawn, a trace, or a list.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadTable {
    pub jobs: Option<u32>,
    /// They are submitted between 0 and this.
    pub within: Option<Span>,
    /// Evenly between the two.
    pub duration: Option<(Span, Span)>,
    /// How often each number of GPUs comes.
    pub gpus: Option<BTreeMap<String, f64>>,
    /// A trace of single tasks, in any format that the lab reads.
    pub file: Option<String>,
    /// Submissions and durations of the trace are multiplied by it.
    pub scale: Option<f64>,
    #[serde(default)]
    pub job: Vec<JobTable>,
}

/// `[[workload.job]]`: one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobTable {
    pub at: Span,
    pub duration: Span,
    pub gpus: f64,
    /// Models of GPUs that it accepts; any when left out.
    #[serde(default)]
    pub models: Vec<String>,
}

/// `[faults]`: kills that are drawn, and a list of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    pub kills: Option<DrawnKills>,
    #[serde(default)]
    pub kill: Vec<KillTable>,
}

/// `[faults.kills]`: so many workers, each at most once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrawnKills {
    pub count: u32,
    pub within: (Span, Span),
    pub down: (Span, Span),
}

/// `[[faults.kill]]`: a worker gets SIGKILL and is not started again for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KillTable {
    /// Its number, from 1.
    pub worker: u32,
    pub at: Span,
    pub down: Span,
}

/// `[run]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunTable {
    pub seeds: Option<Seeds>,
    /// How far submissions, ends, and faults are kept apart, so that no decision depends on milliseconds.
    pub spacing: Option<Span>,
}

/// `[virtual]`: what the virtual run is told of the live one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualTable {
    /// From the death of a worker to the verdict.
    pub detection: Option<Span>,
}

impl File {
    pub fn seeds(&self) -> Seeds {
        self.run.seeds.unwrap_or(Seeds { first: 1, last: 5 })
    }

    pub fn spacing_ms(&self) -> u64 {
        self.run.spacing.map_or(0, |spacing| spacing.ms)
    }

    pub fn detection_ms(&self) -> u64 {
        self.virtual_.detection.unwrap_or(DISCONNECT_SEEN).ms
    }

    pub fn nodes(&self) -> u32 {
        self.cluster.workers * self.cluster.nodes_per_worker
    }

    pub fn has_faults(&self) -> bool {
        !self.faults.kill.is_empty() || self.faults.kills.as_ref().is_some_and(|kills| kills.count > 0)
    }
}

/// Reads a file's text: all that is wrong with it, in the order of its lines, or the scenario. `read` gives the bytes of the trace that it names.
pub fn parse(text: &str, read: &dyn Fn(&str) -> Result<Vec<u8>, String>) -> Result<File, Vec<Problem>> {
    let mut file: File = read_as(text)?;
    let lines = Lines::of(text);
    let mut found = Found { lines: &lines, problems: Vec::new() };
    found.within("cluster.workers", file.cluster.workers, 1, MAX_WORKERS);
    found.within("cluster.nodes_per_worker", file.cluster.nodes_per_worker, 1, MAX_NODES_PER_WORKER);
    found.workload(&file);
    found.faults(&file);
    if let Some(name) = file.workload.file.clone() {
        match trace(&name, file.workload.scale.unwrap_or(1.0), read) {
            Ok(jobs) if found.traced(&file, &jobs) => file.workload.job = jobs,
            Ok(_) => {}
            Err(problem) => found.add("workload.file", problem),
        }
    }
    found.problems.sort_by_key(|problem| problem.line);
    if found.problems.is_empty() { Ok(file) } else { Err(found.problems) }
}

/// The jobs of a trace, whatever became of them there: they run to their end.
fn trace(name: &str, scale: f64, read: &dyn Fn(&str) -> Result<Vec<u8>, String>) -> Result<Vec<JobTable>, String> {
    let bytes = read(name).map_err(|why| format!("{name} cannot be read: {why}"))?;
    let source = Source::from_bytes(name, bytes).map_err(|error| error.to_string())?;
    let workload = read::jobs(&source, None, &ReadSettings::default()).map_err(|error| error.to_string())?.workload;
    let scaled = |ms: u64| Span { ms: (ms as f64 * scale).round() as u64 };
    let job = |job: &Job| {
        let class = &workload.classes[job.class as usize];
        let gpus = f64::from(class.gpus) * f64::from(class.gpu_milli) / 1_000.0;
        let is_single = job.tasks == 1;
        let table = JobTable { at: scaled(job.submit_ms), duration: scaled(job.work_ms), gpus, models: class.models.clone() };
        is_single
            .then_some(table)
            .ok_or_else(|| format!("{name} has a job of {} tasks: the live cluster cannot place gangs; leave it out", job.tasks))
    };
    workload.jobs.iter().map(job).collect()
}

struct Found<'a> {
    lines: &'a Lines<'a>,
    problems: Vec<Problem>,
}

impl Found<'_> {
    fn add(&mut self, path: &str, problem: impl Into<String>) {
        self.problems.push(self.lines.problem(path, problem));
    }

    fn within(&mut self, path: &str, value: u32, low: u32, high: u32) {
        if !(low..=high).contains(&value) {
            self.add(path, format!("{value} is out of range: write {low} to {high}"));
        }
    }

    fn span(&mut self, path: &str, span: Span, shortest_ms: u64) {
        if !(shortest_ms..=LONGEST_MS).contains(&span.ms) {
            let (low, high) = (Span { ms: shortest_ms }, Span { ms: LONGEST_MS });
            self.add(path, format!("{span} is out of range: write {low} to {high}"));
        }
    }

    fn range(&mut self, path: &str, (low, high): (Span, Span), shortest_ms: u64) {
        if low > high {
            self.add(path, format!("the shorter one comes first: write [\"{high}\", \"{low}\"]"));
        } else {
            self.span(path, low, shortest_ms);
            self.span(path, high, shortest_ms);
        }
    }

    /// A job of this size must fit on some node.
    fn gpus(&mut self, path: &str, text: &str, file: &File) {
        let most =
            (1..=file.nodes().min(MAX_WORKERS * MAX_NODES_PER_WORKER)).map(|at| default_node(at as usize).gpu_count).max().unwrap_or(0);
        match gpu_milli(text) {
            None => self.add(path, format!("invalid number of GPUs `{text}`: write a share below 1, or a whole number")),
            Some(milli) if milli > most as u32 * 1_000 => self.add(path, format!("{text} GPUs are on no node: the largest has {most}")),
            Some(_) => {}
        }
    }

    fn workload(&mut self, file: &File) {
        let WorkloadTable { jobs, within, duration, gpus, file: trace, scale, job } = &file.workload;
        let given = [("jobs", jobs.is_some()), ("file", trace.is_some()), ("job", !job.is_empty())];
        match given.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect::<Vec<_>>().as_slice() {
            [_] => {}
            [] => self.add("workload", "nothing given: write `jobs`, `file`, or one `[[workload.job]]` or more"),
            [.., last] => {
                self.add(
                    &format!("workload.{last}"),
                    "only one of `jobs`, `file`, and `[[workload.job]]` makes sense: take the others out",
                );
            }
        }
        if let Some(jobs) = jobs {
            self.within("workload.jobs", *jobs, 1, MAX_JOBS);
            for (name, is_given) in [("within", within.is_some()), ("duration", duration.is_some()), ("gpus", gpus.is_some())] {
                if !is_given {
                    self.add("workload.jobs", format!("drawn jobs need `{name}`; add it"));
                }
            }
        }
        if job.len() > MAX_JOBS as usize {
            self.add("workload.job", format!("more than {MAX_JOBS} jobs: take some out"));
        }
        if scale.is_some_and(|scale| !(scale.is_finite() && scale > 0.0)) {
            self.add("workload.scale", "out of range: write a number above 0, such as 0.001");
        }
        if let Some(within) = within {
            self.span("workload.within", *within, 1);
        }
        if let Some(duration) = duration {
            self.range("workload.duration", *duration, 1);
        }
        let weights = gpus.iter().flatten();
        let is_odd = |weight: &f64| !weight.is_finite() || *weight < 0.0;
        if gpus.as_ref().is_some_and(|gpus| gpus.values().any(is_odd) || gpus.values().sum::<f64>() <= 0.0) {
            self.add("workload.gpus", "weights are numbers from 0 on, and one of them above 0");
        }
        weights.for_each(|(size, _)| self.gpus(&format!("workload.gpus.{size}"), size, file));
        for (at, job) in job.iter().enumerate() {
            self.span(&format!("workload.job.{at}.at"), job.at, 0);
            self.span(&format!("workload.job.{at}.duration"), job.duration, 1);
            self.gpus(&format!("workload.job.{at}.gpus"), &job.gpus.to_string(), file);
        }
    }

    /// Whether the live cluster can run a trace's jobs in the time that there is.
    fn traced(&mut self, file: &File, jobs: &[JobTable]) -> bool {
        let before = self.problems.len();
        if jobs.is_empty() || jobs.len() > MAX_JOBS as usize {
            self.add("workload.file", format!("it has {} jobs: use 1 to {MAX_JOBS}", jobs.len()));
        }
        if let Some(late) = jobs.iter().find(|job| job.at.ms.max(job.duration.ms) > LONGEST_MS || job.duration.ms == 0) {
            let longest = Span { ms: LONGEST_MS };
            self.add(
                "workload.file",
                format!("a job comes at {} and runs {}: write a `scale` that makes it 1 ms to {longest}", late.at, late.duration),
            );
        }
        if let Some(most) = jobs.iter().map(|job| job.gpus).max_by(f64::total_cmp) {
            self.gpus("workload.file", &most.to_string(), file);
        }
        self.problems.len() == before
    }

    fn faults(&mut self, file: &File) {
        let workers = file.cluster.workers;
        if let Some(kills) = &file.faults.kills {
            if kills.count > workers {
                self.add(
                    "faults.kills.count",
                    format!("each worker is killed at most once, and there are {workers}: write 0 to {workers}"),
                );
            }
            self.range("faults.kills.within", kills.within, 1);
            self.range("faults.kills.down", kills.down, SHORTEST_DOWN_MS);
        }
        for (at, kill) in file.faults.kill.iter().enumerate() {
            self.within(&format!("faults.kill.{at}.worker"), kill.worker, 1, workers);
            self.span(&format!("faults.kill.{at}.at"), kill.at, 1);
            self.span(&format!("faults.kill.{at}.down"), kill.down, SHORTEST_DOWN_MS);
        }
    }
}
