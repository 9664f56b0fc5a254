//! One run: the processes on their network, the faults as they were drawn, and the checks after every event and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_nats::{Message, Subject};
use bytes::Bytes;
use faultline_engine::job::{Assignment, AttemptId, JobId, JobSpec};
use faultline_engine::node::{Health, NodeSpec};
use faultline_protocol::codec;
use faultline_protocol::messages::{CancelRequest, FaultOrder, FaultOrderKind, Query, QueryReply, Verdict};
use faultline_protocol::subjects::{self, ControlVerb};
use faultline_runtime::wire::Post;

use super::bug::Bug;
use super::cast::{Cast, Proc, Role};
use super::event::Event;
use super::message::{EPOCH_MS, Msg, Op, pulled};
use super::net::{Net, Weather};
use super::scenario::{Deed, Layout, Scenario, draw};
use super::server::Server;
use super::shadow::{Plan, Shadow};
use super::stats::Stats;
use super::{misheard, panics};

/// After the last fault everything must have ended by then, however unlucky: the sweep of orphans comes after two minutes, and the
/// longest job may fail three times.
const QUIET_WITHIN_MS: u64 = 400_000;
const SUBMITTER_REMEMBERS: u64 = 2;
const REPEATED_MS: u64 = 10_000;
/// Where the leader answers the questions of this stage.
const OWN_INBOX: &str = "_INBOX.stage";

/// When it is submitted, and what.
type Submission = (u64, Arc<JobSpec>);
type Todo = BTreeMap<JobId, Submission>;

pub(crate) struct Stage {
    pub(crate) net: Net,
    server: Server,
    pub(crate) cast: Cast,
    /// The nodes of every worker.
    pub(crate) nodes: Vec<Arc<[NodeSpec]>>,
    /// What every submitter has not handed over yet.
    pub(crate) todo: Vec<Todo>,
    /// What it has handed over, and when.
    handed_over: Vec<Vec<(u64, Submission)>>,
    /// What leaders have said about attempts, and under which epoch.
    pub(crate) assigned: BTreeMap<AttemptId, (u64, Assignment)>,
    /// The attempt that failed last, by its worker and the message that it had.
    pub(crate) failed: BTreeMap<(Proc, String), AttemptId>,
    /// Attempts whose failure the shadow knows of.
    pub(crate) counted: BTreeSet<AttemptId>,
    /// For [`Bug::NakFirst`]: messages that were handed back too early.
    pub(crate) handed_back: BTreeSet<String>,
    /// For [`Bug::NoReadBackOfConflict`]: what a process will read wrongly.
    pub(crate) disbelieved: BTreeSet<(Proc, String)>,
    /// How many jobs the leader said that it holds, since it was asked last.
    leader_holds: Option<u64>,
    /// Processes whose new life is to begin at once.
    pub(crate) starting: Vec<Proc>,
    deeds: Vec<(u64, Deed)>,
    healthy_at: u64,
    is_healthy: bool,
    /// Whether a user's program chooses the nodes.
    pub(crate) asks_program: bool,
    layout: Layout,
}

fn message<M: codec::Message>(subject: impl Into<Subject>, reply: Option<&'static str>, body: &M) -> Message {
    let payload: Bytes = codec::encode(body);
    Message {
        subject: subject.into(),
        reply: reply.map(Subject::from),
        length: payload.len(),
        payload,
        headers: Some(codec::headers_for::<M>()),
        status: None,
        description: None,
    }
}

impl Stage {
    pub(crate) fn new(seed: u64, bug: Option<Bug>, keep: usize) -> Self {
        let Scenario { schedulers, workers, submitters, scripts, weather, deeds, healthy_at, faults, asks_program } = draw(seed);
        let layout = Layout { schedulers, workers: workers.len(), submitters: submitters.len() };
        let mut names: Vec<String> = (1..=schedulers).map(|n| format!("scheduler-{n}")).collect();
        names.extend((1..=workers.len()).map(|n| format!("worker-{n}")));
        names.push("fault-detector".into());
        names.extend((1..=submitters.len()).map(|n| format!("generator-{n}")));
        let cast = Cast { names, schedulers, workers: workers.len() };
        let nodes: Vec<_> = workers.iter().flatten().cloned().collect();
        let jobs = scripts.len() as u64;
        let shadow = Shadow::new(seed ^ 0x0b5e_55ed, scripts, &nodes);
        let mut net = Net::new(seed, layout.procs(), weather, bug, shadow, keep);
        net.stats = Stats { jobs, faults, ..Stats::default() };
        Self {
            net,
            server: Server::new(),
            cast,
            nodes: workers.into_iter().map(Arc::from).collect(),
            handed_over: vec![Vec::new(); submitters.len()],
            todo: submitters,
            assigned: BTreeMap::new(),
            failed: BTreeMap::new(),
            counted: BTreeSet::new(),
            handed_back: BTreeSet::new(),
            disbelieved: BTreeSet::new(),
            leader_holds: None,
            starting: Vec::new(),
            deeds,
            healthy_at,
            is_healthy: false,
            asks_program,
            layout,
        }
    }

