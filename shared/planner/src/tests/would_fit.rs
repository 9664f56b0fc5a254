//! What would become of tasks, held against what becomes of them.

use super::against_scan::{Act, Scan, a_machine, a_task, an_act, settings};
use super::{gpu_task, machine, turn};
use crate::class::{Closed, Reason};
use crate::decision::{Decision, Limits, Placed};
use crate::gpus::GpuSet;
use crate::node::NodeId;
use crate::planner::Planner;
use crate::settings::{PolicyName, Settings};
use crate::tie::TieRule;
use proptest::prelude::*;

/// All that the planner has in mind, in its own words.
fn all_of(planner: &Planner) -> String {
    format!("{planner:?}")
}

fn without_name(placed: &Placed) -> (NodeId, GpuSet, u32, Option<u32>, u32) {
    (placed.node(), placed.gpus(), placed.why.score, placed.why.runner_up.map(|(_, score)| score), placed.why.fitting)
}

fn passes(planner: &mut Planner) -> Vec<Placed> {
    let mut placed = Vec::new();
    loop {
        let pass = planner.pass(Limits { decisions: 1_000, scores: 100_000 });
        placed.extend(pass.decisions.iter().map(|Decision::Place { placed, .. }| *placed));
        if !pass.unfinished {
            return placed;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_question_changes_nothing_and_is_answered_as_the_pass_decides(
        settings in settings(),
        machines in proptest::collection::vec(a_machine(), 0..40),
        acts in proptest::collection::vec(an_act(), 1..120),
        task in a_task(),
        count in 1_usize..30,
    ) {
        let mut scan = Scan::new(&settings);
        for machine in machines {
            scan.act(&Act::Join(machine));
        }
        for act in &acts {
            scan.act(act);
        }
        let planner = &mut scan.planner;
        passes(planner);
        let before = all_of(planner);
        let would = planner.would_fit(&task, count);
        prop_assert_eq!(&all_of(planner), &before);

        let class = planner.class(&task);
        let refused_before = planner.turns(class).next().is_some();
        for number in 0..count as u64 {
            planner.wait(class, turn(u64::MAX, number));
        }
        prop_assert!(!refused_before || would.placed.is_empty(), "tasks of this class wait already");
        let really = passes(planner);
        let draws = settings.policy == PolicyName::Random || settings.tie == TieRule::Random && settings.policy != PolicyName::RoundRobin;
        if settings.policy == PolicyName::Random {
            // How many fit depends on which GPUs are drawn.
            prop_assert_eq!(would.placed.is_empty(), really.is_empty());
        } else if draws {
            prop_assert_eq!(would.placed.len(), really.len());
        } else if settings.tie == TieRule::LeastRecentlyUsed {
            // Nodes that never got a task are equal in every respect, and any of them may be called the runner-up.
            prop_assert_eq!(would.placed.iter().map(without_name).collect::<Vec<_>>(), really.iter().map(without_name).collect::<Vec<_>>());
        } else {
            prop_assert_eq!(&would.placed, &really);
        }
        let refused = if really.len() < count { planner.refusals(class) } else { Vec::new() };
        if !draws {
            prop_assert_eq!(&would.refusals, &refused);
        }
        prop_assert_eq!(would.able, planner.able(class));
        let counted: u32 = would.refusals.iter().map(|(_, nodes)| nodes).sum();
        prop_assert!(counted == 0 || counted as usize == planner.nodes());
    }
}

#[test]
fn tasks_go_round_and_then_the_reasons_are_told() {
    let mut planner = Planner::new(&Settings::default()).unwrap();
    let nodes = [2, 1, 8].map(|gpus| planner.join(&machine(&format!("n{gpus}"), gpus, None, None)).unwrap());
    planner.close(nodes[2], Some(Closed::Draining));
    let would = planner.would_fit(&gpu_task(1, 1000, 0), 5);
    // All of both are free: the one that joined first. Then half of it is free, and all of the other one.
    let on: Vec<_> = would.placed.iter().map(|placed| placed.node()).collect();
    assert_eq!(on, [nodes[0], nodes[1], nodes[0]]);
    assert_eq!(would.placed[0].why.runner_up, Some((nodes[1], planner.full_score())));
    assert_eq!(would.placed[1].why.runner_up, Some((nodes[0], planner.full_score() / 2)));
    assert_eq!((would.placed[2].why.runner_up, would.placed[2].why.fitting, would.placed[2].why.nodes), (None, 1, 3));
    assert_eq!(would.refusals, [(Reason::Closed(Closed::Draining), 1), (Reason::GpuShareTaken, 2)]);
    assert_eq!(would.able, 3);
    let whole = planner.would_fit(&gpu_task(8, 1000, 0), 1);
    assert_eq!((whole.placed, whole.able), (vec![], 1));
    assert_eq!(planner.would_fit(&gpu_task(9, 1000, 0), 1).able, 0);
    assert_eq!(Planner::new(&Settings::default()).unwrap().would_fit(&gpu_task(1, 1000, 0), 3).refusals, []);
}

#[test]
fn a_job_knows_how_many_go_before_it() {
    let mut planner = Planner::new(&Settings::default()).unwrap();
    let (large, small) = (planner.class(&gpu_task(2, 1000, 0)), planner.class(&gpu_task(1, 500, 0)));
    for (class, order) in [(large, 1), (small, 2), (large, 3), (small, 4), (small, 5)] {
        planner.wait(class, turn(order, order));
    }
    let standing = planner.standing(small, turn(4, 4));
    assert_eq!((standing.ahead, standing.ahead_in_class, standing.waiting, planner.untried()), (3, 1, 5, 5));
    planner.pass(Limits::default());
    assert_eq!((planner.untried(), planner.standing(large, turn(1, 1)).ahead), (0, 0), "all stand aside: there is no node");
}
