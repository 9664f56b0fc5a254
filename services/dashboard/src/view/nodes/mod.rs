//! Nodes as far as this process has heard of them: registrations, heartbeats, verdicts, drain settings, faults and the
//! rows that the leader sent last. No opinion on a node's health is formed here: that is the detector's. What one node's
//! messages add up to is in `entry`, their order in `index`, packed frames in `frame`, finding some in `list`,
//! what is pushed of one in `row`.

mod entry;
mod frame;
mod index;
mod list;
mod row;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use faultline_engine::node::{GpuTelemetry, Health};
use faultline_protocol::messages::{ClusterStats, Heartbeat, NodeRegistration, NodeView, Verdict};

use entry::{Entry, mean};
pub(crate) use frame::half_percents;
pub(crate) use index::NodeIndex;
pub(crate) use list::{NodeFilter, NodeItem, NodeOrder};
pub(crate) use row::{NodeFault, NodeRow};

/// More names than this are not remembered: a flood of made-up names must not fill the memory.
pub(crate) const MAX_NODES: usize = 20_000;
const MAX_FAULTS_OF_A_NODE: usize = 16;

/// Silence that no detector with usual settings leaves without a verdict.
const UNJUDGED_MS: u64 = 20_000;

/// What all GPUs report together. A figure is none where no GPU that is heard gives it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct FleetLoad {
    pub(crate) nodes_alive: u32,
    /// Alive by the last verdict, and silent for so long that a detector would have said otherwise.
    pub(crate) nodes_unjudged: u32,
    pub(crate) gpus_heard: u32,
    /// 0 to 100.
    pub(crate) utilisation_percent: Option<f32>,
    pub(crate) temperature_max_c: Option<f32>,
    pub(crate) temperature_mean_c: Option<f32>,
}

/// Every known node, by name.
#[derive(Debug, Default)]
pub(crate) struct NodeTable {
    entries: BTreeMap<String, Entry>,
    draining: BTreeSet<String>,
    /// Those that are not over, oldest first.
    faults: BTreeMap<String, Vec<NodeFault>>,
    index: Arc<NodeIndex>,
    /// Nodes came, went, or moved to another rack or worker since the index was made.
    index_is_old: bool,
}

/// A verdict may arrive behind a newer one, by the bucket or by a message, but only by so much.
const LATE_BY_MS: u64 = 10_000;

/// Whether one of two verdicts arrived behind the other. One that seems far older is by another clock, of a detector that came after.
fn is_late(known_ms: u64, said_ms: u64) -> bool {
    (1..LATE_BY_MS).contains(&known_ms.saturating_sub(said_ms))
}

impl NodeTable {
    /// `first_revision` should be one that no earlier process of this service has used.
    pub(crate) fn new(first_revision: u32) -> Self {
        Self { index: Arc::new(NodeIndex::empty(first_revision)), ..Self::default() }
    }

    fn entry(&mut self, node: &str) -> Option<&mut Entry> {
        if !self.entries.contains_key(node) {
            if self.entries.len() >= MAX_NODES {
                return None;
            }
            self.entries.insert(node.to_owned(), Entry::default());
        }
        self.entries.get_mut(node)
    }

    pub(crate) fn on_registration(&mut self, registration: NodeRegistration) {
        let node = registration.spec.node.clone();
        let Some(entry) = self.entry(&node) else { return };
        let place = |entry: &Entry| (entry.is_known(), entry.rack().to_owned(), entry.worker().to_owned(), entry.first_gpu().cloned());
        let before = place(entry);
        entry.registration = Some(registration);
        let moved = before != place(entry);
        self.index_is_old |= moved;
    }

    /// Whether the heartbeat is from an earlier life of the node, or there is no room for the node. A lower incarnation is believed when
    /// the known life is silent: its lives may be counted anew.
    pub(crate) fn is_outdated(&self, heartbeat: &Heartbeat, now_ms: u64) -> bool {
        match self.entries.get(&heartbeat.node) {
            Some(entry) => {
                let is_lower = entry.heartbeat.as_ref().is_some_and(|(last, _)| last.incarnation > heartbeat.incarnation);
                is_lower && entry.is_heard(now_ms)
            }
            None => self.entries.len() >= MAX_NODES,
        }
    }

