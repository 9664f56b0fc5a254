//! Small clusters in which one can see what must happen.

use super::*;
use crate::settings::{PolicyName, Settings};

#[test]
fn a_gang_starts_whole_or_not_at_all() {
    let mut desk = Desk::new(&DispatchSettings::default(), &[2, 2, 2]);
    let one = desk.submit(1, 1, 10);
    let gang = desk.submit(3, 2, 10);
    assert_eq!(desk.starts(), [one]);
    assert_eq!(desk.dispatcher.planner().gpu_milli(), 6_000);
    let why = desk.dispatcher.why_waiting(gang).unwrap();
    assert_eq!((why.ahead, why.fitting, why.wanted), (0, 2, 3));
    assert_eq!(desk.end(one).starts(), [gang]);
    let mut nodes = desk.nodes(gang);
    nodes.sort_unstable();
    assert_eq!(nodes, [0, 1, 2]);
    assert!(desk.dispatcher.interrupted(gang, 5, Remaining { estimate_ms: Some(5) }));
    assert_eq!((desk.dispatcher.waiting(), desk.dispatcher.running()), (1, 0));
    assert_eq!(desk.starts(), [gang]);
}

#[test]
fn an_elastic_gang_starts_with_what_fits() {
    let mut desk = Desk::new(&DispatchSettings::default(), &[2, 2, 2]);
    let elastic = desk.submit_as(Ask { tasks: 8, gpus: 1, ms: 10 }, |request| request.min_tasks = 4);
    let other = desk.submit_as(Ask { tasks: 8, gpus: 1, ms: 10 }, |request| request.min_tasks = 4);
    assert_eq!(desk.starts(), [elastic]);
    assert_eq!(desk.nodes(elastic).len(), 6);
    assert_eq!(desk.end(elastic).starts(), [other]);
}

#[test]
fn four_thousand_tasks_are_placed_together() {
    let mut desk = Desk::new(&DispatchSettings::default(), &[8; 512]);
    let small = desk.submit(1, 1, 10);
    assert_eq!(desk.starts(), [small]);
    let large = desk.submit(4_096, 1, 10);
    let whole = desk.submit(511, 8, 10);
    assert_eq!(desk.starts(), [whole]);
    assert_eq!((desk.end(small).starts(), desk.end(whole).starts()), (vec![], vec![large]));
    assert_eq!(desk.nodes(large).len(), 4_096);
}

/// A wants 4 of 4 GPUs while 2 are taken; B wants 1, C wants what only the other pool has.
#[test]
fn what_a_job_that_does_not_fit_does_to_the_others() {
    let started = |blocking| {
        let mut desk = Desk::new(&with(OrderName::Fifo, blocking), &[4]);
        let mut other = machine("other", 1, None, None);
        other.gpus[0].model = "X".into();
        desk.dispatcher.join(&other).unwrap();
        let task = |model: &str, gpus| TaskClass { models: vec![model.into()], ..gpu_task(gpus, 1000, 0) };
        let mut submit = |model: &str, gpus: u16, ms| {
            let class = desk.dispatcher.class(&task(model, gpus));
            desk.submit_as(Ask { tasks: 1, gpus, ms }, |request| request.class = class)
        };
        let _running = submit("T4", 2, 100);
        let (_a, _b, _c, _d) = (submit("T4", 4, 10), submit("T4", 1, 100), submit("X", 1, 10), submit("T4", 1, 101));
        desk.starts()
    };
    assert_eq!(started(Blocking::Strict), [1]);
    assert_eq!(started(Blocking::StrictPerPool), [1, 4]);
    assert_eq!(started(Blocking::Skip), [1, 3, 4, 5]);
    assert_eq!(started(Blocking::Easy), [1, 3, 4], "the last one would end 1 ms too late");
    assert_eq!(started(Blocking::ByTime), [1, 4], "and this one asks for less than the start, not for it");
}

