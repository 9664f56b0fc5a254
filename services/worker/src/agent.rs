//! The worker's loop: assignments, orders, ended attempts and the passing of time, each handled at once and never awaited
//! long, because a late heartbeat looks like a dead node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::kv;
use faultline_engine::agent::{Agent, AgentAction, AgentNode, AttemptConfig};
use faultline_engine::job::{Assignment, AttemptOutcome, EndedAttempt};
use faultline_engine::scheduler::SyncedNode;
use faultline_protocol::messages::{
    AssignBatch, EndedBatch, EventKind, FaultOrder, Goodbye, KillAttempts, Level, NodeRegistration, NodeSync, Pong, SyncOrder, WorkerSync,
};
use faultline_protocol::streams;
use faultline_protocol::subjects::{self, ControlVerb};
use faultline_runtime::admin::Readiness;
use faultline_runtime::clock::{random_seed, unix_ms};
use faultline_runtime::connect::{Nats, kv_put};
use faultline_runtime::events::EventSink;
use faultline_runtime::malformed::PlainReader;
use faultline_runtime::micro;
use faultline_runtime::service::Process;
use faultline_runtime::shutdown::Shutdown;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::attempt::{Attempt, Interruption, Shared, negative_acknowledge};
use crate::birth::{REGISTER_PAUSE, hosted_node};
use crate::dcgm::GpuIdentity;
use crate::executor::{AttemptContext, AttemptIdentity, Registry};
use crate::executors::Service;
use crate::metrics::WorkerMetrics;
use crate::node::{FaultNews, HostedNode, Task};
use crate::settings::{Identity, Settings};

/// How often the fault injectors are asked.
const FAULT_TICK: Duration = Duration::from_millis(100);
/// The most ended attempts that are reported in one message.
const ENDED_BATCH: usize = 2048;
/// The least time between two reports of ended attempts.
const REPORT_EVERY: Duration = Duration::from_millis(2);
/// Of `/readyz`, until there are nodes with conditions of their own.
pub(crate) const NODES_CONDITION: &str = "nodes";

/// Runs a worker on a connection under its name, until it is told to stop.
pub(crate) async fn run(
    identity: Identity,
    settings: Settings,
    mut registry: Registry,
    nats: Nats,
    process: Process,
) -> anyhow::Result<()> {
    if settings.service_executors {
        registry.register(Service::new(nats.client.clone(), Duration::from_millis(settings.service_silence_ms)));
    }
    let shutdown = process.shutdown.clone();
    let mut assignments = nats.client.subscribe(subjects::assign(&identity.name)).await.context("subscribing to assignments")?;
    let mut orders = nats.client.subscribe(subjects::ctl_filter(&identity.name)).await.context("subscribing to orders")?;
    let mut common_orders = nats.client.subscribe(subjects::CTL_ALL_SYNC).await.context("subscribing to orders")?;
    let _service = micro::register(&nats, "worker", &identity.name).await;
    let (ended, mut ended_receiver) = mpsc::unbounded_channel();
    let mut worker = Worker::new(identity, settings, registry, nats, &process, ended).await?;
    worker.register_all();

    let mut heartbeat = tokio::time::interval(Duration::from_millis(worker.settings.heartbeat_ms));
    let mut fault_tick = tokio::time::interval(FAULT_TICK);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    fault_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::with_capacity(ENDED_BATCH);
    let mut connections = worker.nats.connections();
    let (stop, hurry) = (shutdown.token(), shutdown.hurry());
    let mut drain_deadline = None;
    let mut next_report = tokio::time::Instant::now();
    loop {
        let draining = async {
            match drain_deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(message) = assignments.next() => worker.on_assignments(&message),
            Some(message) = orders.next() => worker.on_order(message).await,
            Some(message) = common_orders.next() => worker.on_order(message).await,
            count = ended_soon(&mut ended_receiver, &mut batch, next_report) => {
                if count > 0 {
                    next_report = tokio::time::Instant::now() + REPORT_EVERY;
                    worker.on_ended(std::mem::take(&mut batch)).await;
                }
            }
            _ = heartbeat.tick() => worker.on_heartbeat_tick().await,
            _ = fault_tick.tick() => worker.on_fault_tick().await,
            Ok(()) = connections.changed() => worker.on_heartbeat_tick().await,
            () = stop.cancelled(), if drain_deadline.is_none() => {
                drain_deadline = Some(worker.start_draining().await);
            }
            () = draining => break,
            () = hurry.cancelled() => break,
        }
        if drain_deadline.is_some() && worker.is_idle() {
            break;
        }
    }
    worker.leave(&mut ended_receiver).await;
    shutdown.wait_for_tasks(Duration::from_secs(1)).await;
    Ok(())
}

