//! The planner: nodes, the jobs that wait, and the pass that places one after the other within its limits.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

use crate::class::{Class, ClassId, Closed, Reason, TaskClass};
use crate::decision::{Decision, Limits, Pass, Placed, Why};
use crate::dispatch::Room;
use crate::gpus::{GpuSet, WHOLE_GPU_MILLI};
use crate::index::{Found, Index, Scratch, View};
use crate::machine::{InvalidMachine, Machine};
use crate::node::{NodeId, Placement};
use crate::outside::Asked;
use crate::policy::{self, Fgd, Policy, Search};
use crate::settings::{InvalidSettings, Settings};
use crate::tie::TieRule;
use crate::waiting::{Standing, Turn, Waiting};
use crate::world::World;

/// Classes in which no job waits keep their index until there are more than this.
const KEPT_CLASSES: usize = 512;

/// A class that is known, with its index once it was tried.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) class: Class,
    index: Option<Index>,
    /// The index over nodes that are not held, once there was a reservation.
    unheld: Option<Index>,
    /// How many tasks fit, once a gang asked.
    pub(crate) room: Option<Room>,
    /// How many jobs of the dispatcher are of this class: it stays while there is one.
    pub(crate) pins: u32,
    /// When it was asked for last: the one that was not for longest goes first.
    used: u64,
}

/// Decides where tasks run.
#[derive(Debug)]
pub struct Planner {
    pub(crate) world: World,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) search: Search,
    pub(crate) rng: Pcg64Mcg,
    /// For policies that take turns: the number behind the last node that got a task.
    pub(crate) turn: usize,
    pub(crate) classes: Vec<Option<Known>>,
    pub(crate) numbers: HashMap<TaskClass, ClassId>,
    vacant: Vec<ClassId>,
    uses: u64,
    pub(crate) waiting: Waiting,
    scratch: Scratch,
    /// What chooses nodes instead of the policy.
    pub(crate) asked: Option<Asked>,
}

impl Planner {
    pub fn new(settings: &Settings) -> Result<Self, InvalidSettings> {
        Ok(Self::with(policy::build(settings)?, settings.tie, settings.seed))
    }

    pub(crate) fn with(policy: Box<dyn Policy>, tie: TieRule, seed: u64) -> Self {
        let search = if policy.search() == Search::Best && tie == TieRule::Random { Search::Drawn } else { policy.search() };
        Self {
            world: World::new(tie),
            policy,
            search,
            rng: Pcg64Mcg::seed_from_u64(seed),
            turn: 0,
            classes: Vec::new(),
            numbers: HashMap::new(),
            vacant: Vec::new(),
            uses: 0,
            waiting: Waiting::default(),
            scratch: Scratch::default(),
            asked: None,
        }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.world.len()
    }

    pub fn node(&self, name: &str) -> Option<NodeId> {
        self.world.named(name)
    }

    pub fn node_name(&self, node: NodeId) -> &str {
        self.world.name(node)
    }

    /// The node's rack, and the block that the rack is in.
    pub fn node_place(&self, node: NodeId) -> (&str, &str) {
        self.world.place(node)
    }

    /// Thousandths of GPUs that all nodes have.
    pub fn gpu_milli(&self) -> u64 {
        self.world.nodes().map(|node| u64::from(self.world.hot(node).gpus) * u64::from(WHOLE_GPU_MILLI)).sum()
    }

    /// Thousandths of GPUs that are free on the node.
    pub fn free_gpu_milli(&self, node: NodeId) -> u32 {
        self.world.hot(node).free_gpu_milli
    }

    pub fn join(&mut self, machine: &Machine) -> Result<NodeId, InvalidMachine> {
        let node = self.world.join(machine)?;
        self.policy.learn(self.world.shapes());
        for known in self.classes.iter_mut().flatten() {
            known.class.learn(self.world.shapes());
        }
        Ok(node)
    }

    /// The node is gone, and with it what runs there.
    pub fn leave(&mut self, node: NodeId) {
        self.world.leave(node);
    }

