//! One term of leadership: the only loop that feeds the engine, and the tasks around it. Everything ends with the term.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_nats::Subscriber;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::kv;
use async_nats::jetstream::stream::Stream;
use faultline_engine::job::Priority;
use faultline_engine::ledger::LedgerSnapshot;
use faultline_engine::scheduler::{Action, Beat, PendingMessage, RunningSign, Scheduler, SyncedNode};
use faultline_protocol::codec;
use faultline_protocol::messages::{
    CancelAnswer, CancelOutcome, CancelReply, CancelRequest, EndedBatch, EventKind, Goodbye, Heartbeat, Level, NodeSync, Query, QueryReply,
    Verdict, WorkerSync,
};
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock::{random_seed, unix_ms};
use faultline_runtime::connect::{Nats, kv_get};
use faultline_runtime::events::EventSink;
use faultline_runtime::lease::{Lease, RENEW_EVERY, Validity};
use faultline_runtime::malformed::PlainReader;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Settings;
use crate::cancel::{self, MAX_CANCELS, Past};
use crate::intake::{self, Input, Room, read_delivery};
use crate::ledger::LedgerTask;
use crate::metrics::SchedulerMetrics;
use crate::perform::Performer;
use crate::views::{self, Surroundings};

const TICK: Duration = Duration::from_millis(50);
const DELIVERIES: usize = 1024;
/// Jobs of one priority that are pulled and wait for room: at least this many, at most what was placed within a second.
const MIN_WINDOW: usize = 256;
const MAX_WINDOW: usize = 4096;
const STREAM_INFO_EVERY: Duration = Duration::from_secs(1);
const END_LIMIT: Duration = Duration::from_secs(1);

/// Leads until the lease is lost or `stop` is cancelled; gives the lease back in the second case.
pub(crate) async fn lead(
    settings: &Settings,
    nats: &Nats,
    events: &EventSink,
    metrics: &SchedulerMetrics,
    lease: Lease,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let (epoch, validity) = (lease.epoch, lease.validity());
    let term = Term { settings, nats, events, metrics, epoch, validity, over: stop.child_token(), tasks: TaskTracker::new() };
    let renewing = tokio::spawn(keep_lease(lease, term.over.clone()));
    let outcome = serve(&term).await;
    term.over.cancel();
    term.tasks.close();
    if tokio::time::timeout(END_LIMIT, term.tasks.wait()).await.is_err() {
        tracing::debug!(left = term.tasks.len(), "tasks of the ended term are still busy");
    }
    // Given back last: the successor must not lead while this term still acts.
    if let Ok(Some(lease)) = renewing.await
        && stop.is_cancelled()
    {
        lease.release().await;
    }
    outcome
}

/// Renews until the term ends or the lease is lost, which ends the term. Returns the lease while it is still ours.
async fn keep_lease(mut lease: Lease, term: CancellationToken) -> Option<Lease> {
    loop {
        tokio::select! {
            () = term.cancelled() => return Some(lease),
            () = tokio::time::sleep(RENEW_EVERY) => {}
        }
        if !lease.renew().await {
            term.cancel();
            return None;
        }
    }
}

/// What the parts of one term share.
struct Term<'a> {
    settings: &'a Settings,
    nats: &'a Nats,
    events: &'a EventSink,
    metrics: &'a SchedulerMetrics,
    epoch: u64,
    validity: Validity,
    /// Cancelled when the term ends.
    over: CancellationToken,
    tasks: TaskTracker,
}

/// The plain subjects that a leader hears.
struct Heard {
    heartbeats: Subscriber,
    goodbyes: Subscriber,
    verdicts: Subscriber,
    ended: Subscriber,
    synced: Subscriber,
    queries: Subscriber,
    cancels: Subscriber,
}

