//! The cluster at one moment, as far as an experiment must know it: is it fit to be broken, and what can be broken. Pure.

use std::collections::BTreeSet;

use faultline_engine::node::Health;
use faultline_protocol::messages::{ChaosPhase, ChaosSample, ClusterStats, NodeView};

/// A node that was silent for longer is not settled, whatever the verdict says.
const HEARD_WITHIN_MS: u64 = 3_000;
/// Names in a refusal.
const NAMED: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeFacts {
    pub(crate) node: String,
    pub(crate) worker: String,
    pub(crate) rack: String,
    /// None when it is whole; else what is wrong with it.
    pub(crate) wrong: Option<String>,
    pub(crate) running: usize,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Picture {
    pub(crate) nodes: Vec<NodeFacts>,
    pub(crate) leader: String,
    /// Processes of `up`, with whether each runs.
    pub(crate) services: Vec<(String, bool)>,
}

impl Picture {
    pub(crate) fn new(nodes: &[NodeView], leader: &str, services: Vec<(String, bool)>) -> Self {
        let nodes = nodes.iter().map(|view| NodeFacts {
            node: view.spec.node.clone(),
            worker: view.spec.worker.clone(),
            rack: view.spec.rack.clone(),
            wrong: what_is_wrong(view),
            running: view.running.len(),
        });
        Self { nodes: nodes.collect(), leader: leader.to_owned(), services }
    }

    /// Why the cluster should not be broken now, if there is a reason.
    pub(crate) fn unfit(&self) -> Option<String> {
        let down: Vec<String> = self.services.iter().filter(|(_, runs)| !runs).map(|(name, _)| name.clone()).collect();
        if !down.is_empty() {
            return Some(format!("{} not running: {}", if down.len() == 1 { "a process is" } else { "processes are" }, down.join(", ")));
        }
        if self.nodes.is_empty() {
            return Some("no node is registered: start workers with `faultline scale workers N`".into());
        }
        let wrong: Vec<String> = self.nodes.iter().filter_map(|node| Some(format!("{} {}", node.node, node.wrong.as_ref()?))).collect();
        if wrong.is_empty() {
            return None;
        }
        let more = if wrong.len() > NAMED { ", ..." } else { "" };
        Some(format!("{} of {} nodes are not whole: {}{more}", wrong.len(), self.nodes.len(), wrong[..wrong.len().min(NAMED)].join(", ")))
    }

    /// The workers that host nodes, by name.
    pub(crate) fn workers(&self) -> Vec<&str> {
        self.nodes.iter().map(|node| node.worker.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(crate) fn running_on(&self, worker: &str) -> usize {
        self.nodes.iter().filter(|node| node.worker == worker).map(|node| node.running).sum()
    }
}

fn what_is_wrong(view: &NodeView) -> Option<String> {
    if view.health != Health::Alive {
        return Some(format!("is {}", view.health.as_str()));
    }
    match view.heartbeat_age_ms {
        None => Some("has not been heard yet".into()),
        Some(age_ms) if age_ms > HEARD_WITHIN_MS => Some(format!("is silent for {:.1} s", age_ms as f64 / 1000.0)),
        Some(_) => None,
    }
}

/// What is kept of the scheduler's figures.
pub(crate) fn sample(stats: &ClusterStats, phase: ChaosPhase, at_ms: u64) -> ChaosSample {
    ChaosSample {
        at_ms,
        phase,
        jobs_running: stats.running,
        jobs_queued: stats.queued_in_stream + stats.queued_held,
        nodes_alive: stats.nodes_alive,
        nodes_known: stats.nodes_alive + stats.nodes_suspect + stats.nodes_gone + stats.nodes_dead,
        committed: stats.ledger.committed,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `workers` workers of `nodes_each` nodes; those named by an index below `busy` run two jobs.
    pub(crate) fn picture(workers: usize, nodes_each: usize, busy: usize) -> Picture {
        let node = |index: usize| NodeFacts {
            node: format!("gpu-node-{:02}", index + 1),
            worker: format!("worker-{:02}", index / nodes_each + 1),
            rack: format!("rack-{}", index / 2 + 1),
            wrong: None,
            running: if index < busy { 2 } else { 0 },
        };
        let mut services: Vec<(String, bool)> = (1..=workers).map(|index| (format!("worker-{index:02}"), true)).collect();
        services.extend(["scheduler-1", "scheduler-2", "fault-detector", "nats"].map(|name| (name.to_owned(), true)));
        Picture { nodes: (0..workers * nodes_each).map(node).collect(), leader: "scheduler-2".into(), services }
    }

    #[test]
    fn a_cluster_that_is_whole_is_fit() {
        assert_eq!(picture(3, 2, 0).unfit(), None);
    }

    #[test]
    fn the_reason_against_it_names_who_is_not_whole() {
        let mut sick = picture(5, 1, 0);
        sick.nodes[1].wrong = Some("is dead".into());
        assert_eq!(sick.unfit().unwrap(), "1 of 5 nodes are not whole: gpu-node-02 is dead");
        for node in &mut sick.nodes {
            node.wrong = Some("is suspect".into());
        }
        assert!(sick.unfit().unwrap().ends_with("gpu-node-03 is suspect, ..."));
        let mut down = picture(2, 1, 0);
        down.services[0].1 = false;
        assert_eq!(down.unfit().unwrap(), "a process is not running: worker-01");
        assert!(Picture::default().unfit().unwrap().contains("scale workers"));
    }
}