    /// A heartbeat that is not outdated, received at `now_ms`.
    pub(crate) fn on_heartbeat(&mut self, heartbeat: Heartbeat, now_ms: u64) {
        if let Some(entry) = self.entries.get_mut(&heartbeat.node) {
            self.index_is_old |= !entry.is_known() || entry.worker() != heartbeat.worker;
            entry.heartbeat = Some((heartbeat, now_ms));
            return;
        }
        self.index_is_old = true;
        self.entries.insert(heartbeat.node.clone(), Entry { heartbeat: Some((heartbeat, now_ms)), ..Entry::default() });
    }

    pub(crate) fn on_verdict(&mut self, verdict: Verdict) {
        if let Some(entry) = self.entry(&verdict.node.clone())
            && entry.verdict.as_ref().is_none_or(|known| !is_late(known.at_ms, verdict.at_ms))
        {
            entry.verdict = Some(verdict);
        }
    }

    /// The node left on purpose, or its registration was removed.
    pub(crate) fn remove(&mut self, node: &str) {
        self.index_is_old |= self.entries.remove(node).is_some();
        self.faults.remove(node);
    }

    pub(crate) fn set_draining(&mut self, node: &str, draining: bool) {
        if !draining {
            self.draining.remove(node);
        } else if self.draining.len() < MAX_NODES {
            self.draining.insert(node.to_owned());
        }
    }

    pub(crate) fn on_fault_began(&mut self, node: &str, fault: NodeFault) {
        if self.faults.len() >= MAX_NODES && !self.faults.contains_key(node) {
            return;
        }
        let faults = self.faults.entry(node.to_owned()).or_default();
        faults.retain(|known| known.id != fault.id);
        if faults.len() >= MAX_FAULTS_OF_A_NODE {
            faults.remove(0);
        }
        faults.push(fault);
    }

    pub(crate) fn on_fault_ended(&mut self, node: &str, id: &str) {
        let Some(faults) = self.faults.get_mut(node) else { return };
        faults.retain(|fault| fault.id != id);
        if faults.is_empty() {
            self.faults.remove(node);
        }
    }

