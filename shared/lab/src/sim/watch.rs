//! What must hold in every run, checked along the way: a run that breaks one of these says so, and none of its figures is to be believed.

use faultline_engine::goodput::{Class, Totals};
use faultline_planner::TaskClass;

use super::jobs::Life;
use crate::cluster::Cluster;
use crate::outcome::{End, JobRow, Violation};
use crate::workload::Job;

/// More than these are not kept: one tells it all.
const KEPT: usize = 100;

/// What jobs hold of a node.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) gpu_milli: u64,
    pub(super) cpu_milli: u64,
    pub(super) memory_mib: u64,
    pub(super) tasks: u64,
}

/// Books of its own, beside those of the planner and of the goodput.
#[derive(Debug)]
pub(super) struct Watch {
    held: Vec<Held>,
    /// Milliseconds x thousandths of GPUs of all progress, and of what was kept of it, counted apart from the books.
    made: u128,
    kept: u128,
    violations: Vec<Violation>,
}

impl Watch {
    pub(super) fn new(cluster: &Cluster) -> Self {
        Self { held: cluster.machines.iter().map(|_| Held::default()).collect(), made: 0, kept: 0, violations: Vec::new() }
    }

    pub(super) fn held(&self, node: usize) -> &Held {
        &self.held[node]
    }

    pub(super) fn violated(&mut self, violation: Violation) {
        if self.violations.len() < KEPT {
            self.violations.push(violation);
        }
    }

    /// A job starts with so many tasks on each of these nodes.
    pub(super) fn started(&mut self, at_ms: u64, number: u32, job: &Job, class: &TaskClass, holdings: &[(u32, u32)], cluster: &Cluster) {
        let tasks: u32 = holdings.iter().map(|(_, tasks)| *tasks).sum();
        if !(job.min_tasks..=job.tasks).contains(&tasks) {
            self.violated(Violation::GangSize { at_ms, job: number, tasks });
        }
        if at_ms < job.submit_ms {
            self.violated(Violation::NotWaiting { at_ms, job: number });
        }
        for (node, tasks) in holdings {
            let held = &mut self.held[*node as usize];
            held.add(class, *tasks);
            let machine = &cluster.machines[*node as usize];
            let limits = [
                ("GPU milli", held.gpu_milli, Some(u64::from(cluster.gpu_milli(*node as usize)))),
                ("CPU milli", held.cpu_milli, machine.cpu_milli.map(u64::from)),
                ("MiB of memory", held.memory_mib, machine.memory_mib.map(u64::from)),
                ("tasks", held.tasks, machine.slots.map(u64::from)),
            ];
            for (what, held, has) in limits {
                if let Some(has) = has.filter(|has| held > *has) {
                    self.violated(Violation::OverCapacity { at_ms, node: *node, what, held, has });
                }
            }
        }
    }

    pub(super) fn ended(&mut self, class: &TaskClass, holdings: &[(u32, u32)]) {
        for (node, tasks) in holdings {
            self.held[*node as usize].remove(class, *tasks);
        }
    }

    /// A job is over, or the run is.
    pub(super) fn job_over(&mut self, row: &JobRow, job: &Job, class: &TaskClass, life: &Life, open_ms: u64) {
        let task_milli = u128::from(class.gpus) * u128::from(class.gpu_milli);
        self.made += life.made_task_ms * task_milli;
        self.kept += life.kept_task_ms * task_milli;
        let number = row.job as u32;
        let judged_ms = row.productive_ms + row.lost_ms + open_ms;
        if judged_ms != life.made_ms {
            self.violated(Violation::WorkNotConserved { job: number, made_ms: life.made_ms, judged_ms });
        }
        // With fewer tasks than all it may take a millisecond more than its work, rounded up.
        let productive_ms = if life.was_shrunk { life.kept_ms(job) } else { row.productive_ms };
        if row.end == End::Committed && productive_ms != job.work_ms {
            self.violated(Violation::CommittedWork { job: number, productive_ms, work_ms: job.work_ms });
        }
    }

    /// The run is over: what the dispatcher and the books still hold of a node must be what runs there.
    pub(super) fn finish(mut self, totals: &Totals, expected: u128, booked: impl Fn(usize) -> u64) -> Vec<Violation> {
        for node in 0..self.held.len() {
            let milli = booked(node);
            if milli != self.held[node].gpu_milli {
                self.violated(Violation::Leaked { node: node as u32, milli });
            }
        }
        let (productive, open) = (totals.of(Class::Productive), totals.of(Class::Open));
        let judged = productive + totals.of(Class::Lost) + open;
        if (judged, productive) != (self.made, self.kept) {
            self.violated(Violation::ProgressNotConserved { made: self.made, judged, kept: self.kept, productive });
        }
        if !totals.is_exact() || totals.overbooked() > 0 || totals.capacity() != expected {
            self.violated(Violation::NotAPartition { sum: totals.sum(), capacity: expected });
        }
        self.violations
    }
}

impl Held {
    fn add(&mut self, class: &TaskClass, tasks: u32) {
        let tasks = u64::from(tasks);
        self.gpu_milli += tasks * u64::from(class.gpus) * u64::from(class.gpu_milli);
        self.cpu_milli += tasks * u64::from(class.cpu_milli);
        self.memory_mib += tasks * u64::from(class.memory_mib);
        self.tasks += tasks;
    }

    fn remove(&mut self, class: &TaskClass, tasks: u32) {
        let tasks = u64::from(tasks);
        self.gpu_milli -= tasks * u64::from(class.gpus) * u64::from(class.gpu_milli);
        self.cpu_milli -= tasks * u64::from(class.cpu_milli);
        self.memory_mib -= tasks * u64::from(class.memory_mib);
        self.tasks -= tasks;
    }
}
