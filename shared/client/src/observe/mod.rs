//! The cluster's history folded into figures for any stretch of time: how soon faults were noticed, how soon jobs went on, what
//! was lost, and what it cost. Pure: events, records and looks at the queue are told to it, and nothing is read here. Experiments,
//! scenarios and the dashboard use the same fold, so that they cannot disagree.

use std::collections::{BTreeMap, BTreeSet};

use faultline_engine::job::{AttemptId, AttemptOutcome, AttemptSummary, GPU_MILLI, JobId, JobState};
use faultline_protocol::messages::{ClusterEvent, EventKind, FaultTruth, LedgerSnapshot, OpenMarker, TerminalRecord};

mod focus;
pub mod hypothesis;
mod measure;
#[cfg(test)]
mod tests;
mod watch;

pub use focus::Focus;
pub use watch::{Watch, each_event, nodes_and_leader, stats};

/// What is known of one job.
#[derive(Debug, Clone, Default)]
struct JobFacts {
    submitted_at_ms: Option<u64>,
    /// When it was surely in JOBS: its submission was acknowledged, or it was placed.
    queued_by_ms: Option<u64>,
    ended: Option<JobEnd>,
}

#[derive(Debug, Clone, Copy)]
struct JobEnd {
    at_ms: u64,
    state: JobState,
    seq: u64,
}

/// What is known of one attempt.
#[derive(Debug, Clone)]
struct AttemptFacts {
    placed_at_ms: u64,
    ended_at_ms: Option<u64>,
    outcome: AttemptOutcome,
    /// Thousandths of a GPU that it held.
    gpu_milli: u64,
}

#[derive(Debug, Clone)]
struct LostAttempt {
    job: JobId,
    node: String,
    at_ms: u64,
    detail: String,
}

#[derive(Debug, Clone)]
struct NodeVerdict {
    at_ms: u64,
    node: String,
}

/// The newest look at JOBS.
#[derive(Debug, Clone)]
struct QueueLook {
    at_ms: u64,
    jobs: BTreeSet<JobId>,
}

/// The fold. Everything may come twice and in any order.
#[derive(Debug, Clone, Default)]
pub struct Observer {
    jobs: BTreeMap<JobId, JobFacts>,
    attempts: BTreeMap<AttemptId, AttemptFacts>,
    /// Placements by job, in the order of their time.
    placements: BTreeMap<JobId, BTreeMap<u64, AttemptId>>,
    lost: BTreeMap<AttemptId, LostAttempt>,
    failed: BTreeMap<AttemptId, u64>,
    /// Faults by their id.
    faults: BTreeMap<String, FaultTruth>,
    verdicts: BTreeMap<(u64, String), NodeVerdict>,
    /// The worker that hosts each node.
    hosts: BTreeMap<String, String>,
    /// Who led from when on.
    leaders: BTreeMap<u64, String>,
    dead_letters: BTreeMap<u64, u64>,
    ended_twice: BTreeMap<JobId, u64>,
    ledger: Option<(LedgerSnapshot, LedgerSnapshot)>,
    queue: Option<QueueLook>,
}

impl Observer {
    /// A node and the worker process that hosts it: a fault of the worker is one of its nodes.
    pub fn on_node(&mut self, node: &str, worker: &str) {
        self.hosts.insert(node.to_owned(), worker.to_owned());
    }

    /// Who led at that moment; the history tells who leads from then on.
    pub fn on_leader(&mut self, service: &str, at_ms: u64) {
        self.leaders.insert(at_ms, service.to_owned());
    }

    /// The ledger's snapshot; the first and the newest count.
    pub fn on_ledger(&mut self, snapshot: &LedgerSnapshot) {
        match &mut self.ledger {
            None => self.ledger = Some((snapshot.clone(), snapshot.clone())),
            Some((_, newest)) if newest.through_seq <= snapshot.through_seq => newest.clone_from(snapshot),
            Some(_) => {}
        }
    }

    /// A submission was acknowledged: the job is in JOBS, or has ended.
    pub fn on_accepted(&mut self, job: JobId, submitted_at_ms: u64, at_ms: u64) {
        let facts = self.jobs.entry(job).or_default();
        facts.submitted_at_ms = Some(submitted_at_ms);
        earliest(&mut facts.queued_by_ms, at_ms);
    }

    /// All jobs that JOBS held at `at_ms`. To be told before the records up to now are: a job that is neither here nor
    /// ended in a record that is read afterwards is nowhere.
    pub fn on_queue(&mut self, jobs: BTreeSet<JobId>, at_ms: u64) {
        self.queue = Some(QueueLook { at_ms, jobs });
    }

    /// A letter in DEAD.
    pub fn on_dead_letter(&mut self, seq: u64, stored_at_ms: u64) {
        self.dead_letters.insert(seq, stored_at_ms);
    }

    /// An open marker in RESULTS.
    pub fn on_opened(&mut self, marker: &OpenMarker) {
        self.jobs.entry(marker.job).or_default().submitted_at_ms = Some(marker.submitted_at_ms);
    }

