//! What may stand in an experiment's file. Fields are left out or given; what is left out is filled in by `resolved`, so that the output
//! of an experiment has every default written out.

use std::collections::BTreeMap;

use faultline_engine::fault::FaultPreset;
use faultline_planner::{Blocking, OrderName, Scores, TieRule};
use serde::{Deserialize, Serialize};
use serde_path_to_error::Segment;

use super::problem::{Lines, Problem, line_at};
use super::queues::{Preempt, QueueTable};
use super::values::{CheckpointEvery, DetectorName, Placement, Seeds, Span, Word};
use crate::read::{Format, Processors};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub title: String,
    /// What is asked, in a sentence.
    #[serde(default)]
    pub question: String,
    pub cluster: ClusterTable,
    pub workload: WorkloadTable,
    #[serde(default)]
    pub jobs: JobsTable,
    #[serde(default)]
    pub faults: FaultsTable,
    #[serde(default)]
    pub run: RunTable,
    #[serde(default)]
    pub expect: ExpectTable,
    /// By name. Jobs of a queue that has no table are of one with weight 1, and without quota and limit.
    #[serde(default)]
    pub queue: BTreeMap<String, QueueTable>,
    /// By name.
    #[serde(default)]
    pub policy: BTreeMap<String, PolicyTable>,
    /// The names in the order of the file.
    #[serde(skip)]
    pub order: Vec<String>,
}

/// `[cluster]`: one of `file`, `processors`, and `nodes`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterTable {
    /// CSV file of nodes, in openb's columns or Faultline's own.
    pub file: Option<String>,
    /// A pool of single processors, each counted as a GPU.
    pub processors: Option<u32>,
    pub rack_nodes: Option<u32>,
    pub block_racks: Option<u32>,
    /// How many of the last nodes are kept empty until another is down.
    pub spares: Option<u32>,
    /// Groups of equal nodes.
    pub nodes: Option<Vec<NodesTable>>,
}

/// `[[cluster.nodes]]`: so many equal nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodesTable {
    pub count: u32,
    pub gpus: u8,
    #[serde(default = "any_model")]
    pub model: String,
    pub gpu_memory_mib: Option<u32>,
    /// Left out: the processors limit nothing.
    pub cpu_milli: Option<u32>,
    pub memory_mib: Option<u32>,
}

fn any_model() -> String {
    "GPU".to_owned()
}

/// `[workload]`: one of `file`, `generator`, and `job`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadTable {
    pub file: Option<String>,
    /// Left out: as the file's first line shows.
    pub format: Option<Word<Format>>,
    /// GPUs of a node, for traces that say only how many a job has.
    pub node_gpus: Option<u16>,
    /// For the Standard Workload Format: what its processors are.
    pub processors: Option<Choice<Processors>>,
    /// The window of submissions that is used, since the first.
    pub from: Option<Span>,
    pub until: Option<Span>,
    pub resample: Option<Choice<Resample>>,
    pub scale: Option<Scale>,
    pub generator: Option<Generator>,
    pub job: Option<JobTable>,
}

/// `scale = { time = 0.5, jobs = 2.0, gpus = 1.0 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Times between submissions are multiplied by it.
    #[serde(default = "one")]
    pub time: f64,
    /// Each job comes so many times, drawn for the part below one.
    #[serde(default = "one")]
    pub jobs: f64,
    /// Tasks of a job are multiplied by it, rounded, at least one.
    #[serde(default = "one")]
    pub gpus: f64,
}

fn one() -> f64 {
    1.0
}

/// Whether each seed has a workload of its own, drawn from the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resample {
    /// Every seed has the trace as it is.
    #[default]
    Off,
    /// Each day is one of the trace's days, drawn with replacement.
    Days,
}

