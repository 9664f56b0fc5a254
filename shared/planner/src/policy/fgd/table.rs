//! The target workload, and what can be worked out of it for one shape of node before anything is placed.

use std::collections::HashMap;

use crate::class::TaskClass;
use crate::gpus::{GpuSet, WHOLE_GPU_MILLI};
use crate::machine::Shape;

/// The part of all tasks that the target's classes make up at least, in percent.
const COVERED_PERCENT: u64 = 95;

/// A class of the target: memory is no part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Typical {
    cpu_milli: u32,
    gpus: u16,
    gpu_milli: u16,
    models: Vec<String>,
}

impl Typical {
    fn accepts(&self, model: &String) -> bool {
        self.models.is_empty() || self.models.contains(model)
    }

    fn acceptable(&self, shape: &Shape) -> GpuSet {
        let mut acceptable = GpuSet::default();
        for (position, gpu) in shape.gpus.iter().enumerate() {
            acceptable.set(position, self.accepts(&gpu.model));
        }
        acceptable
    }

    /// Whether it wants several whole GPUs and does not mind which of this shape.
    fn is_settled_by_idle(&self, shape: &Shape, all: GpuSet) -> bool {
        self.gpus > 1 && self.gpu_milli == WHOLE_GPU_MILLI && self.acceptable(shape) == all
    }
}

/// The classes that make up most of a workload, with how often each comes.
#[derive(Debug)]
pub(super) struct Target {
    classes: Vec<(Typical, i64)>,
    tasks: i64,
    /// By free milli of a GPU: how many of the distinct shares, in ascending order, it has room for.
    step_of: Vec<u16>,
    /// The distinct shares of classes that want one GPU, ascending.
    shares: Vec<u16>,
}

impl Target {
    pub(super) fn new(workload: &[(TaskClass, u64)]) -> Option<Self> {
        let mut classes: Vec<(Typical, i64)> = Vec::new();
        let mut places: HashMap<Typical, usize> = HashMap::new();
        for (task, count) in workload {
            let mut models = task.models.clone();
            models.sort_unstable();
            let gpu_milli = if task.gpus == 0 { 0 } else { task.gpu_milli };
            let typical = Typical { cpu_milli: task.cpu_milli, gpus: task.gpus, gpu_milli, models };
            let place = *places.entry(typical.clone()).or_insert(classes.len());
            if place == classes.len() {
                classes.push((typical, 0));
            }
            classes[place].1 += i64::try_from(*count).unwrap_or(i64::MAX);
        }
        // Stable: of classes that come equally often, the one that came first stays first.
        classes.sort_by_key(|(_, count)| -count);
        let all: i64 = classes.iter().map(|(_, count)| count).sum();
        let mut tasks = 0;
        let enough = classes.iter().position(|(_, count)| {
            tasks += count;
            100 * tasks >= COVERED_PERCENT as i64 * all
        });
        classes.truncate(enough.filter(|_| all > 0)? + 1);
        let mut shares: Vec<u16> = classes.iter().filter(|(class, _)| class.gpus == 1).map(|(class, _)| class.gpu_milli).collect();
        shares.sort_unstable();
        shares.dedup();
        let step_of = (0..=WHOLE_GPU_MILLI).map(|free| shares.partition_point(|share| *share <= free) as u16).collect();
        Some(Self { classes, tasks, step_of, shares })
    }

    /// How many tasks its classes stand for.
    pub(super) fn tasks(&self) -> i64 {
        self.tasks
    }
}

/// A class of the target that wants several GPUs, and for which the number of idle ones does not settle it.
#[derive(Debug)]
struct Several {
    cpu_milli: u32,
    gpus: usize,
    gpu_milli: u16,
    acceptable: GpuSet,
    count: i64,
}

/// How much CPU is free, as far as the target's classes tell amounts apart.
#[derive(Clone, Copy)]
pub(super) struct CpuStep(usize);

/// The target as one shape of node sees it.
#[derive(Debug)]
pub(super) struct Table {
    tasks: i64,
    /// The distinct CPU that classes with GPUs ask for, ascending.
    cpu_steps: Vec<u32>,
    /// Distinct models of the shape's GPUs, by GPU.
    model_of: Vec<u8>,
    models: usize,
    /// By CPU step, model, and step of the free share: how many tasks of the target could use such a GPU alone.
    usable: Vec<i64>,
    shares: usize,
    /// By CPU step and number of idle GPUs: how many tasks of the target that want several whole GPUs could use those.
    usable_idle: Vec<i64>,
    several: Vec<Several>,
}

