//! What a run came to: the rows that tables, statistics, and reports are made from.

use faultline_engine::goodput::{Series, Spent, Totals};
use faultline_planner::JobNumber;
use thiserror::Error;

/// Everything about one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// By number.
    pub jobs: Vec<JobRow>,
    /// By start; empty unless the setup asked for them.
    pub attempts: Vec<AttemptRow>,
    pub faults: Vec<FaultRow>,
    /// Where the GPU time went.
    pub totals: Totals,
    /// The same over time, if the setup asked for it.
    pub usage: Option<Series>,
    /// When the run ended; it began at 0.
    pub end_ms: u64,
    /// How many events were played.
    pub events: u64,
    /// Of all decisions and ends: equal for equal runs.
    pub hash: u64,
    /// What should have held and did not: empty, or the program is wrong and so are the figures.
    pub violations: Vec<Violation>,
}

/// One fault of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultRow {
    /// The node's number.
    pub node: u32,
    pub from_ms: u64,
    /// When the scheduler learned of it.
    pub seen_ms: Option<u64>,
    /// When the node worked again.
    pub until_ms: Option<u64>,
    pub origin: FaultOrigin,
    pub extent: FaultExtent,
    /// How many attempts it interrupted.
    pub interrupted: u32,
}

/// What a fault does to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultExtent {
    /// It is down.
    Node,
    /// One of its GPUs is broken.
    Gpu(u8),
    /// It is slow.
    Slow,
}

/// Where a fault came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultOrigin {
    /// The node itself.
    Node,
    /// The node itself, because of a defect.
    Defect,
    /// What it shares with other nodes.
    Outage,
    /// The same, and the node was cut off and not down.
    Network,
    Recorded,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// Its work is done and committed.
    Committed,
    /// It failed by itself, as the trace says.
    Failed,
    /// It was canceled or ran into its time limit, as the trace says.
    Killed,
    /// No node of the cluster could ever run it.
    Impossible,
    /// It waited or ran when the run ended.
    Open,
}

/// One job of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    pub job: JobNumber,
    pub submit_ms: u64,
    /// When its first attempt started.
    pub first_start_ms: Option<u64>,
    pub end_ms: Option<u64>,
    pub end: End,
    pub attempts: u32,
    /// Attempts that a fault interrupted, and those that were preempted.
    pub interrupted: u32,
    pub preempted: u32,
    /// How many times it got or lost tasks while it ran.
    pub resized: u32,
    /// Milliseconds of waiting over all attempts, of running, and of each part of running.
    pub wait_ms: u64,
    pub run_ms: u64,
    pub productive_ms: u64,
    pub lost_ms: u64,
    pub checkpoint_ms: u64,
    pub restore_ms: u64,
    pub stalled_ms: u64,
    pub straggling_ms: u64,
}

impl JobRow {
    /// Of a job that has only been submitted.
    pub(crate) fn new(job: JobNumber, submit_ms: u64) -> Self {
        Self {
            job,
            submit_ms,
            first_start_ms: None,
            end_ms: None,
            end: End::Open,
            attempts: 0,
            interrupted: 0,
            preempted: 0,
            resized: 0,
            wait_ms: 0,
            run_ms: 0,
            productive_ms: 0,
            lost_ms: 0,
            checkpoint_ms: 0,
            restore_ms: 0,
            stalled_ms: 0,
            straggling_ms: 0,
        }
    }

    /// Where its running time has gone so far.
    pub(crate) fn set_spent(&mut self, spent: &Spent) {
        self.productive_ms = spent.productive_ms;
        self.lost_ms = spent.lost_ms;
        self.checkpoint_ms = spent.checkpoint_ms;
        self.restore_ms = spent.restore_ms;
        self.stalled_ms = spent.stalled_ms;
        self.straggling_ms = spent.straggling_ms;
    }
}

/// Why an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptEnd {
    Done,
    Failed,
    Killed,
    /// A node or GPU of it failed.
    Fault,
    Preempted,
    /// It went on with other tasks: the next row is the same attempt.
    Resized,
    /// It ran when the run ended.
    Open,
}

/// One attempt of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptRow {
    pub job: JobNumber,
    /// 1 for the first.
    pub attempt: u32,
    pub start_ms: u64,
    pub end_ms: Option<u64>,
    pub end: AttemptEnd,
    pub tasks: u32,
    /// Numbers of its nodes, each once, ascending.
    pub nodes: Vec<u32>,
    /// The node whose fault ended it.
    pub culprit: Option<u32>,
}

/// One thing that did not hold. Please report it: it is an error of the program, whatever the setup was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Violation {
    #[error("at {at_ms} ms node {node} holds more {what} than it has: {held} of {has}")]
    OverCapacity { at_ms: u64, node: u32, what: &'static str, held: u64, has: u64 },
    #[error("at {at_ms} ms job {job} started with {tasks} tasks")]
    GangSize { at_ms: u64, job: u32, tasks: u32 },
    #[error("at {at_ms} ms job {job} started, which does not wait")]
    NotWaiting { at_ms: u64, job: u32 },
    #[error("at {at_ms} ms job {job} ended for the second time")]
    EndedTwice { at_ms: u64, job: u32 },
    #[error("job {job} was committed with {productive_ms} ms of productive work and has {work_ms} ms")]
    CommittedWork { job: u32, productive_ms: u64, work_ms: u64 },
    #[error("job {job} made {made_ms} ms of progress, of which {judged_ms} ms are accounted for")]
    WorkNotConserved { job: u32, made_ms: u64, judged_ms: u64 },
    #[error("at {at_ms} ms job {job} got a GPU of node {node} that is known to be broken")]
    BrokenGpu { at_ms: u64, job: u32, node: u32 },
    #[error("jobs made {made} GPU milli ms of progress, of which {kept} were kept; {judged} and {productive} are accounted for")]
    ProgressNotConserved { made: u128, judged: u128, kept: u128, productive: u128 },
    #[error("{milli} GPU milli of node {node} are booked at the end, and other shares run there")]
    Leaked { node: u32, milli: u64 },
    #[error("the classes of GPU time sum to {sum}, and there was {capacity}")]
    NotAPartition { sum: u128, capacity: u128 },
}
