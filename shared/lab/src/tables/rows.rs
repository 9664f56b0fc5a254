//! One struct for each table's row. Field names are the columns.

use serde::{Deserialize, Serialize};

/// The CSV files, by name. `usage.csv` has a column for each goodput class and is written by [`super::usage_to_csv`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    Jobs,
    Attempts,
    Faults,
    Usage,
    Summary,
    Compare,
}

impl Table {
    pub const ALL: [Table; 6] = [Self::Jobs, Self::Attempts, Self::Faults, Self::Usage, Self::Summary, Self::Compare];

    pub fn file_name(self) -> &'static str {
        match self {
            Table::Jobs => "jobs.csv",
            Table::Attempts => "attempts.csv",
            Table::Faults => "faults.csv",
            Table::Usage => "usage.csv",
            Table::Summary => "summary.csv",
            Table::Compare => "compare.csv",
        }
    }
}

/// `jobs.csv`: what became of each job of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobLine {
    pub policy: String,
    pub seed: u64,
    /// Its name in the trace, or its number.
    pub job: String,
    pub user: String,
    pub queue: String,
    pub tasks: u32,
    /// Of all tasks.
    pub gpu_milli: u64,
    /// Whether it counts in the summary: submitted after the warm-up.
    pub counts: bool,
    pub submit_ms: u64,
    pub first_start_ms: Option<u64>,
    pub end_ms: Option<u64>,
    pub end: String,
    pub attempts: u32,
    pub interrupted: u32,
    pub preempted: u32,
    pub wait_ms: u64,
    pub run_ms: u64,
    pub productive_ms: u64,
    pub lost_ms: u64,
    pub checkpoint_ms: u64,
    pub restore_ms: u64,
    pub stalled_ms: u64,
}

/// `attempts.csv`: each try of each job of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptLine {
    pub policy: String,
    pub seed: u64,
    pub job: String,
    pub attempt: u32,
    pub start_ms: u64,
    pub end_ms: Option<u64>,
    pub end: String,
    pub tasks: u32,
    /// Numbers of its nodes, separated by spaces.
    pub nodes: String,
    /// The node whose fault ended it.
    pub culprit: Option<u32>,
}

/// `faults.csv`: each fault of a node of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultLine {
    pub policy: String,
    pub seed: u64,
    /// The node's number.
    pub node: u32,
    pub from_ms: u64,
    /// When the scheduler learned of it.
    pub seen_ms: Option<u64>,
    /// When the node worked again.
    pub until_ms: Option<u64>,
    pub origin: String,
    /// `node` when the node was down, `gpu 3` when one of its GPUs was broken, `slow` when it was slow.
    pub extent: String,
    /// Attempts that it ended.
    pub interrupted: u32,
}

/// `usage.csv`: a stretch of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageLine {
    pub policy: String,
    pub seed: u64,
    pub from_ms: u64,
    pub to_ms: u64,
    /// Mean number of jobs that waited.
    pub waiting: f64,
    /// Mean number of jobs that ran.
    pub running: f64,
    /// GPU-milliseconds of each class, in the order of the file's columns.
    pub gpu_ms: Vec<f64>,
}

/// What a line of the summary is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    All,
    Size,
    User,
    Queue,
    /// A class of the goodput accounting.
    Class,
}

/// `summary.csv`: one figure of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SummaryLine {
    pub policy: String,
    pub tie: String,
    pub seed: u64,
    pub group: Group,
    /// Which size class, user, queue, or goodput class; empty for all.
    pub of: String,
    pub metric: String,
    /// Empty when it cannot be told, such as the 99th percentile of times when 2 % of the jobs are open.
    pub value: Option<f64>,
}

/// `compare.csv`: one metric of two policies over the same seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompareLine {
    pub metric: String,
    pub a: String,
    pub b: String,
    pub seeds: usize,
    pub mean_a: f64,
    pub mean_b: f64,
    /// `a` minus `b`.
    pub difference: f64,
    pub paired_low: f64,
    pub paired_high: f64,
    pub paired_p: f64,
    /// The paired p value, corrected for all pairs of policies of this metric.
    pub holm_p: f64,
    pub unpaired_low: f64,
    pub unpaired_high: f64,
    pub unpaired_p: f64,
}
