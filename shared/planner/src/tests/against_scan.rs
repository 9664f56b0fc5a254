//! The indexed choice is the choice of a plain scan over all nodes, for every policy and tie rule, in worlds where nodes join, leave, close, and
//! lose GPUs, and tasks come and go. The scan keeps books of its own.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use crate::class::{ClassId, Closed, TaskClass};
use crate::decision::{Decision, Limits, Placed};
use crate::machine::{Gpu, Machine};
use crate::node::{NodeId, Placement};
use crate::planner::Planner;
use crate::policy::Search;
use crate::settings::{PolicyName, Scores, Settings};
use crate::tie::TieRule;
use crate::waiting::Turn;

/// A node as the scan knows it.
struct Known {
    machine: Machine,
    closed: bool,
    broken: Vec<usize>,
    running: Vec<(TaskClass, Placement)>,
    joined: usize,
    used: usize,
}

impl Known {
    fn has_room(&self, task: &TaskClass) -> bool {
        let sum = |of: fn(&TaskClass) -> u32| self.running.iter().map(|(task, _)| of(task)).sum::<u32>();
        let within = |whole: Option<u32>, used: u32, wanted: u32| whole.is_none_or(|whole| used + wanted <= whole);
        let free = |gpu: usize| {
            let there = self.running.iter().filter(|(_, placement)| placement.gpus.iter().any(|other| other == gpu));
            let (milli, mib) = there.fold((0, 0), |(milli, mib), (task, _)| (milli + task.gpu_milli, mib + task.gpu_memory_mib));
            (1000 - milli, self.machine.gpus[gpu].memory_mib - mib)
        };
        let would_do = |gpu: &usize| {
            let (milli, mib) = free(*gpu);
            let model = &self.machine.gpus[*gpu].model;
            !self.broken.contains(gpu)
                && milli >= task.gpu_milli
                && mib >= task.gpu_memory_mib
                && (task.models.is_empty() || task.models.contains(model))
        };
        !self.closed
            && (self.machine.kinds.is_empty() || self.machine.kinds.contains(&task.kind))
            && within(self.machine.cpu_milli, sum(|task| task.cpu_milli), task.cpu_milli)
            && within(self.machine.memory_mib, sum(|task| task.memory_mib), task.memory_mib)
            && within(self.machine.slots, self.running.len() as u32, 1)
            && (0..self.machine.gpus.len()).filter(would_do).count() >= usize::from(task.gpus)
    }
}

pub(super) struct Scan {
    pub(super) planner: Planner,
    tie: TieRule,
    nodes: BTreeMap<NodeId, Known>,
    joined: usize,
    used: usize,
    waiting: BTreeMap<Turn, (TaskClass, ClassId)>,
    jobs: u64,
}

impl Scan {
    pub(super) fn new(settings: &Settings) -> Self {
        let planner = Planner::new(settings).unwrap();
        Self { planner, tie: settings.tie, nodes: BTreeMap::new(), joined: 0, used: 0, waiting: BTreeMap::new(), jobs: 0 }
    }

    fn wait(&mut self, task: &TaskClass, order: u64) {
        let class = self.planner.class(task);
        let turn = super::turn(order, self.jobs);
        self.jobs += 1;
        assert_eq!(self.planner.wait(class, turn), self.waiting.insert(turn, (task.clone(), class)).is_none());
    }

    /// Each job in turn is placed where there is room, or there is no room for it anywhere.
    fn pass(&mut self, limits: Limits) {
        loop {
            let pass = self.planner.pass(limits);
            let mut decisions = pass.decisions.iter().peekable();
            for (turn, (task, class)) in self.waiting.clone() {
                match decisions.next_if(|Decision::Place { turn: decided, .. }| *decided == turn) {
                    Some(Decision::Place { placed, .. }) => {
                        self.waiting.remove(&turn);
                        self.used += 1;
                        let known = self.nodes.get_mut(&placed.node()).unwrap();
                        assert!(known.has_room(&task), "{task:?} on {:?}", known.machine);
                        known.running.push((task, placed.placement));
                        known.used = self.used;
                    }
                    None => assert!(pass.unfinished || !self.nodes.values().any(|known| known.has_room(&task)), "{class:?} {task:?}"),
                }
            }
            assert_eq!(decisions.next(), None, "decisions out of turn");
            if !pass.unfinished {
                return;
            }
        }
    }

