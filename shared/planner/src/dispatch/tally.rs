//! How many tasks of a job fit, and where, once some that run have ended.

use std::collections::HashMap;

use crate::index::View;
use crate::node::NodeId;
use crate::world::{RackId, World};

use super::gang::Gang;
use super::request::Level;
use super::room::Room;

/// An expected start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// `u64::MAX` when it depends on jobs without an estimate.
    pub(super) at_ms: u64,
    /// Enough for the fewest tasks that the job starts with.
    pub(super) nodes: Vec<NodeId>,
}

/// Where all tasks of a job would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Node(NodeId),
    Rack(RackId),
    Block(u32),
    Anywhere,
}

/// How many tasks fit once some that run have ended.
pub(super) struct Tally<'a> {
    room: &'a Room,
    level: Option<Level>,
    wanted: u64,
    /// What differs from the room now.
    nodes: HashMap<NodeId, u64>,
    racks: HashMap<RackId, u64>,
    blocks: HashMap<u32, u64>,
    total: u64,
}

impl<'a> Tally<'a> {
    pub(super) fn new(room: &'a Room, gang: &Gang) -> Self {
        let level = gang.topology.filter(|topology| topology.required).map(|topology| topology.level);
        let total = room.total(View::Unheld);
        let (nodes, racks, blocks) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { room, level, wanted: gang.min_tasks.into(), nodes, racks, blocks, total }
    }

    fn on_node(&self, node: NodeId) -> u64 {
        self.nodes.get(&node).copied().unwrap_or_else(|| self.room.on_node(node, View::Unheld))
    }

    /// So many tasks fit on the node now. Returns where all that are wanted do, if that is so there.
    pub(super) fn set(&mut self, world: &World, node: NodeId, tasks: u64) -> Option<Place> {
        let rack = world.domains().rack_of(node);
        let block = world.domains().block_of(rack);
        let old = self.on_node(node);
        self.nodes.insert(node, tasks);
        self.total = self.total + tasks - old;
        let in_rack = self.racks.entry(rack).or_insert_with(|| self.room.in_rack(rack, View::Unheld));
        *in_rack = *in_rack + tasks - old;
        let in_block = self.blocks.entry(block).or_insert_with(|| self.room.in_block(block, View::Unheld));
        *in_block = *in_block + tasks - old;
        let (sum, place) = match self.level {
            None => (self.total, Place::Anywhere),
            Some(Level::Node) => (tasks, Place::Node(node)),
            Some(Level::Rack) => (*in_rack, Place::Rack(rack)),
            Some(Level::Block) => (*in_block, Place::Block(block)),
        };
        (sum >= self.wanted).then_some(place)
    }

    fn in_rack(&self, rack: RackId) -> u64 {
        self.racks.get(&rack).copied().unwrap_or_else(|| self.room.in_rack(rack, View::Unheld))
    }

    fn in_block(&self, block: u32) -> u64 {
        self.blocks.get(&block).copied().unwrap_or_else(|| self.room.in_block(block, View::Unheld))
    }

    /// Where they fit.
    pub(super) fn find(&self, world: &World) -> Option<Place> {
        let (racks, blocks) = self.room.domains();
        let enough = |sum: u64| sum >= self.wanted;
        match self.level {
            None => enough(self.total).then_some(Place::Anywhere),
            Some(Level::Node) => world.nodes().find(|node| enough(self.on_node(*node))).map(Place::Node),
            Some(Level::Rack) => (0..racks as u32).map(RackId).find(|rack| enough(self.in_rack(*rack))).map(Place::Rack),
            Some(Level::Block) => (0..blocks as u32).find(|block| enough(self.in_block(*block))).map(Place::Block),
        }
    }

    /// Nodes with room for all tasks. Those that have the least room now go first: what is free already stays so for others.
    pub(super) fn choose(&self, world: &World, place: Place) -> Vec<NodeId> {
        let now = |node| (self.room.on_node(node, View::Unheld), std::cmp::Reverse(self.on_node(node)), node);
        self.first_by(world, place, self.wanted, now)
    }

    /// Nodes with room for all tasks, at most so many. Those that have the least room then go first.
    pub(super) fn choose_fullest(&self, world: &World, place: Place, tasks: u64) -> Vec<NodeId> {
        self.first_by(world, place, tasks, |node| (self.on_node(node), node))
    }

    fn first_by<K: Ord>(&self, world: &World, place: Place, tasks: u64, key: impl Fn(NodeId) -> K) -> Vec<NodeId> {
        let domains = world.domains();
        let is_there = |node: &NodeId| match place {
            Place::Node(wanted) => *node == wanted,
            Place::Rack(rack) => domains.rack_of(*node) == rack,
            Place::Block(block) => domains.block_of(domains.rack_of(*node)) == block,
            Place::Anywhere => true,
        };
        let mut able: Vec<NodeId> = world.nodes().filter(is_there).filter(|node| self.on_node(*node) > 0).collect();
        able.sort_by_cached_key(|node| key(*node));
        let mut left = tasks;
        able.into_iter()
            .take_while(|node| {
                let is_needed = left > 0;
                left = left.saturating_sub(self.on_node(*node));
                is_needed
            })
            .collect()
    }
}
