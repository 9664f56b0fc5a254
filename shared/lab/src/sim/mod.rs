//! One run in virtual time: a heap of events, the lives of jobs, and what nodes go through. The dispatcher decides, the books account.

mod demand;
mod diagnosis;
mod events;
mod free;
mod health;
mod jobs;
mod lives;
mod nodes;
mod parts;
mod plan;
mod planted;
mod preemption;
mod resize;
mod trail;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use faultline_engine::goodput::Books;
use faultline_planner::{Dispatch, Dispatcher, Limits, Placement, Topology};

use crate::external::{InvalidProgram, Program};
use crate::faults::Weather;
use crate::outcome::{End, Outcome};
use crate::setup::{InvalidSetup, Passes, Setup, check};
use demand::Demand;
use events::{Event, Events};
use jobs::Jobs;
use nodes::Nodes;
use planted::Bug;
use trail::Trail;
use watch::Watch;

/// Without a horizon a run ends when for a year no job has started for the first time, kept progress, or ended, although jobs wait or begin
/// again and again: they never will.
const NEVER_MS: u64 = 366 * 86_400_000;

/// A pass is not cut short: nothing else waits for the loop.
const LIMITS: Limits = Limits { decisions: usize::MAX, scores: usize::MAX };

/// Plays a setup until its horizon, or until no job is left.
pub fn run(setup: &Setup) -> Result<Outcome, InvalidSetup> {
    check(setup)?;
    let mut simulation = Simulation::new(setup)?;
    simulation.play();
    match (simulation.dispatcher.planner().outside_failed(), &setup.program) {
        (Some(failed), Some(command)) => Err(InvalidProgram::Failed { command: command.words.join(" "), why: failed.to_string() }.into()),
        _ => Ok(simulation.finish()),
    }
}

pub(crate) struct Simulation<'a> {
    setup: &'a Setup,
    now_ms: u64,
    events: Events,
    played: u64,
    dispatcher: Dispatcher,
    books: Books,
    weather: Weather,
    nodes: Nodes,
    jobs: Jobs,
    demand: Demand,
    trail: Trail,
    watch: Watch,
    planted: Option<Bug>,
    /// Whether something happened that the dispatcher may make use of.
    is_stale: bool,
    /// When a job started for the first time, kept progress, or ended last.
    moved_ms: u64,
    /// Since then, a job has begun again.
    begins_again: bool,
    /// By class, tasks, least tasks, and topology: whether the whole cluster could run such a job.
    possible: HashMap<(u32, u32, u32, Option<Topology>), bool>,
}

impl<'a> Simulation<'a> {
    fn new(setup: &'a Setup) -> Result<Self, InvalidSetup> {
        let mut dispatcher = Dispatcher::new(&setup.dispatch)?;
        if let Some(command) = &setup.program {
            dispatcher.set_outside(Box::new(Program::start(command)?));
        }
        let mut books = Books::new(0, setup.usage_row_ms);
        let nodes = Nodes::join(setup, &mut dispatcher, &mut books)?;
        let mut simulation = Self {
            setup,
            now_ms: 0,
            events: Events::default(),
            played: 0,
            dispatcher,
            books,
            weather: Weather::new(setup.faults.surges, setup.seed),
            nodes,
            jobs: Jobs::new(&setup.workload),
            demand: Demand::new(&setup.cluster, &setup.workload),
            trail: Trail::new(setup.keep_attempts),
            watch: Watch::new(&setup.cluster),
            planted: None,
            is_stale: true,
            moved_ms: 0,
            begins_again: false,
            possible: HashMap::new(),
        };
        simulation.schedule_faults();
        Ok(simulation)
    }

    fn play(&mut self) {
        let horizon_ms = self.setup.horizon_ms.unwrap_or(u64::MAX);
        self.pass();
        while (self.setup.horizon_ms.is_some() || self.jobs.left() > 0) && self.dispatcher.planner().outside_failed().is_none() {
            let next_ms = [self.jobs.next_arrival_ms(), self.events.next_ms(), self.dispatcher.settles_ms()].into_iter().flatten().min();
            let Some(next_ms) = next_ms.filter(|next_ms| *next_ms <= horizon_ms) else { break };
            let goes_on = self.setup.horizon_ms.is_some() || self.jobs.next_arrival_ms().is_some();
            let is_stuck = self.dispatcher.running() == 0 || self.begins_again;
            if !goes_on && is_stuck && next_ms - self.moved_ms > NEVER_MS {
                break;
            }
            self.now_ms = next_ms;
            self.play_instant();
        }
        self.now_ms = self.setup.horizon_ms.unwrap_or(self.now_ms);
    }

