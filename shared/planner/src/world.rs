//! The nodes as numbers: what is free on each, and what changed. Every change of a node gives it a new version and is written into the log that indexes catch up with.

mod changes;
mod order;

use std::collections::HashMap;

use crate::class::{Class, Closed, Size};
use crate::gpus::{GpuSet, MAX_NODE_GPUS, WHOLE_GPU_MILLI};
use crate::machine::{InvalidMachine, Machine, Parts, Shape, Shapes};
use crate::node::{Details, Node, NodeId, Placement, UNBOUNDED};
use crate::tie::TieRule;

use changes::Changes;
use order::Order;

/// All nodes.
#[derive(Debug)]
pub(crate) struct World {
    hot: Vec<Node>,
    cold: Vec<Details>,
    versions: Vec<u64>,
    shapes: Shapes,
    names: HashMap<Box<str>, NodeId>,
    vacant: Vec<NodeId>,
    joined: u32,
    changes: Changes,
    order: Order,
    /// Nodes on which more fits than before, until they are asked for.
    gained: Vec<NodeId>,
}

impl World {
    pub(crate) fn new(tie: TieRule) -> Self {
        Self {
            hot: Vec::new(),
            cold: Vec::new(),
            versions: Vec::new(),
            shapes: Shapes::default(),
            names: HashMap::new(),
            vacant: Vec::new(),
            joined: 0,
            changes: Changes::default(),
            order: Order::new(tie),
            gained: Vec::new(),
        }
    }

    #[inline]
    pub(crate) fn hot(&self, node: NodeId) -> &Node {
        &self.hot[node.at()]
    }

    pub(crate) fn cold(&self, node: NodeId) -> &Details {
        &self.cold[node.at()]
    }

    /// The numbers that nodes have or had: all are below this.
    pub(crate) fn numbers(&self) -> usize {
        self.hot.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.hot.len() - self.vacant.len()
    }

    pub(crate) fn shapes(&self) -> &[Shape] {
        self.shapes.all()
    }

    #[inline]
    pub(crate) fn parts(&self, node: NodeId) -> Parts {
        self.shapes.parts(self.hot(node).shape)
    }

    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Where each node stands among equals; the lowest goes first.
    pub(crate) fn labels(&self) -> &[u32] {
        self.order.labels()
    }

    pub(crate) fn named(&self, name: &str) -> Option<NodeId> {
        self.names.get(name).copied()
    }

    pub(crate) fn name(&self, node: NodeId) -> &str {
        &self.cold(node).name
    }

    /// The node's rack, and the block that the rack is in.
    pub(crate) fn place(&self, node: NodeId) -> (&str, &str) {
        let details = self.cold(node);
        (&details.rack, &details.block)
    }

    pub(crate) fn version(&self, node: NodeId) -> u64 {
        self.versions[node.at()]
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        (0..self.hot.len() as u32).map(NodeId).filter(|node| !self.cold(*node).is_vacant)
    }

    /// Nodes that gained since this was asked last, at most so many; the rest stays for the next time.
    pub(crate) fn take_gained(&mut self, most: usize) -> Vec<NodeId> {
        let from = self.gained.len().saturating_sub(most);
        self.gained.split_off(from)
    }

    /// The node is to be asked for again.
    pub(crate) fn keep_gained(&mut self, node: NodeId) {
        self.gained.push(node);
    }

    pub(crate) fn has_gained(&self) -> bool {
        !self.gained.is_empty()
    }

    pub(crate) fn join(&mut self, machine: &Machine) -> Result<NodeId, InvalidMachine> {
        if self.names.contains_key(machine.name.as_str()) {
            return Err(InvalidMachine::Joined(machine.name.clone()));
        }
        let shape = self.shapes.number(machine)?;
        let gpus = machine.gpus.len();
        let mut free_mib = [0; MAX_NODE_GPUS];
        let mut free_milli = [0; MAX_NODE_GPUS];
        for (position, gpu) in machine.gpus.iter().enumerate() {
            (free_mib[position], free_milli[position]) = (gpu.memory_mib, WHOLE_GPU_MILLI);
        }
        let mut hot = Node {
            free_milli,
            free_cpu_milli: machine.cpu_milli.unwrap_or(UNBOUNDED),
            free_memory_mib: machine.memory_mib.unwrap_or(UNBOUNDED),
            free_slots: machine.slots.unwrap_or(UNBOUNDED),
            free_gpu_milli: 0,
            shape,
            largest_milli: 0,
            gpus: gpus as u8,
            idle_gpus: 0,
            open: true,
        };
        hot.sum_up();
        self.joined += 1;
        let cold = Details {
            name: machine.name.as_str().into(),
            rack: machine.rack.as_str().into(),
            block: machine.block.as_str().into(),
            closed: None,
            out_of_service: GpuSet::default(),
            used_milli: [0; MAX_NODE_GPUS],
            free_mib,
            running: [0; Size::COUNT],
            joined: self.joined,
            is_vacant: false,
        };
        let node = match self.vacant.pop() {
            Some(node) => {
                (self.hot[node.at()], self.cold[node.at()]) = (hot, cold);
                node
            }
            None => {
                self.hot.push(hot);
                self.cold.push(cold);
                self.versions.push(0);
                NodeId(self.hot.len() as u32 - 1)
            }
        };
        self.names.insert(machine.name.as_str().into(), node);
        if self.order.joined(node, &machine.name) {
            self.changes.forget();
        }
        self.gain(node);
        Ok(node)
    }

