//! Who is alive. A plain struct takes heartbeats, hints about connections and the time, and answers with what is to be done.
//! It does no IO and reads no clock. What a verdict costs the jobs on the node is the scheduler's business.
//!
//! Two decisions at two prices. `Gone` (requeue its work) is cheap, since a commit absorbs a false alarm: it takes an unanswered ping,
//! after the end of a worker's connection or after heartbeats that are late enough to be suspect. `Dead` is dear: it takes a long
//! silence, or two seconds more without a connection.
//! Silence that is the detector's own fault (it started, reconnected, stood still, the clock jumped) counts for nothing, and silence
//! of many workers at once is believed later than that of one.

mod config;
mod connections;
mod estimator;
mod fixed_timeout;
mod inquiry;
mod k_of_n;
mod phi_accrual;
mod silence;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::node::Health;
use crate::words::span;

pub use config::{DetectorConfig, EstimatorKind, InvalidDetector};
pub use connections::PingOutcome;
pub use estimator::{Estimator, Level, Opinion};
pub use fixed_timeout::FixedTimeout;
pub use k_of_n::KOfN;
pub use phi_accrual::PhiAccrual;

use state::{FalseAlarms, Inquiry, Waiting, WorkerState};

/// How long it is remembered that a node left, so that a straggling heartbeat does not bring it back.
const LEFT_REMEMBERED_MS: u64 = 60_000;
/// After so many heartbeats without a sign of the known life a lower incarnation is believed.
const SILENT_INTERVALS: u32 = 3;

/// A change of opinion about a node, with its evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeVerdict {
    pub node: String,
    pub worker: String,
    pub incarnation: u64,
    pub before: Health,
    pub health: Health,
    pub phi: f64,
    /// Since the last sign of life.
    pub silence_ms: u64,
    pub evidence: String,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum DetectorAction {
    /// Ask the worker for a sign of life; the outcome goes to [`Detector::on_ping_answer`].
    PingWorker { worker: String },
    /// Publish the verdict.
    Judge(NodeVerdict),
    /// The node left on purpose: its verdict is of no interest any more.
    Forget { node: String, worker: String, reason: String },
}

#[derive(Debug)]
struct Watched {
    worker: String,
    incarnation: u64,
    estimator: Box<dyn Estimator>,
    health: Health,
    /// The evidence of the standing verdict.
    evidence: String,
    /// The last heartbeat or registration, or the start of the watch.
    last_sign_ms: u64,
    /// The last heartbeat, where the time since then says something about the node.
    last_beat_ms: Option<u64>,
    /// From here on silence counts.
    counted_from_ms: u64,
    waiting: Waiting,
    /// While it is suspect.
    inquiry: Option<Inquiry>,
    false_alarms: FalseAlarms,
}

/// All nodes, and all workers that host them.
#[derive(Debug)]
pub struct Detector {
    config: DetectorConfig,
    nodes: BTreeMap<String, Watched>,
    workers: BTreeMap<String, WorkerState>,
    /// Nodes that left: the incarnation, and when.
    left: BTreeMap<String, (u64, u64)>,
    /// No verdicts before this.
    frozen_until_ms: u64,
    last_tick_ms: u64,
}

impl Detector {
    /// Starts with a freeze, as after a reconnect: a detector that has just begun to listen knows nothing.
    pub fn new(config: DetectorConfig, now_ms: u64) -> Self {
        let frozen_until_ms = now_ms + config.intervals_ms(config.freeze_intervals);
        Self { config, nodes: BTreeMap::new(), workers: BTreeMap::new(), left: BTreeMap::new(), frozen_until_ms, last_tick_ms: now_ms }
    }

    pub fn config(&self) -> &DetectorConfig {
        &self.config
    }

