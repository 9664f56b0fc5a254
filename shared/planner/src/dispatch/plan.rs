//! When a job that does not fit now is expected to fit, and on which nodes: what runs is taken off the books in the order of its expected end
//! until the job fits, and is put back.

use super::Dispatcher;
use super::job::Job;
use super::lines::LineId;
use super::pass::Passing;
use super::tally::{Plan, Tally};

impl Dispatcher {
    /// When the jobs of a line are expected to fit beside the reservations that there are; `None` when they do not, whatever ends.
    pub(super) fn plan(&mut self, line: LineId, passing: &mut Passing) -> Option<Plan> {
        let gang = self.lines.demand(line).gang;
        self.planner.room(gang.class, &mut passing.budget);
        let known = self.planner.classes[gang.class.at()].as_ref()?;
        let (world, class) = (&mut self.planner.world, &known.class);
        let mut tally = Tally::new(known.room.as_ref()?, &gang);
        let (mut at_ms, mut place) = (passing.now_ms, tally.find(world));
        let mut set_aside = Vec::new();
        let mut ends = self.ends.iter().peekable();
        while place.is_none() {
            let Some((ends_ms, ..)) = ends.peek() else { break };
            at_ms = passing.now_ms.max(*ends_ms);
            let first = set_aside.len();
            while let Some((_, _, job)) = ends.next_if(|(ends_ms, ..)| passing.now_ms.max(*ends_ms) == at_ms) {
                let placements = self.jobs.get(job).and_then(Job::run).into_iter().flat_map(|run| &run.placements);
                set_aside.extend(placements.filter(|placement| world.set_aside(placement)).copied());
                if at_ms == u64::MAX {
                    break;
                }
            }
            for placement in &set_aside[first..] {
                let node = placement.node;
                if !world.is_held(node) {
                    place = tally.set(world, node, world.capacity(class, node).into()).or(place);
                }
            }
        }
        let nodes = place.map(|place| tally.choose(world, place));
        set_aside.iter().rev().for_each(|placement| world.put_back(placement));
        Some(Plan { at_ms, nodes: nodes? })
    }
}
