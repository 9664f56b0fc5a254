//! The loop: one function an external event, each of which asks the engine; and the performing of what the engine answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use async_nats::jetstream::kv;
use faultline_engine::detector::{Detector, DetectorAction, DetectorConfig, NodeVerdict};
use faultline_engine::node::Health;
use faultline_protocol::messages::{ClusterEvent, EventKind, Level, Verdict};
use faultline_protocol::{streams, subjects};
use faultline_runtime::connection::Connection;
use faultline_runtime::events::EventSink;
use faultline_runtime::malformed::PlainReader;
use faultline_runtime::service::Process;
use faultline_runtime::shutdown::Shutdown;
use faultline_runtime::watch::{self, Watched};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::hearing::{self, Hearing, PingAnswer};
use crate::inputs::{self, SystemEvent};
use crate::metrics::DetectorMetrics;
use crate::outbox::{self, Outbox};
use crate::standing::{self, Standing};

/// Short, since the grace after a disconnect ends between two ticks: at 100 ms a killed worker's job came back 50 ms later on average.
pub(crate) const TICK_EVERY: Duration = Duration::from_millis(20);
/// Verdicts are plain publishes, so a scheduler may have missed one.
const REPEAT_EVERY: Duration = Duration::from_secs(2);
const BUFFERED_REGISTRATIONS: usize = 1024;
const BUFFERED_PINGS: usize = 1024;
/// A recovery is repeated for this long: who missed it would leave a living node idle.
const RECOVERY_REPEATED_MS: u64 = 7000;

/// Judges until the stop signal.
pub(crate) async fn run(settings: DetectorConfig, nats: &Connection, process: &Process, tick: Duration) -> anyhow::Result<()> {
    let shutdown = process.shutdown.clone();
    let stop = shutdown.token();
    let hear = |subject: &'static str| async move { nats.hear(subject).await.map_err(anyhow::Error::msg) };
    // Subscribed before anything is read, so that nothing falls in between.
    let mut heartbeats = hear(subjects::HEARTBEAT_ALL).await?;
    let mut goodbyes = hear(subjects::GOODBYE_ALL).await?;
    let mut connects = hear(subjects::SYSTEM_CONNECT).await?;
    let mut disconnects = hear(subjects::SYSTEM_DISCONNECT).await?;
    let mut connections = nats.connections();
    connections.mark_unchanged();

    let Some(standing) = standing::read(nats, &stop).await else { return Ok(()) };
    let outbox = Arc::new(Outbox::default());
    shutdown.spawn("health-writer", outbox::run(Arc::clone(&outbox), Arc::clone(&standing.store), stop.clone()));
    let hearing = Arc::new(Hearing::new(&settings, nats.steady_ms()));
    shutdown.spawn("hearing-probe", hearing::run(Arc::clone(&hearing), nats.clone(), stop.clone()));
    let (registered, mut registrations) = mpsc::channel(BUFFERED_REGISTRATIONS);
    shutdown.spawn("node-watch", watch::run(nats.clone(), streams::KV_NODES, registered, stop.clone()));
    let (stored, mut verdicts) = mpsc::channel(BUFFERED_REGISTRATIONS);
    shutdown.spawn("health-watch", watch::run(nats.clone(), streams::KV_HEALTH, stored, stop.clone()));
    let (answers, mut pings) = mpsc::channel(BUFFERED_PINGS);

    let mut service =
        DetectorService::new(settings, nats.clone(), shutdown.clone(), outbox, hearing, answers, DetectorMetrics::new(&process.metrics));
    service.restore(standing);
    let mut ticks = tokio::time::interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut repeats = tokio::time::interval(REPEAT_EVERY);
    repeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tracing::info!(detector = settings.detector.as_str(), nodes = service.nodes(), "watching");
    process.readiness.met("standing");
    process.readiness.describe(format!("watches, by {}", settings.detector.as_str()));
    let mut stopped = std::pin::pin!(stop.cancelled());
    loop {
        // What is rare comes first.
        let actions = tokio::select! {
            biased;
            () = &mut stopped => break,
            Ok(()) = connections.changed() => service.on_own_reconnect(),
            _ = seconds.tick() => {
                service.measure();
                continue;
            }
            _ = repeats.tick() => {
                service.repeat_verdicts().await;
                continue;
            }
            Some(answer) = pings.recv() => service.on_ping_answer(answer),
            Some(message) = goodbyes.next() => service.on_goodbye(&message),
            Some(message) = connects.next() => service.on_connect(&message),
            Some(message) = disconnects.next() => service.on_disconnect(&message),
            Some(watched) = registrations.recv() => service.on_registration(&watched),
            Some(watched) = verdicts.recv() => service.on_stored_verdict(&watched),
            // Before the ticks: a heartbeat that has already arrived must not count as silence.
            Some(message) = heartbeats.next() => service.on_heartbeat(&message),
            _ = ticks.tick() => service.on_tick(),
        };
        service.perform(actions).await;
    }
    tracing::info!(nodes = service.nodes(), ignored = service.plain.unreadable(), "stopped");
    Ok(())
}

