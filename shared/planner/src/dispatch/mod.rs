//! Which job goes next: orders, gangs, reservations, and queues on top of the placement of single tasks.

mod admitting;
mod books;
mod calendar;
mod conserve;
mod decision;
mod elastic;
mod gang;
mod job;
mod lines;
mod offer;
mod order;
mod pass;
mod plan;
mod preempt;
mod queues;
mod request;
mod reservations;
mod reserving;
mod resize;
mod room;
mod settings;
mod shares;
mod stopping;
mod stops;
mod tally;
mod users;
mod why;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use crate::class::{ClassId, Closed, TaskClass};
use crate::machine::{InvalidMachine, Machine};
use crate::node::NodeId;
use crate::outside::Outside;
use crate::planner::Planner;
use crate::settings::InvalidSettings;

use calendar::Calendar;
use elastic::Elastic;
use gang::Gang;
use job::{Job, Run, State};
use lines::{Demand, Key, Lines};
use order::Facts;
use reservations::Reservations;
use shares::Shares;
use stops::Stops;
use users::Users;

pub use decision::{Dispatch, DispatchPass};
pub use job::Remaining;
pub use order::OrderName;
pub use preempt::PreemptionSettings;
pub use request::{JobNumber, Level, Request, Topology};
pub(crate) use room::Room;
pub use settings::{Blocking, DispatchSettings};
pub use shares::{Amounts, Bound, BoundKind, Bounds, HistorySettings, InvalidQueues, QueueSettings, QueueShare, Resource};
pub use why::WhyWaiting;

/// Decides which jobs start, where, and when.
///
/// Its owner says what happened; [`Dispatcher::pass`] then says what to do. Instants are milliseconds of the owner's clock and never go back.
#[derive(Debug)]
pub struct Dispatcher {
    planner: Planner,
    settings: DispatchSettings,
    jobs: HashMap<JobNumber, Job>,
    lines: Lines,
    /// By expected end and start, what runs; kept only where expected ends matter.
    ends: BTreeSet<(u64, u64, JobNumber)>,
    /// By time of submission, what waits; kept only where it matters.
    arrivals: BTreeSet<(u64, JobNumber)>,
    reservations: Reservations,
    calendar: Calendar,
    /// What is whose; `None` while there is one queue without bounds, and nothing is stopped for anything.
    shares: Option<Shares>,
    stops: Stops,
    elastic: Elastic,
    /// For the order `fair`.
    users: Option<Users>,
    /// When it was asked last.
    asked_ms: u64,
}

impl Dispatcher {
    pub fn new(settings: &DispatchSettings) -> Result<Self, InvalidSettings> {
        Ok(Self {
            planner: Planner::new(&settings.placement)?,
            settings: settings.checked()?,
            jobs: HashMap::new(),
            lines: Lines::default(),
            ends: BTreeSet::new(),
            arrivals: BTreeSet::new(),
            reservations: Reservations::default(),
            calendar: Calendar::default(),
            shares: settings.shares()?,
            stops: Stops::default(),
            elastic: Elastic::default(),
            users: (settings.order == OrderName::Fair).then(|| Users::new(settings.history)),
            asked_ms: 0,
        })
    }

    /// From now on this chooses the nodes, and not the policy; see [`Planner::set_outside`].
    pub fn set_outside(&mut self, outside: Box<dyn Outside>) {
        self.planner.set_outside(outside);
    }

    /// The books of nodes and classes.
    pub fn planner(&self) -> &Planner {
        &self.planner
    }

    pub fn join(&mut self, machine: &Machine) -> Result<NodeId, InvalidMachine> {
        self.cluster_changed();
        self.planner.join(machine)
    }

    /// The node is gone. What ran there holds nothing of it any more, but its jobs go on for the dispatcher: their owner says that they were
    /// interrupted or ended.
    pub fn leave(&mut self, node: NodeId) {
        self.reservations.left(node);
        self.calendar.forget();
        self.stops.something_changed();
        self.elastic.something_changed();
        self.planner.leave(node);
    }

    /// Nothing new is placed on the node, or with `None` again.
    pub fn close(&mut self, node: NodeId, closed: Option<Closed>) {
        self.cluster_changed();
        self.planner.close(node, closed);
    }

    /// Whether a GPU can be used; what runs there is not touched. A GPU that the node does not have is ignored.
    pub fn set_in_service(&mut self, node: NodeId, gpu: usize, in_service: bool) {
        self.cluster_changed();
        self.planner.set_in_service(node, gpu, in_service);
    }

    fn cluster_changed(&mut self) {
        self.calendar.forget();
        self.reservations.cluster_changed();
        self.stops.something_changed();
        self.elastic.something_changed();
    }

