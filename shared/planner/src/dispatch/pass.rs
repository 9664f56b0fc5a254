//! The pass: one job after the other in the order, until the rule of blocking or a limit ends it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use crate::decision::{Limits, Placed};
use crate::index::View;

use super::decision::{Dispatch, DispatchPass};
use super::elastic::stretched;
use super::gang::Tried;
use super::job::{Run, State};
use super::lines::{Key, LineId};
use super::order;
use super::request::{JobNumber, Request};
use super::settings::Blocking;
use super::users::{Claim, Users};
use super::{Dispatcher, Job};

/// A pass on its way.
#[derive(Debug)]
pub(super) struct Passing {
    pub(super) now_ms: u64,
    starts_left: usize,
    pub(super) budget: usize,
    pub(super) pass: DispatchPass,
}

impl Passing {
    /// Whether no more jobs may start in this pass.
    pub(super) fn is_full(&mut self) -> bool {
        self.pass.unfinished |= self.starts_left == 0;
        self.starts_left == 0
    }
}

/// What came of an attempt to start a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Started,
    /// Nothing of its line fits anywhere.
    NoRoom,
    /// Only where nodes are kept for a reservation, and it would stay too long.
    HeldBack,
    /// Its queue has reached a bound.
    Bound,
    /// The pass has reached a limit.
    OutOfBudget,
}

impl Dispatcher {
    /// Decides what starts now. A pass that is unfinished goes on when it is asked again.
    pub fn pass(&mut self, now_ms: u64, limits: Limits) -> DispatchPass {
        let (starts_left, budget) = (limits.decisions, limits.scores);
        let mut passing = Passing { now_ms, starts_left, budget, pass: DispatchPass::default() };
        self.asked_ms = now_ms;
        self.settle(now_ms);
        self.ask_again(&mut passing);
        if self.lines.len() > 0 {
            self.start_waiting(&mut passing);
        }
        self.grow(&mut passing);
        passing.pass
    }

    fn start_waiting(&mut self, passing: &mut Passing) {
        self.reorder(passing.now_ms);
        self.serve_the_starved(passing);
        match self.settings.blocking {
            _ if self.shares.is_some() => self.pass_by_shares(passing),
            Blocking::Strict => self.pass_strictly(passing),
            Blocking::StrictPerPool => self.pass_strictly_per_pool(passing),
            Blocking::Skip if self.reservations.is_empty() => self.pass_skipping(passing),
            Blocking::Skip => self.backfill(passing),
            Blocking::Easy | Blocking::EasyShortest => self.pass_easily(passing),
            Blocking::Conservative => self.pass_conservatively(passing),
            Blocking::Sticky => {
                self.first_until_it_starts(passing);
            }
            Blocking::ByCount => self.pass_by_count(passing),
            Blocking::ByTime => {
                if let Some(start_ms) = self.first_until_it_starts(passing) {
                    self.go_ahead_until(start_ms, passing);
                }
            }
        }
    }

    /// Lines that stand aside are tried on each node that gained, and on no other.
    fn ask_again(&mut self, passing: &mut Passing) {
        let aside = self.lines.aside().len();
        let world = &mut self.planner.world;
        if aside == 0 {
            return world.forget_gained();
        }
        let nodes = world.take_gained((passing.budget / aside).max(1));
        passing.budget = passing.budget.saturating_sub(aside * nodes.len());
        passing.pass.unfinished = world.has_gained();
        if let [node] = *nodes
            && self.may_offer()
            && self.offer(node, passing)
        {
            return;
        }
        let others_make_room = !nodes.is_empty() && self.others_may_make_room();
        let (world, classes) = (&self.planner.world, &self.planner.classes);
        self.lines.rejoin(|demand| {
            if others_make_room {
                return true;
            }
            let Some(known) = &classes[demand.gang.class.at()] else { return false };
            nodes.iter().any(|node| world.fits(&known.class, *node))
        });
    }