    /// Every process is told to start, and every fault waits for its time.
    pub(crate) fn begin(&mut self) {
        for proc in 0..self.layout.procs() {
            self.start(proc);
        }
        self.net.server_tick(1);
        for index in 0..self.deeds.len() {
            self.net.chaos_at(self.deeds[index].0, index);
        }
    }

    /// True when the run has come to its end.
    pub(crate) fn is_over_after(&mut self, event: Event) -> bool {
        let is_tick = matches!(event, Event::ServerTick { .. });
        self.handle(event);
        if self.net.shadow.broken().is_some() || panics::is_any() {
            return true;
        }
        if is_tick && self.is_healthy {
            self.net.shadow.check_stall(self.healthy_at, self.net.now);
            match self.unrest() {
                None => return true,
                Some(why) if self.net.now > self.healthy_at + QUIET_WITHIN_MS => self.net.shadow.fail(format!("no rest: {why}")),
                Some(_) => {}
            }
        }
        self.net.shadow.broken().is_some()
    }

    /// What is not yet as it must be in the end.
    fn unrest(&mut self) -> Option<String> {
        if !self.todo.iter().all(Todo::is_empty) {
            return Some("a submitter still submits".into());
        }
        if let Some((job, _)) = self.net.shadow.unfinished().find(|(job, _)| self.server.has_record(*job)) {
            let is_queued = self.server.queued_jobs().any(|queued| queued == job);
            return Some(format!("{job} has not ended (is it queued? {is_queued})"));
        }
        self.net.stats.recovery_ms = match self.net.stats.recovery_ms {
            0 => self.net.now - self.healthy_at,
            known => known,
        };
        if !self.server.is_queue_empty() {
            return Some(format!("{:?} are still queued", self.server.queued_jobs().collect::<Vec<_>>()));
        }
        if self.net.shadow.is_anything_running() {
            return Some("a worker still runs something".into());
        }
        let leaders: Vec<Proc> = (0..self.layout.schedulers).filter(|proc| self.net.links[*proc].hears(subjects::SCHED_QUERY)).collect();
        let [leader] = leaders[..] else { return Some("there is not one leader".into()) };
        match self.leader_holds.take() {
            Some(0) => {}
            held => {
                self.net.deliver(leader, Msg::Plain(message(subjects::SCHED_QUERY, Some(OWN_INBOX), &Query::Stats)));
                return Some(format!("the leader still holds jobs: {held:?}"));
            }
        }
        let (ledger, mut truth) = (self.server.ledger().counts, self.net.shadow.counts());
        (truth.through_seq, truth.at_ms) = (self.server.results_seq(), ledger.at_ms);
        truth.vanished = ledger.vanished.min(self.net.shadow.queued_late);
        if ledger != truth {
            self.leader_holds = Some(0);
            return Some(format!("the ledger says {ledger:?}, the truth is {truth:?}"));
        }
        None
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::ToServer { from, life, server_life, request, op } => {
                if self.net.server_is_up && server_life == self.net.server_life {
                    self.at_server(from, life, request, op);
                }
            }
            Event::ToProc { to, life, .. } => {
                if let Some(Event::ToProc { msg, .. }) = self.net.admit(to, life, event) {
                    self.arrives(to, msg);
                }
            }
            Event::LinkBreaks { of, connection } => {
                if self.net.breaks(of, connection) {
                    self.hint(of, false);
                }
            }
            Event::Reconnect { of } => {
                if self.net.reconnect(of) {
                    self.hint(of, true);
                    self.net.links[of].on_connected();
                }
            }
            Event::Restart { of, life } => {
                if self.net.links[of].life == life && !self.net.links[of].is_alive {
                    self.start(of);
                }
            }
            Event::ServerTick { server_life } => {
                if self.net.server_is_up && server_life == self.net.server_life {
                    self.server.tick(&mut self.net, &self.cast);
                }
            }
            Event::Chaos(index) => {
                let deed = self.deeds[index].1.clone();
                self.net.say(|| format!("FAULT {deed:?}"));
                self.do_deed(deed);
            }
        }
    }

    fn at_server(&mut self, from: Proc, life: u32, request: Option<u64>, op: Op) {
        if let Op::Publish(Post { subject, body, .. }) = &op
            && subject.as_str() == OWN_INBOX
        {
            if let Ok(QueryReply::Stats(stats)) = codec::decode_body::<QueryReply>(body) {
                self.leader_holds = Some(stats.queued_held + stats.running);
            }
            return;
        }
        let reply = self.server.handle((from, request), op, &mut self.net, &self.cast);
        if let (Some(request), Some(reply)) = (request, reply)
            && self.net.links[from].life == life
        {
            self.net.deliver(from, Msg::Reply { request, reply });
        }
    }

    fn arrives(&mut self, to: Proc, msg: Msg) {
        match msg {
            Msg::Plain(message) => {
                if let Some(message) = misheard::on_arrival(&self.net, to, message) {
                    self.net.links[to].on_message(&message);
                }
            }
            Msg::Many(messages) => messages.iter().for_each(|message| self.net.links[to].on_message(message)),
            Msg::Delivery { pull, stored, ack_subject, delivered } => {
                let delivered = if self.net.has(Bug::NoReadBackOnRedelivery) { 1 } else { delivered };
                self.net.links[to].on_delivery(pull, pulled(&stored, ack_subject, delivered));
            }
            Msg::Reply { request, reply } => self.net.links[to].on_reply(request, reply),
        }
    }

    /// The server tells that a connection came or went.
    fn hint(&mut self, of: Proc, is_up: bool) {
        if self.cast.workers().contains(&of) && self.net.server_is_up {
            let subject = if is_up { subjects::SYSTEM_CONNECT } else { subjects::SYSTEM_DISCONNECT };
            let body = format!(r#"{{"client":{{"name":"{}"}},"reason":"Client Closed"}}"#, self.cast.name(of));
            let (payload, length) = (Bytes::from(body.clone()), body.len());
            let news = Message { subject: subject.into(), reply: None, payload, headers: None, status: None, description: None, length };
            self.net.deliver(self.layout.detector(), Msg::Plain(news));
        }
    }

    fn start(&mut self, proc: Proc) {
        if self.net.links[proc].is_alive {
            self.crash(proc);
        }
        self.net.start(proc);
        self.starting.push(proc);
    }

    /// A process has ended by itself.
    pub(crate) fn on_ended(&mut self, proc: Proc, ended_well: bool) {
        if let Role::Submitter(index) = self.cast.role(proc) {
            self.handed_over[index].clear();
        }
        self.crash(proc);
        // Its supervisor starts it again, unless it was meant to end.
        if !ended_well {
            self.net.restart_soon(proc);
        }
    }

    fn crash(&mut self, proc: Proc) {
        let was_connected = self.net.crash(proc);
        match self.cast.role(proc) {
            Role::Worker(_) => self.net.shadow.on_worker_gone(proc),
            Role::Submitter(index) => self.forget_or_repeat(index),
            Role::Scheduler | Role::Detector => {}
        }
        if was_connected {
            self.hint(proc, false);
        }
    }

    /// A submitter that was killed forgets what it was in the middle of, unless it wrote its ids down; then it does not know which of the
    /// newest were answered, and repeats them.
    fn forget_or_repeat(&mut self, index: usize) {
        let now = self.net.now;
        if now.is_multiple_of(SUBMITTER_REMEMBERS) {
            let newest = self.handed_over[index].extract_if(.., |(at, _)| *at + REPEATED_MS > now);
            self.todo[index].extend(newest.map(|(_, (at, spec))| (spec.id, (at, spec))));
        } else {
            self.todo[index].retain(|_, (at, _)| *at > now);
        }
    }

    /// Whether the server has anything in a stream after a sequence.
    pub(crate) fn has_news(&self, stream: &str, seq: u64) -> bool {
        self.server.has_news(stream, seq)
    }

    /// A submitter need not do anything more for this job.
    pub(crate) fn on_handed_over(&mut self, index: usize, job: JobId) {
        if let Some(handed_over) = self.todo[index].remove(&job) {
            self.handed_over[index].push((self.net.now, handed_over));
        }
    }

    /// An attempt begins on a worker.
    pub(crate) fn start_attempt(&mut self, worker: Proc, attempt: AttemptId) -> Plan {
        let (epoch, assignment) = self.assigned.get(&attempt).cloned().expect("only what was placed begins");
        let name = self.cast.name(worker).to_owned();
        self.net.say(|| format!("{name} starts {attempt} of {} on {} (epoch {epoch})", assignment.spec.name, assignment.node));
        self.net.stats.attempts += 1;
        self.net.shadow.on_started(worker, epoch, &assignment, self.net.now)
    }

    fn do_deed(&mut self, deed: Deed) {
        match deed {
            Deed::Crash(of) => self.crash(of),
            Deed::Start(of) => self.start(of),
            Deed::Freeze(of) => self.net.freeze(of),
            Deed::Thaw(of) => self.net.thaw(of),
            Deed::Cut { of, out, inwards } => self.net.cut(of, out, inwards),
            Deed::Mend(of) => self.net.mend(of),
            Deed::ServerCrash => self.server.crash(&mut self.net),
            Deed::ServerRestart if !self.net.server_is_up => self.net.server_restart(),
            Deed::ServerRestart => {}
            Deed::NodeFault { node, kind, for_ms } => self.order_fault(&node, FaultOrderKind::Break(kind), for_ms),
            Deed::WrongVerdict { node } => self.judge_wrongly(node),
            Deed::Drain(of) => {
                let link = &self.net.links[of];
                if link.is_alive && !link.is_frozen() {
                    link.shutdown.stop();
                }
            }
            Deed::Cancel { job } => {
                self.net.shadow.on_cancel_wanted(job);
                let request = CancelRequest { jobs: vec![job], by: "an operator".into() };
                self.say_to_all(&message(subjects::SCHED_CANCEL, None, &request));
            }
            Deed::SetClock { of, by_ms } => self.net.set_clock(of, by_ms),
            Deed::LeaseAnew { revision } => self.server.lease_begins_again(revision, &self.net),
            Deed::NodesAnew => self.server.nodes_begin_again(&mut self.net),
            Deed::Healthy => {
                self.is_healthy = true;
                self.healthy_at = self.net.now;
                self.net.weather = Weather::CALM;
                let nodes: Vec<String> = self.nodes.iter().flat_map(|nodes| nodes.iter()).map(|node| node.node.clone()).collect();
                nodes.iter().for_each(|node| self.order_fault(node, FaultOrderKind::Restore, 0));
            }
        }
    }

    fn say_to_all(&mut self, message: &Message) {
        for to in 0..self.net.links.len() {
            if self.net.server_is_up && self.net.links[to].hears(&message.subject) {
                self.net.deliver(to, Msg::Plain(message.clone()));
            }
        }
    }

    /// As an operator breaks or mends a node, but past the network.
    fn order_fault(&mut self, node: &str, kind: FaultOrderKind, for_ms: u64) {
        let Some(index) = self.nodes.iter().position(|nodes| nodes.iter().any(|it| it.node == node)) else { return };
        let worker = self.layout.worker(index);
        if self.net.links[worker].is_frozen() {
            return;
        }
        let order = FaultOrder { node: node.to_owned(), kind, for_ms, factor: 0.0, gpu: None, by: "the simulation".into() };
        let order = message(subjects::ctl(self.cast.name(worker), ControlVerb::Fault), None, &order);
        self.net.links[worker].on_message(&order);
    }

    /// A wrong verdict: the node is alive.
    fn judge_wrongly(&mut self, node: String) {
        let Some(spec) = self.server.registered(&node) else { return };
        let verdict = Verdict {
            node,
            worker: spec.worker,
            incarnation: spec.incarnation,
            health: Health::Dead,
            detector: "another-detector".into(),
            phi: 99.0,
            silence_ms: 0,
            evidence: "a wrong verdict".into(),
            at_ms: EPOCH_MS + self.net.now,
        };
        self.say_to_all(&message(subjects::verdict(&verdict.node), None, &verdict));
    }

    pub(crate) fn finish_stats(&mut self) {
        let counts = self.net.shadow.counts();
        let stats = &mut self.net.stats;
        (stats.committed, stats.dead, stats.cancelled, stats.abandoned) =
            (counts.committed, counts.dead, counts.cancelled, counts.abandoned);
        (stats.overlaps, stats.virtual_ms) = (self.net.shadow.overlaps, self.net.now);
    }
}
