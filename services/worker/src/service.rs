//! The worker's loop: assignments, orders, ended attempts and the passing of time, each handled at once and never awaited
//! long, because a late heartbeat looks like a dead node.

mod faults;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_nats::Message;
use faultline_engine::agent::{Agent, AgentAction, AgentNode, AttemptConfig, Deposed, SyncAnswer};
use faultline_engine::job::{Assignment, AttemptId, AttemptOutcome, EndedAttempt, Told};
use faultline_protocol::messages::{
    AssignBatch, EndedBatch, EpochRefused, FaultOrder, Goodbye, KillAttempts, NodeRegistration, Pong, SyncOrder, WorkerSync,
};
use faultline_protocol::streams;
use faultline_protocol::subjects::{self, ControlVerb};
use faultline_runtime::admin::Readiness;
use faultline_runtime::clock::random_seed;
use faultline_runtime::connection::Connection;
use faultline_runtime::events::EventSink;
use faultline_runtime::malformed::PlainReader;
use faultline_runtime::seldom::Seldom;
use faultline_runtime::service::Process;
use faultline_runtime::shutdown::Shutdown;
use faultline_runtime::wire::Incoming;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::attempt::{Attempt, Interruption, Shared, UNCOMMITTED_EVERY, negative_acknowledge};
use crate::birth::{OpenDevices, REGISTER_PAUSE, hosted_node};
use crate::dcgm::GpuIdentity;
use crate::executor::{AttemptContext, AttemptIdentity, Registry};
use crate::metrics::WorkerMetrics;
use crate::node::{HostedNode, Task};
use crate::refusing::Refusing;
use crate::registrations::Registrations;
use crate::settings::{Identity, Settings};
use crate::sync;

/// How often the fault injectors are asked.
const FAULT_TICK: Duration = Duration::from_millis(100);
/// The most ended attempts that are taken together.
const ENDED_BATCH: usize = 2048;
/// The least time between two reports of ended attempts.
const REPORT_EVERY: Duration = Duration::from_millis(2);
/// Of `/readyz`, until there are nodes with conditions of their own.
pub(crate) const NODES_CONDITION: &str = "nodes";
/// Of `/readyz`: the leader is not believed.
const REFUSING_CONDITION: &str = "refusing";

/// What a worker is told over plain subjects.
pub(crate) struct Heard {
    assignments: Incoming<Message>,
    orders: Incoming<Message>,
    common_orders: Incoming<Message>,
}

impl Heard {
    pub(crate) async fn subscribe(nats: &Connection, name: &str) -> anyhow::Result<Self> {
        let hear = async |subject: String, what: &'static str| nats.hear(subject).await.map_err(anyhow::Error::msg).context(what);
        Ok(Self {
            assignments: hear(subjects::assign(name), "subscribing to assignments").await?,
            orders: hear(subjects::ctl_filter(name), "subscribing to orders").await?,
            common_orders: hear(subjects::CTL_ALL_SYNC.to_owned(), "subscribing to orders").await?,
        })
    }
}

