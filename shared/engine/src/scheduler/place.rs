//! The placement pass: the waiting jobs in the order of service, each to the node that the policy likes best.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use rand::RngExt;

use super::{Action, HeldState, NodeState, Note, RunningState, Scheduler};
use crate::job::{Assignment, AttemptId, GPU_MILLI, JobId, JobSpec};
use crate::node::Health;
use crate::placement::{Candidate, GpuSlot, Reject, RejectReason, WhyWaiting, fit_gpus};
use crate::words::{plural, span};

/// Jobs that ask for the same need not be tried twice in one pass. A collision costs one of them that pass, no more.
pub(super) fn demand_kind(spec: &JobSpec) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&spec.kind, spec.demand.gpu_milli, spec.demand.gpu_memory_mib, &spec.demand.models).hash(&mut hasher);
    hasher.finish()
}

impl NodeState {
    fn accepts(&self, spec: &JobSpec, silent_after_ms: u64, now_ms: u64) -> Result<Vec<u8>, RejectReason> {
        let kinds = &self.spec.kinds;
        if !kinds.is_empty() && !kinds.contains(&spec.kind) && !kinds.iter().any(|kind| kind == spec.class()) {
            return Err(RejectReason::KindNotOffered);
        }
        let gpus = fit_gpus(&self.slots, &spec.demand);
        if let Err(reason) = &gpus
            && !reason.is_temporary()
        {
            return Err(*reason);
        }
        let silent = self.last_heartbeat_ms.is_none_or(|last| now_ms.saturating_sub(last) >= silent_after_ms);
        if self.health != Health::Alive || silent {
            return Err(RejectReason::NotAlive);
        }
        if self.draining || self.leaving {
            return Err(RejectReason::Draining);
        }
        if self.refusals.is_paused(now_ms) {
            return Err(RejectReason::RefusedLately);
        }
        if self.attempts.len() >= self.spec.slots as usize {
            return Err(RejectReason::SlotsTaken);
        }
        gpus
    }

    fn candidate(&self, index: usize) -> Candidate {
        let total_milli = u32::try_from(self.slots.len()).unwrap_or(u32::MAX).saturating_mul(GPU_MILLI);
        let unusable = |slot: &GpuSlot| if slot.out_of_service { GPU_MILLI } else { slot.used_milli };
        let used: u32 = self.slots.iter().map(unusable).sum();
        let running = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX);
        Candidate {
            index,
            free_milli: total_milli.saturating_sub(used),
            total_milli,
            free_slots: self.spec.slots.saturating_sub(running),
            total_slots: self.spec.slots,
        }
    }
}

impl Scheduler {
    /// Places what can be placed. Does nothing while nothing has changed, while a new leader still
    /// listens, or while workers refuse its epoch.
    pub(super) fn place(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if !self.dirty || now_ms < self.ready_at_ms || self.is_refused() || self.queue.is_empty() {
            return;
        }
        self.dirty = false;
        let mut refused = BTreeSet::new();
        let mut refused_jobs = 0;
        let mut place = None;
        // Over when every job that still waits is known to be refused: a long queue of equal jobs costs one try.
        while refused_jobs < self.queue.len()
            && let Some(next) = self.queue.next_after(place)
        {
            place = Some(next);
            let job = next.job();
            let Some(kind) = self.jobs.get(&job).map(|held| held.demand_kind) else { continue };
            if refused.contains(&kind) {
                continue;
            }
            match self.choose(job, now_ms) {
                Ok((node, gpus, why)) => self.assign(job, node, gpus, why, now_ms, actions),
                Err(rejects) if self.is_impossible(&rejects, now_ms) => {
                    actions.extend(self.die(job, format!("no node could ever run it: {}", summarise(&rejects)), String::new()));
                }
                Err(rejects) => {
                    if let Some(known) = self.demand_kinds.get_mut(&kind) {
                        known.rejects = rejects;
                        refused_jobs += known.waiting;
                    }
                    refused.insert(kind);
                }
            }
        }
    }

    /// The best node for a job, or why each said no.
    fn choose(&mut self, job: JobId, now_ms: u64) -> Result<(String, Vec<u8>, String), Vec<Reject>> {
        let Some(held) = self.jobs.get(&job) else { return Err(Vec::new()) };
        let mut best: Option<(f64, Candidate, &NodeState, Vec<u8>)> = None;
        let mut rejects: BTreeMap<RejectReason, u32> = BTreeMap::new();
        let mut accepting = 0;
        for (index, node) in self.nodes.values().enumerate() {
            match node.accepts(&held.spec, self.config.silent_after_ms, now_ms) {
                Ok(gpus) => {
                    accepting += 1;
                    let candidate = node.candidate(index);
                    let score = self.policy.score(&held.spec, &candidate);
                    if best.as_ref().is_none_or(|(highest, ..)| score > *highest) {
                        best = Some((score, candidate, node, gpus));
                    }
                }
                Err(reason) => *rejects.entry(reason).or_default() += 1,
            }
        }
        match best {
            Some((_, candidate, node, gpus)) => {
                self.policy.placed(candidate.index);
                let why = format!("{}, best of {accepting} of {}", self.policy.why(&candidate), plural(self.nodes.len() as u64, "node"));
                Ok((node.spec.node.clone(), gpus, why))
            }
            None => Err(rejects.into_iter().map(|(reason, nodes)| Reject { reason, nodes }).collect()),
        }
    }

