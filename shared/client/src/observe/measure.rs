//! The figures: what the fold says about one stretch of time.

use std::collections::BTreeSet;

use faultline_engine::fault::cause::{BrokenAttempt, cause_of};
use faultline_engine::job::{AttemptId, AttemptOutcome, JobState};
use faultline_protocol::messages::{FaultTruth, Measurements, Spread};

use super::focus::VERDICT_GRACE_MS;
use super::{Focus, JobFacts, LostAttempt, Observer};

/// How far the clocks of two machines may be apart before a job that was placed a moment ago is taken for lost.
const CLOCK_SLACK_MS: u64 = 1_000;
/// After this long an open marker without a job is not a submission under way: the scheduler's sweeper would have closed it.
const SUBMISSION_LIMIT_MS: u64 = 150_000;

/// The percentiles of these durations; none of none.
pub(crate) fn spread(mut durations: Vec<u64>) -> Option<Spread> {
    durations.sort_unstable();
    let max_ms = *durations.last()?;
    // Nearest rank: the smallest value that at least this share does not exceed.
    let rank = |percent: usize| durations[(durations.len() * percent).div_ceil(100).clamp(1, durations.len()) - 1];
    Some(Spread { count: durations.len() as u64, p50_ms: rank(50), p95_ms: rank(95), p99_ms: rank(99), max_ms })
}

impl Observer {
    /// What happened from `from_ms` up to and including `to_ms`.
    pub fn measure(&self, from_ms: u64, to_ms: u64) -> Measurements {
        self.measure_of(from_ms, to_ms, None)
    }

    /// The same; with a focus only its faults count, and what other faults did does not. Promises about jobs always count.
    pub fn measure_of(&self, from_ms: u64, to_ms: u64, focus: Option<&Focus>) -> Measurements {
        let within = |at_ms: u64| (from_ms..=to_ms).contains(&at_ms);
        let ended = |state: JobState| {
            self.jobs.values().filter(|job| job.ended.is_some_and(|end| end.state == state && within(end.at_ms))).count() as u64
        };
        let mut measured = Measurements {
            from_ms,
            to_ms,
            submitted: self.jobs.values().filter(|job| job.submitted_at_ms.is_some_and(within)).count() as u64,
            committed: ended(JobState::Committed),
            dead: ended(JobState::Dead),
            cancelled: ended(JobState::Cancelled),
            abandoned: ended(JobState::Abandoned),
            open: self.jobs.values().filter(|job| job.ended.is_none_or(|end| end.at_ms > to_ms)).count() as u64,
            lost: self.lost_jobs(),
            duplicates: self.duplicates(),
            dead_letters: self.dead_letters.values().filter(|&&at_ms| within(at_ms)).count() as u64,
            attempts_placed: self.placements.values().flat_map(|placed| placed.keys()).filter(|&&at_ms| within(at_ms)).count() as u64,
            attempts_failed: self.failed.values().filter(|&&at_ms| within(at_ms)).count() as u64,
            failover: spread(self.failovers(from_ms, to_ms, focus)),
            false_verdicts: self.false_verdicts(from_ms, to_ms, focus),
            ..Measurements::default()
        };
        self.add_detection(&mut measured, focus);
        self.add_recovery(&mut measured, focus);
        self.add_commits(&mut measured);
        self.add_gpu_time(&mut measured);
        measured
    }

    /// Commits in each of `bins` equal parts of that time.
    pub fn commits(&self, from_ms: u64, to_ms: u64, bins: usize) -> Vec<u64> {
        let mut counts = vec![0; bins];
        let width_ms = (to_ms.saturating_sub(from_ms) / bins.max(1) as u64).max(1);
        let ends = self.jobs.values().filter_map(|job| job.ended.filter(|end| end.state == JobState::Committed));
        for end in ends.filter(|end| (from_ms..to_ms).contains(&end.at_ms)) {
            if let Some(count) = usize::try_from((end.at_ms - from_ms) / width_ms).ok().and_then(|at| counts.get_mut(at)) {
                *count += 1;
            }
        }
        counts
    }

