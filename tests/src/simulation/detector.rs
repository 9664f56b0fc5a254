//! The fault detector's process: the shell around the engine's detector, as `services/fault-detector` has it.

use std::collections::BTreeMap;
use std::rc::Rc;

use faultline_engine::detector::{Detector, DetectorAction, DetectorConfig, NodeVerdict, PingOutcome};
use faultline_engine::node::Health;

use super::message::{Msg, Op, Plain, Reply, Tag, Timer};
use super::net::{Net, Proc};
use super::worker::REQUEST_MS;
use super::{Cast, unix};

const TICK_MS: u64 = 100;
const REPEAT_MS: u64 = 2_000;
const RECOVERY_REPEATED_MS: u64 = 7_000;
const PROBE_MS: u64 = 1_000;
/// No answer of the server for this long: nothing can be heard.
const DEAF_AFTER_MS: u64 = 2_500;
const PING_LIMIT_MS: u64 = 500;
const WATCH_MS: u64 = 500;
const PAUSE_MS: u64 = 500;

pub(super) struct Watcher {
    pub(super) proc: Proc,
    detector: Option<Detector>,
    nodes_revision: u64,
    heard_at: u64,
    recovered: BTreeMap<String, Rc<NodeVerdict>>,
    recovered_at: BTreeMap<String, u64>,
    /// What the bucket must come to hold; none: nothing.
    outbox: BTreeMap<String, Option<Rc<NodeVerdict>>>,
}

impl Watcher {
    pub(super) fn new(proc: Proc) -> Self {
        Self {
            proc,
            detector: None,
            nodes_revision: 0,
            heard_at: 0,
            recovered: BTreeMap::new(),
            recovered_at: BTreeMap::new(),
            outbox: BTreeMap::new(),
        }
    }

    pub(super) fn start(&mut self, net: &mut Net) {
        *self = Self { heard_at: net.now, ..Self::new(self.proc) };
        net.links[self.proc].is_subscribed = true;
        net.request(self.proc, Op::GetVerdicts, REQUEST_MS, Tag::Verdicts);
    }

    pub(super) fn crash(&mut self) {
        self.detector = None;
    }

    pub(super) fn on_message(&mut self, msg: Msg, net: &mut Net, cast: &Cast) {
        let now_ms = unix(net);
        let Some(detector) = &mut self.detector else { return };
        let actions = match msg {
            Msg::Plain(Plain::Beat(beat)) => detector.on_heartbeat(&beat.node, &beat.worker, beat.incarnation, now_ms),
            Msg::Plain(Plain::Bye { node, incarnation }) => detector.on_goodbye(&node, incarnation, "the worker stopped", now_ms),
            Msg::Hint { worker, is_up: true } => {
                detector.on_connect(cast.name(worker));
                Vec::new()
            }
            Msg::Hint { worker, is_up: false } => {
                detector.on_disconnect_hint(cast.name(worker), "Client Closed", now_ms);
                Vec::new()
            }
            Msg::Connected => {
                detector.on_own_reconnect(now_ms);
                Vec::new()
            }
            _ => Vec::new(),
        };
        self.perform(actions, net, cast);
    }

    pub(super) fn on_timer(&mut self, timer: Timer, net: &mut Net, cast: &Cast) {
        match timer {
            Timer::Tick { .. } => {
                net.timer(self.proc, TICK_MS, timer);
                let can_hear = net.links[self.proc].is_connected && net.now - self.heard_at <= DEAF_AFTER_MS;
                if let Some(detector) = self.detector.as_mut().filter(|_| can_hear) {
                    let actions = detector.tick(unix(net));
                    detector.sanity_check();
                    self.perform(actions, net, cast);
                }
            }
            Timer::Repeat => {
                net.timer(self.proc, REPEAT_MS, timer);
                self.repeat_verdicts(net);
            }
            Timer::Probe => {
                net.timer(self.proc, PROBE_MS, timer);
                net.request(self.proc, Op::Probe, PROBE_MS, Tag::Probed);
            }
            Timer::Watch => net.request(self.proc, Op::NodesSince { revision: self.nodes_revision }, REQUEST_MS, Tag::Nodes),
            Timer::Retry(Tag::Verdicts) => net.request(self.proc, Op::GetVerdicts, REQUEST_MS, Tag::Verdicts),
            Timer::Retry(Tag::VerdictWritten { node }) => self.write_verdict(&node, net),
            _ => {}
        }
    }

    fn repeat_verdicts(&mut self, net: &mut Net) {
        let Some(detector) = &self.detector else { return };
        let now = net.now;
        let recovered_at = &self.recovered_at;
        self.recovered.retain(|node, _| {
            now - recovered_at.get(node).copied().unwrap_or(0) < RECOVERY_REPEATED_MS && detector.health(node) == Some(Health::Alive)
        });
        let standing: Vec<_> = detector.standing_verdicts(unix(net)).map(Rc::new).collect();
        for verdict in standing.into_iter().chain(self.recovered.values().cloned()) {
            net.publish(self.proc, Op::Publish(Plain::Verdict(verdict)));
        }
    }