/// Waits for ended attempts, but not before `not_before`, so that a busy worker tells of many in one message.
async fn ended_soon(
    ended: &mut mpsc::UnboundedReceiver<EndedAttempt>,
    batch: &mut Vec<EndedAttempt>,
    not_before: tokio::time::Instant,
) -> usize {
    tokio::time::sleep_until(not_before).await;
    ended.recv_many(batch, ENDED_BATCH).await
}

struct Worker {
    identity: Identity,
    settings: Settings,
    registry: Registry,
    nats: Nats,
    events: EventSink,
    shared: Arc<Shared>,
    shutdown: Shutdown,
    readiness: Readiness,
    metrics: WorkerMetrics,
    /// What the GPUs of each node are called.
    identities: BTreeMap<String, Arc<[GpuIdentity]>>,
    registrations: kv::Store,
    /// What is decided; `nodes` has what it is decided about.
    agent: Agent,
    nodes: BTreeMap<String, HostedNode>,
    /// Ends the task that registers a node, when a newer life of it registers.
    registering: BTreeMap<String, CancellationToken>,
    plain: PlainReader,
}

impl Worker {
    async fn new(
        identity: Identity,
        settings: Settings,
        registry: Registry,
        nats: Nats,
        process: &Process,
        ended: mpsc::UnboundedSender<EndedAttempt>,
    ) -> anyhow::Result<Self> {
        let events = EventSink::new(&nats, &identity.name);
        let registrations = nats.bucket(streams::KV_NODES).await?;
        let seed = settings.seed.unwrap_or_else(random_seed);
        let (mut nodes, mut specs) = (BTreeMap::new(), Vec::new());
        for index in identity.first_node..identity.first_node + settings.nodes {
            let (spec, node) = hosted_node(&identity, &settings, &registry, &registrations, index, seed).await?;
            nodes.insert(spec.node.clone(), node);
            specs.push(spec);
        }
        let metrics = WorkerMetrics::new(&process.metrics, &registry);
        let identities = nodes.iter().map(|(name, node)| (name.clone(), node.identities(name).into())).collect();
        let shared = Arc::new(Shared {
            metrics: metrics.clone(),
            nats: nats.clone(),
            events: events.clone(),
            attempts: AttemptConfig { retry_base_ms: settings.retry_base_ms, retry_cap_ms: settings.retry_cap_ms },
            terminal_ttl_s: settings.terminal_ttl_s,
            ended,
        });
        Ok(Self {
            identity,
            settings,
            registry,
            plain: PlainReader::new(&nats),
            nats,
            events,
            shared,
            shutdown: process.shutdown.clone(),
            readiness: process.readiness.clone(),
            metrics,
            identities,
            registrations,
            agent: Agent::new(specs.into_iter().map(AgentNode::new)),
            nodes,
            registering: BTreeMap::new(),
        })
    }