/// A long job blocks; a shorter one comes later.
#[test]
fn the_first_job_can_be_displaced_or_not() {
    let goes_next = |blocking| {
        let mut desk = Desk::new(&with(OrderName::Sjf, blocking), &[1]);
        let running = desk.submit(1, 1, 10);
        assert_eq!(desk.starts(), [running]);
        let _long = desk.at(1).submit(1, 1, 100);
        assert!(desk.starts().is_empty(), "it does not fit");
        let _short = desk.at(2).submit(1, 1, 50);
        desk.at(10).end(running).starts()
    };
    assert_eq!(goes_next(Blocking::Strict), [3]);
    assert_eq!(goes_next(Blocking::Sticky), [2]);
}

/// Two of four GPUs are free, a job for four waits, and behind it three for one or two: each would be gone in time, and not all of them fit.
#[test]
fn as_submitted_or_the_shortest_first_jobs_go_ahead() {
    let started = |blocking| {
        let mut desk = Desk::new(&with(OrderName::Fifo, blocking), &[4]);
        let _running = desk.submit(1, 2, 100);
        let _wide = desk.submit(1, 4, 10);
        let (_two, _one, _other) = (desk.submit(1, 2, 90), desk.submit(1, 1, 80), desk.submit(1, 1, 70));
        desk.starts()
    };
    assert_eq!(started(Blocking::Easy), [1, 3]);
    assert_eq!(started(Blocking::EasyShortest), [1, 5, 4]);
}

/// Two of four GPUs are free. The second job fits at 100 ms, the third beside it. The fourth would fit now, but not for long enough: under `easy` it
/// only has to stay off the way of the second one.
#[test]
fn conservative_backfilling_postpones_none() {
    let mut desk = Desk::new(&with(OrderName::Fifo, Blocking::Conservative), &[4]);
    let (first, second, third) = (desk.submit(1, 2, 100), desk.submit(1, 3, 10), desk.submit(1, 4, 20));
    let (long, short) = (desk.submit(1, 1, 111), desk.submit(1, 2, 100));
    assert_eq!(desk.starts(), [first, short]);
    let expected = |job| desk.dispatcher.why_waiting(job).unwrap().expected_start_ms;
    assert_eq!([second, third, long].map(expected), [Some(100), Some(110), Some(130)]);
    assert_eq!(desk.dispatcher.next_ms(), Some(100));
    assert!(desk.at(50).end(short).starts().is_empty(), "what is left is too short for the long one");
    assert_eq!(desk.at(60).end(first).starts(), [second]);
    assert_eq!(desk.dispatcher.why_waiting(third).unwrap().expected_start_ms, Some(70));
}

#[test]
fn a_job_that_stays_off_the_reserved_nodes_may_take_its_time() {
    let mut desk = Desk::new(&with(OrderName::Fifo, Blocking::Easy), &[2, 2, 2]);
    let (first, second) = (desk.submit(1, 2, 50), desk.submit(1, 2, 100));
    let (wide, long) = (desk.submit(2, 2, 10), desk.submit(1, 1, 1_000));
    // At 50 ms the first node is free again, beside the third: both are kept. So nothing is left for the long one.
    let decisions = desk.decide();
    let reserve = Dispatch::Reserve { job: wide, at_ms: Some(50), nodes: vec![NodeId(0), NodeId(2)] };
    assert!(decisions.contains(&reserve), "{decisions:?}");
    assert_eq!(desk.dispatcher.next_ms(), Some(50));
    let why = desk.dispatcher.why_waiting(long).unwrap();
    assert_eq!((why.reservations, desk.dispatcher.why_waiting(wide).unwrap().expected_start_ms), (vec![(wide, 2)], Some(50)));
    // The second job ends early: now node 1 is free at once, and the first two nodes that are free are enough.
    assert_eq!(desk.at(20).end(second).starts(), [wide]);
    assert!(desk.starts().is_empty());
    assert_eq!(desk.at(50).end(first).starts(), [long]);
}

#[test]
fn priority_goes_above_the_order() {
    let mut desk = Desk::new(&with(OrderName::Sjf, Blocking::Strict), &[1]);
    let (long, short) = (desk.submit(1, 1, 100), desk.submit(1, 1, 10));
    let urgent = desk.submit_as(Ask { tasks: 1, gpus: 1, ms: 1_000 }, |request| request.priority = 1);
    for job in [urgent, short, long] {
        assert_eq!(desk.starts(), [job]);
        desk.end(job);
    }
}