    pub(super) fn on_answer(&mut self, tag: Tag, reply: Option<Reply>, net: &mut Net, cast: &Cast) {
        match (tag, reply) {
            (Tag::Verdicts, Some(Reply::Verdicts(verdicts))) if self.detector.is_none() => self.begin(&verdicts, net),
            (Tag::Verdicts, None) if self.detector.is_none() => net.timer(self.proc, PAUSE_MS, Timer::Retry(Tag::Verdicts)),
            (Tag::Probed, Some(_)) => self.heard_at = net.now,
            (Tag::Nodes, reply) => {
                net.timer(self.proc, WATCH_MS, Timer::Watch);
                let (Some(Reply::Nodes(revision, entries)), Some(detector)) = (reply, &mut self.detector) else { return };
                self.nodes_revision = revision;
                let mut actions = Vec::new();
                for (node, spec) in entries.iter() {
                    actions.extend(match spec {
                        Some(spec) => detector.on_registered(node, &spec.worker, spec.incarnation, unix(net)),
                        None => detector.on_unregistered(node),
                    });
                }
                self.perform(actions, net, cast);
            }
            (Tag::PingOutcome { worker }, reply) => {
                let can_hear = net.links[self.proc].is_connected && net.now - self.heard_at <= DEAF_AFTER_MS;
                let outcome = match reply {
                    Some(Reply::NobodyListens) => PingOutcome::NobodyListens,
                    Some(Reply::Pong(nodes)) => PingOutcome::Answered { nodes },
                    Some(_) => PingOutcome::Garbled,
                    None if can_hear => PingOutcome::TimedOut,
                    None => PingOutcome::NotAsked,
                };
                let Some(detector) = &mut self.detector else { return };
                let actions = detector.on_ping_answer(cast.name(worker), outcome, unix(net));
                self.perform(actions, net, cast);
            }
            (Tag::VerdictWritten { node }, None) => net.timer(self.proc, PAUSE_MS, Timer::Retry(Tag::VerdictWritten { node })),
            (Tag::VerdictWritten { node }, Some(_)) => drop(self.outbox.remove(&node)),
            _ => {}
        }
    }

    /// The verdicts of before this process started are known: now it judges.
    fn begin(&mut self, standing: &[Rc<NodeVerdict>], net: &mut Net) {
        let now_ms = unix(net);
        let mut detector = Detector::new(DetectorConfig::default(), now_ms);
        for verdict in standing.iter().filter(|verdict| verdict.health != Health::Alive) {
            detector.restore(&verdict.node, &verdict.worker, verdict.incarnation, verdict.health, &verdict.evidence, now_ms);
        }
        self.detector = Some(detector);
        self.heard_at = net.now;
        net.timer(self.proc, TICK_MS, Timer::Tick { term: 0 });
        net.timer(self.proc, REPEAT_MS, Timer::Repeat);
        net.timer(self.proc, PROBE_MS, Timer::Probe);
        net.timer(self.proc, 1, Timer::Watch);
    }

    fn perform(&mut self, actions: Vec<DetectorAction>, net: &mut Net, cast: &Cast) {
        for action in actions {
            match action {
                DetectorAction::PingWorker { worker } => {
                    let worker = cast.proc_of(&worker);
                    net.request(self.proc, Op::Ping { worker }, PING_LIMIT_MS, Tag::PingOutcome { worker });
                }
                DetectorAction::Judge(verdict) => {
                    net.say(|| format!("detector: {} is {}: {}", verdict.node, verdict.health.as_str(), verdict.evidence));
                    net.stats.verdicts += u64::from(matches!(verdict.health, Health::Gone | Health::Dead));
                    let verdict = Rc::new(verdict);
                    net.publish(self.proc, Op::Publish(Plain::Verdict(Rc::clone(&verdict))));
                    if verdict.health == Health::Alive {
                        self.recovered_at.insert(verdict.node.clone(), net.now);
                        self.recovered.insert(verdict.node.clone(), Rc::clone(&verdict));
                    } else {
                        self.recovered.remove(&verdict.node);
                    }
                    self.put(verdict.node.clone(), Some(verdict), net);
                }
                DetectorAction::Forget { node, .. } => {
                    self.recovered.remove(&node);
                    self.put(node, None, net);
                }
            }
        }
    }

    fn put(&mut self, node: String, verdict: Option<Rc<NodeVerdict>>, net: &mut Net) {
        self.outbox.insert(node.clone(), verdict);
        self.write_verdict(&node, net);
    }

    fn write_verdict(&self, node: &str, net: &mut Net) {
        let Some(entry) = self.outbox.get(node) else { return };
        let op = match entry {
            Some(verdict) => Op::PutVerdict(Rc::clone(verdict)),
            None => Op::RemoveVerdict { node: node.to_owned() },
        };
        net.request(self.proc, op, REQUEST_MS, Tag::VerdictWritten { node: node.to_owned() });
    }
}
