//! Random worlds with gangs, shares of GPUs, topology, nodes that come and go: what starts is checked against books that are kept by plain lists.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::node::Placement;
use crate::settings::{PolicyName, Settings};

#[derive(Debug, Clone)]
enum Act {
    Submit { gpus: u16, gpu_milli: u16, tasks: u32, fewer: u32, level: Option<(Level, bool)>, ms: Option<u64>, priority: u8 },
    End(usize),
    Interrupt(usize),
    Withdraw(usize),
    Join { gpus: usize, rack: u8 },
    Leave(usize),
    Close(usize, bool),
    Wait(u64),
}

struct Node {
    gpus: usize,
    rack: u8,
    closed: bool,
}

struct Attempt {
    request: Request,
    gpus: u16,
    gpu_milli: u16,
    tasks: Vec<(NodeId, Vec<usize>)>,
    /// When it started or was resized last.
    since_ms: u64,
}

/// The books of the test: who holds what, by job.
struct World {
    dispatcher: Dispatcher,
    settings: DispatchSettings,
    now_ms: u64,
    jobs: u64,
    names: u64,
    nodes: BTreeMap<NodeId, Node>,
    waiting: BTreeMap<JobNumber, (Request, u16, u16)>,
    running: BTreeMap<JobNumber, Attempt>,
    reserved: BTreeMap<JobNumber, (u64, Vec<NodeId>)>,
    /// What started on nodes of a reservation that was there before, unless it is given up or made anew in the same pass.
    in_the_way: Vec<(JobNumber, JobNumber, u64)>,
}

impl World {
    fn new(settings: DispatchSettings) -> Self {
        let dispatcher = Dispatcher::new(&settings).unwrap();
        let (nodes, waiting, running, reserved) = Default::default();
        Self { dispatcher, settings, now_ms: 0, jobs: 0, names: 0, nodes, waiting, running, reserved, in_the_way: Vec::new() }
    }

    fn free(&self, node: NodeId) -> Vec<u16> {
        let mut free = vec![1000; self.nodes[&node].gpus];
        for Attempt { gpu_milli, tasks, .. } in self.running.values() {
            for (_, gpus) in tasks.iter().filter(|(other, _)| *other == node) {
                gpus.iter().for_each(|gpu| free[*gpu] -= gpu_milli);
            }
        }
        free
    }

    /// How many tasks fit on a node, each on GPUs of its own or a share of one.
    fn capacity(&self, node: NodeId, gpus: u16, gpu_milli: u16) -> u64 {
        if self.nodes[&node].closed {
            return 0;
        }
        let places: u64 = self.free(node).iter().map(|free| u64::from(free / gpu_milli)).sum();
        places / u64::from(gpus)
    }

    fn domain(&self, node: NodeId, level: Option<Level>) -> u32 {
        match level {
            Some(Level::Node) => node.0,
            Some(Level::Rack) => self.nodes[&node].rack.into(),
            Some(Level::Block) => u32::from(self.nodes[&node].rack / 2),
            None => 0,
        }
    }

    /// Whether the fewest tasks that the job starts with fit.
    fn fits(&self, (request, gpus, gpu_milli): &(Request, u16, u16)) -> bool {
        let level = request.topology.filter(|topology| topology.required).map(|topology| topology.level);
        let mut sums: BTreeMap<u32, u64> = BTreeMap::new();
        for node in self.nodes.keys() {
            *sums.entry(self.domain(*node, level)).or_default() += self.capacity(*node, *gpus, *gpu_milli);
        }
        sums.values().any(|sum| *sum >= request.min_tasks.into())
    }

    fn place(&self, job: JobNumber) -> (u8, u64, u64, u64) {
        let request = &self.waiting[&job].0;
        let rank = if self.settings.order == OrderName::Sjf { request.estimate_ms.unwrap_or(u64::MAX) } else { 0 };
        (u8::MAX - request.priority, rank, request.submitted_ms, job)
    }

