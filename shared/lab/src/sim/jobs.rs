//! Jobs and their attempts as a run knows them.

use std::collections::BTreeSet;

use faultline_engine::goodput::Account;
use faultline_planner::{JobNumber, Placement};

use super::plan::Plan;
use crate::outcome::JobRow;
use crate::workload::{Job, Workload};

/// An attempt that holds GPUs.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) attempt: u32,
    pub(super) start_ms: u64,
    pub(super) plan: Plan,
    pub(super) tasks: u32,
    pub(super) state: State,
    /// Where its tasks are.
    pub(super) placements: Vec<Placement>,
    /// Its nodes, ascending, with how many of its tasks are there.
    pub(super) holdings: Vec<(u32, u32)>,
    /// Thousandths of GPUs of one task.
    pub(super) task_milli: u32,
    pub(super) row: Option<u32>,
    /// Whether its nodes wear out.
    pub(super) is_working: bool,
}

impl Run {
    /// What it holds of the GPUs of each node, in thousandths.
    pub(super) fn milli(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        self.milli_of(&self.holdings)
    }

    /// The same with other tasks.
    pub(super) fn milli_of<'a>(&self, holdings: &'a [(u32, u32)]) -> impl Iterator<Item = (usize, u32)> + use<'a> {
        let task_milli = self.task_milli;
        holdings.iter().map(move |(node, tasks)| (*node as usize, tasks * task_milli))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Runs,
    /// A member is dead, and nobody knows yet.
    Stalled {
        culprit: u32,
    },
}

/// A job that is neither done nor new.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) account: Account,
    pub(super) run: Option<Box<Run>>,
    pub(super) waits_since_ms: u64,
    /// Work that lies in a durable checkpoint, times the tasks that did it.
    pub(super) kept_task_ms: u128,
    /// The same of work that its present attempt did since then.
    pub(super) unsaved_task_ms: u128,
    /// Progress of all attempts, whatever became of it, as it passed.
    pub(super) made_ms: u64,
    /// The same times the tasks that made it.
    pub(super) made_task_ms: u128,
    /// What is left of a restart that was cut short, where such rests add up.
    pub(super) restart_left_ms: u64,
    /// How long its next attempt waits for the last checkpoint of a job that made room for it.
    pub(super) handover_ms: u64,
    /// Some attempt ran with fewer tasks than all.
    pub(super) was_shrunk: bool,
    /// Its last attempt ended with a fault.
    pub(super) was_hit_by_fault: bool,
}

#[derive(Debug)]
pub(super) struct Jobs {
    pub(super) rows: Vec<JobRow>,
    pub(super) lives: Vec<Option<Box<Life>>>,
    pub(super) arrivals: Vec<u64>,
    arrived: usize,
    pub(super) running: BTreeSet<u32>,
    pub(super) ended: usize,
}

impl Jobs {
    pub(super) fn new(workload: &Workload) -> Self {
        let arrivals: Vec<u64> = workload.jobs.iter().map(|job| job.submit_ms).collect();
        let lives = arrivals.iter().map(|_| None).collect();
        Self { rows: Vec::with_capacity(arrivals.len()), lives, arrivals, arrived: 0, running: BTreeSet::new(), ended: 0 }
    }

    /// How many have not ended.
    pub(super) fn left(&self) -> usize {
        self.arrivals.len() - self.ended
    }

    pub(super) fn next_arrival_ms(&self) -> Option<u64> {
        self.arrivals.get(self.arrived).copied()
    }

    /// The next job, if it has arrived by now.
    pub(super) fn arrive(&mut self, now_ms: u64) -> Option<u32> {
        self.next_arrival_ms().filter(|at_ms| *at_ms <= now_ms)?;
        self.arrived += 1;
        Some(self.arrived as u32 - 1)
    }

    pub(super) fn run(&self, job: u32) -> Option<&Run> {
        self.lives[job as usize].as_ref()?.run.as_deref()
    }

    /// The attempt makes progress from now on, unless it is over or stalled.
    pub(super) fn begin_work(&mut self, job: u32, attempt: u32, now_ms: u64) -> Option<&Run> {
        let run = self.lives[job as usize].as_mut()?.run.as_mut()?;
        let begins = run.attempt == attempt && run.state == State::Runs && !run.is_working && run.plan.useful_from_ms <= now_ms;
        run.is_working |= begins;
        begins.then_some(run)
    }

    /// Rows of all jobs; one that has not arrived has not waited.
    pub(super) fn into_rows(mut self) -> Vec<JobRow> {
        let arrived = self.rows.len();
        self.rows.extend((arrived..self.arrivals.len()).map(|job| JobRow::new(job as JobNumber, self.arrivals[job])));
        self.rows
    }
}

impl Life {
    /// The work that lies in a durable checkpoint, as it passes with all tasks.
    pub(super) fn kept_ms(&self, job: &Job) -> u64 {
        (self.kept_task_ms / u128::from(job.tasks)) as u64
    }

    /// What is left to do, as it passes with so many tasks: linear, rounded up.
    pub(super) fn left_ms(&self, job: &Job, tasks: u32) -> u64 {
        let left = (u128::from(job.work_ms) * u128::from(job.tasks)).saturating_sub(self.kept_task_ms + self.unsaved_task_ms);
        left.div_ceil(u128::from(tasks)) as u64
    }
}

/// How many of the tasks are on each node, ascending.
pub(super) fn held(tasks: &[Placement]) -> Vec<(u32, u32)> {
    let mut holdings: Vec<(u32, u32)> = tasks.iter().map(|task| (task.node.at() as u32, 1)).collect();
    if holdings.len() > 1 {
        holdings.sort_unstable();
        holdings.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            kept.1 += if is_same { next.1 } else { 0 };
            is_same
        });
    }
    holdings
}
