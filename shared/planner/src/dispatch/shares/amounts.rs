//! What queues divide among each other: GPUs, processors, and memory.

use std::fmt;

use crate::class::TaskClass;

/// Something of which there is only so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    Gpu,
    Cpu,
    Memory,
}

impl Resource {
    pub const ALL: [Resource; 3] = [Self::Gpu, Self::Cpu, Self::Memory];

    /// In words, with the unit of [`Amounts`].
    pub fn as_str(self) -> &'static str {
        match self {
            Resource::Gpu => "GPU milli",
            Resource::Cpu => "CPU milli",
            Resource::Memory => "MiB of memory",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// So much of each resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts {
    pub gpu_milli: u64,
    pub cpu_milli: u64,
    pub memory_mib: u64,
}

impl Amounts {
    /// What so many tasks of a class hold.
    pub fn of(task: &TaskClass, tasks: u32) -> Self {
        let tasks = u64::from(tasks);
        Self {
            gpu_milli: tasks * u64::from(task.gpus) * u64::from(task.gpu_milli),
            cpu_milli: tasks * u64::from(task.cpu_milli),
            memory_mib: tasks * u64::from(task.memory_mib),
        }
    }

    pub fn get(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Gpu => self.gpu_milli,
            Resource::Cpu => self.cpu_milli,
            Resource::Memory => self.memory_mib,
        }
    }

    #[must_use]
    pub(crate) fn plus(&self, other: &Amounts) -> Self {
        self.each(other, u64::saturating_add)
    }

    /// Never below zero: books that have more taken out than put in are a bug that debug builds stop at.
    #[must_use]
    pub(crate) fn minus(&self, other: &Amounts) -> Self {
        debug_assert!(Resource::ALL.into_iter().all(|resource| self.get(resource) >= other.get(resource)), "{other:?} out of {self:?}");
        self.each(other, u64::saturating_sub)
    }

    fn each(&self, other: &Amounts, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            gpu_milli: of(self.gpu_milli, other.gpu_milli),
            cpu_milli: of(self.cpu_milli, other.cpu_milli),
            memory_mib: of(self.memory_mib, other.memory_mib),
        }
    }

    pub(super) fn parts(&self) -> Parts {
        Resource::ALL.map(|resource| self.get(resource) as f64)
    }
}

/// A bound for each resource, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    pub gpu_milli: Option<u64>,
    pub cpu_milli: Option<u64>,
    pub memory_mib: Option<u64>,
}

impl Bounds {
    pub fn get(&self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::Gpu => self.gpu_milli,
            Resource::Cpu => self.cpu_milli,
            Resource::Memory => self.memory_mib,
        }
    }

    /// The bounds that there are.
    pub(super) fn set(&self) -> impl Iterator<Item = (Resource, u64)> + '_ {
        Resource::ALL.into_iter().filter_map(|resource| Some((resource, self.get(resource)?)))
    }
}

/// Amounts while they are divided, in the order of [`Resource::ALL`].
pub(super) type Parts = [f64; Resource::ALL.len()];