    /// The node is gone, and with it what runs there.
    pub(crate) fn leave(&mut self, node: NodeId) {
        let name = self.cold(node).name.clone();
        self.names.remove(&name);
        self.order.left(&name);
        self.hot[node.at()].open = false;
        let cold = &mut self.cold[node.at()];
        (cold.closed, cold.is_vacant, cold.joined) = (Some(Closed::NotAlive), true, 0);
        self.vacant.push(node);
        self.change(node);
    }

    /// Nothing new is placed there, or with `None` again.
    pub(crate) fn close(&mut self, node: NodeId, closed: Option<Closed>) {
        let cold = &mut self.cold[node.at()];
        if cold.is_vacant || cold.closed == closed {
            return;
        }
        cold.closed = closed;
        self.hot[node.at()].open = closed.is_none();
        if closed.is_none() { self.gain(node) } else { self.change(node) }
    }

    /// Whether a GPU can be used; what runs there is not touched.
    pub(crate) fn set_in_service(&mut self, node: NodeId, gpu: usize, in_service: bool) {
        let cold = &mut self.cold[node.at()];
        if cold.out_of_service.contains(gpu) != in_service {
            return;
        }
        cold.out_of_service.set(gpu, !in_service);
        self.refresh(node, GpuSet::only(gpu));
        if in_service { self.gain(node) } else { self.change(node) }
    }

    /// Books a task. The caller has seen that it fits.
    pub(crate) fn take(&mut self, node: NodeId, class: &Class, gpus: GpuSet) -> Placement {
        let task = &class.task;
        let placement = Placement {
            node,
            gpus,
            joined: self.cold(node).joined,
            cpu_milli: task.cpu_milli,
            memory_mib: task.memory_mib,
            gpu_milli: task.gpu_milli,
            gpu_memory_mib: task.gpu_memory_mib,
        };
        let hot = &mut self.hot[node.at()];
        let take = |free: &mut u32, amount: u32| *free -= if *free == UNBOUNDED { 0 } else { amount };
        take(&mut hot.free_cpu_milli, placement.cpu_milli);
        take(&mut hot.free_memory_mib, placement.memory_mib);
        take(&mut hot.free_slots, 1);
        let cold = &mut self.cold[node.at()];
        for gpu in gpus.iter() {
            cold.used_milli[gpu] += placement.gpu_milli;
            cold.free_mib[gpu] -= placement.gpu_memory_mib;
        }
        if let Some(size) = Size::of(gpus.len(), placement.gpu_milli) {
            cold.running[size as usize] += 1;
        }
        self.refresh(node, gpus);
        if self.order.used(node) {
            self.changes.forget();
        }
        self.change(node);
        placement
    }

    /// A task has ended. One of a node that has left meanwhile holds nothing any more.
    pub(crate) fn give(&mut self, placement: &Placement) {
        let node = placement.node;
        if self.cold.get(node.at()).is_none_or(|cold| cold.joined != placement.joined) {
            return;
        }
        let hot = &mut self.hot[node.at()];
        let give = |free: &mut u32, amount: u32| *free += if *free == UNBOUNDED { 0 } else { amount };
        give(&mut hot.free_cpu_milli, placement.cpu_milli);
        give(&mut hot.free_memory_mib, placement.memory_mib);
        give(&mut hot.free_slots, 1);
        let cold = &mut self.cold[node.at()];
        for gpu in placement.gpus.iter() {
            cold.used_milli[gpu] -= placement.gpu_milli;
            cold.free_mib[gpu] += placement.gpu_memory_mib;
        }
        if let Some(size) = Size::of(placement.gpus.len(), placement.gpu_milli) {
            cold.running[size as usize] -= 1;
        }
        self.refresh(node, placement.gpus);
        self.gain(node);
    }

    fn refresh(&mut self, node: NodeId, gpus: GpuSet) {
        let (hot, cold) = (&mut self.hot[node.at()], &self.cold[node.at()]);
        for gpu in gpus.iter() {
            let usable = !cold.out_of_service.contains(gpu);
            hot.free_milli[gpu] = if usable { WHOLE_GPU_MILLI - cold.used_milli[gpu] } else { 0 };
        }
        hot.sum_up();
    }

    fn gain(&mut self, node: NodeId) {
        self.gained.push(node);
        self.change(node);
    }

    fn change(&mut self, node: NodeId) {
        self.versions[node.at()] = self.changes.push(node, self.hot.len());
    }
}