    fn register_all(&mut self) {
        for node in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.readiness.unmet(&node, format!("{node} is not registered yet"));
            self.register(&node);
        }
        self.readiness.met(NODES_CONDITION);
        let nodes = self.nodes.len();
        self.readiness.describe(format!("hosts {nodes} node{}", if nodes == 1 { "" } else { "s" }));
        tracing::info!(nodes = self.nodes.len(), kinds = self.registry.kinds().collect::<Vec<_>>().join(","), "worker ready");
    }

    /// Writes the node's registration, again and again until it is there, without holding up the loop.
    fn register(&mut self, node: &str) {
        let Some(known) = self.agent.node(node) else { return };
        let registration = NodeRegistration { spec: known.spec().clone(), registered_at_ms: unix_ms() };
        let superseded = self.shutdown.token().child_token();
        if let Some(older) = self.registering.insert(node.to_owned(), superseded.clone()) {
            older.cancel();
        }
        let (store, node, events) = (self.registrations.clone(), node.to_owned(), self.events.clone());
        let readiness = self.readiness.clone();
        self.shutdown.spawn("registration", async move {
            loop {
                tokio::select! {
                    () = superseded.cancelled() => return,
                    written = kv_put(&store, &node, &registration) => match written {
                        Ok(_) => break,
                        Err(error) => tracing::warn!(node, %error, "the node could not be registered yet"),
                    },
                }
                tokio::time::sleep(REGISTER_PAUSE).await;
            }
            readiness.met(&node);
            let mut event = events.event(Level::Info, EventKind::NodeJoined, format!("incarnation {}", registration.spec.incarnation));
            event.node = Some(node);
            events.send(event).await;
        });
    }

    fn on_assignments(&mut self, message: &async_nats::Message) {
        let Some(AssignBatch { epoch, assignments }) = self.plain.read::<AssignBatch>(subjects::ASSIGN_ALL, message) else { return };
        let jobs = assignments.len();
        let (assignments, strange): (Vec<_>, Vec<_>) =
            assignments.into_iter().partition(|assignment| subjects::is_ack(&assignment.ack_subject) && assignment.spec.validate().is_ok());
        if !strange.is_empty() {
            tracing::warn!(
                epoch,
                jobs = strange.len(),
                "assignments of jobs that cannot be, or with an ack subject that is none, are ignored"
            );
        }
        match self.agent.on_assignments(epoch, assignments, unix_ms()) {
            Some(actions) => self.perform(actions),
            None => tracing::warn!(epoch, newest = self.agent.epoch(), jobs, "assignments of a deposed leader refused"),
        }
    }

    fn perform(&mut self, actions: Vec<AgentAction>) {
        for action in actions {
            match action {
                AgentAction::Start(assignment) => self.start(assignment),
                AgentAction::Nak { ack_subject, delay_ms } => {
                    let nats = self.nats.clone();
                    tokio::spawn(async move { negative_acknowledge(&nats, &ack_subject, delay_ms).await });
                }
                AgentAction::Report(ended) => {
                    tracing::warn!(job = %ended.job, attempt = %ended.attempt, node = ended.node, why = ended.detail, "assignment given back");
                    let _ = self.shared.ended.send(ended);
                }
                AgentAction::Stop { node, attempt } => {
                    if let Some(hosted) = self.nodes.get(&node) {
                        hosted.stop(attempt);
                    }
                }
            }
        }
    }

    fn start(&mut self, assignment: Arc<Assignment>) {
        let executor = self.registry.get(&assignment.spec);
        let (Some(executor), Some(node)) = (executor, self.nodes.get_mut(&assignment.node)) else {
            unreachable!("only what a node of this worker can run is taken");
        };
        let (stop, interruption) = (CancellationToken::new(), Arc::new(Interruption::new()));
        let id = assignment.attempt;
        let identity = AttemptIdentity {
            id,
            number: assignment.failures.saturating_add(assignment.requeues).saturating_add(1),
            node: assignment.node.clone(),
            traceparent: assignment.traceparent.clone(),
        };
        let context = AttemptContext::new(
            Arc::new(assignment.spec.clone()),
            identity,
            assignment.gpus.clone(),
            Arc::clone(&node.conditions),
            stop.child_token(),
        );
        let progress = context.progress();
        tracing::debug!(job = %assignment.spec.id, attempt = %id, node = assignment.node, "attempt starts");
        let attempt = Attempt {
            shared: Arc::clone(&self.shared),
            assignment,
            executor,
            context,
            stop: stop.clone(),
            interruption: Arc::clone(&interruption),
            started_at_ms: unix_ms(),
        };
        let handle = Some(tokio::spawn(attempt.run()).abort_handle());
        node.start(id, Task { progress, stop, interruption, handle });
    }

    async fn on_order(&mut self, message: async_nats::Message) {
        match ControlVerb::of_subject(&message.subject) {
            Some(ControlVerb::Ping) => {
                let nodes = self.agent.nodes().filter(|node| node.answers()).map(|node| node.spec().node.clone()).collect();
                if let Some(reply_to) = message.reply {
                    let _ = self.nats.reply(reply_to, &Pong { worker: self.identity.name.clone(), nodes }).await;
                }
            }
            Some(ControlVerb::Sync) => {
                if let Some(order) = self.plain.read::<SyncOrder>(subjects::CTL_ALL, &message) {
                    self.on_sync(order).await;
                }
            }
            Some(ControlVerb::Kill) => {
                if let Some(order) = self.plain.read::<KillAttempts>(subjects::CTL_ALL, &message) {
                    self.on_kill(&order);
                }
            }
            Some(ControlVerb::Fault) => {
                if let Some(order) = self.plain.read::<FaultOrder>(subjects::CTL_ALL, &message) {
                    self.on_fault_order(&order).await;
                }
            }
            None => self.plain.note(&message.subject, &"an order that is not known"),
        }
    }

    async fn on_sync(&mut self, order: SyncOrder) {
        let Some(nodes) = self.agent.on_sync(order.epoch) else { return };
        let told = |node: SyncedNode| NodeSync { node: node.node, incarnation: node.incarnation, running: node.running };
        let nodes = nodes.into_iter().map(told).collect();
        let sync = WorkerSync { worker: self.identity.name.clone(), epoch: order.epoch, nodes };
        if let Err(error) = self.nats.publish(subjects::SCHED_SYNCED, &sync).await {
            tracing::debug!(%error, "the sync was not answered");
        }
        self.on_heartbeat_tick().await;
    }

    fn on_kill(&mut self, order: &KillAttempts) {
        let actions = self.agent.on_kill(order.epoch, &order.attempts);
        if !actions.is_empty() {
            tracing::warn!(attempts = actions.len(), reason = order.reason, "attempts killed");
        }
        self.perform(actions);
    }

    async fn on_fault_order(&mut self, order: &FaultOrder) {
        let now_ms = unix_ms();
        let news = match (self.nodes.get_mut(&order.node), self.agent.node_mut(&order.node)) {
            (Some(node), Some(agent)) => node.order(agent, order, now_ms),
            _ => return tracing::warn!(node = order.node, "a fault was ordered for a node that is not here"),
        };
        self.tell_faults(&order.node, news).await;
    }

    async fn on_fault_tick(&mut self) {
        let now_ms = unix_ms();
        let mut news: Vec<(String, Vec<FaultNews>)> = Vec::new();
        for agent in self.agent.nodes_mut() {
            if let Some(node) = self.nodes.get_mut(&agent.spec().node) {
                let of_node = node.age(agent, now_ms);
                if !of_node.is_empty() {
                    news.push((agent.spec().node.clone(), of_node));
                }
            }
        }
        for (node, news) in news {
            self.tell_faults(&node, news).await;
        }
    }

    /// Writes down what really happened: the ground truth for whoever measures detectors.
    async fn tell_faults(&mut self, node: &str, news: Vec<FaultNews>) {
        for item in news {
            let (level, kind) = if item.began { (Level::Error, EventKind::FaultBegan) } else { (Level::Info, EventKind::FaultEnded) };
            if item.began {
                tracing::error!(node, fault = item.detail, "simulated fault");
            } else {
                tracing::info!(node, fault = item.detail, "simulated fault over");
            }
            let mut event = self.events.event(level, kind, item.detail);
            event.node = Some(node.to_owned());
            if item.began {
                self.metrics.on_fault(&item.truth.kind);
            }
            event.fault = Some(item.truth);
            self.events.send(event).await;
            // The scheduler should not place anything more on a GPU that is gone, nor wait for one that is back.
            if item.changes_service {
                self.on_heartbeat_tick().await;
            }
            if item.reborn {
                self.register(node);
            }
        }
    }

    async fn on_heartbeat_tick(&mut self) {
        let now_ms = unix_ms();
        self.metrics.running.set(i64::try_from(self.agent.running()).unwrap_or(i64::MAX));
        for agent in self.agent.nodes_mut() {
            let name = &agent.spec().node;
            let (Some(node), Some(identities)) = (self.nodes.get_mut(name), self.identities.get(name)) else { continue };
            node.sample(agent, now_ms);
            if agent.is_down() {
                self.metrics.gpus.end(name);
            } else {
                self.metrics.gpus.set(name, identities, node.readings());
            }
            if let Some(heartbeat) = node.heartbeat(agent, now_ms)
                && let Err(error) = self.nats.publish(subjects::heartbeat(&heartbeat.node), &heartbeat).await
            {
                tracing::debug!(node = heartbeat.node, %error, "no heartbeat");
            }
        }
    }

    async fn on_ended(&mut self, ended: Vec<EndedAttempt>) {
        self.agent.on_ended(&ended);
        for attempt in &ended {
            self.metrics.on_ended(attempt.outcome);
            if let Some(node) = self.nodes.get_mut(&attempt.node) {
                node.finish(attempt.attempt);
            }
            let EndedAttempt { job, attempt: id, node, outcome, detail, .. } = attempt;
            match outcome {
                AttemptOutcome::Cancelled => tracing::warn!(%job, attempt = %id, node, why = detail, "attempt stopped"),
                _ => tracing::debug!(%job, attempt = %id, node, ?outcome, "attempt ended"),
            }
        }
        let batch = EndedBatch { worker: self.identity.name.clone(), ended };
        if let Err(error) = self.nats.publish(subjects::SCHED_ENDED, &batch).await {
            tracing::debug!(%error, "ended attempts were not reported: heartbeats will");
        }
    }

    fn is_idle(&self) -> bool {
        self.agent.running() == 0
    }

    async fn start_draining(&mut self) -> tokio::time::Instant {
        tracing::info!(running = self.agent.running(), "stopping: nothing new is taken, attempts finish");
        self.agent.on_drain();
        self.on_heartbeat_tick().await;
        tokio::time::Instant::now() + Duration::from_millis(self.settings.drain_limit_ms)
    }

    /// Hands back what still runs, says goodbye and takes the registrations away.
    async fn leave(&mut self, ended: &mut mpsc::UnboundedReceiver<EndedAttempt>) {
        while let Ok(last) = ended.try_recv() {
            self.on_ended(vec![last]).await;
        }
        self.nodes.values_mut().for_each(HostedNode::abort_all);
        for node in self.agent.on_leave() {
            for assignment in node.handed_back {
                tracing::info!(job = %assignment.spec.id, "handed back");
                negative_acknowledge(&self.nats, &assignment.ack_subject, 0).await;
            }
            let reason = if node.was_down { "the worker stopped while the node was down" } else { "the worker stopped" };
            let bye = Goodbye { node: node.node, worker: self.identity.name.clone(), incarnation: node.incarnation, reason: reason.into() };
            let _ = self.nats.publish(subjects::goodbye(&bye.node), &bye).await;
            let removal = self.registrations.delete(&bye.node);
            if !matches!(tokio::time::timeout(REGISTER_PAUSE, removal).await, Ok(Ok(()))) {
                tracing::warn!(node = bye.node, "its registration could not be removed: the detector will find it silent");
            }
        }
    }
}
