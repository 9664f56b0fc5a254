//! Queues in the pass: whose job is tried next, what its queue lets it start, and what is counted when jobs come, start, and end.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::class::ClassId;
use crate::node::UNBOUNDED;
use crate::planner::Planner;

use super::Dispatcher;
use super::gang::Gang;
use super::lines::{Key, LineId};
use super::order;
use super::pass::{Attempt, Passing};
use super::request::Request;
use super::settings::Blocking;
use super::shares::{Amounts, Bound, QueueShare, Shares};
use super::users::Users;

/// How often in a half-life shares are looked at though nothing happens.
const LOOKS_A_HALF_LIFE: u64 = 64;

impl Planner {
    /// What all nodes have, open or not.
    pub(super) fn amounts(&self) -> Amounts {
        let mut sum = Amounts::default();
        for (shape, nodes) in self.world.shapes().iter().zip(self.world.of_shape()).filter(|(_, nodes)| **nodes > 0) {
            let all = |one: Option<u32>| one.filter(|one| *one < UNBOUNDED).map_or(u64::MAX, |one| u64::from(one) * u64::from(*nodes));
            sum.gpu_milli += u64::from(shape.gpu_milli()) * u64::from(*nodes);
            sum.cpu_milli = sum.cpu_milli.saturating_add(all(shape.cpu_milli));
            sum.memory_mib = sum.memory_mib.saturating_add(all(shape.memory_mib));
        }
        sum
    }
}

/// The lines that have not been tried in this pass, by queue.
type Untried = BTreeMap<u32, BinaryHeap<Reverse<(Key, LineId)>>>;

impl Dispatcher {
    /// How all queues stand, as of the last pass: those that have settings, and those that had jobs. None while there is only one.
    pub fn queues(&self) -> Vec<QueueShare> {
        self.shares.as_ref().map(Shares::overview).unwrap_or_default()
    }

    /// The queue that is furthest below its share goes first, and in it the first job. A job that cannot start stands in the way of others of
    /// its queue only.
    pub(super) fn pass_by_shares(&mut self, passing: &mut Passing) {
        let cluster = self.planner.amounts();
        let Some(shares) = &mut self.shares else { return };
        shares.set_cluster(cluster);
        shares.divide(passing.now_ms);
        let mut untried = Untried::new();
        for (key, line) in self.lines.heads() {
            untried.entry(self.lines.demand(line).queue).or_default().push(Reverse((key, line)));
        }
        let mut blocked_shapes: BTreeMap<u32, Vec<bool>> = BTreeMap::new();
        let mut is_reserved = false;
        while let Some((key, line)) = self.next_by_shares(&mut untried) {
            let (queue, class) = (self.lines.demand(line).queue, self.lines.demand(line).gang.class);
            let blocked = blocked_shapes.entry(queue).or_insert_with(|| vec![false; self.planner.world.shapes().len()]);
            if self.planner.shapes_of(class).any(|shape| blocked[shape]) {
                continue;
            }
            if self.reservations.is_passed_over(key.job) || self.reservations.is_hopeless(&self.lines.demand(line).gang) {
                continue;
            }
            let may_be_first = matches!(self.settings.blocking, Blocking::Easy | Blocking::EasyShortest) && !is_reserved;
            if may_be_first && !self.lines.stands_aside(line) && self.within_bounds(line).is_ok() {
                self.forget_other_first(key.job);
            }
            let attempt = if is_reserved && self.reservations.has(key.job) {
                Attempt::HeldBack
            } else {
                self.attempt_or_stop_others(key, line, passing)
            };
            let next = match (attempt, self.settings.blocking) {
                (Attempt::OutOfBudget, _) => return,
                (Attempt::Started, _) => self.lines.head(line),
                (_, Blocking::Strict) => {
                    untried.remove(&queue);
                    None
                }
                (_, Blocking::StrictPerPool) => {
                    self.planner.shapes_of(class).for_each(|shape| blocked[shape] = true);
                    None
                }
                (Attempt::NoRoom | Attempt::HeldBack, _) if may_be_first => {
                    is_reserved = self.reserve_for_first(key.job, line, passing);
                    self.lines.next(line, key)
                }
                (Attempt::HeldBack, _) => {
                    let below_ms = self.reservations.first_ms().saturating_sub(passing.now_ms).saturating_add(1);
                    self.lines.next_shorter(line, key, below_ms)
                }
                (Attempt::NoRoom | Attempt::Bound, _) => None,
            };
            if let Some(key) = next {
                untried.entry(queue).or_default().push(Reverse((key, line)));
            }
        }
    }

