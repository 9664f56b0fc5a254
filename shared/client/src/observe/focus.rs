//! What one experiment did, apart from everything else that happens in the same cluster at the same time.

use std::collections::BTreeSet;

use faultline_engine::fault::cause::takes_node_away;
use faultline_protocol::messages::FaultTruth;

use super::Observer;

/// A verdict may still come of a fault for so long after its end: the hint was under way.
pub(super) const VERDICT_GRACE_MS: u64 = 5_000;

/// Whose faults count. The faults of others are not counted, and what came of them is not blamed on the experiment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Focus {
    /// As what the experiment signs its faults, see [`FaultTruth::by`].
    pub by: String,
    /// Nodes that were not whole before it began.
    pub baseline: BTreeSet<String>,
}

impl Focus {
    pub(super) fn is_own(&self, fault: &FaultTruth) -> bool {
        fault.by == self.by
    }
}

impl Observer {
    /// Whether a node that is not whole at that moment has a reason of its own: it was so before, or another fault took it away.
    pub fn is_excused(&self, focus: &Focus, node: &str, at_ms: u64) -> bool {
        let lasts = |fault: &FaultTruth| {
            let until_ms = fault.until_ms.map_or(u64::MAX, |until_ms| until_ms.saturating_add(VERDICT_GRACE_MS));
            (fault.from_ms..=until_ms).contains(&at_ms)
        };
        let takes_it_away =
            |fault: &FaultTruth| !focus.is_own(fault) && takes_node_away(&fault.kind) && lasts(fault) && self.is_hit(fault, node);
        focus.baseline.contains(node) || self.faults.values().any(takes_it_away)
    }
}
