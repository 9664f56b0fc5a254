//! What free GPUs are free for: each open node's class, from what waits.

use faultline_engine::goodput::Class;
use faultline_planner::{Blocking, ClassId, TaskClass};

use super::Simulation;
use super::demand::{Demand, Fits};

impl Simulation<'_> {
    /// Says what the free GPUs of open nodes are from now on.
    pub(super) fn classify_free(&mut self) {
        if self.demand.waiting == 0 {
            return self.books.all_free(self.now_ms, Some(Class::NoDemand));
        }
        self.books.all_free(self.now_ms, None);
        let changed = std::mem::take(&mut self.demand.changed);
        changed.iter().for_each(|node| self.recount_free(*node));
        let known = self.all_fits(&changed);
        if known == self.demand.known {
            changed.iter().for_each(|node| self.classify(*node, &known));
        } else {
            (0..self.demand.free.len()).for_each(|node| self.classify(node, &known));
            self.demand.known = known;
        }
    }

    fn classify(&mut self, node: usize, known: &[Fits]) {
        if self.demand.free[node] > 0 {
            let class = self.class_of(node, known);
            self.books.free_class(self.now_ms, node, class);
        }
    }

    fn recount_free(&mut self, node: usize) {
        let (known_milli, _) = self.broken_free_milli(node);
        let free_milli = self.setup.cluster.gpu_milli(node).saturating_sub(self.watch.held(node).gpu_milli as u32 + known_milli);
        let is_open = self.nodes.is_open(node);
        let demand = &mut self.demand;
        demand.is_changed[node] = false;
        let before = std::mem::replace(&mut demand.free[node], if is_open { free_milli } else { 0 });
        let of_shape = &mut demand.free_of_shape[demand.shape_of[node]];
        *of_shape = *of_shape - u64::from(before) + u64::from(demand.free[node]);
    }

    /// What holds of each kind of job that waits.
    fn all_fits(&mut self, changed: &[usize]) -> Vec<Fits> {
        // Where jobs are passed over, whatever fits has started.
        let settings = &self.setup.dispatch;
        let has_queues = !settings.queues.is_empty();
        let may_be_held_back = settings.blocking != Blocking::Skip || settings.reserve_after_ms.is_some() || has_queues;
        let dispatcher = &self.dispatcher;
        let (planner, nodes) = (self.dispatcher.planner(), &self.nodes);
        let Demand { asked, accepts, free, free_of_shape, .. } = &mut self.demand;
        let room = |class: ClassId, node: usize| if free[node] > 0 { planner.capacity(class, nodes.id(node)) } else { 0 };
        let fits = asked.iter_mut().filter(|(_, asked)| asked.jobs > 0).map(|(key, asked)| {
            let task = &self.setup.workload.classes[key.class as usize];
            let accepted = free_of_shape.iter().zip(&accepts[key.class as usize]).filter(|(_, accepts)| **accepts);
            let pooled =
                accepted.map(|(milli, _)| milli).sum::<u64>() >= u64::from(key.tasks) * u64::from(task.gpus) * u64::from(task.gpu_milli);
            if may_be_held_back {
                let is_new = asked.room.is_empty();
                if is_new {
                    asked.room = (0..free.len()).map(|node| room(asked.class, node)).collect();
                    asked.all_room = asked.room.iter().map(|room| u64::from(*room)).sum();
                }
                for node in changed.iter().filter(|_| !is_new) {
                    let before = std::mem::replace(&mut asked.room[*node], room(asked.class, *node));
                    asked.all_room = asked.all_room - u64::from(before) + u64::from(asked.room[*node]);
                }
            }
            let is_bound = has_queues && dispatcher.bound(key.queue, asked.class, key.tasks, key.preemptible).is_some();
            Fits { is_bound, key: *key, class: asked.class, whole: may_be_held_back && asked.all_room >= key.tasks.into(), pooled }
        });
        fits.collect()
    }

    fn class_of(&self, node: usize, known: &[Fits]) -> Class {
        if self.demand.is_reserved[node] > 0 {
            return Class::Reserved;
        }
        let planner = self.dispatcher.planner();
        let accepted = |fits: &&Fits| self.demand.accepts[fits.key.class as usize][self.demand.shape_of[node]];
        let mut held_back = known.iter().filter(|fits| fits.whole && planner.capacity(fits.class, self.nodes.id(node)) > 0);
        if let Some(first) = held_back.next() {
            let all_bound = first.is_bound && held_back.all(|fits| fits.is_bound);
            return if all_bound { Class::BlockedByQuota } else { Class::BlockedByOrder };
        }
        if known.iter().all(|fits| self.lacks_host(node, &self.setup.workload.classes[fits.key.class as usize])) {
            return Class::Stranded;
        }
        if !known.iter().any(|fits| accepted(&fits)) {
            return Class::Constrained;
        }
        if known.iter().filter(accepted).any(|fits| fits.pooled) { Class::Fragmented } else { Class::Short }
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
    use faultline_planner::{DispatchSettings, Gpu, Machine};

    use super::super::tests::job;
    use super::*;
    use crate::cluster::Cluster;
    use crate::workload::{Job, Workload};
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