/// Runs a worker under its name, until it is told to stop.
pub(crate) async fn run(
    identity: Identity,
    settings: Settings,
    registry: Registry,
    open_devices: &OpenDevices,
    (nats, heard): (Connection, Heard),
    process: &Process,
) -> anyhow::Result<()> {
    let shutdown = process.shutdown.clone();
    let Heard { mut assignments, mut orders, mut common_orders } = heard;
    let (ended, mut ended_receiver) = mpsc::unbounded_channel();
    let mut worker = Worker::new(identity, settings, registry, open_devices, nats, process, ended).await?;
    worker.register_all();

    let mut heartbeat = tokio::time::interval(Duration::from_millis(worker.settings.heartbeat_ms));
    let mut fault_tick = tokio::time::interval(FAULT_TICK);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    fault_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::with_capacity(ENDED_BATCH);
    let mut connections = worker.nats.connections();
    let (stop, hurry) = (shutdown.token(), shutdown.hurry());
    let (mut stopped, mut hurried) = (std::pin::pin!(stop.cancelled()), std::pin::pin!(hurry.cancelled()));
    let mut drain_deadline = None;
    let mut next_report = Instant::now();
    loop {
        let draining = async {
            match drain_deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        // Heartbeats before everything that others decide the pace of.
        tokio::select! {
            biased;
            () = &mut hurried => break,
            () = draining => break,
            () = &mut stopped, if drain_deadline.is_none() => {
                drain_deadline = Some(worker.start_draining().await);
            }
            Ok(()) = connections.changed() => worker.on_heartbeat_tick().await,
            _ = heartbeat.tick() => worker.on_heartbeat_tick().await,
            _ = fault_tick.tick(), if worker.nodes.values().any(HostedNode::ages) => worker.on_fault_tick().await,
            count = ended_soon(&mut ended_receiver, &mut batch, next_report) => {
                if count > 0 {
                    next_report = Instant::now() + REPORT_EVERY;
                    worker.on_ended(std::mem::take(&mut batch)).await;
                }
            }
            Some(message) = common_orders.next() => worker.on_order(message).await,
            Some(message) = orders.next() => worker.on_order(message).await,
            Some(message) = assignments.next() => worker.on_assignments(&message).await,
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
async fn ended_soon(ended: &mut mpsc::UnboundedReceiver<EndedAttempt>, batch: &mut Vec<EndedAttempt>, not_before: Instant) -> usize {
    tokio::time::sleep_until(not_before).await;
    ended.recv_many(batch, ENDED_BATCH).await
}

/// What a heartbeat has beside the attempts that it names, and what it takes to name one, in bytes.
const HEARTBEAT_BYTES: usize = 8 << 10;
const NAMED_BYTES: usize = 128;

/// A node offers as many slots as its heartbeat can name: an attempt that is not named counts as lost.
fn slots_that_fit(slots: u32, most_bytes: usize) -> u32 {
    let fit = u32::try_from(most_bytes.saturating_sub(HEARTBEAT_BYTES) / NAMED_BYTES).unwrap_or(u32::MAX);
    if fit < slots {
        tracing::warn!(
            slots,
            fit,
            most_bytes,
            "fewer slots are offered than set: a heartbeat that names so many attempts is larger than NATS allows"
        );
    }
    slots.min(fit)
}

struct Worker {
    identity: Identity,
    settings: Settings,
    registry: Registry,
    nats: Connection,
    events: EventSink,
    shared: Arc<Shared>,
    shutdown: Shutdown,
    readiness: Readiness,
    metrics: WorkerMetrics,
    /// What the GPUs of each node are called.
    identities: BTreeMap<String, Arc<[GpuIdentity]>>,
    registrations: Registrations,
    /// The number of each node's life, which its registrations tell.
    lives: BTreeMap<String, u64>,
    /// Leaders that are refused.
    refusing: Refusing,
    /// What is decided; `nodes` has what it is decided about.
    agent: Agent,
    nodes: BTreeMap<String, HostedNode>,
    /// How far the time of the injected faults is ahead of this process's own: it begins as the cluster's, so that all workers agree on
    /// outages, and never jumps, so that no fault is skipped or held.
    faults_ahead_ms: i64,
    plain: PlainReader,
    /// How many syncs were answered.
    syncs: u64,
}

impl Worker {
    async fn new(
        identity: Identity,
        settings: Settings,
        registry: Registry,
        open_devices: &OpenDevices,
        nats: Connection,
        process: &Process,
        ended: mpsc::UnboundedSender<EndedAttempt>,
    ) -> anyhow::Result<Self> {
        let events = EventSink::new(&nats, &identity.name);
        let store = nats.open_bucket(streams::KV_NODES).await?;
        let registrations = Registrations::new(&nats, store, &events, &process.readiness, &process.shutdown);
        let seed = settings.seed.unwrap_or_else(random_seed);
        let settings = Settings { slots: slots_that_fit(settings.slots, nats.most_bytes()), ..settings };
        let (mut nodes, mut specs, mut lives) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        for index in identity.first_node..identity.first_node + settings.nodes {
            let (spec, node, life) =
                hosted_node(&identity, &settings, &registry, (&nats, registrations.store()), index, seed, open_devices).await?;
            lives.insert(spec.node.clone(), life);
            nodes.insert(spec.node.clone(), node);
            specs.push(spec);
        }
        let faults_ahead_ms = nats.unix_ms().cast_signed().saturating_sub(nats.steady_ms().cast_signed());
        let metrics = WorkerMetrics::new(&process.metrics, &registry);
        let identities = nodes.iter().map(|(name, node)| (name.clone(), node.identities(name).into())).collect();
        let shared = Arc::new(Shared {
            metrics: metrics.clone(),
            nats: nats.clone(),
            events: events.clone(),
            attempts: AttemptConfig { retry_base_ms: settings.retry_base_ms, retry_cap_ms: settings.retry_cap_ms },
            terminal_ttl_s: settings.terminal_ttl_s,
            uncommitted: Seldom::new(UNCOMMITTED_EVERY),
            ended,
        });
        Ok(Self {
            identity,
            settings,
            registry,
            plain: PlainReader::new(&nats),
            syncs: 0,
            nats,
            events,
            shared,
            shutdown: process.shutdown.clone(),
            readiness: process.readiness.clone(),
            metrics,
            identities,
            registrations,
            lives,
            refusing: Refusing::default(),
            agent: Agent::new(specs.into_iter().map(AgentNode::new)),
            nodes,
            faults_ahead_ms,
        })
    }

    fn register_all(&mut self) {
        for node in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.readiness.unmet(&node, format!("{node} is not registered yet"));
            self.register(&node);
        }
        self.shutdown.spawn("registrations", self.registrations.clone().keep());
        self.readiness.met(NODES_CONDITION);
        let nodes = self.nodes.len();
        self.readiness.describe(format!("hosts {nodes} node{}", if nodes == 1 { "" } else { "s" }));
        tracing::info!(nodes = self.nodes.len(), kinds = self.registry.kinds().collect::<Vec<_>>().join(","), "worker ready");
    }

    fn register(&self, node: &str) {
        let (Some(known), Some(life)) = (self.agent.node(node), self.lives.get(node)) else { return };
        self.registrations.register(NodeRegistration { spec: known.spec().clone(), registered_at_ms: self.nats.unix_ms(), life: *life });
    }

    async fn on_assignments(&mut self, message: &Message) {
        let Some(AssignBatch { epoch, assignments }) = self.plain.read::<AssignBatch>(subjects::ASSIGN_ALL, message) else { return };
        let jobs = assignments.len();
        let (assignments, strange): (Vec<_>, Vec<_>) =
            assignments.into_iter().partition(|assignment| subjects::is_ack(&assignment.ack_subject) && assignment.spec.validate().is_ok());
        if !strange.is_empty() {
            tracing::warn!(epoch, jobs = strange.len(), "assignments ignored: invalid job or invalid ack subject");
        }
        let attempts: Vec<AttemptId> = assignments.iter().map(|assignment| assignment.attempt).collect();
        match self.agent.on_assignments(epoch, assignments, self.nats.steady_ms()) {
            Ok(actions) => {
                self.believe();
                self.perform(actions);
            }
            Err(Deposed { newest }) => {
                tracing::warn!(epoch, newest, jobs, "assignments of a leader refused: a higher epoch is known");
                self.refuse(epoch, newest, attempts).await;
            }
        }
    }

    /// Tells a leader that it is not believed. One that leads all the same, since the bucket LEASE was made anew, gets a higher epoch.
    async fn refuse(&mut self, epoch: u64, newest: u64, attempts: Vec<AttemptId>) {
        self.refusing.on_refused(epoch, newest, Instant::now());
        let refused = Some(EpochRefused { newest, attempts });
        let sync = WorkerSync { worker: self.identity.name.clone(), epoch, nodes: Vec::new(), refused };
        if let Err(error) = self.nats.publish(subjects::SCHED_SYNCED, &sync).await {
            tracing::debug!(%error, "refusal not sent to the leader");
        }
    }

    fn believe(&mut self) {
        self.refusing = Refusing::default();
        self.readiness.met(REFUSING_CONDITION);
    }

    fn perform(&mut self, actions: Vec<AgentAction>) {
        for action in actions {
            match action {
                AgentAction::Start(assignment) => self.start(assignment),
                AgentAction::Nak { ack_subject, delay_ms } => {
                    let nats = self.nats.clone();
                    self.nats.spawner().spawn(async move { negative_acknowledge(&nats, &ack_subject, delay_ms).await });
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
            started_at_ms: self.nats.unix_ms(),
            jobs_generation: self.nats.generation(streams::JOBS).number,
        };
        let handle = Some(self.nats.spawner().spawn(attempt.run()).abort_handle());
        node.start(id, Task { progress, stop, interruption, handle });
    }

    async fn on_order(&mut self, message: Message) {
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
                    self.on_kill(&order).await;
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
        let SyncAnswer { untold, nodes } = match self.agent.on_sync(order.epoch, self.nats.steady_ms()) {
            Ok(answer) => answer,
            Err(Deposed { newest }) => return self.refuse(order.epoch, newest, Vec::new()).await,
        };
        self.believe();
        self.syncs += 1;
        self.report_ended(untold).await;
        for sync in sync::messages(nodes, &self.identity.name, order.epoch, self.syncs, self.nats.most_bytes()) {
            if let Err(error) = self.nats.publish(subjects::SCHED_SYNCED, &sync).await {
                tracing::debug!(%error, "the sync was not answered");
            }
        }
        self.on_heartbeat_tick().await;
    }

    async fn on_kill(&mut self, order: &KillAttempts) {
        let actions = match self.agent.on_kill(order.epoch, &order.attempts) {
            Ok(actions) => actions,
            Err(Deposed { newest }) => return self.refuse(order.epoch, newest, Vec::new()).await,
        };
        if !actions.is_empty() {
            tracing::warn!(attempts = actions.len(), reason = order.reason, "attempts killed");
        }
        self.perform(actions);
    }

    async fn on_heartbeat_tick(&mut self) {
        let (now_ms, sent_at_ms) = (self.nats.steady_ms(), self.nats.unix_ms());
        match self.refusing.standing(Instant::now()) {
            Some(reason) => self.readiness.unmet(REFUSING_CONDITION, reason),
            None => self.readiness.met(REFUSING_CONDITION),
        }
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
            if let Some(heartbeat) = node.heartbeat(agent, sent_at_ms)
                && let Err(error) = self.nats.publish(subjects::heartbeat(&heartbeat.node), &heartbeat).await
            {
                tracing::debug!(node = heartbeat.node, %error, "no heartbeat");
            }
        }
    }

    async fn on_ended(&mut self, ended: Vec<EndedAttempt>) {
        let ended = self.agent.on_ended(ended);
        for attempt in &ended {
            self.metrics.on_ended(attempt.outcome);
            if let Some(node) = self.nodes.get_mut(&attempt.node) {
                node.finish(attempt.attempt);
            }
            let EndedAttempt { job, attempt: id, node, outcome, detail, told, .. } = attempt;
            match (outcome, told) {
                (AttemptOutcome::Cancelled, _) | (_, Told::Unanswered) => {
                    tracing::warn!(%job, attempt = %id, node, why = detail, "attempt stopped")
                }
                _ => tracing::debug!(%job, attempt = %id, node, ?outcome, "attempt ended"),
            }
        }
        self.report_ended(ended).await;
    }

    async fn report_ended(&mut self, ended: Vec<EndedAttempt>) {
        let parts = self.nats.parts(ended, |ended| EndedBatch { worker: self.identity.name.clone(), ended });
        for batch in &parts.messages {
            if let Err(error) = self.nats.publish(subjects::SCHED_ENDED, batch).await {
                tracing::debug!(%error, "ended attempts were not reported: heartbeats will");
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.agent.running() == 0
    }

    async fn start_draining(&mut self) -> Instant {
        tracing::info!(running = self.agent.running(), "stopping: nothing new is taken, attempts finish");
        self.agent.on_drain();
        self.on_heartbeat_tick().await;
        Instant::now() + Duration::from_millis(self.settings.drain_limit_ms)
    }

    /// Hands back what still runs, says goodbye and takes the registrations away.
    async fn leave(&mut self, ended: &mut mpsc::UnboundedReceiver<EndedAttempt>) {
        while let Ok(last) = ended.try_recv() {
            self.on_ended(vec![last]).await;
        }
        self.nodes.values_mut().for_each(HostedNode::abort_all);
        self.registrations.stop();
        for node in self.agent.on_leave() {
            for assignment in node.handed_back {
                tracing::info!(job = %assignment.spec.id, "handed back");
                negative_acknowledge(&self.nats, &assignment.ack_subject, 0).await;
            }
            let reason = if node.was_down { "the worker stopped while the node was down" } else { "the worker stopped" };
            let bye = Goodbye { node: node.node, worker: self.identity.name.clone(), incarnation: node.incarnation, reason: reason.into() };
            let _ = self.nats.publish(subjects::goodbye(&bye.node), &bye).await;
            let removal = self.registrations.store().remove(&bye.node, None);
            if !matches!(tokio::time::timeout(REGISTER_PAUSE, removal).await, Ok(Ok(()))) {
                tracing::warn!(node = bye.node, "its registration could not be removed: the detector will find it silent");
            }
        }
    }
}
