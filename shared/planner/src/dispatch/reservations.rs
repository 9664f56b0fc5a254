//! Nodes that are kept free for jobs: for the first one that does not fit, and for those that have waited too long.

use std::collections::{BTreeSet, HashMap};

use crate::node::NodeId;
use crate::planner::Planner;

use super::gang::Gang;
use super::request::JobNumber;
use super::tally::Plan;

#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) job: JobNumber,
    pub(super) plan: Plan,
    /// It has waited too long; else it is the first that does not fit.
    pub(super) is_starved: bool,
    /// The state of everything, and when it was planned so.
    pub(super) planned: (u64, u64),
    /// The cluster for which it was planned.
    pub(super) cluster: u64,
    /// The state in which it was last found that it cannot start.
    pub(super) tried: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Reservations {
    all: Vec<Reservation>,
    /// Goes up when something ended or the cluster changed: then all are planned anew.
    pub(super) state: u64,
    /// Goes up when nodes come, go, open, or close.
    pub(super) cluster: u64,
    /// What did not fit on the whole cluster, and at which state of the cluster that was found.
    pub(super) hopeless: HashMap<Gang, u64>,
    /// The jobs that could neither start nor be planned, and the state in which that was found.
    passed_over: (u64, BTreeSet<JobNumber>),
    /// Goes up when nodes may be free of reservations that were not.
    pub(super) releases: u64,
    /// The jobs that do not fit beside the reservations whatever ends, and after how many releases that was found.
    crowded_out: (u64, BTreeSet<JobNumber>),
    /// For blocking by time: the first job, and when it was expected to start.
    blocked: Option<(JobNumber, u64)>,
}

impl Reservations {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn of(&self, job: JobNumber) -> Option<&Reservation> {
        self.all.iter().find(|reservation| reservation.job == job)
    }

    pub(super) fn has(&self, job: JobNumber) -> bool {
        self.of(job).is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Reservation> {
        self.all.iter()
    }

    /// What ends until then is in the way of none: 0 when nobody knows when one of them starts.
    pub(super) fn first_ms(&self) -> u64 {
        let known = |reservation: &Reservation| if reservation.plan.at_ms == u64::MAX { 0 } else { reservation.plan.at_ms };
        self.all.iter().map(known).min().unwrap_or(u64::MAX)
    }

    pub(super) fn blocked(&self) -> Option<(JobNumber, u64)> {
        self.blocked
    }

    pub(super) fn set_blocked(&mut self, blocked: Option<(JobNumber, u64)>) {
        self.blocked = blocked;
    }

    pub(super) fn freed(&mut self) {
        self.state += 1;
    }

    pub(super) fn cluster_changed(&mut self) {
        self.state += 1;
        self.releases += 1;
        self.cluster += 1;
    }

    pub(super) fn crowd_out(&mut self, job: JobNumber) {
        if self.crowded_out.0 != self.releases {
            self.crowded_out = (self.releases, BTreeSet::new());
        }
        self.crowded_out.1.insert(job);
        self.pass_over(job);
    }

    pub(super) fn is_crowded_out(&self, job: JobNumber) -> bool {
        self.crowded_out.0 == self.releases && self.crowded_out.1.contains(&job)
    }

    pub(super) fn left(&mut self, node: NodeId) {
        self.cluster_changed();
        self.all.iter_mut().for_each(|reservation| reservation.plan.nodes.retain(|other| *other != node));
    }

    /// Whether it was found in this state that the job can neither start nor be planned.
    pub(super) fn is_passed_over(&self, job: JobNumber) -> bool {
        self.passed_over.0 == self.state && self.passed_over.1.contains(&job)
    }

    pub(super) fn pass_over(&mut self, job: JobNumber) {
        if self.passed_over.0 != self.state {
            self.passed_over = (self.state, BTreeSet::new());
        }
        self.passed_over.1.insert(job);
    }

    pub(super) fn is_hopeless(&self, gang: &Gang) -> bool {
        self.hopeless.get(gang) == Some(&self.cluster)
    }

    /// Whether the job's plan takes into account all that has happened.
    pub(super) fn is_planned(&self, job: JobNumber, now_ms: u64) -> bool {
        self.of(job).is_some_and(|own| own.planned.0 == self.state && (own.plan.at_ms > now_ms || own.planned.1 == now_ms))
    }

    /// Whether the job's plan still holds, though it might start earlier.
    pub(super) fn is_safe(&self, job: JobNumber, now_ms: u64) -> bool {
        let is_later = |own: &Reservation| own.plan.at_ms > now_ms || own.planned.1 == now_ms;
        self.of(job).is_some_and(|own| own.is_starved && own.cluster == self.cluster && is_later(own))
    }

    /// The job needs no reservation any more.
    pub(super) fn drop_of(&mut self, job: JobNumber, planner: &mut Planner) -> Option<Reservation> {
        let at = self.all.iter().position(|reservation| reservation.job == job)?;
        let reservation = self.all.remove(at);
        reservation.plan.nodes.iter().for_each(|node| planner.world.hold(*node, false));
        Some(reservation)
    }

    /// The job has started, or waits no longer.
    pub(super) fn over(&mut self, job: JobNumber, planner: &mut Planner) {
        if self.drop_of(job, planner).is_some() {
            self.state += 1;
            self.releases += 1;
        }
        self.blocked = self.blocked.filter(|(blocked, _)| *blocked != job);
    }

    pub(super) fn tried(&mut self, job: JobNumber) {
        let state = self.state;
        self.all.iter_mut().filter(|own| own.job == job).for_each(|own| own.tried = Some(state));
    }

    pub(super) fn keep(&mut self, reservation: Reservation, planner: &mut Planner) {
        reservation.plan.nodes.iter().for_each(|node| planner.world.hold(*node, true));
        self.all.push(reservation);
    }
}
