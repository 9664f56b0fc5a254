//! Elastic jobs that run get more tasks where nothing else can use what is free, and give tasks back to a job that waits before any job is
//! stopped for it.

use std::cmp::Reverse;

use crate::decision::Placed;
use crate::index::View;
use crate::node::{NodeId, Placement};

use super::Dispatcher;
use super::decision::Dispatch;
use super::elastic::stretched;
use super::gang::{Gang, Tried};
use super::job::{Job, Run, State};
use super::lines::LineId;
use super::pass::Passing;
use super::request::{JobNumber, Level, Request};
use super::shares::{Books, Shares};

/// A running job that may lose tasks, tried out on the planner's books.
struct Lender {
    job: JobNumber,
    request: Request,
    /// Its tasks that are taken out, by position.
    out: Vec<(usize, Placement)>,
}

impl Dispatcher {
    /// When the first of the elastic jobs that run may be resized again.
    pub fn settles_ms(&self) -> Option<u64> {
        self.elastic.settling.first().map(|(from_ms, _)| *from_ms)
    }

    /// Some tasks of a running job are lost, and the job goes on with the others: those of which `is_lost` does not hold. What it has then;
    /// `None`, and nothing changes, when jobs are not resized, or too few would be left.
    pub fn lose_tasks(&mut self, job: JobNumber, now_ms: u64, is_lost: impl Fn(&Placement) -> bool) -> Option<Vec<Placement>> {
        self.settings.resize_min_ms?;
        let known = self.jobs.get(&job)?;
        let left: Vec<Placement> = known.run()?.placements.iter().filter(|placement| !is_lost(placement)).copied().collect();
        if left.len() < known.request.min_tasks as usize {
            return None;
        }
        self.resize(job, left.clone(), now_ms);
        Some(left)
    }

    /// A job has started: from now on it may be resized, though not at once.
    pub(super) fn may_be_resized(&mut self, job: JobNumber, request: &Request, now_ms: u64) {
        if let Some(resize_min_ms) = self.settings.resize_min_ms.filter(|_| request.resizable && request.min_tasks < request.tasks) {
            self.elastic.jobs.insert(job);
            self.elastic.settling.insert((now_ms.saturating_add(resize_min_ms.max(1)), job));
        }
    }

    /// The job runs no longer.
    pub(super) fn is_not_resized(&mut self, job: JobNumber) {
        if self.elastic.jobs.remove(&job) {
            self.elastic.settling.retain(|(_, other)| *other != job);
        }
    }

    /// Jobs that have kept their tasks for long enough may be resized from now on. Whether there are such that were not so before.
    pub(super) fn settle(&mut self, now_ms: u64) {
        let mut settled = false;
        while self.elastic.settling.first().is_some_and(|(from_ms, _)| *from_ms <= now_ms) {
            self.elastic.settling.pop_first();
            settled = true;
        }
        if settled {
            self.elastic.is_stale = true;
            self.lines.rejoin(|_| true);
        }
    }

    /// Whether what is free on one node may be enough for a job that does not fit there: others can make room beside it.
    pub(super) fn others_may_make_room(&self) -> bool {
        self.elastic.jobs.len() > self.elastic.settling.len()
    }

    fn is_settled(&self, job: JobNumber, now_ms: u64) -> bool {
        let resize_min_ms = self.settings.resize_min_ms.unwrap_or(u64::MAX).max(1);
        self.jobs.get(&job).and_then(Job::run).is_some_and(|run| run.resized_ms.saturating_add(resize_min_ms) <= now_ms)
    }

