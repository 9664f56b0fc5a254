//! Nodes as far as this process has heard of them: registrations, heartbeats, verdicts, drain settings and the rows
//! that the leader sent last. No opinion on a node's health is formed here: that is the detector's.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use faultline_engine::node::{GpuDescriptor, Health, NodeSpec};
use faultline_protocol::messages::{ClusterStats, Heartbeat, NodeRegistration, NodeView, Verdict};

/// More names than this are not remembered: a flood of made-up names must not fill the memory.
pub(crate) const MAX_NODES: usize = 20_000;

#[derive(Debug, Default)]
struct Entry {
    registration: Option<NodeRegistration>,
    heartbeat: Option<(Heartbeat, u64)>,
    verdict: Option<Verdict>,
    leader: Option<NodeView>,
}

/// Every known node, by name.
#[derive(Debug, Default)]
pub(crate) struct NodeTable {
    entries: BTreeMap<String, Entry>,
    draining: BTreeSet<String>,
}

impl NodeTable {
    fn entry(&mut self, node: &str) -> Option<&mut Entry> {
        if self.entries.len() >= MAX_NODES && !self.entries.contains_key(node) {
            return None;
        }
        Some(self.entries.entry(node.to_owned()).or_default())
    }

    pub(crate) fn on_registration(&mut self, registration: NodeRegistration) {
        if let Some(entry) = self.entry(&registration.spec.node.clone()) {
            entry.registration = Some(registration);
        }
    }

    /// A heartbeat, received at `now_ms`. One of an earlier life of the node is dropped and `false` comes back.
    pub(crate) fn on_heartbeat(&mut self, heartbeat: Heartbeat, now_ms: u64) -> bool {
        let Some(entry) = self.entry(&heartbeat.node.clone()) else { return false };
        if entry.heartbeat.as_ref().is_some_and(|(known, _)| known.incarnation > heartbeat.incarnation) {
            return false;
        }
        entry.heartbeat = Some((heartbeat, now_ms));
        true
    }

    pub(crate) fn on_verdict(&mut self, verdict: Verdict) {
        if let Some(entry) = self.entry(&verdict.node.clone())
            && entry.verdict.as_ref().is_none_or(|known| known.at_ms <= verdict.at_ms)
        {
            entry.verdict = Some(verdict);
        }
    }

    /// The node left on purpose, or its registration was removed.
    pub(crate) fn remove(&mut self, node: &str) {
        self.entries.remove(node);
    }

    pub(crate) fn set_draining(&mut self, node: &str, draining: bool) {
        if !draining {
            self.draining.remove(node);
        } else if self.draining.len() < MAX_NODES {
            self.draining.insert(node.to_owned());
        }
    }

    /// The rows that the leader sent: they replace its earlier ones.
    pub(crate) fn on_leader_rows(&mut self, rows: Vec<NodeView>) {
        let named: BTreeSet<&str> = rows.iter().map(|row| row.spec.node.as_str()).collect();
        self.entries.retain(|node, entry| {
            if !named.contains(node.as_str()) {
                entry.leader = None;
            }
            entry.leader.is_some() || entry.registration.is_some() || entry.heartbeat.is_some() || entry.verdict.is_some()
        });
        for row in rows {
            if let Some(entry) = self.entry(&row.spec.node.clone()) {
                entry.leader = Some(row);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.values().filter(|entry| entry.is_known()).count()
    }

    pub(crate) fn contains(&self, node: &str) -> bool {
        self.entries.get(node).is_some_and(Entry::is_known)
    }

    pub(crate) fn get(&self, node: &str, now_ms: u64) -> Option<NodeView> {
        self.entries.get(node).filter(|entry| entry.is_known()).map(|entry| self.compose(node, entry, now_ms))
    }

    /// By name, at most `limit` rows, those after `after`.
    pub(crate) fn page(&self, after: Option<&str>, limit: usize, now_ms: u64) -> Vec<NodeView> {
        let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.entries.range::<str, _>((lower, Bound::Unbounded)).filter(|(_, entry)| entry.is_known());
        later.take(limit).map(|(node, entry)| self.compose(node, entry, now_ms)).collect()
    }

    /// Counts nodes by health into figures that the leader did not send.
    pub(crate) fn count_into(&self, stats: &mut ClusterStats) {
        for (node, entry) in self.entries.iter().filter(|(_, entry)| entry.is_known()) {
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

    fn compose(&self, node: &str, entry: &Entry, now_ms: u64) -> NodeView {
        let mut view = entry.leader.clone().unwrap_or_else(|| NodeView {
            spec: entry.spec(node),
            health: entry.health(),
            draining: false,
            gpu_used_milli: Vec::new(),
            gpu_reserved_mib: Vec::new(),
            running: Vec::new(),
            telemetry: Vec::new(),
            heartbeat_age_ms: None,
            verdict: entry.verdict.clone(),
        });
        view.draining = self.draining.contains(node);
        // Heartbeats come straight from the node, so they are fresher than what the leader tells of them.
        if let Some((heartbeat, at_ms)) = &entry.heartbeat {
            view.running.clone_from(&heartbeat.running);
            view.telemetry.clone_from(&heartbeat.gpus);
            view.heartbeat_age_ms = Some(now_ms.saturating_sub(*at_ms));
        }
        view
    }
}

impl Entry {
    /// A verdict alone makes no node: verdicts outlive nodes that were scaled away.
    fn is_known(&self) -> bool {
        self.registration.is_some() || self.heartbeat.is_some() || self.leader.is_some()
    }

    /// The verdict on this life of the node; before the first, a node counts as alive, as it does for the scheduler.
    fn health(&self) -> Health {
        let incarnation = self.incarnation();
        self.verdict.as_ref().filter(|verdict| verdict.incarnation >= incarnation).map_or(Health::Alive, |verdict| verdict.health)
    }

    fn incarnation(&self) -> u64 {
        let registered = self.registration.as_ref().map_or(0, |registration| registration.spec.incarnation);
        self.heartbeat.as_ref().map_or(0, |(heartbeat, _)| heartbeat.incarnation).max(registered)
    }

    fn gpus(&self) -> u32 {
        let registered = self.registration.as_ref().map(|registration| registration.spec.gpus.len());
        let reported = || self.heartbeat.as_ref().map_or(0, |(heartbeat, _)| heartbeat.gpus.len());
        u32::try_from(registered.unwrap_or_else(reported)).unwrap_or(u32::MAX)
    }

    fn spec(&self, node: &str) -> NodeSpec {
        if let Some(registration) = &self.registration {
            return registration.spec.clone();
        }
        let heartbeat = self.heartbeat.as_ref().map(|(heartbeat, _)| heartbeat);
        let gpus = heartbeat.map_or(&[][..], |heartbeat| &heartbeat.gpus);
        NodeSpec {
            node: node.to_owned(),
            worker: heartbeat.map(|h| h.worker.clone()).or_else(|| self.verdict.as_ref().map(|v| v.worker.clone())).unwrap_or_default(),
            incarnation: self.incarnation(),
            gpus: gpus.iter().map(|gpu| GpuDescriptor { model: "unknown".into(), memory_mib: gpu.memory_total_mib }).collect(),
            rack: String::new(),
            slots: 0,
            fault_percent_per_min: 0.0,
            telemetry_source: String::new(),
            kinds: Default::default(),
        }
    }
}

#[cfg(test)]
#[path = "nodes_tests.rs"]
mod tests;
