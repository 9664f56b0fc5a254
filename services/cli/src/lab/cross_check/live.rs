//! What a live run is told to do, and what its history says, in the terms of the comparison.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use faultline_cluster::timed::{History, Timetable};
use faultline_engine::goodput::Class;
use faultline_engine::job::{AttemptId, AttemptOutcome, Demand, JobId, JobSpec, JobState, MAX_TIMEOUT_MS, Origin, Param, Params, Priority};
use faultline_lab::Handover;
use faultline_lab::cross_check::{Down, File, Instants, Placement, Plan, Seen, SeenJob, machines};
use faultline_protocol::messages::{ClusterEvent, EventKind, FaultTruth};

use crate::exit::Failure;

/// After the last job could have ended twice over, the run has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// A verdict belongs to a fault up to so long after its end.
const VERDICT_GRACE_MS: u64 = 3_000;

/// One live run.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) seen: Seen,
    pub(super) instants: Instants,
    /// Mean delays of its attempts.
    pub(super) handover: Handover,
    pub(super) took_ms: u64,
}

/// What the plan says, as it is submitted.
pub(super) fn timetable(plan: &Plan) -> Timetable {
    let jobs = plan.jobs.iter().enumerate().map(|(number, job)| {
        let length = Param::Int(i64::try_from(job.duration_ms).unwrap_or(i64::MAX));
        let spec = JobSpec {
            id: JobId::new(0, 0),
            name: format!("cross-check-{:04}", number + 1),
            kind: "sleep".to_owned(),
            params: Params::from([("duration_ms".to_owned(), length)]),
            priority: Priority::Normal,
            demand: Demand { gpu_milli: job.gpu_milli, gpu_memory_mib: 0, models: job.models.clone() },
            expected_ms: job.duration_ms,
            timeout_ms: MAX_TIMEOUT_MS,
            max_retries: 0,
            submitted_at_ms: 0,
            origin: Origin::by("cross-check"),
        };
        (job.at_ms, spec)
    });
    let kills = plan.kills.iter().map(|kill| (kill.at_ms, worker(kill.worker), kill.down_ms));
    let last_ms = plan.jobs.iter().map(|job| job.at_ms + job.duration_ms).max().unwrap_or(0);
    Timetable { jobs: jobs.collect(), kills: kills.collect(), limit: Duration::from_millis(2 * last_ms) + PATIENCE }
}

/// As `up` calls the worker with this number.
fn worker(number: u32) -> String {
    format!("worker-{number:02}")
}

/// The history in the terms of the comparison.
pub(super) fn read(file: &File, plan: &Plan, history: &History) -> Result<Live, Failure> {
    same_nodes(file, history)?;
    let since = |at_ms: u64| at_ms.saturating_sub(history.from_ms);
    let numbers: HashMap<JobId, usize> = history.jobs.iter().enumerate().map(|(number, (job, _))| (*job, number)).collect();
    let placed = placements(history, &numbers);
    let mut jobs: Vec<SeenJob> = history.jobs.iter().map(|(_, at_ms)| SeenJob { submit_ms: since(*at_ms), ..SeenJob::default() }).collect();
    for placement in &placed {
        jobs[placement.job].attempts += 1;
    }
    for (stored_at_ms, record) in &history.ends {
        let Some(job) = numbers.get(&record.job).map(|number| &mut jobs[*number]) else { continue };
        (job.end_ms, job.committed) = (Some(since(*stored_at_ms)), record.state == JobState::Committed);
    }
    let lost = lost(history, &numbers);
    lost.iter().for_each(|lost| jobs[lost.job].interrupted += 1);
    let faults = faults(history);
    let seen = Seen {
        jobs,
        detection_ms: faults.iter().filter_map(|fault| detection(fault, history)).collect(),
        recovery_ms: lost.iter().filter_map(|lost| recovery(lost, &placed, &faults, history)).collect(),
        unreleased: unreleased(history),
        placements: placed.into_iter().map(|Placed { at_ms, job, node, .. }| Placement { at_ms: since(at_ms), job, node }).collect(),
        classes: live_classes(history),
    };
    let instants = Instants {
        submits_ms: seen.jobs.iter().map(|job| job.submit_ms).collect(),
        downs: faults.iter().flat_map(|fault| downs(file, fault, history)).collect(),
        window_ms: Some(history.took_ms()),
    };
    Ok(Live { seen, instants, handover: handover(plan, history, &numbers), took_ms: history.took_ms() })
}

