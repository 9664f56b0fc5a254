//! Conservative backfilling (Mu'alem and Feitelson, TPDS 2001): the jobs that wait are given a time and nodes one after the other in their order,
//! each beside all before it, so that none postpones another. A job starts when its time is now. When something ended or came, each plan in turn
//! moves forward if it can beside all others, else it stays.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::decision::Placed;
use crate::node::Placement;
use crate::world::World;

use super::Dispatcher;
use super::calendar::Planned;
use super::decision::Dispatch;
use super::job::Job;
use super::lines::{Key, LineId};
use super::pass::Passing;
use super::request::JobNumber;
use super::tally::Tally;

/// How many waiting jobs have a time at once. Those behind them wait, whatever would fit.
const PLANNED_AT_ONCE: usize = 100;

/// What came of planning a job.
enum Slot {
    Started,
    Later(Planned),
    /// It does not fit, whatever ends.
    Never,
}

/// What is tried out on the books, to be undone from its end.
#[derive(Default)]
struct Trial(Vec<(Placement, bool)>);

impl Trial {
    fn book(&mut self, world: &mut World, placements: &[Placement]) {
        for placement in placements {
            if world.is_there(placement) {
                world.put_back(placement);
                self.0.push((*placement, true));
            }
        }
    }

    fn remove(&mut self, world: &mut World, placements: &[Placement]) {
        for placement in placements {
            if world.set_aside(placement) {
                self.0.push((*placement, false));
            }
        }
    }

    fn undo(self, world: &mut World) {
        for (placement, was_booked) in self.0.into_iter().rev() {
            if was_booked {
                world.set_aside(&placement);
            } else {
                world.put_back(&placement);
            }
        }
    }
}

impl Dispatcher {
    pub(super) fn pass_conservatively(&mut self, passing: &mut Passing) {
        let is_due = self.calendar.starts_ms().any(|at_ms| at_ms <= passing.now_ms);
        if !self.calendar.is_stale && !is_due {
            return;
        }
        let mut former = std::mem::take(&mut self.calendar).planned;
        let told: Vec<(JobNumber, u64)> = former.iter().map(|plan| (plan.job, plan.from_ms)).collect();
        let mut planned: Vec<Planned> = Vec::new();
        let mut next: BinaryHeap<_> = self.lines.heads().map(Reverse).collect();
        while let Some(Reverse((key, line))) = next.pop()
            && planned.len() < PLANNED_AT_ONCE
        {
            if passing.is_full() {
                self.calendar.touch();
                planned.append(&mut former);
                break;
            }
            let behind = self.lines.next(line, key);
            let own = former.iter().position(|plan| plan.job == key.job).map(|at| former.remove(at));
            match self.plan_beside(key, line, own, &planned, &mut former, passing) {
                Slot::Started => {}
                Slot::Later(plan) => planned.push(plan),
                Slot::Never => {
                    self.lines.step_aside(line);
                    continue;
                }
            }
            next.extend(behind.map(|key| Reverse((key, line))));
        }
        for plan in &planned {
            if !told.contains(&(plan.job, plan.from_ms)) {
                let mut nodes: Vec<_> = plan.placements.iter().map(|placement| placement.node).collect();
                nodes.sort_unstable();
                nodes.dedup();
                passing.pass.decisions.push(Dispatch::Reserve {
                    job: plan.job,
                    at_ms: Some(plan.from_ms).filter(|at_ms| *at_ms < u64::MAX),
                    nodes,
                });
            }
        }
        self.calendar.planned = planned;
    }

