//! What happens to nodes: they register, beat, are judged, drained and leave; a worker answers a sync.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use faultline_planner::NodeId;

use super::gpu_slot::GpuSlot;
use super::planning::{machine_of, task_class};
use super::refusals::Refusals;
use super::sync::{Hearing, Stranger};
use super::{Action, Held, HeldState, NodeState, Scheduler};
use crate::goodput::LossCause;
use crate::job::{AttemptId, GPU_MILLI, JobId, JobSpec};
use crate::node::{GpuTelemetry, Health, NodeSpec};

/// Why attempts on a node that said goodbye are interrupted.
pub const NODE_LEFT: &str = "its node left";

/// What a heartbeat says.
#[derive(Debug, Clone, Copy)]
pub struct Beat<'a> {
    pub incarnation: u64,
    pub running: &'a [RunningSign],
    pub telemetry: &'a [GpuTelemetry],
    /// The node takes nothing new.
    pub leaving: bool,
}

/// An attempt that a heartbeat names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningSign {
    pub attempt: AttemptId,
    pub job: JobId,
    pub progress_permille: u16,
    /// The lease under which it was placed; 0 when that is not said.
    pub epoch: u64,
}

impl NodeState {
    fn new(spec: NodeSpec, id: NodeId, number: usize, draining: bool, now_ms: u64) -> Self {
        Self {
            slots: spec.gpus.iter().cloned().map(GpuSlot::new).collect(),
            spec,
            id,
            number,
            look_at_ms: None,
            health: Health::Alive,
            judged_at_ms: 0,
            draining,
            leaving: false,
            attempts: BTreeMap::new(),
            last_heartbeat_ms: None,
            since_ms: now_ms,
            lower: None,
            telemetry: Vec::new(),
            strangers: BTreeMap::new(),
            synced: false,
            listed: BTreeSet::new(),
            hearing: Hearing::default(),
            refusals: Refusals::default(),
        }
    }

    /// Whether this life of the node was heard, or began, within that time.
    fn is_heard(&self, within_ms: u64, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.last_heartbeat_ms.unwrap_or(self.since_ms)) < within_ms
    }

    pub(super) fn has_room_for(&self, gpus: &[u8], spec: &JobSpec) -> bool {
        self.attempts.len() < self.spec.slots as usize
            && gpus.iter().all(|gpu| {
                self.slots.get(usize::from(*gpu)).is_some_and(|slot| {
                    slot.used_milli + spec.demand.milli_per_gpu() <= GPU_MILLI
                        && slot.reserved_mib + spec.demand.gpu_memory_mib <= slot.gpu.memory_mib
                })
            })
    }

    pub(super) fn book(&mut self, gpus: &[u8], spec: &JobSpec) {
        for gpu in gpus {
            if let Some(slot) = self.slots.get_mut(usize::from(*gpu)) {
                slot.used_milli += spec.demand.milli_per_gpu();
                slot.reserved_mib += spec.demand.gpu_memory_mib;
            }
        }
    }

    pub(super) fn unbook(&mut self, gpus: &[u8], spec: &JobSpec) {
        for gpu in gpus {
            if let Some(slot) = self.slots.get_mut(usize::from(*gpu)) {
                slot.used_milli = slot.used_milli.saturating_sub(spec.demand.milli_per_gpu());
                slot.reserved_mib = slot.reserved_mib.saturating_sub(spec.demand.gpu_memory_mib);
            }
        }
    }
}

impl Scheduler {
    /// A node registered, for the first time or in a new incarnation. A lower incarnation is believed once the known life is silent: an
    /// earlier life may speak late, but a node whose lives are counted anew must not be ignored for ever.
    pub fn on_registered(&mut self, spec: NodeSpec, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let name = spec.node.clone();
        if let Some(known) = self.nodes.get_mut(&name) {
            if spec == known.spec {
                return actions;
            }
            if spec.incarnation < known.spec.incarnation && known.is_heard(self.config.silent_after_ms, now_ms) {
                known.lower = Some(spec);
                return actions;
            }
            if spec.incarnation != known.spec.incarnation || spec.gpus != known.spec.gpus {
                self.lose_all(&name, "its node restarted", now_ms, &mut actions);
            }
        }
        let draining = self.drained.contains(&name);
        match self.nodes.get(&name) {
            Some(known) if known.spec.gpus == spec.gpus && known.spec.incarnation == spec.incarnation => self.join_again(&name, spec),
            Some(_) | None => {
                let id = self.join(&spec);
                let number = self.goodput.number(&name);
                self.nodes.insert(name.clone(), NodeState::new(spec, id, number, draining, now_ms));
                self.hear_early_sync(&name, now_ms, &mut actions);
            }
        }
        self.review(&name, now_ms);
        self.nodes_changed_at_ms = now_ms;
        actions
    }