    /// Where waiting, or what users hold, changes the order, all places are given anew.
    pub(super) fn reorder(&mut self, now_ms: u64) {
        let is_fair = self.users.as_mut().is_some_and(Users::take_stale);
        if !is_fair && !self.settings.order.changes_with_time() {
            return;
        }
        let ranks = self.fair_ranks(now_ms);
        let mut lines = std::mem::take(&mut self.lines);
        lines.reorder(|old| {
            let key = self.jobs.get(&old.job).map_or(old, |job| self.key_of(old.job, job, now_ms));
            ranks.get(&old.job).map_or(key, |rank| Key { rank: *rank, ..key })
        });
        for (key, _) in lines.all() {
            if let Some(Job { state: State::Waiting { key: kept, .. }, .. }) = self.jobs.get_mut(&key.job) {
                *kept = key;
            }
        }
        self.lines = lines;
    }

    /// For the order `fair`: the rank of each job that waits.
    fn fair_ranks(&mut self, now_ms: u64) -> HashMap<JobNumber, u64> {
        let Some(users) = &mut self.users else { return HashMap::new() };
        let (lines, jobs, planner) = (&self.lines, &self.jobs, &self.planner);
        let claims = lines.all().filter_map(|(key, _)| {
            let Request { queue, user, class, tasks, .. } = jobs.get(&key.job)?.request;
            let processors = planner.task_of(class).map_or(0.0, |task| order::processors(task, tasks));
            Some(Claim { user: (queue, user), step: key.step, submitted_ms: key.submitted_ms, job: key.job, processors })
        });
        users.ranks(claims.collect(), now_ms)
    }

    fn key_of(&self, number: u64, job: &Job, now_ms: u64) -> Key {
        self.key(number, &job.request, job.expected_ms, job.attained_gpu_milli_ms, now_ms)
    }

    /// The first job blocks all others.
    fn pass_strictly(&mut self, passing: &mut Passing) {
        while let Some((key, line)) = self.lines.first() {
            if self.attempt(key, line, passing) != Attempt::Started {
                return;
            }
        }
    }

    /// A job that does not fit blocks those that could run on nodes of a shape that it could run on.
    fn pass_strictly_per_pool(&mut self, passing: &mut Passing) {
        let mut blocked = vec![false; self.planner.world.shapes().len()];
        let mut behind = None;
        while let Some((key, line)) = self.lines.next_head(behind) {
            behind = Some((key, line));
            let class = self.lines.demand(line).gang.class;
            if self.planner.shapes_of(class).any(|shape| blocked[shape]) {
                continue;
            }
            match self.attempt(key, line, passing) {
                Attempt::Started => {}
                Attempt::OutOfBudget => return,
                Attempt::NoRoom | Attempt::HeldBack | Attempt::Bound => {
                    self.planner.shapes_of(class).for_each(|shape| blocked[shape] = true)
                }
            }
            if !blocked.contains(&false) {
                return;
            }
        }
    }

    /// What does not fit is passed over.
    fn pass_skipping(&mut self, passing: &mut Passing) {
        while let Some((key, line)) = self.lines.first_active() {
            if self.attempt(key, line, passing) == Attempt::OutOfBudget {
                return;
            }
        }
    }

    /// The first job that does not fit gets a reservation, the others go ahead where they do not stand in its way.
    fn pass_easily(&mut self, passing: &mut Passing) {
        let mut behind = None;
        while let Some((key, line)) = self.lines.next_head(behind) {
            if self.reservations.is_passed_over(key.job) || self.reservations.is_hopeless(&self.lines.demand(line).gang) {
                behind = Some((key, line));
                continue;
            }
            if !self.lines.stands_aside(line) {
                self.forget_other_first(key.job);
            }
            match self.attempt_reserved(key, line, passing) {
                Attempt::Started => {}
                Attempt::OutOfBudget => return,
                Attempt::NoRoom | Attempt::HeldBack if self.reserve_for_first(key.job, line, passing) => break,
                Attempt::NoRoom | Attempt::HeldBack | Attempt::Bound => behind = Some((key, line)),
            }
        }
        match self.settings.blocking {
            Blocking::EasyShortest => self.backfill_shortest_first(passing),
            _ => self.backfill(passing),
        }
    }