    /// A terminal record in RESULTS with its sequence, and when it was stored there: that is the end of the job, not the moment at which
    /// a worker whose report was lost came to it. Another sequence for the same job is a second end.
    pub fn on_ended(&mut self, record: &TerminalRecord, seq: u64, stored_at_ms: u64) {
        let facts = self.jobs.entry(record.job).or_default();
        // Its submitter's word; the open marker's was held against the time of storing it.
        facts.submitted_at_ms.get_or_insert(record.submitted_at_ms.min(stored_at_ms));
        let end = JobEnd { at_ms: stored_at_ms, state: record.state, seq };
        match facts.ended {
            Some(before) if before.seq != seq => drop(self.ended_twice.insert(record.job, stored_at_ms)),
            Some(_) => {}
            None => facts.ended = Some(end),
        }
        for row in &record.history {
            self.add_attempt(record.job, row);
        }
    }

    /// One event of the history.
    pub fn on_event(&mut self, event: &ClusterEvent) {
        if let Some(job) = event.job {
            for row in &event.history {
                self.add_attempt(job, row);
            }
        }
        match event.kind {
            EventKind::JobPlaced => {
                if let (Some(job), Some(attempt)) = (event.job, event.attempt) {
                    self.placed(job, attempt, event.at_ms);
                }
            }
            EventKind::AttemptLost => {
                if let (Some(job), Some(attempt), Some(node)) = (event.job, event.attempt, &event.node) {
                    let lost = || LostAttempt { job, node: node.clone(), at_ms: event.at_ms, detail: event.detail.clone() };
                    self.lost.entry(attempt).or_insert_with(lost);
                }
            }
            EventKind::AttemptFailed => {
                if let Some(attempt) = event.attempt {
                    self.failed.entry(attempt).or_insert(event.at_ms);
                }
            }
            EventKind::NodeSuspect | EventKind::NodeGone | EventKind::NodeDead => {
                if let Some(node) = &event.node {
                    self.verdicts.insert((event.at_ms, node.clone()), NodeVerdict { at_ms: event.at_ms, node: node.clone() });
                }
            }
            EventKind::LeaderElected => self.on_leader(&event.service, event.at_ms),
            EventKind::FaultBegan | EventKind::FaultEnded => {
                if let Some(truth) = &event.fault {
                    self.on_fault(truth, event.kind == EventKind::FaultEnded);
                }
            }
            _ => {}
        }
    }

    /// The end says until when the fault really lasted; the beginning only what was planned.
    fn on_fault(&mut self, truth: &FaultTruth, ended: bool) {
        if ended || !self.faults.contains_key(&truth.id) {
            self.faults.insert(truth.id.clone(), truth.clone());
        }
    }

    fn placed(&mut self, job: JobId, attempt: AttemptId, at_ms: u64) {
        earliest(&mut self.jobs.entry(job).or_default().queued_by_ms, at_ms);
        let placements = self.placements.entry(job).or_default();
        // The event and the rows of the job's path tell the same.
        if !placements.values().any(|&known| known == attempt) {
            placements.insert(at_ms, attempt);
        }
    }

    fn add_attempt(&mut self, job: JobId, row: &AttemptSummary) {
        // The event of the placement may be missing: its server was gone.
        self.placed(job, row.attempt, row.placed_at_ms);
        let gpu_milli = match row.gpu_milli {
            0 => row.gpus.len() as u64 * u64::from(GPU_MILLI),
            milli => u64::from(milli),
        };
        let facts = AttemptFacts {
            placed_at_ms: row.started_at_ms.unwrap_or(row.placed_at_ms),
            ended_at_ms: row.ended_at_ms,
            outcome: row.outcome,
            gpu_milli,
        };
        match self.attempts.get_mut(&row.attempt) {
            // An end is not forgotten for an older word on the same attempt.
            Some(known) if known.ended_at_ms.is_some() && facts.ended_at_ms.is_none() => {}
            Some(known) => *known = facts,
            None => drop(self.attempts.insert(row.attempt, facts)),
        }
    }

    /// Drops what happened before `ms`, but for open jobs, faults that last, and who led.
    pub fn forget_before(&mut self, ms: u64) {
        self.jobs.retain(|_, facts| facts.ended.is_none_or(|end| end.at_ms >= ms));
        self.attempts.retain(|_, attempt| attempt.ended_at_ms.is_none_or(|at_ms| at_ms >= ms));
        self.lost.retain(|_, lost| lost.at_ms >= ms);
        self.failed.retain(|_, at_ms| *at_ms >= ms);
        self.faults.retain(|_, fault| fault.until_ms.is_none_or(|until_ms| until_ms >= ms));
        self.verdicts.retain(|_, verdict| verdict.at_ms >= ms);
        self.dead_letters.retain(|_, at_ms| *at_ms >= ms);
        self.ended_twice.retain(|_, at_ms| *at_ms >= ms);
        let jobs = &self.jobs;
        self.placements
            .retain(|job, placements| jobs.contains_key(job) || placements.last_key_value().is_some_and(|(&at_ms, _)| at_ms >= ms));
        let leading = self.leaders.range(..ms).next_back().map(|(&at_ms, _)| at_ms);
        self.leaders.retain(|&at_ms, _| at_ms >= ms || Some(at_ms) == leading);
    }
}

fn earliest(slot: &mut Option<u64>, at_ms: u64) {
    *slot = Some(slot.map_or(at_ms, |before| before.min(at_ms)));
}
