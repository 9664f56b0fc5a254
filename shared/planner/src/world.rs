//! The nodes as numbers: what is free on each, and what changed. Every change of a node gives it a new version and is written into the log that indexes catch up with.

mod changes;
mod domains;
mod order;

use std::collections::HashMap;

use crate::class::{Class, Closed, Size, TaskClass};
use crate::gpus::{GpuSet, MAX_NODE_GPUS, WHOLE_GPU_MILLI};
use crate::machine::{InvalidMachine, Machine, Parts, Shape, Shapes};
use crate::node::{Details, Node, NodeId, Placement, UNBOUNDED, Used};
use crate::tie::TieRule;

use changes::Changes;
pub(crate) use domains::{Domains, RackId};
use order::Order;

/// All nodes.
#[derive(Debug)]
pub(crate) struct World {
    hot: Vec<Node>,
    cold: Vec<Details>,
    versions: Vec<u64>,
    shapes: Shapes,
    /// By shape: how many nodes have it.
    of_shape: Vec<u32>,
    names: HashMap<Box<str>, NodeId>,
    vacant: Vec<NodeId>,
    joined: u32,
    changes: Changes,
    order: Order,
    /// Nodes on which more fits than before, until they are asked for.
    gained: Vec<NodeId>,
    domains: Domains,
    /// By node: kept free for a reservation.
    held: Vec<bool>,
}