    /// Takes the line that is tried next.
    fn next_by_shares(&self, untried: &mut Untried) -> Option<(Key, LineId)> {
        untried.retain(|_, lines| !lines.is_empty());
        let asks = |line: LineId| {
            let Gang { class, min_tasks, .. } = self.lines.demand(line).gang;
            self.amounts_of(class, min_tasks)
        };
        let candidates: Vec<(u32, Amounts)> = untried.iter().filter_map(|(queue, lines)| Some((*queue, asks(lines.peek()?.0.1)))).collect();
        let (queue, _) = candidates.get(self.shares.as_ref()?.first(&candidates)?)?;
        untried.get_mut(queue)?.pop().map(|Reverse(next)| next)
    }

    /// When the past has faded so far that other queues may go first, or take back what they lent.
    pub(super) fn shares_change_ms(&self) -> Option<u64> {
        let history = self.settings.history.filter(|_| self.waiting() > 0)?;
        Some(self.asked_ms.saturating_add((history.half_life_ms / LOOKS_A_HALF_LIFE).max(1)))
    }

    pub(super) fn amounts_of(&self, class: ClassId, tasks: u32) -> Amounts {
        self.planner.task_of(class).map_or(Amounts::default(), |task| Amounts::of(task, tasks))
    }

    /// What forbids a job of this queue to start so many tasks, whatever is free.
    pub fn bound(&self, queue: u32, class: ClassId, tasks: u32, preemptible: bool) -> Option<Bound> {
        self.shares.as_ref()?.bound(queue, &self.amounts_of(class, tasks), preemptible)
    }

    /// What the queue lets the line's first job start: all of it, or fewer tasks of an elastic one.
    pub(super) fn within_bounds(&self, line: LineId) -> Result<Gang, Bound> {
        let demand = self.lines.demand(line);
        let Some(shares) = &self.shares else { return Ok(demand.gang) };
        let bound = |tasks| shares.bound(demand.queue, &self.amounts_of(demand.gang.class, tasks), demand.preemptible);
        if let Some(bound) = bound(demand.gang.min_tasks) {
            return Err(bound);
        }
        // So many are let in, and so many may not be.
        let (mut most, mut too_many) = (demand.gang.min_tasks, demand.gang.tasks + 1);
        while too_many - most > 1 {
            let half = most + (too_many - most) / 2;
            if bound(half).is_none() { most = half } else { too_many = half }
        }
        Ok(Gang { tasks: most, ..demand.gang })
    }

    /// A job waits.
    pub(super) fn count_in(&mut self, request: &Request) {
        let amounts = self.amounts_of(request.class, request.tasks);
        self.users.iter_mut().for_each(Users::something_changed);
        if let Some(shares) = &mut self.shares {
            shares.waits(request.queue, &amounts);
            self.stops.something_changed();
        }
    }

    /// It does not wait any longer, and does not start.
    pub(super) fn count_out(&mut self, request: &Request) {
        let amounts = self.amounts_of(request.class, request.tasks);
        self.users.iter_mut().for_each(Users::something_changed);
        if let Some(shares) = &mut self.shares {
            shares.waits_no_longer(request.queue, &amounts);
            self.stops.something_changed();
        }
    }

    /// It starts with so many tasks.
    pub(super) fn count_start(&mut self, request: &Request, tasks: u32, now_ms: u64) {
        self.user_holds(request, tasks, 1.0, now_ms);
        let (waited, held) = (self.amounts_of(request.class, request.tasks), self.amounts_of(request.class, tasks));
        if let Some(shares) = &mut self.shares {
            shares.starts(request.queue, &waited, &held, request.preemptible, now_ms);
            self.stops.started(request);
        }
    }

    /// It has ended with so many tasks.
    pub(super) fn count_end(&mut self, request: &Request, tasks: u32, now_ms: u64) {
        self.user_holds(request, tasks, -1.0, now_ms);
        let held = self.amounts_of(request.class, tasks);
        if let Some(shares) = &mut self.shares {
            shares.ends(request.queue, &held, request.preemptible, now_ms);
            self.stops.ended(request);
        }
    }

    /// It runs with so many tasks instead of so many.
    pub(super) fn count_resize(&mut self, request: &Request, from: u32, to: u32, now_ms: u64) {
        self.user_holds(request, from, -1.0, now_ms);
        self.user_holds(request, to, 1.0, now_ms);
        let (before, after) = (self.amounts_of(request.class, from), self.amounts_of(request.class, to));
        if let Some(shares) = &mut self.shares {
            shares.resized(request.queue, &before, &after, request.preemptible, now_ms);
            self.stops.something_changed();
        }
    }

    fn user_holds(&mut self, request: &Request, tasks: u32, times: f64, now_ms: u64) {
        let Some(users) = &mut self.users else { return };
        let processors = self.planner.task_of(request.class).map_or(0.0, |task| order::processors(task, tasks));
        users.holds((request.queue, request.user), times * processors, now_ms);
    }
}