impl Table {
    pub(super) fn new(target: &Target, shape: &Shape) -> Self {
        let with_gpus = || target.classes.iter().filter(|(class, _)| class.gpus > 0);
        let mut cpu_steps: Vec<u32> = with_gpus().map(|(class, _)| class.cpu_milli).collect();
        cpu_steps.sort_unstable();
        cpu_steps.dedup();
        let mut names: Vec<&String> = shape.gpus.iter().map(|gpu| &gpu.model).collect();
        names.sort_unstable();
        names.dedup();
        let model_of = shape.gpus.iter().map(|gpu| names.partition_point(|name| **name < gpu.model) as u8).collect();
        let (all, shares) = (shape.all_gpus(), target.shares.len() + 1);
        let (mut usable, mut usable_idle) = (Vec::new(), Vec::new());
        for cpu_step in 0..=cpu_steps.len() {
            let has_cpu = |class: &Typical| cpu_steps[..cpu_step].last().is_some_and(|largest| class.cpu_milli <= *largest);
            for model in &names {
                for share in 0..shares {
                    let has_share = |class: &Typical| target.shares[..share].last().is_some_and(|largest| class.gpu_milli <= *largest);
                    let able =
                        with_gpus().filter(|(class, _)| class.gpus == 1 && has_cpu(class) && has_share(class) && class.accepts(model));
                    usable.push(able.map(|(_, count)| count).sum());
                }
            }
            for idle in 0..=shape.gpus.len() {
                let able = with_gpus()
                    .filter(|(class, _)| class.is_settled_by_idle(shape, all) && has_cpu(class) && usize::from(class.gpus) <= idle);
                usable_idle.push(able.map(|(_, count)| count).sum());
            }
        }
        let several = with_gpus().filter(|(class, _)| class.gpus > 1 && !class.is_settled_by_idle(shape, all)).map(|(class, count)| {
            let (cpu_milli, gpus, gpu_milli) = (class.cpu_milli, class.gpus.into(), class.gpu_milli);
            Several { cpu_milli, gpus, gpu_milli, acceptable: class.acceptable(shape), count: *count }
        });
        let several = several.filter(|class| class.acceptable.len() >= class.gpus).collect();
        Self { tasks: target.tasks, cpu_steps, models: names.len(), model_of, usable, shares, usable_idle, several }
    }

    pub(super) fn model_of(&self, gpu: usize) -> u8 {
        self.model_of[gpu]
    }

    #[inline]
    pub(super) fn cpu_step(&self, cpu_milli: u32) -> CpuStep {
        CpuStep(self.cpu_steps.partition_point(|step| *step <= cpu_milli))
    }

    /// What tasks of one GPU lose of a GPU with so much free, times the number of the target's tasks.
    #[inline]
    pub(super) fn lost(&self, target: &Target, step: CpuStep, gpu: usize, milli: u16) -> i64 {
        let row = step.0 * self.models + usize::from(self.model_of[gpu]);
        let able = self.usable[row * self.shares + usize::from(target.step_of[usize::from(milli)])];
        i64::from(milli) * (self.tasks - able)
    }

    /// What tasks of several GPUs can use, times the same: it is not lost after all.
    #[inline]
    pub(super) fn used_by_several(&self, step: CpuStep, cpu_milli: u32, free: &[u16], idle: usize) -> i64 {
        let row = step.0 * (self.model_of.len() + 1);
        let mut used = idle as i64 * i64::from(WHOLE_GPU_MILLI) * self.usable_idle[row + idle];
        for class in self.several.iter().filter(|class| class.cpu_milli <= cpu_milli) {
            let fitting = || class.acceptable.iter().map(|gpu| free[gpu]).filter(|milli| *milli >= class.gpu_milli);
            if fitting().count() >= class.gpus {
                used += class.count * fitting().map(i64::from).sum::<i64>();
            }
        }
        used
    }

    /// F, times the number of the target's tasks.
    pub(super) fn fragmentation(&self, target: &Target, cpu_milli: u32, free: &[u16]) -> i64 {
        let step = self.cpu_step(cpu_milli);
        let idle = free.iter().filter(|milli| **milli == WHOLE_GPU_MILLI).count();
        let lost: i64 = free.iter().enumerate().map(|(gpu, milli)| self.lost(target, step, gpu, *milli)).sum();
        lost - self.used_by_several(step, cpu_milli, free, idle)
    }
}
