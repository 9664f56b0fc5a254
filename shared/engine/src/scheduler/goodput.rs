//! Where the cluster's GPU time goes while this leader leads: the owner of the live books, as the lab's simulation is that of the virtual ones. It is
//! told of each booking and each change of a node, and decides nothing. Of a fault it knows what the scheduler knows, which is verdicts and
//! heartbeats: a node is broken from the last sign of it on.

use std::collections::BTreeMap;

use faultline_planner::{ClassId, TaskClass};

use super::accounting::{Accounting, AttemptEnd, Known};
use super::planning::task_class;
use super::{HeldState, NodeState, RunningState, Scheduler};
use crate::goodput::history::{self, Carried, KEPT_MS, Row};
use crate::goodput::{Class, Condition, Phase};
use crate::job::{GPU_MILLI, JobSpec};
use crate::node::Health;

/// How often what is free is looked at anew while jobs wait.
const CLASSIFY_EVERY_MS: u64 = 1_000;
/// Of so many classes of jobs that have not been tried yet each node is asked whether they would fit there.
const UNTRIED_CLASSES: usize = 8;

/// Where GPU time went, as a leader knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Goodput {
    /// From this leader's election until now.
    pub term: Row,
    /// What was booked beyond a node's capacity, in the units of a row: the classes sum to the capacity plus this.
    pub overbooked: u64,
    /// The same in rows of ten seconds, up to an hour of them.
    pub rows: Vec<Row>,
    /// What became of work that was done before this term.
    pub carried: Vec<Carried>,
}

impl NodeState {
    /// As the books of GPU time have it.
    pub(super) fn known(&self, silent_after_ms: u64, now_ms: u64) -> Known {
        Known {
            capacity_milli: self.slots.len() as u32 * GPU_MILLI,
            condition: self.condition(silent_after_ms, now_ms),
            broken_milli: self.slots.iter().filter(|slot| slot.out_of_service).count() as u32 * GPU_MILLI,
        }
    }

    /// What the node's free GPUs are good for, as far as the scheduler knows.
    fn condition(&self, silent_after_ms: u64, now_ms: u64) -> Condition {
        let is_silent = |last_ms: u64| last_ms.saturating_add(silent_after_ms) <= now_ms;
        match () {
            () if matches!(self.health, Health::Gone | Health::Dead) => Condition::Down,
            () if self.last_heartbeat_ms.is_some_and(is_silent) => Condition::DownUnseen,
            () if self.draining || self.leaving => Condition::Draining,
            () if self.closed(silent_after_ms, now_ms).is_some() => Condition::Quarantined,
            () => Condition::Up,
        }
    }
}

impl Scheduler {
    /// Closes the account of an attempt that is taken out of the books.
    pub(super) fn settle_account(&mut self, running: &mut RunningState, spec: &JobSpec, end: AttemptEnd, now_ms: u64) {
        let Some(node) = self.nodes.get(&running.node) else { return };
        let began_ms = self.cluster_time(self.goodput.began_ms);
        let before_ms = (began_ms.saturating_sub(running.before_term_ms), began_ms);
        let end = AttemptEnd { was_seen: running.seen_at_ms.is_some(), ..end };
        self.goodput.end((node.number, spec.demand.gpu_milli), &mut running.account, end, before_ms, now_ms);
    }

    /// Where GPU time went until now.
    pub fn goodput(&self, now_ms: u64) -> Goodput {
        let Accounting { books, began_ms, carried, .. } = &self.goodput;
        let mut books = books.clone();
        for held in self.jobs.values() {
            if let HeldState::Running(running) = &held.state {
                let mut account = running.account.clone();
                if account.phase() == Phase::Handover && running.seen_at_ms.is_some() {
                    books.enter(account.since_ms(), &mut account, Phase::FULL);
                }
                books.close_account(now_ms, &mut account);
            }
        }
        books.close(now_ms);
        let totals = books.totals();
        Goodput {
            term: Row::of_totals(self.cluster_time(*began_ms), now_ms.saturating_sub(*began_ms), totals),
            overbooked: u64::try_from(totals.overbooked()).unwrap_or(u64::MAX),
            rows: history::rows(&books, now_ms, |at_ms| self.cluster_time(at_ms)),
            carried: carried.clone(),
        }
    }

