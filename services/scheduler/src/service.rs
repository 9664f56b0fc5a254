//! The loop of one term of leadership: the only one that feeds the engine, and the tasks around it.

use std::time::Duration;

use anyhow::Context;
use async_nats::Message;
use faultline_engine::job::{Priority, Submission};
use faultline_engine::ledger::LedgerSnapshot;
use faultline_engine::scheduler::{Action, Call, PendingMessage, Refused, RunningSign, Scheduler, SyncPart, SyncedNode};
use faultline_protocol::codec;
use faultline_protocol::messages::{
    CancelAnswer, CancelOutcome, CancelReply, CancelRequest, DrainSetting, EndedBatch, EpochRefused, EventKind, Goodbye, Heartbeat, Level,
    NodeSync, NodeSyncPart, Query, QueryReply, Verdict, WorkerSync,
};
use faultline_protocol::{streams, subjects};
use faultline_runtime::admin::Readiness;
use faultline_runtime::connection::{Connection, get};
use faultline_runtime::malformed::PlainReader;
use faultline_runtime::watch::Watched;
use faultline_runtime::wire::{Delivered, Incoming, Over};
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::cancel::{self, Known, MAX_CANCELS};
use crate::flight::Flight;
use crate::goodput::{self, Earlier, STORE_EVERY_S};
use crate::intake::{self, Input, Room, read_delivery};
use crate::ledger::LedgerTask;
use crate::metrics::SchedulerMetrics;
use crate::pending::{self, InStream};
use crate::perform::{Performer, Unsendable};
use crate::settings::Settings;
use crate::term::Term;
use crate::views::{self, Surroundings};

const DELIVERIES: usize = 1024;
/// Jobs of one priority that are pulled and wait for room: at least this many, at most what was placed within a second.
const MIN_WINDOW: usize = 256;
const MAX_WINDOW: usize = 4096;
/// Of `/readyz`: workers refuse this leader.
pub(crate) const REFUSED_CONDITION: &str = "refused";

/// The plain subjects that a leader hears.
struct Heard {
    heartbeats: Incoming<Message>,
    goodbyes: Incoming<Message>,
    verdicts: Incoming<Message>,
    ended: Incoming<Message>,
    synced: Incoming<Message>,
    queries: Incoming<Message>,
    cancels: Incoming<Message>,
}

