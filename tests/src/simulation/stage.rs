//! One run: the parties on their network, the faults as they were drawn, and the checks after every event and at the end.

use std::rc::Rc;

use faultline_engine::detector::NodeVerdict;
use faultline_engine::job::JobId;
use faultline_engine::node::Health;

use super::detector::Watcher;
use super::message::{Msg, Op, Plain, Reply};
use super::net::{Event, Net, Proc, Weather};
use super::scenario::{Deed, Layout, Scenario, draw};
use super::scheduler::Scheduler;
use super::server::Server;
use super::shadow::Shadow;
use super::submitter::Submitter;
use super::worker::Worker;
use super::{Bug, Cast, Stats};

/// After the last fault everything must have ended by then, however unlucky: the sweep of orphans comes after two minutes, and the
/// longest job may fail three times.
const QUIET_WITHIN_MS: u64 = 400_000;
const SUBMITTER_REMEMBERS: u64 = 2;

pub(super) struct Stage {
    pub(super) net: Net,
    server: Server,
    cast: Cast,
    schedulers: Vec<Scheduler>,
    workers: Vec<Worker>,
    detector: Watcher,
    submitters: Vec<Submitter>,
    deeds: Vec<(u64, Deed)>,
    healthy_at: u64,
    is_healthy: bool,
    layout: Layout,
}

impl Stage {
    pub(super) fn new(seed: u64, bug: Option<Bug>, keep: usize) -> Self {
        let Scenario { schedulers, workers, submitters, scripts, weather, deeds, healthy_at, faults } = draw(seed);
        let layout = Layout { schedulers, workers: workers.len(), submitters: submitters.len() };
        let mut names: Vec<String> = (1..=schedulers).map(|n| format!("scheduler-{n}")).collect();
        names.extend((1..=workers.len()).map(|n| format!("worker-{n}")));
        names.push("fault-detector".into());
        names.extend((1..=submitters.len()).map(|n| format!("generator-{n}")));
        let cast = Cast { names, schedulers, workers: workers.len() };
        let by_name = cast.workers().map(|proc| (cast.name(proc).to_owned(), proc)).collect();
        let nodes: Vec<_> = workers.iter().flatten().cloned().collect();
        let jobs = scripts.len() as u64;
        let shadow = Shadow::new(seed ^ 0x0b5e_55ed, scripts, &nodes, by_name);
        let mut net = Net::new(seed, layout.procs(), weather, bug, shadow, keep);
        net.stats = Stats { jobs, faults, ..Stats::default() };
        Self {
            schedulers: (0..schedulers).map(|proc| Scheduler::new(proc, cast.name(proc).to_owned(), seed)).collect(),
            workers: workers
                .into_iter()
                .enumerate()
                .map(|(index, specs)| Worker::new(layout.worker(index), cast.name(layout.worker(index)).to_owned(), specs))
                .collect(),
            detector: Watcher::new(layout.detector()),
            submitters: submitters.into_iter().enumerate().map(|(index, todo)| Submitter::new(layout.submitter(index), todo)).collect(),
            net,
            server: Server::default(),
            cast,
            deeds,
            healthy_at,
            is_healthy: false,
            layout,
        }
    }

    /// Runs until everything has ended, a promise is broken, or it takes too long.
    pub(super) fn play(&mut self) {
        for proc in 0..self.layout.procs() {
            self.start(proc);
        }
        self.net.server_tick(1);
        for index in 0..self.deeds.len() {
            self.net.chaos_at(self.deeds[index].0, index);
        }
        while let Some(event) = self.net.next() {
            let is_tick = matches!(event, Event::ServerTick { .. });
            self.handle(event);
            if self.net.shadow.broken().is_some() {
                return;
            }
            if is_tick && self.is_healthy {
                self.net.shadow.check_stall(self.healthy_at, self.net.now);
                match self.unrest() {
                    None => return,
                    Some(why) if self.net.now > self.healthy_at + QUIET_WITHIN_MS => self.net.shadow.fail(format!("no rest: {why}")),
                    Some(_) => {}
                }
            }
        }
    }