    /// The same jobs as in [`Dispatcher::backfill`], of those with the same priority the one that is expected to run shortest first.
    fn backfill_shortest_first(&mut self, passing: &mut Passing) {
        let of_line = |(_, line)| self.lines.jobs(line).map(move |(key, expected_ms)| (key.step, expected_ms, key, line));
        let mut waiting: Vec<(u8, u64, Key, LineId)> = self.lines.active().flat_map(of_line).collect();
        waiting.sort_unstable();
        let below_ms = self.reservations.first_ms().saturating_sub(passing.now_ms).saturating_add(1);
        let mut held_back = BTreeSet::new();
        for (_, expected_ms, key, line) in waiting {
            if self.reservations.has(key.job) || (expected_ms >= below_ms && held_back.contains(&line)) {
                continue;
            }
            match self.attempt(key, line, passing) {
                Attempt::Started | Attempt::NoRoom | Attempt::Bound => {}
                Attempt::OutOfBudget => return,
                Attempt::HeldBack => {
                    held_back.insert(line);
                }
            }
        }
    }

    /// Jobs in their order where they fit beside the reservations: on other nodes, or ending before the first of them.
    fn backfill(&mut self, passing: &mut Passing) {
        let mut next: BinaryHeap<_> = self.lines.active().map(Reverse).collect();
        let mut held_back = BTreeSet::new();
        let below_ms = self.reservations.first_ms().saturating_sub(passing.now_ms).saturating_add(1);
        while let Some(Reverse((key, line))) = next.pop() {
            if !self.reservations.has(key.job) {
                match self.attempt(key, line, passing) {
                    Attempt::Started => {}
                    Attempt::NoRoom | Attempt::Bound => continue,
                    Attempt::OutOfBudget => return,
                    Attempt::HeldBack => {
                        held_back.insert(line);
                    }
                }
            }
            let behind = if held_back.contains(&line) { self.lines.next_shorter(line, key, below_ms) } else { self.lines.next(line, key) };
            next.extend(behind.map(|key| Reverse((key, line))));
        }
    }

    /// The first job that does not fit stays first until it starts. Returns when that was expected; `None` when nothing waits any more, or a
    /// limit was reached.
    fn first_until_it_starts(&mut self, passing: &mut Passing) -> Option<u64> {
        loop {
            let kept = self.reservations.blocked().and_then(|(job, start_ms)| Some((self.place_in_line(job)?, Some(start_ms))));
            let ((key, line), start_ms) = kept.or_else(|| Some((self.lines.first()?, None)))?;
            match self.attempt(key, line, passing) {
                Attempt::Started => self.reservations.set_blocked(None),
                Attempt::OutOfBudget => return None,
                Attempt::NoRoom | Attempt::HeldBack | Attempt::Bound => {
                    let start_ms = match start_ms {
                        Some(start_ms) => start_ms,
                        None if self.settings.blocking == Blocking::Sticky => u64::MAX,
                        None => self.plan(line, passing).map_or(u64::MAX, |plan| plan.at_ms),
                    };
                    self.reservations.set_blocked(Some((key.job, start_ms)));
                    return Some(start_ms);
                }
            }
        }
    }

    /// As they were submitted, jobs start that are expected to end before the first one starts.
    fn go_ahead_until(&mut self, start_ms: u64, passing: &mut Passing) {
        let below_ms = start_ms.saturating_sub(passing.now_ms);
        let first = self.reservations.blocked().map(|(first, _)| first);
        let able = self.lines.active().flat_map(|(_, line)| self.lines.shorter(line, below_ms).map(move |key| (key, line)));
        let mut able: Vec<(Key, LineId)> = able.filter(|(key, _)| Some(key.job) != first).collect();
        able.sort_unstable_by_key(|(key, _)| (key.submitted_ms, key.job));
        for (key, line) in able {
            if self.attempt(key, line, passing) == Attempt::OutOfBudget {
                return;
            }
        }
    }

    /// Where a waiting job stands.
    pub(super) fn place_in_line(&self, job: u64) -> Option<(Key, LineId)> {
        match self.jobs.get(&job)?.state {
            State::Waiting { line, key } => Some((key, line)),
            State::Running(_) => None,
        }
    }

