//! How many tasks of one class fit: on each node, in each rack and block, and in all. It reads the log of changes as indexes do, so whether a
//! gang fits, and in which domain, is a look at a few sums.

use crate::class::Class;
use crate::index::View;
use crate::node::NodeId;
use crate::world::{RackId, World};

/// Tasks that fit on all nodes, and on those that are not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sums {
    all: u64,
    unheld: u64,
}

impl Sums {
    fn of(self, view: View) -> u64 {
        match view {
            View::All => self.all,
            View::Unheld => self.unheld,
        }
    }

    fn add(&mut self, counted: Counted) {
        self.all += u64::from(counted.tasks);
        self.unheld += if counted.held { 0 } else { u64::from(counted.tasks) };
    }

    fn remove(&mut self, counted: Counted) {
        self.all -= u64::from(counted.tasks);
        self.unheld -= if counted.held { 0 } else { u64::from(counted.tasks) };
    }
}

/// What a node counts for, and where it was then.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    tasks: u32,
    rack: RackId,
    block: u32,
    held: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Room {
    nodes: Vec<Counted>,
    total: Sums,
    racks: Vec<Sums>,
    blocks: Vec<Sums>,
    /// The version up to which changes have been taken in.
    read: u64,
}

impl Room {
    pub(crate) fn catch_up(&mut self, world: &World, class: &Class, budget: &mut usize) {
        let (racks, blocks) = world.domains().counts();
        self.racks.resize(racks, Sums::default());
        self.blocks.resize(blocks, Sums::default());
        let from = self.nodes.len();
        self.nodes.resize(world.numbers(), Counted::default());
        let mut looks = world.numbers() - from;
        match world.changes().since(self.read) {
            Some(changes) => {
                for (version, node) in changes {
                    looks += 1;
                    if node.at() < from && world.version(node) == version {
                        self.count(world, class, node);
                    }
                }
                (from..world.numbers()).for_each(|node| self.count(world, class, NodeId(node as u32)));
            }
            None => {
                looks = world.numbers();
                (0..world.numbers()).for_each(|node| self.count(world, class, NodeId(node as u32)));
            }
        }
        self.read = world.changes().end();
        *budget = budget.saturating_sub(looks);
    }

    fn count(&mut self, world: &World, class: &Class, node: NodeId) {
        let rack = world.domains().rack_of(node);
        let block = world.domains().block_of(rack);
        let new = Counted { tasks: world.capacity(class, node), rack, block, held: world.is_held(node) };
        let old = std::mem::replace(&mut self.nodes[node.at()], new);
        for (sums, at, of) in [(&mut self.racks, rack.at(), new), (&mut self.blocks, block as usize, new)] {
            sums[at].add(of);
        }
        self.racks[old.rack.at()].remove(old);
        self.blocks[old.block as usize].remove(old);
        self.total.add(new);
        self.total.remove(old);
    }

    pub(crate) fn total(&self, view: View) -> u64 {
        self.total.of(view)
    }

    pub(crate) fn in_rack(&self, rack: RackId, view: View) -> u64 {
        self.racks[rack.at()].of(view)
    }

    pub(crate) fn in_block(&self, block: u32, view: View) -> u64 {
        self.blocks[block as usize].of(view)
    }

    pub(crate) fn on_node(&self, node: NodeId, view: View) -> u64 {
        let counted = self.nodes[node.at()];
        if counted.held && view == View::Unheld { 0 } else { counted.tasks.into() }
    }

    /// How many racks and blocks there are.
    pub(crate) fn domains(&self) -> (usize, usize) {
        (self.racks.len(), self.blocks.len())
    }
}
