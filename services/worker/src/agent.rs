//! The worker's loop: assignments, orders, ended attempts and the passing of time, each handled at once and never awaited
//! long, because a late heartbeat looks like a dead node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::kv;
use faultline_engine::fault::{FaultInjector, FaultyNode};
use faultline_engine::job::{Assignment, AttemptOutcome, EndedAttempt};
use faultline_engine::node::NodeSpec;
use faultline_protocol::codec::{self, DecodeError, Message};
use faultline_protocol::messages::{
    AssignBatch, EndedBatch, EventKind, FaultOrder, Goodbye, KillAttempts, Level, NodeRegistration, Pong, SyncOrder, WorkerSync,
};
use faultline_protocol::streams;
use faultline_protocol::subjects::{self, ControlVerb};
use faultline_runtime::clock::{random_seed, unix_ms};
use faultline_runtime::connect::{Nats, kv_put};
use faultline_runtime::events::EventSink;
use faultline_runtime::micro;
use faultline_runtime::shutdown::Shutdown;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Settings;
use crate::attempt::{Attempt, Interruption, Shared, negative_acknowledge};
use crate::executor::{AttemptContext, Registry};
use crate::node::{FaultNews, HostedNode, LocalAttempt, Refusal};
use crate::telemetry::open_devices;

/// How often the fault injectors are asked.
const FAULT_TICK: Duration = Duration::from_millis(100);
/// How long a job stays away from a node that had no room for it after all: about the time after which a zombie is told to stop.
const NO_ROOM_PAUSE_MS: u64 = 1_000;
/// The most ended attempts that are reported in one message.
const ENDED_BATCH: usize = 2048;
/// The least time between two reports of ended attempts.
const REPORT_EVERY: Duration = Duration::from_millis(2);
const REGISTER_PAUSE: Duration = Duration::from_millis(500);

/// Runs a worker with the four kinds that come with it, until it is told to stop.
pub async fn run(settings: Settings, nats: Nats, shutdown: Shutdown) -> anyhow::Result<()> {
    run_with(settings, Registry::with_defaults(), nats, shutdown).await
}

/// Runs a worker with kinds of your own.
pub async fn run_with(settings: Settings, registry: Registry, nats: Nats, shutdown: Shutdown) -> anyhow::Result<()> {
    if !nats.wait_until_provisioned(&shutdown.token()).await {
        return Ok(());
    }
    let mut assignments = nats.client.subscribe(subjects::assign(&settings.name)).await.context("subscribing to assignments")?;
    let mut orders = nats.client.subscribe(subjects::ctl_filter(&settings.name)).await.context("subscribing to orders")?;
    let mut common_orders = nats.client.subscribe(subjects::CTL_ALL_SYNC).await.context("subscribing to orders")?;
    let _service = micro::register(&nats, "worker", &settings.name).await;
    let (ended, mut ended_receiver) = mpsc::unbounded_channel();
    let mut worker = Worker::new(settings, registry, nats, shutdown.clone(), ended).await?;
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
    worker.nats.close().await;
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
    settings: Settings,
    registry: Registry,
    nats: Nats,
    events: EventSink,
    shared: Arc<Shared>,
    shutdown: Shutdown,
    registrations: kv::Store,
    nodes: BTreeMap<String, HostedNode>,
    /// Ends the task that registers a node, when a newer life of it registers.
    registering: BTreeMap<String, CancellationToken>,
    /// The highest epoch seen: what an older leader says is refused.
    epoch: u64,
    undecodable: u64,
}

impl Worker {
    async fn new(
        settings: Settings,
        registry: Registry,
        nats: Nats,
        shutdown: Shutdown,
        ended: mpsc::UnboundedSender<EndedAttempt>,
    ) -> anyhow::Result<Self> {
        let events = EventSink::new(&nats, &settings.name);
        let registrations = nats.bucket(streams::KV_NODES).await?;
        let seed = settings.seed.unwrap_or_else(random_seed);
        let mut nodes = BTreeMap::new();
        for index in settings.first_node..settings.first_node + settings.nodes {
            let node = hosted_node(&settings, &registry, &registrations, index, seed).await?;
            nodes.insert(node.spec.node.clone(), node);
        }
        let shared = Arc::new(Shared {
            nats: nats.clone(),
            events: events.clone(),
            retry_base_ms: settings.retry_base_ms,
            retry_cap_ms: settings.retry_cap_ms,
            terminal_ttl_s: settings.terminal_ttl_s,
            ended,
        });
        Ok(Self {
            settings,
            registry,
            nats,
            events,
            shared,
            shutdown,
            registrations,
            nodes,
            registering: BTreeMap::new(),
            epoch: 0,
            undecodable: 0,
        })
    }

