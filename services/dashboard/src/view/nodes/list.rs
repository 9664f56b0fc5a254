//! Finding nodes: by health, rack, worker or part of the name, in an order that the asker chooses.

use std::collections::BTreeSet;

use faultline_engine::node::Health;
use faultline_protocol::messages::NodeView;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::NodeTable;
use super::entry::{Entry, Load};
use super::row::NodeFault;

/// Which nodes are wanted. The default wants all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeFilter {
    /// Empty: any.
    pub(crate) health: BTreeSet<Health>,
    pub(crate) rack: Option<String>,
    pub(crate) worker: Option<String>,
    /// Lower case; part of the name or of the model of its first GPU.
    pub(crate) text: Option<String>,
    /// Only these; empty: any.
    pub(crate) nodes: BTreeSet<String>,
}

/// What nodes are ordered by; by name among equals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeOrder {
    #[default]
    Node,
    /// The dead first.
    Health,
    Rack,
    Worker,
    Utilisation,
    Memory,
    Temperature,
    Power,
    Running,
    HeartbeatAge,
    Phi,
    FailPercent,
}

/// A node in full, with what its GPUs report together.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct NodeItem {
    #[serde(flatten)]
    pub(crate) node: NodeView,
    #[serde(flatten)]
    pub(crate) load: Load,
    /// A fault that was put upon it and is not over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<NodeFault>,
}

impl From<NodeView> for NodeItem {
    fn from(node: NodeView) -> Self {
        Self { load: Load::of(&node.telemetry), node, fault: None }
    }
}

impl NodeTable {
    /// One node.
    pub(crate) fn get(&self, node: &str, now_ms: u64) -> Option<NodeItem> {
        let entry = self.entries.get(node).filter(|entry| entry.is_known())?;
        Some(self.item(node, entry, now_ms))
    }

    /// So many of the wanted nodes after so many others, and how many there are in all.
    pub(crate) fn list(
        &self,
        filter: &NodeFilter,
        (order, is_descending): (NodeOrder, bool),
        skip: usize,
        limit: usize,
        now_ms: u64,
    ) -> (Vec<NodeItem>, usize) {
        let wanted = self.known().filter(|(node, entry)| filter.wants(node, entry));
        let mut found: Vec<(Key<'_>, &str, &Entry)> = wanted.map(|(node, entry)| (Key::new(order, entry, now_ms), node, entry)).collect();
        // Stable, and they are by name already.
        found.sort_by(|(left, _, _), (right, _, _)| if is_descending { right.compare(left) } else { left.compare(right) });
        if is_descending && order == NodeOrder::Node {
            found.reverse();
        }
        let rows = found.iter().skip(skip).take(limit).map(|(_, node, entry)| self.item(node, entry, now_ms)).collect();
        (rows, found.len())
    }

    fn item(&self, node: &str, entry: &Entry, now_ms: u64) -> NodeItem {
        NodeItem {
            node: entry.view(node, self.draining.contains(node), now_ms),
            load: entry.load(),
            fault: self.fault(node, now_ms).cloned(),
        }
    }
}

impl NodeFilter {
    fn wants(&self, node: &str, entry: &Entry) -> bool {
        (self.health.is_empty() || self.health.contains(&entry.health()))
            && self.rack.as_ref().is_none_or(|rack| entry.rack() == rack)
            && self.worker.as_ref().is_none_or(|worker| entry.worker() == worker)
            && self.text.as_ref().is_none_or(|text| {
                let model = entry.first_gpu().map_or("", |gpu| &gpu.model);
                [node, model].iter().any(|of| of.to_lowercase().contains(text.as_str()))
            })
            && (self.nodes.is_empty() || self.nodes.contains(node))
    }
}

/// What one node is compared by.
enum Key<'a> {
    Text(&'a str),
    Number(f64),
}

impl<'a> Key<'a> {
    fn new(order: NodeOrder, entry: &'a Entry, now_ms: u64) -> Self {
        // What is not reported sorts below everything that is.
        let load = |of: fn(&Load) -> Option<f32>| Key::Number(of(&entry.load()).map_or(f64::NEG_INFINITY, f64::from));
        match order {
            NodeOrder::Node => Key::Text(""),
            NodeOrder::Rack => Key::Text(entry.rack()),
            NodeOrder::Worker => Key::Text(entry.worker()),
            NodeOrder::Health => Key::Number(match entry.health() {
                Health::Dead => 0.0,
                Health::Gone => 1.0,
                Health::Suspect => 2.0,
                Health::Alive => 3.0,
            }),
            NodeOrder::Utilisation => load(|load| load.utilisation_percent),
            NodeOrder::Memory => load(|load| load.memory_percent),
            NodeOrder::Temperature => load(|load| load.temperature_c),
            NodeOrder::Power => load(|load| load.power_w),
            NodeOrder::Running => Key::Number(entry.running().len() as f64),
            NodeOrder::HeartbeatAge => Key::Number(entry.heartbeat_age_ms(now_ms).map_or(f64::INFINITY, |age_ms| age_ms as f64)),
            NodeOrder::Phi => Key::Number(entry.verdict_on_this_life().map_or(0.0, |verdict| verdict.phi)),
            NodeOrder::FailPercent => Key::Number(entry.fail_percent_per_min()),
        }
    }

    fn compare(&self, other: &Key<'_>) -> std::cmp::Ordering {
        match (self, other) {
            (Key::Text(left), Key::Text(right)) => left.cmp(right),
            (Key::Number(left), Key::Number(right)) => left.total_cmp(right),
            // Keys of one order are of one sort.
            (Key::Text(_), Key::Number(_)) | (Key::Number(_), Key::Text(_)) => std::cmp::Ordering::Equal,
        }
    }
}
