//! One function an external event, each of which asks the engine; and the performing of what the engine answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use async_nats::jetstream::kv;
use faultline_engine::detector::{Detector, DetectorAction, DetectorConfig, NodeVerdict, PingOutcome};
use faultline_engine::node::Health;
use faultline_protocol::messages::{EventKind, Level, Verdict};
use faultline_protocol::subjects;
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::Nats;
use faultline_runtime::events::EventSink;
use faultline_runtime::shutdown::Shutdown;
use tokio::sync::mpsc;

use crate::inputs::{self, Poison, SystemEvent};
use crate::link::{self, Link};
use crate::metrics::DetectorMetrics;
use crate::outbox::Outbox;
use crate::standing::Standing;

/// A recovery is repeated for this long: who missed it would leave a living node idle.
const RECOVERY_REPEATED_MS: u64 = 7000;

/// Which worker was asked, and what came of it.
pub(crate) type PingAnswer = (String, PingOutcome);

pub(crate) struct Desk {
    detector: Detector,
    nats: Nats,
    shutdown: Shutdown,
    events: EventSink,
    outbox: Arc<Outbox>,
    link: Arc<Link>,
    answers: mpsc::Sender<PingAnswer>,
    /// Nodes that came back lately.
    recovered: BTreeMap<String, Verdict>,
    poison: Poison,
    metrics: DetectorMetrics,
}

impl Desk {
    pub(crate) fn new(
        settings: DetectorConfig,
        nats: Nats,
        shutdown: Shutdown,
        outbox: Arc<Outbox>,
        link: Arc<Link>,
        answers: mpsc::Sender<PingAnswer>,
        metrics: DetectorMetrics,
    ) -> Self {
        Self {
            detector: Detector::new(settings, unix_ms()),
            events: EventSink::new(&nats, "fault-detector"),
            nats,
            shutdown,
            outbox,
            link,
            answers,
            recovered: BTreeMap::new(),
            poison: Poison::default(),
            metrics,
        }
    }

    /// How many nodes are watched.
    pub(crate) fn nodes(&self) -> usize {
        self.detector.len()
    }

    /// How many messages could not be read.
    pub(crate) fn ignored(&self) -> u64 {
        self.poison.total()
    }

    /// Tells how suspicious each node is now.
    pub(crate) fn measure(&self) {
        self.metrics.set_suspicions(self.detector.suspicions(unix_ms()));
    }

    /// The verdicts of before this process started. Those on nodes that are not registered any more are swept up.
    pub(crate) fn restore(&mut self, standing: Standing) {
        let now_ms = unix_ms();
        for verdict in standing.verdicts {
            if !standing.registered.contains(&verdict.node) {
                self.outbox.remove(&verdict.node);
            } else if verdict.health != Health::Alive {
                self.detector.restore(&verdict.node, &verdict.worker, verdict.incarnation, verdict.health, &verdict.evidence, now_ms);
            }
        }
    }

    pub(crate) fn on_heartbeat(&mut self, message: &Message) -> Vec<DetectorAction> {
        match inputs::heartbeat(message) {
            Ok(beat) => {
                self.metrics.heartbeats.inc();
                self.detector.on_heartbeat(&beat.node, &beat.worker, beat.incarnation, unix_ms())
            }
            Err(reason) => self.refuse(&message.subject, &reason),
        }
    }

    pub(crate) fn on_goodbye(&mut self, message: &Message) -> Vec<DetectorAction> {
        match inputs::goodbye(message) {
            Ok(bye) => self.detector.on_goodbye(&bye.node, bye.incarnation, &bye.reason, unix_ms()),
            Err(reason) => self.refuse(&message.subject, &reason),
        }
    }

    pub(crate) fn on_connect(&mut self, message: &Message) -> Vec<DetectorAction> {
        match SystemEvent::decode(&message.payload) {
            Ok(event) => self.detector.on_connect(&event.client.name),
            Err(reason) => return self.refuse(&message.subject, &reason),
        }
        Vec::new()
    }

    pub(crate) fn on_disconnect(&mut self, message: &Message) -> Vec<DetectorAction> {
        match SystemEvent::decode(&message.payload) {
            Ok(event) => self.detector.on_disconnect_hint(&event.client.name, event.reason(), unix_ms()),
            Err(reason) => return self.refuse(&message.subject, &reason),
        }
        Vec::new()
    }

    pub(crate) fn on_registration(&mut self, entry: &kv::Entry) -> Vec<DetectorAction> {
        if entry.operation != kv::Operation::Put {
            return self.detector.on_unregistered(&entry.key);
        }
        match inputs::registration(&entry.key, &entry.value) {
            Ok(spec) => self.detector.on_registered(&spec.node, &spec.worker, spec.incarnation, unix_ms()),
            Err(reason) => self.refuse(&entry.key, &reason),
        }
    }

