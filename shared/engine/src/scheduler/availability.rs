//! Which nodes take new work. What changes with an event is told to the planner with that event. Silence begins, and the pause after refusals
//! ends, when nothing happens but that time passes: for these the scheduler keeps a list of moments at which to look again.

use faultline_planner::Closed;

use super::{NodeState, Scheduler};
use crate::node::Health;

impl NodeState {
    fn silent_at_ms(&self, silent_after_ms: u64) -> Option<u64> {
        self.last_heartbeat_ms.map(|last| last.saturating_add(silent_after_ms))
    }

    /// Why nothing new is placed there now; `None` when it takes jobs.
    pub(super) fn closed(&self, silent_after_ms: u64, now_ms: u64) -> Option<Closed> {
        let is_silent = self.silent_at_ms(silent_after_ms).is_none_or(|at_ms| at_ms <= now_ms);
        match () {
            () if self.health != Health::Alive || is_silent => Some(Closed::NotAlive),
            () if self.draining || self.leaving => Some(Closed::Draining),
            () if self.refusals.is_paused(now_ms) => Some(Closed::RefusedLately),
            () => None,
        }
    }

    /// When that may change without an event.
    fn changes_at_ms(&self, silent_after_ms: u64, now_ms: u64) -> Option<u64> {
        let moments = [self.silent_at_ms(silent_after_ms), Some(self.refusals.paused_until_ms())];
        moments.into_iter().flatten().filter(|at_ms| *at_ms > now_ms).min()
    }
}

impl Scheduler {
    /// Tells the planner whether the node takes new work, after something happened that may have changed it.
    pub(super) fn review(&mut self, name: &str, now_ms: u64) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let silent_after_ms = self.config.silent_after_ms;
        self.planner.close(node.id, node.closed(silent_after_ms, now_ms));
        if let Some(at_ms) = node.changes_at_ms(silent_after_ms, now_ms)
            && node.look_at_ms.is_none_or(|listed_ms| at_ms < listed_ms)
        {
            node.look_at_ms = Some(at_ms);
            self.moments.insert((at_ms, node.id));
        }
        self.goodput.node(node.number, node.known(silent_after_ms, now_ms), now_ms);
    }

    /// Reviews the nodes whose moments have come. Of a node that beats, the moment at which it would have been silent comes first, and
    /// is followed by the next one: so a heartbeat costs no entry.
    pub(super) fn look_again(&mut self, now_ms: u64) {
        while let Some((at_ms, id)) = self.moments.first().copied().filter(|(at_ms, _)| *at_ms <= now_ms) {
            self.moments.pop_first();
            let name = self.planner.node_name(id).to_owned();
            if let Some(node) = self.nodes.get_mut(&name).filter(|node| node.id == id && node.look_at_ms == Some(at_ms)) {
                node.look_at_ms = None;
                self.review(&name, now_ms);
            }
        }
    }
}