impl Heard {
    async fn subscribe(nats: &Nats) -> anyhow::Result<Self> {
        let to = |subject: &'static str| async move {
            nats.client.subscribe(subject).await.with_context(|| format!("subscribing to {subject}"))
        };
        Ok(Self {
            heartbeats: to(subjects::HEARTBEAT_ALL).await?,
            goodbyes: to(subjects::GOODBYE_ALL).await?,
            verdicts: to(subjects::VERDICT_ALL).await?,
            ended: to(subjects::SCHED_ENDED).await?,
            synced: to(subjects::SCHED_SYNCED).await?,
            queries: to(subjects::SCHED_QUERY).await?,
            cancels: to(subjects::SCHED_CANCEL).await?,
        })
    }
}

async fn serve(term: &Term<'_>) -> anyhow::Result<()> {
    let Heard { mut heartbeats, mut goodbyes, mut verdicts, mut ended, mut synced, mut queries, mut cancels } =
        Heard::subscribe(term.nats).await?;
    let (deliveries, mut delivered) = mpsc::channel(DELIVERIES);
    let (inputs, mut input) = mpsc::channel(DELIVERIES);
    let room = Arc::new(Room::default());
    let (mut registrations, mut controls) = intake::spawn_watches(term.nats, &term.over, &term.tasks);
    intake::spawn_pulls(term.nats, &room, &deliveries, &term.over, &term.tasks);
    let mut leader = Leader::begin(term, room, inputs).await;

    let mut tick = tokio::time::interval(TICK);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connections = term.nats.connections();
    connections.mark_unchanged();
    let mut batch = Vec::with_capacity(DELIVERIES);
    loop {
        let actions = tokio::select! {
            () = term.over.cancelled() => return Ok(()),
            count = delivered.recv_many(&mut batch, DELIVERIES) => {
                anyhow::ensure!(count > 0, "the pull loops ended");
                leader.on_deliveries(std::mem::take(&mut batch))
            }
            Some(message) = ended.next() => {
                let mut actions = leader.on_ended(&message);
                // Whatever else is here already goes into the same placement pass.
                while let Some(Some(message)) = ended.next().now_or_never() {
                    actions.extend(leader.on_ended(&message));
                }
                actions
            }
            Some(message) = heartbeats.next() => leader.on_heartbeat(&message),
            Some(message) = verdicts.next() => leader.on_verdict(&message),
            Some(message) = goodbyes.next() => leader.on_goodbye(&message),
            Some(message) = synced.next() => leader.on_synced(&message),
            Some(input) = input.recv() => leader.on_input(input),
            Some(entry) = registrations.recv() => leader.on_registration(&entry),
            Some(entry) = controls.recv() => intake::read_control(&entry).map(|input| leader.on_input(input)).unwrap_or_default(),
            Some(message) = queries.next() => { leader.on_query(message).await; Vec::new() }
            Some(message) = cancels.next() => { leader.on_cancel(message); Vec::new() }
            _ = tick.tick() => Vec::new(),
            _ = second.tick() => { leader.on_second(); Vec::new() }
            Ok(()) = connections.changed() => { leader.on_reconnected().await; Vec::new() }
        };
        // A term that was lost meanwhile must not act any more, nor a process that has just woken up and does not know yet that it
        // is deposed; what slips through is fenced by the epoch.
        if term.over.is_cancelled() || !term.validity.is_valid() {
            return Ok(());
        }
        leader.act(actions).await;
    }
}

/// Verdicts that were given before this term.
async fn read_verdicts(nats: &Nats) -> Vec<Verdict> {
    let Ok(store) = nats.bucket(streams::KV_HEALTH).await else { return Vec::new() };
    let Ok(keys) = store.keys().await else { return Vec::new() };
    let keys: Vec<String> = keys.try_collect().await.unwrap_or_default();
    let mut verdicts = Vec::new();
    for key in keys {
        match kv_get::<Verdict>(&store, &key).await {
            Ok(verdict) => verdicts.extend(verdict),
            Err(error) => tracing::warn!(%error, "a verdict cannot be read"),
        }
    }
    verdicts
}

/// What JOBS holds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct InStream {
    pub(crate) messages: u64,
    /// Those that no leader has pulled, by priority.
    pub(crate) not_pulled: [u64; Priority::ALL.len()],
}