    /// How many nodes are watched.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn health(&self, node: &str) -> Option<Health> {
        self.nodes.get(node).map(|watched| watched.health)
    }

    pub fn is_frozen(&self, now_ms: u64) -> bool {
        now_ms < self.frozen_until_ms
    }

    /// A verdict from before this process started. It stands until the node gives a sign of life.
    pub fn restore(&mut self, node: &str, worker: &str, incarnation: u64, health: Health, evidence: &str, now_ms: u64) {
        if !self.nodes.contains_key(node) {
            self.watch(node, worker, incarnation, now_ms);
        }
        if let Some(watched) = self.nodes.get_mut(node).filter(|watched| watched.incarnation == incarnation) {
            watched.stand(health, evidence.to_owned(), now_ms);
        }
    }

    /// A node registered: at its start, or read again after a reconnect.
    pub fn on_registered(&mut self, node: &str, worker: &str, incarnation: u64, now_ms: u64) -> Vec<DetectorAction> {
        let mut actions = Vec::new();
        // Who registers after its goodbye is back, and may have begun to count its lives anew.
        self.left.remove(node);
        match self.nodes.get(node).map(|known| known.incarnation) {
            None => {
                self.watch(node, worker, incarnation, now_ms);
                self.on_worker_heard(worker);
            }
            Some(known) if incarnation > known => {
                self.begin_life(node, worker, incarnation, now_ms, "back after a restart, registered again", &mut actions)
            }
            // The same registration read again, or an old one: no sign of life.
            Some(_) => {}
        }
        actions
    }

    /// A node gave a sign of life.
    pub fn on_heartbeat(&mut self, node: &str, worker: &str, incarnation: u64, now_ms: u64) -> Vec<DetectorAction> {
        let mut actions = Vec::new();
        if self.has_left(node, incarnation) {
            return actions;
        }
        match self.nodes.get(node).map(|known| known.incarnation) {
            None => self.watch(node, worker, incarnation, now_ms),
            Some(known) if incarnation < known && !self.is_silent(node, now_ms) => return actions,
            // The store that counts its lives was made anew: it must not be ignored for ever.
            Some(known) if incarnation < known => self.begin_life(
                node,
                worker,
                incarnation,
                now_ms,
                "back after a restart, with a lower incarnation because its counter was reset",
                &mut actions,
            ),
            Some(known) if incarnation > known => self.begin_life(node, worker, incarnation, now_ms, "back after a restart", &mut actions),
            Some(_) => self.move_to_worker(node, worker),
        }
        if let Some(watched) = self.nodes.get_mut(node) {
            watched.note_false_alarm(self.config.gone_again_ms, now_ms);
            watched.beat(now_ms, &self.config);
            if watched.health != Health::Alive {
                actions.push(DetectorAction::Judge(watched.recover(node, now_ms, "it beats again")));
            }
            watched.last_sign_ms = now_ms;
            watched.counted_from_ms = now_ms;
            watched.waiting = Waiting::default();
        }
        self.on_worker_heard(worker);
        actions
    }

    /// A node left on purpose. `incarnation`: which life of it ended; later ones are not meant.
    pub fn on_goodbye(&mut self, node: &str, incarnation: u64, reason: &str, now_ms: u64) -> Vec<DetectorAction> {
        if self.nodes.get(node).is_some_and(|known| known.incarnation > incarnation) {
            return Vec::new();
        }
        self.left.insert(node.to_owned(), (incarnation, now_ms));
        self.forget(node, reason)
    }

    /// Its registration was removed, by itself when it left or by an operator.
    pub fn on_unregistered(&mut self, node: &str) -> Vec<DetectorAction> {
        self.forget(node, "its registration was removed")
    }

    /// This process was cut off and is back: what it did not hear says nothing about the nodes.
    pub fn on_own_reconnect(&mut self, now_ms: u64) {
        self.frozen_until_ms = now_ms + self.config.intervals_ms(self.config.freeze_intervals);
        for watched in self.nodes.values_mut() {
            watched.estimator.on_resumed(now_ms);
            watched.last_beat_ms = None;
            watched.last_sign_ms = watched.last_sign_ms.min(now_ms);
            watched.counted_from_ms = now_ms;
            watched.waiting = Waiting::default();
            watched.resume_inquiry(self.frozen_until_ms, now_ms);
        }
        self.ask_workers_again(self.frozen_until_ms);
    }

    /// Time passed; to be called every 20 to 100 ms: what falls between two calls is late by that much.
    pub fn tick(&mut self, now_ms: u64) -> Vec<DetectorAction> {
        // A clock that was set, or a process that stood still, heard as little as one that was cut off.
        if self.last_tick_ms.abs_diff(now_ms) > self.config.heartbeat_interval_ms {
            self.on_own_reconnect(now_ms);
        }
        self.last_tick_ms = now_ms;
        self.left.retain(|_, (_, at_ms)| at_ms.abs_diff(now_ms) < LEFT_REMEMBERED_MS);
        let mut actions = Vec::new();
        if !self.is_frozen(now_ms) {
            self.tick_connections(now_ms, &mut actions);
            let has_suspects = self.tick_silence(now_ms, &mut actions);
            if has_suspects || !actions.is_empty() {
                self.tick_inquiries(now_ms, &mut actions);
            }
        }
        actions
    }

    /// How suspicious the silence of each node is; 0 where the estimator has no number.
    pub fn suspicions(&self, now_ms: u64) -> impl Iterator<Item = (&str, f64)> + '_ {
        self.nodes.iter().map(move |(node, watched)| (node.as_str(), watched.opinion(now_ms).phi))
    }

    /// What is thought of every node, for a store that has lost it.
    pub fn verdicts(&self, now_ms: u64) -> impl Iterator<Item = NodeVerdict> + '_ {
        self.nodes
            .iter()
            .map(move |(node, watched)| NodeVerdict { evidence: watched.evidence.clone(), ..watched.verdict(node, watched.health, now_ms) })
    }

    /// All verdicts other than `Alive`, for those who missed them.
    pub fn standing_verdicts(&self, now_ms: u64) -> impl Iterator<Item = NodeVerdict> + '_ {
        self.verdicts(now_ms).filter(|verdict| verdict.health != Health::Alive)
    }

    /// Whether the known life of the node has been silent for several heartbeats.
    fn is_silent(&self, node: &str, now_ms: u64) -> bool {
        let silent_after_ms = self.config.intervals_ms(SILENT_INTERVALS);
        self.nodes.get(node).is_some_and(|watched| now_ms.saturating_sub(watched.last_sign_ms) >= silent_after_ms)
    }

    fn has_left(&self, node: &str, incarnation: u64) -> bool {
        self.left.get(node).is_some_and(|(left, _)| incarnation <= *left)
    }

    fn watch(&mut self, node: &str, worker: &str, incarnation: u64, now_ms: u64) {
        let watched = Watched {
            worker: worker.to_owned(),
            incarnation,
            estimator: new_estimator(&self.config, now_ms),
            health: Health::Alive,
            evidence: String::new(),
            last_sign_ms: now_ms,
            last_beat_ms: None,
            counted_from_ms: now_ms,
            waiting: Waiting::default(),
            inquiry: None,
            false_alarms: FalseAlarms::default(),
        };
        self.nodes.insert(node.to_owned(), watched);
        self.workers.entry(worker.to_owned()).or_default().nodes.insert(node.to_owned());
    }

    /// The node is back in a later life, whatever became of the former one.
    fn begin_life(&mut self, node: &str, worker: &str, incarnation: u64, now_ms: u64, how: &str, actions: &mut Vec<DetectorAction>) {
        self.move_to_worker(node, worker);
        let Some(watched) = self.nodes.get_mut(node) else { return };
        watched.incarnation = incarnation;
        watched.estimator = new_estimator(&self.config, now_ms);
        if watched.health != Health::Alive {
            actions.push(DetectorAction::Judge(watched.recover(node, now_ms, how)));
        }
        watched.last_sign_ms = now_ms;
        watched.last_beat_ms = None;
        watched.counted_from_ms = now_ms;
        watched.waiting = Waiting::default();
        watched.false_alarms = FalseAlarms::default();
        self.on_worker_heard(worker);
    }

    fn move_to_worker(&mut self, node: &str, worker: &str) {
        let Some(watched) = self.nodes.get_mut(node).filter(|watched| watched.worker != worker) else { return };
        let former = std::mem::replace(&mut watched.worker, worker.to_owned());
        self.leave_worker(node, &former);
        self.workers.entry(worker.to_owned()).or_default().nodes.insert(node.to_owned());
    }

    fn leave_worker(&mut self, node: &str, worker: &str) {
        if let Some(state) = self.workers.get_mut(worker) {
            state.nodes.remove(node);
            if state.nodes.is_empty() {
                self.workers.remove(worker);
            }
        }
    }

    fn forget(&mut self, node: &str, reason: &str) -> Vec<DetectorAction> {
        let Some(watched) = self.nodes.remove(node) else { return Vec::new() };
        self.leave_worker(node, &watched.worker);
        vec![DetectorAction::Forget { node: node.to_owned(), worker: watched.worker, reason: reason.to_owned() }]
    }

    /// Checks the two indexes against each other.
    ///
    /// # Panics
    /// When they contradict each other, which is a bug.
    pub fn sanity_check(&self) {
        let mut filed: BTreeSet<&str> = BTreeSet::new();
        for (worker, state) in &self.workers {
            assert!(!state.nodes.is_empty(), "{worker} hosts nothing and is kept");
            for node in &state.nodes {
                assert!(filed.insert(node), "{node} is filed under two workers");
                let watched = self.nodes.get(node).unwrap_or_else(|| panic!("{worker} hosts {node}, which is not watched"));
                assert_eq!(&watched.worker, worker, "{node} is filed under another worker");
                assert!(!(state.is_lost() && watched.health == Health::Alive), "{node} is alive on {worker}, which is lost");
            }
        }
        assert_eq!(filed.len(), self.nodes.len(), "a node is filed under no worker");
        for (node, watched) in &self.nodes {
            assert!(!self.has_left(node, watched.incarnation), "{node} left and is watched");
            assert_eq!(watched.inquiry.is_some(), watched.health == Health::Suspect, "{node} is {:?}", watched.health);
        }
    }
}

