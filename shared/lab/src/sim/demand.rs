//! What free GPUs are free for: each open node's class, from what waits.

use std::collections::{BTreeMap, HashMap};

use faultline_engine::goodput::Class;
use faultline_planner::{Blocking, ClassId, JobNumber, Machine, NodeId, TaskClass};

use super::Simulation;
use crate::cluster::Cluster;
use crate::workload::{Job, Workload};

/// Jobs that wait and ask for the same: the class of the workload, and how many tasks must fit.
type Key = (u32, u32);

#[derive(Debug, Clone, Copy)]
struct Waiting {
    class: ClassId,
    jobs: usize,
}

#[derive(Debug)]
pub(super) struct Demand {
    waiting: BTreeMap<Key, Waiting>,
    /// Nodes that are kept for a job, by the job.
    reserved: HashMap<JobNumber, Vec<usize>>,
    /// By node, how many jobs it is kept for.
    is_reserved: Vec<u32>,
    /// By node: which nodes have the same GPUs, as a number.
    shape_of: Vec<usize>,
    /// By class of the workload and shape: whether the GPUs would do.
    accepts: Vec<Vec<bool>>,
}

/// One kind of waiting job at an instant.
struct Asked<'a> {
    task: &'a TaskClass,
    class: ClassId,
    accepts: &'a [bool],
    /// All its tasks fit, and it was not started.
    fits_whole: bool,
    /// It would fit if all free GPUs that it accepts were in one place.
    fits_pooled: bool,
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
        let is_reserved = vec![0; shape_of.len()];
        Self { waiting: BTreeMap::new(), reserved: HashMap::new(), is_reserved, shape_of, accepts }
    }

    pub(super) fn waits(&mut self, class: ClassId, job: &Job) {
        self.waiting.entry((job.class, job.min_tasks)).or_insert(Waiting { class, jobs: 0 }).jobs += 1;
    }

    /// It does not wait any more.
    pub(super) fn starts(&mut self, number: u32, job: &Job) {
        let key = (job.class, job.min_tasks);
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.jobs -= 1;
            if waiting.jobs == 0 {
                self.waiting.remove(&key);
            }
        }
        self.reserve(number.into(), &[]);
    }

    /// These nodes are kept for the job, and no others.
    pub(super) fn reserve(&mut self, job: JobNumber, nodes: &[NodeId]) {
        for node in self.reserved.remove(&job).unwrap_or_default() {
            self.is_reserved[node] -= 1;
        }
        if !nodes.is_empty() {
            let nodes: Vec<usize> = nodes.iter().map(|node| node.at()).collect();
            nodes.iter().for_each(|node| self.is_reserved[*node] += 1);
            self.reserved.insert(job, nodes);
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

impl Simulation<'_> {
    /// Says what the free GPUs of open nodes are from now on.
    pub(super) fn classify_free(&mut self) {
        if self.demand.waiting.is_empty() {
            return self.books.all_free(self.now_ms, Some(Class::NoDemand));
        }
        self.books.all_free(self.now_ms, None);
        let free: Vec<(usize, u64)> = (0..self.setup.cluster.machines.len())
            .filter(|node| self.nodes.is_open(*node))
            .map(|node| (node, u64::from(self.setup.cluster.gpu_milli(node)).saturating_sub(self.watch.held(node).gpu_milli)))
            .filter(|(_, milli)| *milli > 0)
            .collect();
        let asked = self.asked(&free);
        let classes: Vec<(usize, Class)> = free.iter().map(|(node, _)| (*node, self.class_of(*node, &asked))).collect();
        for (node, class) in classes {
            self.books.free_class(self.now_ms, node, class);
        }
    }

    fn asked(&self, free: &[(usize, u64)]) -> Vec<Asked<'_>> {
        // Where jobs are passed over, whatever fits has started.
        let may_be_held_back = self.setup.dispatch.blocking != Blocking::Skip || self.setup.dispatch.reserve_after_ms.is_some();
        let ask = |((at, tasks), waiting): (&Key, &Waiting)| {
            let task = &self.setup.workload.classes[*at as usize];
            let accepts: &[bool] = &self.demand.accepts[*at as usize];
            let pooled: u64 = free.iter().filter(|(node, _)| accepts[self.demand.shape_of[*node]]).map(|(_, milli)| *milli).sum();
            let wanted = u64::from(*tasks) * u64::from(task.gpus) * u64::from(task.gpu_milli);
            let room = || {
                free.iter().map(|(node, _)| u64::from(self.dispatcher.planner().capacity(waiting.class, self.nodes.id(*node)))).sum::<u64>()
            };
            let fits_whole = may_be_held_back && pooled >= wanted && room() >= u64::from(*tasks);
            Asked { task, class: waiting.class, accepts, fits_whole, fits_pooled: pooled >= wanted }
        };
        self.demand.waiting.iter().map(ask).collect()
    }

    fn class_of(&self, node: usize, asked: &[Asked<'_>]) -> Class {
        if self.demand.is_reserved[node] > 0 {
            return Class::Reserved;
        }
        let planner = self.dispatcher.planner();
        let accepted = |asked: &&Asked<'_>| asked.accepts[self.demand.shape_of[node]];
        if asked.iter().any(|asked| asked.fits_whole && planner.capacity(asked.class, self.nodes.id(node)) > 0) {
            return Class::BlockedByOrder;
        }
        if asked.iter().all(|asked| self.lacks_host(node, asked.task)) {
            return Class::Stranded;
        }
        if !asked.iter().any(|asked| accepted(&asked)) {
            return Class::Constrained;
        }
        if asked.iter().filter(accepted).any(|asked| asked.fits_pooled) { Class::Fragmented } else { Class::Short }
    }

    /// Whether the node has too little CPU, memory, or slots for one task.
    fn lacks_host(&self, node: usize, task: &TaskClass) -> bool {
        let (machine, held) = (&self.setup.cluster.machines[node], self.watch.held(node));
        let lacks = |has: Option<u32>, held: u64, wanted: u64| has.is_some_and(|has| held + wanted > u64::from(has));
        lacks(machine.cpu_milli, held.cpu_milli, task.cpu_milli.into())
            || lacks(machine.memory_mib, held.memory_mib, task.memory_mib.into())
            || lacks(machine.slots, held.tasks, 1)
    }
}

#[cfg(test)]
mod tests {
    use faultline_planner::{DispatchSettings, Gpu};

    use super::super::tests::job;
    use super::*;
    use crate::{Setup, run};

    fn machine(name: &str, gpus: usize, model: &str, cpu_milli: u32) -> Machine {
        Machine {
            name: name.into(),
            cpu_milli: Some(cpu_milli),
            memory_mib: None,
            slots: None,
            gpus: vec![Gpu { model: model.into(), memory_mib: 0 }; gpus],
            kinds: Vec::new(),
            rack: "r".into(),
            block: "b".into(),
        }
    }

    fn task(gpus: u16, cpu_milli: u32, model: &str) -> TaskClass {
        TaskClass { gpus, gpu_milli: 1000, cpu_milli, models: vec![model.into()], ..TaskClass::default() }
    }

    /// GPU seconds of each free class over the hundred seconds that the first jobs run.
    fn free(machines: Vec<Machine>, classes: Vec<TaskClass>, jobs: Vec<(u32, u32)>, blocking: Blocking) -> Vec<(Class, u128)> {
        let job = |(class, tasks): (u32, u32)| Job { class, tasks, min_tasks: tasks, ..job(0, 100_000) };
        let jobs = jobs.into_iter().map(job).collect();
        let workload = Workload { jobs, classes, queues: vec!["q".into()], users: vec!["u".into()], names: Vec::new() };
        let dispatch = DispatchSettings { blocking, ..DispatchSettings::default() };
        let setup = Setup { horizon_ms: Some(100_000), ..Setup::new(Cluster { machines, spares: 0 }, workload, dispatch) };
        let outcome = run(&setup).unwrap();
        assert_eq!(outcome.violations, []);
        let seconds = Class::ALL.into_iter().map(|class| (class, outcome.totals.of(class) / 100_000_000));
        seconds.filter(|(class, gpus)| class.code().starts_with('C') && *gpus > 0).collect()
    }

    #[test]
    fn free_gpus_are_classified_as_by_hand() {
        let (a, b) = (|cpu: u32| machine("a", 4, "A", cpu), machine("b", 4, "B", 4_000));
        // Nothing waits.
        assert_eq!(free(vec![a(4_000)], vec![task(1, 0, "A")], vec![(0, 1)], Blocking::Skip), [(Class::NoDemand, 3)]);
        // The CPU is gone.
        let classes = vec![task(1, 4_000, "A")];
        assert_eq!(free(vec![a(4_000)], classes, vec![(0, 1), (0, 1)], Blocking::Skip), [(Class::Stranded, 3)]);
        // What waits wants another model, of which there is none free.
        let classes = vec![task(4, 0, "A")];
        assert_eq!(free(vec![a(4_000), b.clone()], classes.clone(), vec![(0, 1), (0, 1)], Blocking::Skip), [(Class::Constrained, 4)]);
        // Three GPUs on each of two nodes, and four are wanted.
        let classes = vec![task(1, 3_000, "A"), task(4, 0, "A")];
        let two = vec![a(4_000), machine("c", 4, "A", 4_000)];
        let spread = free(two.clone(), classes.clone(), vec![(0, 1), (0, 1), (1, 1)], Blocking::Skip);
        assert_eq!(spread, [(Class::Fragmented, 6)]);
        // Two gangs of two nodes, of which one is taken.
        assert_eq!(free(two.clone(), classes.clone(), vec![(1, 1), (1, 2)], Blocking::Skip), [(Class::Short, 4)]);
        // The gang is first in line, and the job behind it would fit.
        let strict = free(two, classes, vec![(1, 1), (1, 2), (0, 1)], Blocking::Strict);
        assert_eq!(strict, [(Class::BlockedByOrder, 4)]);
    }
}