    /// Takes tasks from running jobs so that the first job of the line starts; false, and nothing changes, when that does not help. The jobs
    /// with the lowest priority lose tasks first, then the youngest, and none more than are needed. With fewer tasks a job ends later, so while
    /// nodes are kept for others, none loses any.
    pub(super) fn make_room(&mut self, for_job: JobNumber, line: LineId, view: View, passing: &mut Passing) -> bool {
        if self.reservations.iter().any(|other| other.job != for_job) {
            return false;
        }
        let demand = *self.lines.demand(line);
        let gang = Gang { tasks: demand.gang.min_tasks, ..demand.gang };
        let amounts = self.amounts_of(gang.class, gang.tasks);
        let mut lenders = self.lenders(passing.now_ms);
        passing.budget = passing.budget.saturating_sub(lenders.len());
        let mut books = self.shares.as_ref().map(Shares::books);
        let fits = |dispatcher: &mut Self, books: &Option<Books>| {
            let shares = dispatcher.shares.as_ref().zip(books.as_ref());
            let is_bound =
                |(shares, books): (&Shares, &Books)| shares.bound_in(books, demand.queue, &amounts, demand.preemptible).is_some();
            if shares.is_some_and(is_bound) {
                return false;
            }
            let mut unlimited = usize::MAX;
            let Tried::Placed(tasks) = dispatcher.planner.try_gang(&gang, view, &mut unlimited) else { return false };
            tasks.iter().rev().for_each(|task| dispatcher.planner.world.take_back(&task.placement));
            true
        };
        let mut enough = None;
        for (at, lender) in lenders.iter_mut().enumerate() {
            lender.out = self.extra_tasks(lender);
            (0..lender.out.len()).for_each(|task| self.lend(lender, task, true, &mut books));
            if fits(self, &books) {
                enough = Some(at + 1);
                break;
            }
        }
        lenders.truncate(enough.unwrap_or(lenders.len()));
        for lender in lenders.iter_mut().rev() {
            for task in (0..lender.out.len()).rev() {
                self.lend(lender, task, false, &mut books);
                if enough.is_some() && !fits(self, &books) {
                    self.lend(lender, task, true, &mut books);
                } else {
                    lender.out.remove(task);
                }
            }
        }
        // All as it was: what is decided is then done in the usual way.
        for lender in &lenders {
            (0..lender.out.len()).for_each(|task| self.lend(lender, task, false, &mut None));
        }
        lenders.retain(|lender| !lender.out.is_empty());
        for lender in &lenders {
            self.shrink(lender, for_job, passing);
        }
        enough.is_some()
    }

    fn lenders(&self, now_ms: u64) -> Vec<Lender> {
        let settled = self.elastic.jobs.iter().filter(|job| self.is_settled(**job, now_ms));
        let mut lenders: Vec<(u64, Lender)> = settled
            .filter_map(|job| {
                let known = self.jobs.get(job)?;
                let run = known.run()?;
                let has_more = run.placements.len() > known.request.min_tasks as usize;
                has_more.then(|| (run.started_ms, Lender { job: *job, request: known.request, out: Vec::new() }))
            })
            .collect();
        lenders.sort_unstable_by_key(|(started_ms, lender)| (lender.request.priority, Reverse(*started_ms), Reverse(lender.job)));
        lenders.into_iter().map(|(_, lender)| lender).collect()
    }

    /// The tasks that a job has beyond the fewest that it runs with: its last ones.
    fn extra_tasks(&self, lender: &Lender) -> Vec<(usize, Placement)> {
        let placements = self.tasks_of(lender.job);
        placements.iter().copied().enumerate().skip(lender.request.min_tasks as usize).collect()
    }

    /// What if it did not have this task: the books without it, or with it again.
    fn lend(&mut self, lender: &Lender, task: usize, out: bool, books: &mut Option<Books>) {
        let placement = lender.out[task].1;
        let Request { queue, class, preemptible, .. } = lender.request;
        let amounts = self.amounts_of(class, 1);
        if out {
            self.planner.world.take_back(&placement)
        } else {
            self.planner.world.take_again(&placement)
        }
        if let Some((shares, books)) = self.shares.as_ref().zip(books.as_mut()) {
            if out { shares.give_in(books, queue, &amounts, preemptible) } else { shares.take_in(books, queue, &amounts, preemptible) }
        }
    }

    fn shrink(&mut self, lender: &Lender, for_job: JobNumber, passing: &mut Passing) {
        let is_out = |at: usize| lender.out.iter().any(|(out, _)| *out == at);
        let left = self.tasks_of(lender.job).iter().enumerate().filter(|(at, _)| !is_out(*at)).map(|(_, placement)| *placement);
        let left: Vec<Placement> = left.collect();
        self.resize(lender.job, left.clone(), passing.now_ms);
        passing.pass.decisions.push(Dispatch::Resize { job: lender.job, tasks: left, for_job: Some(for_job) });
        // What it leaves over is for those that stood aside.
        passing.pass.unfinished = true;
    }

