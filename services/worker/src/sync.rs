//! What a worker answers when a new leader asks what it runs, in messages that NATS takes: a few large jobs fill one.

use faultline_engine::job::RunningAttempt;
use faultline_engine::scheduler::SyncedNode;
use faultline_protocol::messages::{NodeSync, NodeSyncPart, WorkerSync};
use faultline_protocol::{batch, codec};

/// The messages of one answer.
pub(crate) fn messages(nodes: Vec<SyncedNode>, worker: &str, epoch: u64, answer: u64, most: usize) -> Vec<WorkerSync> {
    let message = |nodes| WorkerSync { worker: worker.to_owned(), epoch, nodes, refused: None };
    let frame = codec::encode(&message(Vec::new())).len();
    let parts: Vec<NodeSync> = nodes.into_iter().flat_map(|node| parts_of(node, answer, most.saturating_sub(frame))).collect();
    batch::parts(parts, most, message).messages
}

/// One node's part of the answer, or several.
fn parts_of(node: SyncedNode, answer: u64, most: usize) -> Vec<NodeSync> {
    let SyncedNode { node, incarnation, running, .. } = node;
    let part = |running: Vec<RunningAttempt>, part| NodeSync { node: node.clone(), incarnation, running, part };
    let envelope = batch::bytes_of(&part(Vec::new(), NodeSyncPart { answer: u64::MAX, index: u32::MAX, of: u32::MAX }));
    // Both lists grow with their items.
    let (mut batches, too_large) = batch::split(running, envelope + 8, most);
    for (running, bytes) in too_large {
        tracing::warn!(job = %running.assignment.spec.id, bytes, most, "attempt too large for an answer to the leader: it cannot be adopted");
    }
    if batches.len() <= 1 {
        return vec![part(batches.pop().unwrap_or_default(), NodeSyncPart::default())];
    }
    let of = u32::try_from(batches.len()).unwrap_or(u32::MAX);
    batches.into_iter().zip(0..).map(|(running, index)| part(running, NodeSyncPart { answer, index, of })).collect()
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::{Assignment, AttemptId, Demand, JobId, JobSpec, Origin, Param, Params, Priority};
    use faultline_engine::scheduler::SyncPart;

    use super::*;

    fn running(n: u128, bytes: usize) -> RunningAttempt {
        let spec = JobSpec {
            id: JobId::new(0, n),
            name: "large".into(),
            kind: "sleep".into(),
            params: Params::from([("text".into(), Param::Text("x".repeat(bytes)))]),
            priority: Priority::Normal,
            demand: Demand::default(),
            expected_ms: 1,
            timeout_ms: 1_000,
            max_retries: 0,
            submitted_at_ms: 0,
            origin: Origin::default(),
        };
        let assignment = Assignment {
            spec,
            attempt: AttemptId::new(0, n),
            node: "gpu-node-01".into(),
            incarnation: 1,
            gpus: vec![],
            open_seq: 1,
            ack_subject: "ack".into(),
            placed_at_ms: 0,
            failures: 0,
            requeues: 0,
            history: Vec::new(),
            why: String::new(),
            choice: None,
            epoch: 1,
        };
        RunningAttempt { assignment, started_at_ms: 0, elapsed_ms: None }
    }

    fn node(index: u32, running: Vec<RunningAttempt>) -> SyncedNode {
        SyncedNode { node: format!("gpu-node-{index:02}"), incarnation: 1, running, part: SyncPart::default() }
    }

    #[test]
    fn many_small_nodes_are_one_message() {
        let nodes = (1..=100).map(|index| node(index, vec![running(u128::from(index), 10)])).collect();
        let told = messages(nodes, "worker-01", 3, 1, 1 << 20);
        assert_eq!((told.len(), told[0].nodes.len()), (1, 100));
        assert!(told[0].nodes.iter().all(|node| node.part == NodeSyncPart::default()));
    }

    #[test]
    fn large_jobs_are_told_in_parts_that_fit() {
        const MOST: usize = 60_000;
        let nodes = vec![node(1, (0..10).map(|n| running(n, 20_000)).collect()), node(2, Vec::new())];
        let told = messages(nodes, "worker-01", 3, 7, MOST);
        assert!(told.iter().all(|message| codec::encode(message).len() <= MOST));
        let parts: Vec<&NodeSync> = told.iter().flat_map(|message| &message.nodes).filter(|node| node.node == "gpu-node-01").collect();
        assert_eq!(parts.iter().map(|node| node.running.len()).sum::<usize>(), 10);
        let of = u32::try_from(parts.len()).unwrap();
        let expected: Vec<NodeSyncPart> = (0..of).map(|index| NodeSyncPart { answer: 7, index, of }).collect();
        assert_eq!(parts.iter().map(|node| node.part).collect::<Vec<_>>(), expected);
        assert!(told.iter().flat_map(|message| &message.nodes).any(|node| node.node == "gpu-node-02" && node.part.of == 0));
    }
}