struct DetectorService {
    detector: Detector,
    nats: Connection,
    shutdown: Shutdown,
    events: EventSink,
    outbox: Arc<Outbox>,
    hearing: Arc<Hearing>,
    answers: mpsc::Sender<PingAnswer>,
    /// Nodes that came back lately, and when, by this process's own time.
    recovered: BTreeMap<String, (u64, Verdict)>,
    plain: PlainReader,
    metrics: DetectorMetrics,
}

impl DetectorService {
    fn new(
        settings: DetectorConfig,
        nats: Connection,
        shutdown: Shutdown,
        outbox: Arc<Outbox>,
        hearing: Arc<Hearing>,
        answers: mpsc::Sender<PingAnswer>,
        metrics: DetectorMetrics,
    ) -> Self {
        Self {
            detector: Detector::new(settings, nats.steady_ms()),
            events: EventSink::new(&nats, "fault-detector"),
            plain: PlainReader::new(&nats),
            nats,
            shutdown,
            outbox,
            hearing,
            answers,
            recovered: BTreeMap::new(),
            metrics,
        }
    }

    /// How many nodes are watched.
    fn nodes(&self) -> usize {
        self.detector.len()
    }

    /// Tells how suspicious each node is now.
    fn measure(&self) {
        self.metrics.set_suspicions(self.detector.suspicions(self.nats.steady_ms()));
    }

    /// The verdicts of before this process started. Those on nodes that are not registered any more are swept up.
    fn restore(&mut self, standing: Standing) {
        let now_ms = self.nats.steady_ms();
        for verdict in standing.verdicts {
            if !standing.registered.contains(&verdict.node) {
                self.outbox.remove(&verdict.node);
            } else if verdict.health != Health::Alive {
                self.detector.restore(&verdict.node, &verdict.worker, verdict.incarnation, verdict.health, &verdict.evidence, now_ms);
            }
        }
    }

    fn on_heartbeat(&mut self, message: &Message) -> Vec<DetectorAction> {
        match inputs::heartbeat(message) {
            Ok(beat) => {
                self.metrics.heartbeats.inc();
                self.detector.on_heartbeat(&beat.node, &beat.worker, beat.incarnation, self.nats.steady_ms())
            }
            Err(reason) => self.refuse(&message.subject, &reason),
        }
    }

    fn on_goodbye(&mut self, message: &Message) -> Vec<DetectorAction> {
        match inputs::goodbye(message) {
            Ok(bye) => self.detector.on_goodbye(&bye.node, bye.incarnation, &bye.reason, self.nats.steady_ms()),
            Err(reason) => self.refuse(&message.subject, &reason),
        }
    }

    fn on_connect(&mut self, message: &Message) -> Vec<DetectorAction> {
        match SystemEvent::decode(&message.payload) {
            Ok(event) => self.detector.on_connect(&event.client.name),
            Err(reason) => return self.refuse(&message.subject, &reason),
        }
        Vec::new()
    }

    fn on_disconnect(&mut self, message: &Message) -> Vec<DetectorAction> {
        match SystemEvent::decode(&message.payload) {
            Ok(event) => self.detector.on_disconnect_hint(&event.client.name, event.reason(), self.nats.steady_ms()),
            Err(reason) => return self.refuse(&message.subject, &reason),
        }
        Vec::new()
    }

    fn on_registration(&mut self, watched: &Watched) -> Vec<DetectorAction> {
        let entry = match watched {
            Watched::Entry(entry) => entry,
            // A living worker registers again; the worker of a node that is down does not.
            Watched::Vanished(node) if matches!(self.detector.health(node), Some(Health::Gone | Health::Dead)) => {
                return self.detector.on_unregistered(node);
            }
            Watched::Vanished(_) | Watched::BeganAgain => return Vec::new(),
        };
        if entry.operation != kv::Operation::Put {
            return self.detector.on_unregistered(&entry.key);
        }
        match inputs::registration(&entry.key, &entry.value) {
            Ok(spec) => self.detector.on_registered(&spec.node, &spec.worker, spec.incarnation, self.nats.steady_ms()),
            Err(reason) => self.refuse(&entry.key, &reason),
        }
    }