    /// Where nothing that waits could start, running jobs get tasks that they lack: the highest priority first, then as submitted.
    pub(super) fn grow(&mut self, passing: &mut Passing) {
        if passing.pass.unfinished || !std::mem::take(&mut self.elastic.is_stale) {
            return;
        }
        let resize_min_ms = self.settings.resize_min_ms.unwrap_or(u64::MAX);
        let lacks = |job: &JobNumber| {
            let known = self.jobs.get(job)?;
            let (run, request) = (known.run()?, known.request);
            // One that is about to end would gain less than the change costs.
            let goes_on = run.ends_ms.saturating_sub(passing.now_ms) >= resize_min_ms;
            let grows = goes_on && run.placements.len() < request.tasks as usize && self.is_settled(*job, passing.now_ms);
            grows.then_some((Reverse(request.priority), request.submitted_ms, *job, request))
        };
        let mut jobs: Vec<_> = self.elastic.jobs.iter().filter_map(lacks).collect();
        jobs.sort_unstable_by_key(|(priority, submitted_ms, job, _)| (*priority, *submitted_ms, *job));
        for (_, _, job, request) in jobs {
            self.grow_one(job, &request, passing);
        }
    }

    fn grow_one(&mut self, job: JobNumber, request: &Request, passing: &mut Passing) {
        let view = if self.reservations.is_empty() { View::All } else { View::Unheld };
        let mut tasks = self.tasks_of(job).to_vec();
        let before = tasks.len();
        while tasks.len() < request.tasks as usize {
            let more = (tasks.len() - before + 1) as u32;
            if self.bound(request.queue, request.class, more, request.preemptible).is_some() {
                break;
            }
            let Some(placed) = self.place_beside(request, &tasks, view) else { break };
            tasks.push(placed.placement);
        }
        if tasks.len() > before {
            self.resize(job, tasks.clone(), passing.now_ms);
            passing.pass.decisions.push(Dispatch::Resize { job, tasks, for_job: None });
        }
    }

    /// One more task of a job: in the domain of the others where that is required.
    fn place_beside(&mut self, request: &Request, others: &[Placement], view: View) -> Option<Placed> {
        let Some(level) = request.topology.filter(|topology| topology.required).map(|topology| topology.level) else {
            let mut unlimited = usize::MAX;
            return self.planner.place(request.class, view, &mut unlimited).flatten();
        };
        let (world, node) = (&self.planner.world, others.first()?.node);
        let domains = world.domains();
        let rack = domains.rack_of(node);
        let nodes: Vec<NodeId> = match level {
            Level::Node => vec![node],
            Level::Rack => domains.nodes_of(rack).to_vec(),
            Level::Block => domains.racks_of(domains.block_of(rack)).iter().flat_map(|rack| domains.nodes_of(*rack)).copied().collect(),
        };
        let may_have = |node: &NodeId| view == View::All || !world.is_held(*node);
        let able: Vec<NodeId> = nodes.into_iter().filter(may_have).collect();
        able.into_iter().find_map(|node| self.planner.place_on(request.class, node, 1))
    }

    /// A running job has these tasks from now on. Those that it had before and has not any more are given back; new ones are booked already.
    fn resize(&mut self, job: JobNumber, tasks: Vec<Placement>, now_ms: u64) {
        let Some(known) = self.jobs.get_mut(&job) else { return };
        let request = known.request;
        let State::Running(run) = &mut known.state else { return };
        let before = std::mem::replace(&mut run.placements, tasks);
        let (from, to) = (before.len() as u32, run.placements.len() as u32);
        let gpu_milli = u128::from(self.planner.gpu_milli_of(request.class)) * u128::from(from);
        known.attained_gpu_milli_ms += gpu_milli * u128::from(now_ms.saturating_sub(run.counted_ms));
        let Run { started_ms, ends_ms, .. } = *run;
        if ends_ms < u64::MAX {
            run.ends_ms = now_ms.saturating_add(stretched(ends_ms.saturating_sub(now_ms), to, from));
        }
        (run.counted_ms, run.resized_ms) = (now_ms, now_ms);
        if self.ends.remove(&(ends_ms, started_ms, job)) {
            self.ends.insert((run.ends_ms, started_ms, job));
        }
        // Tasks that share a GPU have equal placements.
        let mut kept = run.placements.clone();
        let mut is_gone = |placement: &Placement| match kept.iter().position(|other| other == placement) {
            Some(at) => {
                kept.swap_remove(at);
                false
            }
            None => true,
        };
        let gone: Vec<Placement> = before.into_iter().filter(|placement| is_gone(placement)).collect();
        gone.iter().for_each(|placement| self.planner.release(placement));
        self.elastic.is_stale |= !gone.is_empty();
        self.count_resize(&request, from, to, now_ms);
        self.is_not_resized(job);
        self.may_be_resized(job, &request, now_ms);
        self.reservations.freed();
        self.calendar.touch();
    }
}
