//! Who gets a reservation: the first job that does not fit, and those that have waited too long.

use crate::index::View;

use super::Dispatcher;
use super::decision::Dispatch;
use super::lines::{Key, LineId};
use super::pass::{Attempt, Passing};
use super::request::JobNumber;
use super::reservations::Reservation;
use super::settings::Blocking;

/// How many jobs that have waited too long have a reservation at once; the others get theirs when one of these has started.
const STARVED_AT_ONCE: usize = 8;

impl Dispatcher {
    /// When to be asked again though nothing changes: a reservation begins, or a job has waited too long.
    pub fn next_ms(&self) -> Option<u64> {
        let begins = self.reservations.iter().map(|reservation| reservation.plan.at_ms).filter(|at_ms| *at_ms < u64::MAX);
        let starves = self.settings.reserve_after_ms.and_then(|after_ms| {
            let from = (self.asked_ms.saturating_sub(after_ms).saturating_add(1), 0);
            let (submitted_ms, _) = self.arrivals.range(from..).next()?;
            Some(submitted_ms.saturating_add(after_ms))
        });
        begins
            .chain(starves)
            .chain(self.calendar.starts_ms().filter(|at_ms| *at_ms < u64::MAX))
            .chain(self.stops.next_ms())
            .chain(self.settles_ms())
            .chain(self.shares_change_ms())
            .filter(|at_ms| *at_ms > self.asked_ms)
            .min()
    }

    /// Starts a job that may have a reservation where it fits beside those of others.
    pub(super) fn attempt_reserved(&mut self, key: Key, line: LineId, passing: &mut Passing) -> Attempt {
        let Some(own) = self.reservations.of(key.job) else { return self.attempt(key, line, passing) };
        let others_ms = self.reservations.iter().filter(|other| other.job != key.job).map(|other| other.plan.at_ms);
        let others_ms = others_ms.map(|at_ms| if at_ms == u64::MAX { 0 } else { at_ms }).min().unwrap_or(u64::MAX);
        if self.would_end_ms(key.job, passing.now_ms) <= others_ms {
            return self.attempt_in(key, line, View::All, passing);
        }
        if own.tried == Some(self.reservations.state) || self.lines.stands_aside(line) {
            return Attempt::HeldBack;
        }
        if passing.is_full() {
            return Attempt::OutOfBudget;
        }
        let nodes = own.plan.nodes.clone();
        nodes.iter().for_each(|node| self.planner.world.hold(*node, false));
        // Its own nodes change for this twice, so it must not be interrupted and begin again and again.
        let budget = std::mem::replace(&mut passing.budget, usize::MAX);
        let attempt = self.attempt_in(key, line, View::Unheld, passing);
        passing.budget = budget;
        if attempt != Attempt::Started {
            nodes.iter().for_each(|node| self.planner.world.hold(*node, true));
            self.reservations.tried(key.job);
        }
        attempt
    }

    /// The first job that does not fit is another one now.
    pub(super) fn forget_other_first(&mut self, job: JobNumber) {
        let former = self.reservations.iter().find(|other| !other.is_starved && other.job != job).map(|other| other.job);
        if let Some(former) = former {
            self.reservations.over(former, &mut self.planner);
        }
    }

    /// The first job that does not fit gets a reservation, and no other but those that have waited too long. False when it will not fit
    /// whatever ends.
    pub(super) fn reserve_for_first(&mut self, job: JobNumber, line: LineId, passing: &mut Passing) -> bool {
        self.forget_other_first(job);
        self.reservations.is_planned(job, passing.now_ms)
            || self.reservations.of(job).is_some_and(|own| own.is_starved)
            || self.reserve(job, line, false, passing)
    }

    /// Plans the job's start anew and keeps the nodes for it.
    fn reserve(&mut self, job: JobNumber, line: LineId, is_starved: bool, passing: &mut Passing) -> bool {
        let gang = self.lines.demand(line).gang;
        let old = self.reservations.drop_of(job, &mut self.planner);
        if self.reservations.is_hopeless(&gang) || self.reservations.is_crowded_out(job) {
            self.reservations.pass_over(job);
            return false;
        }
        let planned = self.plan(line, passing);
        let frees = old.as_ref().is_some_and(|old| planned.as_ref().is_none_or(|plan| plan.nodes != old.plan.nodes));
        self.reservations.releases += u64::from(frees);
        let Some(plan) = planned else {
            if self.reservations.is_empty() {
                self.reservations.hopeless.insert(gang, self.reservations.cluster);
            }
            self.reservations.crowd_out(job);
            return false;
        };
        if old.is_none_or(|old| old.plan != plan) {
            let at_ms = Some(plan.at_ms).filter(|at_ms| *at_ms < u64::MAX);
            passing.pass.decisions.push(Dispatch::Reserve { job, at_ms, nodes: plan.nodes.clone() });
        }
        let planned = (self.reservations.state, passing.now_ms);
        self.reservations.keep(
            Reservation { job, plan, is_starved, planned, cluster: self.reservations.cluster, tried: Some(planned.0) },
            &mut self.planner,
        );
        true
    }

    /// Jobs that have waited too long start first, or get a reservation, the oldest first.
    pub(super) fn serve_the_starved(&mut self, passing: &mut Passing) {
        let Some(after_ms) = self.settings.reserve_after_ms.filter(|_| self.settings.blocking != Blocking::Conservative) else { return };
        let Some(latest_ms) = passing.now_ms.checked_sub(after_ms) else { return };
        let starved: Vec<JobNumber> = self.arrivals.range(..=(latest_ms, u64::MAX)).take(STARVED_AT_ONCE).map(|(_, job)| *job).collect();
        let is_over = |reservation: &&Reservation| reservation.is_starved && !starved.contains(&reservation.job);
        let over: Vec<JobNumber> = self.reservations.iter().filter(is_over).map(|reservation| reservation.job).collect();
        for job in over {
            self.reservations.drop_of(job, &mut self.planner);
        }
        for job in starved {
            let Some((key, line)) = self.place_in_line(job).filter(|_| !self.reservations.is_passed_over(job)) else { continue };
            match self.attempt_reserved(key, line, passing) {
                Attempt::OutOfBudget => return,
                Attempt::Started => {}
                Attempt::Bound => self.reservations.over(job, &mut self.planner),
                Attempt::NoRoom | Attempt::HeldBack if self.reservations.is_safe(job, passing.now_ms) => {}
                Attempt::NoRoom | Attempt::HeldBack => {
                    self.reserve(job, line, true, passing);
                }
            }
        }
    }
}