fn new_estimator(config: &DetectorConfig, now_ms: u64) -> Box<dyn Estimator> {
    match config.detector {
        EstimatorKind::PhiAccrual => Box::new(PhiAccrual::new(config)),
        EstimatorKind::FixedTimeout => Box::new(FixedTimeout::new(config)),
        EstimatorKind::KOfN => Box::new(KOfN::new(config, now_ms)),
    }
}

impl Watched {
    fn counted_silence_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.counted_from_ms)
    }

    fn opinion(&self, now_ms: u64) -> Opinion {
        self.estimator.opinion(now_ms, self.counted_silence_ms(now_ms))
    }

    fn level(&self, now_ms: u64) -> Level {
        self.estimator.level(now_ms, self.counted_silence_ms(now_ms))
    }

    fn beat(&mut self, now_ms: u64, config: &DetectorConfig) {
        // How long a node was dead says nothing about its rhythm.
        let was_there = matches!(self.health, Health::Alive | Health::Suspect);
        if !was_there {
            self.estimator = new_estimator(config, now_ms);
        }
        let interval = self.last_beat_ms.filter(|_| was_there).map(|last| now_ms.saturating_sub(last));
        self.estimator.on_heartbeat(now_ms, interval);
        if self.health == Health::Suspect {
            // A clean slate, or k-of-n would suspect it again at once for what is forgiven now.
            self.estimator.on_resumed(now_ms);
        }
        self.last_beat_ms = Some(now_ms);
    }

    fn recover(&mut self, node: &str, now_ms: u64, how: &str) -> NodeVerdict {
        let mut verdict = self.verdict(node, Health::Alive, now_ms);
        verdict.phi = 0.0;
        verdict.evidence = format!("{how} after {} of silence", span(verdict.silence_ms));
        self.stand(Health::Alive, String::new(), now_ms);
        verdict
    }

    /// The verdict as it would be now; the evidence is the caller's.
    fn verdict(&self, node: &str, health: Health, now_ms: u64) -> NodeVerdict {
        NodeVerdict {
            node: node.to_owned(),
            worker: self.worker.clone(),
            incarnation: self.incarnation,
            before: self.health,
            health,
            phi: self.opinion(now_ms).phi,
            silence_ms: now_ms.saturating_sub(self.last_sign_ms),
            evidence: String::new(),
        }
    }

    fn stand(&mut self, health: Health, evidence: String, now_ms: u64) {
        self.health = health;
        self.evidence = evidence;
        self.inquiry = (health == Health::Suspect).then(|| Inquiry::new(now_ms));
    }

    fn judge(&mut self, node: &str, health: Health, evidence: String, now_ms: u64) -> DetectorAction {
        let verdict = self.verdict(node, health, now_ms);
        self.stand(health, evidence.clone(), now_ms);
        DetectorAction::Judge(NodeVerdict { evidence, ..verdict })
    }
}