    /// What is not yet as it must be in the end.
    fn unrest(&mut self) -> Option<String> {
        if !self.submitters.iter().all(Submitter::is_done) {
            return Some("a submitter still submits".into());
        }
        if let Some((job, _)) = self.net.shadow.unfinished().find(|(job, _)| self.is_opened(*job)) {
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
        if let Some(worker) = self.workers.iter().find(|worker| !worker.is_idle()) {
            return Some(format!("{} still runs something", worker.name));
        }
        let mut leaders = self.schedulers.iter().filter_map(|scheduler| scheduler.leader.as_ref());
        let (Some(leader), None) = (leaders.next(), leaders.next()) else { return Some("there is not one leader".into()) };
        if leader.scheduler.running() > 0 || leader.scheduler.waiting() > 0 {
            return Some("the leader still holds jobs".into());
        }
        let (ledger, mut truth) = (self.server.ledger(), self.net.shadow.counts());
        (truth.through_seq, truth.at_ms) = (self.server.results_seq(), ledger.at_ms);
        (*ledger != truth).then(|| format!("the ledger says {ledger:?}, the truth is {truth:?}"))
    }

    fn is_opened(&self, job: JobId) -> bool {
        self.server.records().contains_key(&job)
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
                    self.tell(to, msg);
                }
            }
            Event::Timer { of, life, .. } => {
                if let Some(Event::Timer { timer, .. }) = self.net.admit(of, life, event) {
                    self.on_timer(of, timer);
                }
            }
            Event::RequestTimeout { of, life, request } => {
                if self.net.admit(of, life, event).is_some() {
                    self.on_answer(of, request, None);
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
                    self.net.deliver(of, Msg::Connected);
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
        match op {
            Op::Ping { worker } => {
                let link = &self.net.links[worker];
                let Some(request) = request else { return };
                if link.is_connected && link.is_subscribed {
                    self.net.deliver(worker, Msg::Ping { asker: from, life, request });
                } else {
                    self.net.deliver(from, Msg::Reply { request, reply: Reply::NobodyListens });
                }
            }
            Op::Pong { asker, life, request, nodes } => {
                if self.net.links[asker].life == life {
                    self.net.deliver(asker, Msg::Reply { request, reply: Reply::Pong(nodes) });
                }
            }
            op => {
                let reply = self.server.handle(from, op, &mut self.net, &self.cast);
                if let (Some(request), Some(reply)) = (request, reply)
                    && self.net.links[from].life == life
                {
                    self.net.deliver(from, Msg::Reply { request, reply });
                }
            }
        }
    }

    /// The server tells the detector that a worker's connection came or went.
    fn hint(&mut self, of: Proc, is_up: bool) {
        if self.cast.workers().contains(&of) && self.net.server_is_up {
            self.net.deliver(self.layout.detector(), Msg::Hint { worker: of, is_up });
        }
    }

    fn tell(&mut self, to: Proc, msg: Msg) {
        if let Msg::Reply { request, reply } = msg {
            return self.on_answer(to, request, Some(reply));
        }
        let net = &mut self.net;
        match self.cast.role(to) {
            Role::Scheduler(index) => self.schedulers[index].on_message(msg, net),
            Role::Worker(index) => self.workers[index].on_message(msg, net),
            Role::Detector => self.detector.on_message(msg, net, &self.cast),
            Role::Submitter(_) => {}
        }
    }

    fn on_timer(&mut self, of: Proc, timer: super::message::Timer) {
        let net = &mut self.net;
        match self.cast.role(of) {
            Role::Scheduler(index) => self.schedulers[index].on_timer(timer, net),
            Role::Worker(index) => self.workers[index].on_timer(timer, net),
            Role::Detector => self.detector.on_timer(timer, net, &self.cast),
            Role::Submitter(index) => self.submitters[index].on_timer(timer, net),
        }
    }

    fn on_answer(&mut self, of: Proc, request: u64, reply: Option<Reply>) {
        let net = &mut self.net;
        let Some(tag) = net.settle(of, request) else { return };
        match self.cast.role(of) {
            Role::Scheduler(index) => self.schedulers[index].on_answer(tag, reply, net),
            Role::Worker(index) => self.workers[index].on_answer(tag, reply, net),
            Role::Detector => self.detector.on_answer(tag, reply, net, &self.cast),
            Role::Submitter(index) => self.submitters[index].on_answer(tag, reply, net),
        }
    }

    fn start(&mut self, proc: Proc) {
        if self.net.links[proc].is_alive {
            self.crash(proc);
        }
        let net = &mut self.net;
        net.start(proc);
        match self.cast.role(proc) {
            Role::Scheduler(index) => self.schedulers[index].start(net),
            Role::Worker(index) => self.workers[index].start(net),
            Role::Detector => self.detector.start(net),
            Role::Submitter(index) => self.submitters[index].start(net),
        }
    }

    fn crash(&mut self, proc: Proc) {
        let net = &mut self.net;
        let was_connected = net.crash(proc);
        match self.cast.role(proc) {
            Role::Scheduler(index) => self.schedulers[index].crash(),
            Role::Worker(index) => self.workers[index].crash(net),
            Role::Detector => self.detector.crash(),
            Role::Submitter(index) => self.submitters[index].crash(net.now.is_multiple_of(SUBMITTER_REMEMBERS), net.now),
        }
        if was_connected {
            self.hint(proc, false);
        }
    }

    fn do_deed(&mut self, deed: Deed) {
        let now = self.net.now;
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
            Deed::NodeCrash { worker, node } => self.with_node(worker, node, |worker, node, net| worker.node_crash(node, net)),
            Deed::NodeReboot { worker, node } => self.with_node(worker, node, |worker, node, net| worker.node_reboot(node, net)),
            Deed::NodeMute { worker, node, is_mute } => self.with_node(worker, node, |worker, node, _| worker.node_mute(node, is_mute)),
            Deed::WrongVerdict { worker, node } => self.judge_wrongly(worker, node),
            Deed::Drain(of) => {
                if let Role::Worker(index) = self.cast.role(of)
                    && self.net.links[of].is_alive
                    && !self.net.links[of].is_frozen
                {
                    self.workers[index].drain(&mut self.net);
                }
            }
            Deed::Cancel { job } => {
                self.net.shadow.on_cancel_wanted(job);
                let cancel = Plain::Cancel { job };
                if self.net.server_is_up {
                    for to in self.cast.listeners(&cancel, &self.net) {
                        self.net.deliver(to, Msg::Plain(cancel.clone()));
                    }
                }
            }
            Deed::Healthy => {
                self.is_healthy = true;
                self.healthy_at = now;
                self.net.weather = Weather::CALM;
                // What should have been repaired while its worker was frozen.
                self.workers.iter_mut().for_each(|worker| worker.mend_nodes(&mut self.net));
            }
        }
    }