async fn count_stream(nats: Nats, out: watch::Sender<InStream>, term: CancellationToken) {
    loop {
        tokio::select! {
            () = term.cancelled() => return,
            () = tokio::time::sleep(STREAM_INFO_EVERY) => {}
        }
        let stream: Result<Stream, _> = nats.jetstream.get_stream(streams::JOBS).await;
        let Ok(stream) = stream else { continue };
        let mut counted = InStream { messages: stream.cached_info().state.messages, ..*out.borrow() };
        for priority in Priority::ALL {
            let consumer: Result<Consumer<pull::Config>, _> =
                nats.jetstream.get_consumer_from_stream(streams::queue_consumer_name(priority), streams::JOBS).await;
            if let Ok(consumer) = consumer {
                counted.not_pulled[priority as usize] = consumer.cached_info().num_pending;
            }
        }
        out.send_replace(counted);
    }
}

struct Leader {
    scheduler: Scheduler,
    performer: Performer,
    settings: Settings,
    since_ms: u64,
    ledger: watch::Receiver<LedgerSnapshot>,
    in_stream: watch::Receiver<InStream>,
    metrics: SchedulerMetrics,
    room: Arc<Room>,
    placed_before: u64,
    window: usize,
    plain: PlainReader,
    /// Verdicts of nodes whose registration has not been read yet.
    pending_verdicts: Vec<Verdict>,
}

impl Leader {
    /// Knows nothing yet; asks the workers what they run.
    async fn begin(term: &Term<'_>, room: Arc<Room>, inputs: mpsc::Sender<Input>) -> Self {
        let Term { settings, nats, events, metrics, .. } = *term;
        let (ledger_sender, ledger) = watch::channel(LedgerSnapshot::default());
        let (in_stream_sender, in_stream) = watch::channel(InStream::default());
        term.tasks.spawn(count_stream(nats.clone(), in_stream_sender, term.over.clone()));
        let ledger_task = LedgerTask {
            nats: nats.clone(),
            events: events.clone(),
            terminal_ttl_s: settings.terminal_ttl_s,
            snapshot: ledger_sender,
            cancel: term.over.clone(),
        };
        term.tasks.spawn(ledger_task.run());
        let now_ms = unix_ms();
        let seed = settings.seed.unwrap_or_else(random_seed);
        let dead_letters = metrics.dead_letters.clone();
        let performer = Performer::new(nats, events, term.epoch, settings.terminal_ttl_s, inputs, term.tasks.clone(), dead_letters);
        let leader = Self {
            scheduler: Scheduler::new(settings.engine.clone(), settings.policy, seed, now_ms).under_epoch(term.epoch),
            performer,
            metrics: metrics.clone(),
            settings: settings.clone(),
            since_ms: now_ms,
            ledger,
            in_stream,
            room,
            placed_before: 0,
            window: MIN_WINDOW,
            plain: PlainReader::new(nats),
            pending_verdicts: read_verdicts(nats).await,
        };
        leader.performer.ask_for_sync(subjects::CTL_ALL_SYNC.to_owned()).await;
        leader
    }

    /// Lets the engine place, performs everything, and says how much more can be pulled.
    async fn act(&mut self, mut actions: Vec<Action>) {
        actions.extend(self.scheduler.on_tick(unix_ms()));
        #[cfg(debug_assertions)]
        self.scheduler.sanity_check();
        if !actions.is_empty() {
            self.performer.perform(actions).await;
        }
        for priority in Priority::ALL {
            let free = self.window.saturating_sub(self.scheduler.waiting_of(priority));
            // A fetch of a few messages from a deep backlog costs the server as much as one of hundreds.
            self.room.set(priority, if free < self.window / 4 { 0 } else { free });
        }
    }

    async fn on_reconnected(&mut self) {
        self.scheduler.on_reconnected(unix_ms());
        self.performer.ask_for_sync(subjects::CTL_ALL_SYNC.to_owned()).await;
    }