/// `[workload.generator]`: jobs that are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    pub jobs: u32,
    /// What all jobs' work asks for, as a share of the cluster's GPU time between the first and the last submission.
    pub load: f64,
    /// How often a job has so many GPUs, by number; what is above a node's GPUs becomes a gang.
    #[serde(default = "gavel_sizes")]
    pub gpus: BTreeMap<String, f64>,
    #[serde(default = "ten")]
    pub users: u32,
    #[serde(default = "single")]
    pub queues: u32,
}

fn gavel_sizes() -> BTreeMap<String, f64> {
    [("1", 0.7), ("2", 0.1), ("4", 0.15), ("8", 0.05)].map(|(gpus, share)| (gpus.to_owned(), share)).into()
}

fn ten() -> u32 {
    10
}

fn single() -> u32 {
    1
}

/// `[workload.job]`: one job that is there from the beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobTable {
    pub gpus: u32,
    pub work: Span,
}

/// `[jobs]`: what a trace does not say of its jobs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobsTable {
    pub checkpoint: Option<CheckpointEvery>,
    pub write: Option<Span>,
    pub restore: Option<Span>,
    /// From the placement until work begins for the first time.
    pub start: Option<Span>,
    pub on_preemption: Option<bool>,
    pub grace: Option<Span>,
    pub preemptible: Option<bool>,
    pub estimate: Option<Choice<Estimate>>,
    /// Gangs run with this share of their tasks at least, rounded up; left out, with all of them.
    pub elastic: Option<f64>,
    /// Estimates are multiplied by a lognormal factor with this standard deviation of its logarithm.
    pub estimate_error: Option<f64>,
}

/// Where estimates of run times come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Estimate {
    /// The trace's own; the true run time where it has none.
    #[default]
    Trace,
    /// The true run time.
    Exact,
    Off,
}

/// `[faults]`: at most one of `preset` and `per_node_day`; `trace` comes on top.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultsTable {
    pub preset: Option<Word<FaultPreset>>,
    /// Faults of each node a day, as likely at any age.
    pub per_node_day: Option<f64>,
    /// Times as many faults as the preset has.
    pub time_scale: Option<f64>,
    /// CSV file with `start_day`, `end_day`, and `node`.
    pub trace: Option<String>,
    pub detector: Option<DetectorName>,
    /// How long a repair takes, instead of what the preset draws.
    pub repair: Option<Span>,
    pub pipeline: Option<RepairTable>,
    pub retirement: Option<RetirementTable>,
    /// The share of a node's own faults that break one GPU only.
    pub one_gpu: Option<f64>,
    /// The share of a node's own faults that only slow it down, and how fast it is then.
    pub slow: Option<f64>,
    pub slow_speed: Option<f64>,
    /// How likely another node of a gang is blamed, 0 to 1.
    pub misdiagnosis: Option<f64>,
}

/// `[faults.pipeline]`: automatic repair, then by people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepairTable {
    pub automatic: Span,
    pub escalated: f64,
    pub manual: Span,
    #[serde(default)]
    pub automatic_in_vain: f64,
    #[serde(default)]
    pub manual_in_vain: f64,
}

/// `[faults.retirement]`: a node that fails so often is taken out for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetirementTable {
    pub faults: u32,
    pub within: Span,
}

/// `[policy.NAME]`. Its own `cluster`, `jobs`, and `faults` are taken instead of the file's, field by field.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTable {
    pub placement: Option<Placement>,
    pub tie: Option<Word<TieRule>>,
    pub scores: Option<Choice<Scores>>,
    pub order: Option<Word<OrderName>>,
    pub blocking: Option<Word<Blocking>>,
    /// A job that has waited longer gets a reservation.
    pub reserve_after: Option<Span>,
    /// Whether jobs are stopped for others, and how long one runs at least before.
    pub preempt: Option<Choice<Preempt>>,
    pub min_run: Option<Span>,
    /// Elastic jobs get and lose tasks while they run, each at most once in so long; left out, they keep those that they started with.
    pub resize_min: Option<Span>,
    /// What queues used counts half as much after so long; left out, only what they hold counts.
    pub usage_half_life: Option<Span>,
    pub spares: Option<u32>,
    /// The cluster has so many of its last nodes not at all.
    pub fewer_nodes: Option<u32>,
    pub jobs: Option<JobsTable>,
    pub faults: Option<FaultsTable>,
}