    /// The class's number. It stays while a job of it waits or runs, so it is asked for just before a job is submitted.
    pub fn class(&mut self, task: &TaskClass) -> ClassId {
        self.planner.class(task)
    }

    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        self.lines.len()
    }

    /// How many jobs run.
    pub fn running(&self) -> usize {
        self.jobs.len() - self.lines.len()
    }

    /// A job waits from now on. False when it did already, or runs.
    pub fn submit(&mut self, job: JobNumber, request: Request) -> bool {
        if self.jobs.contains_key(&job) {
            return false;
        }
        let tasks = request.tasks.max(1);
        let request = Request { tasks, min_tasks: request.min_tasks.clamp(1, tasks), ..request };
        self.planner.pin(request.class);
        self.wait(job, request, request.estimate_ms, 0, request.submitted_ms);
        true
    }

    /// The job no longer waits, and is forgotten. False when it did not wait.
    pub fn withdraw(&mut self, job: JobNumber) -> bool {
        let Some(Job { state: State::Waiting { .. }, request, .. }) = self.jobs.get(&job) else { return false };
        let request = *request;
        self.planner.unpin(request.class);
        self.unqueue(job);
        self.calendar.touch();
        self.count_out(&request);
        self.stops.forget(job);
        self.jobs.remove(&job);
        self.reservations.over(job, &mut self.planner);
        true
    }

    /// A running job has ended for good, and all its tasks with it. False when it did not run.
    pub fn ended(&mut self, job: JobNumber, now_ms: u64) -> bool {
        if !self.release(job, now_ms) {
            return false;
        }
        if let Some(Job { request, .. }) = self.jobs.remove(&job) {
            self.planner.unpin(request.class);
        }
        true
    }

    /// A running job's attempt has ended with all its tasks, and the job waits again, with its original time of submission. A job that was
    /// stopped for another one waits again already; then this only says what is left of it. False when it neither runs nor was stopped.
    pub fn interrupted(&mut self, job: JobNumber, now_ms: u64, remaining: Remaining) -> bool {
        if self.stops.take(job) {
            return self.estimated_anew(job, now_ms, remaining);
        }
        if !self.release(job, now_ms) {
            return false;
        }
        let Some(Job { request, attained_gpu_milli_ms, state, .. }) = self.jobs.remove(&job) else { return false };
        let State::Running(run) = state else { return false };
        let gpu_milli = u128::from(self.planner.gpu_milli_of(request.class)) * run.placements.len() as u128;
        let attained = attained_gpu_milli_ms + gpu_milli * u128::from(now_ms.saturating_sub(run.counted_ms));
        self.wait(job, request, remaining.estimate_ms, attained, now_ms);
        true
    }

    /// A running job's work up to this instant is safe: if it is interrupted, only what it did since is lost.
    pub fn checkpointed(&mut self, job: JobNumber, at_ms: u64) {
        if let Some(Job { state: State::Running(run), .. }) = self.jobs.get_mut(&job) {
            run.checkpointed_ms = Some(at_ms);
        }
    }

    fn wait(&mut self, job: JobNumber, request: Request, expected_ms: Option<u64>, attained_gpu_milli_ms: u128, now_ms: u64) {
        self.count_in(&request);
        let Request { class, tasks, min_tasks, topology, queue, preemptible, .. } = request;
        let line = self.lines.line(&Demand { gang: Gang { class, tasks, min_tasks, topology }, queue, preemptible });
        let key = self.key(job, &request, expected_ms, attained_gpu_milli_ms, now_ms);
        self.calendar.touch();
        self.lines.insert(line, key, expected_ms.unwrap_or(u64::MAX));
        if self.keeps_arrivals() {
            self.arrivals.insert((request.submitted_ms, job));
        }
        self.jobs.insert(job, Job { request, expected_ms, attained_gpu_milli_ms, state: State::Waiting { line, key } });
    }

    fn keeps_arrivals(&self) -> bool {
        self.settings.reserve_after_ms.is_some()
    }

    fn key(&self, job: JobNumber, request: &Request, remaining_ms: Option<u64>, attained_gpu_milli_ms: u128, now_ms: u64) -> Key {
        let Request { submitted_ms, estimate_ms, class, tasks, priority, .. } = *request;
        let step = u8::MAX - priority;
        if self.settings.order == OrderName::Fifo
            && let Some(aging_ms) = self.settings.aging_ms
        {
            return Key { step: 0, rank: submitted_ms.saturating_add(aging_ms.saturating_mul(step.into())), submitted_ms, job };
        }
        let processors = self.planner.task_of(class).map_or(0.0, |task| order::processors(task, tasks));
        let facts = Facts { now_ms, submitted_ms, estimate_ms, remaining_ms, attained_gpu_milli_ms, processors };
        Key { step, rank: order::rank(self.settings.order, &facts, &self.settings.las_thresholds_gpu_s), submitted_ms, job }
    }

    /// Takes a waiting job out of the lines.
    fn unqueue(&mut self, job: JobNumber) {
        if let Some(Job { state: State::Waiting { line, key }, .. }) = self.jobs.get(&job) {
            self.arrivals.remove(&(key.submitted_ms, job));
            self.lines.remove(*line, *key);
        }
    }

    /// Gives back what a running job holds.
    fn release(&mut self, job: JobNumber, now_ms: u64) -> bool {
        let Some(Job { request, state: State::Running(run), .. }) = self.jobs.get(&job) else { return false };
        let Run { started_ms, ends_ms, placements, .. } = run;
        self.ends.remove(&(*ends_ms, *started_ms, job));
        placements.iter().for_each(|placement| self.planner.release(placement));
        let (request, tasks) = (*request, placements.len() as u32);
        self.count_end(&request, tasks, now_ms);
        self.is_not_resized(job);
        self.elastic.something_changed();
        self.reservations.freed();
        self.calendar.touch();
        true
    }
}