    fn on_second(&mut self) {
        let placed = self.scheduler.counters().placed;
        let last_second = usize::try_from(placed - self.placed_before).unwrap_or(MAX_WINDOW);
        self.placed_before = placed;
        self.window = last_second.clamp(MIN_WINDOW, MAX_WINDOW);
        let in_stream = *self.in_stream.borrow();
        self.metrics.on_second(&self.scheduler, self.performer.epoch, in_stream, self.ledger.borrow().clone(), unix_ms());
    }

    fn on_deliveries(&mut self, messages: Vec<async_nats::jetstream::Message>) -> Vec<Action> {
        let now_ms = unix_ms();
        let mut actions = Vec::new();
        for message in messages {
            match read_delivery(&message) {
                Ok(delivery) => actions.extend(self.scheduler.on_delivered(delivery, now_ms)),
                Err(poison) => {
                    self.performer.nats.note_malformed();
                    self.performer.bury_poison(message, poison);
                }
            }
        }
        actions
    }

    fn on_ended(&mut self, message: &async_nats::Message) -> Vec<Action> {
        let Some(batch) = self.plain.read::<EndedBatch>(subjects::SCHED_ENDED, message) else { return Vec::new() };
        let now_ms = unix_ms();
        batch.ended.iter().flat_map(|ended| self.scheduler.on_ended(ended, now_ms)).collect()
    }

    fn on_heartbeat(&mut self, message: &async_nats::Message) -> Vec<Action> {
        let Some(heartbeat) = self.plain.read::<Heartbeat>(subjects::HEARTBEAT_ALL, message) else { return Vec::new() };
        let running: Vec<RunningSign> = heartbeat
            .running
            .iter()
            .map(|brief| RunningSign {
                attempt: brief.attempt,
                job: brief.job,
                progress_permille: brief.progress_permille,
                epoch: brief.epoch,
            })
            .collect();
        let beat = Beat { incarnation: heartbeat.incarnation, running: &running, telemetry: &heartbeat.gpus, leaving: heartbeat.leaving };
        self.scheduler.on_heartbeat(&heartbeat.node, beat, unix_ms())
    }

    fn on_verdict(&mut self, message: &async_nats::Message) -> Vec<Action> {
        let Some(verdict) = self.plain.read::<Verdict>(subjects::VERDICT_ALL, message) else { return Vec::new() };
        self.judge(&verdict)
    }

    fn judge(&mut self, verdict: &Verdict) -> Vec<Action> {
        self.scheduler.on_verdict(&verdict.node, verdict.incarnation, verdict.health, &verdict.evidence, verdict.silence_ms, unix_ms())
    }

    fn on_goodbye(&mut self, message: &async_nats::Message) -> Vec<Action> {
        let Some(bye) = self.plain.read::<Goodbye>(subjects::GOODBYE_ALL, message) else { return Vec::new() };
        self.scheduler.on_left(&bye.node, bye.incarnation, unix_ms())
    }

    fn on_synced(&mut self, message: &async_nats::Message) -> Vec<Action> {
        let Some(sync) = self.plain.read::<WorkerSync>(subjects::SCHED_SYNCED, message) else { return Vec::new() };
        if sync.epoch != self.performer.epoch {
            return Vec::new();
        }
        let now_ms = unix_ms();
        let heard = |node: NodeSync| SyncedNode { node: node.node, incarnation: node.incarnation, running: node.running };
        sync.nodes.into_iter().flat_map(|node| self.scheduler.on_synced(heard(node), now_ms)).collect()
    }

    fn on_registration(&mut self, entry: &kv::Entry) -> Vec<Action> {
        match intake::read_registration(entry) {
            Ok(input) => self.on_input(input),
            Err(reason) => {
                self.plain.note(&entry.key, &reason);
                Vec::new()
            }
        }
    }