    /// Only this service writes verdicts, so KV HEALTH is of interest only when it has lost some.
    fn on_stored_verdict(&mut self, watched: &Watched) -> Vec<DetectorAction> {
        if matches!(watched, Watched::BeganAgain) {
            for verdict in self.detector.verdicts(self.nats.steady_ms()) {
                self.outbox.put(self.message(verdict));
            }
        }
        Vec::new()
    }

    fn on_ping_answer(&mut self, (worker, outcome): PingAnswer) -> Vec<DetectorAction> {
        tracing::debug!(worker, ?outcome, "pinged");
        self.metrics.on_ping_answer(&outcome);
        self.detector.on_ping_answer(&worker, outcome, self.nats.steady_ms())
    }

    fn on_own_reconnect(&mut self) -> Vec<DetectorAction> {
        tracing::info!("connected again: no verdicts until the nodes had time to be heard");
        self.detector.on_own_reconnect(self.nats.steady_ms());
        Vec::new()
    }

    /// While this process hears nothing no time passes for the detector; it notices the gap afterwards.
    fn on_tick(&mut self) -> Vec<DetectorAction> {
        let now_ms = self.nats.steady_ms();
        if self.nats.is_connected() && self.hearing.is_alive(now_ms) { self.detector.tick(now_ms) } else { Vec::new() }
    }

    /// Repeats what a subscriber may have missed.
    async fn repeat_verdicts(&mut self) {
        let now_ms = self.nats.steady_ms();
        let detector = &self.detector;
        self.recovered
            .retain(|node, (at_ms, _)| now_ms.abs_diff(*at_ms) < RECOVERY_REPEATED_MS && detector.health(node) == Some(Health::Alive));
        let standing = detector.standing_verdicts(now_ms).map(|verdict| self.message(verdict));
        for verdict in standing.chain(self.recovered.values().map(|(_, verdict)| verdict.clone())) {
            self.publish(&verdict).await;
        }
    }

    async fn perform(&mut self, actions: Vec<DetectorAction>) {
        for action in actions {
            match action {
                DetectorAction::PingWorker { worker } => {
                    let limit = Duration::from_millis(self.detector.config().ping_limit_ms);
                    self.shutdown.spawn("ping", hearing::ping_worker(self.nats.clone(), worker, limit, self.answers.clone()));
                }
                DetectorAction::Judge(verdict) => self.judge(verdict).await,
                DetectorAction::Forget { node, worker, reason } => {
                    tracing::info!(node, worker, reason, "the node left");
                    self.recovered.remove(&node);
                    self.outbox.remove(&node);
                    self.events.send(self.event(Level::Info, EventKind::NodeLeft, &node, reason)).await;
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
        let message = self.message(verdict);
        // Of the time of the verdict: who hears of it acts at once, and that must not look earlier.
        let event = self.event(level, kind, &message.node, message.evidence.clone());
        self.publish(&message).await;
        self.events.send(event).await;
        match message.health {
            Health::Alive => drop(self.recovered.insert(message.node.clone(), (self.nats.steady_ms(), message.clone()))),
            Health::Suspect | Health::Gone | Health::Dead => drop(self.recovered.remove(&message.node)),
        }
        self.outbox.put(message);
    }

    fn message(&self, verdict: NodeVerdict) -> Verdict {
        Verdict {
            node: verdict.node,
            worker: verdict.worker,
            incarnation: verdict.incarnation,
            health: verdict.health,
            detector: self.detector.config().detector.as_str().to_owned(),
            phi: verdict.phi,
            silence_ms: verdict.silence_ms,
            evidence: verdict.evidence,
            at_ms: self.nats.unix_ms(),
        }
    }

    async fn publish(&self, verdict: &Verdict) {
        if let Err(error) = self.nats.publish(subjects::verdict(&verdict.node), verdict).await {
            tracing::debug!(node = verdict.node, %error, "a verdict was not published; it will be repeated");
        }
    }

    fn event(&self, level: Level, kind: EventKind, node: &str, detail: String) -> ClusterEvent {
        ClusterEvent { node: Some(node.to_owned()), ..self.events.event(level, kind, detail) }
    }

    /// An unreadable message stops no service.
    fn refuse(&mut self, from: &str, reason: &str) -> Vec<DetectorAction> {
        self.plain.note(from, &reason);
        Vec::new()
    }
}