    fn register_all(&mut self) {
        for node in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.register(&node);
        }
        tracing::info!(nodes = self.nodes.len(), kinds = self.registry.kinds().collect::<Vec<_>>().join(","), "worker ready");
    }

    /// Writes the node's registration, again and again until it is there, without holding up the loop.
    fn register(&mut self, node: &str) {
        let Some(hosted) = self.nodes.get(node) else { return };
        let registration = NodeRegistration { spec: hosted.spec.clone(), registered_at_ms: unix_ms() };
        let superseded = self.shutdown.token().child_token();
        if let Some(older) = self.registering.insert(node.to_owned(), superseded.clone()) {
            older.cancel();
        }
        let (store, node, events) = (self.registrations.clone(), node.to_owned(), self.events.clone());
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
            let mut event = events.event(Level::Info, EventKind::NodeJoined, format!("incarnation {}", registration.spec.incarnation));
            event.node = Some(node);
            events.send(event).await;
        });
    }

    fn on_assignments(&mut self, message: &async_nats::Message) {
        let Some(batch) = self.decoded::<AssignBatch>(message) else { return };
        if batch.epoch < self.epoch {
            tracing::warn!(
                epoch = batch.epoch,
                newest = self.epoch,
                jobs = batch.assignments.len(),
                "assignments of a deposed leader refused"
            );
            return;
        }
        self.epoch = batch.epoch;
        for assignment in batch.assignments {
            self.start(assignment);
        }
    }

    fn start(&mut self, assignment: Assignment) {
        let checked = match self.nodes.get(&assignment.node) {
            Some(node) => node.check(&assignment),
            None => Err(Refusal::OtherIncarnation),
        };
        match checked {
            // A dead machine says nothing; a duplicate needs no word.
            Err(Refusal::Down | Refusal::Duplicate) => return,
            // The leader believes that there is room. Until it knows better it would place the job here again and again.
            Err(refusal @ Refusal::NoRoom) => return self.refuse(&assignment, refusal.as_str(), NO_ROOM_PAUSE_MS),
            Err(refusal) => return self.refuse(&assignment, refusal.as_str(), 0),
            Ok(()) => {}
        }
        // A kind that is not here cannot be a placement's mistake: nodes tell their kinds. The executor says what is wrong.
        let Some(executor) = self.registry.get(&assignment.spec.kind).or_else(|| self.registry.get(assignment.spec.class())) else {
            return self.refuse(&assignment, "this worker has no executor for its kind", 0);
        };
        let Some(node) = self.nodes.get_mut(&assignment.node) else { return };
        let (stop, interruption) = (CancellationToken::new(), Arc::new(Interruption::new()));
        let seed = assignment.attempt.to_u128() as u64;
        let context = AttemptContext::new(
            Arc::new(assignment.spec.clone()),
            seed,
            assignment.gpus.clone(),
            Arc::clone(&node.conditions),
            stop.child_token(),
        );
        let progress = context.progress();
        let assignment = Arc::new(assignment);
        let started_at_ms = unix_ms();
        let attempt = Attempt {
            shared: Arc::clone(&self.shared),
            assignment: Arc::clone(&assignment),
            executor,
            context,
            stop: stop.clone(),
            interruption: Arc::clone(&interruption),
            started_at_ms,
        };
        tracing::debug!(job = %assignment.spec.id, attempt = %assignment.attempt, node = assignment.node, "attempt starts");
        let task = tokio::spawn(attempt.run()).abort_handle();
        node.start(LocalAttempt { assignment, started_at_ms, progress, stop, interruption, task: Some(task) });
    }

    /// Gives an assignment back, so that it need not wait for the ack timeout.
    fn refuse(&self, assignment: &Assignment, why: &'static str, retry_delay_ms: u64) {
        tracing::warn!(job = %assignment.spec.id, attempt = %assignment.attempt, node = assignment.node, why, "assignment refused");
        let ended = EndedAttempt {
            job: assignment.spec.id,
            attempt: assignment.attempt,
            node: assignment.node.clone(),
            outcome: AttemptOutcome::Lost,
            detail: format!("refused: {why}"),
            at_ms: unix_ms(),
            retry_delay_ms,
        };
        let _ = self.shared.ended.send(ended);
        let (nats, ack_subject) = (self.nats.clone(), assignment.ack_subject.clone());
        tokio::spawn(async move { negative_acknowledge(&nats, &ack_subject, retry_delay_ms).await });
    }

    async fn on_order(&mut self, message: async_nats::Message) {
        match ControlVerb::of_subject(&message.subject) {
            Some(ControlVerb::Ping) => {
                let nodes = self.nodes.values().filter(|node| node.answers()).map(|node| node.spec.node.clone()).collect();
                if let Some(reply_to) = message.reply {
                    let _ = self.nats.reply(reply_to, &Pong { worker: self.settings.name.clone(), nodes }).await;
                }
            }
            Some(ControlVerb::Sync) => {
                if let Some(order) = self.decoded::<SyncOrder>(&message) {
                    self.on_sync(order).await;
                }
            }
            Some(ControlVerb::Kill) => {
                if let Some(order) = self.decoded::<KillAttempts>(&message) {
                    self.on_kill(&order);
                }
            }
            Some(ControlVerb::Fault) => {
                if let Some(order) = self.decoded::<FaultOrder>(&message) {
                    self.on_fault_order(&order).await;
                }
            }
            None => tracing::warn!(subject = %message.subject, "an order that is not known"),
        }
    }

    async fn on_sync(&mut self, order: SyncOrder) {
        if order.epoch < self.epoch {
            return;
        }
        self.epoch = order.epoch;
        let nodes = self.nodes.values().filter(|node| node.answers()).map(HostedNode::sync).collect();
        let sync = WorkerSync { worker: self.settings.name.clone(), epoch: order.epoch, nodes };
        if let Err(error) = self.nats.publish(subjects::SCHED_SYNCED, &sync).await {
            tracing::debug!(%error, "the sync was not answered");
        }
        self.on_heartbeat_tick().await;
    }

    fn on_kill(&mut self, order: &KillAttempts) {
        if order.epoch < self.epoch {
            return;
        }
        for attempt in &order.attempts {
            // What is cut off hears no order.
            let mut hearing = self.nodes.values().filter(|node| !node.conditions.is_cut_off());
            if let Some(local) = hearing.find_map(|node| node.attempts.get(attempt)) {
                tracing::warn!(job = %local.assignment.spec.id, %attempt, reason = order.reason, "attempt killed");
                local.stop.cancel();
            }
        }
    }

    async fn on_fault_order(&mut self, order: &FaultOrder) {
        let now_ms = unix_ms();
        let news = match self.nodes.get_mut(&order.node) {
            Some(node) => node.order(order, now_ms),
            None => return tracing::warn!(node = order.node, "a fault was ordered for a node that is not here"),
        };
        self.tell_faults(&order.node, news).await;
    }

    async fn on_fault_tick(&mut self) {
        let now_ms = unix_ms();
        let news: Vec<(String, Vec<FaultNews>)> =
            self.nodes.iter_mut().map(|(name, node)| (name.clone(), node.age(now_ms))).filter(|(_, news)| !news.is_empty()).collect();
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
        for node in self.nodes.values_mut() {
            node.sample(now_ms);
            if let Some(heartbeat) = node.heartbeat(now_ms)
                && let Err(error) = self.nats.publish(subjects::heartbeat(&heartbeat.node), &heartbeat).await
            {
                tracing::debug!(node = heartbeat.node, %error, "no heartbeat");
            }
        }
    }

    async fn on_ended(&mut self, ended: Vec<EndedAttempt>) {
        for attempt in &ended {
            if let Some(node) = self.nodes.get_mut(&attempt.node) {
                node.finish(attempt.attempt);
            }
            if attempt.outcome == AttemptOutcome::Committed {
                tracing::debug!(job = %attempt.job, attempt = %attempt.attempt, node = attempt.node, "committed");
            }
        }
        let batch = EndedBatch { worker: self.settings.name.clone(), ended };
        if let Err(error) = self.nats.publish(subjects::SCHED_ENDED, &batch).await {
            tracing::debug!(%error, "ended attempts were not reported: heartbeats will");
        }
    }

    fn is_idle(&self) -> bool {
        self.nodes.values().all(|node| node.attempts.is_empty())
    }

    async fn start_draining(&mut self) -> tokio::time::Instant {
        let running: usize = self.nodes.values().map(|node| node.attempts.len()).sum();
        tracing::info!(running, "stopping: nothing new is taken, attempts finish");
        for node in self.nodes.values_mut() {
            node.leaving = true;
        }
        self.on_heartbeat_tick().await;
        tokio::time::Instant::now() + Duration::from_millis(self.settings.drain_limit_ms)
    }

    /// Hands back what still runs, says goodbye and takes the registrations away.
    async fn leave(&mut self, ended: &mut mpsc::UnboundedReceiver<EndedAttempt>) {
        while let Ok(last) = ended.try_recv() {
            self.on_ended(vec![last]).await;
        }
        for node in self.nodes.values_mut() {
            let was_down = node.is_down();
            for attempt in node.drop_attempts() {
                tracing::info!(job = %attempt.assignment.spec.id, "handed back");
                negative_acknowledge(&self.nats, &attempt.assignment.ack_subject, 0).await;
            }
            let bye = Goodbye {
                node: node.spec.node.clone(),
                worker: self.settings.name.clone(),
                incarnation: node.spec.incarnation,
                reason: if was_down { "the worker stopped while the node was down".into() } else { "the worker stopped".into() },
            };
            let _ = self.nats.publish(subjects::goodbye(&bye.node), &bye).await;
            let removal = self.registrations.delete(&bye.node);
            if !matches!(tokio::time::timeout(REGISTER_PAUSE, removal).await, Ok(Ok(()))) {
                tracing::warn!(node = bye.node, "its registration could not be removed: the detector will find it silent");
            }
        }
    }

    /// What cannot be read is counted and left alone: a poisoned message stops nobody.
    fn decoded<M: Message>(&mut self, message: &async_nats::Message) -> Option<M> {
        match codec::decode(message.headers.as_ref(), &message.payload) {
            Ok(decoded) => Some(decoded),
            Err(error) => {
                self.note_undecodable(&message.subject, &error);
                None
            }
        }
    }

    fn note_undecodable(&mut self, subject: &str, error: &DecodeError) {
        self.undecodable += 1;
        if self.undecodable.is_power_of_two() {
            tracing::warn!(subject, %error, so_far = self.undecodable, "a message cannot be read");
        }
    }
}