    /// When it would end if it started now, with the fewest tasks that it runs with.
    pub(super) fn would_end_ms(&self, job: u64, now_ms: u64) -> u64 {
        let Some(Job { request, expected_ms: Some(expected_ms), .. }) = self.jobs.get(&job) else { return u64::MAX };
        now_ms.saturating_add(stretched(*expected_ms, request.min_tasks, request.tasks))
    }

    /// Starts the job where it fits beside the reservations of others.
    pub(super) fn attempt(&mut self, key: Key, line: LineId, passing: &mut Passing) -> Attempt {
        self.attempt_in(key, line, self.view_for(key.job, passing.now_ms), passing)
    }

    /// The nodes on which the job stands in the way of no reservation.
    pub(super) fn view_for(&self, job: u64, now_ms: u64) -> View {
        let is_short = self.reservations.is_empty() || self.would_end_ms(job, now_ms) <= self.reservations.first_ms();
        if is_short { View::All } else { View::Unheld }
    }

    pub(super) fn attempt_in(&mut self, key: Key, line: LineId, view: View, passing: &mut Passing) -> Attempt {
        if self.lines.stands_aside(line) {
            return Attempt::NoRoom;
        }
        if passing.is_full() {
            return Attempt::OutOfBudget;
        }
        let mut attempt = self.attempt_where_it_fits(key, line, view, passing);
        if !matches!(attempt, Attempt::Started | Attempt::OutOfBudget)
            && self.others_may_make_room()
            && self.make_room(key.job, line, view, passing)
        {
            // Others have been resized for it, so it must not be interrupted.
            let budget = std::mem::replace(&mut passing.budget, usize::MAX);
            attempt = self.attempt_where_it_fits(key, line, view, passing);
            passing.budget = budget;
            debug_assert_eq!(attempt, Attempt::Started, "jobs lose tasks only for one that then starts");
        }
        if attempt == Attempt::NoRoom {
            self.lines.step_aside(line);
        }
        attempt
    }

    fn attempt_where_it_fits(&mut self, key: Key, line: LineId, view: View, passing: &mut Passing) -> Attempt {
        let Ok(gang) = self.within_bounds(line) else { return Attempt::Bound };
        match self.planner.try_gang(&gang, view, &mut passing.budget) {
            Tried::Placed(tasks) => {
                self.start(key, tasks, passing);
                Attempt::Started
            }
            Tried::NoRoom if view == View::All => Attempt::NoRoom,
            Tried::NoRoom => Attempt::HeldBack,
            Tried::OutOfBudget => {
                passing.pass.unfinished = true;
                Attempt::OutOfBudget
            }
        }
    }

    pub(super) fn start(&mut self, key: Key, tasks: Vec<Placed>, passing: &mut Passing) {
        passing.starts_left -= 1;
        let number = key.job;
        self.unqueue(number);
        let Some(job) = self.jobs.get_mut(&number) else { return };
        debug_assert!((job.request.min_tasks as usize..=job.request.tasks as usize).contains(&tasks.len()), "a gang starts whole");
        let started_ms = passing.now_ms;
        let takes_ms = |expected_ms: u64| stretched(expected_ms, tasks.len() as u32, job.request.tasks);
        let ends_ms = job.expected_ms.map_or(u64::MAX, |expected_ms| started_ms.saturating_add(takes_ms(expected_ms)));
        let placements = tasks.iter().map(|placed| placed.placement).collect();
        let (resized_ms, counted_ms) = (started_ms, started_ms);
        job.state = State::Running(Run { started_ms, ends_ms, placements, resized_ms, counted_ms, checkpointed_ms: None });
        if self.settings.looks_ahead() {
            self.ends.insert((ends_ms, started_ms, number));
        }
        let request = job.request;
        self.count_start(&request, tasks.len() as u32, started_ms);
        self.may_be_resized(number, &request, started_ms);
        self.stops.forget(number);
        self.reservations.over(number, &mut self.planner);
        passing.pass.decisions.push(Dispatch::Start { job: number, tasks });
    }
}
