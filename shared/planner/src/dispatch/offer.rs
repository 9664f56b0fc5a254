//! The usual case of a full cluster: everything that waits stands aside, and one node gained. Whatever fits there fits nowhere else, so it goes
//! there in its order without any index.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::node::NodeId;

use super::Dispatcher;
use super::lines::{Key, LineId};
use super::pass::Passing;
use super::settings::Blocking;

impl Dispatcher {
    /// Whether one node can be offered to those that stand aside, and nothing else has to be looked at.
    pub(super) fn may_offer(&self) -> bool {
        self.settings.blocking == Blocking::Skip
            && self.settings.reserve_after_ms.is_none()
            && self.settings.resize_min_ms.is_none()
            && self.shares.is_none()
            && !self.settings.order.changes_with_time()
            && self.lines.first_active().is_none()
    }

    /// Starts on the node what fits there. False when it must be tried in another way: gangs may need more than this node.
    pub(super) fn offer(&mut self, node: NodeId, passing: &mut Passing) -> bool {
        let able: Vec<LineId> = self.lines.aside().iter().copied().filter(|line| self.fits_on(*line, node)).collect();
        if able.iter().any(|line| !self.lines.demand(*line).gang.is_single()) {
            return false;
        }
        let mut heads: BinaryHeap<Reverse<(Key, LineId)>> =
            able.into_iter().filter_map(|line| Some(Reverse((self.lines.head(line)?, line)))).collect();
        while let Some(Reverse((key, line))) = heads.pop() {
            if !self.fits_on(line, node) {
                continue;
            }
            if passing.is_full() {
                self.planner.world.keep_gained(node);
                return true;
            }
            let class = self.lines.demand(line).gang.class;
            if let Some(task) = self.planner.place_on(class, node, 1) {
                self.start(key, vec![task], passing);
                heads.extend(self.lines.head(line).map(|head| Reverse((head, line))));
            }
        }
        true
    }

    fn fits_on(&self, line: LineId, node: NodeId) -> bool {
        let class = self.lines.demand(line).gang.class;
        self.planner.classes[class.at()].as_ref().is_some_and(|known| self.planner.world.fits(&known.class, node))
    }
}
