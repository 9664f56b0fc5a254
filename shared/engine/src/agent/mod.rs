//! A worker's decisions: which assignments it takes, what it says of itself, and ([`Attempt`]) how one attempt goes from its start to
//! its commit, its failure or its silence. One `on_*` function an external event, each of which changes the state and returns what
//! is to be done. It does no IO and reads no clock; executors, devices and faults are the worker's own business.

mod attempt;
mod node;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::job::{Assignment, AttemptId, AttemptOutcome, EndedAttempt};
use crate::scheduler::SyncedNode;

pub use attempt::{
    Attempt, AttemptAction, AttemptConfig, CommitAnswer, Executed, FENCED_AFTER_MS, Failure, MAX_RESULT_CHARS, PROGRESS_EVERY_MS,
};
pub use node::{AgentNode, Hosted, Refusal};

/// How long a job stays away from a node that had no room for it after all: about the time after which a zombie is told to stop.
const NO_ROOM_PAUSE_MS: u64 = 1_000;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentAction {
    /// It is booked: make an [`Attempt`] of it and run it.
    Start(Arc<Assignment>),
    /// Have the message delivered again.
    Nak { ack_subject: String, delay_ms: u64 },
    /// An attempt ended before it began; goes the same way as the ends of those that ran.
    Report(EndedAttempt),
    /// Stop the attempt without a word to JetStream: [`Attempt::on_stop`].
    Stop { node: String, attempt: AttemptId },
}

/// A node's last word.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaving {
    pub node: String,
    pub incarnation: u64,
    pub was_down: bool,
    /// What still ran: each message is to be handed back.
    pub handed_back: Vec<Arc<Assignment>>,
}

/// The state of a worker.
#[derive(Debug, Default)]
pub struct Agent {
    nodes: BTreeMap<String, AgentNode>,
    /// The highest epoch seen: what an older leader says is refused.
    epoch: u64,
}

impl Agent {
    pub fn new(nodes: impl IntoIterator<Item = AgentNode>) -> Self {
        Self { nodes: nodes.into_iter().map(|node| (node.spec().node.clone(), node)).collect(), epoch: 0 }
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn nodes(&self) -> impl Iterator<Item = &AgentNode> {
        self.nodes.values()
    }

    pub fn nodes_mut(&mut self) -> impl Iterator<Item = &mut AgentNode> {
        self.nodes.values_mut()
    }

    pub fn node(&self, name: &str) -> Option<&AgentNode> {
        self.nodes.get(name)
    }

    pub fn node_mut(&mut self, name: &str) -> Option<&mut AgentNode> {
        self.nodes.get_mut(name)
    }

    /// How many attempts run on all nodes.
    pub fn running(&self) -> usize {
        self.nodes.values().map(|node| node.running().len()).sum()
    }

    /// A leader handed over attempts. `None` when it is a deposed one.
    pub fn on_assignments(&mut self, epoch: u64, assignments: Vec<Assignment>, now_ms: u64) -> Option<Vec<AgentAction>> {
        if !self.believes(epoch) {
            return None;
        }
        let mut actions = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            self.take(assignment, now_ms, &mut actions);
        }
        Some(actions)
    }

    fn take(&mut self, assignment: Assignment, now_ms: u64, actions: &mut Vec<AgentAction>) {
        let assignment = Arc::new(assignment);
        let taken = match self.nodes.get_mut(&assignment.node) {
            Some(node) => node.take(&assignment, now_ms),
            None => Err(Refusal::OtherIncarnation),
        };
        match taken {
            Ok(()) => actions.push(AgentAction::Start(assignment)),
            // A dead machine says nothing; a duplicate needs no word.
            Err(Refusal::Down | Refusal::Duplicate) => {}
            // Given back, so that it need not wait for the ack timeout.
            Err(refusal) => {
                // The leader believes that there is room. Until it knows better it would place the job here again and again.
                let delay_ms = if refusal == Refusal::NoRoom { NO_ROOM_PAUSE_MS } else { 0 };
                actions.push(AgentAction::Report(EndedAttempt {
                    job: assignment.spec.id,
                    attempt: assignment.attempt,
                    node: assignment.node.clone(),
                    outcome: AttemptOutcome::Lost,
                    detail: format!("refused: {}", refusal.as_str()),
                    at_ms: now_ms,
                    retry_delay_ms: delay_ms,
                }));
                actions.push(AgentAction::Nak { ack_subject: assignment.ack_subject.clone(), delay_ms });
            }
        }
    }

    /// A new leader asks what runs here. `None` when it is a deposed one.
    pub fn on_sync(&mut self, epoch: u64) -> Option<Vec<SyncedNode>> {
        self.believes(epoch).then(|| self.nodes.values().filter(|node| node.answers()).map(AgentNode::synced).collect())
    }

    /// A leader wants attempts stopped.
    pub fn on_kill(&mut self, epoch: u64, attempts: &[AttemptId]) -> Vec<AgentAction> {
        if epoch < self.epoch {
            return Vec::new();
        }
        let mut actions = Vec::new();
        for attempt in attempts {
            // What is cut off hears no order.
            if let Some(node) = self.nodes.values().find(|node| node.answers() && node.running().contains_key(attempt)) {
                actions.push(AgentAction::Stop { node: node.spec().node.clone(), attempt: *attempt });
            }
        }
        actions
    }

    /// Attempts are over: what they held is free. The reports go to the scheduler.
    pub fn on_ended(&mut self, ended: &[EndedAttempt]) {
        for attempt in ended {
            if let Some(node) = self.nodes.get_mut(&attempt.node) {
                node.finish(attempt.attempt);
            }
        }
    }

    /// The worker is told to stop: nothing new is taken, attempts finish.
    pub fn on_drain(&mut self) {
        for node in self.nodes.values_mut() {
            node.start_leaving();
        }
    }

    /// The worker leaves now: what still runs is handed back, every node says goodbye.
    pub fn on_leave(&mut self) -> Vec<Leaving> {
        let leave = |node: &mut AgentNode| Leaving {
            node: node.spec().node.clone(),
            incarnation: node.spec().incarnation,
            was_down: node.is_down(),
            handed_back: node.drop_attempts(),
        };
        self.nodes.values_mut().map(leave).collect()
    }

    /// Whether a leader of this epoch is to be believed; remembers the highest one.
    fn believes(&mut self, epoch: u64) -> bool {
        let is_newest = epoch >= self.epoch;
        self.epoch = self.epoch.max(epoch);
        is_newest
    }

    /// Checks the bookings of every node.
    ///
    /// # Panics
    /// When they contradict what runs, which is a bug.
    pub fn sanity_check(&self) {
        self.nodes.values().for_each(AgentNode::sanity_check);
    }
}
