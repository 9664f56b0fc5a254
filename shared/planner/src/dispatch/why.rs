//! Why a job waits, as numbers.

use crate::class::Reason;

use super::Dispatcher;
use super::gang::Gang;
use super::job::Job;
use super::lines::LineId;
use super::request::{JobNumber, Request};
use super::shares::Bound;

/// What stands between a waiting job and its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhyWaiting {
    /// How many jobs of its queue go before it in the order.
    pub ahead: usize,
    /// The quota or limit that forbids its start, whatever is free.
    pub bound: Option<Bound>,
    /// How many nodes refuse one of its tasks, and why.
    pub refusals: Vec<(Reason, u32)>,
    /// How many of its tasks fit now, wherever they are, and how many must.
    pub fitting: u64,
    pub wanted: u32,
    /// The nodes that are kept for it, and when it is expected to start there.
    pub reserved_nodes: usize,
    pub expected_start_ms: Option<u64>,
    /// The jobs for which other nodes are kept, and how many.
    pub reservations: Vec<(JobNumber, usize)>,
}

impl Dispatcher {
    /// Why the job waits; `None` when it does not. Looks at all nodes and all waiting jobs.
    pub fn why_waiting(&self, job: JobNumber) -> Option<WhyWaiting> {
        let (key, line) = self.place_in_line(job)?;
        let (gang, queue) = (self.lines.demand(line).gang, self.lines.demand(line).queue);
        let known = self.planner.classes[gang.class.at()].as_ref()?;
        let world = &self.planner.world;
        let others = self.reservations.iter().filter(|other| other.job != job);
        let own = self.reservations.of(job);
        let blocked_ms = self.reservations.blocked().filter(|(blocked, _)| *blocked == job).map(|(_, start_ms)| start_ms);
        let expected_ms = own.map(|own| own.plan.at_ms).or(blocked_ms).or(self.calendar.start_of(job));
        Some(WhyWaiting {
            ahead: self.lines.all().filter(|(other, line)| *other < key && self.is_of_queue(*line, queue)).count(),
            bound: self.within_bounds(line).err(),
            refusals: world.refusals(&known.class),
            fitting: world.nodes().map(|node| u64::from(world.capacity(&known.class, node))).sum(),
            wanted: gang.min_tasks,
            reserved_nodes: own.map_or(0, |own| own.plan.nodes.len()),
            expected_start_ms: expected_ms.filter(|at_ms| *at_ms < u64::MAX),
            reservations: others.map(|other| (other.job, other.plan.nodes.len())).collect(),
        })
    }

    /// Without shares all jobs are of one queue.
    fn is_of_queue(&self, line: LineId, queue: u32) -> bool {
        self.shares.is_none() || self.lines.demand(line).queue == queue
    }

    /// Whether a job like this one would fit on all nodes together if they were open and empty.
    pub fn could_ever_run(&self, request: &Request) -> bool {
        let Request { class, tasks, min_tasks, topology, .. } = *request;
        self.planner.could_ever_run(&Gang { class, tasks, min_tasks, topology })
    }

    /// What a running job was given, in the order of its tasks.
    pub fn tasks_of(&self, job: JobNumber) -> &[crate::node::Placement] {
        self.jobs.get(&job).and_then(Job::run).map_or(&[], |run| &run.placements)
    }
}
