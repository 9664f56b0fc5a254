//! What is submitted to the lab's cluster: jobs as they come from a trace or a generator.

use faultline_planner::{TaskClass, Topology};

/// Jobs in the order of their submission, with what many of them share kept once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Workload {
    /// A job's number is its position here. Ascending by `submit_ms`; of jobs with the same instant, the one that the trace has first comes first.
    pub jobs: Vec<Job>,
    /// What tasks ask for; [`Job::class`] is a position here.
    pub classes: Vec<TaskClass>,
    /// Names of queues; [`Job::queue`] is a position here.
    pub queues: Vec<String>,
    /// Names of users; [`Job::user`] is a position here.
    pub users: Vec<String>,
    /// What jobs are called in the trace, by number; empty when it gives no names.
    pub names: Vec<String>,
}

impl Workload {
    /// Other jobs of the same classes, queues, and users, without names.
    pub(crate) fn with_jobs(&self, jobs: Vec<Job>) -> Self {
        let Self { classes, queues, users, .. } = self;
        Self { jobs, classes: classes.clone(), queues: queues.clone(), users: users.clone(), names: Vec::new() }
    }
}

/// One job. Durations are in milliseconds, instants in milliseconds since the beginning of the workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub submit_ms: u64,
    /// How many tasks run together: all are placed or none. 1 for a job that is no gang.
    pub tasks: u32,
    /// The fewest tasks that it runs with; equal to `tasks` unless the job is elastic.
    pub min_tasks: u32,
    /// Position in [`Workload::classes`].
    pub class: u32,
    /// Useful work: how long it runs with all its tasks on GPUs of speed 1, without start, checkpoints, and interruptions.
    pub work_ms: u64,
    /// What the submitter believes or allows, for orders and reservations.
    pub estimate_ms: Option<u64>,
    /// From the placement until useful work begins for the first time: images, initialization.
    pub start_ms: u64,
    pub checkpoint: Option<Checkpoint>,
    /// What a preempted job is given to write a checkpoint before it must be gone.
    pub grace_ms: u64,
    pub queue: u32,
    pub user: u32,
    /// Higher goes first.
    pub priority: u8,
    pub preemptible: bool,
    pub topology: Option<Topology>,
    /// How it ends when nothing interrupts it.
    pub fate: Fate,
}

impl Job {
    /// A job of one task that can be preempted and passes, and of which nothing else is known.
    pub fn new(submit_ms: u64, class: u32, work_ms: u64) -> Self {
        Self {
            submit_ms,
            tasks: 1,
            min_tasks: 1,
            class,
            work_ms,
            estimate_ms: None,
            start_ms: 0,
            checkpoint: None,
            grace_ms: 0,
            queue: 0,
            user: 0,
            priority: 0,
            preemptible: true,
            topology: None,
            fate: Fate::Passed,
        }
    }
}

/// Periodic checkpoints of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Useful work between the end of one checkpoint and the beginning of the next.
    pub interval: Interval,
    /// How long the job stands still while one is written.
    pub write_ms: u64,
    /// From the placement of a later attempt until useful work goes on.
    pub restore_ms: u64,
    /// Whether one is written when the job is preempted and its grace suffices.
    pub on_preemption: bool,
}

/// When checkpoints are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    Every(u64),
    /// `sqrt(2 * write time * mean time between failures of all the job's nodes)`: Young, "A First Order Approximation to the Optimum
    /// Checkpoint Interval", CACM 17(9), 1974.
    Optimal,
}

/// How a trace says that a job ended, and what the lab lets become of it after its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fate {
    #[default]
    Passed,
    /// It fails by itself at the end of its work.
    Failed,
    /// Somebody ended it: canceled, or over its time limit.
    Killed,
    /// The trace does not say.
    Unknown,
}
