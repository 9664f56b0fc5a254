//! Placement from outside: what is told, what is asked, and which answers are taken.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::class::Closed;
use crate::decision::{Decision, Limits, Pass};
use crate::outside::{Chosen, NodeState, Outside, OutsideFailed};
use crate::settings::Settings;

type Answer = Result<Option<Chosen>, OutsideFailed>;

/// Of nodes: whether they are open, and what is free of their GPUs; `None` for one that left.
type States = BTreeMap<u32, Option<(bool, Vec<u16>)>>;

/// For each question the nodes that fit, and the states of those that changed before.
type Heard = Receiver<(Vec<u32>, States)>;

/// Answers what it was given beforehand, and writes down what it hears.
#[derive(Debug)]
struct Script {
    answers: Vec<Answer>,
    states: States,
    heard: Sender<(Vec<u32>, States)>,
}

impl Outside for Script {
    fn node(&mut self, number: u32, node: Option<NodeState<'_>>) -> Result<(), OutsideFailed> {
        let state = node.map(|node| (node.open, node.gpus.iter().map(|gpu| gpu.free_milli).collect()));
        self.states.insert(number, state);
        Ok(())
    }

    fn choose(&mut self, _task: &TaskClass, fitting: &[u32]) -> Answer {
        self.heard.send((fitting.to_vec(), std::mem::take(&mut self.states))).unwrap();
        self.answers.remove(0)
    }
}

fn planner(answers: Vec<Answer>) -> (Planner, Heard) {
    let mut planner = Planner::new(&Settings::default()).unwrap();
    for number in 0..3 {
        planner.join(&machine(&format!("n{number}"), 2, None, None)).unwrap();
    }
    let (heard, hears) = channel();
    planner.set_outside(Box::new(Script { answers, states: States::new(), heard }));
    (planner, hears)
}

fn node(node: u32) -> Answer {
    Ok(Some(Chosen { node, gpus: None }))
}

#[test]
fn the_world_is_told_once_and_then_what_changed() {
    let second = Ok(Some(Chosen { node: 1, gpus: Some(vec![1]) }));
    let (mut planner, hears) = planner(vec![node(1), second, Ok(None), node(2)]);
    let class = planner.class(&gpu_task(1, 600, 0));
    let open = |free: [u16; 2]| Some((true, free.to_vec()));
    let placed = planner.place_now(class).unwrap();
    assert_eq!((placed.node(), placed.gpus().iter().collect::<Vec<_>>(), placed.why.fitting), (NodeId(1), vec![0], 3));
    let all: BTreeMap<_, _> = (0..3).map(|number| (number, open([1000, 1000]))).collect();
    assert_eq!(hears.try_recv().unwrap(), (vec![0, 1, 2], all));
    let placed = planner.place_now(class).unwrap();
    assert_eq!(placed.gpus().iter().collect::<Vec<_>>(), [1]);
    assert_eq!(hears.try_recv().unwrap(), (vec![0, 1, 2], BTreeMap::from([(1, open([400, 1000]))])));
    // One node leaves and another one closes; it may also choose none.
    planner.leave(NodeId(0));
    assert!(planner.place_now(class).is_none());
    assert_eq!(hears.try_recv().unwrap(), (vec![2], BTreeMap::from([(0, None), (1, open([400, 400]))])));
    planner.close(NodeId(1), Some(Closed::Draining));
    assert_eq!(planner.place_now(class).unwrap().node(), NodeId(2));
    assert_eq!(hears.try_recv().unwrap(), (vec![2], BTreeMap::from([(1, Some((false, vec![400, 400])))])));
    assert_eq!(planner.outside_failed(), None);
}

#[test]
fn waiting_tasks_go_where_it_says() {
    let (mut planner, hears) = planner(vec![node(2), node(2), Ok(None), node(0)]);
    let class = planner.class(&gpu_task(1, 1000, 0));
    (0..4).for_each(|order| assert!(planner.wait(class, Turn { order, job: [0; 18] })));
    let nodes = |pass: Pass| pass.decisions.iter().map(|Decision::Place { placed, .. }| placed.node().0).collect::<Vec<_>>();
    assert_eq!(nodes(planner.pass(Limits::default())), [2, 2]);
    // It waits until something is free that was not, on whatever node.
    assert_eq!(planner.pass(Limits::default()).decisions, []);
    planner.close(NodeId(2), Some(Closed::Draining));
    planner.close(NodeId(2), None);
    assert_eq!(planner.pass(Limits::default()).decisions, []);
    planner.close(NodeId(1), Some(Closed::Draining));
    planner.close(NodeId(1), None);
    let pass = planner.pass(Limits { decisions: 1, ..Limits::default() });
    assert_eq!((nodes(pass), hears.try_iter().count()), (vec![0], 4));
}

#[test]
fn a_wrong_answer_ends_it() {
    let gpus = |gpus: &[usize]| Ok(Some(Chosen { node: 0, gpus: Some(gpus.to_vec()) }));
    let cases = [
        (node(7), "node 7 was chosen for a task that does not fit there: choose one of `fits`"),
        (gpus(&[0, 9]), "GPUs [0, 9] of node 0 (n0) were chosen: GPU 9 has no room for the task; choose 2"),
        (gpus(&[0, 99]), "GPUs [0, 99] of node 0 (n0) were chosen: GPU 99 has no room for the task; choose 2"),
        (gpus(&[1, 1]), "GPUs [1, 1] of node 0 (n0) were chosen: one of them is named twice; choose 2"),
        (gpus(&[1]), "GPUs [1] of node 0 (n0) were chosen: 1 are too few or too many; choose 2"),
        (Err(OutsideFailed("it is gone".into())), "it is gone"),
    ];
    for (answer, expected) in cases {
        let (mut planner, hears) = planner(vec![answer]);
        let class = planner.class(&gpu_task(2, 1000, 0));
        assert!(planner.place_now(class).is_none() && planner.place_now(class).is_none());
        assert_eq!(planner.outside_failed().unwrap().to_string(), expected);
        assert_eq!(hears.try_iter().count(), 1, "it is not asked again");
    }
}
