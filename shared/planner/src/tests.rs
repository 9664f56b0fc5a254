//! What the tests of several files share, and the comparison of the planner with a scan.

mod against_scan;
mod asking;
mod passes;
mod would_fit;

use std::marker::PhantomData;

use crate::class::TaskClass;
use crate::machine::{Gpu, Machine};
use crate::node::{NodeId, Placement};
use crate::planner::Planner;
use crate::policy::Policy;
use crate::tie::TieRule;
use crate::waiting::Turn;

/// The turn of a job with a number for a name.
pub(crate) fn turn(order: u64, job: u64) -> Turn {
    let mut key = [0; 18];
    key[..8].copy_from_slice(&job.to_be_bytes());
    Turn { order, job: key }
}

pub(crate) fn gpu_task(gpus: u16, gpu_milli: u16, cpu_milli: u32) -> TaskClass {
    TaskClass { cpu_milli, gpus, gpu_milli, ..TaskClass::default() }
}

pub(crate) fn machine(name: &str, gpus: usize, cpu_milli: Option<u32>, slots: Option<u32>) -> Machine {
    Machine {
        name: name.to_owned(),
        cpu_milli,
        memory_mib: None,
        slots,
        gpus: vec![Gpu { model: "T4".to_owned(), memory_mib: 16_384 }; gpus],
        kinds: Vec::new(),
        rack: "r".to_owned(),
        block: "b".to_owned(),
    }
}

/// A few nodes and one policy, for examples that are worked out by hand.
pub(crate) struct Bench<P> {
    pub(crate) planner: Planner,
    policy: PhantomData<P>,
}

impl<P: Policy + 'static> Bench<P> {
    pub(crate) fn new(policy: P) -> Self {
        Self { planner: Planner::with(Box::new(policy), TieRule::First, 1), policy: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.planner.nodes()
    }

    pub(crate) fn join(&mut self, name: &str, gpus: usize, cpu_milli: Option<u32>, slots: Option<u32>) -> NodeId {
        self.planner.join(&machine(name, gpus, cpu_milli, slots)).unwrap()
    }

    /// Puts a task on this node and no other, on the GPUs with the least free.
    pub(crate) fn place(&mut self, node: NodeId, task: TaskClass) {
        self.planner.put(node, &task);
    }

    pub(crate) fn fits(&mut self, node: NodeId, task: &TaskClass) -> bool {
        self.planner.score_of(node, task).is_some()
    }

    pub(crate) fn score(&mut self, node: NodeId, task: TaskClass) -> u32 {
        self.planner.score_of(node, &task).expect("the task fits there")
    }

    pub(crate) fn take(&mut self, task: TaskClass) -> Option<(NodeId, Placement)> {
        let class = self.planner.class(&task);
        self.planner.place_now(class).map(|placed| (placed.node(), placed.placement))
    }

    pub(crate) fn give(&mut self, placement: &Placement) {
        self.planner.release(placement);
    }
}

impl Planner {
    /// Books a task on a node that the policy was not asked about.
    fn put(&mut self, node: NodeId, task: &TaskClass) -> Placement {
        let class = self.class(task);
        let known = self.classes[class.at()].as_ref().unwrap();
        assert!(self.world.fits(&known.class, node));
        let gpus = self.world.tightest_gpus(&known.class, node);
        self.world.take(node, &known.class.task, gpus)
    }

    /// What the policy gives a node, if the task fits there.
    fn score_of(&mut self, node: NodeId, task: &TaskClass) -> Option<u32> {
        let class = self.class(task);
        let known = self.classes[class.at()].as_ref().unwrap();
        self.world.fits(&known.class, node).then(|| self.policy.score(&self.world, &known.class, node))
    }
}