    /// The node as the planner knows it from now on: as it is when nothing runs there.
    fn join(&mut self, spec: &NodeSpec) -> NodeId {
        if let Some(before) = self.planner.node(&spec.node) {
            self.planner.leave(before);
        }
        self.planner.join(&machine_of(spec)).unwrap_or_else(|invalid| unreachable!("its GPUs were counted and it has left: {invalid}"))
    }

    /// A node that runs something says something else of itself: what it runs is booked anew.
    fn join_again(&mut self, name: &str, spec: NodeSpec) {
        let id = self.join(&spec);
        let Some(node) = self.nodes.get_mut(name) else { return };
        (node.id, node.look_at_ms, node.spec) = (id, None, spec);
        for job in node.attempts.values() {
            if let Some(Held { spec, state: HeldState::Running(running), .. }) = self.jobs.get_mut(job) {
                running.placement = self.planner.adopt(id, &task_class(spec), running.gpus.iter().map(|gpu| usize::from(*gpu)));
            }
        }
        for (gpu, _) in node.slots.iter().enumerate().filter(|(_, slot)| slot.out_of_service) {
            self.planner.set_in_service(id, gpu, false);
        }
    }

    /// A node left on purpose; whatever still runs there comes back.
    pub fn on_left(&mut self, node: &str, incarnation: u64, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.nodes.get(node).is_some_and(|known| known.spec.incarnation <= incarnation) {
            self.lose_all(node, NODE_LEFT, now_ms, &mut actions);
            if let Some(gone) = self.nodes.remove(node) {
                self.planner.leave(gone.id);
                self.goodput.left(node, now_ms);
            }
            self.nodes_changed_at_ms = now_ms;
        }
        actions
    }

    /// A node gave a sign of life and named what it runs.
    pub fn on_heartbeat(&mut self, node: &str, beat: Beat<'_>, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let incarnation = beat.incarnation;
        let Some(known) = self.nodes.get_mut(node) else { return actions };
        if incarnation < known.spec.incarnation {
            if known.is_heard(self.config.silent_after_ms, now_ms) {
                return actions;
            }
            let spec = known.lower.take().filter(|spec| spec.incarnation == incarnation);
            let spec = spec.unwrap_or_else(|| NodeSpec { incarnation, ..known.spec.clone() });
            return self.on_registered(spec, now_ms);
        }
        if incarnation > known.spec.incarnation {
            // Its registration is on the way; what ran in the former life is gone in any case.
            self.lose_all(node, "its node restarted", now_ms, &mut actions);
            if let Some(known) = self.nodes.get_mut(node) {
                known.spec.incarnation = incarnation;
                known.since_ms = now_ms;
                known.synced = false;
                known.listed.clear();
            }
            return actions;
        }
        if known.health != Health::Alive && now_ms.saturating_sub(known.judged_at_ms) >= self.config.verdict_expires_ms {
            // The detector that said so died before it could repeat or withdraw it.
            known.health = Health::Alive;
        }
        known.last_heartbeat_ms = Some(now_ms);
        known.telemetry.clear();
        known.telemetry.extend_from_slice(beat.telemetry);
        for (gpu, (slot, telemetry)) in known.slots.iter_mut().zip(beat.telemetry).enumerate() {
            slot.out_of_service = telemetry.out_of_service;
            self.planner.set_in_service(known.id, gpu, !telemetry.out_of_service);
        }
        known.leaving = beat.leaving;
        self.note_named(node, beat.running, now_ms, &mut actions);
        self.lose_unnamed(node, now_ms, &mut actions);
        self.review(node, now_ms);
        self.check_node(node, &mut actions);
        actions
    }

