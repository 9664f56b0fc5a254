use faultline_cluster::up::signal::KillSignal;
use faultline_engine::fault::FaultKind;
use faultline_engine::node::Health;
use faultline_protocol::messages::JobState;

use super::super::samples::{NOW_MS, job, node, small, snapshot};
use super::*;

fn top() -> Top {
    let mut top = Top::new(1_000, "nats://127.0.0.1:4222".into());
    assert_eq!(top.handle(Input::Looked(Ok(Box::new(small()))), NOW_MS), []);
    top
}

fn press(top: &mut Top, keys: impl IntoIterator<Item = Key>) -> Vec<Effect> {
    keys.into_iter().flat_map(|key| top.handle(Input::Key(key), NOW_MS)).collect()
}

fn letters(text: &str) -> impl Iterator<Item = Key> {
    text.chars().map(Key::Char)
}

fn nodes(top: &Top) -> Vec<&str> {
    top.shown_nodes().iter().map(|node| node.spec.node.as_str()).collect()
}

#[test]
fn a_node_is_killed_only_after_the_question_is_answered() {
    let mut top = top();
    assert_eq!(press(&mut top, [Key::Down, Key::Down, Key::Char('k')]), []);
    assert!(matches!(&top.mode, Mode::Choose(dialog) if dialog.question == "Kill gpu-node-03?"));
    assert_eq!(press(&mut top, letters("x3y")), [], "no such choice");
    assert_eq!(press(&mut top, [Key::Enter]), [], "Enter chooses nothing among several");
    let order = Order::Signal { process: "worker-03".into(), signal: KillSignal::Kill };
    assert_eq!(press(&mut top, letters("2")), [Effect::CarryOut(order)]);
    assert_eq!(top.mode, Mode::Browse);
    assert_eq!(press(&mut top, [Key::Char('k'), Key::Escape]), []);
    let order = Order::Break { node: "gpu-node-03".into(), kind: FaultKind::Crash };
    assert_eq!(press(&mut top, letters("k1")), [Effect::CarryOut(order)]);
}

#[test]
fn a_drained_node_can_be_undrained_and_a_job_cancelled() {
    let mut top = top();
    assert_eq!(press(&mut top, letters("dy")), [Effect::CarryOut(Order::Drain { node: "gpu-node-01".into() })]);
    let undrain = Effect::CarryOut(Order::Undrain { node: "gpu-node-03".into() });
    assert_eq!(press(&mut top, [Key::Down, Key::Down, Key::Char('d'), Key::Enter]), [undrain]);
    let newest = small().jobs[2].id;
    assert_eq!(press(&mut top, [Key::Tab, Key::Char('c'), Key::Char('y')]), [Effect::CarryOut(Order::Cancel { job: newest })]);
    assert_eq!(press(&mut top, letters("k")), []);
    assert!(top.note(NOW_MS).is_some_and(|note| note.is_bad), "a job is not killed");
}

#[test]
fn lists_are_sorted_and_filtered_and_the_selection_stays_with_its_row() {
    let mut top = top();
    press(&mut top, [Key::Down]);
    press(&mut top, letters(">>r"));
    assert_eq!(top.nodes.column, NodeColumn::Health);
    assert_eq!(nodes(&top), ["gpu-node-02", "gpu-node-03", "gpu-node-01", "gpu-node-04"]);
    assert_eq!(top.nodes.place(), 0, "gpu-node-02 is still selected");
    press(&mut top, letters("/DRAIN"));
    assert_eq!((nodes(&top), &top.mode), (vec!["gpu-node-03"], &Mode::Filter));
    press(&mut top, [Key::Backspace, Key::Enter, Key::Char('d')]);
    assert!(matches!(&top.mode, Mode::Choose(dialog) if dialog.question == "Undrain gpu-node-03?"));
    press(&mut top, [Key::Escape, Key::Escape]);
    assert_eq!(nodes(&top).len(), 4, "Escape clears the filter");
    let fewer = snapshot(vec![node(1, Health::Alive)], vec![job(1, JobState::Queued)]);
    top.handle(Input::Looked(Ok(Box::new(fewer))), NOW_MS);
    assert_eq!(top.nodes.place(), 0, "the selected node is gone");
    press(&mut top, [Key::End, Key::PageUp, Key::Home]);
    assert_eq!(top.nodes.place(), 0);
}

#[test]
fn a_pause_keeps_the_picture_and_going_on_looks_at_once() {
    let mut top = top();
    press(&mut top, letters("p"));
    top.handle(Input::Looked(Ok(Box::new(snapshot(vec![], vec![])))), NOW_MS);
    assert_eq!(nodes(&top).len(), 4);
    assert_eq!(press(&mut top, letters("p")), [Effect::Look]);
}

#[test]
fn it_says_since_when_nats_is_silent_and_when_it_answers_again() {
    let mut top = top();
    top.handle(Input::Silence(Some(2_500)), NOW_MS + 2_500);
    top.handle(Input::Silence(Some(5_010)), NOW_MS + 5_000);
    top.handle(Input::Looked(Err("no scheduler answers".into())), NOW_MS + 5_000);
    top.handle(Input::Looked(Err("no scheduler answers".into())), NOW_MS + 9_000);
    assert_eq!(top.silent_since_ms, Some(NOW_MS));
    assert_eq!(top.unanswered.as_ref().map(|(since_ms, _)| *since_ms), Some(NOW_MS + 5_000));
    top.handle(Input::Silence(None), NOW_MS + 10_000);
    top.handle(Input::Looked(Ok(Box::new(small()))), NOW_MS + 10_000);
    assert_eq!((top.silent_since_ms, top.unanswered.clone()), (None, None));
}

#[test]
fn commits_a_second_are_those_between_two_looks() {
    let mut top = top();
    assert_eq!(top.commits_per_s, None);
    let mut later = small();
    later.at_ms += 2_000;
    later.stats.ledger.committed += 5;
    top.handle(Input::Looked(Ok(Box::new(later))), NOW_MS);
    assert_eq!(top.commits_per_s, Some(2.5));
}

#[test]
fn what_was_done_is_said_for_a_while() {
    let mut top = top();
    assert_eq!(top.handle(Input::Done(Err("no such node".into())), NOW_MS), [Effect::Look]);
    assert!(top.note(NOW_MS + 5_999).is_some_and(|note| note.is_bad && note.text == "no such node"));
    assert_eq!(top.note(NOW_MS + 6_000), None);
    assert_eq!(press(&mut top, [Key::Char('?'), Key::Char('q')]), [], "any key leaves the help");
    assert_eq!(press(&mut top, [Key::Char('/'), Key::Char('q')]), [], "a letter of the filter");
    assert_eq!(press(&mut top, [Key::Interrupt]), [Effect::Quit]);
}
