//! What a new leader does about the work of the one before: it adopts what live workers run, and has delivered again at
//! once what the dead leader had pulled and no worker runs, instead of waiting for JetStream's ack timeout. A leader that
//! was cut off from NATS does the second too: deliveries may have been lost on the way to it.
//!
//! An acknowledgement acts on the stream sequence alone, from any client, so a message that no process holds can be
//! handed back by the new leader. It is, when two looks at what JetStream waits for have found it with no owner: what was still on
//! its way to us at the first look has arrived by the second.

use std::collections::BTreeSet;

use super::sync::{PendingMessage, Reclaim, SyncedNode};
use super::{Action, HeldState, Scheduler};
use crate::job::JobId;
use crate::node::Health;

/// The least time that a new leader listens, even if all nodes that it knows have answered: others may still be read from
/// their registrations.
const SETTLED_AT_EARLIEST_MS: u64 = 300;
/// Between two looks at the messages that JetStream waits for.
const LOOK_EVERY_MS: u64 = 500;

impl Scheduler {
    /// Whether every node that may be alive has said what it runs.
    fn all_have_synced(&self) -> bool {
        self.nodes.values().filter(|node| matches!(node.health, Health::Alive | Health::Suspect)).all(|node| node.synced)
    }

    /// Ends the time of listening early when no node is left to listen to.
    pub(super) fn settle(&mut self, now_ms: u64) {
        if now_ms < self.ready_at_ms
            && now_ms >= self.elected_at_ms + SETTLED_AT_EARLIEST_MS
            && !self.nodes.is_empty()
            && self.all_have_synced()
        {
            self.ready_at_ms = now_ms;
            if let Some(reclaim) = &mut self.reclaim {
                reclaim.look_at_ms = now_ms;
            }
        }
    }

    /// The leader is connected again: what was delivered meanwhile may be lost.
    pub fn on_reconnected(&mut self, now_ms: u64) {
        self.reclaim = Some(Reclaim::starting_at(now_ms + self.config.settle_ms));
    }

    /// Asks for the pending messages when the time has come. A node that may be alive and has not yet said what it runs is
    /// waited for a little: handing back its messages would run its jobs twice.
    pub(super) fn look_for_ownerless(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let patient = now_ms < self.elected_at_ms + self.config.silent_after_ms && !self.all_have_synced();
        let ready_at_ms = self.ready_at_ms;
        if let Some(reclaim) = &mut self.reclaim
            && !reclaim.looking
            && now_ms >= reclaim.look_at_ms.max(ready_at_ms)
            && !patient
        {
            reclaim.looking = true;
            actions.push(Action::ListPending);
        }
    }

    /// The answer to [`Action::ListPending`]: hands back what two looks have found without an owner.
    pub fn on_pending(&mut self, pending: &[PendingMessage], now_ms: u64) -> Vec<Action> {
        let Some(before) = self.reclaim.take() else { return Vec::new() };
        let named: BTreeSet<JobId> = self.nodes.values().flat_map(|node| node.strangers.values().map(|stranger| stranger.job)).collect();
        let mut actions = Vec::new();
        let mut ownerless = BTreeSet::new();
        for message in pending {
            if self.jobs.contains_key(&message.job) || named.contains(&message.job) {
                continue;
            }
            if before.ownerless.contains(&message.job) {
                actions.push(Action::Nak { ack_subject: message.ack_subject.clone(), delay_ms: 0 });
            } else {
                ownerless.insert(message.job);
            }
        }
        self.counters.reclaimed += actions.len() as u64;
        if !ownerless.is_empty() {
            self.reclaim = Some(Reclaim { look_at_ms: now_ms + LOOK_EVERY_MS, looking: false, ownerless });
        }
        actions
    }

    /// A worker said what one of its nodes runs: it is adopted. The answer may come before the registration is read.
    pub fn on_synced(&mut self, synced: SyncedNode, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        match self.nodes.get_mut(&synced.node) {
            Some(known) if known.spec.incarnation == synced.incarnation => {
                if let Some(listed) = known.hearing.on_part(synced.part, &synced.running) {
                    if !std::mem::replace(&mut known.synced, true) {
                        // What heartbeats named before the answer may have ended meanwhile, and the last of them may still be on the way.
                        known.strangers.clear();
                    }
                    known.listed = listed;
                }
            }
            Some(known) if known.spec.incarnation > synced.incarnation => return actions,
            Some(_) | None => {
                let early = self.early_syncs.entry(synced.node.clone()).or_default();
                // Of one answer only.
                early.retain(|other| (other.incarnation, other.part.answer) == (synced.incarnation, synced.part.answer));
                early.push(synced);
                return actions;
            }
        }
        for running in &synced.running {
            self.adopt(running, now_ms, &mut actions);
        }
        actions
    }

    /// The node is registered now: what it said before is heard.
    pub(super) fn hear_early_sync(&mut self, node: &str, now_ms: u64, actions: &mut Vec<Action>) {
        for synced in self.early_syncs.remove(node).unwrap_or_default() {
            actions.extend(self.on_synced(synced, now_ms));
        }
    }

    /// Nodes that can be heard and have not answered are asked again: they came later than the question to all, or it was lost.
    pub(super) fn ask_again(&self, now_ms: u64, actions: &mut Vec<Action>) {
        let is_heard = |last: u64| now_ms.saturating_sub(last) < self.config.silent_after_ms;
        let silent = self.nodes.values().filter(|node| !node.synced && node.last_heartbeat_ms.is_some_and(is_heard));
        let workers: BTreeSet<&str> = silent.map(|node| node.spec.worker.as_str()).collect();
        actions.extend(workers.into_iter().map(|worker| Action::AskSync { worker: worker.to_owned() }));
    }

    /// Whether a heartbeat's stranger could still be adopted: its node has not said yet what it runs, and no other node has it.
    pub(super) fn may_be_adopted(&self, node: &str, job: JobId) -> bool {
        let synced = self.nodes.get(node).is_none_or(|known| known.synced);
        let runs_elsewhere = matches!(self.jobs.get(&job).map(|held| &held.state), Some(HeldState::Running(_)));
        !synced && !runs_elsewhere
    }
}

#[cfg(test)]
#[path = "takeover_tests.rs"]
mod tests;