    /// Marks what the heartbeat names, and has a closer look at what is not in the books.
    fn note_named(&mut self, node: &str, running: &[RunningSign], now_ms: u64, actions: &mut Vec<Action>) {
        let Some(known) = self.nodes.get(node) else { return };
        if running.is_empty() && known.strangers.is_empty() {
            return;
        }
        let mut strangers = BTreeMap::new();
        let mut unknown = Vec::new();
        for sign in running {
            if known.attempts.contains_key(&sign.attempt) {
                if let Some(HeldState::Running(state)) = self.jobs.get_mut(&sign.job).map(|held| &mut held.state)
                    && state.attempt == sign.attempt
                {
                    state.seen_at_ms = Some(now_ms);
                    state.progress_permille = sign.progress_permille;
                }
                continue;
            }
            let since_ms = known.strangers.get(&sign.attempt).map_or(now_ms, |stranger| stranger.since_ms);
            strangers.insert(sign.attempt, Stranger { job: sign.job, since_ms });
            unknown.push((*sign, since_ms));
        }
        let worker = known.spec.worker.clone();
        if let Some(known) = self.nodes.get_mut(node) {
            known.strangers = strangers;
        }
        let mut asked = false;
        for (sign, since_ms) in unknown {
            if self.may_be_adopted(node, sign.job) {
                if !std::mem::replace(&mut asked, true) {
                    actions.push(Action::AskSync { worker: worker.clone() });
                }
                continue;
            }
            self.judge_stranger(node, &sign, since_ms, now_ms, actions);
            if now_ms.saturating_sub(since_ms) >= self.config.zombie_after_ms && now_ms > self.ready_at_ms {
                let reason = "given up here and placed elsewhere".into();
                actions.push(Action::Kill { worker: worker.clone(), attempt: sign.attempt, reason });
            }
        }
    }

    /// What was placed a while ago and is still not named never arrived, or its end was not heard.
    fn lose_unnamed(&mut self, node: &str, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(known) = self.nodes.get(node) else { return };
        let mut missing = Vec::new();
        for job in known.attempts.values() {
            if let Some(HeldState::Running(state)) = self.jobs.get(job).map(|held| &held.state)
                && now_ms.saturating_sub(state.since_ms) >= self.config.reconcile_after_ms
                && state.seen_at_ms != Some(now_ms)
            {
                missing.push(*job);
            }
        }
        if !missing.is_empty()
            && let Some(known) = self.nodes.get_mut(node)
        {
            known.refusals.on_unknown(now_ms);
        }
        for job in missing {
            let reason = "its worker does not know it: the assignment or the news of its end was lost";
            self.lose(job, reason, LossCause::Network, now_ms, now_ms, actions);
        }
    }

    /// The detector judged a node. `silence_ms`: how long it had been silent then.
    pub fn on_verdict(
        &mut self,
        node: &str,
        incarnation: u64,
        health: Health,
        evidence: &str,
        silence_ms: u64,
        now_ms: u64,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(known) = self.nodes.get_mut(node) else { return actions };
        if incarnation != known.spec.incarnation {
            return actions;
        }
        (known.health, known.judged_at_ms) = (health, now_ms);
        self.review(node, now_ms);
        if matches!(health, Health::Gone | Health::Dead) {
            let reason = format!("{node} is {}: {evidence}", health.as_str());
            self.lose_all_since(node, &reason, now_ms.saturating_sub(silence_ms), now_ms, &mut actions);
        }
        actions
    }

    /// An operator drains a node, or ends that. Also before the node is there. Returns whether that is news.
    pub fn on_drain(&mut self, node: &str, draining: bool, now_ms: u64) -> bool {
        let is_news = if draining { self.drained.insert(node.to_owned()) } else { self.drained.remove(node) };
        if let Some(known) = self.nodes.get_mut(node) {
            known.draining = draining;
        }
        self.review(node, now_ms);
        is_news
    }

    pub fn is_drained(&self, node: &str) -> bool {
        self.drained.contains(node)
    }

    /// A node's registration vanished without having been removed. A living node registers again.
    pub fn on_vanished(&mut self, node: &str, now_ms: u64) -> Vec<Action> {
        let is_heard = self.nodes.get(node).is_some_and(|known| known.is_heard(self.config.silent_after_ms, now_ms));
        if is_heard { Vec::new() } else { self.on_left(node, u64::MAX, now_ms) }
    }

    fn lose_all(&mut self, node: &str, reason: &str, now_ms: u64, actions: &mut Vec<Action>) {
        let last = self.nodes.get(node).and_then(|known| known.last_heartbeat_ms).unwrap_or(now_ms);
        self.lose_all_since(node, reason, last, now_ms, actions);
    }

    fn lose_all_since(&mut self, node: &str, reason: &str, last_sign_ms: u64, now_ms: u64, actions: &mut Vec<Action>) {
        let jobs: Vec<JobId> = self.nodes.get(node).map(|known| known.attempts.values().copied().collect()).unwrap_or_default();
        for job in jobs {
            self.lose(job, reason, LossCause::NodeFault, last_sign_ms, now_ms, actions);
        }
    }
}