/// `[run]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunTable {
    pub seeds: Option<Seeds>,
    /// Jobs submitted before it count in no figure of jobs, and the GPU time before it in no share.
    pub warm_up: Option<Span>,
    /// When the run ends, whatever still runs; left out, when no job is left.
    pub horizon: Option<Span>,
    /// The metric by which policies are judged.
    pub judge: Option<String>,
    /// Whose rows `jobs.csv` and `attempts.csv` have.
    pub rows: Option<Choice<Rows>>,
}

/// Of which seeds the rows of jobs and attempts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rows {
    #[default]
    FirstSeed,
    All,
}

/// `[expect]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectTable {
    #[serde(default)]
    pub that: Vec<String>,
}

/// One of a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice<T> {
    pub value: T,
}

/// Gives the words of a choice.
macro_rules! words {
    ($($type:ty { $($word:literal => $value:expr),* })*) => {$(
        impl<'de> Deserialize<'de> for Choice<$type> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match String::deserialize(deserializer)?.as_str() {
                    $($word => Ok(Choice { value: $value }),)*
                    other => Err(serde::de::Error::unknown_variant(other, &[$($word),*])),
                }
            }
        }
        impl Serialize for Choice<$type> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $(if self.value == $value { return serializer.serialize_str($word); })*
                Err(serde::ser::Error::custom("a value without a word"))
            }
        }
    )*};
}

words! {
    Processors { "gpus" => Processors::Gpus, "cpus" => Processors::Cpus }
    Preempt { "off" => Preempt::Off, "by-priority" => Preempt::ByPriority, "reclaim" => Preempt::Reclaim, "both" => Preempt::Both }
    Resample { "off" => Resample::Off, "days" => Resample::Days }
    Estimate { "trace" => Estimate::Trace, "exact" => Estimate::Exact, "off" => Estimate::Off }
    Scores { "exact" => Scores::Exact, "cut" => Scores::Cut }
    Rows { "first-seed" => Rows::FirstSeed, "all" => Rows::All }
}

/// Reads the text, or says everything that does not fit: what is wrong is told and taken out until the rest fits.
pub(super) fn read(text: &str) -> Result<File, Vec<Problem>> {
    let mut values: toml::Table = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| line_at(text, span.start));
        let problem = format!("{}; correct that line", error.message().trim_end_matches('.'));
        vec![Problem { line, field: String::new(), problem }]
    })?;
    let lines = Lines::of(text);
    let mut problems = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize(toml::Value::Table(values.clone())) {
            Ok(file) if problems.is_empty() => return Ok(in_order(file, &lines)),
            Ok(_) => break,
            Err(error) => error,
        };
        let path: Vec<String> = error.path().iter().filter_map(part).collect();
        let message = error.inner().message().trim();
        let remedy = if message.starts_with("missing field") { "; add it" } else { "" };
        problems.push(lines.problem(&path.join("."), format!("{message}{remedy}")));
        if !take_out(&mut values, &path) {
            break;
        }
    }
    problems.sort_by_key(|problem| problem.line);
    Err(problems)
}

fn in_order(mut file: File, lines: &Lines) -> File {
    file.order = file.policy.keys().cloned().collect();
    file.order.sort_by_key(|name| lines.offset_of("policy", name));
    file
}

fn part(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Map { key } => Some(key.clone()),
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

fn take_out(table: &mut toml::Table, path: &[String]) -> bool {
    match path {
        [] => false,
        [key] => table.remove(key).is_some(),
        [key, rest @ ..] => match table.get_mut(key) {
            Some(toml::Value::Table(inner)) => take_out(inner, rest),
            Some(_) => table.remove(key).is_some(),
            None => false,
        },
    }
}
