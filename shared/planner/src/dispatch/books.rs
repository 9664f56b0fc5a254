//! What the dispatcher keeps in and reads from the planner's books.

use std::collections::HashMap;

use crate::class::{ClassId, TaskClass};
use crate::decision::{Placed, Why};
use crate::node::Placement;
use crate::planner::Planner;

use super::gang::Gang;
use super::request::Level;

impl Planner {
    /// The class stays until it is unpinned as often.
    pub(super) fn pin(&mut self, class: ClassId) {
        if let Some(known) = &mut self.classes[class.at()] {
            known.pins += 1;
        }
    }

    pub(super) fn unpin(&mut self, class: ClassId) {
        if let Some(known) = &mut self.classes[class.at()] {
            known.pins -= 1;
        }
    }

    pub(super) fn task_of(&self, class: ClassId) -> Option<&TaskClass> {
        self.classes[class.at()].as_ref().map(|known| &known.class.task)
    }

    /// Thousandths of GPUs that one task takes.
    pub(super) fn gpu_milli_of(&self, class: ClassId) -> u32 {
        self.classes[class.at()].as_ref().map_or(0, |known| known.class.all_gpu_milli())
    }

    /// Whether the gang would fit if all nodes were open and empty, in one domain if it must be.
    pub(super) fn could_ever_run(&self, gang: &Gang) -> bool {
        let Some(known) = self.classes[gang.class.at()].as_ref() else { return false };
        let level = gang.topology.filter(|topology| topology.required).map(|topology| topology.level);
        let shapes = self.world.shapes();
        let on_shape: Vec<u64> = shapes.iter().enumerate().map(|(at, shape)| known.class.capacity_of(at as u32, shape).into()).collect();
        let mut sums: HashMap<u32, u64> = HashMap::new();
        self.world.nodes().any(|node| {
            let rack = self.world.domains().rack_of(node);
            let domain = match level {
                Some(Level::Node) => node.0,
                Some(Level::Rack) => rack.0,
                Some(Level::Block) => self.world.domains().block_of(rack),
                None => 0,
            };
            let sum = sums.entry(domain).or_default();
            *sum += on_shape[self.world.hot(node).shape as usize];
            *sum >= gang.min_tasks.into()
        })
    }

    /// Books tasks of the class just where they were planned; none of them if one does not fit there any more.
    pub(super) fn book_again(&mut self, class: ClassId, planned: &[Placement]) -> Option<Vec<Placed>> {
        let mut tasks: Vec<Placed> = Vec::with_capacity(planned.len());
        for Placement { node, gpus, .. } in planned.iter().copied() {
            let known = self.classes[class.at()].as_ref()?;
            let free = self.world.fitting_gpus(&known.class, node);
            if !self.world.fits(&known.class, node) || !gpus.iter().all(|gpu| free.contains(gpu)) {
                tasks.iter().rev().for_each(|task| self.world.take_back(&task.placement));
                return None;
            }
            let score = self.policy.score(&self.world, &known.class, node);
            let why = Why { score, runner_up: None, fitting: planned.len() as u32, nodes: self.world.len() as u32 };
            tasks.push(Placed { placement: self.world.take(node, &known.class.task, gpus), why });
        }
        Some(tasks)
    }

    /// The shapes of nodes that a task of the class could run on.
    pub(super) fn shapes_of(&self, class: ClassId) -> impl Iterator<Item = usize> + use<'_> {
        let known = self.classes[class.at()].as_ref();
        known.into_iter().flat_map(|known| (0..self.world.shapes().len()).filter(|shape| known.class.by_shape(*shape as u32).is_ok()))
    }
}