    fn is_impossible(&self, rejects: &[Reject], now_ms: u64) -> bool {
        !rejects.is_empty()
            && rejects.iter().all(|reject| !reject.reason.is_temporary())
            && now_ms.saturating_sub(self.nodes_changed_at_ms.max(self.ready_at_ms)) >= self.config.impossible_after_ms
    }

    fn assign(&mut self, job: JobId, node_name: String, gpus: Vec<u8>, why: String, now_ms: u64, actions: &mut Vec<Action>) {
        self.unqueue(job);
        let placed_at_ms = self.cluster_time(now_ms);
        let (Some(held), Some(node)) = (self.jobs.get_mut(&job), self.nodes.get_mut(&node_name)) else { return };
        let attempt = AttemptId::new(placed_at_ms, self.rng.random());
        node.book(&gpus, &held.spec);
        node.attempts.insert(attempt, job);
        if let Some(lost_at_ms) = held.lost_at_ms.take() {
            self.counters.recovery.push(now_ms.saturating_sub(lost_at_ms));
            self.counters.replacement.push(now_ms.saturating_sub(lost_at_ms));
        }
        if let HeldState::Waiting { since_ms } = held.state {
            self.counters.placement.push(now_ms.saturating_sub(since_ms));
        }
        if held.path.history.is_empty() {
            self.counters.wait.push(placed_at_ms.saturating_sub(held.stored_at_ms));
        }
        self.counters.placed += 1;
        held.has_paused = false;
        let assignment = Assignment {
            spec: held.spec.clone(),
            attempt,
            node: node_name.clone(),
            incarnation: node.spec.incarnation,
            gpus: gpus.clone(),
            open_seq: held.open_seq,
            ack_subject: held.ack_subject.clone(),
            placed_at_ms,
            failures: held.path.failures,
            requeues: held.path.requeues,
            history: held.path.history.clone(),
            why: why.clone(),
            epoch: self.epoch,
        };
        actions.push(Action::Assign { worker: node.spec.worker.clone(), assignment: Box::new(assignment) });
        actions.push(Action::Note(Note::Placed { job, attempt, node: node_name.clone(), why: why.clone(), path: held.path.clone() }));
        held.state = HeldState::Running(RunningState {
            attempt,
            node: node_name.clone(),
            incarnation: node.spec.incarnation,
            gpus: gpus.clone(),
            epoch: self.epoch,
            placed_at_ms,
            since_ms: now_ms,
            seen_at_ms: None,
            progress_permille: 0,
            delivered_again: false,
            why,
        });
        self.check_booked(&node_name, &gpus, actions);
    }

    /// Why a job still waits; `None` when it does not, or is not here.
    pub fn why_waiting(&self, job: JobId, now_ms: u64) -> Option<WhyWaiting> {
        let held = self.jobs.get(&job)?;
        match &held.state {
            HeldState::Waiting { since_ms } => {
                let rejects = self.demand_kinds.get(&held.demand_kind).map_or(&[][..], |kind| &kind.rejects);
                let summary = match (now_ms < self.ready_at_ms, rejects.is_empty()) {
                    (true, _) => "a new leader listens before it places".to_owned(),
                    (false, true) if self.nodes.is_empty() => "no node is registered".to_owned(),
                    (false, true) => "it has not been tried yet".to_owned(),
                    (false, false) => summarise(rejects),
                };
                Some(WhyWaiting { since_ms: self.cluster_time(*since_ms), rejects: rejects.to_vec(), summary })
            }
            HeldState::ReadingBack => {
                let since_ms = self.cluster_time(now_ms);
                Some(WhyWaiting { since_ms, rejects: Vec::new(), summary: "its record is being read".into() })
            }
            HeldState::Returning { since_ms, until_ms } => {
                let summary = if *until_ms > now_ms {
                    format!("it is tried again in {}", span(until_ms - now_ms))
                } else {
                    "JetStream delivers it again".into()
                };
                Some(WhyWaiting { since_ms: self.cluster_time(*since_ms), rejects: Vec::new(), summary })
            }
            HeldState::Running(_) => None,
        }
    }
}

/// `5 nodes: GPU share taken, 3 nodes: draining`.
fn summarise(rejects: &[Reject]) -> String {
    let words = |reason: RejectReason| match reason {
        RejectReason::NotAlive => "not alive",
        RejectReason::Draining => "draining",
        RejectReason::KindNotOffered => "no executor for its kind",
        RejectReason::WrongModel => "no GPU of a wanted model",
        RejectReason::TooFewGpus => "too few GPUs",
        RejectReason::GpuMemoryTooSmall => "GPU memory too small",
        RejectReason::SlotsTaken => "slots taken",
        RejectReason::GpuShareTaken => "GPU share taken",
        RejectReason::GpuMemoryTaken => "GPU memory taken",
        RejectReason::GpuOutOfService => "GPU out of service",
        RejectReason::RefusedLately => "refused jobs a moment ago",
    };
    rejects.iter().map(|reject| format!("{}: {}", plural(reject.nodes.into(), "node"), words(reject.reason))).collect::<Vec<_>>().join(", ")
}
