//! Racks and blocks by number, and which nodes are in which. A rack belongs to its block: equal names in two blocks are two racks.

use std::collections::HashMap;

use crate::machine::Machine;
use crate::node::NodeId;

/// A rack's number. It stays, even when all its nodes have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct RackId(pub(crate) u32);

impl RackId {
    pub(crate) fn at(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug, Default)]
struct Rack {
    block: u32,
    nodes: Vec<NodeId>,
}

#[derive(Debug, Default)]
pub(crate) struct Domains {
    racks: Vec<Rack>,
    /// By block: its racks.
    blocks: Vec<Vec<RackId>>,
    rack_numbers: HashMap<(u32, Box<str>), RackId>,
    block_numbers: HashMap<Box<str>, u32>,
    /// By node.
    rack_of: Vec<RackId>,
}

impl Domains {
    pub(crate) fn joined(&mut self, node: NodeId, machine: &Machine) {
        let block = *self.block_numbers.entry(machine.block.as_str().into()).or_insert_with(|| {
            self.blocks.push(Vec::new());
            self.blocks.len() as u32 - 1
        });
        let rack = *self.rack_numbers.entry((block, machine.rack.as_str().into())).or_insert_with(|| {
            let rack = RackId(self.racks.len() as u32);
            self.racks.push(Rack { block, nodes: Vec::new() });
            self.blocks[block as usize].push(rack);
            rack
        });
        self.racks[rack.at()].nodes.push(node);
        self.rack_of.resize(self.rack_of.len().max(node.at() + 1), RackId::default());
        self.rack_of[node.at()] = rack;
    }

    pub(crate) fn left(&mut self, node: NodeId) {
        let rack = self.rack_of[node.at()];
        self.racks[rack.at()].nodes.retain(|other| *other != node);
    }

    pub(crate) fn rack_of(&self, node: NodeId) -> RackId {
        self.rack_of[node.at()]
    }

    pub(crate) fn block_of(&self, rack: RackId) -> u32 {
        self.racks[rack.at()].block
    }

    /// How many racks and blocks have a number.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.racks.len(), self.blocks.len())
    }

    pub(crate) fn nodes_of(&self, rack: RackId) -> &[NodeId] {
        &self.racks[rack.at()].nodes
    }

    pub(crate) fn racks_of(&self, block: u32) -> &[RackId] {
        &self.blocks[block as usize]
    }
}