    fn play_instant(&mut self) {
        self.is_stale |= self.dispatcher.settles_ms() == Some(self.now_ms);
        while let Some(job) = self.jobs.arrive(self.now_ms) {
            self.submit(job);
            self.pass_after_event();
        }
        while let Some(event) = self.events.pop(self.now_ms) {
            self.on_event(event);
            self.pass_after_event();
        }
        self.pass();
    }

    fn on_event(&mut self, event: Event) {
        self.played += 1;
        match event {
            Event::Done { job, attempt } => self.on_done(job, attempt),
            Event::Works { job, attempt } => self.on_works(job, attempt),
            Event::Fails { node } => self.on_fails(node as usize),
            Event::Broken { node, until_ms, by } => self.on_broken(node as usize, until_ms, by),
            Event::Seen { node, life } => self.on_seen(node as usize, life),
            Event::Mended { node, life } => self.on_mended(node as usize, life),
            Event::Cleared { node, life } => self.on_cleared(node as usize, life),
            Event::LookAhead => self.look_ahead(),
            Event::GpuSeen { node, fault } => self.on_gpu_seen(node as usize, fault),
            Event::GpuMended { node, fault } => self.on_gpu_mended(node as usize, fault),
            Event::SlowEnds { node, fault } => self.on_slow_ends(node as usize, fault),
        }
    }

    fn pass_after_event(&mut self) {
        if self.setup.passes == Passes::EachEvent {
            self.pass();
        }
    }

    /// Asks the dispatcher until it has nothing more to decide.
    fn pass(&mut self) {
        if !self.is_stale {
            return;
        }
        while std::mem::take(&mut self.is_stale) {
            self.tell_checkpoints();
            let pass = self.dispatcher.pass(self.now_ms, LIMITS);
            self.is_stale = pass.unfinished;
            for (at, decision) in pass.decisions.iter().enumerate() {
                match decision {
                    Dispatch::Start { job, tasks } => {
                        let tasks: Vec<Placement> = tasks.iter().map(|task| task.placement).collect();
                        self.start(*job as u32, &tasks);
                    }
                    Dispatch::Resize { job, tasks, for_job } => {
                        self.resize_by_choice(*job as u32, tasks, for_job.map(|for_job| for_job as u32));
                    }
                    Dispatch::Preempt { job, for_job } => {
                        let starts = |later: &Dispatch| matches!(later, Dispatch::Start { job: other, .. } if other == job);
                        let starts_again = pass.decisions[at..].iter().any(starts);
                        self.preempt(*job as u32, *for_job as u32, starts_again);
                    }
                    Dispatch::Reserve { job, nodes, .. } => self.demand.reserve(*job, nodes),
                }
            }
        }
        self.classify_free();
    }

    fn finish(mut self) -> Outcome {
        self.close_jobs();
        self.books.close(self.now_ms);
        let usage = self.books.series().cloned();
        let totals = self.books.totals().clone();
        let faults = self.nodes.into_rows();
        let expected = u128::from(self.setup.cluster.all_gpu_milli()) * u128::from(self.now_ms);
        let violations = self.watch.finish(&totals, expected, |node| u64::from(self.books.booked_milli(node)));
        let jobs = self.jobs.into_rows();
        let (attempts, hash) = self.trail.finish(&jobs, &totals);
        debug_assert!(jobs.iter().all(|row| row.end == End::Open || row.end_ms.is_some()));
        Outcome { jobs, attempts, faults, totals, usage, end_ms: self.now_ms, events: self.played, hash, violations }
    }

    /// Whether a test planted this error.
    #[inline]
    fn has(&self, bug: Bug) -> bool {
        cfg!(test) && self.planted == Some(bug)
    }
}