    fn on_input(&mut self, input: Input) -> Vec<Action> {
        let now_ms = unix_ms();
        match input {
            Input::Registered(spec) => {
                let node = spec.node.clone();
                let mut actions = self.scheduler.on_registered(spec, now_ms);
                let (known, pending) =
                    std::mem::take(&mut self.pending_verdicts).into_iter().partition(|verdict: &Verdict| verdict.node == node);
                self.pending_verdicts = pending;
                for verdict in &known {
                    actions.extend(self.judge(verdict));
                }
                actions
            }
            Input::Unregistered(node) => self.scheduler.on_left(&node, u64::MAX, now_ms),
            Input::Drain { node, draining } => {
                if self.scheduler.on_drain(&node, draining) && now_ms > self.since_ms + self.settings.engine.settle_ms {
                    self.tell_drained(node, draining);
                }
                Vec::new()
            }
            Input::RecordRead { job, read } => self.scheduler.on_record_read(job, read, now_ms),
            Input::Cancelled(job) => self.scheduler.on_cancelled(job, now_ms),
            Input::Pending(pending) => self.on_pending(&pending, now_ms),
        }
    }

    fn on_pending(&mut self, pending: &[PendingMessage], now_ms: u64) -> Vec<Action> {
        let actions = self.scheduler.on_pending(pending, now_ms);
        if !actions.is_empty() {
            tracing::info!(messages = actions.len(), of = pending.len(), "messages that nobody holds are delivered again");
        }
        actions
    }

    fn tell_drained(&self, node: String, draining: bool) {
        let kind = if draining { EventKind::NodeDrained } else { EventKind::NodeUndrained };
        let mut event =
            self.performer.events.event(Level::Info, kind, if draining { "nothing new is placed there" } else { "it takes jobs again" });
        event.node = Some(node);
        let events = self.performer.events.clone();
        self.performer.tasks.spawn(async move { events.send(event).await });
    }

    async fn on_query(&mut self, message: async_nats::Message) {
        let Some(reply_to) = message.reply.clone() else { return };
        let reply = match codec::decode_plain::<Query>(subjects::SCHED_QUERY, &message) {
            Ok(query) => {
                let around = Surroundings {
                    leader: &self.settings.name,
                    epoch: self.performer.epoch,
                    leader_since_ms: self.since_ms,
                    jobs_in_stream: self.in_stream.borrow().messages,
                    ledger: self.ledger.borrow().clone(),
                    now_ms: unix_ms(),
                };
                views::answer(&query, &self.scheduler, &around)
            }
            Err(error) => QueryReply::Error(error.to_string()),
        };
        if let Err(error) = self.performer.nats.reply(reply_to, &reply).await {
            tracing::debug!(%error, "a query was not answered");
        }
    }

    fn on_cancel(&mut self, message: async_nats::Message) {
        let Some(request) = self.plain.read::<CancelRequest>(subjects::SCHED_CANCEL, &message) else { return };
        let pasts: Vec<_> = request
            .jobs
            .iter()
            .map(|job| {
                let held = self.scheduler.job(*job);
                let past =
                    held.map(|held| Past { path: held.path(), failures: held.failures, requeues: held.requeues }).unwrap_or_default();
                (*job, past)
            })
            .collect();
        let (nats, events, inputs, ttl_s) =
            (self.performer.nats.clone(), self.performer.events.clone(), self.performer.inputs.clone(), self.settings.terminal_ttl_s);
        self.performer.tasks.spawn(async move {
            let answers = if pasts.len() > MAX_CANCELS {
                let refused = |(job, _): (_, Past)| CancelAnswer {
                    job,
                    outcome: CancelOutcome::Failed,
                    detail: format!("at most {MAX_CANCELS} jobs a request"),
                };
                pasts.into_iter().take(1).map(refused).collect()
            } else {
                let one = |(job, past)| cancel::cancel(&nats, &events, &inputs, job, past, &request.by, ttl_s);
                futures::stream::iter(pasts).map(one).buffered(32).collect().await
            };
            if let Some(reply_to) = message.reply {
                let _ = nats.reply(reply_to, &CancelReply { answers }).await;
            }
        });
    }
}