    fn started(&mut self, job: JobNumber, tasks: &[crate::decision::Placed], is_whole: bool) {
        let place = self.place(job);
        let ahead: Vec<JobNumber> = self.waiting.keys().filter(|other| self.place(**other) < place).copied().collect();
        let could = |other: &&JobNumber| self.fits(&self.waiting[*other]);
        match self.settings.blocking {
            Blocking::Strict if self.settings.reserve_after_ms.is_none() => assert_eq!(ahead, [], "{job} overtakes"),
            // A pass that stops at its limits has not looked at all nodes that gained.
            Blocking::Skip if self.settings.reserve_after_ms.is_none() && is_whole => {
                assert_eq!(ahead.iter().find(could), None, "{job} overtakes")
            }
            _ => {}
        }
        let known = self.waiting.remove(&job).unwrap();
        let (request, gpus, gpu_milli) = known;
        assert!((request.min_tasks..=request.tasks).contains(&(tasks.len() as u32)));
        for placed in tasks {
            assert_eq!(placed.gpus().len(), usize::from(gpus));
            assert!(!self.nodes[&placed.node()].closed);
        }
        if let Some(Topology { level, required: true }) = request.topology {
            let first = self.domain(tasks[0].node(), Some(level));
            assert!(tasks.iter().all(|placed| self.domain(placed.node(), Some(level)) == first));
        }
        let ends_ms = request.estimate_ms.map_or(u64::MAX, |ms| self.now_ms + ms);
        self.reserved.remove(&job);
        for (holder, (at_ms, nodes)) in &self.reserved {
            if place > self.place(*holder) && ends_ms > *at_ms && tasks.iter().any(|placed| nodes.contains(&placed.node())) {
                self.in_the_way.push((job, *holder, *at_ms));
            }
        }
        let there = tasks.iter().map(|placed| (placed.node(), placed.gpus().iter().collect())).collect();
        self.running.insert(job, Attempt { request, gpus, gpu_milli, tasks: there, since_ms: self.now_ms });
        // Nothing over capacity: taking away below zero would have panicked.
        self.nodes.keys().for_each(|node| drop(self.free(*node)));
    }

    /// A running job keeps what it has and gets more, or keeps a part, and not again after a short while.
    fn resized(&mut self, job: JobNumber, tasks: &[Placement], shrinks: bool) {
        let now_ms = self.now_ms;
        let attempt = self.running.get_mut(&job).unwrap();
        let there: Vec<(NodeId, Vec<usize>)> = tasks.iter().map(|task| (task.node, task.gpus.iter().collect())).collect();
        let (fewer, more) = if shrinks { (&there, &attempt.tasks) } else { (&attempt.tasks, &there) };
        assert!(fewer.len() < more.len() && fewer.iter().all(|task| more.contains(task)));
        assert!((attempt.request.min_tasks..=attempt.request.tasks).contains(&(there.len() as u32)));
        assert!(now_ms - attempt.since_ms >= self.settings.resize_min_ms.unwrap());
        let added = there.iter().filter(|(node, _)| !shrinks && !attempt.tasks.iter().any(|(other, _)| other == node));
        assert!(added.clone().all(|(node, _)| !self.nodes[node].closed));
        // Jobs grow at the end of a pass: what it kept for others before, and gave up, is free.
        let world = &self.dispatcher.planner.world;
        assert!(!added.clone().any(|(node, _)| world.is_held(*node)), "{job} grows on nodes that are kept");
        (attempt.tasks, attempt.since_ms) = (there, now_ms);
        if let Some(Topology { level, required: true }) = self.running[&job].request.topology {
            let first = self.domain(tasks[0].node, Some(level));
            assert!(tasks.iter().all(|task| self.domain(task.node, Some(level)) == first));
        }
        self.nodes.keys().for_each(|node| drop(self.free(*node)));
    }