    /// The node that ought to be taken. Advances `rng` as the planner does.
    fn best(&self, task: &TaskClass, rng: &mut Pcg64Mcg) -> Option<(NodeId, u32, usize)> {
        let fitting: Vec<(&NodeId, &Known)> = self.nodes.iter().filter(|(_, known)| known.has_room(task)).collect();
        let class = self.planner.numbers[task];
        let class = &self.planner.classes[class.at()].as_ref().unwrap().class;
        let score = |node: NodeId| self.planner.policy.score(&self.planner.world, class, node);
        let highest = fitting.iter().map(|(node, _)| score(**node)).max()?;
        let equals: Vec<_> = fitting.iter().filter(|(node, _)| score(**node) == highest).collect();
        let chosen = match (self.planner.search, self.tie) {
            (Search::Turns, _) => equals.iter().find(|(node, _)| node.at() >= self.planner.turn).or(equals.first()),
            (Search::Drawn, _) => equals.get(rng.random_range(0..equals.len() as u64) as usize),
            (Search::Best, TieRule::First) => equals.iter().min_by_key(|(_, known)| known.joined),
            (Search::Best, TieRule::ByName) => equals.iter().min_by_key(|(_, known)| &known.machine.name),
            (Search::Best, TieRule::LeastRecentlyUsed) => equals.iter().min_by_key(|(_, known)| known.used),
            (Search::Best, TieRule::Random) => unreachable!("it draws"),
        };
        chosen.map(|(node, _)| (**node, highest, fitting.len()))
    }

    fn place(&mut self, task: &TaskClass) {
        let class = self.planner.class(task);
        let mut rng = self.planner.rng.clone();
        let expected = self.best(task, &mut rng);
        let gpus = expected.map(|(node, ..)| {
            let class = &self.planner.classes[class.at()].as_ref().unwrap().class;
            self.planner.policy.gpus(&self.planner.world, class, node, &mut rng)
        });
        let placed: Option<Placed> = self.planner.place_now(class);
        assert_eq!(placed.map(|placed| (placed.node(), placed.why.score, placed.why.fitting as usize)), expected, "{task:?}");
        assert_eq!(placed.map(|placed| placed.gpus()), gpus);
        if let Some(placed) = placed {
            let second = placed.why.runner_up;
            assert_eq!(second.is_some(), placed.why.fitting > 1);
            assert!(second.is_none_or(|(node, score)| node != placed.node() && score <= placed.why.score));
            self.used += 1;
            let known = self.nodes.get_mut(&placed.node()).unwrap();
            known.used = self.used;
            known.running.push((task.clone(), placed.placement));
            assert_eq!(placed.gpus().len(), usize::from(task.gpus));
        }
    }

