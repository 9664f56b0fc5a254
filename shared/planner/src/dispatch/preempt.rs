//! Which running jobs go so that another one starts.
//!
//! Nothing is stopped unless the job that is to start then does. That is tried on a copy of the books first; of the jobs that would go, all that
//! need not are given back, from the last one to the first (Kueue's classic preemption). In its own queue a job takes the place of jobs with a
//! lower priority, never of an equal one. From other queues it takes what they hold beyond their quota or fair share, whatever the priority (see
//! [`Shares::may_reclaim`]). A job that is not preemptible stays, and so does one that has not run for the minimum yet (KAI's `minRuntime`).
//!
//! Of those that may go, the ones with the lowest priority go first, then those that lose the least work since their last checkpoint times GPUs,
//! then the youngest.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use super::request::JobNumber;
use super::shares::{Amounts, Books, Shares};

/// Whether jobs are stopped for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PreemptionSettings {
    /// For jobs of the same queue with a higher priority.
    pub by_priority: bool,
    /// For queues that hold less than their quota or fair share.
    pub reclaim: bool,
    /// How long a job runs before it can be stopped for another one.
    pub min_run_ms: u64,
}

/// A job that waits and does not fit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanting {
    pub(crate) queue: u32,
    pub(crate) priority: u8,
    pub(crate) preemptible: bool,
    pub(crate) amounts: Amounts,
}

/// A job that runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running {
    pub(crate) job: JobNumber,
    pub(crate) queue: u32,
    pub(crate) priority: u8,
    pub(crate) preemptible: bool,
    pub(crate) amounts: Amounts,
    pub(crate) started_ms: u64,
    /// What it did until then is kept when it is stopped: its last checkpoint, or its start.
    pub(crate) kept_ms: u64,
}

impl Running {
    /// What stopping it costs, in milliseconds x thousandths of GPUs.
    fn lost(&self, now_ms: u64) -> u128 {
        u128::from(now_ms.saturating_sub(self.kept_ms)) * u128::from(self.amounts.gpu_milli)
    }
}

/// The nodes, on which changes can be tried out.
pub(crate) trait Trial {
    /// What the job holds is free.
    fn take_out(&mut self, job: JobNumber);
    /// It is held again, as it was.
    fn put_back(&mut self, job: JobNumber);
    /// Whether the job that wants to start would, now.
    fn fits(&mut self) -> bool;
}

/// What came of the search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// These go, and are taken out of the trial. Never empty.
    Victims(Vec<JobNumber>),
    /// No set of jobs helps; the trial is as it was. A job becomes old enough to be stopped at that instant: until then the answer stays,
    /// unless something starts or ends.
    Nothing { ask_again_ms: Option<u64> },
}

/// Chooses the jobs that go for `wanting`. The trial decides what fits; the shares, who may take what from which queue.
pub(crate) fn choose(
    wanting: &Wanting,
    running: impl Iterator<Item = Running>,
    shares: &Shares,
    settings: &PreemptionSettings,
    now_ms: u64,
    trial: &mut impl Trial,
) -> Choice {
    let mut ask_again_ms: Option<u64> = None;
    let mut may_go = Vec::new();
    for job in running.filter(|job| job.preemptible) {
        let is_asked = if job.queue == wanting.queue { settings.by_priority && job.priority < wanting.priority } else { settings.reclaim };
        // At the instant at which it starts nothing is stopped, so at one instant nothing goes back and forth.
        let from_ms = job.started_ms.saturating_add(settings.min_run_ms.max(1));
        if is_asked && from_ms > now_ms {
            ask_again_ms = Some(ask_again_ms.map_or(from_ms, |earliest| earliest.min(from_ms)));
        } else if is_asked {
            may_go.push(job);
        }
    }
    may_go.sort_unstable_by_key(|job| (job.priority, job.lost(now_ms), Reverse(job.started_ms), Reverse(job.job)));
    let rules = Rules { wanting, shares };
    let victims = rules.in_order(&may_go);
    match rules.fewest(victims, trial) {
        Some(victims) => Choice::Victims(victims.into_iter().map(|victim| victim.job).collect()),
        None => Choice::Nothing { ask_again_ms },
    }
}