impl Heard {
    async fn subscribe(nats: &Connection) -> anyhow::Result<Self> {
        let to = |subject: &'static str| async move {
            nats.hear(subject).await.map_err(anyhow::Error::msg).with_context(|| format!("subscribing to {subject}"))
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

pub(crate) async fn run(term: &Term<'_>, mut epochs: mpsc::Receiver<u64>) -> anyhow::Result<()> {
    let Heard { mut heartbeats, mut goodbyes, mut verdicts, mut ended, mut synced, mut queries, mut cancels } =
        Heard::subscribe(term.nats).await?;
    let (deliveries, mut delivered) = mpsc::channel(DELIVERIES);
    let (inputs, mut input) = mpsc::channel(DELIVERIES);
    let room = Room::default();
    let (mut registrations, mut controls) = intake::spawn_watches(term.nats, &term.over, &term.tasks);
    intake::spawn_pulls(term.nats, &room, &deliveries, &term.over, &term.tasks);
    let mut leader = Leader::begin(term, room, inputs).await;

    let mut tick = tokio::time::interval(term.tick);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connections = term.nats.connections();
    connections.mark_unchanged();
    let mut looks = term.nats.looks();
    let mut batch = Vec::with_capacity(DELIVERIES);
    let mut over = std::pin::pin!(term.over.cancelled());
    loop {
        // What is rare comes first, then what the leader itself bounds, then what clients may send without end.
        let actions = tokio::select! {
            biased;
            () = &mut over => return Ok(()),
            Ok(()) = looks.changed() => {
                // All books hold sequences and ack subjects of JOBS. A new term reads everything from the beginning.
                if term.nats.generation(streams::JOBS).number > leader.performer.jobs_generation() {
                    anyhow::bail!("JOBS was recreated, or restored from an older copy: the next term begins with empty books");
                }
                Vec::new()
            }
            Ok(()) = connections.changed() => { leader.on_reconnected().await; Vec::new() }
            Some(epoch) = epochs.recv() => { leader.on_epoch_raised(epoch).await; Vec::new() }
            _ = second.tick() => { leader.on_second(); Vec::new() }
            _ = tick.tick() => Vec::new(),
            Some(message) = verdicts.next() => leader.on_verdict(&message),
            Some(message) = goodbyes.next() => leader.on_goodbye(&message),
            Some(message) = synced.next() => leader.on_synced(&message),
            Some(watched) = registrations.recv() => leader.on_registration(&watched),
            Some(watched) = controls.recv() => leader.on_control(&watched),
            Some(message) = heartbeats.next() => leader.on_heartbeat(&message),
            Some(input) = input.recv() => leader.on_input(input),
            Some(message) = ended.next() => {
                let mut actions = leader.on_ended(&message);
                // Whatever else is here already goes into the same placement pass.
                while let Some(Some(message)) = ended.next().now_or_never() {
                    actions.extend(leader.on_ended(&message));
                }
                actions
            }
            count = delivered.recv_many(&mut batch, DELIVERIES) => {
                anyhow::ensure!(count > 0, "the pull loops ended");
                leader.on_deliveries(std::mem::take(&mut batch))
            }
            Some(message) = queries.next() => { leader.on_query(message).await; Vec::new() }
            Some(message) = cancels.next() => { leader.on_cancel(message); Vec::new() }
            // A placement pass is bounded: the next one comes when nothing else is due.
            () = tokio::task::yield_now(), if leader.scheduler.has_more_to_place() => Vec::new(),
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
async fn read_verdicts(nats: &Connection) -> Vec<Verdict> {
    let Ok(store) = nats.open_bucket(streams::KV_HEALTH).await else { return Vec::new() };
    let mut verdicts = Vec::new();
    for key in store.keys().await.unwrap_or_default() {
        match get::<Verdict>(&*store, &key).await {
            Ok(verdict) => verdicts.extend(verdict),
            Err(error) => tracing::warn!(%error, "a verdict cannot be read"),
        }
    }
    verdicts
}

struct Leader {
    /// Told everything through [`Leader::tell`].
    scheduler: Scheduler,
    flight: Flight,
    performer: Performer,
    settings: Settings,
    since_ms: u64,
    ledger: watch::Receiver<LedgerSnapshot>,
    in_stream: watch::Receiver<InStream>,
    /// Where GPU time went before this term.
    earlier: Earlier,
    seconds: u64,
    metrics: SchedulerMetrics,
    room: Room,
    placed_before: u64,
    window: usize,
    plain: PlainReader,
    readiness: Readiness,
    /// Verdicts of nodes whose registration has not been read yet.
    pending_verdicts: Vec<Verdict>,
}

impl Leader {
    /// Knows nothing yet; asks the workers what they run.
    async fn begin(term: &Term<'_>, room: Room, inputs: mpsc::Sender<Input>) -> Self {
        let Term { settings, nats, events, metrics, memory, .. } = *term;
        let (ledger_sender, ledger) = watch::channel(LedgerSnapshot::default());
        let (in_stream_sender, in_stream) = watch::channel(InStream::default());
        term.spawn(pending::count_stream(nats.clone(), in_stream_sender, term.over.clone()));
        let (extras_sender, extras) = mpsc::unbounded_channel();
        let ledger_task = LedgerTask {
            nats: nats.clone(),
            inputs: inputs.clone(),
            extras,
            memory: memory.clone(),
            events: events.clone(),
            terminal_ttl_s: settings.terminal_ttl_s,
            snapshot: ledger_sender,
            cancel: term.over.clone(),
        };
        term.spawn(ledger_task.run());
        let now_ms = nats.steady_ms();
        let seed = settings.seed.unwrap_or_else(|| nats.random_u128() as u64);
        let dead_letters = metrics.dead_letters.clone();
        let performer = Performer::new(term, inputs, extras_sender, dead_letters);
        let scheduler = Scheduler::new(settings.engine.clone(), settings.built_in_policy(), seed, now_ms).under_epoch(term.epoch);
        let leader = Self {
            scheduler: scheduler.asking(settings.policy.program().map(str::to_owned)),
            flight: Flight::begin(settings, seed, term.epoch, now_ms),
            performer,
            metrics: metrics.clone(),
            settings: settings.clone(),
            since_ms: now_ms,
            ledger,
            in_stream,
            earlier: Earlier::read(nats).await,
            seconds: 0,
            room,
            placed_before: 0,
            window: MIN_WINDOW,
            plain: PlainReader::new(nats),
            readiness: term.readiness.clone(),
            pending_verdicts: read_verdicts(nats).await,
        };
        leader.performer.ask_for_sync(subjects::CTL_ALL_SYNC.to_owned()).await;
        leader
    }

    /// Lets the engine place, performs everything, and says how much more can be pulled.
    async fn act(&mut self, mut actions: Vec<Action>) {
        let cluster_ms = self.performer.nats.unix_ms();
        actions.extend(self.tell(Call::Advance { cluster_ms }));
        #[cfg(debug_assertions)]
        self.scheduler.sanity_check();
        // What cannot be sent is given up, which may free room for nothing but is over after one more round.
        while !actions.is_empty() {
            let unsendable = self.performer.perform(actions).await;
            let told = |one: Unsendable| Call::Unsendable { job: one.job, attempt: one.attempt, reason: one.reason };
            actions = unsendable.into_iter().flat_map(|one| self.tell(told(one))).collect();
        }
        for priority in Priority::ALL {
            let free = self.window.saturating_sub(self.scheduler.waiting_of(priority));
            // A fetch of a few messages from a deep backlog costs the server as much as one of hundreds.
            self.room.set(priority, if free < self.window / 4 { 0 } else { free });
        }
    }

    /// The only way to the engine: what is recorded is all that it was told.
    fn tell(&mut self, call: Call) -> Vec<Action> {
        let now_ms = self.now_ms();
        self.flight.call(&mut self.scheduler, call, now_ms)
    }

    fn now_ms(&self) -> u64 {
        self.performer.nats.steady_ms()
    }

    async fn on_reconnected(&mut self) {
        self.tell(Call::Reconnected);
        self.performer.ask_for_sync(subjects::CTL_ALL_SYNC.to_owned()).await;
    }

    fn on_second(&mut self) {
        let placed = self.scheduler.counters().placed;
        let last_second = usize::try_from(placed - self.placed_before).unwrap_or(MAX_WINDOW);
        self.placed_before = placed;
        self.window = last_second.clamp(MIN_WINDOW, MAX_WINDOW);
        let in_stream = *self.in_stream.borrow();
        self.metrics.on_second(&self.scheduler, self.performer.epoch, in_stream, self.ledger.borrow().clone(), self.now_ms());
        self.seconds += 1;
        if self.seconds.is_multiple_of(STORE_EVERY_S) {
            let history = self.earlier.until_now(&self.scheduler, &self.settings.name, self.now_ms());
            self.metrics.on_goodput(&history.term);
            self.performer.spawn(goodput::store(self.performer.nats.clone(), history));
        }
    }

    fn on_deliveries(&mut self, messages: Vec<Delivered>) -> Vec<Action> {
        let mut actions = Vec::new();
        for message in messages {
            match read_delivery(&message) {
                Ok(delivery) => {
                    if let Some(held) = self.scheduler.job(delivery.spec.id) {
                        self.performer.note_double(&held.ack_subject, &delivery.ack_subject);
                    }
                    actions.extend(self.tell(Call::Delivered(delivery)));
                }
                Err(poison) => {
                    self.performer.nats.note_malformed();
                    self.performer.bury_poison(message, poison);
                }
            }
        }
        actions
    }

    fn on_ended(&mut self, message: &Message) -> Vec<Action> {
        let Some(batch) = self.plain.read::<EndedBatch>(subjects::SCHED_ENDED, message) else { return Vec::new() };
        batch.ended.into_iter().flat_map(|ended| self.tell(Call::Ended(ended))).collect()
    }

    fn on_heartbeat(&mut self, message: &Message) -> Vec<Action> {
        let Some(heartbeat) = self.plain.read::<Heartbeat>(subjects::HEARTBEAT_ALL, message) else { return Vec::new() };
        let Heartbeat { node, incarnation, running, gpus: telemetry, leaving, .. } = heartbeat;
        let running = running
            .iter()
            .map(|brief| RunningSign {
                attempt: brief.attempt,
                job: brief.job,
                progress_permille: brief.progress_permille,
                epoch: brief.epoch,
            })
            .collect();
        self.tell(Call::Heartbeat { node, incarnation, running, telemetry, leaving })
    }

    fn on_verdict(&mut self, message: &Message) -> Vec<Action> {
        let Some(verdict) = self.plain.read::<Verdict>(subjects::VERDICT_ALL, message) else { return Vec::new() };
        self.judge(verdict)
    }

    fn judge(&mut self, verdict: Verdict) -> Vec<Action> {
        let Verdict { node, incarnation, health, evidence, silence_ms, .. } = verdict;
        self.tell(Call::Verdict { node, incarnation, health, evidence, silence_ms })
    }

    fn on_goodbye(&mut self, message: &Message) -> Vec<Action> {
        let Some(bye) = self.plain.read::<Goodbye>(subjects::GOODBYE_ALL, message) else { return Vec::new() };
        self.tell(Call::Left { node: bye.node, incarnation: bye.incarnation })
    }

    fn on_synced(&mut self, message: &Message) -> Vec<Action> {
        let Some(sync) = self.plain.read::<WorkerSync>(subjects::SCHED_SYNCED, message) else { return Vec::new() };
        if sync.epoch != self.performer.epoch {
            return Vec::new();
        }
        if let Some(EpochRefused { newest, attempts }) = sync.refused {
            let refused = Refused { worker: sync.worker, epoch: sync.epoch, newest, attempts };
            let actions = self.tell(Call::Refused(refused));
            self.tell_refusal();
            return actions;
        }
        let heard = |node: NodeSync| {
            let NodeSync { node, incarnation, running, part: NodeSyncPart { answer, index, of } } = node;
            SyncedNode { node, incarnation, running, part: SyncPart { answer, index, of } }
        };
        sync.nodes.into_iter().flat_map(|node| self.tell(Call::Synced(heard(node)))).collect()
    }

    /// The lease has a higher epoch now: all workers are told, and asked what runs.
    async fn on_epoch_raised(&mut self, epoch: u64) {
        let before = self.performer.epoch;
        self.tell(Call::EpochRaised { epoch });
        self.performer.epoch = self.scheduler.epoch();
        self.readiness.describe(format!("leads, epoch {epoch}"));
        self.tell_refusal();
        let detail = format!("{} leads, epoch {epoch}: workers knew a higher one than {before}", self.settings.name);
        let event = self.performer.events.event(Level::Warn, EventKind::LeaderElected, detail);
        self.performer.events.send(event).await;
        self.performer.ask_for_sync(subjects::CTL_ALL_SYNC.to_owned()).await;
    }

    fn tell_refusal(&self) {
        match self.scheduler.refusals().standing.as_str() {
            "" => self.readiness.met(REFUSED_CONDITION),
            refusal => self.readiness.unmet(REFUSED_CONDITION, refusal),
        }
    }

    fn on_control(&mut self, watched: &Watched) -> Vec<Action> {
        match watched {
            Watched::Entry(entry) => intake::read_control(entry).map(|input| self.on_input(input)).unwrap_or_default(),
            Watched::Vanished(key) => {
                self.drain_again(key);
                Vec::new()
            }
            Watched::BeganAgain => Vec::new(),
        }
    }

    /// A node's drain setting vanished with its bucket and was not removed: it is written again, unless it was set anew meanwhile.
    fn drain_again(&self, key: &str) {
        let Some(node) = subjects::drained_node(key).filter(|node| self.scheduler.is_drained(node)).map(str::to_owned) else { return };
        let (nats, key, by) = (self.performer.nats.clone(), key.to_owned(), self.settings.name.clone());
        self.performer.spawn(async move {
            let setting = DrainSetting { reason: "the bucket CONTROL had lost it".into(), at_ms: nats.unix_ms(), by };
            let written = match nats.open_bucket(streams::KV_CONTROL).await {
                Ok(store) => store.write(&key, codec::encode(&setting), Over::Nothing).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match written {
                Ok(_) => tracing::warn!(node, "the bucket CONTROL had lost this node's drain setting: written again"),
                Err(reason) => tracing::warn!(node, reason, "the bucket CONTROL has lost this node's drain setting"),
            }
        });
    }

    fn on_registration(&mut self, watched: &Watched) -> Vec<Action> {
        let entry = match watched {
            Watched::Entry(entry) => entry,
            // A living worker registers its node again.
            Watched::Vanished(node) => return self.tell(Call::Vanished { node: node.clone() }),
            Watched::BeganAgain => return Vec::new(),
        };
        match intake::read_registration(entry) {
            Ok(input) => self.on_input(input),
            Err(reason) => {
                self.plain.note(&entry.key, &reason);
                Vec::new()
            }
        }
    }

    fn on_input(&mut self, input: Input) -> Vec<Action> {
        match input {
            Input::Registered(spec) => {
                let node = spec.node.clone();
                let mut actions = self.tell(Call::Registered(spec));
                let (known, pending): (Vec<Verdict>, _) =
                    std::mem::take(&mut self.pending_verdicts).into_iter().partition(|verdict: &Verdict| verdict.node == node);
                self.pending_verdicts = pending;
                for verdict in known {
                    actions.extend(self.judge(verdict));
                }
                actions
            }
            Input::Unregistered(node) => self.tell(Call::Left { node, incarnation: u64::MAX }),
            Input::Drain { node, draining, why } => {
                let is_news = self.scheduler.is_drained(&node) != draining;
                self.tell(Call::Drain { node: node.clone(), draining });
                if is_news && self.now_ms() > self.since_ms + self.settings.engine.settle_ms {
                    self.tell_drained(node, draining, &why);
                }
                Vec::new()
            }
            Input::RecordsRead(reads) => reads.into_iter().flat_map(|(job, read)| self.tell(Call::RecordRead { job, read })).collect(),
            Input::Cancelled(job) => self.tell(Call::Cancelled { job }),
            Input::Answered { number, heard } => self.tell(Call::Answered { number, heard }),
            Input::Pending(pending) => self.on_pending(pending),
            Input::AreHeld { jobs, answer } => {
                // The ledger may have begun anew and not wait any more.
                let _ = answer.send(jobs.into_iter().filter(|job| self.scheduler.job(*job).is_some()).collect());
                Vec::new()
            }
        }
    }

    fn on_pending(&mut self, pending: Vec<PendingMessage>) -> Vec<Action> {
        let of = pending.len();
        let actions = self.tell(Call::Pending(pending));
        if !actions.is_empty() {
            tracing::info!(messages = actions.len(), of, "unclaimed messages are delivered again");
        }
        actions
    }

    fn tell_drained(&self, node: String, draining: bool, why: &str) {
        let (kind, what) = if draining {
            (EventKind::NodeDrained, "nothing new is placed there")
        } else {
            (EventKind::NodeUndrained, "it takes jobs again")
        };
        let words = if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") };
        let mut event = self.performer.events.event(Level::Info, kind, words);
        event.node = Some(node);
        let events = self.performer.events.clone();
        self.performer.spawn(async move { events.send(event).await });
    }

    async fn on_query(&mut self, message: Message) {
        let Some(reply_to) = message.reply.clone() else { return };
        let reply = match codec::decode_plain::<Query>(subjects::SCHED_QUERY, &message) {
            Ok(query) => {
                let around = Surroundings {
                    leader: &self.settings.name,
                    epoch: self.performer.epoch,
                    leader_since_ms: self.scheduler.cluster_time(self.since_ms),
                    jobs_in_stream: self.in_stream.borrow().messages,
                    ledger: self.ledger.borrow().clone(),
                    earlier: &self.earlier,
                    now_ms: self.now_ms(),
                    most_bytes: self.performer.nats.most_bytes(),
                };
                views::answer(&query, &self.scheduler, &around)
            }
            Err(error) => QueryReply::Error(error.to_string()),
        };
        if let Err(error) = self.performer.nats.reply(reply_to, &reply).await {
            tracing::debug!(%error, "a query was not answered");
        }
    }

    fn on_cancel(&mut self, message: Message) {
        let Some(request) = self.plain.read::<CancelRequest>(subjects::SCHED_CANCEL, &message) else { return };
        let jobs: Vec<_> = request
            .jobs
            .iter()
            .map(|job| {
                let held = self.scheduler.job(*job);
                let known = held.map(|held| Known {
                    path: held.path_so_far(),
                    is_held: true,
                    submission: Some(Submission::for_record(&held.spec)),
                });
                let known = known.unwrap_or_default();
                (*job, known)
            })
            .collect();
        let (nats, events, inputs, ttl_s) =
            (self.performer.nats.clone(), self.performer.events.clone(), self.performer.inputs.clone(), self.settings.terminal_ttl_s);
        self.performer.spawn(async move {
            let answers = if jobs.len() > MAX_CANCELS {
                let refused = |(job, _): (_, Known)| CancelAnswer {
                    job,
                    outcome: CancelOutcome::Failed,
                    detail: format!("at most {MAX_CANCELS} jobs a request"),
                };
                jobs.into_iter().take(1).map(refused).collect()
            } else {
                let one = |(job, known)| cancel::cancel(&nats, &events, &inputs, job, known, &request.by, ttl_s);
                futures::stream::iter(jobs).map(one).buffered(32).collect().await
            };
            if let Some(reply_to) = message.reply {
                let _ = nats.reply(reply_to, &CancelReply { answers }).await;
            }
        });
    }
}
