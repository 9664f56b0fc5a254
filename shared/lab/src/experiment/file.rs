//! What may stand in an experiment's file. Fields are left out or given; what is left out is filled in by `resolved`, so that the output
//! of an experiment has every default written out.

use std::collections::BTreeMap;

use faultline_engine::fault::FaultPreset;
use faultline_planner::{Blocking, OrderName, Scores, TieRule};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_path_to_error::Segment;
use toml::de::DeTable;

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
    pub sensitivity: Option<SensitivityTable>,
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

/// `[sensitivity]`: one field of a policy at a time has other values, and all else stays.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensitivityTable {
    /// Left out: the first of the file.
    pub policy: Option<String>,
    /// A list of values for each field of the table of a policy, such as `jobs.checkpoint`.
    #[serde(default)]
    pub vary: toml::Table,
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

/// A field, and a value that it could have.
type StandIn = (&'static str, fn() -> toml::Value);

/// What takes the place of a field that must be there and is not, or is of another kind, so that the rest can be read.
const STAND_INS: [StandIn; 13] = [
    ("title", || "untitled".into()),
    ("cluster", || toml::Table::new().into()),
    ("workload", || toml::Table::new().into()),
    ("count", || 1_000_000.into()),
    ("gpus", || 1.into()),
    ("jobs", || 1.into()),
    ("load", || 1.0.into()),
    ("work", || "1 h".into()),
    ("automatic", || "1 h".into()),
    ("manual", || "1 h".into()),
    ("escalated", || 0.5.into()),
    ("faults", || 1.into()),
    ("within", || "1 d".into()),
];

/// What became of a text.
pub(super) struct Read<T> {
    /// `None` when too little of it makes sense.
    pub(super) file: Option<T>,
    pub(super) problems: Vec<Problem>,
    /// Paths that were taken out, or for which something stands in.
    pub(super) replaced: Vec<String>,
}

/// Reads an experiment's text.
pub(super) fn read(text: &str) -> Read<File> {
    let Read { file, problems, replaced } = read_any(text);
    Read { file: file.map(|file| in_order(file, &Lines::of(text))), problems, replaced }
}

/// Reads a text of which everything must fit, or says in the order of its lines what does not.
pub(crate) fn read_as<T: DeserializeOwned>(text: &str) -> Result<T, Vec<Problem>> {
    let Read { file, mut problems, .. } = read_any(text);
    problems.sort_by_key(|problem| problem.line);
    file.filter(|_| problems.is_empty()).ok_or(problems)
}

/// Reads the text, and says everything that does not fit: what is wrong is told and taken out, or something stands in for it, until the rest fits.
fn read_any<T: DeserializeOwned>(text: &str) -> Read<T> {
    let (_, errors) = DeTable::parse_recoverable(text);
    let mut values: toml::Table = match toml::from_str(text) {
        Ok(values) => values,
        Err(error) => {
            let errors = if errors.is_empty() { vec![error] } else { errors };
            let mut problems: Vec<Problem> = errors.iter().map(|error| no_toml(text, error)).collect();
            // What follows in a line is often wrong because of the first.
            problems.dedup_by_key(|problem| problem.line);
            return Read { file: None, problems, replaced: Vec::new() };
        }
    };
    let lines = Lines::of(text);
    let (mut problems, mut replaced) = (Vec::new(), Vec::new());
    loop {
        let error = match serde_path_to_error::deserialize(toml::Value::Table(values.clone())) {
            Ok(file) => return Read { file: Some(file), problems, replaced },
            Err(error) => error,
        };
        let path: Vec<String> = error.path().iter().filter_map(part).collect();
        let (at, message) = (path.join("."), error.inner().message().trim());
        let goes_on = match message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            None => {
                problems.push(lines.problem(&at, message));
                take_out(&mut values, &path, replaced.contains(&at))
            }
            Some(name) => {
                // What was taken out because of its kind is not missing as well.
                let full = [path.as_slice(), &[name.to_owned()]].concat().join(".");
                if !replaced.contains(&full) {
                    problems.push(lines.problem(&at, format!("{message}; add it")));
                }
                replaced.push(full);
                stand_in(&mut values, &path, name)
            }
        };
        replaced.push(at);
        if !goes_on {
            return Read { file: None, problems, replaced };
        }
    }
}

fn no_toml(text: &str, error: &toml::de::Error) -> Problem {
    let line = error.span().map(|span| line_at(text, span.start));
    Problem { line, field: String::new(), problem: format!("{}; correct that line", error.message().trim_end_matches('.')) }
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

/// The list or table at a path.
fn inside<'a>(values: &'a mut toml::Table, path: &[String]) -> Option<Inside<'a>> {
    let mut at = Inside::Table(values);
    for part in path {
        let value = match at {
            Inside::Table(table) => table.get_mut(part)?,
            Inside::List(list) => list.get_mut(part.parse::<usize>().ok()?)?,
        };
        at = match value {
            toml::Value::Table(table) => Inside::Table(table),
            toml::Value::Array(list) => Inside::List(list),
            _ => return None,
        };
    }
    Some(at)
}

enum Inside<'a> {
    Table(&'a mut toml::Table),
    List(&'a mut Vec<toml::Value>),
}

/// Whether it was there. In lists something stands in for it, so that the others keep their positions; when that does not fit either, the list goes.
fn take_out(values: &mut toml::Table, path: &[String], is_known: bool) -> bool {
    let Some((last, before)) = path.split_last() else { return false };
    match inside(values, before) {
        Some(Inside::Table(table)) => table.remove(last).is_some(),
        Some(Inside::List(list)) if !is_known => {
            let item = last.parse::<usize>().ok().and_then(|number| list.get_mut(number));
            item.map(|item| *item = toml::Value::from("")).is_some()
        }
        Some(Inside::List(_)) => take_out(values, before, is_known),
        None => false,
    }
}

/// Whether something could stand in for a field that is missing.
fn stand_in(values: &mut toml::Table, path: &[String], name: &str) -> bool {
    let known = STAND_INS.iter().find(|(field, _)| *field == name);
    match (known, inside(values, path)) {
        (Some((_, value)), Some(Inside::Table(table))) => table.insert(name.to_owned(), value()).is_none(),
        _ => false,
    }
}