    pub(crate) fn on_ping_answer(&mut self, (worker, outcome): PingAnswer) -> Vec<DetectorAction> {
        tracing::debug!(worker, ?outcome, "pinged");
        self.metrics.on_ping_answer(&outcome);
        self.detector.on_ping_answer(&worker, outcome, unix_ms())
    }

    pub(crate) fn on_own_reconnect(&mut self) -> Vec<DetectorAction> {
        tracing::info!("connected again: no verdicts until the nodes had time to be heard");
        self.detector.on_own_reconnect(unix_ms());
        Vec::new()
    }

    /// While this process hears nothing no time passes for the detector; it notices the gap afterwards.
    pub(crate) fn on_tick(&mut self) -> Vec<DetectorAction> {
        let now_ms = unix_ms();
        if self.nats.is_connected() && self.link.is_alive(now_ms) { self.detector.tick(now_ms) } else { Vec::new() }
    }

    /// Says again what somebody may have missed.
    pub(crate) async fn repeat_verdicts(&mut self) {
        let now_ms = unix_ms();
        let detector = &self.detector;
        self.recovered
            .retain(|node, verdict| now_ms.abs_diff(verdict.at_ms) < RECOVERY_REPEATED_MS && detector.health(node) == Some(Health::Alive));
        let standing = detector.standing_verdicts(now_ms).map(|verdict| self.message(verdict, now_ms));
        for verdict in standing.chain(self.recovered.values().cloned()) {
            self.publish(&verdict).await;
        }
    }

    pub(crate) async fn perform(&mut self, actions: Vec<DetectorAction>) {
        for action in actions {
            match action {
                DetectorAction::PingWorker { worker } => {
                    let limit = Duration::from_millis(self.detector.config().ping_limit_ms);
                    self.shutdown.spawn("ping", link::ping_worker(self.nats.clone(), worker, limit, self.answers.clone()));
                }
                DetectorAction::Judge(verdict) => self.judge(verdict).await,
                DetectorAction::Forget { node, worker, reason } => {
                    tracing::info!(node, worker, reason, "the node left");
                    self.recovered.remove(&node);
                    self.outbox.remove(&node);
                    self.tell(Level::Info, EventKind::NodeLeft, &node, reason).await;
                }
            }
        }
    }

    async fn judge(&mut self, verdict: NodeVerdict) {
        self.metrics.on_verdict(&verdict);
        let (node, worker, evidence) = (&verdict.node, &verdict.worker, &verdict.evidence);
        let (level, kind) = match verdict.health {
            Health::Alive => (Level::Info, EventKind::NodeRecovered),
            Health::Suspect => (Level::Warn, EventKind::NodeSuspect),
            Health::Gone => (Level::Warn, EventKind::NodeGone),
            Health::Dead => (Level::Error, EventKind::NodeDead),
        };
        match verdict.health {
            Health::Alive => tracing::info!(node, worker, "the node is back: {evidence}"),
            Health::Suspect => tracing::warn!(node, worker, "the node is suspect: {evidence}"),
            Health::Gone => tracing::warn!(node, worker, "the node is gone: {evidence}"),
            Health::Dead => tracing::error!(node, worker, "the node is dead: {evidence}"),
        }
        let message = self.message(verdict, unix_ms());
        self.publish(&message).await;
        self.tell(level, kind, &message.node, message.evidence.clone()).await;
        match message.health {
            Health::Alive => drop(self.recovered.insert(message.node.clone(), message.clone())),
            Health::Suspect | Health::Gone | Health::Dead => drop(self.recovered.remove(&message.node)),
        }
        self.outbox.put(message);
    }

    fn message(&self, verdict: NodeVerdict, at_ms: u64) -> Verdict {
        Verdict {
            node: verdict.node,
            worker: verdict.worker,
            incarnation: verdict.incarnation,
            health: verdict.health,
            detector: self.detector.config().detector.as_str().to_owned(),
            phi: verdict.phi,
            silence_ms: verdict.silence_ms,
            evidence: verdict.evidence,
            at_ms,
        }
    }

    async fn publish(&self, verdict: &Verdict) {
        if let Err(error) = self.nats.publish(subjects::verdict(&verdict.node), verdict).await {
            tracing::debug!(node = verdict.node, %error, "a verdict was not published; it will be repeated");
        }
    }

    async fn tell(&self, level: Level, kind: EventKind, node: &str, detail: String) {
        let mut event = self.events.event(level, kind, detail);
        event.node = Some(node.to_owned());
        self.events.send(event).await;
    }

    /// A message that cannot be read stops nobody.
    fn refuse(&mut self, from: &str, reason: &str) -> Vec<DetectorAction> {
        self.nats.note_malformed();
        if let Some(total) = self.poison.count(unix_ms()) {
            tracing::warn!(from, reason, total, "a message is ignored");
        }
        Vec::new()
    }
}
