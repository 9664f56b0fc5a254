//! Task classes: everything that placement looks at. Tasks of one class are interchangeable, so what was found out for one holds for all.

use crate::gpus::{GpuSet, WHOLE_GPU_MILLI};
use crate::machine::Shape;

/// A class's number. It is given anew once no job waits in the class and nothing about it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub(crate) u32);

impl ClassId {
    pub(crate) fn at(self) -> usize {
        self.0 as usize
    }
}

/// What one task asks of one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TaskClass {
    pub cpu_milli: u32,
    pub memory_mib: u32,
    /// How many distinct GPUs; 0 for none.
    pub gpus: u16,
    /// The share taken from each of them, in thousandths, at most 1000.
    pub gpu_milli: u16,
    /// Memory taken from each of them.
    pub gpu_memory_mib: u32,
    /// Acceptable GPU models; empty for any.
    pub models: Vec<String>,
    /// Which executor runs it, such as `sleep` or `service:NAME`; empty when every node can.
    pub kind: String,
}

/// Why nothing new is placed on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Closed {
    NotAlive,
    Draining,
    /// It refused what was placed there, or did not know it, a moment ago.
    RefusedLately,
}

/// Why a node cannot take a task now. Those that hold even for an empty node come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    KindNotOffered,
    WrongModel,
    TooFewGpus,
    GpuMemoryTooSmall,
    CpuTooSmall,
    MemoryTooSmall,
    Closed(Closed),
    SlotsTaken,
    GpuOutOfService,
    GpuShareTaken,
    GpuMemoryTaken,
    CpuTaken,
    MemoryTaken,
}

/// How many GPUs a running task has, as far as policies tell tasks apart by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Share,
    One,
    Two,
    UpToFour,
    More,
}

impl Size {
    pub(crate) const COUNT: usize = 5;

    /// `None` for a task without a GPU.
    pub(crate) fn of(gpus: usize, gpu_milli: u16) -> Option<Self> {
        match gpus {
            0 => None,
            1 if gpu_milli < WHOLE_GPU_MILLI => Some(Size::Share),
            1 => Some(Size::One),
            2 => Some(Size::Two),
            3..=4 => Some(Size::UpToFour),
            _ => Some(Size::More),
        }
    }
}

/// A class as policies read it, with what was found out about each shape of node.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) task: TaskClass,
    /// By shape: the GPUs that would do if they were free, or why an empty node would not do.
    by_shape: Vec<Result<GpuSet, Reason>>,
}

impl Class {
    pub(crate) fn new(task: TaskClass) -> Self {
        Self { task, by_shape: Vec::new() }
    }

    /// Compares with shapes that were not there before.
    pub(crate) fn learn(&mut self, shapes: &[Shape]) {
        for shape in &shapes[self.by_shape.len()..] {
            self.by_shape.push(acceptable(&self.task, shape));
        }
    }

    /// All thousandths of GPUs that a task takes.
    pub(crate) fn all_gpu_milli(&self) -> u32 {
        u32::from(self.task.gpus) * u32::from(self.task.gpu_milli)
    }

    /// How many tasks an empty node of the shape can take at most.
    pub(crate) fn capacity_of(&self, number: u32, shape: &Shape) -> u32 {
        let Ok(acceptable) = self.by_shape(number) else { return 0 };
        let task = &self.task;
        let times = |whole: Option<u32>, one: u32| whole.and_then(|whole| whole.checked_div(one)).unwrap_or(u32::MAX);
        let on_gpu = |gpu: usize| {
            let shares = times(Some(WHOLE_GPU_MILLI.into()), task.gpu_milli.into());
            shares.min(times(Some(shape.gpus[gpu].memory_mib), task.gpu_memory_mib))
        };
        let places: u64 = acceptable.iter().map(|gpu| u64::from(on_gpu(gpu))).sum();
        let on_gpus = places.checked_div(task.gpus.into()).map_or(u32::MAX, |times| times.try_into().unwrap_or(u32::MAX));
        let host = times(shape.cpu_milli, task.cpu_milli).min(times(shape.memory_mib, task.memory_mib));
        host.min(shape.slots.unwrap_or(u32::MAX)).min(on_gpus)
    }

    pub(crate) fn by_shape(&self, shape: u32) -> Result<GpuSet, Reason> {
        self.by_shape[shape as usize]
    }
}

/// The GPUs of an empty node that would do, or why it never does.
fn acceptable(task: &TaskClass, shape: &Shape) -> Result<GpuSet, Reason> {
    let family = task.kind.split(':').next().unwrap_or_default();
    if !task.kind.is_empty() && !shape.kinds.is_empty() && !shape.kinds.iter().any(|kind| *kind == task.kind || kind == family) {
        return Err(Reason::KindNotOffered);
    }
    let mut of_model = shape.all_gpus();
    let mut large = of_model;
    for (position, gpu) in shape.gpus.iter().enumerate() {
        let is_wanted = task.models.is_empty() || task.models.contains(&gpu.model);
        of_model.set(position, is_wanted);
        large.set(position, is_wanted && gpu.memory_mib >= task.gpu_memory_mib);
    }
    let wanted = usize::from(task.gpus);
    if wanted > 0 && of_model.is_empty() && !shape.gpus.is_empty() {
        return Err(Reason::WrongModel);
    }
    if of_model.len() < wanted {
        return Err(Reason::TooFewGpus);
    }
    if large.len() < wanted {
        return Err(Reason::GpuMemoryTooSmall);
    }
    if shape.cpu_milli.is_some_and(|cpu_milli| cpu_milli < task.cpu_milli) {
        return Err(Reason::CpuTooSmall);
    }
    if shape.memory_mib.is_some_and(|memory_mib| memory_mib < task.memory_mib) {
        return Err(Reason::MemoryTooSmall);
    }
    Ok(large)
}
