//! Whole passes: order, limits, freed places, classes that come and go.

use super::{gpu_task, machine, turn as named};
use crate::class::{Closed, Reason};
use crate::decision::{Decision, Limits};
use crate::planner::Planner;
use crate::settings::{PolicyName, Settings};
use crate::waiting::Turn;

fn planner(policy: PolicyName) -> Planner {
    Planner::new(&Settings { policy, ..Settings::default() }).unwrap()
}

fn turn(order: u64) -> Turn {
    named(order, order)
}

fn orders(decisions: &[Decision]) -> Vec<u64> {
    decisions.iter().map(|Decision::Place { turn, .. }| turn.order).collect()
}

#[test]
fn jobs_go_in_order_and_what_does_not_fit_is_passed_over() {
    let mut planner = planner(PolicyName::FirstFit);
    let node = planner.join(&machine("n", 2, None, None)).unwrap();
    let (large, small) = (planner.class(&gpu_task(2, 1000, 0)), planner.class(&gpu_task(1, 500, 0)));
    for (class, order) in [(small, 1), (large, 2), (small, 3), (small, 4), (small, 5), (small, 6)] {
        assert!(planner.wait(class, turn(order)));
    }
    let pass = planner.pass(Limits::default());
    assert_eq!((orders(&pass.decisions), pass.unfinished, planner.waiting()), (vec![1, 3, 4, 5], false, 2));
    let placed: Vec<_> = pass.decisions.iter().map(|Decision::Place { placed, .. }| *placed).collect();
    assert_eq!((placed[0].why.fitting, placed[0].why.nodes, placed[0].why.runner_up), (1, 1, None));
    // One freed share goes to the small one behind the large one; with nothing else left, the large one gets its two GPUs.
    planner.release(&placed[0].placement);
    assert_eq!(orders(&planner.pass(Limits::default()).decisions), [6]);
    planner.leave(node);
    planner.join(&machine("n", 2, None, None)).unwrap();
    assert_eq!(orders(&planner.pass(Limits::default()).decisions), [2]);
    // What ended on a node that has left holds nothing of the one that has its number now.
    planner.release(&placed[1].placement);
    assert_eq!(planner.free_gpu_milli(node), 0);
}

#[test]
fn a_pass_stops_at_its_limits_and_goes_on() {
    let mut planner = planner(PolicyName::LeastLoaded);
    for number in 0..100 {
        planner.join(&machine(&format!("n{number}"), 1, None, None)).unwrap();
    }
    let class = planner.class(&gpu_task(1, 1000, 0));
    for order in 0..80 {
        planner.wait(class, turn(order));
    }
    let few = planner.pass(Limits { decisions: 30, scores: 1_000 });
    assert_eq!((few.decisions.len(), few.unfinished), (30, true));
    // A new class cannot even be scored everywhere at once.
    let other = planner.class(&gpu_task(1, 500, 0));
    planner.wait(other, named(0, 1_000));
    planner.forget(class, turn(30));
    let mut placed = Vec::new();
    let mut passes = 0;
    loop {
        let pass = planner.pass(Limits { decisions: 1_000, scores: 40 });
        placed.extend(orders(&pass.decisions));
        passes += 1;
        if !pass.unfinished {
            break;
        }
    }
    assert_eq!((placed.len(), placed[0], placed[1], planner.waiting()), (50, 0, 31, 0));
    assert!((3..20).contains(&passes), "{passes}");
}

#[test]
fn nodes_close_and_gpus_go_out_of_service() {
    let mut planner = planner(PolicyName::BestFit);
    let (first, second) = (planner.join(&machine("a", 2, None, None)).unwrap(), planner.join(&machine("b", 1, None, None)).unwrap());
    let class = planner.class(&gpu_task(1, 1000, 0));
    planner.close(second, Some(Closed::Draining));
    planner.set_in_service(first, 0, false);
    let placed = planner.place_now(class).unwrap();
    assert_eq!((placed.node(), placed.gpus().iter().collect::<Vec<_>>()), (first, vec![1]));
    planner.wait(class, turn(1));
    assert!(planner.pass(Limits::default()).decisions.is_empty());
    assert_eq!(planner.refusals(class).iter().map(|(_, nodes)| nodes).sum::<u32>(), 2);
    planner.close(second, None);
    assert_eq!(orders(&planner.pass(Limits::default()).decisions), [1]);
}

/// What another owner placed may be more than the node has: everything that is freed is then owed first.
#[test]
fn what_was_placed_elsewhere_is_booked_even_where_it_does_not_fit() {
    let mut planner = planner(PolicyName::FirstFit);
    let node = planner.join(&machine("n", 2, Some(3_000), Some(2))).unwrap();
    let task = gpu_task(1, 700, 2_000);
    let class = planner.class(&task);
    let adopted: Vec<_> = [0, 0, 1].map(|gpu| planner.adopt(node, &task, [gpu, 7])).into();
    assert_eq!((planner.gpu_used(node, 0).0, planner.gpu_used(node, 1).0, planner.free_gpu_milli(node)), (1_400, 700, 300));
    planner.wait(class, turn(1));
    assert!(planner.pass(Limits::default()).decisions.is_empty());
    assert_eq!(planner.refusals(class), [(Reason::SlotsTaken, 1)]);
    planner.release(&adopted[0]);
    assert_eq!(planner.refusals(class), [(Reason::SlotsTaken, 1)], "two of two slots are taken still");
    planner.release(&adopted[1]);
    assert!(planner.pass(Limits::default()).decisions.is_empty());
    assert_eq!(planner.refusals(class), [(Reason::CpuTaken, 1)]);
    planner.release(&adopted[2]);
    assert_eq!(orders(&planner.pass(Limits::default()).decisions), [1]);
}

#[test]
fn a_class_is_impossible_when_no_node_that_is_there_could_ever_run_it() {
    let mut planner = planner(PolicyName::FirstFit);
    let (large, small) = (planner.class(&gpu_task(2, 1000, 0)), planner.class(&gpu_task(1, 1000, 0)));
    for (class, order) in [(large, 1), (small, 2), (large, 3)] {
        planner.wait(class, turn(order));
    }
    planner.pass(Limits::default());
    assert!(planner.impossible().is_empty(), "there is no node that could tell");
    let one = planner.join(&machine("one", 1, None, None)).unwrap();
    planner.close(one, Some(Closed::NotAlive));
    planner.pass(Limits::default());
    assert_eq!(planner.impossible(), [large]);
    assert_eq!(planner.turns(large).map(|turn| turn.order).collect::<Vec<_>>(), [1, 3]);
    let two = planner.join(&machine("two", 2, None, None)).unwrap();
    planner.close(two, Some(Closed::Draining));
    assert!(planner.stands_aside(large) && planner.impossible().is_empty());
    planner.leave(two);
    assert_eq!(planner.impossible(), [large]);
}

#[test]
fn classes_that_nobody_waits_in_are_forgotten() {
    let mut planner = planner(PolicyName::FirstFit);
    planner.join(&machine("n", 1, Some(100_000), None)).unwrap();
    let kept = planner.class(&gpu_task(1, 1000, 100_001));
    planner.wait(kept, turn(0));
    for cpu_milli in 0..2_000 {
        let class = planner.class(&gpu_task(0, 0, cpu_milli));
        assert!(planner.place_now(class).is_some() == (cpu_milli < 447), "{cpu_milli}");
    }
    assert_eq!(planner.classes.len(), 512);
    assert_eq!(planner.class(&gpu_task(1, 1000, 100_001)), kept);
}
