//! The log of changed nodes. An index remembers how far it has read, and scores again what changed since. A node that changed several times
//! is read once: only its last entry bears its version.

use crate::node::NodeId;

/// Entries that are kept at least, whatever the number of nodes.
const KEPT: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The version of the first entry that is kept.
    first: u64,
    nodes: Vec<NodeId>,
}

impl Changes {
    /// The version of the next change.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.nodes.len() as u64
    }

    /// What has changed since, with versions; `None` when that is not known any more.
    pub(crate) fn since(&self, version: u64) -> Option<impl Iterator<Item = (u64, NodeId)> + '_> {
        let read = usize::try_from(version.checked_sub(self.first)?).ok()?;
        Some((version..).zip(self.nodes.get(read..)?.iter().copied()))
    }

    /// Writes a change down and returns its version. Older entries go when there are more than readers could catch up with for less than
    /// it costs them to begin again.
    pub(crate) fn push(&mut self, node: NodeId, nodes: usize) -> u64 {
        if self.nodes.len() >= KEPT.max(2 * nodes) {
            let half = self.nodes.len() / 2;
            self.nodes.drain(..half);
            self.first += half as u64;
        }
        self.nodes.push(node);
        self.end() - 1
    }

    /// Everything may have changed: all readers begin again.
    pub(crate) fn forget(&mut self) {
        self.first = self.end() + 1;
        self.nodes.clear();
    }
}