    pub(super) fn act(&mut self, act: &Act) {
        let some = |at: usize| self.nodes.keys().nth(at % self.nodes.len().max(1)).copied();
        match act {
            Act::Join(machine) => {
                if let Ok(node) = self.planner.join(machine) {
                    self.joined += 1;
                    let known =
                        Known { machine: machine.clone(), closed: false, broken: vec![], running: vec![], joined: self.joined, used: 0 };
                    self.nodes.insert(node, known);
                }
            }
            Act::Leave(at) => {
                if let Some(node) = some(*at) {
                    let known = self.nodes.remove(&node).unwrap();
                    self.planner.leave(node);
                    known.running.iter().for_each(|(_, placement)| self.planner.release(placement));
                }
            }
            Act::Close(at, closed) => {
                if let Some(node) = some(*at) {
                    self.nodes.get_mut(&node).unwrap().closed = *closed;
                    self.planner.close(node, closed.then_some(Closed::Draining));
                }
            }
            Act::Break(at, gpu, broken) => {
                if let Some(node) = some(*at) {
                    let known = self.nodes.get_mut(&node).unwrap();
                    if *gpu < known.machine.gpus.len() {
                        known.broken.retain(|other| other != gpu);
                        known.broken.extend(broken.then_some(*gpu));
                        self.planner.set_in_service(node, *gpu, !broken);
                    }
                }
            }
            Act::Wait(task, order) => self.wait(task, *order),
            Act::Pass(decisions, scores) => self.pass(Limits { decisions: *decisions, scores: *scores }),
            Act::Place(task) => self.place(task),
            Act::Release(at, which) => {
                if let Some(known) = some(*at).and_then(|node| self.nodes.get_mut(&node))
                    && !known.running.is_empty()
                {
                    let (_, placement) = known.running.swap_remove(which % known.running.len());
                    self.planner.release(&placement);
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    Join(Machine),
    Leave(usize),
    Close(usize, bool),
    Break(usize, usize, bool),
    Place(TaskClass),
    Wait(TaskClass, u64),
    Pass(usize, usize),
    Release(usize, usize),
}

pub(super) fn a_machine() -> impl Strategy<Value = Machine> {
    let model = prop_oneof!["A", "B"];
    let gpus = prop_oneof![2 => Just(0_usize), 8 => 1_usize..9];
    let sizes = (proptest::option::weighted(0.8, Just(16_000_u32)), proptest::option::weighted(0.8, Just(64_u32)));
    (0_u32..400, gpus, model, sizes, proptest::option::weighted(0.3, 1_u32..5), 0_u32..8).prop_map(
        |(name, gpus, model, (cpu_milli, memory_mib), slots, mixed)| {
            let mut gpus = vec![Gpu { model, memory_mib: 16 }; gpus];
            if mixed == 0
                && let Some(gpu) = gpus.first_mut()
            {
                *gpu = Gpu { model: "C".into(), memory_mib: 8 };
            }
            let kinds = if mixed == 1 { vec!["special".to_owned()] } else { Vec::new() };
            let (rack, block) = (String::new(), String::new());
            Machine { name: format!("n{name}"), cpu_milli, memory_mib, slots, gpus, kinds, rack, block }
        },
    )
}

pub(super) fn a_task() -> impl Strategy<Value = TaskClass> {
    let gpus = prop_oneof![
        Just((0, 0)),
        Just((1, 300)),
        Just((1, 500)),
        Just((1, 700)),
        Just((1, 1000)),
        Just((2, 1000)),
        Just((4, 1000)),
        Just((2, 400))
    ];
    let models = prop_oneof![4 => Just(vec![]), 1 => Just(vec!["A".to_owned()]), 1 => Just(vec!["B".to_owned(), "C".to_owned()])];
    (
        gpus,
        prop_oneof![Just(0_u32), Just(2_000), Just(5_000)],
        prop_oneof![Just(1_u32), Just(20)],
        prop_oneof![Just(0_u32), Just(6)],
        models,
        0..9,
    )
        .prop_map(|((gpus, gpu_milli), cpu_milli, memory_mib, gpu_memory_mib, models, kind)| {
            let gpu_memory_mib = if gpus == 0 { 0 } else { gpu_memory_mib };
            let kind = if kind == 0 { "special".to_owned() } else { "plain".to_owned() };
            TaskClass { cpu_milli, memory_mib, gpus, gpu_milli, gpu_memory_mib, models, kind }
        })
}

pub(super) fn an_act() -> impl Strategy<Value = Act> {
    let at = || 0_usize..1_000;
    prop_oneof![
        10 => a_machine().prop_map(Act::Join),
        2 => at().prop_map(Act::Leave),
        4 => (at(), any::<bool>()).prop_map(|(at, closed)| Act::Close(at, closed)),
        3 => (at(), 0_usize..8, any::<bool>()).prop_map(|(at, gpu, broken)| Act::Break(at, gpu, broken)),
        15 => a_task().prop_map(Act::Place),
        30 => (a_task(), 0_u64..50).prop_map(|(task, order)| Act::Wait(task, order)),
        20 => (1_usize..20, 1_usize..200).prop_map(|(decisions, scores)| Act::Pass(decisions, scores)),
        25 => (at(), at()).prop_map(|(at, which)| Act::Release(at, which)),
    ]
}

pub(super) fn settings() -> impl Strategy<Value = Settings> {
    let scores = prop_oneof![Just(Scores::Exact), Just(Scores::Cut)];
    let (policies, ties) = (proptest::sample::select(&PolicyName::ALL[..]), proptest::sample::select(&TieRule::ALL[..]));
    (policies, ties, scores, any::<u64>(), proptest::collection::vec((a_task(), 1_u64..20), 1..12))
        .prop_map(|(policy, tie, scores, seed, target)| Settings { policy, tie, scores, target, seed })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_index_chooses_as_a_scan(settings in settings(), machines in proptest::collection::vec(a_machine(), 0..60), acts in proptest::collection::vec(an_act(), 1..250)) {
        let mut scan = Scan::new(&settings);
        for machine in machines {
            scan.act(&Act::Join(machine));
        }
        for act in &acts {
            scan.act(act);
        }
    }
}

/// Large enough for a tree of several levels, and long enough for the log of changes to be cut.
#[test]
fn the_index_chooses_as_a_scan_among_many() {
    for (policy, tie) in
        [(PolicyName::LeastLoaded, TieRule::ByName), (PolicyName::BestFit, TieRule::Random), (PolicyName::RoundRobin, TieRule::First)]
    {
        let settings = Settings { policy, tie, seed: 3, ..Settings::default() };
        let mut rng = Pcg64Mcg::new(5);
        let mut scan = Scan::new(&settings);
        for number in 0..700 {
            scan.act(&Act::Join(super::machine(&format!("n{}", number * 7919 % 1000), 1 + number % 4, Some(20_000), None)));
        }
        let seldom = super::gpu_task(1, 700, 1_000);
        for step in 0..6_000 {
            let gpus = rng.random_range(1..3);
            let milli = if gpus == 1 { [250, 500, 1000][rng.random_range(0..3)] } else { 1000 };
            scan.act(&Act::Place(super::gpu_task(gpus, milli, 1_000)));
            scan.act(&Act::Release(rng.random_range(0..1_000), rng.random_range(0..1_000)));
            if step % 2_900 == 0 {
                scan.act(&Act::Place(seldom.clone()));
            }
        }
    }
}

/// A long queue before a full cluster, in which one place at a time is freed: by an end, a GPU that is back, or a node that opens.
#[test]
fn freed_places_go_to_those_whose_turn_it_is() {
    for policy in [PolicyName::FirstFit, PolicyName::GpuPacking, PolicyName::Random] {
        let settings = Settings { policy, seed: 3, ..Settings::default() };
        let mut rng = Pcg64Mcg::new(9);
        let mut scan = Scan::new(&settings);
        for number in 0..12 {
            scan.act(&Act::Join(super::machine(&format!("n{number}"), 1 + number % 4, Some(20_000), None)));
        }
        let mut placed_at_once = [0; 4];
        for step in 0..1_500 {
            while scan.waiting.len() < 60 {
                let (gpus, milli) = [(0, 0), (1, 250), (1, 500), (1, 1000), (2, 1000)][rng.random_range(0..5)];
                let order = rng.random_range(0..1_000);
                scan.act(&Act::Wait(super::gpu_task(gpus, milli, 1_000 * rng.random_range(1..4)), order));
            }
            scan.act(&Act::Pass(1_000, 1_000));
            let (at, gpu) = (rng.random_range(0..12), rng.random_range(0..4));
            // What broke or closed is mended one step later, after another task has ended there.
            match step % 4 {
                0 => [Act::Break(at, gpu, true), Act::Release(at, 0), Act::Pass(9, 99), Act::Break(at, gpu, false)]
                    .iter()
                    .for_each(|act| scan.act(act)),
                1 => [Act::Close(at, true), Act::Release(at, 0), Act::Pass(9, 99), Act::Close(at, false)]
                    .iter()
                    .for_each(|act| scan.act(act)),
                _ => scan.act(&Act::Release(at, rng.random_range(0..1_000))),
            }
            let before = scan.waiting.len();
            scan.act(&Act::Pass(2, 1_000));
            placed_at_once[(before - scan.waiting.len()).min(3)] += 1;
        }
        assert!(placed_at_once[1] > 100 && placed_at_once[2] + placed_at_once[3] > 10, "{placed_at_once:?}");
    }
}