struct Rules<'a> {
    wanting: &'a Wanting,
    shares: &'a Shares,
}

impl Rules<'_> {
    /// All jobs that may go, one after the other; each must be allowed once those before it are gone.
    fn in_order(&self, may_go: &[Running]) -> Vec<Running> {
        let mut without = self.shares.books();
        let mut with = self.shares.books();
        self.shares.take_in(&mut with, self.wanting.queue, &self.wanting.amounts, self.wanting.preemptible);
        let mut victims = Vec::new();
        for job in may_go {
            if self.is_allowed(&with, &without, job) {
                self.remove(&mut with, job);
                self.remove(&mut without, job);
                victims.push(*job);
            }
        }
        victims
    }

    fn is_allowed(&self, with: &Books, without: &Books, job: &Running) -> bool {
        job.queue == self.wanting.queue || self.shares.may_reclaim(self.wanting.queue, with, job.queue, &job.amounts, without)
    }

    fn remove(&self, books: &mut Books, job: &Running) {
        self.shares.give_in(books, job.queue, &job.amounts, job.preemptible);
    }

    /// Whether the rules of the queues let the job start for these, in this order.
    fn hold(&self, victims: &[Running]) -> bool {
        let mut without = self.shares.books();
        let own = victims.iter().filter(|job| job.queue == self.wanting.queue);
        own.for_each(|job| self.remove(&mut without, job));
        let (queue, amounts, preemptible) = (self.wanting.queue, &self.wanting.amounts, self.wanting.preemptible);
        if self.shares.bound_in(&without, queue, amounts, preemptible).is_some() {
            return false;
        }
        let mut with = without.clone();
        self.shares.take_in(&mut with, queue, amounts, preemptible);
        if !self.shares.may_grow(queue, &with) {
            return false;
        }
        victims.iter().filter(|job| job.queue != queue).all(|job| {
            let is_allowed = self.is_allowed(&with, &without, job);
            self.remove(&mut with, job);
            self.remove(&mut without, job);
            is_allowed
        })
    }

    /// The shortest beginning of the list that is enough, without all those that are not needed. What fits with some jobs gone fits with more of
    /// them gone, therefore doubling and halving find the beginning.
    fn fewest(&self, mut victims: Vec<Running>, trial: &mut impl Trial) -> Option<Vec<Running>> {
        // So many are taken out; so many are known not to be enough.
        let (mut out, mut too_few) = (0, 0);
        let mut enough = 0;
        while enough == 0 {
            if out == victims.len() {
                victims.iter().rev().for_each(|job| trial.put_back(job.job));
                return None;
            }
            too_few = out;
            out = (2 * out).clamp(1, victims.len());
            victims[too_few..out].iter().for_each(|job| trial.take_out(job.job));
            if self.hold(&victims[..out]) && trial.fits() {
                enough = out;
            }
        }
        while enough - too_few > 1 {
            let half = too_few + (enough - too_few) / 2;
            victims[half.min(out)..out].iter().rev().for_each(|job| trial.put_back(job.job));
            victims[out.min(half)..half].iter().for_each(|job| trial.take_out(job.job));
            out = half;
            if self.hold(&victims[..half]) && trial.fits() { enough = half } else { too_few = half }
        }
        victims[out.min(enough)..enough].iter().for_each(|job| trial.take_out(job.job));
        victims.truncate(enough);
        while self.give_back(&mut victims, trial) {}
        Some(victims)
    }

    /// Gives back the jobs that are not needed, from the last to the first. True when there were some: with those back, a queue holds more than
    /// it did, and a job of it may be enough that was not allowed to be before.
    fn give_back(&self, victims: &mut Vec<Running>, trial: &mut impl Trial) -> bool {
        let before = victims.len();
        for at in (0..before).rev() {
            let job = victims.remove(at);
            trial.put_back(job.job);
            if victims.is_empty() || !self.hold(victims) || !trial.fits() {
                trial.take_out(job.job);
                victims.insert(at, job);
            }
        }
        victims.len() < before
    }
}
