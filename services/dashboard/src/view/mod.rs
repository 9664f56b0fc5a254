//! What this process knows of the cluster, in memory. A plain struct: messages and the time go in, rows come out; no
//! IO, no clock. Never authoritative: it is rebuilt from the streams at every start, it is bounded, and whatever it
//! lacks is asked of the leader or read from RESULTS by the callers.

mod events;
mod jobs;
mod nodes;
mod per_second;

use faultline_engine::node::Health;
use faultline_protocol::messages::{
    ClusterEvent, ClusterStats, EventKind, Goodbye, Heartbeat, JobView, LedgerSnapshot, NodeView, RateSetting, Verdict,
};

pub(crate) use events::{EventFilter, EventRing, NumberedEvent, event_seq};
pub(crate) use jobs::{JobFilter, JobTable, ended_view};
pub(crate) use nodes::{NodeFilter, NodeIndex, NodeItem, NodeOrder, NodeRow, NodeTable};

/// How many jobs are kept.
pub(crate) const MAX_JOBS: usize = 20_000;
/// How many events are kept.
pub(crate) const MAX_EVENTS: usize = 20_000;

/// What one round of questions to the leader brought.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeaderAnswer {
    pub(crate) stats: ClusterStats,
    /// The nodes after this one, in the order of names; from the first with none.
    pub(crate) nodes_after: Option<String>,
    pub(crate) nodes: Vec<NodeView>,
    /// Whether those are all up to the last node.
    pub(crate) nodes_to_the_end: bool,
    pub(crate) jobs: Vec<JobView>,
}

/// The whole view.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) jobs: JobTable,
    pub(crate) nodes: NodeTable,
    pub(crate) events: EventRing,
    rate: Option<RateSetting>,
    ledger: LedgerSnapshot,
    leader_stats: Option<ClusterStats>,
    /// When the leader last answered; the start of the process before it ever did.
    leader_heard_at_ms: u64,
    leader_answers: bool,
    undecodable: u64,
}

impl View {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            jobs: JobTable::new(MAX_JOBS),
            // Quarters of a second: no table changes its order so often, so a later process starts with a higher number.
            nodes: NodeTable::new((now_ms / 250) as u32),
            events: EventRing::new(MAX_EVENTS),
            rate: None,
            ledger: LedgerSnapshot::default(),
            leader_stats: None,
            leader_heard_at_ms: now_ms,
            leader_answers: false,
            undecodable: 0,
        }
    }

    pub(crate) fn on_heartbeat(&mut self, heartbeat: Heartbeat, now_ms: u64) {
        if !self.nodes.is_outdated(&heartbeat) {
            self.jobs.on_running(&heartbeat.node, &heartbeat.running);
            self.nodes.on_heartbeat(heartbeat, now_ms);
        }
    }

    pub(crate) fn on_goodbye(&mut self, goodbye: &Goodbye) {
        self.jobs.on_running(&goodbye.node, &[]);
        self.nodes.remove(&goodbye.node);
    }

    pub(crate) fn on_verdict(&mut self, verdict: Verdict) {
        if matches!(verdict.health, Health::Gone | Health::Dead) {
            self.jobs.on_running(&verdict.node, &[]);
        }
        self.nodes.on_verdict(verdict);
    }

    pub(crate) fn on_event(&mut self, seq: u64, event: ClusterEvent) {
        self.jobs.on_event(&event);
        if let (Some(node), Some(truth)) = (&event.node, &event.fault) {
            match event.kind {
                EventKind::FaultBegan => self.nodes.on_fault_began(node, truth.into()),
                EventKind::FaultEnded => self.nodes.on_fault_ended(node, &truth.id),
                _ => {}
            }
        }
        self.events.push(seq, event);
    }

    /// Set or, with none, removed: the generator then uses its own default.
    pub(crate) fn on_rate(&mut self, rate: Option<RateSetting>) {
        self.rate = rate;
    }

    pub(crate) fn on_ledger(&mut self, ledger: LedgerSnapshot) {
        self.ledger = ledger;
    }

    pub(crate) fn on_leader_answer(&mut self, answer: LeaderAnswer, now_ms: u64) {
        self.leader_answers = true;
        self.leader_heard_at_ms = now_ms;
        self.leader_stats = Some(answer.stats);
        self.nodes.on_leader_rows(answer.nodes_after.as_deref(), answer.nodes, answer.nodes_to_the_end);
        self.jobs.on_leader_rows(answer.jobs);
    }

    pub(crate) fn on_leader_silent(&mut self) {
        self.leader_answers = false;
    }

    pub(crate) fn on_undecodable(&mut self) {
        self.undecodable += 1;
    }

    pub(crate) fn undecodable(&self) -> u64 {
        self.undecodable
    }

    pub(crate) fn rate(&self) -> Option<&RateSetting> {
        self.rate.as_ref()
    }

    /// Since when the leader has been silent, in Unix milliseconds; none while it answers.
    pub(crate) fn stale_since_ms(&self) -> Option<u64> {
        (!self.leader_answers).then_some(self.leader_heard_at_ms)
    }

    /// The leader's figures while it answers, else what can be counted here.
    pub(crate) fn stats(&self, now_ms: u64) -> ClusterStats {
        if let Some(stats) = &self.leader_stats
            && self.leader_answers
        {
            return stats.clone();
        }
        let known = self.leader_stats.clone().unwrap_or_default();
        let mut stats = ClusterStats {
            nodes_alive: 0,
            nodes_suspect: 0,
            nodes_gone: 0,
            nodes_dead: 0,
            nodes_draining: 0,
            gpus_total: 0,
            running: self.jobs.running() as u64,
            queued_in_stream: self.jobs.queued() as u64,
            queued_held: 0,
            ledger: self.ledger.clone(),
            at_ms: now_ms,
            ..known
        };
        self.nodes.count_into(&mut stats);
        stats
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
