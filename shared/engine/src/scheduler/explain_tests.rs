//! Where jobs stand in line, and what would become of others.

use super::super::PolicyName;
use super::super::tests::{SETTLED, assignments, delivery, leader, node, spec, submit};
use super::super::{Scheduler, SchedulerConfig};
use super::*;
use crate::job::{JobSpec, Priority};

fn demand(gpu_milli: u32) -> Demand {
    Demand { gpu_milli, gpu_memory_mib: 0, models: Vec::new() }
}

fn would(scheduler: &Scheduler, gpu_milli: u32, count: u32) -> WouldFit {
    scheduler.would_fit(&demand(gpu_milli), "sleep", count, SETTLED).unwrap()
}

#[test]
fn a_waiting_job_knows_its_place_what_passed_it_and_that_it_is_possible() {
    let mut scheduler = leader(&[2, 1]);
    submit(&mut scheduler, spec(1, 600), SETTLED);
    let urgent = JobSpec { priority: Priority::Urgent, ..spec(2, 2_000) };
    submit(&mut scheduler, urgent, SETTLED);
    for number in [3, 4] {
        submit(&mut scheduler, spec(number, 2_000), SETTLED);
    }
    submit(&mut scheduler, spec(5, 300), SETTLED);
    let why = scheduler.why_waiting_in_full(JobId::new(0, 4), SETTLED).unwrap();
    let place = why.place.unwrap();
    assert_eq!((place.waiting, place.ahead, place.ahead_alike), (3, 2, 2));
    assert_eq!((place.stands_aside, place.placed_meanwhile, place.able, place.nodes), (true, 1, 1, 2));
    assert_eq!((why.summary.as_str(), place.given_up_at_ms), ("1 node: too few GPUs, 1 node: GPU share taken", None));
    assert_eq!(scheduler.why_waiting(JobId::new(0, 4), SETTLED).unwrap().place, None, "a page of jobs has no room for it");
    assert_eq!(scheduler.why_waiting_in_full(JobId::new(0, 5), SETTLED), None, "it runs");
}

#[test]
fn a_job_that_no_node_could_run_knows_when_it_is_given_up() {
    let mut scheduler = leader(&[2]);
    scheduler.set_cluster_time(SETTLED, 1_000_000_000 + SETTLED);
    // The nodes had come and listening was over long ago, so that it would end at once: a node comes.
    scheduler.on_registered(node(2, 1, 1), SETTLED);
    submit(&mut scheduler, spec(1, 4_000), SETTLED);
    let place = scheduler.why_waiting_in_full(JobId::new(0, 1), SETTLED).unwrap().place.unwrap();
    assert_eq!((place.able, place.nodes, place.given_up_at_ms), (0, 2, Some(1_000_000_000 + SETTLED + 10_000)));
    for second in 1..10 {
        scheduler.advance(SETTLED + second * 1_000);
    }
    scheduler.advance(SETTLED + 9_999);
    assert!(scheduler.job(JobId::new(0, 1)).is_some());
    scheduler.advance(SETTLED + 10_000);
    assert!(scheduler.job(JobId::new(0, 1)).is_none(), "given up when it was said");
}

#[test]
fn what_would_fit_is_what_is_placed_and_the_question_leaves_no_trace() {
    let mut scheduler = leader(&[2, 1]);
    submit(&mut scheduler, spec(1, 600), SETTLED);
    let answer = would(&scheduler, 1_000, 3);
    assert_eq!((answer.starts, answer.able, answer.nodes), (2, 2, 2));
    assert_eq!(answer.summary, "2 of 3 would start now, on 2 nodes; for the next one: 2 nodes: GPU share taken");
    let choice = answer.choice.as_ref().unwrap();
    assert_eq!(choice.words(), "least-loaded: 100 % free, best of 2 of 2 nodes");
    assert_eq!(choice.runner_up_words(), "gpu-node-01, 70 % free: 30 points behind");
    scheduler.sanity_check();
    let mut really = Vec::new();
    for number in 2..=4 {
        let mut job = spec(number, 1_000);
        job.demand.gpu_memory_mib = 0;
        let actions = submit(&mut scheduler, job, SETTLED);
        really.extend(
            assignments(&actions).into_iter().map(|assignment| Spot { node: assignment.node.clone(), gpus: assignment.gpus.clone() }),
        );
    }
    assert_eq!(answer.spots, really);
    assert_eq!(would(&scheduler, 1_000, 1).summary, "it would wait: 2 nodes: GPU share taken");
    assert_eq!(would(&scheduler, 400, 1).summary, "it would start now on gpu-node-01, GPU 0");
    assert_eq!(would(&scheduler, 0, 2).summary, "all 2 would start now, on 1 node");
}

#[test]
fn what_can_never_fit_is_told_and_what_holds_a_leader_back() {
    let mut scheduler = leader(&[1]);
    let never = would(&scheduler, 2_000, 1);
    assert_eq!((never.starts, never.able), (0, 0));
    assert_eq!(never.summary, "no node could ever run it: 1 node: too few GPUs; it would be given up after 10 s");
    let other = scheduler.would_fit(&demand(100), "matrix", 2, SETTLED).unwrap();
    assert_eq!(other.summary, "no node could ever run them: 1 node: no executor for its kind; all of them would be given up after 10 s");
    assert_eq!(scheduler.would_fit(&demand(100), "", 1, SETTLED).unwrap().starts, 1, "any kind");
    scheduler.on_delivered(delivery(spec(7, 100), false), SETTLED);
    assert_eq!(would(&scheduler, 100, 1).summary, "1 job has yet to be tried and goes first; it would start now on gpu-node-01, GPU 0");

    let mut young = Scheduler::new(SchedulerConfig::default(), PolicyName::LeastLoaded, 1, SETTLED);
    assert_eq!(would(&young, 100, 1).summary, "a new leader listens for 1.2 s before it places; it would wait: no node is registered");
    young.on_registered(node(1, 1, 1), SETTLED);
    super::super::tests::beat(&mut young, 1, SETTLED);
    let held_back = would(&young, 100, 1);
    assert_eq!(held_back.starts, 0);
    assert_eq!(held_back.summary, "a new leader listens for 1.2 s before it places; it would start then on gpu-node-01, GPU 0");

    let refused = |demand: Demand, kind: &str, count| scheduler.would_fit(&demand, kind, count, SETTLED).unwrap_err().field;
    assert_eq!(refused(demand(1_500), "", 1), "gpus");
    assert_eq!(refused(demand(1_000), "a.b", 1), "kind");
    assert_eq!((refused(demand(1_000), "", 0), refused(demand(1_000), "", MAX_WOULD_FIT + 1)), ("count", "count"));
}