    /// Nothing new is placed on the node, or with `None` again.
    pub fn close(&mut self, node: NodeId, closed: Option<Closed>) {
        self.world.close(node, closed);
    }

    /// Whether a GPU can be used; what runs there is not touched. A GPU that the node does not have is ignored.
    pub fn set_in_service(&mut self, node: NodeId, gpu: usize, in_service: bool) {
        self.world.set_in_service(node, gpu, in_service);
    }

    /// Books a task that another owner placed, whether or not there is room for it. GPUs that the node does not have are left out.
    pub fn adopt(&mut self, node: NodeId, task: &TaskClass, gpus: impl IntoIterator<Item = usize>) -> Placement {
        let mut there = GpuSet::default();
        let count = usize::from(self.world.hot(node).gpus);
        gpus.into_iter().filter(|gpu| *gpu < count).for_each(|gpu| there.insert(gpu));
        self.world.take(node, task, there)
    }

    /// What running tasks hold of a GPU: thousandths, and MiB of its memory.
    pub fn gpu_used(&self, node: NodeId, gpu: usize) -> (u32, u32) {
        let used = &self.world.cold(node).used;
        (used.gpu_milli.get(gpu).copied().unwrap_or(0), used.gpu_mib.get(gpu).copied().unwrap_or(0))
    }

    /// Why nothing new is placed on the node; `None` while it is open.
    pub fn closed(&self, node: NodeId) -> Option<Closed> {
        self.world.cold(node).closed
    }

    /// A task has ended.
    pub fn release(&mut self, placement: &Placement) {
        self.world.give(placement);
    }

    /// The class's number, which stays while a job of it waits.
    pub fn class(&mut self, task: &TaskClass) -> ClassId {
        self.uses += 1;
        if let Some(class) = self.numbers.get(task) {
            if let Some(known) = &mut self.classes[class.at()] {
                known.used = self.uses;
            }
            return *class;
        }
        self.forget_oldest();
        let mut class = Class::new(task.clone());
        class.learn(self.world.shapes());
        let known = Known { class, index: None, unheld: None, room: None, pins: 0, used: self.uses };
        let number = self.vacant.pop().unwrap_or_else(|| {
            self.classes.push(None);
            ClassId(self.classes.len() as u32 - 1)
        });
        self.classes[number.at()] = Some(known);
        self.numbers.insert(task.clone(), number);
        number
    }

    fn forget_oldest(&mut self) {
        if self.numbers.len() < KEPT_CLASSES {
            return;
        }
        let numbered = self.classes.iter().enumerate().filter_map(|(at, known)| {
            let known = known.as_ref().filter(|known| known.pins == 0)?;
            Some((ClassId(at as u32), known.used))
        });
        let idle = numbered.filter(|(class, _)| self.waiting.len_of(*class) == 0);
        if let Some((class, _)) = idle.min_by_key(|(_, used)| *used)
            && let Some(known) = self.classes[class.at()].take()
        {
            self.numbers.remove(&known.class.task);
            self.vacant.push(class);
        }
    }

    /// A job waits from now on. False when it did already.
    pub fn wait(&mut self, class: ClassId, turn: Turn) -> bool {
        self.waiting.insert(class, turn)
    }

