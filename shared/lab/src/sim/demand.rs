//! What waits, kind by kind, and what is free for it.

use std::collections::{BTreeMap, HashMap};

use faultline_planner::{ClassId, JobNumber, Machine, NodeId, TaskClass};

use crate::cluster::Cluster;
use crate::workload::{Job, Workload};

/// Jobs that wait and ask for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Of the workload.
    pub(super) class: u32,
    /// How many must fit.
    pub(super) tasks: u32,
    pub(super) queue: u32,
    pub(super) preemptible: bool,
}

impl Key {
    fn of(job: &Job) -> Self {
        Self { class: job.class, tasks: job.min_tasks, queue: job.queue, preemptible: job.preemptible }
    }
}

/// One kind of job.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) class: ClassId,
    /// How many of them wait.
    pub(super) jobs: usize,
    /// By node, how many of its tasks fit; kept up while some wait, if it matters.
    pub(super) room: Vec<u32>,
    pub(super) all_room: u64,
}

/// What holds of one kind of job on all nodes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fits {
    pub(super) key: Key,
    pub(super) class: ClassId,
    /// All its tasks fit, and yet it was not started.
    pub(super) whole: bool,
    /// Its queue has what it may have.
    pub(super) is_bound: bool,
    /// It would fit if all free GPUs that it accepts were in one place.
    pub(super) pooled: bool,
}

#[derive(Debug)]
pub(super) struct Demand {
    pub(super) asked: BTreeMap<Key, Asked>,
    /// How many jobs wait.
    pub(super) waiting: usize,
    /// Nodes that are kept for a job, by the job.
    pub(super) reserved: HashMap<JobNumber, Vec<usize>>,
    /// By node, how many jobs it is kept for.
    pub(super) is_reserved: Vec<u32>,
    /// By node: which nodes have the same GPUs, as a number.
    pub(super) shape_of: Vec<usize>,
    /// By class of the workload and shape: whether the GPUs would do.
    pub(super) accepts: Vec<Vec<bool>>,
    /// By node: what is free of its GPUs, 0 while it is closed.
    pub(super) free: Vec<u32>,
    /// The same by shape.
    pub(super) free_of_shape: Vec<u64>,
    /// Nodes that changed since they were classified.
    pub(super) changed: Vec<usize>,
    pub(super) is_changed: Vec<bool>,
    /// What the classes rest on.
    pub(super) known: Vec<Fits>,
}

impl Demand {
    pub(super) fn new(cluster: &Cluster, workload: &Workload) -> Self {
        let mut shapes: Vec<&Machine> = Vec::new();
        let mut shape_of = Vec::with_capacity(cluster.machines.len());
        for machine in &cluster.machines {
            let same = |other: &&Machine| other.gpus == machine.gpus && other.kinds == machine.kinds;
            let shape = shapes.iter().position(same).unwrap_or_else(|| {
                shapes.push(machine);
                shapes.len() - 1
            });
            shape_of.push(shape);
        }
        let accepts = workload.classes.iter().map(|task| shapes.iter().map(|machine| would_do(task, machine)).collect()).collect();
        let nodes = shape_of.len();
        Self {
            asked: BTreeMap::new(),
            waiting: 0,
            reserved: HashMap::new(),
            is_reserved: vec![0; nodes],
            shape_of,
            accepts,
            free: vec![0; nodes],
            free_of_shape: vec![0; shapes.len()],
            changed: (0..nodes).collect(),
            is_changed: vec![true; nodes],
            known: Vec::new(),
        }
    }

    pub(super) fn waits(&mut self, class: ClassId, job: &Job) {
        let asked = self.asked.entry(Key::of(job)).or_insert(Asked { class, jobs: 0, room: Vec::new(), all_room: 0 });
        asked.class = class;
        asked.jobs += 1;
        self.waiting += 1;
    }

    /// It does not wait any more.
    pub(super) fn starts(&mut self, number: u32, job: &Job) {
        if let Some(asked) = self.asked.get_mut(&Key::of(job)) {
            asked.jobs -= 1;
            self.waiting -= 1;
            if asked.jobs == 0 {
                // Not kept up from now on: counted anew when it is needed again.
                asked.room.clear();
            }
        }
        self.reserve(number.into(), &[]);
    }

    /// These nodes are kept for the job, and no others.
    pub(super) fn reserve(&mut self, job: JobNumber, nodes: &[NodeId]) {
        for node in self.reserved.remove(&job).unwrap_or_default() {
            self.is_reserved[node] -= 1;
            self.changes(node);
        }
        if !nodes.is_empty() {
            let nodes: Vec<usize> = nodes.iter().map(|node| node.at()).collect();
            for node in &nodes {
                self.is_reserved[*node] += 1;
                self.changes(*node);
            }
            self.reserved.insert(job, nodes);
        }
    }

    /// What is free on the node changes, or whether it is open.
    pub(super) fn changes(&mut self, node: usize) {
        if !std::mem::replace(&mut self.is_changed[node], true) {
            self.changed.push(node);
        }
    }
}

/// Whether the GPUs of a machine are of a model and size that the task accepts.
fn would_do(task: &TaskClass, machine: &Machine) -> bool {
    let family = task.kind.split(':').next().unwrap_or_default();
    let runs_kind =
        task.kind.is_empty() || machine.kinds.is_empty() || machine.kinds.iter().any(|kind| *kind == task.kind || kind == family);
    let gpus = machine.gpus.iter().filter(|gpu| task.models.is_empty() || task.models.contains(&gpu.model));
    runs_kind && gpus.filter(|gpu| gpu.memory_mib >= task.gpu_memory_mib).count() > 0
}