async fn hosted_node(
    settings: &Settings,
    registry: &Registry,
    registrations: &kv::Store,
    index: usize,
    seed: u64,
) -> anyhow::Result<HostedNode> {
    let name = format!("gpu-node-{index:02}");
    let incarnation = next_incarnation(registrations, &name).await;
    let devices = open_devices(settings.telemetry, index).with_context(|| format!("the GPUs of {name}"))?;
    let gpus = u8::try_from(devices.descriptors().len()).unwrap_or(u8::MAX);
    let injector =
        FaultInjector::new(settings.faults.profile(index, settings.fault_time_scale), seed, FaultyNode { index, incarnation, gpus });
    let spec = NodeSpec {
        worker: settings.name.clone(),
        incarnation,
        gpus: devices.descriptors(),
        rack: faultline_engine::device::default_node(index).rack,
        slots: settings.slots,
        kinds: registry.kinds().map(str::to_owned).collect(),
        fault_percent_per_min: injector.percent_per_min(),
        telemetry_source: devices.kind().to_owned(),
        node: name,
    };
    Ok(HostedNode::new(spec, devices, injector))
}

/// One more than the node's former life. A life that starts too low would never be believed, so this waits until it can be read.
async fn next_incarnation(registrations: &kv::Store, node: &str) -> u64 {
    loop {
        match registrations.entry(node).await {
            Ok(None) => return 1,
            Ok(Some(entry)) if entry.operation != kv::Operation::Put => return 1,
            Ok(Some(entry)) => match codec::decode_body::<NodeRegistration>(&entry.value) {
                Ok(known) => return known.spec.incarnation + 1,
                Err(error) => {
                    tracing::warn!(node, %error, "its former registration cannot be read: going on from the bucket's revision");
                    return entry.revision + 1;
                }
            },
            Err(error) => tracing::warn!(node, %error, "its former registration cannot be read yet"),
        }
        tokio::time::sleep(REGISTER_PAUSE).await;
    }
}
