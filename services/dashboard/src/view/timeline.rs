//! Attempts, faults and verdicts on a line of time: what ran where and when, what broke it, and where the work went.
//! Told by the history (EVENTS) and by the jobs' records; bounded, the oldest is forgotten.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use faultline_engine::fault::cause::{BrokenAttempt, cause_of};
use faultline_engine::job::{AttemptId, AttemptOutcome, AttemptSummary, JobId};
use faultline_engine::node::Health;
use faultline_protocol::messages::{ClusterEvent, EventKind, FaultTruth, TerminalRecord};
use serde::Serialize;
use utoipa::ToSchema;

use super::jobs::clip_to;

/// About 200 bytes each.
const MAX_ATTEMPTS: usize = 50_000;
const MAX_FAULTS: usize = 5_000;
const MAX_VERDICTS: usize = 10_000;
/// The most bars in one answer.
const MAX_BARS: usize = 5_000;
/// What is kept of the words on an end: enough to name a fault of a GPU.
const MAX_DETAIL_BYTES: usize = 200;

/// An attempt.
#[derive(Debug, Clone, PartialEq)]
struct Attempt {
    job: JobId,
    node: String,
    gpus: Vec<u8>,
    start_ms: u64,
    end_ms: Option<u64>,
    outcome: AttemptOutcome,
    /// Why it broke off, in words; empty for all others.
    detail: String,
}

/// What is known of a job with attempts here.
#[derive(Debug, Default)]
struct Job {
    name: String,
    kind: String,
    attempts: BTreeSet<AttemptId>,
}

impl Job {
    /// The attempt after this one.
    fn next(&self, attempt: AttemptId) -> Option<AttemptId> {
        self.attempts.range(attempt..).nth(1).copied()
    }
}

/// An attempt as a bar.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Bar {
    pub(crate) job: JobId,
    /// Empty while unknown.
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) attempt: AttemptId,
    pub(crate) node: String,
    /// Indexes; empty while unknown.
    pub(crate) gpus: Vec<u8>,
    pub(crate) start_ms: u64,
    /// None while it runs.
    pub(crate) end_ms: Option<u64>,
    pub(crate) outcome: AttemptOutcome,
    /// The attempt that took over, when this one did not end the job.
    pub(crate) next_attempt: Option<AttemptId>,
    /// The fault that it broke off by, when one explains it.
    pub(crate) cause: Option<FaultSpan>,
}

/// A fault as it really was.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct FaultSpan {
    pub(crate) id: String,
    /// The node that was broken, or the process when it hosts none.
    pub(crate) node: String,
    pub(crate) kind: String,
    pub(crate) from_ms: u64,
    /// None while it lasts and no end is planned.
    pub(crate) until_ms: Option<u64>,
    /// The GPU, for faults of one GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gpu: Option<u8>,
    /// Which user ordered it and through what; empty when it came by itself.
    pub(crate) by: String,
}

impl From<&FaultTruth> for FaultSpan {
    fn from(truth: &FaultTruth) -> Self {
        Self {
            id: truth.id.clone(),
            node: truth.target.clone(),
            kind: truth.kind.clone(),
            from_ms: truth.from_ms,
            until_ms: truth.until_ms,
            gpu: truth.gpu,
            by: truth.by.clone(),
        }
    }
}

/// What the detector said of a node, or that it joined again.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct VerdictMark {
    pub(crate) node: String,
    pub(crate) health: Health,
    pub(crate) at_ms: u64,
}

/// A part of the line.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Window {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    /// Those that anything below is about, by name.
    pub(crate) nodes: Vec<String>,
    /// By beginning.
    pub(crate) bars: Vec<Bar>,
    pub(crate) faults: Vec<FaultSpan>,
    pub(crate) verdicts: Vec<VerdictMark>,
    /// There were more than 5,000 bars: the youngest are here.
    pub(crate) truncated: bool,
}

/// Which part is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WindowFilter {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    /// Empty: all.
    pub(crate) nodes: BTreeSet<String>,
    /// Only nodes that had a fault, a verdict, or an attempt that was not committed.
    pub(crate) affected: bool,
}