    /// Rows that the leader sent of the nodes after `after` (from the first, with none) up to the last one here, or to the
    /// end of all nodes when `to_the_end`. Of the nodes in between, those that it did not name are no longer its.
    pub(crate) fn on_leader_rows(&mut self, after: Option<&str>, rows: Vec<NodeView>, to_the_end: bool) {
        let last = rows.last().map(|row| row.spec.node.clone()).filter(|_| !to_the_end);
        let named: BTreeSet<&str> = rows.iter().map(|row| row.spec.node.as_str()).collect();
        let before = self.entries.len();
        self.entries.retain(|node, entry| {
            let covered = after.is_none_or(|after| node.as_str() > after) && last.as_ref().is_none_or(|last| node <= last);
            if covered && !named.contains(node.as_str()) {
                entry.leader = None;
            }
            entry.is_known() || entry.verdict.is_some()
        });
        self.index_is_old |= before != self.entries.len();
        for row in rows {
            let node = row.spec.node.clone();
            let Some(entry) = self.entry(&node) else { continue };
            let is_new = !entry.is_known();
            entry.leader = Some(row);
            self.index_is_old |= is_new;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.values().filter(|entry| entry.is_known()).count()
    }

    /// Whether its heartbeats come.
    pub(crate) fn is_heard(&self, node: &str, now_ms: u64) -> bool {
        self.entries.get(node).is_some_and(|entry| entry.is_heard(now_ms))
    }

    pub(crate) fn contains(&self, node: &str) -> bool {
        self.entries.get(node).is_some_and(Entry::is_known)
    }

    fn known(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().filter(|(_, entry)| entry.is_known()).map(|(node, entry)| (node.as_str(), entry))
    }

    /// What is pushed of every node, by name.
    pub(crate) fn rows(&self, now_ms: u64) -> impl Iterator<Item = NodeRow> {
        self.known().map(move |(node, entry)| NodeRow::new(node, entry, self.draining.contains(node), self.fault(node, now_ms), now_ms))
    }

    /// The youngest fault of a node that is not over and whose planned end has not passed.
    pub(crate) fn fault(&self, node: &str, now_ms: u64) -> Option<&NodeFault> {
        self.faults.get(node)?.iter().rev().find(|fault| fault.until_ms.is_none_or(|until_ms| now_ms < until_ms))
    }

    /// What each node's GPUs report; none for nodes that are not heard.
    pub(crate) fn reports(&self, now_ms: u64) -> impl Iterator<Item = (&str, Option<&[GpuTelemetry]>)> {
        self.known().map(move |(node, entry)| (node, entry.is_heard(now_ms).then(|| entry.telemetry())))
    }

    /// What all nodes that are heard report together.
    pub(crate) fn fleet(&self, now_ms: u64) -> FleetLoad {
        let mut fleet = FleetLoad::default();
        for (_, entry) in self.known() {
            let is_alive = entry.health() == Health::Alive;
            fleet.nodes_alive += u32::from(is_alive);
            fleet.nodes_unjudged += u32::from(is_alive && entry.heartbeat_age_ms(now_ms).is_some_and(|age_ms| age_ms > UNJUDGED_MS));
        }
        let heard = || self.known().filter(|(_, entry)| entry.is_heard(now_ms)).flat_map(|(_, entry)| entry.telemetry());
        fleet.gpus_heard = u32::try_from(heard().count()).unwrap_or(u32::MAX);
        fleet.utilisation_percent = mean(heard().filter_map(|gpu| gpu.utilisation_percent));
        fleet.temperature_max_c = heard().filter_map(|gpu| gpu.temperature_c).reduce(f32::max);
        fleet.temperature_mean_c = mean(heard().filter_map(|gpu| gpu.temperature_c));
        fleet
    }

    /// The process that a node lives in.
    pub(crate) fn worker_of(&self, node: &str) -> Option<String> {
        self.entries.get(node).map(|entry| entry.worker().to_owned()).filter(|worker| !worker.is_empty())
    }

    /// How many GPUs a node has.
    pub(crate) fn gpus_of(&self, node: &str) -> Option<u32> {
        self.entries.get(node).filter(|entry| entry.is_known()).map(Entry::gpus)
    }

    /// The kinds of jobs that nodes say they run, by their first part.
    pub(crate) fn kinds(&self) -> BTreeSet<String> {
        self.known().filter_map(|(_, entry)| entry.known_spec()).flat_map(|spec| spec.kinds.iter().cloned()).collect()
    }

    /// The models of GPUs that nodes have.
    pub(crate) fn gpu_models(&self) -> BTreeSet<String> {
        self.known().filter_map(|(_, entry)| entry.known_spec()).flat_map(|spec| spec.gpus.iter().map(|gpu| gpu.model.clone())).collect()
    }

    /// The nodes that live in a process, by name.
    pub(crate) fn nodes_of(&self, worker: &str) -> Vec<String> {
        self.known().filter(|(_, entry)| entry.worker() == worker).map(|(node, _)| node.to_owned()).collect()
    }

    /// How many nodes live in a process, and how many attempts run on them.
    pub(crate) fn hosted_by(&self, worker: &str) -> (usize, usize) {
        let hosted = self.known().filter(|(_, entry)| entry.worker() == worker);
        hosted.fold((0, 0), |(nodes, attempts), (_, entry)| (nodes + 1, attempts + entry.running().len()))
    }

    /// Counts nodes by health into figures that the leader did not send.
    pub(crate) fn count_into(&self, stats: &mut ClusterStats) {
        for (node, entry) in self.known() {
            match entry.health() {
                Health::Alive => stats.nodes_alive += 1,
                Health::Suspect => stats.nodes_suspect += 1,
                Health::Gone => stats.nodes_gone += 1,
                Health::Dead => stats.nodes_dead += 1,
            }
            stats.nodes_draining += u32::from(self.draining.contains(node));
            stats.gpus_total = stats.gpus_total.saturating_add(entry.gpus());
        }
    }
}

#[cfg(test)]
mod tests;