    /// It does not wait any longer. False when it did not.
    pub fn forget(&mut self, class: ClassId, turn: Turn) -> bool {
        self.waiting.remove(class, turn)
    }

    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The jobs of a class that wait, in their order.
    pub fn turns(&self, class: ClassId) -> impl Iterator<Item = Turn> + '_ {
        self.waiting.turns(class)
    }

    /// How many jobs wait in classes that do not stand aside: they have yet to be tried.
    pub fn untried(&self) -> usize {
        self.waiting.untried()
    }

    /// Where a job stands in the order of service. Goes through all that go before it.
    pub fn standing(&self, class: ClassId, turn: Turn) -> Standing {
        self.waiting.standing(class, turn)
    }

    /// The score of a node that everything speaks for; 0 where the policy gives all nodes the same.
    pub fn full_score(&self) -> u32 {
        self.policy.full_score()
    }

    /// Whether jobs of this class wait and no node has room for one.
    pub fn stands_aside(&self, class: ClassId) -> bool {
        self.waiting.stands_aside(class)
    }

    /// Classes in which jobs wait that no node could run even if it were open and empty. None while there is no node.
    pub fn impossible(&self) -> Vec<ClassId> {
        if self.world.len() == 0 {
            return Vec::new();
        }
        let could = |class: &ClassId| self.classes[class.at()].as_ref().is_some_and(|known| self.world.able(&known.class) > 0);
        self.waiting.aside().iter().copied().filter(|class| !could(class)).collect()
    }

    /// How many nodes could run a task of this class if they were open and empty.
    pub fn able(&self, class: ClassId) -> u32 {
        self.classes[class.at()].as_ref().map_or(0, |known| self.world.able(&known.class))
    }

    /// The node's shape: nodes of one shape are alike when nothing runs there.
    pub fn shape_of(&self, node: NodeId) -> u32 {
        self.world.hot(node).shape
    }

    /// Whether a node of this shape could run a task of this class if it were open and empty.
    pub fn accepts(&self, class: ClassId, shape: u32) -> bool {
        self.classes[class.at()].as_ref().is_some_and(|known| known.class.by_shape(shape).is_ok())
    }

    /// How many tasks of this class the node could take now, one after the other.
    pub fn capacity(&self, class: ClassId, node: NodeId) -> u32 {
        self.classes[class.at()].as_ref().map_or(0, |known| self.world.capacity(&known.class, node))
    }

    /// How many nodes refuse a task of this class, and why. Looks at all nodes.
    pub fn refusals(&self, class: ClassId) -> Vec<(Reason, u32)> {
        self.classes[class.at()].as_ref().map(|known| self.world.refusals(&known.class)).unwrap_or_default()
    }

    /// How much of the free GPU share, in thousandths, is of no use to the policy's target workload, over all nodes.
    pub(crate) fn fragmentation(&self, fgd: &mut Fgd) -> f64 {
        fgd.learn(self.world.shapes());
        self.world.nodes().map(|node| fgd.fragmentation(&self.world, node)).sum()
    }

    /// Bytes that the indexes of all classes occupy.
    pub fn index_bytes(&self) -> usize {
        self.classes.iter().flatten().flat_map(|known| [&known.index, &known.unheld]).flatten().map(Index::bytes).sum()
    }

    /// Places waiting jobs in the order of their turns until nothing fits any more or a limit is reached. A class for which there is no
    /// room is passed over.
    pub fn pass(&mut self, limits: Limits) -> Pass {
        let mut decisions = Vec::new();
        if self.waiting.first().is_none() && !self.world.has_gained() {
            return Pass { decisions, unfinished: false };
        }
        let mut budget = limits.scores;
        self.ask_again(limits.decisions, &mut budget, &mut decisions);
        let mut unfinished = self.world.has_gained();
        while let Some((turn, class)) = self.waiting.first() {
            if decisions.len() >= limits.decisions {
                unfinished = true;
                break;
            }
            match self.place(class, View::All, &mut budget) {
                Some(Some(placed)) => {
                    self.waiting.remove(class, turn);
                    decisions.push(Decision::Place { turn, placed });
                }
                Some(None) => self.waiting.step_aside(class),
                None => {
                    unfinished = true;
                    break;
                }
            }
        }
        Pass { decisions, unfinished }
    }

    /// Places one task that does not wait in line, if there is room.
    pub fn place_now(&mut self, class: ClassId) -> Option<Placed> {
        let mut unlimited = usize::MAX;
        self.place(class, View::All, &mut unlimited).flatten()
    }

    /// The classes that stand aside are tried on each node that gained, and on no other.
    fn ask_again(&mut self, most_decisions: usize, budget: &mut usize, decisions: &mut Vec<Decision>) {
        let nodes = self.take_gained(budget);
        if let [node] = *nodes
            && self.waiting.first().is_none()
            && self.asked.is_none()
        {
            return self.offer(node, most_decisions, decisions);
        }
        self.rejoin(&nodes);
    }

    /// The same without placing anything.
    pub(crate) fn rejoin_gained(&mut self, mut budget: usize) {
        let nodes = self.take_gained(&mut budget);
        self.rejoin(&nodes);
    }

    /// Nodes that gained, as many as the classes that stand aside can be tried on; none while no class does.
    fn take_gained(&mut self, budget: &mut usize) -> Vec<NodeId> {
        let aside = self.waiting.aside().len();
        if aside == 0 {
            self.world.forget_gained();
            return Vec::new();
        }
        let nodes = self.world.take_gained((*budget / aside).max(1));
        *budget = budget.saturating_sub(aside * nodes.len());
        nodes
    }

    fn rejoin(&mut self, nodes: &[NodeId]) {
        let (world, classes) = (&self.world, &self.classes);
        self.waiting.rejoin(|class| {
            let Some(known) = &classes[class.at()] else { return false };
            nodes.iter().any(|node| world.fits(&known.class, *node))
        });
    }

    /// Everything that waits stands aside, and one node gained: whatever fits there fits nowhere else, and goes there in the order of turns
    /// without any index.
    fn offer(&mut self, node: NodeId, most_decisions: usize, decisions: &mut Vec<Decision>) {
        let fits = |world: &World, classes: &[Option<Known>], class: ClassId| {
            classes[class.at()].as_ref().is_some_and(|known| world.fits(&known.class, node))
        };
        let able = self.waiting.aside().iter().filter(|class| fits(&self.world, &self.classes, **class));
        let mut heads: BinaryHeap<Reverse<(Turn, ClassId)>> =
            able.filter_map(|class| Some(Reverse((self.waiting.head(*class)?, *class)))).collect();
        while let Some(Reverse((turn, class))) = heads.pop() {
            if !fits(&self.world, &self.classes, class) {
                continue;
            }
            if decisions.len() >= most_decisions {
                return self.world.keep_gained(node);
            }
            let Some(known) = &self.classes[class.at()] else { continue };
            let score = self.policy.score(&self.world, &known.class, node);
            let why = Why { score, runner_up: None, fitting: 1, nodes: self.world.len() as u32 };
            let placed = self.book(class, node, why);
            self.waiting.remove(class, turn);
            decisions.extend(placed.map(|placed| Decision::Place { turn, placed }));
            heads.extend(self.waiting.head(class).map(|head| Reverse((head, class))));
        }
    }

    /// `None` when the budget of scores does not suffice for an answer.
    pub(crate) fn place(&mut self, class: ClassId, view: View, budget: &mut usize) -> Option<Option<Placed>> {
        if self.asked.is_some() {
            return Some(self.place_from_outside(class, view));
        }
        let known = self.classes[class.at()].as_mut()?;
        let index = match view {
            View::All => &mut known.index,
            View::Unheld => &mut known.unheld,
        };
        let index = index.get_or_insert_with(|| Index::new(&self.world, view, self.search == Search::Drawn));
        if !index.catch_up(&self.world, &*self.policy, &known.class, &mut self.scratch, budget) {
            return None;
        }
        let labels = self.world.labels();
        let found = match self.search {
            Search::Best | Search::Drawn => index.best(labels, &mut self.rng),
            Search::Turns => index.next_in_turn(self.turn, labels),
        };
        let Some(Found { node, score, runner_up }) = found else { return Some(None) };
        let why = Why { score, runner_up, fitting: index.fitting(), nodes: self.world.len() as u32 };
        Some(self.book(class, node, why))
    }

    /// A task of the class starts on the node, which has room for it.
    pub(crate) fn book(&mut self, class: ClassId, node: NodeId, why: Why) -> Option<Placed> {
        let known = self.classes[class.at()].as_ref()?;
        let gpus = self.policy.gpus(&self.world, &known.class, node, &mut self.rng);
        let placement = self.world.take(node, &known.class.task, gpus);
        self.turn = node.at() + 1;
        Some(Placed { placement, why })
    }
}