#[test]
fn a_topology_is_kept_or_the_job_waits() {
    let settings = DispatchSettings { placement: Settings { policy: PolicyName::FirstFit, ..Settings::default() }, ..Default::default() };
    let level = |level, required| move |request: &mut Request| request.topology = Some(Topology { level, required });
    let wide = Ask { tasks: 4, gpus: 1, ms: 10 };
    let could_ever_run = |desk: &mut Desk, ask: Ask, level| {
        let mut request = desk.request(ask);
        request.topology = Some(Topology { level, required: true });
        desk.dispatcher.could_ever_run(&request)
    };
    // Racks: (2, 2), (4, 1), (3, 3), (2, 2); blocks: 9 and 10.
    let mut desk = Desk::new(&settings, &[2, 2, 4, 1, 3, 3, 2, 2]);
    let on_node = desk.submit_as(wide, level(Level::Node, true));
    let in_rack = desk.submit_as(wide, level(Level::Rack, true));
    assert_eq!(desk.starts(), [on_node, in_rack]);
    assert_eq!((desk.nodes(on_node), desk.nodes(in_rack)), (vec![2; 4], vec![0, 0, 1, 1]), "the fullest that fits");
    let in_block = desk.submit_as(Ask { tasks: 9, ..wide }, level(Level::Block, true));
    let no_node = desk.submit_as(wide, level(Level::Node, true));
    assert_eq!(desk.starts(), [in_block]);
    assert_eq!(desk.nodes(in_block), [4, 4, 4, 5, 5, 5, 6, 6, 7], "the rack with the most, then the rest of another");
    assert!(could_ever_run(&mut desk, wide, Level::Node), "it would fit on an empty node");
    let preferred = desk.submit_as(Ask { tasks: 2, ..wide }, level(Level::Node, false));
    assert_eq!(desk.starts(), [preferred]);
    assert_eq!(desk.nodes(preferred), [3, 7], "wherever there is room at last");
    let too_large = Ask { tasks: 11, ..wide };
    desk.submit_as(too_large, level(Level::Block, true));
    assert!(desk.starts().is_empty());
    assert!(!could_ever_run(&mut desk, too_large, Level::Block) && could_ever_run(&mut desk, Ask { tasks: 10, ..wide }, Level::Block));
    assert_eq!(desk.end(on_node).starts(), [no_node]);
}

/// Two nodes of four GPUs. At 40 ms the first job has 60 ms left. A job of 50 ms for four GPUs and one of 55 ms for two come: with the second
/// job, of which 20 ms are left, they have all eight GPUs, so the first one is stopped.
#[test]
fn by_count_the_jobs_with_the_shortest_rest_go() {
    let mut desk = Desk::new(&with(OrderName::Srtf, Blocking::ByCount), &[4, 4]);
    let (first, second) = (desk.submit(1, 3, 100), desk.submit(1, 2, 60));
    assert_eq!(desk.starts(), [second, first]);
    let (four, two) = (desk.at(40).submit(1, 4, 50), desk.submit(1, 2, 55));
    let decisions = desk.decide();
    assert!(decisions.contains(&Dispatch::Preempt { job: first, for_job: four }), "{decisions:?}");
    assert!(desk.dispatcher.interrupted(first, 40, Remaining { estimate_ms: Some(60) }));
    assert_eq!((desk.nodes(four), desk.nodes(two), desk.nodes(second)), (vec![1], vec![0], vec![0]));
    // At 60 ms the second job ends. The first one needs three GPUs and has a longer rest than the two that run.
    assert!(desk.at(60).end(second).starts().is_empty());
    assert_eq!(desk.at(90).end(four).starts(), [first]);
}

#[test]
fn by_count_is_for_remaining_times() {
    for settings in [
        with(OrderName::Fifo, Blocking::ByCount),
        DispatchSettings { reserve_after_ms: Some(1), ..with(OrderName::Srtf, Blocking::ByCount) },
    ] {
        assert_eq!(Dispatcher::new(&settings).unwrap_err(), crate::settings::InvalidSettings::SrtfOnly);
    }
}
