//! Asking about a suspect node. Its worker is pinged once when the suspicion begins and, while it lasts, again after growing pauses.
//!
//! No answer: the node is gone, and its work is requeued long before silence alone makes it dead. An answer that names the node: only
//! its heartbeats are lost; it stays suspect, gets nothing new and keeps its work for as long as its worker answers for it. An
//! answer that does not name it: the worker lives and the node is down, so it is gone.
//!
//! A requeue that was in error costs repeated work, once. A node that beats again after it was given up is not given up that
//! cheaply again for a while, twice as long each time: silence long enough for `Dead` counts as ever.

use super::state::{Cause, Connection, Inquiry};
use super::{Detector, DetectorAction, Watched};
use crate::node::Health;
use crate::words::span;

impl Detector {
    /// Asks the workers of suspect nodes, one question a worker.
    pub(super) fn tick_inquiries(&mut self, now_ms: u64, actions: &mut Vec<DetectorAction>) {
        if self.config.heartbeats_only {
            return;
        }
        let is_due = |watched: &Watched| watched.inquiry.is_some_and(|inquiry| now_ms >= inquiry.ask_at_ms);
        let due: Vec<String> = self.nodes.values().filter(|watched| is_due(watched)).map(|watched| watched.worker.clone()).collect();
        for worker in due {
            let Some(state) = self.workers.get_mut(&worker) else { continue };
            // Asked already, for another node or because its connection ended; or asking is useless.
            let Connection::Up = state.connection else { continue };
            state.connection = Connection::Pinging { cause: Cause::Silence, asked_at_ms: now_ms };
            for node in &state.nodes {
                if let Some(inquiry) = self.nodes.get_mut(node).and_then(|watched| watched.inquiry.as_mut()) {
                    inquiry.asked(&self.config, now_ms);
                }
            }
            actions.push(DetectorAction::PingWorker { worker });
        }
    }

    /// A worker answered and named the nodes that are up.
    pub(super) fn on_nodes_named(&mut self, worker: &str, up: &[String], now_ms: u64, actions: &mut Vec<DetectorAction>) {
        let is_frozen = self.is_frozen(now_ms);
        let Some(state) = self.workers.get(worker) else { return };
        for node in &state.nodes {
            let Some(watched) = self.nodes.get_mut(node) else { continue };
            let silence_ms = watched.counted_silence_ms(now_ms);
            let Some(inquiry) = &mut watched.inquiry else { continue };
            if up.contains(node) {
                if inquiry.vouched_at_ms.replace(now_ms).is_none() {
                    watched.evidence.push_str("; its worker answers for it, so it keeps its work");
                }
            } else if !is_frozen {
                let evidence = format!("no heartbeat for {}, and {worker} reports that it is down", span(silence_ms));
                actions.extend(watched.give_up(node, evidence, now_ms));
            }
        }
    }

    /// The worker does not answer: its suspect nodes are gone. Those that beat lately may still do so.
    pub(super) fn give_up_suspects(&mut self, worker: &str, now_ms: u64, actions: &mut Vec<DetectorAction>) {
        let Some(state) = self.workers.get(worker) else { return };
        for node in &state.nodes {
            if let Some(watched) = self.nodes.get_mut(node).filter(|watched| watched.health == Health::Suspect) {
                let silence_ms = watched.counted_silence_ms(now_ms);
                let evidence = format!("no heartbeat for {}, and {worker} does not answer a ping", span(silence_ms));
                actions.extend(watched.give_up(node, evidence, now_ms));
            }
        }
    }
}

impl Watched {
    /// Its work is to be requeued, unless that was in error lately: then it gets nothing new, and dies of silence.
    pub(super) fn give_up(&mut self, node: &str, evidence: String, now_ms: u64) -> Option<DetectorAction> {
        match (self.health, self.false_alarms.holds(now_ms)) {
            (Health::Alive | Health::Suspect, false) => Some(self.judge(node, Health::Gone, evidence, now_ms)),
            (Health::Alive, true) => {
                let evidence = format!("{evidence}; this was a false alarm recently, so it keeps its jobs until the silence is long");
                Some(self.judge(node, Health::Suspect, evidence, now_ms))
            }
            (Health::Suspect, true) | (Health::Gone | Health::Dead, _) => None,
        }
    }

    /// It beats, in the life in which it was given up.
    pub(super) fn note_false_alarm(&mut self, gone_again_ms: u64, now_ms: u64) {
        if matches!(self.health, Health::Gone | Health::Dead) {
            self.false_alarms.note(gone_again_ms, now_ms);
        }
    }

    /// For how long there was no sign that the node is up, be it its own or its worker's.
    pub(super) fn without_sign_ms(&self, now_ms: u64) -> u64 {
        let silence_ms = self.counted_silence_ms(now_ms);
        let vouched_at_ms = self.inquiry.and_then(|inquiry| inquiry.vouched_at_ms);
        vouched_at_ms.map_or(silence_ms, |vouched| silence_ms.min(now_ms.saturating_sub(vouched)))
    }

    pub(super) fn resume_inquiry(&mut self, ask_at_ms: u64, now_ms: u64) {
        self.inquiry = self.inquiry.map(|_| Inquiry::new(ask_at_ms));
        self.false_alarms.on_resumed(now_ms);
    }
}