/// The line.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    attempts: BTreeMap<AttemptId, Attempt>,
    jobs: BTreeMap<JobId, Job>,
    faults: VecDeque<FaultTruth>,
    verdicts: VecDeque<VerdictMark>,
}

impl Timeline {
    pub(crate) fn on_event(&mut self, event: &ClusterEvent) {
        for row in &event.history {
            if let Some(job) = event.job {
                self.on_row(job, row);
            }
        }
        match event.kind {
            EventKind::JobPlaced => self.on_placed(event),
            EventKind::AttemptLost => self.on_ended(event, AttemptOutcome::Lost),
            EventKind::AttemptFailed => self.on_ended(event, AttemptOutcome::Failed),
            EventKind::AttemptSuperseded => self.on_ended(event, AttemptOutcome::Superseded),
            EventKind::FaultBegan | EventKind::FaultEnded => self.on_fault(event),
            EventKind::NodeSuspect => self.on_verdict(event, Health::Suspect),
            EventKind::NodeGone => self.on_verdict(event, Health::Gone),
            EventKind::NodeDead => self.on_verdict(event, Health::Dead),
            EventKind::NodeRecovered | EventKind::NodeJoined => self.on_verdict(event, Health::Alive),
            EventKind::JobDead
            | EventKind::JobCancelled
            | EventKind::JobAbandoned
            | EventKind::NodeLeft
            | EventKind::NodeDrained
            | EventKind::NodeUndrained
            | EventKind::LeaderElected
            | EventKind::LeaderLost
            | EventKind::RateChanged
            | EventKind::WorkersScaled
            | EventKind::InvariantViolated
            | EventKind::Repaired
            | EventKind::PolicyFailed
            | EventKind::PolicyRecovered => {}
        }
    }

    fn on_placed(&mut self, event: &ClusterEvent) {
        let (Some(job), Some(attempt), Some(node)) = (event.job, event.attempt, &event.node) else { return };
        let placed = Attempt {
            job,
            node: node.clone(),
            gpus: Vec::new(),
            start_ms: event.at_ms,
            end_ms: None,
            outcome: AttemptOutcome::Running,
            detail: String::new(),
        };
        // What is there already came from a component that knows more: the news of a placement may be the last to arrive.
        self.jobs.entry(job).or_default().attempts.insert(attempt);
        self.attempts.entry(attempt).or_insert(placed);
        self.forget_oldest();
    }

    fn on_ended(&mut self, event: &ClusterEvent, outcome: AttemptOutcome) {
        let Some(known) = event.attempt.and_then(|attempt| self.attempts.get_mut(&attempt)) else { return };
        if known.outcome == AttemptOutcome::Running {
            (known.outcome, known.end_ms) = (outcome, Some(event.at_ms));
            known.detail = words_of_end(outcome, &event.detail);
        }
    }

    /// A row of a job's path knows best.
    fn on_row(&mut self, job: JobId, row: &AttemptSummary) {
        let attempt = Attempt {
            job,
            node: row.node.clone(),
            gpus: row.gpus.clone(),
            start_ms: row.started_at_ms.unwrap_or(row.placed_at_ms),
            end_ms: row.ended_at_ms,
            outcome: row.outcome,
            detail: words_of_end(row.outcome, &row.detail),
        };
        if attempt.outcome == AttemptOutcome::Running && self.attempts.contains_key(&row.attempt) {
            return;
        }
        self.jobs.entry(job).or_default().attempts.insert(row.attempt);
        self.attempts.insert(row.attempt, attempt);
        self.forget_oldest();
    }

    /// A job has ended: its path is known, and nothing of it runs any more that counts.
    pub(crate) fn on_end(&mut self, record: &TerminalRecord) {
        record.history.iter().for_each(|row| self.on_row(record.job, row));
        let Some(job) = self.jobs.get_mut(&record.job) else { return };
        job.name.clone_from(&record.name);
        job.kind.clone_from(&record.kind);
        let mut next_start_ms = None;
        for attempt in job.attempts.iter().rev() {
            let Some(attempt) = self.attempts.get_mut(attempt) else { continue };
            if attempt.outcome == AttemptOutcome::Running {
                let ran_on = (AttemptOutcome::Superseded, record.ended_at_ms);
                let (outcome, end_ms) = next_start_ms.map_or(ran_on, |start_ms| (AttemptOutcome::Lost, start_ms));
                (attempt.outcome, attempt.end_ms) = (outcome, Some(end_ms));
            }
            next_start_ms = Some(attempt.start_ms);
        }
    }

