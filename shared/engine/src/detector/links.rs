//! The workers' connections: the fastest sign of a death, and only a sign until an unanswered ping makes it evidence.

use std::collections::BTreeSet;

use super::{Detector, DetectorAction};
use crate::node::Health;

/// An answer that never came back to us: the question is taken as not asked.
const PING_FORGOTTEN_AFTER_MS: u64 = 5000;

/// What became of a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PingOutcome {
    Answered,
    /// The server says that nobody listens there.
    NobodyListens,
    /// Somebody listens, and did not answer in time.
    TimedOut,
    /// It could not be asked: our own connection was down.
    NotAsked,
}

#[derive(Debug, Default)]
pub(super) struct WorkerState {
    pub(super) nodes: BTreeSet<String>,
    link: Link,
}

#[derive(Debug, Default)]
enum Link {
    /// Nothing is known against it.
    #[default]
    Up,
    /// Its connection ended; it may be back any moment.
    Hinted {
        reason: String,
        ping_at_ms: u64,
    },
    Pinging {
        reason: String,
        asked_at_ms: u64,
    },
    /// It did not answer.
    Lost {
        dead_at_ms: u64,
    },
}

impl WorkerState {
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.link, Link::Lost { .. })
    }
}

impl Detector {
    /// The server says that the worker's connection ended. `reason` is the server's word for it.
    pub fn on_disconnect_hint(&mut self, worker: &str, reason: &str, now_ms: u64) {
        let Some(state) = self.workers.get_mut(worker) else { return };
        match state.link {
            Link::Up => state.link = Link::Hinted { reason: reason.to_owned(), ping_at_ms: now_ms + self.config.hint_grace_ms },
            // It is being dealt with.
            Link::Hinted { .. } | Link::Pinging { .. } | Link::Lost { .. } => {}
        }
    }

    /// The server says that the worker connected. Its nodes are not alive for that: they have to beat.
    pub fn on_connect(&mut self, worker: &str) {
        if let Some(state) = self.workers.get_mut(worker) {
            state.link = Link::Up;
        }
    }

    pub fn on_ping_answer(&mut self, worker: &str, outcome: PingOutcome, now_ms: u64) -> Vec<DetectorAction> {
        let mut actions = Vec::new();
        let frozen_until_ms = self.frozen_until_ms;
        let Some(state) = self.workers.get_mut(worker) else { return actions };
        // Cancelled meanwhile: the worker connected, or a node of it beat.
        let Link::Pinging { reason, .. } = &state.link else { return actions };
        let how = match outcome {
            PingOutcome::Answered => {
                state.link = Link::Up;
                return actions;
            }
            PingOutcome::NobodyListens => "nobody listens for its pings",
            PingOutcome::TimedOut => "it does not answer a ping",
            PingOutcome::NotAsked => {
                state.link = Link::Hinted { reason: reason.clone(), ping_at_ms: now_ms + self.config.heartbeat_interval_ms };
                return actions;
            }
        };
        if now_ms < frozen_until_ms {
            state.link = Link::Hinted { reason: reason.clone(), ping_at_ms: frozen_until_ms };
            return actions;
        }
        let evidence = format!("the connection of {worker} ended ({reason}) and {how}");
        state.link = Link::Lost { dead_at_ms: now_ms + self.config.gone_to_dead_ms };
        for node in &state.nodes {
            if let Some(watched) = self.nodes.get_mut(node).filter(|watched| matches!(watched.health, Health::Alive | Health::Suspect)) {
                actions.push(watched.judge(node, Health::Gone, evidence.clone(), now_ms));
            }
        }
        actions
    }

    /// A node of the worker beat or registered.
    pub(super) fn on_worker_heard(&mut self, worker: &str) {
        let Some(state) = self.workers.get_mut(worker) else { return };
        match state.link {
            // A heartbeat that was sent before the connection ended may arrive after the news of it: the ping decides.
            Link::Up | Link::Hinted { .. } => {}
            Link::Pinging { .. } | Link::Lost { .. } => state.link = Link::Up,
        }
    }

    /// What was known about connections is old: whoever was under suspicion is asked (again) at `at_ms`.
    pub(super) fn ask_workers_again(&mut self, at_ms: u64) {
        for state in self.workers.values_mut() {
            let reason = match std::mem::take(&mut state.link) {
                Link::Up => continue,
                Link::Hinted { reason, .. } | Link::Pinging { reason, .. } => reason,
                Link::Lost { .. } => "it was gone before we were".to_owned(),
            };
            state.link = Link::Hinted { reason, ping_at_ms: at_ms };
        }
    }

    pub(super) fn tick_links(&mut self, now_ms: u64, actions: &mut Vec<DetectorAction>) {
        for (worker, state) in &mut self.workers {
            match &mut state.link {
                Link::Up => {}
                Link::Hinted { reason, ping_at_ms } if now_ms >= *ping_at_ms => {
                    actions.push(DetectorAction::PingWorker { worker: worker.clone() });
                    state.link = Link::Pinging { reason: std::mem::take(reason), asked_at_ms: now_ms };
                }
                Link::Hinted { .. } => {}
                Link::Pinging { asked_at_ms, .. } => {
                    if now_ms.saturating_sub(*asked_at_ms) >= PING_FORGOTTEN_AFTER_MS {
                        state.link = Link::Up;
                    }
                }
                Link::Lost { dead_at_ms } if now_ms >= *dead_at_ms => {
                    for node in &state.nodes {
                        if let Some(watched) = self.nodes.get_mut(node).filter(|watched| watched.health == Health::Gone) {
                            let evidence = format!("{}, and neither a heartbeat nor a new connection came", watched.evidence);
                            actions.push(watched.judge(node, Health::Dead, evidence, now_ms));
                        }
                    }
                }
                Link::Lost { .. } => {}
            }
        }
    }
}