    /// Jobs that were in JOBS before the last look at it, were not there then, and have no end.
    fn lost_jobs(&self) -> Option<u64> {
        let look = self.queue.as_ref()?;
        let is_nowhere = |job: &JobFacts| {
            let was_queued = job.queued_by_ms.is_some_and(|at_ms| at_ms + CLOCK_SLACK_MS < look.at_ms);
            let is_old = job.submitted_at_ms.is_some_and(|at_ms| at_ms + SUBMISSION_LIMIT_MS < look.at_ms);
            job.ended.is_none() && (was_queued || is_old)
        };
        Some(self.jobs.iter().filter(|(id, job)| is_nowhere(job) && !look.jobs.contains(id)).count() as u64)
    }

    /// The ledger reads every end, we only the last one of each job: the larger number counts.
    fn duplicates(&self) -> u64 {
        let by_ledger = self.ledger.as_ref().map_or(0, |(first, newest)| newest.duplicates.saturating_sub(first.duplicates));
        by_ledger.max(self.ended_twice.len() as u64)
    }

    /// The nodes that a fault breaks; none for one of a service without nodes.
    fn affected(&self, fault: &FaultTruth) -> BTreeSet<&str> {
        self.hosts
            .iter()
            .filter(|(node, worker)| **node == fault.target || **worker == fault.target)
            .map(|(node, _)| node.as_str())
            .collect()
    }

    /// Those that began in this time and count.
    fn faults_of<'a>(&'a self, from_ms: u64, to_ms: u64, focus: Option<&'a Focus>) -> impl Iterator<Item = &'a FaultTruth> {
        // An experiment's own faults are known by its signature. Their times are another machine's, and may lie a little before the order.
        let counts = move |fault: &&FaultTruth| match focus {
            Some(focus) => focus.is_own(fault),
            None => (from_ms..=to_ms).contains(&fault.from_ms),
        };
        self.faults.values().filter(counts)
    }

    pub(super) fn is_hit(&self, fault: &FaultTruth, node: &str) -> bool {
        fault.target == node || self.hosts.get(node).is_some_and(|worker| *worker == fault.target)
    }

    fn add_detection(&self, measured: &mut Measurements, focus: Option<&Focus>) {
        let mut noticed = Vec::new();
        for fault in self.faults_of(measured.from_ms, measured.to_ms, focus) {
            measured.faults += 1;
            let nodes = self.affected(fault);
            // A single GPU is reported by its own worker, and needs no verdict on the node.
            if nodes.is_empty() || fault.gpu.is_some() {
                continue;
            }
            let until_ms = fault.until_ms.map_or(u64::MAX, |until_ms| until_ms.saturating_add(VERDICT_GRACE_MS));
            let verdict = self
                .verdicts
                .values()
                .find(|verdict| (fault.from_ms..=until_ms).contains(&verdict.at_ms) && nodes.contains(verdict.node.as_str()));
            match verdict {
                Some(verdict) => noticed.push(verdict.at_ms - fault.from_ms),
                None => measured.faults_unnoticed += 1,
            }
        }
        measured.detection = spread(noticed);
    }

    fn false_verdicts(&self, from_ms: u64, to_ms: u64, focus: Option<&Focus>) -> u64 {
        let is_baseline = |node: &str| focus.is_some_and(|focus| focus.baseline.contains(node));
        let has_fault = |node: &str, at_ms: u64| {
            self.faults.values().any(|fault| {
                let until_ms = fault.until_ms.map_or(u64::MAX, |until_ms| until_ms.saturating_add(VERDICT_GRACE_MS));
                (fault.from_ms..=until_ms).contains(&at_ms) && self.is_hit(fault, node)
            })
        };
        let verdicts = self.verdicts.values().filter(|verdict| (from_ms..=to_ms).contains(&verdict.at_ms));
        verdicts.filter(|verdict| !is_baseline(&verdict.node) && !has_fault(&verdict.node, verdict.at_ms)).count() as u64
    }

    /// The fault that an attempt was lost by, and from when on it counts.
    fn cause_of_loss(&self, id: AttemptId, lost: &LostAttempt) -> Option<(&FaultTruth, u64)> {
        let placed = self.placements.get(&lost.job).into_iter().flatten().find(|(_, attempt)| **attempt == id);
        let attempt = BrokenAttempt {
            node: &lost.node,
            worker: self.hosts.get(&lost.node).map(String::as_str),
            from_ms: placed.map_or(0, |(&at_ms, _)| at_ms),
            ended_ms: lost.at_ms,
            outcome: AttemptOutcome::Lost,
            detail: &lost.detail,
        };
        // What was placed on a node that was broken already waits from its own placement on.
        cause_of(&attempt, self.faults.values()).map(|fault| (fault, lost.at_ms - attempt.noticed_after_ms(fault)))
    }

