//! The cluster at one moment, as far as an experiment must know it: is it fit to be broken, and what can be broken. Pure.

use std::collections::BTreeSet;

use faultline_engine::node::Health;
use faultline_engine::words::{agree, plural, span};
use faultline_protocol::messages::{ChaosBaseline, ChaosPhase, ChaosSample, ClusterStats, NodeView};

use super::fault::Fault;

/// A node that was silent for longer is not settled, whatever the verdict says.
const HEARD_WITHIN_MS: u64 = 3_000;
/// Names in a refusal.
const NAMED: usize = 3;
/// Nodes that a report names.
const EXAMPLES: usize = 10;

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

    /// The same cluster with everything in it whole: what could be broken, were nothing broken already.
    pub(crate) fn as_if_whole(&self) -> Picture {
        let nodes = self.nodes.iter().map(|node| NodeFacts { wrong: None, ..node.clone() }).collect();
        let services = self.services.iter().map(|(name, _)| (name.clone(), true)).collect();
        Picture { nodes, leader: self.leader.clone(), services }
    }

    /// What is wrong with a process: it does not run, or none of the nodes in it is whole.
    pub(crate) fn wrong_with_service(&self, name: &str) -> Option<String> {
        if self.services.iter().any(|(service, runs)| service == name && !runs) {
            return Some(format!("{name} does not run"));
        }
        let hosted: Vec<&NodeFacts> = self.nodes.iter().filter(|node| node.worker == name).collect();
        let first = hosted.first()?;
        let is_down = hosted.iter().all(|node| node.wrong.is_some());
        is_down.then(|| format!("none of the nodes of {name} is whole: {} {}", first.node, first.wrong.as_deref().unwrap_or_default()))
    }

    /// What is wrong with a target before it is broken.
    pub(crate) fn wrong_with(&self, fault: &Fault) -> Option<String> {
        match fault {
            Fault::Kill { service } | Fault::Freeze { service } | Fault::Link { service, .. } => self.wrong_with_service(service),
            Fault::Node { order, .. } => {
                let node = self.nodes.iter().find(|node| node.node == order.node)?;
                node.wrong.as_ref().map(|wrong| format!("{} {wrong}", node.node))
            }
        }
    }

    /// Everything that is not whole, by name, with what is wrong: nodes, then processes.
    fn not_whole(&self) -> impl Iterator<Item = (&str, String)> {
        let nodes = self.nodes.iter().filter_map(|node| Some((node.node.as_str(), format!("{} {}", node.node, node.wrong.as_ref()?))));
        let down = self.services.iter().filter(|(_, runs)| !runs);
        nodes.chain(down.map(|(name, _)| (name.as_str(), format!("{name} does not run"))))
    }

    /// The names of everything that is not whole.
    pub(crate) fn names_not_whole(&self) -> BTreeSet<String> {
        self.not_whole().map(|(name, _)| name.to_owned()).collect()
    }

    /// The same for a report; none when everything is whole.
    pub(crate) fn baseline(&self) -> Option<ChaosBaseline> {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let nodes_down = self.nodes.iter().filter(|node| node.wrong.is_some()).count();
        let examples: Vec<String> = self
            .not_whole()
            .map(|(_, words)| words)
            .enumerate()
            .filter(|(at, _)| *at < EXAMPLES || *at >= nodes_down)
            .map(|(_, words)| words)
            .collect();
        (!examples.is_empty()).then(|| ChaosBaseline { nodes_down: count(nodes_down), nodes_known: count(self.nodes.len()), examples })
    }

    /// What is not whole and has no excuse, in words; none when that is nothing.
    pub(crate) fn missing(&self, is_excused: impl Fn(&str) -> bool) -> Option<String> {
        let missing: Vec<String> = self.not_whole().filter(|(name, _)| !is_excused(name)).map(|(_, words)| words).collect();
        let more = if missing.len() > NAMED { ", ..." } else { "" };
        (!missing.is_empty()).then(|| format!("{}{more}", missing[..missing.len().min(NAMED)].join(", ")))
    }

    /// Why the cluster as a whole should not be broken now, if there is a reason.
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
        let (all, verb) = (plural(self.nodes.len() as u64, "node"), agree(wrong.len() as u64, "is", "are"));
        Some(format!("{} of {all} {verb} not whole: {}{more}", wrong.len(), wrong[..wrong.len().min(NAMED)].join(", ")))
    }

    /// The workers that host nodes, by name.
    pub(crate) fn workers(&self) -> Vec<&str> {
        self.nodes.iter().map(|node| node.worker.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Those among them that are whole enough to be broken.
    pub(crate) fn whole_workers(&self) -> Vec<&str> {
        self.workers().into_iter().filter(|worker| self.wrong_with_service(worker).is_none()).collect()
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
        Some(age_ms) if age_ms > HEARD_WITHIN_MS => Some(format!("has been silent for {}", span(age_ms))),
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
    fn only_what_is_not_whole_and_has_no_excuse_is_missing() {
        let mut sick = picture(3, 2, 0);
        assert_eq!((sick.baseline(), sick.missing(|_| false)), (None, None));
        sick.nodes[1].wrong = Some("is dead".into());
        sick.nodes[4].wrong = Some("is gone".into());
        sick.services[0].1 = false;
        let baseline = sick.baseline().unwrap();
        assert_eq!((baseline.nodes_down, baseline.nodes_known), (2, 6));
        assert_eq!(baseline.examples, ["gpu-node-02 is dead", "gpu-node-05 is gone", "worker-01 does not run"]);
        assert_eq!(sick.names_not_whole(), ["gpu-node-02", "gpu-node-05", "worker-01"].map(String::from).into());
        assert_eq!(sick.missing(|name| name != "gpu-node-05").unwrap(), "gpu-node-05 is gone");
        assert_eq!(sick.missing(|_| true), None);
        for node in &mut sick.nodes {
            node.wrong = Some("is dead".into());
        }
        assert!(sick.missing(|_| false).unwrap().ends_with("gpu-node-03 is dead, ..."));
        let many = picture(30, 2, 0);
        let all_dead =
            Picture { nodes: many.nodes.into_iter().map(|node| NodeFacts { wrong: Some("is dead".into()), ..node }).collect(), ..many };
        assert_eq!(all_dead.baseline().unwrap().examples.len(), EXAMPLES);
    }

    #[test]
    fn a_process_is_whole_when_it_runs_and_one_of_its_nodes_is() {
        let mut sick = picture(3, 2, 0);
        sick.nodes[2].wrong = Some("is dead".into());
        assert_eq!(sick.wrong_with_service("worker-02"), None);
        sick.nodes[3].wrong = Some("is dead".into());
        assert_eq!(sick.wrong_with_service("worker-02").unwrap(), "none of the nodes of worker-02 is whole: gpu-node-03 is dead");
        assert_eq!(sick.whole_workers(), ["worker-01", "worker-03"]);
        sick.services[2].1 = false;
        assert_eq!(sick.wrong_with(&Fault::Freeze { service: "worker-03".into() }).unwrap(), "worker-03 does not run");
        assert_eq!(sick.wrong_with_service("scheduler-1"), None);
        assert!(sick.as_if_whole().baseline().is_none());
    }

    #[test]
    fn the_reason_against_it_names_who_is_not_whole() {
        let mut sick = picture(5, 1, 0);
        sick.nodes[1].wrong = Some("is dead".into());
        assert_eq!(sick.unfit().unwrap(), "1 of 5 nodes is not whole: gpu-node-02 is dead");
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