/// Share of the capacity by class: what came into the leader's books during the run. Nothing runs at its ends, so that no work is open.
fn live_classes(history: &History) -> Option<BTreeMap<&'static str, f64>> {
    let (before, after) = &history.gpu_time;
    let amount = |class: Class| after.of(class).saturating_sub(before.of(class)) as f64;
    let capacity: f64 = Class::ALL.into_iter().map(amount).sum();
    (capacity > 0.0).then(|| Class::ALL.into_iter().map(|class| (class.as_str(), amount(class) / capacity)).collect())
}

/// Both sides must have the same nodes, or nothing else can agree.
fn same_nodes(file: &File, history: &History) -> Result<(), Failure> {
    let live: Vec<(String, Vec<String>)> =
        history.nodes.iter().map(|node| (node.spec.node.clone(), node.spec.gpus.iter().map(|gpu| gpu.model.clone()).collect())).collect();
    let here: Vec<(String, Vec<String>)> =
        machines(file).into_iter().map(|machine| (machine.name, machine.gpus.into_iter().map(|gpu| gpu.model).collect())).collect();
    if live == here {
        return Ok(());
    }
    Err(Failure::Failed(anyhow::anyhow!(
        "the live cluster has other nodes than the lab: unset FAULTLINE_BIN_DIR if it names another version"
    )))
}

struct Placed {
    at_ms: u64,
    job: usize,
    attempt: AttemptId,
    node: String,
}

/// In the order of the decisions.
fn placements(history: &History, numbers: &HashMap<JobId, usize>) -> Vec<Placed> {
    let mut known = BTreeSet::new();
    let placement = |event: &ClusterEvent| {
        let (job, attempt) = (*numbers.get(&event.job?)?, event.attempt?);
        Some(Placed { at_ms: event.at_ms, job, attempt, node: event.node.clone()? })
    };
    let events = history.events.iter().filter(|event| event.kind == EventKind::JobPlaced);
    let mut placed: Vec<Placed> = events.filter_map(placement).filter(|placement| known.insert(placement.attempt)).collect();
    placed.sort_by_key(|placement| placement.at_ms);
    placed
}

struct Lost {
    at_ms: u64,
    job: usize,
    attempt: AttemptId,
    node: String,
}

fn lost(history: &History, numbers: &HashMap<JobId, usize>) -> Vec<Lost> {
    let mut known = BTreeSet::new();
    let events = history.events.iter().filter(|event| event.kind == EventKind::AttemptLost);
    let lost = events.filter_map(|event| {
        let (job, attempt) = (*numbers.get(&event.job?)?, event.attempt?);
        Some(Lost { at_ms: event.at_ms, job, attempt, node: event.node.clone()? })
    });
    lost.filter(|lost| known.insert(lost.attempt)).collect()
}

/// What was broken, as it really was: the end says more than the beginning.
fn faults(history: &History) -> Vec<FaultTruth> {
    let mut faults: BTreeMap<(u64, String), FaultTruth> = BTreeMap::new();
    for event in &history.events {
        let Some(truth) = event.fault.as_ref().filter(|_| matches!(event.kind, EventKind::FaultBegan | EventKind::FaultEnded)) else {
            continue;
        };
        let key = (truth.from_ms, truth.id.clone());
        if event.kind == EventKind::FaultEnded || !faults.contains_key(&key) {
            faults.insert(key, truth.clone());
        }
    }
    faults.into_values().collect()
}

/// The nodes that a fault of a worker takes down.
fn nodes_of<'a>(fault: &'a FaultTruth, history: &'a History) -> impl Iterator<Item = &'a str> {
    history.nodes.iter().filter(|node| node.spec.worker == fault.target).map(|node| node.spec.node.as_str())
}

