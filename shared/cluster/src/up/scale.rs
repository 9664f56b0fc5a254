//! Which worker indices start or stop so that a wanted number runs. Pure.

use std::collections::BTreeSet;

/// What has to happen, by 1-based index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Change {
    pub(crate) start: Vec<u32>,
    pub(crate) stop: Vec<u32>,
}

/// New workers take the lowest free indices, so that their nodes keep their names; the highest go first.
pub(crate) fn change(running: &BTreeSet<u32>, wanted: u32) -> Change {
    let have = u32::try_from(running.len()).unwrap_or(u32::MAX);
    let start = (1..).filter(|index| !running.contains(index)).take(wanted.saturating_sub(have) as usize).collect();
    let stop = running.iter().rev().take(have.saturating_sub(wanted) as usize).copied().collect();
    Change { start, stop }
}

/// A worker's process name; two digits at least, so that a list sorts.
pub(crate) fn worker_name(index: u32) -> String {
    format!("worker-{index:02}")
}

/// The index in a worker's process name.
pub(crate) fn worker_index(name: &str) -> Option<u32> {
    name.strip_prefix("worker-")?.parse().ok()
}

/// The 1-based number of the first node that this worker hosts.
pub(crate) fn first_node(index: u32, nodes_per_worker: u32) -> u32 {
    (index - 1) * nodes_per_worker + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_indices_start_and_the_highest_stop() {
        let running = BTreeSet::from([1, 2, 4, 7]);
        assert_eq!(change(&running, 6), Change { start: vec![3, 5], stop: vec![] });
        assert_eq!(change(&running, 2), Change { start: vec![], stop: vec![7, 4] });
        assert_eq!(change(&running, 4), Change::default());
        assert_eq!(change(&running, 0).stop.len(), 4);
        assert_eq!(change(&BTreeSet::new(), 3).start, [1, 2, 3]);
    }

    #[test]
    fn names_and_nodes_follow_the_index() {
        assert_eq!(worker_name(3), "worker-03");
        assert_eq!(worker_name(123), "worker-123");
        assert_eq!(worker_index("worker-03"), Some(3));
        assert_eq!(worker_index("scheduler-1"), None);
        assert_eq!([1, 2, 3].map(|index| first_node(index, 4)), [1, 5, 9]);
    }
}
