//! Jobs that are stopped so that others start: tried out on the planner's books, and then decided.

use std::collections::HashMap;

use crate::index::View;
use crate::planner::Planner;

use super::Dispatcher;
use super::decision::Dispatch;
use super::gang::{Gang, Tried};
use super::job::{Job, Remaining, State};
use super::lines::{Key, LineId};
use super::pass::{Attempt, Passing};
use super::preempt::{Choice, Running, Trial, Wanting, choose};
use super::request::JobNumber;
use super::shares::Shares;

/// The planner's books, on which stops are tried out.
struct Bench<'a> {
    planner: &'a mut Planner,
    jobs: &'a HashMap<JobNumber, Job>,
    gang: Gang,
    view: View,
}

impl Trial for Bench<'_> {
    fn take_out(&mut self, job: JobNumber) {
        let run = self.jobs.get(&job).and_then(Job::run);
        run.into_iter().flat_map(|run| &run.placements).for_each(|placement| self.planner.world.take_back(placement));
    }

    fn put_back(&mut self, job: JobNumber) {
        let run = self.jobs.get(&job).and_then(Job::run);
        run.into_iter().flat_map(|run| &run.placements).for_each(|placement| self.planner.world.take_again(placement));
    }

    fn fits(&mut self) -> bool {
        let mut unlimited = usize::MAX;
        let Tried::Placed(tasks) = self.planner.try_gang(&self.gang, self.view, &mut unlimited) else { return false };
        tasks.iter().rev().for_each(|task| self.planner.world.take_back(&task.placement));
        true
    }
}

impl Dispatcher {
    /// Starts the job where it fits, or in the place of others.
    pub(super) fn attempt_or_stop_others(&mut self, key: Key, line: LineId, passing: &mut Passing) -> Attempt {
        let attempt = self.attempt_reserved(key, line, passing);
        let preemption = self.settings.preemption;
        let may_stop = preemption.by_priority || preemption.reclaim;
        if !may_stop || matches!(attempt, Attempt::Started | Attempt::OutOfBudget) || self.stops.is_in_vain(key.job, passing.now_ms) {
            return attempt;
        }
        if passing.is_full() {
            return Attempt::OutOfBudget;
        }
        if passing.budget == 0 {
            passing.pass.unfinished = true;
            return Attempt::OutOfBudget;
        }
        passing.budget = passing.budget.saturating_sub(self.running());
        let view = self.view_for(key.job, passing.now_ms);
        match self.choose_stops(key.job, line, view, passing.now_ms) {
            Choice::Victims(victims) => {
                victims.iter().for_each(|victim| self.stop(*victim, key.job, passing));
                // What they leave over is for those that stood aside.
                passing.pass.unfinished = true;
                self.lines.step_forward(line);
                let budget = std::mem::replace(&mut passing.budget, usize::MAX);
                let attempt = self.attempt_in(key, line, view, passing);
                passing.budget = budget;
                debug_assert_eq!(attempt, Attempt::Started, "jobs are stopped only for one that then starts");
                attempt
            }
            Choice::Nothing { ask_again_ms } => {
                let again_ms = ask_again_ms.into_iter().chain(self.shares_change_ms()).min();
                self.stops.set_in_vain(key.job, again_ms);
                attempt
            }
        }
    }

    fn choose_stops(&mut self, job: JobNumber, line: LineId, view: View, now_ms: u64) -> Choice {
        let nothing = Choice::Nothing { ask_again_ms: None };
        let demand = *self.lines.demand(line);
        let gang = Gang { tasks: demand.gang.min_tasks, ..demand.gang };
        let Some(priority) = self.jobs.get(&job).map(|job| job.request.priority) else { return nothing };
        let amounts = self.amounts_of(gang.class, gang.tasks);
        let wanting = Wanting { queue: demand.queue, priority, preemptible: demand.preemptible, amounts };
        let preemption = &self.settings.preemption;
        let from_own = preemption.by_priority && self.stops.has_lower(demand.queue, priority);
        let may_take = |shares: &Shares| shares.may_take(demand.queue, &amounts);
        let from_others = preemption.reclaim && self.shares.as_ref().is_some_and(may_take);
        if !from_own && !from_others {
            return nothing;
        }
        let mut running: Vec<Running> = self.jobs.iter().filter_map(|(number, job)| self.as_running(*number, job)).collect();
        running.sort_unstable_by_key(|running| running.job);
        let Some(shares) = &self.shares else { return nothing };
        let mut bench = Bench { planner: &mut self.planner, jobs: &self.jobs, gang, view };
        let choice = choose(&wanting, running.into_iter(), shares, &self.settings.preemption, now_ms, &mut bench);
        if let Choice::Victims(victims) = &choice {
            victims.iter().rev().for_each(|victim| bench.put_back(*victim));
        }
        choice
    }

    fn as_running(&self, number: JobNumber, job: &Job) -> Option<Running> {
        let (run, request) = (job.run()?, &job.request);
        Some(Running {
            job: number,
            queue: request.queue,
            priority: request.priority,
            preemptible: request.preemptible,
            amounts: self.amounts_of(request.class, run.placements.len() as u32),
            started_ms: run.started_ms,
            kept_ms: run.checkpointed_ms.unwrap_or(run.started_ms),
        })
    }

    /// The job waits again, with what is left of its estimate.
    pub(super) fn stop(&mut self, job: JobNumber, for_job: JobNumber, passing: &mut Passing) {
        let Some(Job { expected_ms, state: State::Running(run), .. }) = self.jobs.get(&job) else { return };
        let kept_ms = run.checkpointed_ms.map_or(0, |at_ms| at_ms.saturating_sub(run.started_ms));
        let remaining = Remaining { estimate_ms: expected_ms.map(|expected_ms| expected_ms.saturating_sub(kept_ms)) };
        self.interrupted(job, passing.now_ms, remaining);
        self.stops.stopped(job);
        passing.pass.decisions.push(Dispatch::Preempt { job, for_job });
    }

    /// A job that waits is expected to run for so long.
    pub(super) fn estimated_anew(&mut self, job: JobNumber, now_ms: u64, remaining: Remaining) -> bool {
        if self.place_in_line(job).is_none() {
            return false;
        }
        self.unqueue(job);
        let Some(Job { request, attained_gpu_milli_ms, .. }) = self.jobs.remove(&job) else { return false };
        self.count_out(&request);
        self.wait(job, request, remaining.estimate_ms, attained_gpu_milli_ms, now_ms);
        true
    }
}