    fn pass(&mut self) {
        for passes in 0.. {
            assert!(passes < 1_000, "it comes to no end");
            let pass = self.dispatcher.pass(self.now_ms, crate::decision::Limits { decisions: 5, scores: 60 });
            let starts: Vec<JobNumber> = pass.decisions.iter().filter_map(started_by).collect();
            for decision in pass.decisions {
                match decision {
                    Dispatch::Resize { job, tasks, for_job } => {
                        assert!(for_job.is_none_or(|other| starts.contains(&other)), "{job} loses tasks for one that does not start");
                        self.resized(job, &tasks, for_job.is_some());
                    }
                    Dispatch::Start { job, tasks } => self.started(job, &tasks, !pass.unfinished),
                    Dispatch::Preempt { .. } => panic!("nothing is stopped for anything"),
                    Dispatch::Reserve { job, at_ms, nodes } => {
                        self.in_the_way.retain(|(_, holder, _)| *holder != job);
                        self.reserved.insert(job, (at_ms.unwrap_or(0), nodes));
                    }
                }
            }
            self.reserved.retain(|job, _| self.dispatcher.reservations.has(*job));
            for (job, holder, at_ms) in self.in_the_way.drain(..) {
                assert!(self.reserved.get(&holder).is_none_or(|(kept_ms, _)| *kept_ms != at_ms), "{job} is in the way of {holder}");
            }
            if !pass.unfinished {
                break;
            }
        }
        assert_eq!((self.dispatcher.waiting(), self.dispatcher.running()), (self.waiting.len(), self.running.len()));
        let could = |job: &JobNumber| self.fits(&self.waiting[job]);
        match self.settings.blocking {
            Blocking::Skip if self.reserved.is_empty() => assert_eq!(self.waiting.keys().find(|job| could(job)), None, "it fits and waits"),
            Blocking::Strict | Blocking::Easy if self.reserved.is_empty() => {
                let first = self.waiting.keys().min_by_key(|job| self.place(**job));
                assert!(!first.is_some_and(could), "the first one fits and waits");
            }
            _ => {}
        }
        for reservation in self.dispatcher.reservations.iter() {
            assert!(reservation.plan.nodes.iter().all(|node| self.dispatcher.planner.world.is_held(*node)));
        }
        let held = self.nodes.keys().filter(|node| self.dispatcher.planner.world.is_held(**node)).count();
        assert_eq!(held, self.dispatcher.reservations.iter().map(|reservation| reservation.plan.nodes.len()).sum::<usize>());
    }

    /// An attempt is over: of a node that has left, or by itself.
    fn stop(&mut self, job: JobNumber, again: bool) {
        let Attempt { request, gpus, gpu_milli, .. } = self.running.remove(&job).unwrap();
        if again {
            let remaining = Remaining { estimate_ms: request.estimate_ms };
            assert!(self.dispatcher.interrupted(job, self.now_ms, remaining));
            self.waiting.insert(job, (request, gpus, gpu_milli));
        } else {
            assert!(self.dispatcher.ended(job, self.now_ms));
        }
    }

    fn act(&mut self, act: &Act) {
        let some_running = |at: usize| self.running.keys().nth(at % self.running.len().max(1)).copied();
        let some_node = |at: usize| self.nodes.keys().nth(at % self.nodes.len().max(1)).copied();
        match *act {
            Act::Submit { gpus, gpu_milli, tasks, fewer, level, ms, priority } => {
                let class = self.dispatcher.class(&gpu_task(gpus, gpu_milli, 0));
                let topology = level.map(|(level, required)| Topology { level, required });
                let (submitted_ms, min_tasks) = (self.now_ms, tasks.saturating_sub(fewer).max(1));
                let request = Request {
                    class,
                    tasks,
                    min_tasks,
                    topology,
                    queue: 0,
                    user: 0,
                    priority,
                    preemptible: true,
                    resizable: true,
                    submitted_ms,
                    estimate_ms: ms,
                };
                self.jobs += 1;
                assert!(self.dispatcher.submit(self.jobs, request) && !self.dispatcher.submit(self.jobs, request));
                self.waiting.insert(self.jobs, (request, gpus, gpu_milli));
            }
            Act::End(at) => {
                if let Some(job) = some_running(at) {
                    self.stop(job, false);
                }
            }
            Act::Interrupt(at) => {
                if let Some(job) = some_running(at) {
                    self.stop(job, true);
                }
            }
            Act::Withdraw(at) => {
                if let Some(job) = self.waiting.keys().nth(at % self.waiting.len().max(1)).copied() {
                    self.waiting.remove(&job);
                    self.reserved.remove(&job);
                    assert!(self.dispatcher.withdraw(job));
                }
            }
            Act::Join { gpus, rack } => {
                self.names += 1;
                let mut machine = machine(&format!("n{}", self.names), gpus, None, None);
                (machine.rack, machine.block) = (format!("r{rack}"), format!("b{}", rack / 2));
                let node = self.dispatcher.join(&machine).unwrap();
                self.nodes.insert(node, Node { gpus, rack, closed: false });
            }
            Act::Leave(at) => {
                if let Some(node) = some_node(at) {
                    self.dispatcher.leave(node);
                    let there: Vec<JobNumber> = self
                        .running
                        .iter()
                        .filter(|(_, job)| job.tasks.iter().any(|(other, _)| *other == node))
                        .map(|(job, _)| *job)
                        .collect();
                    for job in there {
                        match self.dispatcher.lose_tasks(job, self.now_ms, |task| task.node == node) {
                            Some(left) => {
                                let attempt = self.running.get_mut(&job).unwrap();
                                attempt.tasks.retain(|(other, _)| *other != node);
                                attempt.since_ms = self.now_ms;
                                assert_eq!(left.len(), attempt.tasks.len());
                            }
                            None => self.stop(job, true),
                        }
                    }
                    self.nodes.remove(&node);
                    self.reserved.values_mut().for_each(|(_, nodes)| nodes.retain(|other| *other != node));
                }
            }
            Act::Close(at, closed) => {
                if let Some(node) = some_node(at) {
                    self.nodes.get_mut(&node).unwrap().closed = closed;
                    self.dispatcher.close(node, closed.then_some(Closed::Draining));
                }
            }
            Act::Wait(ms) => self.now_ms += ms,
        }
        self.pass();
    }
}