    fn add_recovery(&self, measured: &mut Measurements, focus: Option<&Focus>) {
        let (mut placed_again, mut committed_again) = (Vec::new(), Vec::new());
        for (&id, lost) in self.lost.iter().filter(|(_, lost)| (measured.from_ms..=measured.to_ms).contains(&lost.at_ms)) {
            let cause = self.cause_of_loss(id, lost);
            if let (Some(focus), Some((fault, _))) = (focus, cause)
                && !focus.is_own(fault)
            {
                continue;
            }
            measured.attempts_lost += 1;
            let end = self.jobs.get(&lost.job).and_then(|job| job.ended);
            let placements = || self.placements.get(&lost.job).into_iter().flatten();
            let next_ms = placements().find(|(at_ms, attempt)| **at_ms >= lost.at_ms && **attempt != id).map(|(&at_ms, _)| at_ms);
            if next_ms.is_none() && end.is_none() {
                measured.unrecovered += 1;
            }
            let Some((_, began_ms)) = cause else { continue };
            placed_again.extend(next_ms.map(|at_ms| at_ms.saturating_sub(began_ms)));
            let commit = end.filter(|end| end.state == JobState::Committed);
            committed_again.extend(commit.map(|end| end.at_ms.saturating_sub(began_ms)));
        }
        measured.recovery = spread(placed_again);
        measured.recommit = spread(committed_again);
    }

    fn failovers(&self, from_ms: u64, to_ms: u64, focus: Option<&Focus>) -> Vec<u64> {
        let led_at = |at_ms: u64| self.leaders.range(..=at_ms).next_back().map(|(_, service)| service);
        self.faults_of(from_ms, to_ms, focus)
            .filter(|fault| led_at(fault.from_ms) == Some(&fault.target))
            .filter_map(|fault| self.leaders.range(fault.from_ms + 1..).next().map(|(at_ms, _)| at_ms - fault.from_ms))
            .collect()
    }

    fn add_commits(&self, measured: &mut Measurements) {
        let (mut ends, mut latencies) = (Vec::new(), Vec::new());
        for job in self.jobs.values() {
            let Some(end) = job.ended.filter(|end| end.state == JobState::Committed) else { continue };
            if (measured.from_ms..=measured.to_ms).contains(&end.at_ms) {
                ends.push(end.at_ms);
                latencies.extend(job.submitted_at_ms.map(|at_ms| end.at_ms.saturating_sub(at_ms)));
            }
        }
        ends.sort_unstable();
        let before = std::iter::once(measured.from_ms).chain(ends.iter().copied());
        measured.stall_ms = before.zip(&ends).map(|(before, end)| end - before).max();
        measured.latency = spread(latencies);
        let seconds = measured.to_ms.saturating_sub(measured.from_ms) as f64 / 1000.0;
        measured.throughput_per_s = if seconds > 0.0 { ends.len() as f64 / seconds } else { 0.0 };
    }

    /// Attempts that ended in this time, with the whole of their time. A lost one counts until it was given up.
    fn add_gpu_time(&self, measured: &mut Measurements) {
        for attempt in self.attempts.values() {
            let Some(ended_at_ms) = attempt.ended_at_ms.filter(|at_ms| (measured.from_ms..=measured.to_ms).contains(at_ms)) else {
                continue;
            };
            let gpu_ms = ended_at_ms.saturating_sub(attempt.placed_at_ms) * attempt.gpu_milli / 1000;
            let gpu_s = gpu_ms as f64 / 1000.0;
            measured.gpu_s_used += gpu_s;
            if attempt.outcome == AttemptOutcome::Committed {
                measured.gpu_s_committed += gpu_s;
            }
        }
        measured.goodput = (measured.gpu_s_used > 0.0).then(|| measured.gpu_s_committed / measured.gpu_s_used);
    }
}