    fn with_node(&mut self, worker: Proc, node: usize, then: impl FnOnce(&mut Worker, &str, &mut Net)) {
        let Role::Worker(index) = self.cast.role(worker) else { return };
        if self.net.links[worker].is_frozen {
            return;
        }
        let name = self.workers[index].nodes().nth(node).map(str::to_owned);
        if let Some(node) = name {
            then(&mut self.workers[index], &node, &mut self.net);
        }
    }

    /// Somebody says that a node is dead which is not.
    fn judge_wrongly(&mut self, worker: Proc, node: usize) {
        let Role::Worker(index) = self.cast.role(worker) else { return };
        let Some((node, incarnation)) = self.workers[index].life_of(node) else { return };
        let verdict = NodeVerdict {
            node,
            worker: self.cast.name(worker).to_owned(),
            incarnation,
            before: Health::Alive,
            health: Health::Dead,
            phi: 99.0,
            silence_ms: 0,
            evidence: "a wrong verdict".into(),
        };
        let said = Plain::Verdict(Rc::new(verdict));
        for to in self.cast.listeners(&said, &self.net) {
            self.net.deliver(to, Msg::Plain(said.clone()));
        }
    }

    pub(super) fn finish_stats(&mut self) {
        let counts = self.net.shadow.counts();
        let stats = &mut self.net.stats;
        (stats.committed, stats.dead, stats.cancelled, stats.abandoned) =
            (counts.committed, counts.dead, counts.cancelled, counts.abandoned);
        (stats.overlaps, stats.virtual_ms) = (self.net.shadow.overlaps, self.net.now);
    }
}

/// What a process is, with its place among its kind.
enum Role {
    Scheduler(usize),
    Worker(usize),
    Detector,
    Submitter(usize),
}

impl Cast {
    fn role(&self, proc: Proc) -> Role {
        if proc < self.schedulers {
            Role::Scheduler(proc)
        } else if self.workers().contains(&proc) {
            Role::Worker(proc - self.schedulers)
        } else if proc == self.detector() {
            Role::Detector
        } else {
            Role::Submitter(proc - self.detector() - 1)
        }
    }
}