    /// Says what the free GPUs of open nodes are from now on.
    pub(super) fn classify_free(&mut self, now_ms: u64) {
        self.goodput.books.forget_rows_before(now_ms.saturating_sub(KEPT_MS));
        if self.planner.waiting() == 0 {
            self.goodput.classified_at_ms = None;
            return self.goodput.books.all_free(now_ms, Some(Class::NoDemand));
        }
        let is_due = |at_ms: u64| now_ms.saturating_sub(at_ms) >= CLASSIFY_EVERY_MS;
        if !self.goodput.classified_at_ms.is_none_or(is_due) {
            return;
        }
        self.goodput.classified_at_ms = Some(now_ms);
        self.goodput.books.all_free(now_ms, None);
        let classes = self.classes_that_wait();
        let free = self.free_by_shape();
        let by_shape: BTreeMap<u32, Class> = free.keys().map(|shape| (*shape, self.class_of_shape(*shape, &classes, &free))).collect();
        let untried: Vec<ClassId> =
            classes.keys().filter(|class| !self.may_place(now_ms, **class)).take(UNTRIED_CLASSES).copied().collect();
        for node in self.nodes.values() {
            let Some(class) = by_shape.get(&self.planner.shape_of(node.id)) else { continue };
            let would_fit = || untried.iter().any(|class| self.planner.capacity(*class, node.id) > 0);
            let class = match () {
                () if would_fit() => Class::Undecided,
                () if node.attempts.len() >= node.spec.slots as usize => Class::Stranded,
                () => *class,
            };
            self.goodput.books.free_class(now_ms, node.number, class);
        }
    }

    /// Whether the class has been tried, so that what fits of it runs.
    fn may_place(&self, now_ms: u64, class: ClassId) -> bool {
        now_ms >= self.ready_at_ms && !self.is_refused() && self.planner.stands_aside(class)
    }

    fn classes_that_wait(&self) -> BTreeMap<ClassId, TaskClass> {
        let mut classes = BTreeMap::new();
        for held in self.jobs.values() {
            if let HeldState::Waiting { class, .. } = held.state {
                classes.entry(class).or_insert_with(|| task_class(&held.spec));
            }
        }
        classes
    }

    /// What is free on nodes that take new work, by shape of node.
    fn free_by_shape(&self) -> BTreeMap<u32, u64> {
        let mut free: BTreeMap<u32, u64> = BTreeMap::new();
        for node in self.nodes.values() {
            let known = self.goodput.nodes[node.number];
            let free_milli = known.capacity_milli.saturating_sub(self.goodput.booked_milli(node.number));
            let free_milli = if known.condition == Condition::Up { free_milli.saturating_sub(known.broken_milli) } else { 0 };
            *free.entry(self.planner.shape_of(node.id)).or_default() += u64::from(free_milli);
        }
        free
    }

    /// What free GPUs of nodes of a shape are where no waiting job fits.
    fn class_of_shape(&self, shape: u32, classes: &BTreeMap<ClassId, TaskClass>, free: &BTreeMap<u32, u64>) -> Class {
        let mut accepting = classes.iter().filter(|(class, _)| self.planner.accepts(**class, shape)).peekable();
        if accepting.peek().is_none() {
            return Class::Constrained;
        }
        let fits_pooled = |(class, task): (&ClassId, &TaskClass)| {
            let accepted = free.iter().filter(|(shape, _)| self.planner.accepts(*class, **shape));
            accepted.map(|(_, milli)| milli).sum::<u64>() >= u64::from(task.gpus) * u64::from(task.gpu_milli)
        };
        if accepting.any(fits_pooled) { Class::Fragmented } else { Class::Short }
    }
}

#[cfg(test)]
#[path = "goodput_tests.rs"]
mod tests;
