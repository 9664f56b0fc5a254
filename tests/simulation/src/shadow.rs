//! The truth, written down as it happens and held against every promise. Knows what the parties cannot know: what really ran where,
//! and how it really ended. Touches nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use faultline_engine::agent::Executed;
use faultline_engine::job::{Assignment, AttemptId, GPU_MILLI, JobId, JobSpec, JobState, TerminalRecord};
use faultline_engine::ledger::LedgerSnapshot;
use faultline_engine::node::NodeSpec;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::cast::Proc;

/// A node that was away this shortly before may have made a demand look impossible.
const RECENTLY_AWAY_MS: u64 = 15_000;
/// While nothing runs and no fault is left, a queued job may wait this long for anything to happen: JetStream's ack wait (15 s),
/// the fencing of a worker before (12 s), a change of leader (3 s of lease, 0.4 s of standing by, 1.2 s of listening) and a verdict
/// with its repeats (5 s + 2 s), rounded up.
pub(crate) const STALL_MS: u64 = 45_000;

/// What an executor does: how long it takes, and what comes of it.
pub(crate) struct Plan {
    pub(crate) after_ms: u64,
    pub(crate) executed: Executed,
}

/// How a job behaves when it runs.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) spec: Arc<JobSpec>,
    pub(crate) work_ms: u64,
    pub(crate) fails: f64,
    pub(crate) is_hopeless: bool,
    pub(crate) is_possible: bool,
}

#[derive(Debug)]
struct JobTruth {
    script: Script,
    is_queued: bool,
    is_cancel_wanted: bool,
    end: Option<Arc<TerminalRecord>>,
    failed: u32,
    /// The attempt that has the message: it was given to no other one since that was placed.
    owner: Option<AttemptId>,
    /// When JetStream last handed the message out, or a leader gave an attempt up.
    taken_away_at: u64,
    /// A killed server forgot the delivery that the message was last handed out with: no worker can hand that back any more, also not
    /// one that is placed, starts, or fails after the kill.
    is_delivery_forgotten: bool,
    /// How many failures the next attempt must know of, and since when.
    owed_failures: u32,
    owed_since: u64,
}

#[derive(Debug)]
struct AttemptTruth {
    job: JobId,
    worker: Proc,
    node: String,
    gpus: Vec<u8>,
    milli: u32,
    failures: u32,
    is_working: bool,
    outcome: Option<Executed>,
}

pub(crate) struct Shadow {
    rng: Pcg64Mcg,
    jobs: BTreeMap<JobId, JobTruth>,
    attempts: BTreeMap<AttemptId, AttemptTruth>,
    /// When each was really placed.
    placed_at: BTreeMap<AttemptId, u64>,
    /// What really is on every GPU.
    gpus: BTreeMap<String, Vec<u32>>,
    epochs: BTreeMap<Proc, u64>,
    away_since: BTreeMap<String, u64>,
    last_away_ms: Option<u64>,
    working: usize,
    last_progress: u64,
    pub(crate) overlaps: u64,
    /// Messages of jobs that had ended already, or that were just being cancelled: between their opening and their message, or queued a
    /// second time after a killed server forgot the first. The ledger takes their acknowledgement for a message that vanished: a hole that is known.
    pub(crate) queued_late: u64,
    broken: Option<String>,
}