    /// The end says until when a fault really lasted, the beginning only what was planned; they may come in any order.
    fn on_fault(&mut self, event: &ClusterEvent) {
        let Some(truth) = &event.fault else { return };
        match self.faults.iter_mut().rev().find(|fault| fault.id == truth.id) {
            Some(known) if event.kind == EventKind::FaultEnded => known.clone_from(truth),
            Some(_) => {}
            None => push_bounded(&mut self.faults, MAX_FAULTS, truth.clone()),
        }
    }

    fn on_verdict(&mut self, event: &ClusterEvent, health: Health) {
        let Some(node) = event.node.clone() else { return };
        push_bounded(&mut self.verdicts, MAX_VERDICTS, VerdictMark { node, health, at_ms: event.at_ms });
    }

    fn forget_oldest(&mut self) {
        while self.attempts.len() > MAX_ATTEMPTS {
            let Some((attempt, old)) = self.attempts.pop_first() else { return };
            if let Some(job) = self.jobs.get_mut(&old.job) {
                job.attempts.remove(&attempt);
                if job.attempts.is_empty() {
                    self.jobs.remove(&old.job);
                }
            }
        }
    }

    /// The wanted part. `name_of` is asked for the name and kind of jobs that have not ended, `nodes_of` for the nodes that live
    /// in a process, `worker_of` for the process of a node.
    pub(crate) fn window(
        &self,
        filter: &WindowFilter,
        now_ms: u64,
        name_of: impl Fn(JobId) -> Option<(String, String)>,
        nodes_of: impl Fn(&str) -> Vec<String>,
        worker_of: impl Fn(&str) -> Option<String>,
    ) -> Window {
        let in_time = |from_ms: u64, until_ms: Option<u64>| from_ms <= filter.to_ms && until_ms.unwrap_or(now_ms) >= filter.from_ms;
        let wanted = |node: &String| filter.nodes.is_empty() || filter.nodes.contains(node);
        let lasting = self.faults.iter().filter(|fault| in_time(fault.from_ms, fault.until_ms));
        let mut hosted: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut faults: Vec<FaultSpan> =
            lasting.flat_map(|fault| on_nodes(fault, hosted.entry(&fault.target).or_insert_with(|| nodes_of(&fault.target)))).collect();
        faults.retain(|fault| wanted(&fault.node));
        let mut verdicts: Vec<VerdictMark> =
            self.verdicts.iter().filter(|mark| in_time(mark.at_ms, Some(mark.at_ms)) && wanted(&mark.node)).cloned().collect();
        let mut found: Vec<(&AttemptId, &Attempt)> = self
            .attempts
            .iter()
            .filter(|(id, attempt)| in_time(attempt.start_ms, self.fate(**id, attempt).1) && wanted(&attempt.node))
            .collect();
        if filter.affected {
            let broken = found.iter().filter(|(id, attempt)| !is_fine(self.fate(**id, attempt).0)).map(|(_, attempt)| attempt.node.clone());
            let marked = verdicts.iter().filter(|mark| mark.health != Health::Alive).map(|mark| mark.node.clone());
            let affected: BTreeSet<String> = broken.chain(marked).chain(faults.iter().map(|fault| fault.node.clone())).collect();
            found.retain(|(_, attempt)| affected.contains(&attempt.node));
            verdicts.retain(|mark| affected.contains(&mark.node));
        }
        found.sort_by_key(|(attempt, row)| (row.start_ms, **attempt));
        let excess = found.len().saturating_sub(MAX_BARS);
        found.drain(..excess);
        faults.sort_by_key(|fault| fault.from_ms);
        let by_target = self.faults_by_target();
        let bar = |(attempt, row): (&AttemptId, &Attempt)| {
            let mut bar = self.bar(*attempt, row, &name_of);
            bar.cause = cause_of_bar(&bar, row, &by_target, &worker_of);
            bar
        };
        let bars: Vec<Bar> = found.into_iter().map(bar).collect();
        let names =
            bars.iter().map(|bar| &bar.node).chain(faults.iter().map(|fault| &fault.node)).chain(verdicts.iter().map(|mark| &mark.node));
        let nodes = names.collect::<BTreeSet<_>>().into_iter().cloned().collect();
        Window { from_ms: filter.from_ms, to_ms: filter.to_ms, nodes, bars, faults, verdicts, truncated: excess > 0 }
    }

