//! What must never be, checked while the leader works, in release builds too. A violation is a bug, or a message from
//! a component that breaks the rules: it is counted and reported, and nothing stops for it. The whole books are held against
//! each other by `sanity`, which only tests and debug builds can afford.
//!
//! The checks cost a comparison for each GPU of a placement, and one pass over a node's own attempts for each of its
//! heartbeats. What is legal is not reported: an attempt that was given up here (its node was declared dead, say) may go on
//! for a while beside its heir; it is killed, and cannot commit.

use super::violation::{REMEMBERED_MS, Violation};
use super::{Action, HeldState, NodeState, RunningSign, Scheduler};
use crate::job::GPU_MILLI;
use crate::node::Health;

/// A stranger is judged when heartbeats have named it for this long: its end may have been heard before an older heartbeat.
const NAMED_TWICE_MS: u64 = 1_000;
/// Kinds of violation that are told apart; each is reported once.
const MAX_REPORTED: usize = 1_000;

impl Scheduler {
    fn report(&mut self, violation: Violation, actions: &mut Vec<Action>) {
        if self.watchdog.reported.len() < MAX_REPORTED && self.watchdog.reported.insert(violation.key()) {
            self.counters.violations += 1;
            self.counters.last_violation = violation.to_string();
            actions.push(Action::Report(violation));
        }
    }

    /// After a placement or an adoption: the GPUs that it touched.
    pub(super) fn check_booked(&mut self, node: &str, gpus: &[u8], actions: &mut Vec<Action>) {
        let Some(known) = self.nodes.get(node) else { return };
        let over = gpus.iter().map(|gpu| usize::from(*gpu)).find(|gpu| !known.is_within_capacity(*gpu));
        if let Some(violation) = over.and_then(|gpu| known.over_capacity(gpu)) {
            self.report(violation, actions);
        }
    }

    /// With a heartbeat: the node's books against its attempts, and these against its slots.
    pub(super) fn check_node(&mut self, node: &str, actions: &mut Vec<Action>) {
        let Some(known) = self.nodes.get(node) else { return };
        let mut found: Vec<Violation> = (0..known.slots.len()).filter_map(|gpu| known.over_capacity(gpu)).collect();
        if known.attempts.len() > known.spec.slots as usize {
            found.push(Violation::SlotsOverCapacity { node: node.to_owned(), attempts: known.attempts.len(), slots: known.spec.slots });
        }
        let mut used = vec![(0_u32, 0_u32); known.slots.len()];
        for (attempt, job) in &known.attempts {
            match self.jobs.get(job).map(|held| (&held.state, &held.spec.demand)) {
                Some((HeldState::Running(state), demand)) if state.attempt == *attempt => {
                    for gpu in &state.gpus {
                        if let Some(slot) = used.get_mut(usize::from(*gpu)) {
                            slot.0 += demand.milli_per_gpu();
                            slot.1 += demand.gpu_memory_mib;
                        }
                    }
                }
                Some((HeldState::Running(state), _)) => found.push(Violation::TwoLiveAttempts {
                    job: *job,
                    node: node.to_owned(),
                    attempt: *attempt,
                    other_node: state.node.clone(),
                    other: state.attempt,
                }),
                Some(_) | None => {
                    found.push(Violation::BooksDiffer {
                        node: node.to_owned(),
                        detail: format!("attempt {attempt} of {job}, which does not run"),
                    });
                }
            }
        }
        if let Some(gpu) = known.slots.iter().zip(&used).position(|(slot, used)| (slot.used_milli, slot.reserved_mib) != *used) {
            let slot = &known.slots[gpu];
            let detail = format!(
                "GPU {gpu} has {} thousandths and {} MiB booked, its attempts ask for {} and {}",
                slot.used_milli, slot.reserved_mib, used[gpu].0, used[gpu].1
            );
            found.push(Violation::BooksDiffer { node: node.to_owned(), detail });
        }
        for violation in found {
            self.report(violation, actions);
        }
    }

    /// An attempt that a heartbeat names and that is not in the books of its node.
    pub(super) fn judge_stranger(&mut self, node: &str, sign: &RunningSign, since_ms: u64, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(known) = self.nodes.get(node) else { return };
        if !known.synced || now_ms.saturating_sub(since_ms) < NAMED_TWICE_MS || sign.epoch == 0 {
            return;
        }
        if sign.epoch < self.epoch && !known.listed.contains(&sign.attempt) {
            let violation =
                Violation::OldEpoch { node: node.to_owned(), job: sign.job, attempt: sign.attempt, epoch: sign.epoch, current: self.epoch };
            return self.report(violation, actions);
        }
        // This leader made the id, in the cluster's time. When that jumps, either way, nothing is judged for a while.
        let too_old = self.cluster_time(now_ms).abs_diff(sign.attempt.unix_ms()) >= REMEMBERED_MS;
        if sign.epoch != self.epoch || too_old || known.health != Health::Alive || self.watchdog.given_up.contains(&sign.attempt) {
            return;
        }
        if let Some(HeldState::Running(current)) = self.jobs.get(&sign.job).map(|held| &held.state)
            && self.nodes.get(&current.node).is_some_and(|other| other.health == Health::Alive)
            && current.seen_at_ms.is_some_and(|seen| now_ms.saturating_sub(seen) < self.config.silent_after_ms)
        {
            let violation = Violation::TwoLiveAttempts {
                job: sign.job,
                node: node.to_owned(),
                attempt: sign.attempt,
                other_node: current.node.clone(),
                other: current.attempt,
            };
            self.report(violation, actions);
        }
    }
}

impl NodeState {
    fn is_within_capacity(&self, gpu: usize) -> bool {
        self.slots.get(gpu).is_some_and(|slot| slot.used_milli <= GPU_MILLI && slot.reserved_mib <= slot.gpu.memory_mib)
    }

    fn over_capacity(&self, gpu: usize) -> Option<Violation> {
        let slot = self.slots.get(gpu).filter(|_| !self.is_within_capacity(gpu))?;
        Some(Violation::GpuOverCapacity {
            node: self.spec.node.clone(),
            gpu,
            used_milli: slot.used_milli,
            reserved_mib: slot.reserved_mib,
            memory_mib: slot.gpu.memory_mib,
        })
    }
}

#[cfg(test)]
#[path = "invariants_tests.rs"]
mod tests;
