//! The workers' connections and what pings bring: an ended connection is the fastest sign of a death, and only a sign until an
//! unanswered ping makes it evidence. Who is asked because a node is silent, and what that is worth, lives in `inquiry`.

use super::state::{Cause, Connection, WorkerState};
use super::{Detector, DetectorAction};
use crate::node::Health;
use crate::words::span;

/// An answer that never came back to us: the question is taken as not asked.
const PING_FORGOTTEN_AFTER_MS: u64 = 5000;

/// What became of a ping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PingOutcome {
    /// The worker lives, and these of its nodes are up.
    Answered { nodes: Vec<String> },
    /// The worker lives; what it said about its nodes could not be read.
    Garbled,
    /// The server reports no subscriber.
    NobodyListens,
    /// The worker is subscribed, and did not answer in time.
    TimedOut,
    /// It could not be asked: our own connection was down.
    NotAsked,
}

impl Detector {
    /// The server says that the worker's connection ended. `reason` is the server's word for it.
    pub fn on_disconnect_hint(&mut self, worker: &str, reason: &str, now_ms: u64) {
        if self.config.heartbeats_only {
            return;
        }
        let Some(state) = self.workers.get_mut(worker) else { return };
        match state.connection {
            Connection::Up | Connection::Pinging { cause: Cause::Silence, .. } => {
                state.connection = Connection::Hinted { reason: reason.to_owned(), ping_at_ms: now_ms + self.config.hint_grace_ms };
            }
            // It is being dealt with.
            Connection::Hinted { .. } | Connection::Pinging { .. } | Connection::Lost { .. } => {}
        }
    }

    /// The server says that the worker connected. Its nodes are not alive for that: they have to beat.
    pub fn on_connect(&mut self, worker: &str) {
        if let Some(state) = self.workers.get_mut(worker) {
            state.connection = Connection::Up;
        }
    }

    pub fn on_ping_answer(&mut self, worker: &str, outcome: PingOutcome, now_ms: u64) -> Vec<DetectorAction> {
        let mut actions = Vec::new();
        // Worth something even when a heartbeat of a neighbour came first.
        if let PingOutcome::Answered { nodes } = &outcome {
            self.on_nodes_named(worker, nodes, now_ms, &mut actions);
        }
        let frozen_until_ms = self.frozen_until_ms;
        let Some(state) = self.workers.get_mut(worker) else { return actions };
        // Cancelled meanwhile: the worker connected, or a node of it beat.
        let Connection::Pinging { cause, .. } = &mut state.connection else { return actions };
        let cause = std::mem::take(cause);
        state.connection = Connection::Up;
        let how = match outcome {
            PingOutcome::Answered { .. } | PingOutcome::Garbled => return actions,
            PingOutcome::NobodyListens => "no process receives its pings",
            PingOutcome::TimedOut => "it does not answer a ping",
            PingOutcome::NotAsked => {
                state.ask_after_hint(cause, now_ms + self.config.heartbeat_interval_ms);
                return actions;
            }
        };
        if now_ms < frozen_until_ms {
            state.ask_after_hint(cause, frozen_until_ms);
            return actions;
        }
        match cause {
            Cause::ConnectionEnded(reason) => {
                let evidence = format!("the connection of {worker} ended ({reason}) and {how}");
                self.lose_worker(worker, now_ms, |_| evidence.clone(), &mut actions);
            }
            // It has no connection at all: as good as the news that it ended.
            Cause::Silence if outcome == PingOutcome::NobodyListens => {
                let evidence = |silence_ms| format!("no heartbeat for {}, and {worker} has no connection", span(silence_ms));
                self.lose_worker(worker, now_ms, evidence, &mut actions);
            }
            Cause::Silence => self.give_up_suspects(worker, now_ms, &mut actions),
        }
        actions
    }

    /// The worker is not there: neither are its nodes, silent or not.
    fn lose_worker(&mut self, worker: &str, now_ms: u64, evidence: impl Fn(u64) -> String, actions: &mut Vec<DetectorAction>) {
        let Some(state) = self.workers.get_mut(worker) else { return };
        state.connection = Connection::Lost { dead_at_ms: now_ms + self.config.gone_to_dead_ms };
        for node in &state.nodes {
            if let Some(watched) = self.nodes.get_mut(node) {
                let evidence = evidence(watched.counted_silence_ms(now_ms));
                actions.extend(watched.give_up(node, evidence, now_ms));
            }
        }
    }

    /// A node of the worker beat or registered.
    pub(super) fn on_worker_heard(&mut self, worker: &str) {
        let Some(state) = self.workers.get_mut(worker) else { return };
        match state.connection {
            // A heartbeat that was sent before the connection ended may arrive after the news of it: the ping decides.
            Connection::Up | Connection::Hinted { .. } => {}
            Connection::Pinging { .. } | Connection::Lost { .. } => state.connection = Connection::Up,
        }
    }

    /// What was known about connections is old: suspects are asked (again) at `at_ms`.
    pub(super) fn ask_workers_again(&mut self, at_ms: u64) {
        for state in self.workers.values_mut() {
            let reason = match std::mem::take(&mut state.connection) {
                // Suspect nodes ask by themselves.
                Connection::Up | Connection::Pinging { cause: Cause::Silence, .. } => continue,
                Connection::Hinted { reason, .. } | Connection::Pinging { cause: Cause::ConnectionEnded(reason), .. } => reason,
                Connection::Lost { .. } => "it was gone before we were".to_owned(),
            };
            state.connection = Connection::Hinted { reason, ping_at_ms: at_ms };
        }
    }

    pub(super) fn tick_connections(&mut self, now_ms: u64, actions: &mut Vec<DetectorAction>) {
        for (worker, state) in &mut self.workers {
            match &mut state.connection {
                Connection::Up => {}
                Connection::Hinted { reason, ping_at_ms } if now_ms >= *ping_at_ms => {
                    actions.push(DetectorAction::PingWorker { worker: worker.clone() });
                    state.connection = Connection::Pinging { cause: Cause::ConnectionEnded(std::mem::take(reason)), asked_at_ms: now_ms };
                }
                Connection::Hinted { .. } => {}
                Connection::Pinging { asked_at_ms, .. } => {
                    if now_ms.saturating_sub(*asked_at_ms) >= PING_FORGOTTEN_AFTER_MS {
                        state.connection = Connection::Up;
                    }
                }
                Connection::Lost { dead_at_ms } if now_ms >= *dead_at_ms => {
                    for node in &state.nodes {
                        if let Some(watched) = self.nodes.get_mut(node).filter(|watched| watched.health == Health::Gone) {
                            let evidence = format!("{}, and neither a heartbeat nor a new connection came", watched.evidence);
                            actions.push(watched.judge(node, Health::Dead, evidence, now_ms));
                        }
                    }
                }
                Connection::Lost { .. } => {}
            }
        }
    }
}

impl WorkerState {
    /// The question that a hint raised is still open. One that silence raised comes again by itself.
    fn ask_after_hint(&mut self, cause: Cause, ping_at_ms: u64) {
        if let Cause::ConnectionEnded(reason) = cause {
            self.connection = Connection::Hinted { reason, ping_at_ms };
        }
    }
}