impl Shadow {
    pub(crate) fn new(seed: u64, scripts: Vec<Script>, nodes: &[NodeSpec]) -> Self {
        let truth = |script: Script| JobTruth {
            script,
            is_queued: false,
            is_cancel_wanted: false,
            end: None,
            failed: 0,
            owner: None,
            taken_away_at: 0,
            is_delivery_forgotten: false,
            owed_failures: 0,
            owed_since: 0,
        };
        Self {
            rng: Pcg64Mcg::seed_from_u64(seed),
            jobs: scripts.into_iter().map(|script| (script.spec.id, truth(script))).collect(),
            attempts: BTreeMap::new(),
            placed_at: BTreeMap::new(),
            gpus: nodes.iter().map(|node| (node.node.clone(), vec![0; node.gpus.len()])).collect(),
            epochs: BTreeMap::new(),
            away_since: nodes.iter().map(|node| (node.node.clone(), 0)).collect(),
            last_away_ms: None,
            working: 0,
            last_progress: 0,
            overlaps: 0,
            queued_late: 0,
            broken: None,
        }
    }

    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    fn require(&mut self, holds: bool, words: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(words());
        }
    }

    pub(crate) fn on_queued(&mut self, job: JobId) {
        if let Some(truth) = self.jobs.get_mut(&job) {
            truth.is_queued = true;
            self.queued_late += u64::from(truth.end.is_some() || truth.is_cancel_wanted);
        }
    }

    pub(crate) fn on_cancel_wanted(&mut self, job: JobId) {
        if let Some(truth) = self.jobs.get_mut(&job) {
            truth.is_cancel_wanted = true;
        }
    }

    pub(crate) fn on_registered(&mut self, node: &str, now: u64) {
        if self.away_since.remove(node).is_some() {
            self.last_away_ms = Some(now);
        }
    }

    pub(crate) fn on_unregistered(&mut self, node: &str, now: u64) {
        self.away_since.insert(node.to_owned(), now);
        self.last_away_ms = Some(now);
    }

    pub(crate) fn on_worker_started(&mut self, worker: Proc) {
        self.epochs.insert(worker, 0);
    }

    pub(crate) fn on_epoch_seen(&mut self, worker: Proc, epoch: u64) {
        let seen = self.epochs.entry(worker).or_default();
        *seen = (*seen).max(epoch);
    }

    pub(crate) fn epoch_of(&self, worker: Proc) -> u64 {
        self.epochs.get(&worker).copied().unwrap_or(0)
    }

    /// Whether any executor works.
    pub(crate) fn is_anything_running(&self) -> bool {
        self.working > 0
    }

    /// The process ended: so did whatever it ran.
    pub(crate) fn on_worker_gone(&mut self, worker: Proc) {
        let gone: Vec<AttemptId> = self.attempts.iter().filter(|(_, it)| it.worker == worker && it.is_working).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.on_work_stopped(id));
    }

    /// JetStream handed the message out.
    pub(crate) fn on_delivered(&mut self, job: JobId, now: u64) {
        self.on_taken_away(job, now);
        if let Some(truth) = self.jobs.get_mut(&job) {
            truth.is_delivery_forgotten = false;
        }
    }

    /// A leader gave the attempt up that had the message, or JetStream handed it out again.
    pub(crate) fn on_taken_away(&mut self, job: JobId, now: u64) {
        if let Some(truth) = self.jobs.get_mut(&job) {
            (truth.owner, truth.taken_away_at) = (None, now);
        }
    }

    /// The killed server forgot that it had delivered the job a moment ago. It comes again as if for the first time, so that a new
    /// leader does not read it back: what it had failed in that moment is forgiven.
    pub(crate) fn on_forgotten(&mut self, job: JobId) {
        if let Some(truth) = self.jobs.get_mut(&job) {
            (truth.owner, truth.owed_failures, truth.is_delivery_forgotten) = (None, 0, true);
        }
    }

    pub(crate) fn on_placed(&mut self, id: AttemptId, now: u64) {
        self.placed_at.insert(id, now);
    }

    /// A leader gives an attempt up for its time limit: so long it must have had.
    pub(crate) fn on_past_limit(&mut self, id: AttemptId, now: u64) {
        let (Some(attempt), Some(&placed_at)) = (self.attempts.get(&id), self.placed_at.get(&id)) else { return };
        let (lasted_ms, limit_ms) = (now - placed_at, self.jobs[&attempt.job].script.spec.timeout_ms);
        self.require(lasted_ms >= limit_ms, || format!("{id} is past its time limit of {limit_ms} ms after {lasted_ms} ms"));
    }

    /// An attempt starts on a worker that was told so under this epoch. Returns what its executor will do.
    pub(crate) fn on_started(&mut self, worker: Proc, epoch: u64, assignment: &Assignment, now: u64) -> Plan {
        let newest = self.epochs.get(&worker).copied().unwrap_or(0);
        self.require(epoch >= newest, || format!("{} starts under epoch {epoch}, its worker knew {newest}", assignment.attempt));
        self.on_epoch_seen(worker, epoch);
        let (id, job) = (assignment.attempt, assignment.spec.id);
        self.last_progress = now;
        let is_alone = !self.attempts.values().any(|other| other.job == job && other.is_working);
        self.overlaps += u64::from(!is_alone);
        let truth = self.jobs.get_mut(&job).expect("only submitted jobs are placed");
        let (owed, since) = (truth.owed_failures, truth.owed_since);
        let is_first_start = !self.attempts.contains_key(&id);
        let placed_at = self.placed_at.get(&id).copied().unwrap_or(0);
        let has_message = is_first_start && placed_at >= truth.taken_away_at && !truth.is_delivery_forgotten;
        truth.owner = has_message.then_some(id);
        if !is_first_start {
            // A doubled assignment, which NATS does not make, starts a finished attempt again: its counts are those of before.
            truth.owed_failures = 0;
        }
        let plan = draw_plan(&mut self.rng, &truth.script, id);
        self.require(assignment.failures >= owed || placed_at < since, || {
            format!("{id} of {job} was placed with {} failures after {owed} had been handed back", assignment.failures)
        });
        let milli = assignment.spec.demand.milli_per_gpu();
        let attempt = AttemptTruth {
            job,
            worker,
            node: assignment.node.clone(),
            gpus: assignment.gpus.clone(),
            milli,
            failures: assignment.failures,
            is_working: true,
            outcome: self.attempts.get(&id).and_then(|former| former.outcome.clone()),
        };
        self.working += 1;
        let gpus = self.gpus.get_mut(&attempt.node).expect("a known node");
        attempt.gpus.iter().for_each(|gpu| gpus[usize::from(*gpu)] += milli);
        let fits = gpus.iter().all(|milli| *milli <= GPU_MILLI);
        self.require(fits, || format!("a GPU of {} is oversubscribed by {id}", assignment.node));
        self.attempts.insert(id, attempt);
        plan
    }

    pub(crate) fn on_executed(&mut self, id: AttemptId, executed: &Executed, now: u64) {
        self.on_work_stopped(id);
        self.last_progress = now;
        if let Some(attempt) = self.attempts.get_mut(&id)
            && !matches!(attempt.outcome, Some(Executed::Done { .. }))
        {
            attempt.outcome = Some(executed.clone());
        }
    }

    /// The executor of an attempt does not work any more.
    pub(crate) fn on_work_stopped(&mut self, id: AttemptId) {
        if let Some(attempt) = self.attempts.get_mut(&id)
            && std::mem::take(&mut attempt.is_working)
        {
            self.working -= 1;
            if let Some(gpus) = self.gpus.get_mut(&attempt.node) {
                attempt.gpus.iter().for_each(|gpu| gpus[usize::from(*gpu)] -= attempt.milli);
            }
        }
    }

    /// The job itself failed in this attempt.
    pub(crate) fn on_failed(&mut self, id: AttemptId) {
        if let Some(attempt) = self.attempts.get(&id)
            && let Some(truth) = self.jobs.get_mut(&attempt.job)
        {
            truth.failed += 1;
        }
    }

    /// A worker asks for the message of a failed attempt to be delivered again: if it was still the only owner, the next
    /// attempt of the job must know of the failure.
    pub(crate) fn on_failure_handed_back(&mut self, id: AttemptId, now: u64) {
        let Some(attempt) = self.attempts.get(&id) else { return };
        if let Some(truth) = self.jobs.get_mut(&attempt.job).filter(|truth| truth.owner == Some(id)) {
            truth.owed_failures = truth.owed_failures.max(attempt.failures + 1);
            truth.owed_since = now;
        }
    }

    /// A worker's word on a failure is the job's last event now. A zombie's covers what its heirs wrote before: the job may then be
    /// tried once more than it should.
    pub(crate) fn on_failure_written(&mut self, job: JobId, failures: u32) {
        if let Some(truth) = self.jobs.get_mut(&job) {
            truth.owed_failures = truth.owed_failures.min(failures);
        }
    }

    /// RESULTS accepted the end of a job.
    pub(crate) fn on_ended(&mut self, record: &Arc<TerminalRecord>, now: u64) {
        self.last_progress = now;
        let id = record.job;
        let Some(truth) = self.jobs.get_mut(&id) else {
            return self.require(false, || format!("{id} ends and was never submitted"));
        };
        let before = truth.end.replace(Arc::clone(record));
        let (failed, script) = (truth.failed, truth.script.clone());
        let (is_cancel_wanted, is_queued) = (truth.is_cancel_wanted, truth.is_queued);
        self.require(before.is_none(), || {
            let former = before.as_ref().map_or("", |end| end.state.as_str());
            format!("{id} ends twice: {former}, then {} by {:?}", record.state.as_str(), record.attempt)
        });
        match record.state {
            JobState::Committed => self.check_committed(record),
            JobState::Dead => self.check_dead(record, &script, failed, now),
            JobState::Cancelled => self.require(is_cancel_wanted, || format!("{id} is cancelled without an order")),
            JobState::Abandoned => self.require(!is_queued, || format!("{id} is abandoned although it was queued")),
            JobState::Queued | JobState::Running => self.require(false, || format!("{id} ends as {:?}", record.state)),
        }
    }

    fn check_committed(&mut self, record: &TerminalRecord) {
        let done = record.attempt.and_then(|id| self.attempts.get(&id)).is_some_and(|attempt| {
            attempt.job == record.job && matches!(&attempt.outcome, Some(Executed::Done { result }) if *result == record.result)
        });
        self.require(done, || format!("{} is committed by {:?}, which did not do that work", record.job, record.attempt));
    }

    fn check_dead(&mut self, record: &TerminalRecord, script: &Script, failed: u32, now: u64) {
        let retries = script.spec.max_retries;
        if script.is_hopeless && record.failures > 0 {
            self.require(failed > 0, || format!("{} is dead of a failure that never was", record.job));
        } else if record.failures > retries {
            let counted = record.failures;
            self.require(failed >= counted, || {
                format!("{} is dead after {counted} failures, but really failed {failed} times", record.job)
            });
        } else {
            let was_away = !self.away_since.is_empty() || self.last_away_ms.is_some_and(|at| at + RECENTLY_AWAY_MS > now);
            self.require(!script.is_possible || was_away, || format!("{} is dead for no reason: {}", record.job, record.reason));
        }
    }

    pub(crate) fn unfinished(&self) -> impl Iterator<Item = (JobId, bool)> + '_ {
        self.jobs.iter().filter(|(_, truth)| truth.end.is_none()).map(|(job, truth)| (*job, truth.is_queued))
    }

    /// Called while no fault is left: something must happen before long as long as a queued job has not ended.
    pub(crate) fn check_stall(&mut self, healthy_since: u64, now: u64) {
        let waits_since = self.last_progress.max(healthy_since);
        if self.working > 0 || now < waits_since + STALL_MS {
            return;
        }
        let stuck = self.unfinished().find(|(_, is_queued)| *is_queued).map(|(job, _)| job);
        if let Some(job) = stuck {
            self.require(false, || format!("{job} waits for ever: nothing has happened for {STALL_MS} ms"));
        }
    }

    /// How the jobs really ended, to be held against the ledger.
    pub(crate) fn counts(&self) -> LedgerSnapshot {
        let mut counts = LedgerSnapshot::default();
        for end in self.jobs.values().filter_map(|truth| truth.end.as_ref()) {
            match end.state {
                JobState::Committed => counts.committed += 1,
                JobState::Dead => counts.dead += 1,
                JobState::Cancelled => counts.cancelled += 1,
                JobState::Abandoned => counts.abandoned += 1,
                JobState::Queued | JobState::Running => {}
            }
        }
        counts.submitted = counts.ended();
        counts
    }

    pub(crate) fn fail(&mut self, words: String) {
        self.require(false, || words);
    }
}

fn draw_plan(rng: &mut Pcg64Mcg, script: &Script, id: AttemptId) -> Plan {
    let after_ms = (script.work_ms as f64 * rng.random_range(0.7..1.4)) as u64 + 1;
    let executed = if script.is_hopeless {
        Executed::Failed { detail: "a parameter that no executor takes".into(), retry: false }
    } else if rng.random_bool(script.fails) {
        Executed::Failed { detail: "the job failed".into(), retry: true }
    } else {
        Executed::Done { result: id.to_string() }
    };
    Plan { after_ms, executed }
}