    /// The job starts, or is planned: earlier than it was, beside all other plans, or as it was. A job that was not planned, or whose plan failed, goes
    /// before those behind it, whose plans are void then.
    fn plan_beside(
        &mut self,
        key: Key,
        line: LineId,
        own: Option<Planned>,
        before: &[Planned],
        behind: &mut Vec<Planned>,
        passing: &mut Passing,
    ) -> Slot {
        let class = self.lines.demand(line).gang.class;
        let is_due = own.as_ref().is_some_and(|own| own.from_ms <= passing.now_ms);
        if let Some(tasks) = own.as_ref().filter(|_| is_due).and_then(|own| self.planner.book_again(class, &own.placements)) {
            self.start(key, tasks, passing);
            return Slot::Started;
        }
        let own = own.filter(|_| !is_due);
        if own.is_none() {
            behind.clear();
        }
        let others: Vec<&Planned> = before.iter().chain(behind.iter()).collect();
        let own_ms = own.as_ref().map(|own| own.from_ms);
        match (self.find_slot(key, line, others, own_ms, passing), own) {
            (Some((at_ms, tasks)), _) if at_ms == passing.now_ms => {
                self.start(key, tasks, passing);
                Slot::Started
            }
            (Some((from_ms, tasks)), _) => {
                let placements = tasks.iter().map(|task| task.placement).collect();
                Slot::Later(Planned { job: key.job, from_ms, to_ms: self.would_end_ms(key.job, from_ms), placements })
            }
            (None, Some(own)) => Slot::Later(own),
            (None, None) => Slot::Never,
        }
    }

    /// The earliest time, and earlier than `before_ms`, at which the job fits for as long as it is expected to run, beside what runs and what is
    /// planned. At that time its tasks are placed: they are booked if it is now.
    fn find_slot(
        &mut self,
        key: Key,
        line: LineId,
        others: Vec<&Planned>,
        before_ms: Option<u64>,
        passing: &mut Passing,
    ) -> Option<(u64, Vec<Placed>)> {
        let gang = self.lines.demand(line).gang;
        let now_ms = passing.now_ms;
        let mut enters = others.clone();
        enters.sort_by_key(|plan| Reverse(plan.from_ms));
        // What is over its time can end at any moment, but has not.
        let mut runs = self.ends.iter().map(|(ends_ms, _, job)| ((*ends_ms).max(now_ms + 1), *job)).peekable();
        let mut leaves = others;
        leaves.sort_by_key(|plan| Reverse(plan.to_ms));
        self.planner.room(gang.class, &mut passing.budget);
        let known = self.planner.classes[gang.class.at()].as_ref()?;
        let (world, class) = (&mut self.planner.world, &known.class);
        let mut tally = Tally::new(known.room.as_ref()?, &gang);
        let (mut trial, mut at_ms) = (Trial::default(), now_ms);
        let nodes = loop {
            let for_ms = self.jobs.get(&key.job)?.expected_ms.map_or(u64::MAX, |ms| ms.max(1));
            let (first, until_ms) = (trial.0.len(), at_ms.saturating_add(for_ms));
            while let Some(plan) = enters.pop_if(|plan| plan.from_ms < until_ms) {
                trial.book(world, &plan.placements);
            }
            while let Some((_, job)) = runs.next_if(|(ends_ms, _)| *ends_ms <= at_ms) {
                trial.remove(world, self.jobs.get(&job).and_then(Job::run).map_or(&[], |run| &run.placements));
            }
            while let Some(plan) = leaves.pop_if(|plan| plan.to_ms <= at_ms) {
                // One behind jobs of unknown length never enters, and leaves at the end of all time.
                if plan.from_ms < until_ms {
                    trial.remove(world, &plan.placements);
                }
            }
            for (placement, _) in &trial.0[first..] {
                tally.set(world, placement.node, world.capacity(class, placement.node).into());
            }
            if let Some(place) = tally.find(world) {
                break Some(tally.choose_fullest(world, place, gang.tasks.into()));
            }
            let ends_ms = runs.peek().map(|(ends_ms, _)| *ends_ms);
            match ends_ms.into_iter().chain(leaves.last().map(|plan| plan.to_ms)).min() {
                Some(next_ms) if before_ms.is_none_or(|before_ms| next_ms < before_ms) => at_ms = next_ms,
                _ => break None,
            }
        };
        let mut tasks = Vec::new();
        for node in nodes.iter().flatten() {
            while tasks.len() < gang.tasks as usize
                && let Some(task) = self.planner.place_on(gang.class, *node, nodes.as_ref().map_or(0, Vec::len) as u32)
            {
                tasks.push(task);
            }
        }
        let is_enough = tasks.len() >= gang.min_tasks as usize;
        if !is_enough || at_ms > now_ms {
            tasks.iter().rev().for_each(|task| self.planner.world.take_back(&task.placement));
        }
        trial.undo(&mut self.planner.world);
        is_enough.then_some((at_ms, tasks))
    }
}
