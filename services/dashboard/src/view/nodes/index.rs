//! The nodes in a fixed order, in which packed telemetry frames and the page have them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::entry::Entry;

/// The order of the nodes in the binary frames of the WebSocket, by rack, then by name (2 before 10), and what seldom changes of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct NodeIndex {
    /// Another number means another order. Differs between processes of the dashboard.
    pub(crate) revision: u32,
    pub(crate) nodes: Vec<String>,
    /// For each rack its name, the place of its first node, and how many nodes it has.
    pub(crate) racks: Vec<(String, u32, u32)>,
    pub(crate) workers: Vec<String>,
    /// For each node the place of its worker in `workers`.
    pub(crate) worker_of: Vec<u32>,
    /// Of first GPUs.
    pub(crate) models: Vec<String>,
    /// For each node the place of its first GPU's model in `models`.
    pub(crate) model_of: Vec<u32>,
}

/// Texts that occur often, each once.
#[derive(Default)]
struct Names<'a> {
    all: Vec<String>,
    places: BTreeMap<&'a str, u32>,
}

impl<'a> Names<'a> {
    fn place(&mut self, name: &'a str) -> u32 {
        let Names { all, places } = self;
        *places.entry(name).or_insert_with(|| {
            all.push(name.to_owned());
            u32::try_from(all.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

impl NodeIndex {
    pub(crate) fn empty(revision: u32) -> Self {
        Self { revision, ..Self::default() }
    }

    /// The order of these nodes.
    pub(super) fn of<'a>(revision: u32, nodes: impl Iterator<Item = (&'a str, &'a Entry)>) -> Self {
        let mut order: Vec<(&str, &str, &Entry)> = nodes.map(|(node, entry)| (entry.rack(), node, entry)).collect();
        order.sort_unstable_by_key(|(rack, node, _)| (natural(rack), natural(node)));
        let mut index = NodeIndex::empty(revision);
        let (mut workers, mut models) = (Names::default(), Names::default());
        for (place, (rack, node, entry)) in (0..).zip(order) {
            index.nodes.push(node.to_owned());
            index.worker_of.push(workers.place(entry.worker()));
            index.model_of.push(models.place(entry.first_gpu().map_or("", |gpu| &gpu.model)));
            match index.racks.last_mut() {
                Some((last, _, count)) if last == rack => *count += 1,
                Some(_) | None => index.racks.push((rack.to_owned(), place, 1)),
            }
        }
        (index.workers, index.models) = (workers.all, models.all);
        index
    }
}

/// What a name is ordered by: rack-2 comes before rack-10.
fn natural(name: &str) -> (&str, usize, &str, &str) {
    let letters = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let number = name[letters.len()..].trim_start_matches('0');
    (letters, number.len(), number, name)
}