fn is_of(node: Option<&str>, fault: &FaultTruth, history: &History) -> bool {
    nodes_of(fault, history).any(|own| Some(own) == node)
}

fn detection(fault: &FaultTruth, history: &History) -> Option<u64> {
    let until_ms = fault.until_ms.unwrap_or(u64::MAX).saturating_add(VERDICT_GRACE_MS);
    let is_verdict = |event: &&ClusterEvent| {
        matches!(event.kind, EventKind::NodeSuspect | EventKind::NodeGone | EventKind::NodeDead)
            && (fault.from_ms..=until_ms).contains(&event.at_ms)
            && is_of(event.node.as_deref(), fault, history)
    };
    history.events.iter().filter(is_verdict).map(|event| event.at_ms - fault.from_ms).min()
}

/// From the fault that interrupted the attempt, or its placement if that was later, until the job's next one.
fn recovery(lost: &Lost, placed: &[Placed], faults: &[FaultTruth], history: &History) -> Option<u64> {
    let fault = faults.iter().rfind(|fault| fault.from_ms <= lost.at_ms && is_of(Some(&lost.node), fault, history))?;
    let own_ms = placed.iter().find(|placement| placement.attempt == lost.attempt).map_or(0, |placement| placement.at_ms);
    let next = placed.iter().find(|next| next.job == lost.job && next.at_ms >= lost.at_ms && next.attempt != lost.attempt)?;
    Some(next.at_ms.saturating_sub(fault.from_ms.max(own_ms)))
}

/// A node is down from the fault until it has registered again.
fn downs(file: &File, fault: &FaultTruth, history: &History) -> Vec<Down> {
    let numbers: HashMap<String, usize> = machines(file).into_iter().enumerate().map(|(number, machine)| (machine.name, number)).collect();
    let since = |at_ms: u64| at_ms.saturating_sub(history.from_ms);
    let down = |node: &str| {
        let is_back = |event: &&ClusterEvent| {
            event.kind == EventKind::NodeJoined && event.node.as_deref() == Some(node) && event.at_ms > fault.from_ms
        };
        let back_ms = history.events.iter().filter(is_back).map(|event| event.at_ms).min();
        let until_ms = back_ms.or(fault.until_ms).unwrap_or(history.to_ms);
        Some(Down { node: *numbers.get(node)?, from_ms: since(fault.from_ms), until_ms: since(until_ms) })
    };
    nodes_of(fault, history).filter_map(down).collect()
}

/// Everything that is still held, or that the books do not agree about.
fn unreleased(history: &History) -> Vec<String> {
    let mut held = Vec::new();
    for node in &history.nodes {
        let used: u32 = node.gpu_used_milli.iter().sum();
        if used > 0 || !node.running.is_empty() {
            held.push(format!("{} runs {} and {used} thousandths of a GPU are taken", node.spec.node, node.running.len()));
        }
    }
    if history.waiting > 0 {
        held.push(format!("{} jobs are still held by the leader", history.waiting));
    }
    let failed = history.audit.checks.iter().filter(|check| !check.ok);
    held.extend(failed.map(|check| format!("audit: {}: {}", check.check, check.figures)));
    held
}

/// Mean delays of committed attempts: from the placement to the start, and from the end of the work to the commit.
fn handover(plan: &Plan, history: &History, numbers: &HashMap<JobId, usize>) -> Handover {
    let delays = history.ends.iter().filter_map(|(stored_at_ms, record)| {
        let planned = &plan.jobs[*numbers.get(&record.job)?];
        let row = record.history.iter().find(|row| row.outcome == AttemptOutcome::Committed)?;
        let started_ms = row.started_at_ms?;
        Some((started_ms.saturating_sub(row.placed_at_ms), stored_at_ms.saturating_sub(started_ms + planned.duration_ms)))
    });
    let (starts, ends): (Vec<u64>, Vec<u64>) = delays.unzip();
    let mean = |values: &[u64]| (values.iter().sum::<u64>() + values.len() as u64 / 2) / (values.len() as u64).max(1);
    Handover { start_ms: mean(&starts), end_ms: mean(&ends) }
}
