//! What a node has, as it joins. Nodes that have the same are of one shape; what a class asks is compared with a shape once.

use std::collections::HashMap;

use thiserror::Error;

use crate::gpus::{GpuSet, MAX_NODE_GPUS, WHOLE_GPU_MILLI};

/// One GPU of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gpu {
    pub model: String,
    /// 0 when the GPU does not say: no task that asks for GPU memory is placed there.
    pub memory_mib: u32,
}

/// A node as it joins: what it has when nothing runs there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub name: String,
    /// Thousandths of a processor; `None` when the node does not say, and then they limit no task.
    pub cpu_milli: Option<u32>,
    /// The same of the host's memory.
    pub memory_mib: Option<u32>,
    /// The most tasks that may run at once, whatever they ask for; `None` for any number.
    pub slots: Option<u32>,
    pub gpus: Vec<Gpu>,
    /// The kinds of tasks that it runs; empty for all.
    pub kinds: Vec<String>,
    pub rack: String,
    /// What several racks share, such as a row.
    pub block: String,
}

/// Why a node cannot join.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidMachine {
    #[error("node `{name}` has {gpus} GPUs: at most {MAX_NODE_GPUS} can be planned for; split it into several nodes")]
    TooManyGpus { name: String, gpus: usize },
    #[error("node `{0}` has joined already: let it leave first")]
    Joined(String),
}

/// What nodes have in common that differ in name, place, and what runs there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) cpu_milli: Option<u32>,
    pub(crate) memory_mib: Option<u32>,
    pub(crate) slots: Option<u32>,
    pub(crate) gpus: Vec<Gpu>,
    pub(crate) kinds: Vec<String>,
}

impl Shape {
    pub(crate) fn all_gpus(&self) -> GpuSet {
        GpuSet::first(self.gpus.len())
    }

    /// Thousandths of GPUs that there are in all.
    pub(crate) fn gpu_milli(&self) -> u32 {
        self.gpus.len() as u32 * u32::from(WHOLE_GPU_MILLI)
    }
}

/// What one unit is of everything that a shape has, so that parts need no division.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    pub(crate) gpu: f32,
    pub(crate) cpu: f32,
    pub(crate) memory: f32,
    pub(crate) slots: f32,
}

impl Parts {
    fn of(shape: &Shape) -> Self {
        let of = |whole: Option<u32>| 1.0 / whole.unwrap_or(0).max(1) as f32;
        Self { gpu: of(Some(shape.gpu_milli())), cpu: of(shape.cpu_milli), memory: of(shape.memory_mib), slots: of(shape.slots) }
    }
}

/// The shapes that there are, by number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shapes {
    all: Vec<Shape>,
    parts: Vec<Parts>,
    numbers: HashMap<Shape, u32>,
}

impl Shapes {
    pub(crate) fn all(&self) -> &[Shape] {
        &self.all
    }

    pub(crate) fn parts(&self, number: u32) -> Parts {
        self.parts[number as usize]
    }

    pub(crate) fn number(&mut self, machine: &Machine) -> Result<u32, InvalidMachine> {
        if machine.gpus.len() > MAX_NODE_GPUS {
            return Err(InvalidMachine::TooManyGpus { name: machine.name.clone(), gpus: machine.gpus.len() });
        }
        let mut kinds = machine.kinds.clone();
        kinds.sort_unstable();
        let shape =
            Shape { cpu_milli: machine.cpu_milli, memory_mib: machine.memory_mib, slots: machine.slots, gpus: machine.gpus.clone(), kinds };
        let next = self.all.len() as u32;
        let number = *self.numbers.entry(shape.clone()).or_insert(next);
        if number == next {
            self.parts.push(Parts::of(&shape));
            self.all.push(shape);
        }
        Ok(number)
    }
}
