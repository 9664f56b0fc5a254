use faultline_engine::job::{AttemptId, AttemptSummary, Demand, JobId, Priority};
use faultline_engine::scheduler::WhyWaiting;

use super::*;
use crate::top::samples::node;

fn job(number: u64, gpu_milli: u32, on: Option<(&str, u8)>) -> JobView {
    let attempt = |(node, gpu): (&str, u8)| AttemptSummary {
        attempt: AttemptId::new(number, 1),
        node: node.to_owned(),
        incarnation: 1,
        gpus: vec![gpu],
        gpu_milli,
        placed_at_ms: number,
        started_at_ms: None,
        ended_at_ms: None,
        outcome: AttemptOutcome::Running,
        detail: String::new(),
        why: String::new(),
        choice: None,
    };
    let waiting = WhyWaiting { since_ms: 0, rejects: Vec::new(), summary: String::new(), place: None };
    JobView {
        state: if on.is_some() { JobState::Running } else { JobState::Queued },
        demand: Some(Demand { gpu_milli, ..Demand::default() }),
        attempts: on.map(attempt).into_iter().collect(),
        waiting: on.is_none().then_some(waiting),
        ..JobView::queued(JobId::new(number, number.into()), "job".into(), "sleep".into(), Priority::Normal, number)
    }
}

/// Two shares on two nodes of two GPUs each, so that the job that wants two GPUs waits.
fn spread() -> Snapshot {
    let nodes = [1, 2].map(|number| node(number, Health::Alive)).into();
    Snapshot::new(nodes, vec![job(1, 500, Some(("gpu-node-01", 0))), job(2, 500, Some(("gpu-node-02", 1))), job(3, 2_000, None)])
}

#[test]
fn a_policy_that_packs_leaves_a_node_for_the_job_that_waits() {
    let snapshot = spread();
    let as_it_is = snapshot.as_it_is().unwrap();
    let expected =
        Outcome { policy: None, starts_now: 0, running: 2, waiting: 1, gpu_used_milli: 1_000, whole_gpus_free: 2, nodes_in_use: 2 };
    assert_eq!(as_it_is, expected);
    let spreads = snapshot.under(PolicyName::LeastLoaded, 1).unwrap().unwrap();
    assert_eq!(spreads, Outcome { policy: Some("least-loaded"), ..expected.clone() });
    let packs = snapshot.under(PolicyName::BestFit, 1).unwrap().unwrap();
    // Both shares on one GPU, and the job on the other node: one GPU is left.
    let packed = Outcome { running: 3, waiting: 0, gpu_used_milli: 3_000, whole_gpus_free: 1, policy: Some("best-fit"), ..expected };
    assert_eq!(packs, packed);
    assert_eq!(snapshot.under(PolicyName::Fgd, 1).unwrap().map(|outcome| outcome.running), Some(3));
}

#[test]
fn a_job_that_nothing_keeps_starts_now_and_what_runs_on_a_drained_node_stays_there() {
    let mut nodes: Vec<NodeView> = [1, 3].map(|number| node(number, Health::Alive)).into();
    nodes[0].telemetry[1].out_of_service = true;
    let snapshot = Snapshot::new(nodes, vec![job(1, 1_000, Some(("gpu-node-03", 0))), job(2, 1_000, None), job(3, 1_000, None)]);
    let outcome = snapshot.under(PolicyName::FirstFit, 1).unwrap().unwrap();
    assert_eq!((outcome.starts_now, outcome.running, outcome.waiting), (1, 2, 1), "one GPU works on the node that is open");
    assert_eq!((outcome.whole_gpus_free, outcome.nodes_in_use), (0, 2));
    let empty = Snapshot::new(vec![node(1, Health::Dead)], Vec::new());
    assert_eq!(empty.under(PolicyName::Fgd, 1).unwrap(), None, "no job says what to keep room for");
    assert_eq!(empty.under(PolicyName::BestFit, 1).unwrap().unwrap().whole_gpus_free, 0);
}
