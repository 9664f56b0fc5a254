//! The virtual side: the scenario in the lab, with the planner's settings of a live scheduler.

use std::collections::BTreeMap;

use faultline_engine::device::default_node;
use faultline_engine::goodput::Class;
use faultline_engine::job::Demand;
use faultline_engine::scheduler::{planner_settings, task_class_of};
use faultline_planner::{DispatchSettings, Gpu, Machine, TaskClass};

use super::file::File;
use super::plan::{Instants, Plan, PlannedJob};
use crate::cluster::Cluster;
use crate::faults::{Detector, Faults, RecordedFault};
use crate::outcome::{AttemptEnd, AttemptRow, End, FaultRow, Outcome};
use crate::setup::{Handover, InvalidSetup, Setup};
use crate::workload::{Job, Workload};

/// What the jobs are: they hold their GPUs and do nothing.
const KIND: &str = "sleep";
/// What a worker offers unless its settings say otherwise.
const SLOTS: u32 = 256;

/// What came of a run, live or virtual. Instants are milliseconds from its beginning.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
    pub jobs: Vec<SeenJob>,
    /// In the order of the decisions.
    pub placements: Vec<Placement>,
    /// For each fault of a worker, the time to the first verdict on a node of it.
    pub detection_ms: Vec<u64>,
    /// For each interrupted attempt, the time from the fault to the next placement.
    pub recovery_ms: Vec<u64>,
    /// What the books still hold at the end, in words.
    pub unreleased: Vec<String>,
    /// Share of the capacity by class of GPU time; `None` where it was not accounted for.
    pub classes: Option<BTreeMap<&'static str, f64>>,
}

/// A job was placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub at_ms: u64,
    /// Its number, from 0.
    pub job: usize,
    /// The node's name.
    pub node: String,
}

impl Placement {
    /// Whether it is the same decision, whenever it was taken.
    pub fn is_same(&self, other: &Placement) -> bool {
        (self.job, &self.node) == (other.job, &other.node)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SeenJob {
    pub submit_ms: u64,
    pub end_ms: Option<u64>,
    pub committed: bool,
    pub attempts: u32,
    pub interrupted: u32,
}

/// The nodes that workers simulate, as the planner knows them.
pub fn machines(file: &File) -> Vec<Machine> {
    let machine = |number: usize| {
        let node = default_node(number);
        let gpu = Gpu { model: node.model.name.to_owned(), memory_mib: node.model.memory_mib };
        Machine {
            name: format!("gpu-node-{number:02}"),
            cpu_milli: None,
            memory_mib: None,
            slots: Some(SLOTS),
            gpus: vec![gpu; node.gpu_count],
            kinds: vec![KIND.to_owned()],
            rack: node.rack,
            block: String::new(),
        }
    };
    (1..=file.nodes() as usize).map(machine).collect()
}

/// Plays the plan, with what happened when.
pub fn play(file: &File, plan: &Plan, instants: &Instants, handover: Handover) -> Result<Seen, InvalidSetup> {
    let outcome = outcome_of(file, plan, instants, handover)?;
    Ok(seen(file, &outcome))
}

pub(super) fn outcome_of(file: &File, plan: &Plan, instants: &Instants, handover: Handover) -> Result<Outcome, InvalidSetup> {
    let recorded = instants.downs.iter().map(|down| RecordedFault { node: down.node, from_ms: down.from_ms, until_ms: down.until_ms });
    let dispatch = DispatchSettings { placement: planner_settings(file.cluster.policy, plan.seed), ..DispatchSettings::default() };
    let mut setup = Setup::new(Cluster { machines: machines(file), spares: 0 }, workload(plan, instants), dispatch);
    setup.faults = Faults { detector: Detector::After(file.detection_ms()), recorded: recorded.collect(), ..Faults::off() };
    (setup.seed, setup.horizon_ms, setup.handover) = (plan.seed, instants.window_ms, handover);
    crate::run(&setup)
}

fn workload(plan: &Plan, instants: &Instants) -> Workload {
    let mut classes: Vec<TaskClass> = Vec::new();
    let jobs = plan.jobs.iter().zip(&instants.submits_ms).map(|(planned, submit_ms)| {
        let class = task_class(planned);
        let number = classes.iter().position(|known| *known == class).unwrap_or_else(|| {
            classes.push(class);
            classes.len() - 1
        });
        Job { preemptible: false, ..Job::new(*submit_ms, number as u32, planned.duration_ms) }
    });
    let jobs = jobs.collect();
    Workload { jobs, classes, queues: vec![String::new()], users: vec![String::new()], names: Vec::new() }
}

fn task_class(job: &PlannedJob) -> TaskClass {
    let demand = Demand { gpu_milli: job.gpu_milli, gpu_memory_mib: 0, models: job.models.clone() };
    task_class_of(&demand, KIND)
}

fn seen(file: &File, outcome: &Outcome) -> Seen {
    let machines = machines(file);
    let jobs = outcome.jobs.iter().map(|row| SeenJob {
        submit_ms: row.submit_ms,
        end_ms: row.end_ms,
        committed: row.end == End::Committed,
        attempts: row.attempts,
        interrupted: row.interrupted,
    });
    let name = |node: &u32| machines[*node as usize].name.clone();
    let placements = outcome
        .attempts
        .iter()
        .filter_map(|row| Some(Placement { at_ms: row.start_ms, job: row.job as usize, node: row.nodes.first().map(name)? }));
    let open = outcome.jobs.iter().filter(|row| row.end_ms.is_none()).map(|row| format!("job {} has not ended", row.job));
    let capacity = outcome.totals.capacity() as f64;
    let share = |class: Class| (class.as_str(), outcome.totals.of(class) as f64 / capacity);
    Seen {
        jobs: jobs.collect(),
        placements: placements.collect(),
        detection_ms: detections(file, &outcome.faults),
        recovery_ms: recoveries(outcome),
        unreleased: open.chain(outcome.violations.iter().map(ToString::to_string)).collect(),
        classes: (capacity > 0.0).then(|| Class::ALL.into_iter().map(share).collect()),
    }
}

/// Of nodes that one worker took down with it, the first that was noticed counts.
fn detections(file: &File, faults: &[FaultRow]) -> Vec<u64> {
    let mut first: BTreeMap<(u64, u32), u64> = BTreeMap::new();
    for fault in faults {
        let Some(seen_ms) = fault.seen_ms else { continue };
        let noticed_ms = first.entry((fault.from_ms, fault.node / file.cluster.nodes_per_worker)).or_insert(u64::MAX);
        *noticed_ms = (*noticed_ms).min(seen_ms - fault.from_ms);
    }
    first.into_values().collect()
}

fn recoveries(outcome: &Outcome) -> Vec<u64> {
    let recovery = |lost: &AttemptRow| {
        let (culprit, ended_ms) = (lost.culprit?, lost.end_ms?);
        let fault = outcome.faults.iter().rfind(|fault| fault.node == culprit && fault.from_ms <= ended_ms)?;
        let next = outcome.attempts.iter().find(|next| next.job == lost.job && next.attempt == lost.attempt + 1)?;
        // What was placed on a node that was broken already waits from its own placement on.
        Some(next.start_ms - fault.from_ms.max(lost.start_ms))
    };
    outcome.attempts.iter().filter(|row| row.end == AttemptEnd::Fault).filter_map(recovery).collect()
}