fn started_by(decision: &Dispatch) -> Option<JobNumber> {
    if let Dispatch::Start { job, .. } = decision { Some(*job) } else { None }
}

fn an_act() -> impl Strategy<Value = Act> {
    let at = || 0_usize..1_000;
    let shares = prop_oneof![2 => Just((1, 500)), 2 => Just((1, 1000)), 1 => Just((2, 1000)), 1 => Just((4, 1000)), 1 => Just((1, 300))];
    let level = proptest::sample::select(&[Level::Node, Level::Rack, Level::Block][..]);
    let level = proptest::option::weighted(0.4, (level, any::<bool>()));
    let ms = proptest::option::weighted(0.8, 1_u64..100);
    let fewer = prop_oneof![3 => Just(0_u32), 1 => 1_u32..4];
    let submit = (shares, 1_u32..7, fewer, level, ms, 0_u8..2).prop_map(|((gpus, gpu_milli), tasks, fewer, level, ms, priority)| {
        Act::Submit { gpus, gpu_milli, tasks, fewer, level, ms, priority }
    });
    prop_oneof![
        10 => submit,
        6 => at().prop_map(Act::End),
        2 => at().prop_map(Act::Interrupt),
        1 => at().prop_map(Act::Withdraw),
        2 => (1_usize..5, 0_u8..6).prop_map(|(gpus, rack)| Act::Join { gpus, rack }),
        1 => at().prop_map(Act::Leave),
        2 => (at(), any::<bool>()).prop_map(|(at, closed)| Act::Close(at, closed)),
        5 => (1_u64..60).prop_map(Act::Wait),
    ]
}

fn settings() -> impl Strategy<Value = DispatchSettings> {
    let policy = prop_oneof![Just(PolicyName::FirstFit), Just(PolicyName::LeastLoaded), Just(PolicyName::Random)];
    let order = prop_oneof![Just(OrderName::Fifo), Just(OrderName::Sjf)];
    let reserve_after_ms = proptest::option::weighted(0.4, 0_u64..80);
    let resize_min_ms = proptest::option::weighted(0.5, 0_u64..40);
    let blocking = proptest::sample::select(&Blocking::ALL[..]).prop_filter("it stops jobs", |blocking| *blocking != Blocking::ByCount);
    (policy, order, blocking, reserve_after_ms, resize_min_ms).prop_map(|(policy, order, blocking, reserve_after_ms, resize_min_ms)| {
        let knows_resizes = !matches!(blocking, Blocking::Conservative | Blocking::Sticky | Blocking::ByTime);
        let resize_min_ms = resize_min_ms.filter(|_| knows_resizes);
        let placement = Settings { policy, seed: 7, ..Settings::default() };
        DispatchSettings { placement, order, blocking, reserve_after_ms, resize_min_ms, ..DispatchSettings::default() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn what_starts_fits_whole_and_in_order(
        settings in settings(),
        nodes in proptest::collection::vec((1_usize..5, 0_u8..6), 1..9),
        acts in proptest::collection::vec(an_act(), 1..160),
    ) {
        let mut world = World::new(settings);
        for (gpus, rack) in nodes {
            world.act(&Act::Join { gpus, rack });
        }
        acts.iter().for_each(|act| world.act(act));
    }
}