    /// All faults that are known.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &FaultTruth> {
        self.faults.iter()
    }

    fn faults_by_target(&self) -> BTreeMap<&str, Vec<&FaultTruth>> {
        let mut by_target: BTreeMap<&str, Vec<&FaultTruth>> = BTreeMap::new();
        for fault in &self.faults {
            by_target.entry(&fault.target).or_default().push(fault);
        }
        by_target
    }

    /// How an attempt ended, and when. A leader that takes over places again what no worker runs any more, also where it never heard of the
    /// attempt before: then no event says that this one was interrupted.
    fn fate(&self, attempt: AttemptId, row: &Attempt) -> (AttemptOutcome, Option<u64>) {
        let next = || self.jobs.get(&row.job).and_then(|job| job.next(attempt)).and_then(|next| self.attempts.get(&next));
        match row.outcome {
            AttemptOutcome::Running => next().map_or((row.outcome, row.end_ms), |next| (AttemptOutcome::Lost, Some(next.start_ms))),
            known => (known, row.end_ms),
        }
    }

    fn bar(&self, attempt: AttemptId, row: &Attempt, name_of: &impl Fn(JobId) -> Option<(String, String)>) -> Bar {
        let job = self.jobs.get(&row.job);
        let told = job.filter(|job| !job.kind.is_empty()).map(|job| (job.name.clone(), job.kind.clone()));
        let (name, kind) = told.or_else(|| name_of(row.job)).unwrap_or_default();
        let (outcome, end_ms) = self.fate(attempt, row);
        let ended_the_job = matches!(outcome, AttemptOutcome::Committed | AttemptOutcome::Cancelled);
        let next = job.filter(|_| !ended_the_job).and_then(|job| job.next(attempt));
        Bar {
            job: row.job,
            name,
            kind,
            attempt,
            node: row.node.clone(),
            gpus: row.gpus.clone(),
            start_ms: row.start_ms,
            end_ms,
            outcome,
            next_attempt: next,
            cause: None,
        }
    }
}

/// Only what broke off has a cause.
fn words_of_end(outcome: AttemptOutcome, detail: &str) -> String {
    if is_fine(outcome) {
        return String::new();
    }
    let mut words = detail.to_owned();
    clip_to(&mut words, MAX_DETAIL_BYTES);
    words
}

fn cause_of_bar(
    bar: &Bar,
    row: &Attempt,
    by_target: &BTreeMap<&str, Vec<&FaultTruth>>,
    worker_of: &impl Fn(&str) -> Option<String>,
) -> Option<FaultSpan> {
    let ended_ms = bar.end_ms.filter(|_| !is_fine(bar.outcome))?;
    let worker = worker_of(&bar.node);
    let (node, worker) = (bar.node.as_str(), worker.as_deref());
    let attempt = BrokenAttempt { node, worker, from_ms: bar.start_ms, ended_ms, outcome: bar.outcome, detail: &row.detail };
    let here = [Some(node), worker].into_iter().flatten().filter_map(|target| by_target.get(target)).flatten();
    cause_of(&attempt, here.copied()).map(FaultSpan::from)
}

/// A fault of a process is one of each node in it.
fn on_nodes(fault: &FaultTruth, nodes: &[String]) -> Vec<FaultSpan> {
    let span = FaultSpan::from(fault);
    if nodes.is_empty() {
        return vec![span];
    }
    nodes.iter().map(|node| FaultSpan { node: node.clone(), ..span.clone() }).collect()
}

fn is_fine(outcome: AttemptOutcome) -> bool {
    matches!(outcome, AttemptOutcome::Running | AttemptOutcome::Committed)
}

fn push_bounded<T>(queue: &mut VecDeque<T>, limit: usize, item: T) {
    if queue.len() >= limit {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
