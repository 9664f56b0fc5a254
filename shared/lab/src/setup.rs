//! Everything that a run is made from.

use std::sync::Arc;

use faultline_planner::{DispatchSettings, InvalidMachine, InvalidSettings};
use thiserror::Error;

use crate::cluster::Cluster;
use crate::external::{Command, InvalidProgram};
use crate::faults::Faults;
use crate::workload::Workload;

/// One run: the same setup gives the same outcome.
#[derive(Debug, Clone)]
pub struct Setup {
    pub cluster: Arc<Cluster>,
    pub workload: Arc<Workload>,
    pub faults: Faults,
    pub dispatch: DispatchSettings,
    /// Chooses the nodes instead of the placement policy.
    pub program: Option<Command>,
    /// For everything that is drawn, except by a placement policy, which has a seed of its own.
    pub seed: u64,
    /// When the run ends, whatever still runs; without it, when no job is left.
    pub horizon_ms: Option<u64>,
    /// How long a row of the usage over time is; `None` for no rows.
    pub usage_row_ms: Option<u64>,
    /// Whether the outcome lists all attempts.
    pub keep_attempts: bool,
    pub passes: Passes,
    pub handover: Handover,
    /// What is left of a restart that is cut short comes on top of the next one: what some published simulators do.
    pub restarts_add_up: bool,
}

/// How long word of an attempt is on its way, as on a live cluster. Nothing unless it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Handover {
    /// From the placement until the attempt begins.
    pub start_ms: u64,
    /// From the end of its work until the job has ended and its GPUs are free.
    pub end_ms: u64,
}

/// When the dispatcher is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Passes {
    /// Once everything that happens at an instant has happened.
    #[default]
    EachInstant,
    /// After every arrival and every end, arrivals first: what some published simulators do.
    EachEvent,
}

impl Setup {
    /// Without faults, until no job is left.
    pub fn new(cluster: Cluster, workload: Workload, dispatch: DispatchSettings) -> Self {
        Self {
            cluster: Arc::new(cluster),
            workload: Arc::new(workload),
            faults: Faults::off(),
            dispatch,
            program: None,
            seed: 0,
            horizon_ms: None,
            usage_row_ms: None,
            keep_attempts: true,
            passes: Passes::EachInstant,
            handover: Handover::default(),
            restarts_add_up: false,
        }
    }
}

/// Why a run cannot be made.
#[derive(Debug, Error)]
pub enum InvalidSetup {
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
    #[error(transparent)]
    Machine(#[from] InvalidMachine),
    #[error(transparent)]
    Program(#[from] InvalidProgram),
    #[error("job {job} asks for {what} {number}, and the workload has {count}: correct the workload")]
    UnknownPart { job: usize, what: &'static str, number: u32, count: usize },
    #[error("job {job} asks for {tasks} tasks and for at least {min_tasks}: give 1 or more, and no more at least than in all")]
    Tasks { job: usize, tasks: u32, min_tasks: u32 },
    #[error("job {job} is submitted at {submit_ms} ms, before the job ahead of it: sort the workload by submission")]
    Unsorted { job: usize, submit_ms: u64 },
    #[error("a recorded fault is on node {node}, and the cluster has {nodes}: give a larger cluster, or leave the fault out")]
    UnknownNode { node: usize, nodes: usize },
}

/// Refuses what a run would trip over.
pub(crate) fn check(setup: &Setup) -> Result<(), InvalidSetup> {
    let workload = &setup.workload;
    let mut before_ms = 0;
    for (number, job) in workload.jobs.iter().enumerate() {
        if job.class as usize >= workload.classes.len() {
            return Err(InvalidSetup::UnknownPart { job: number, what: "class", number: job.class, count: workload.classes.len() });
        }
        if job.min_tasks == 0 || job.min_tasks > job.tasks {
            return Err(InvalidSetup::Tasks { job: number, tasks: job.tasks, min_tasks: job.min_tasks });
        }
        if job.submit_ms < before_ms {
            return Err(InvalidSetup::Unsorted { job: number, submit_ms: job.submit_ms });
        }
        before_ms = job.submit_ms;
    }
    let nodes = setup.cluster.machines.len();
    match setup.faults.recorded.iter().find(|fault| fault.node >= nodes) {
        Some(fault) => Err(InvalidSetup::UnknownNode { node: fault.node, nodes }),
        None => Ok(()),
    }
}
