//! Questions to what chooses nodes from outside, and the check of its answers.

use crate::class::{ClassId, TaskClass};
use crate::decision::{Placed, Why};
use crate::gpus::{GpuSet, MAX_NODE_GPUS};
use crate::index::View;
use crate::node::NodeId;
use crate::outside::{Asked, Outside, OutsideFailed};
use crate::planner::Planner;

impl Planner {
    /// From now on this chooses the nodes, and not the policy. Where a topology decides about them, or no choice is left, it is not asked.
    pub fn set_outside(&mut self, outside: Box<dyn Outside>) {
        self.asked = Some(Asked::new(outside));
    }

    /// Why nothing is placed any more.
    pub fn outside_failed(&self) -> Option<&OutsideFailed> {
        self.asked.as_ref()?.failed.as_ref()
    }

    pub(crate) fn place_from_outside(&mut self, class: ClassId, view: View) -> Option<Placed> {
        let mut asked = self.asked.take()?;
        let placed = match asked.failed {
            None => self.ask(&mut asked, class, view),
            Some(_) => Ok(None),
        };
        let placed = placed.unwrap_or_else(|failed| {
            asked.failed = Some(failed);
            None
        });
        self.asked = Some(asked);
        placed
    }

    fn ask(&mut self, asked: &mut Asked, class: ClassId, view: View) -> Result<Option<Placed>, OutsideFailed> {
        let Some(known) = self.classes[class.at()].as_ref() else { return Ok(None) };
        let (world, class) = (&self.world, &known.class);
        let takes_part = |node: &NodeId| view == View::All || !world.is_held(*node);
        let fitting: Vec<u32> = world.nodes().filter(takes_part).filter(|node| world.fits(class, *node)).map(|node| node.0).collect();
        if fitting.is_empty() {
            return Ok(None);
        }
        asked.tell(world)?;
        let Some(chosen) = asked.outside.choose(&class.task, &fitting)? else { return Ok(None) };
        if fitting.binary_search(&chosen.node).is_err() {
            let text = format!("node {} was chosen for a task that does not fit there: choose one of `fits`", chosen.node);
            return Err(OutsideFailed(text));
        }
        let node = NodeId(chosen.node);
        let gpus = match chosen.gpus {
            None => world.tightest_gpus(class, node),
            Some(positions) => check_gpus(world.fitting_gpus(class, node), &class.task, &positions).map_err(|why| {
                let name = world.name(node);
                OutsideFailed(format!("GPUs {positions:?} of node {} ({name}) were chosen: {why}; choose {}", chosen.node, class.task.gpus))
            })?,
        };
        let why = Why { score: 0, runner_up: None, fitting: fitting.len() as u32, nodes: world.len() as u32 };
        let placement = self.world.take(node, &known.class.task, gpus);
        Ok(Some(Placed { placement, why }))
    }
}

pub(crate) fn check_gpus(fitting: GpuSet, task: &TaskClass, positions: &[usize]) -> Result<GpuSet, String> {
    let mut gpus = GpuSet::default();
    for position in positions {
        if *position >= MAX_NODE_GPUS || !fitting.contains(*position) {
            return Err(format!("GPU {position} has no room for the task"));
        }
        gpus.insert(*position);
    }
    if gpus.len() != positions.len() {
        return Err("one of them is named twice".to_owned());
    }
    match gpus.len() == usize::from(task.gpus) {
        true => Ok(gpus),
        false => Err(format!("{} are too few or too many", gpus.len())),
    }
}
