//! A few nodes for a while: what ran there, and what failed. Chosen so that faults and what became of their work can be seen.

use std::collections::{BTreeMap, BTreeSet};

use crate::tables::{AttemptLine, FaultLine};

const NODES: usize = 14;
/// Attempts of one policy, each counted on each of its nodes.
const BARS: usize = 260;

/// What a Gantt chart shows: the same nodes and time for every policy.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    /// Their numbers, ascending.
    pub(crate) nodes: Vec<u32>,
    pub(crate) attempts: Vec<AttemptLine>,
    pub(crate) faults: Vec<FaultLine>,
}

impl Sample {
    /// Of the first seed that is there.
    pub fn of(attempts: &[AttemptLine], faults: &[FaultLine]) -> Self {
        let Some(seed) = attempts.iter().map(|line| line.seed).min() else { return Self::default() };
        let attempts: Vec<&AttemptLine> = attempts.iter().filter(|line| line.seed == seed).collect();
        let faults: Vec<&FaultLine> = faults.iter().filter(|line| line.seed == seed).collect();
        let Some(policy) = attempts.first().map(|line| &line.policy) else { return Self::default() };
        let of_first: Vec<&AttemptLine> = attempts.iter().copied().filter(|line| line.policy == *policy).collect();
        let nodes = chosen(&of_first, &faults, policy);
        let (from_ms, to_ms) = window(&of_first, &faults, policy, &nodes);
        let is_there = |from: u64, to: Option<u64>| from < to_ms && to.is_none_or(|to| to > from_ms);
        Self {
            from_ms,
            to_ms,
            attempts: attempts
                .into_iter()
                .filter(|line| is_there(line.start_ms, line.end_ms) && on(line).any(|node| nodes.contains(&node)))
                .cloned()
                .collect(),
            faults: faults
                .into_iter()
                .filter(|line| nodes.contains(&line.node) && is_there(line.from_ms, line.until_ms))
                .cloned()
                .collect(),
            nodes: nodes.into_iter().collect(),
        }
    }
}

/// The numbers of an attempt's nodes.
pub(crate) fn on(line: &AttemptLine) -> impl Iterator<Item = u32> + '_ {
    line.nodes.split(' ').filter_map(|node| node.parse().ok())
}

/// Those whose faults interrupted most, and then those on which most ran.
fn chosen(attempts: &[&AttemptLine], faults: &[&FaultLine], policy: &str) -> BTreeSet<u32> {
    let (mut interrupted, mut ran): (BTreeMap<u32, u64>, BTreeMap<u32, u64>) = (BTreeMap::new(), BTreeMap::new());
    for fault in faults.iter().filter(|fault| fault.policy == policy && fault.interrupted > 0) {
        *interrupted.entry(fault.node).or_default() += u64::from(fault.interrupted);
    }
    for attempt in attempts {
        on(attempt).for_each(|node| *ran.entry(node).or_default() += 1);
    }
    let most_first = |counts: BTreeMap<u32, u64>| {
        let mut counts: Vec<(u32, u64)> = counts.into_iter().collect();
        counts.sort_by_key(|(node, count)| (std::cmp::Reverse(*count), *node));
        counts.into_iter().map(|(node, _)| node)
    };
    let failing: Vec<u32> = most_first(interrupted).take(NODES / 2).collect();
    let mut nodes: BTreeSet<u32> = failing.into_iter().collect();
    for node in most_first(ran) {
        if nodes.len() >= NODES {
            break;
        }
        nodes.insert(node);
    }
    nodes
}

/// Around the fault in the middle, or from the beginning: as long as there are not more bars than can be seen.
fn window(attempts: &[&AttemptLine], faults: &[&FaultLine], policy: &str, nodes: &BTreeSet<u32>) -> (u64, u64) {
    let end_ms = attempts.iter().map(|line| line.end_ms.unwrap_or(line.start_ms)).max().unwrap_or(0);
    let mut starts: Vec<u64> = Vec::new();
    for attempt in attempts {
        starts.extend(on(attempt).filter(|node| nodes.contains(node)).map(|_| attempt.start_ms));
    }
    starts.sort_unstable();
    if starts.len() <= BARS {
        return (0, end_ms.max(1));
    }
    let mut failed: Vec<u64> = faults
        .iter()
        .filter(|fault| fault.policy == policy && nodes.contains(&fault.node) && fault.interrupted > 0)
        .map(|fault| fault.from_ms)
        .collect();
    failed.sort_unstable();
    let middle = failed.get(failed.len() / 2).map_or(0, |at_ms| starts.partition_point(|start| start < at_ms));
    let first = middle.saturating_sub(BARS / 2).min(starts.len() - BARS - 1);
    (starts[first], starts[first + BARS].max(starts[first] + 1))
}
