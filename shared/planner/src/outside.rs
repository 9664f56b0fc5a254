//! Placement by something outside the planner, such as a user's program. It is told of every node and of every change, and asked for a node
//! for each task. What it answers is checked; after a wrong answer, or none, nothing is placed any more.

use std::fmt::Debug;

use thiserror::Error;

use crate::class::TaskClass;
use crate::node::{NodeId, UNBOUNDED};
use crate::world::World;

/// One GPU of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuState<'a> {
    pub model: &'a str,
    /// 0 while it is out of service.
    pub free_milli: u16,
    pub free_mib: u32,
}

/// What is free on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState<'a> {
    pub name: &'a str,
    pub rack: &'a str,
    pub block: &'a str,
    /// Whether anything new is placed there.
    pub open: bool,
    /// `None` for any amount: the node does not say.
    pub free_cpu_milli: Option<u32>,
    pub free_memory_mib: Option<u32>,
    pub free_slots: Option<u32>,
    pub gpus: Vec<GpuState<'a>>,
}

/// Where a task is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub node: u32,
    /// Positions of the node's GPUs; `None` for those with the least free that fit.
    pub gpus: Option<Vec<usize>>,
}

/// Why nothing is placed any more.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct OutsideFailed(pub String);

/// Chooses nodes from outside.
pub trait Outside: Debug + Send {
    /// A node came or changed, or, with `None`, left. Comes before the next question.
    fn node(&mut self, number: u32, node: Option<NodeState<'_>>) -> Result<(), OutsideFailed>;

    /// One of the nodes on which the task fits, or `None`: then it waits until more is free somewhere.
    fn choose(&mut self, task: &TaskClass, fitting: &[u32]) -> Result<Option<Chosen>, OutsideFailed>;
}

/// What is kept about it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) outside: Box<dyn Outside>,
    /// The version up to which it was told of changes.
    told: u64,
    pub(crate) failed: Option<OutsideFailed>,
}

impl Asked {
    pub(crate) fn new(outside: Box<dyn Outside>) -> Self {
        Self { outside, told: 0, failed: None }
    }

    /// Of all that has changed since the last question.
    pub(crate) fn tell(&mut self, world: &World) -> Result<(), OutsideFailed> {
        let changed = changed_since(world, &mut self.told);
        changed.into_iter().try_for_each(|node| self.outside.node(node.0, state_of(world, node)))
    }
}

/// The nodes that changed since that version, which becomes the present one.
pub(crate) fn changed_since(world: &World, told: &mut u64) -> Vec<NodeId> {
    let all = || (0..world.numbers() as u32).map(NodeId).collect();
    let latest = |(version, node): (u64, NodeId)| (world.version(node) == version).then_some(node);
    let changed = world.changes().since(*told).map_or_else(all, |changes| changes.filter_map(latest).collect());
    *told = world.changes().end();
    changed
}

pub(crate) fn state_of(world: &World, node: NodeId) -> Option<NodeState<'_>> {
    let (hot, cold) = (world.hot(node), world.cold(node));
    let bounded = |free: u32| Some(free).filter(|free| *free < UNBOUNDED);
    let gpus = world.shapes()[hot.shape as usize].gpus.iter().enumerate();
    let gpus = gpus.map(|(at, gpu)| GpuState { model: &gpu.model, free_milli: hot.free_milli[at], free_mib: cold.free_mib[at] });
    (!cold.is_vacant).then(|| NodeState {
        name: &cold.name,
        rack: &cold.rack,
        block: &cold.block,
        open: hot.open,
        free_cpu_milli: bounded(hot.free_cpu_milli),
        free_memory_mib: bounded(hot.free_memory_mib),
        free_slots: bounded(hot.free_slots),
        gpus: gpus.collect(),
    })
}
