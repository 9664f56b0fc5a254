//! What is known of one node, as numbers. What the choice of a node reads for each candidate fits in one cache line; the rest lies apart.

use crate::class::{Closed, Size};
use crate::gpus::{GpuSet, MAX_NODE_GPUS, WHOLE_GPU_MILLI};

/// Stands for "as much as one likes", where a node does not say what it has.
pub(crate) const UNBOUNDED: u32 = u32::MAX;

/// A node's number. It is given anew after the node has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// The number: from 0, in the order of joining, as long as no node leaves.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// What a running task holds of a node; given back when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    pub node: NodeId,
    pub gpus: GpuSet,
    /// Which life of the node's number it belongs to.
    pub(crate) joined: u32,
    pub(crate) cpu_milli: u32,
    pub(crate) memory_mib: u32,
    pub(crate) gpu_milli: u16,
    pub(crate) gpu_memory_mib: u32,
}

/// What is read of a node for every candidate.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(crate) struct Node {
    /// A GPU that is out of service has nothing free.
    pub(crate) free_milli: [u16; MAX_NODE_GPUS],
    /// [`UNBOUNDED`] when the node does not say; so are memory and slots.
    pub(crate) free_cpu_milli: u32,
    pub(crate) free_memory_mib: u32,
    pub(crate) free_slots: u32,
    pub(crate) free_gpu_milli: u32,
    pub(crate) shape: u32,
    pub(crate) largest_milli: u16,
    pub(crate) gpus: u8,
    pub(crate) idle_gpus: u8,
    pub(crate) open: bool,
}

impl Node {
    /// Free CPU as far as it is known: 0 for a node that does not say.
    pub(crate) fn known_cpu_milli(&self) -> u32 {
        if self.free_cpu_milli == UNBOUNDED { 0 } else { self.free_cpu_milli }
    }

    pub(crate) fn sum_up(&mut self) {
        let free = &self.free_milli[..usize::from(self.gpus)];
        self.free_gpu_milli = free.iter().map(|milli| u32::from(*milli)).sum();
        self.largest_milli = free.iter().copied().max().unwrap_or(0);
        self.idle_gpus = free.iter().filter(|milli| **milli == WHOLE_GPU_MILLI).count() as u8;
    }
}

/// What running tasks hold of a node, which may be more than it has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used {
    pub(crate) cpu_milli: u64,
    pub(crate) memory_mib: u64,
    pub(crate) slots: u32,
    pub(crate) gpu_milli: [u32; MAX_NODE_GPUS],
    pub(crate) gpu_mib: [u32; MAX_NODE_GPUS],
}

/// What is read of a node only now and then.
#[derive(Debug, Clone)]
pub(crate) struct Details {
    pub(crate) name: Box<str>,
    pub(crate) rack: Box<str>,
    pub(crate) block: Box<str>,
    /// `None` when it is open.
    pub(crate) closed: Option<Closed>,
    pub(crate) out_of_service: GpuSet,
    pub(crate) free_mib: [u32; MAX_NODE_GPUS],
    pub(crate) used: Used,
    /// Tasks with GPUs that run there, by [`Size`].
    pub(crate) running: [u16; Size::COUNT],
    pub(crate) joined: u32,
    pub(crate) is_vacant: bool,
}
