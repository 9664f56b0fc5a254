//! What a leader does when workers refuse it. The numbers that fence leaders off come from a store, and a store can be made anew or be
//! an older copy of itself: then a rightful leader's epoch is lower than one that workers have heard of. A refusal names that epoch, and
//! a leader whose lease is still valid asks for a higher one. Until it has it, it places nothing.

use std::collections::BTreeSet;

use super::epoch::{MAX_EPOCH, Refusals, Refused};
use super::sync::Reclaim;
use super::{Action, HeldState, Scheduler};
use crate::goodput::LossCause;
use crate::job::{AttemptId, JobId};

impl Scheduler {
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Whether workers have to be told a higher epoch before they take anything.
    pub(super) fn is_refused(&self) -> bool {
        self.refusals.above.is_some()
    }

    /// A worker refused this leader.
    pub fn on_refused(&mut self, refused: &Refused, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if refused.epoch != self.epoch || refused.newest <= self.epoch {
            return actions;
        }
        self.refusals.total += 1;
        let Refused { worker, newest, .. } = refused;
        if *newest > MAX_EPOCH {
            self.refusals.standing = format!(
                "{worker} refuses epoch {}: it claims to have heard of epoch {newest}, which is higher than any leader's; restart {worker}",
                self.epoch
            );
        } else {
            self.refusals.standing = format!(
                "{worker} refuses epoch {}: it knows epoch {newest}, so the bucket LEASE was recreated or restored from an older copy",
                self.epoch
            );
            if self.refusals.above.is_none_or(|above| above < *newest) {
                self.refusals.above = Some(*newest);
                actions.push(Action::RaiseEpoch { above: *newest });
            }
        }
        let named: BTreeSet<AttemptId> = refused.attempts.iter().copied().collect();
        let is_refused = |job: &JobId| matches!(self.jobs.get(job).map(|held| &held.state), Some(HeldState::Running(running)) if named.contains(&running.attempt));
        let jobs: Vec<JobId> = self
            .nodes
            .values()
            .filter(|node| node.spec.worker == *worker)
            .flat_map(|node| node.attempts.values().copied())
            .filter(is_refused)
            .collect();
        for job in jobs {
            let reason = "its worker refused the assignment: it has heard of a higher epoch";
            self.lose(job, reason, LossCause::SchedulerError, now_ms, now_ms, &mut actions);
        }
        actions
    }

    /// The lease was written again, with an epoch above the one that workers named. What they run now was placed before it and is
    /// adopted: all of them are to be asked, as after an election.
    pub fn on_epoch_raised(&mut self, epoch: u64, now_ms: u64) {
        if epoch <= self.epoch {
            return;
        }
        self.epoch = epoch;
        (self.refusals.above, self.refusals.standing) = (None, String::new());
        for node in self.nodes.values_mut() {
            node.synced = false;
            node.listed.clear();
        }
        self.elected_at_ms = now_ms;
        self.ready_at_ms = now_ms + self.config.settle_ms;
        self.reclaim = Some(Reclaim::starting_at(now_ms));
    }
}

#[cfg(test)]
#[path = "fencing_tests.rs"]
mod tests;
