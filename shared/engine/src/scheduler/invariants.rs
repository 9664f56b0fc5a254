//! What must never be, checked while the leader works, in release builds too. A violation is a bug, or a message from
//! somebody who plays by other rules: it is counted and reported, and nothing stops for it. The whole books are held against
//! each other by `sanity`, which only tests and debug builds can afford.
//!
//! The checks cost a comparison for each GPU of a placement, and one pass over a node's own attempts for each of its
//! heartbeats. What is legal is not reported: an attempt that was given up here (its node was declared dead, say) may go on
//! for a while beside its heir; it is killed, and cannot commit.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use super::{Action, HeldState, NodeState, RunningSign, Scheduler};
use crate::job::{AttemptId, GPU_MILLI, JobId};
use crate::node::Health;

/// How long an attempt that was given up is remembered: a zombie that wakes up later is not judged.
const REMEMBERED_MS: u64 = 600_000;
/// A stranger is judged when heartbeats have named it for this long: its end may have been heard before an older heartbeat.
const NAMED_TWICE_MS: u64 = 1_000;
/// Kinds of violation that are told apart; each is reported once.
const MAX_REPORTED: usize = 1_000;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// The attempts in the books ask for more of a GPU than it has.
    GpuOverCapacity { node: String, gpu: usize, used_milli: u32, reserved_mib: u32, memory_mib: u32 },
    /// A node has more attempts than slots.
    SlotsOverCapacity { node: String, attempts: usize, slots: u32 },
    /// What is booked on a GPU is not what its attempts ask for, or an attempt there has no running job.
    BooksDiffer { node: String, detail: String },
    /// A node that had said to this leader what it runs has taken an attempt of an older leader since.
    OldEpoch { node: String, job: JobId, attempt: AttemptId, epoch: u64, current: u64 },
    /// Two nodes that are alive name an attempt of one job each, and neither attempt was given up: two holders of one lease.
    TwoLiveAttempts { job: JobId, node: String, attempt: AttemptId, other_node: String, other: AttemptId },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::GpuOverCapacity { node, gpu, used_milli, reserved_mib, memory_mib } => write!(
                f,
                "GPU {gpu} of {node} is over its capacity: {used_milli} of {GPU_MILLI} thousandths and {reserved_mib} of {memory_mib} MiB are booked"
            ),
            Violation::SlotsOverCapacity { node, attempts, slots } => write!(f, "{node} has {attempts} attempts in {slots} slots"),
            Violation::BooksDiffer { node, detail } => write!(f, "the books of {node} contradict themselves: {detail}"),
            Violation::OldEpoch { node, job, attempt, epoch, current } => {
                write!(
                    f,
                    "{node} runs attempt {attempt} of {job}, placed under epoch {epoch}, which it took after it had heard of epoch {current}"
                )
            }
            Violation::TwoLiveAttempts { job, node, attempt, other_node, other } => {
                write!(f, "{job} runs twice under one lease: attempt {attempt} on {node} and attempt {other} on {other_node}")
            }
        }
    }
}

impl Violation {
    pub fn node(&self) -> &str {
        match self {
            Violation::GpuOverCapacity { node, .. }
            | Violation::SlotsOverCapacity { node, .. }
            | Violation::BooksDiffer { node, .. }
            | Violation::OldEpoch { node, .. }
            | Violation::TwoLiveAttempts { node, .. } => node,
        }
    }

    pub fn job(&self) -> Option<JobId> {
        match self {
            Violation::OldEpoch { job, .. } | Violation::TwoLiveAttempts { job, .. } => Some(*job),
            Violation::GpuOverCapacity { .. } | Violation::SlotsOverCapacity { .. } | Violation::BooksDiffer { .. } => None,
        }
    }

    /// What makes two findings the same one: the figures may change while it lasts.
    fn key(&self) -> (u8, String, u128) {
        match self {
            Violation::GpuOverCapacity { node, gpu, .. } => (0, node.clone(), *gpu as u128),
            Violation::SlotsOverCapacity { node, .. } => (1, node.clone(), 0),
            Violation::BooksDiffer { node, .. } => (2, node.clone(), 0),
            Violation::OldEpoch { node, attempt, .. } => (3, node.clone(), attempt.to_u128()),
            Violation::TwoLiveAttempts { node, attempt, .. } => (4, node.clone(), attempt.to_u128()),
        }
    }
}

/// What the checks remember.
#[derive(Debug, Clone, Default)]
pub(super) struct Watchdog {
    reported: BTreeSet<(u8, String, u128)>,
    given_up: BTreeSet<AttemptId>,
    /// The same with their times, oldest first, for forgetting.
    given_up_at: VecDeque<(u64, AttemptId)>,
}

impl Watchdog {
    /// An attempt was given up here: it may be seen for a while yet.
    pub(super) fn give_up(&mut self, attempt: AttemptId, now_ms: u64) {
        while let Some((at_ms, oldest)) = self.given_up_at.front().copied()
            && now_ms.saturating_sub(at_ms) > REMEMBERED_MS
        {
            self.given_up_at.pop_front();
            self.given_up.remove(&oldest);
        }
        if self.given_up.insert(attempt) {
            self.given_up_at.push_back((now_ms, attempt));
        }
    }
}

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
        let too_old = now_ms.saturating_sub(sign.attempt.unix_ms()) >= REMEMBERED_MS;
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
