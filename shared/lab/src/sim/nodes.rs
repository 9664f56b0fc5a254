//! Nodes as a run knows them: what they are there for, and what is broken.

use std::collections::{BTreeSet, VecDeque};

use faultline_engine::goodput::{Books, Class, Condition};
use faultline_planner::{Closed, Dispatcher, NodeId, Placement};

use super::plan::FULL_SPEED;
use crate::faults::{Clock, Course};
use crate::outcome::{FaultOrigin, FaultRow};
use crate::setup::{InvalidSetup, Setup};

#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) gpu_milli: u32,
    pub(super) clock: Clock,
    /// Raised with every fault, so that what was due for an earlier one is known to be stale.
    pub(super) life: u32,
    pub(super) broken: Option<Broken>,
    pub(super) place: Place,
    pub(super) has_defect: bool,
    /// Jobs with tasks there.
    pub(super) running: Vec<u32>,
    /// How many of them make progress, where only working nodes wear out.
    pub(super) working: u32,
    /// When it failed, as far as retirement looks back.
    pub(super) failed_ms: VecDeque<u64>,
    /// How many faults of its own it has had, whatever they did.
    pub(super) own_faults: u32,
    pub(super) broken_gpus: Vec<BrokenGpu>,
    /// The rows of faults that make it slow.
    pub(super) slowed_by: Vec<u32>,
    pub(super) speed_milli: u16,
}

/// A GPU that is broken while its node goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct BrokenGpu {
    pub(super) gpu: usize,
    /// The row of the fault.
    pub(super) fault: u32,
    pub(super) course: Course,
    pub(super) is_seen: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Broken {
    pub(super) row: usize,
    pub(super) course: Course,
    /// `None` while the repair has not begun.
    pub(super) until_ms: Option<u64>,
    pub(super) is_seen: bool,
}

/// What a node is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    InService,
    Spare,
    /// Out of service for a repair that it does not need.
    Blamed,
    Retired,
}

#[derive(Debug)]
pub(super) struct Nodes {
    pub(super) all: Vec<Node>,
    /// Spares that work.
    pub(super) spares: BTreeSet<usize>,
    /// How many are to be in service, and are.
    pub(super) wanted: usize,
    pub(super) in_service: usize,
    pub(super) rows: Vec<FaultRow>,
    /// By node: its number of rack, from 1.
    pub(super) racks: Vec<usize>,
}

impl Nodes {
    pub(super) fn join(setup: &Setup, dispatcher: &mut Dispatcher, books: &mut Books) -> Result<Self, InvalidSetup> {
        let cluster = &*setup.cluster;
        let wanted = cluster.machines.len() - cluster.spares.min(cluster.machines.len());
        let mut nodes = Self {
            all: Vec::with_capacity(cluster.machines.len()),
            spares: BTreeSet::new(),
            wanted,
            in_service: wanted,
            rows: Vec::new(),
            racks: Vec::new(),
        };
        let mut rack_names: Vec<&str> = Vec::new();
        for (number, machine) in cluster.machines.iter().enumerate() {
            let id = dispatcher.join(machine)?;
            let gpu_milli = cluster.gpu_milli(number);
            books.node(0, number, gpu_milli, Condition::Up, 0);
            let is_spare = number >= wanted;
            if is_spare {
                dispatcher.close(id, Some(Closed::Draining));
                books.free_class(0, number, Class::Reserved);
                nodes.spares.insert(number);
            }
            if rack_names.last() != Some(&machine.rack.as_str()) {
                rack_names.push(&machine.rack);
            }
            nodes.racks.push(rack_names.len());
            nodes.all.push(Node {
                id,
                gpu_milli,
                clock: Clock::new(&setup.faults, setup.seed, number),
                life: 0,
                broken: None,
                place: if is_spare { Place::Spare } else { Place::InService },
                has_defect: false,
                running: Vec::new(),
                working: 0,
                failed_ms: VecDeque::new(),
                own_faults: 0,
                broken_gpus: Vec::new(),
                slowed_by: Vec::new(),
                speed_milli: FULL_SPEED,
            });
        }
        Ok(nodes)
    }

