//! A worker's decisions: which assignments it takes, what it says of itself, and ([`Life`]) how one attempt goes from its start to
//! its commit, its failure or its silence. One `on_*` function an external event, each of which changes the state and returns what
//! is to be done. It does no IO and reads no clock; executors, devices and faults are the worker's own business. `now_ms` is the worker's
//! own time, which passes evenly: it measures, and never leaves the process.

mod life;
mod node;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::job::{Assignment, AttemptId, AttemptOutcome, EndedAttempt, Told};
use crate::scheduler::SyncedNode;

pub use life::{
    AttemptAction, AttemptConfig, CommitAnswer, Executed, FENCED_AFTER_MS, Failure, Life, MAX_RESULT_CHARS, PROGRESS_EVERY_MS,
    ProgressAnswer,
};
pub use node::{AgentNode, Hosted, Refusal};

/// What the detail of an attempt that its worker did not take begins with: nothing of it ran.
pub const REFUSED: &str = "refused: ";
/// How long a job stays away from a node that had no room for it after all: about the time after which a zombie is told to stop.
const NO_ROOM_PAUSE_MS: u64 = 1_000;
/// How long a job that has come back before stays away after a refusal, doubled with each time it came back.
const REFUSED_PAUSE_MS: u64 = 250;
const LONGEST_REFUSED_PAUSE_MS: u64 = 10_000;
/// The most ends that are kept for the next leader: as many as one node can have run when NATS went away, a few times over.
const MAX_UNTOLD: usize = 512;

/// One that is refused for the first time is placed again at once: its node may just have restarted. What is refused again and again comes
/// back ever more rarely, whatever the leader believes.
fn refusal_pause_ms(refusal: Refusal, requeues: u32) -> u64 {
    let first_ms = if refusal == Refusal::NoRoom { NO_ROOM_PAUSE_MS } else { 0 };
    let again_ms = requeues.checked_sub(1).map_or(0, |times| REFUSED_PAUSE_MS << times.min(16));
    first_ms.max(again_ms).min(LONGEST_REFUSED_PAUSE_MS)
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentAction {
    /// It is booked: make a [`Life`] of it and run it.
    Start(Arc<Assignment>),
    /// Have the message delivered again.
    Nak { ack_subject: String, delay_ms: u64 },
    /// An attempt ended before it began; goes the same way as the ends of those that ran.
    Report(EndedAttempt),
    /// Stop the attempt without a word to JetStream: [`Life::on_stop`].
    Stop { node: String, attempt: AttemptId },
}

/// The leader of this epoch is not believed: a higher one has been heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deposed {
    /// The highest epoch that was heard of.
    pub newest: u64,
}

/// What a new leader is answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SyncAnswer {
    /// Ends that may have reached no leader. They go first, so that they are in a job's path before it is placed again.
    pub untold: Vec<EndedAttempt>,
    pub nodes: Vec<SyncedNode>,
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
    /// Ends that the history may not have, the newest last. A leader that knows them already does nothing.
    untold: VecDeque<EndedAttempt>,
}

impl Agent {
    pub fn new(nodes: impl IntoIterator<Item = AgentNode>) -> Self {
        Self { nodes: nodes.into_iter().map(|node| (node.spec().node.clone(), node)).collect(), ..Self::default() }
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

    /// A leader handed over attempts. One that is not believed is to be told so: it may lead all the same, when the store that counts
    /// epochs was made anew.
    pub fn on_assignments(&mut self, epoch: u64, assignments: Vec<Assignment>, now_ms: u64) -> Result<Vec<AgentAction>, Deposed> {
        self.believe(epoch)?;
        let mut actions = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            self.take(assignment, now_ms, &mut actions);
        }
        Ok(actions)
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
                let delay_ms = refusal_pause_ms(refusal, assignment.requeues);
                actions.push(AgentAction::Report(EndedAttempt {
                    job: assignment.spec.id,
                    attempt: assignment.attempt,
                    node: assignment.node.clone(),
                    outcome: AttemptOutcome::Lost,
                    detail: format!("{REFUSED}{}", refusal.as_str()),
                    at_ms: assignment.placed_at_ms,
                    retry_delay_ms: delay_ms,
                    told: Told::Refused,
                    row: None,
                    ran_ms: Some(0),
                }));
                actions.push(AgentAction::Nak { ack_subject: assignment.ack_subject.clone(), delay_ms });
            }
        }
    }

    /// A new leader asks what runs here. One that is not believed is to be told so.
    pub fn on_sync(&mut self, epoch: u64, now_ms: u64) -> Result<SyncAnswer, Deposed> {
        self.believe(epoch)?;
        let answers = |ended: &&EndedAttempt| self.nodes.get(&ended.node).is_some_and(AgentNode::answers);
        Ok(SyncAnswer {
            untold: self.untold.iter().filter(answers).cloned().collect(),
            nodes: self.nodes.values().filter(|node| node.answers()).map(|node| node.synced(now_ms)).collect(),
        })
    }

    /// A leader wants attempts stopped. One that is not believed is to be told so.
    pub fn on_kill(&mut self, epoch: u64, attempts: &[AttemptId]) -> Result<Vec<AgentAction>, Deposed> {
        if epoch < self.epoch {
            return Err(Deposed { newest: self.epoch });
        }
        let mut actions = Vec::new();
        for attempt in attempts {
            // What is cut off hears no order.
            if let Some(node) = self.nodes.values().find(|node| node.answers() && node.running().contains_key(attempt)) {
                actions.push(AgentAction::Stop { node: node.spec().node.clone(), attempt: *attempt });
            }
        }
        Ok(actions)
    }

    /// Attempts are over: what they held is free. Returns what the scheduler is to hear: of what a machine dropped when it died, nothing.
    pub fn on_ended(&mut self, ended: Vec<EndedAttempt>) -> Vec<EndedAttempt> {
        self.untold.extend(ended.iter().filter(|attempt| attempt.row.is_some()).cloned());
        self.untold.drain(..self.untold.len().saturating_sub(MAX_UNTOLD));
        let mut is_here = |attempt: &EndedAttempt| self.nodes.get_mut(&attempt.node).is_some_and(|node| node.finish(attempt.attempt));
        ended.into_iter().filter(|attempt| is_here(attempt)).collect()
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

    /// Believes a leader of this epoch unless a higher one is known; remembers the highest.
    fn believe(&mut self, epoch: u64) -> Result<(), Deposed> {
        if epoch < self.epoch {
            return Err(Deposed { newest: self.epoch });
        }
        self.epoch = epoch;
        Ok(())
    }

    /// Checks the bookings of every node.
    ///
    /// # Panics
    /// When they contradict what runs, which is a bug.
    pub fn sanity_check(&self) {
        self.nodes.values().for_each(AgentNode::sanity_check);
    }
}