impl World {
    pub(crate) fn new(tie: TieRule) -> Self {
        Self {
            hot: Vec::new(),
            cold: Vec::new(),
            versions: Vec::new(),
            shapes: Shapes::default(),
            of_shape: Vec::new(),
            names: HashMap::new(),
            vacant: Vec::new(),
            joined: 0,
            changes: Changes::default(),
            order: Order::new(tie),
            gained: Vec::new(),
            domains: Domains::default(),
            held: Vec::new(),
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

    pub(crate) fn tie(&self) -> TieRule {
        self.order.tie()
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

    pub(crate) fn domains(&self) -> &Domains {
        &self.domains
    }

    /// Whether the node is kept free for a reservation.
    #[inline]
    pub(crate) fn is_held(&self, node: NodeId) -> bool {
        self.held[node.at()]
    }

    pub(crate) fn hold(&mut self, node: NodeId, held: bool) {
        if std::mem::replace(&mut self.held[node.at()], held) != held {
            self.change(node);
        }
    }

    /// These nodes as they are now, numbered anew from 0 in this order, for what is only tried out.
    pub(crate) fn sketch(&self, nodes: &[NodeId]) -> World {
        World {
            hot: nodes.iter().map(|node| self.hot(*node).clone()).collect(),
            cold: nodes.iter().map(|node| self.cold(*node).clone()).collect(),
            versions: vec![0; nodes.len()],
            held: nodes.iter().map(|node| self.is_held(*node)).collect(),
            shapes: self.shapes.clone(),
            ..World::new(TieRule::First)
        }
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

    /// They need not be asked for any more.
    pub(crate) fn forget_gained(&mut self) {
        self.gained.clear();
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
            free_mib,
            used: Used::default(),
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
                self.held.push(false);
                NodeId(self.hot.len() as u32 - 1)
            }
        };
        self.of_shape.resize(self.shapes.all().len(), 0);
        self.of_shape[shape as usize] += 1;
        self.names.insert(machine.name.as_str().into(), node);
        self.domains.joined(node, machine);
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
        self.domains.left(node);
        self.held[node.at()] = false;
        let hot = &mut self.hot[node.at()];
        hot.open = false;
        self.of_shape[hot.shape as usize] -= 1;
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
        if gpu >= usize::from(self.hot[node.at()].gpus) || cold.out_of_service.contains(gpu) != in_service {
            return;
        }
        cold.out_of_service.set(gpu, !in_service);
        self.refresh(node, GpuSet::only(gpu));
        if in_service { self.gain(node) } else { self.change(node) }
    }

    /// How many nodes could run a task of this class if they were open and empty.
    pub(crate) fn able(&self, class: &Class) -> u32 {
        (0..).zip(&self.of_shape).filter(|(shape, _)| class.by_shape(*shape).is_ok()).map(|(_, nodes)| *nodes).sum()
    }

    /// By shape: how many nodes have it.
    pub(crate) fn of_shape(&self) -> &[u32] {
        &self.of_shape
    }

    /// Books a task, whether or not it fits.
    pub(crate) fn take(&mut self, node: NodeId, task: &TaskClass, gpus: GpuSet) -> Placement {
        let placement = Placement {
            node,
            gpus,
            joined: self.cold(node).joined,
            cpu_milli: task.cpu_milli,
            memory_mib: task.memory_mib,
            gpu_milli: task.gpu_milli,
            gpu_memory_mib: task.gpu_memory_mib,
        };
        self.book(&placement);
        if self.order.used(node) {
            self.changes.forget();
        }
        self.change(node);
        placement
    }

    /// What if it ended: the books without it, which nothing but what is asked meanwhile may see. It must be booked again.
    pub(crate) fn set_aside(&mut self, placement: &Placement) -> bool {
        self.unbook(placement)
    }

    /// Whether the node that it was made for has not left.
    pub(crate) fn is_there(&self, placement: &Placement) -> bool {
        self.cold.get(placement.node.at()).is_some_and(|cold| cold.joined == placement.joined)
    }

    /// Books again what was set aside.
    pub(crate) fn put_back(&mut self, placement: &Placement) {
        self.book(placement);
    }

    fn book(&mut self, placement: &Placement) {
        let (node, gpus) = (placement.node, placement.gpus);
        let cold = &mut self.cold[node.at()];
        let used = &mut cold.used;
        used.cpu_milli += u64::from(placement.cpu_milli);
        used.memory_mib += u64::from(placement.memory_mib);
        used.slots += 1;
        for gpu in gpus.iter() {
            used.gpu_milli[gpu] += u32::from(placement.gpu_milli);
            used.gpu_mib[gpu] = used.gpu_mib[gpu].wrapping_add(placement.gpu_memory_mib);
        }
        if let Some(size) = Size::of(gpus.len(), placement.gpu_milli) {
            cold.running[size as usize] += 1;
        }
        self.refresh(node, gpus);
    }

    /// A task has ended. One of a node that has left meanwhile holds nothing any more.
    pub(crate) fn give(&mut self, placement: &Placement) {
        if self.unbook(placement) {
            self.gain(placement.node);
        }
    }

    /// A task is taken back that has not begun: no more fits than before it was booked.
    pub(crate) fn take_back(&mut self, placement: &Placement) {
        if self.unbook(placement) {
            self.change(placement.node);
        }
    }

    /// What was taken back is booked again.
    pub(crate) fn take_again(&mut self, placement: &Placement) {
        if self.cold(placement.node).joined == placement.joined {
            self.book(placement);
            self.change(placement.node);
        }
    }

    fn unbook(&mut self, placement: &Placement) -> bool {
        let node = placement.node;
        let Some(cold) = self.cold.get_mut(node.at()).filter(|cold| cold.joined == placement.joined) else { return false };
        let used = &mut cold.used;
        used.cpu_milli -= u64::from(placement.cpu_milli);
        used.memory_mib -= u64::from(placement.memory_mib);
        used.slots -= 1;
        for gpu in placement.gpus.iter() {
            used.gpu_milli[gpu] -= u32::from(placement.gpu_milli);
            used.gpu_mib[gpu] = used.gpu_mib[gpu].wrapping_sub(placement.gpu_memory_mib);
        }
        if let Some(size) = Size::of(placement.gpus.len(), placement.gpu_milli) {
            cold.running[size as usize] -= 1;
        }
        self.refresh(node, placement.gpus);
        true
    }

    /// What is free follows from what is used: of the host, and of these GPUs.
    fn refresh(&mut self, node: NodeId, gpus: GpuSet) {
        let (hot, cold) = (&mut self.hot[node.at()], &mut self.cold[node.at()]);
        let shape = &self.shapes.all()[hot.shape as usize];
        let left = |whole: Option<u32>, used: u64| {
            whole.map_or(UNBOUNDED, |whole| u64::from(whole).saturating_sub(used).try_into().unwrap_or(UNBOUNDED))
        };
        hot.free_cpu_milli = left(shape.cpu_milli, cold.used.cpu_milli);
        hot.free_memory_mib = left(shape.memory_mib, cold.used.memory_mib);
        hot.free_slots = left(shape.slots, cold.used.slots.into());
        for gpu in gpus.iter() {
            let usable = !cold.out_of_service.contains(gpu);
            let free_milli = u32::from(WHOLE_GPU_MILLI).saturating_sub(cold.used.gpu_milli[gpu]);
            hot.free_milli[gpu] = if usable { free_milli as u16 } else { 0 };
            cold.free_mib[gpu] = shape.gpus[gpu].memory_mib.saturating_sub(cold.used.gpu_mib[gpu]);
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