    /// Whether jobs may be placed there as far as the scheduler knows.
    pub(super) fn is_open(&self, number: usize) -> bool {
        let node = &self.all[number];
        node.place == Place::InService && node.broken.is_none_or(|broken| !broken.is_seen)
    }

    /// The jobs with tasks there.
    pub(super) fn running(&self, number: usize) -> &[u32] {
        &self.all[number].running
    }

    pub(super) fn may_be_blamed(&self, number: usize) -> bool {
        let node = &self.all[number];
        node.place == Place::InService && node.broken.is_none()
    }

    /// Whether the node is broken by a fault of its own that has not been seen yet.
    pub(super) fn is_own_fault(&self, number: usize, life: u32) -> bool {
        let node = &self.all[number];
        let is_own = |broken: Broken| matches!(self.rows[broken.row].origin, FaultOrigin::Node | FaultOrigin::Defect) && !broken.is_seen;
        node.life == life && node.broken.is_some_and(is_own)
    }

    /// A node in service is blamed. Its life, which must be the same when it is cleared.
    pub(super) fn put_aside(&mut self, number: usize) -> u32 {
        self.in_service -= 1;
        self.all[number].place = Place::Blamed;
        self.all[number].life
    }

    /// Whether the node is still blamed and not broken by now: then it is a spare from now on.
    pub(super) fn clear(&mut self, number: usize, life: u32) -> bool {
        let node = &mut self.all[number];
        let is_cleared = node.place == Place::Blamed && node.broken.is_none() && node.life == life;
        if is_cleared {
            node.place = Place::Spare;
        }
        is_cleared
    }

    pub(super) fn id(&self, number: usize) -> NodeId {
        self.all[number].id
    }

    /// The job has these tasks from now on, on these nodes. One of the nodes that is broken there without anyone knowing.
    pub(super) fn hold(&mut self, job: u32, nodes: &[u32], tasks: &[Placement]) -> Option<u32> {
        let mut dead = None;
        for number in nodes {
            let node = &mut self.all[*number as usize];
            node.running.push(job);
            let is_on = |broken: &BrokenGpu| tasks.iter().any(|task| uses(task, node.id, broken.gpu));
            let is_broken = node.broken.is_some() || node.broken_gpus.iter().any(is_on);
            dead = dead.or(is_broken.then_some(*number));
        }
        dead
    }

    pub(super) fn let_go(&mut self, job: u32, holdings: &[(u32, u32)]) {
        for (number, _) in holdings {
            let running = &mut self.all[*number as usize].running;
            if let Some(at) = running.iter().position(|other| *other == job) {
                running.swap_remove(at);
            }
        }
    }

    /// Whether some of the tasks are on a GPU of the node that is known to be broken.
    pub(super) fn has_known_broken(&self, number: usize, tasks: &[Placement]) -> bool {
        let node = &self.all[number];
        let is_there = |broken: &BrokenGpu| broken.is_seen && tasks.iter().any(|task| uses(task, node.id, broken.gpu));
        node.broken_gpus.iter().any(is_there)
    }

    /// The speed of the slowest of these nodes.
    pub(super) fn speed_of(&self, holdings: &[(u32, u32)]) -> u16 {
        holdings.iter().map(|(node, _)| self.all[*node as usize].speed_milli).min().unwrap_or(FULL_SPEED)
    }

    pub(super) fn into_rows(self) -> Vec<FaultRow> {
        self.rows
    }
}

/// Whether the task is on this GPU of this node.
pub(super) fn uses(task: &Placement, node: NodeId, gpu: usize) -> bool {
    task.node == node && task.gpus.iter().any(|other| other == gpu)
}
