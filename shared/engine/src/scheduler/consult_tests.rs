//! A program that answers well, and programs that do not: whatever they say, the books hold and the work goes on.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::flight::{Entry, Header, Replay, VERSION, line};
use super::super::place::tests::{Step, act, check, step};
use super::super::program::{Question, REQUEST_BYTES, WRONG_EVERY_MS};
use super::super::tests::{SETTLED, assignments, beat, delivery, leader, node, spec, submit};
use super::super::{Call, PolicyName, SchedulerConfig, SyncPart, SyncedNode};
use super::*;
use crate::job::Assignment;

/// What docs/examples/emptiest_node.py does.
#[derive(Debug, Default)]
struct Emptiest {
    free: BTreeMap<u64, u64>,
}

impl Emptiest {
    fn learn(&mut self, node: &Value) {
        let free = node["gpus"].as_array().unwrap().iter().map(|gpu| gpu["free_milli"].as_u64().unwrap()).sum();
        self.free.insert(node["node"].as_u64().unwrap(), free);
    }

    fn answer(&mut self, question: &Question) -> Heard {
        let mut answers = String::new();
        for line in question.lines.lines() {
            let said: Value = serde_json::from_str(line).unwrap();
            match said["type"].as_str().unwrap() {
                "world" => {
                    self.free.clear();
                    said["nodes"].as_array().unwrap().iter().for_each(|node| self.learn(node));
                }
                "node" => self.learn(&said),
                "left" => assert!(self.free.remove(&said["node"].as_u64().unwrap()).is_some(), "it was never told of {said}"),
                "ask" => {
                    let fits = said["fits"].as_array().unwrap().iter().map(|node| node.as_u64().unwrap());
                    let best = fits.max_by_key(|node| (self.free[node], std::cmp::Reverse(*node))).unwrap();
                    let task = &said["task"];
                    let wanted = task["gpus"].as_u64().unwrap() * task["gpu_milli"].as_u64().unwrap();
                    let free = self.free.get_mut(&best).unwrap();
                    *free = free.saturating_sub(wanted);
                    answers.push_str(&format!("{}\n", json!({"id": said["id"], "node": best})));
                }
                other => panic!("unknown line `{other}`"),
            }
        }
        assert_eq!(answers.lines().count() as u64, question.asks);
        Heard::Answer(answers)
    }
}

fn questions(actions: &[Action]) -> Vec<&Question> {
    actions.iter().filter_map(|action| if let Action::Ask(question) = action { Some(&**question) } else { None }).collect()
}

fn news(actions: &[Action]) -> Vec<String> {
    actions.iter().filter_map(|action| if let Action::Tell(news) = action { Some(news.to_string()) } else { None }).collect()
}

/// A settled leader that asks a program.
fn asking(gpus: &[usize]) -> Scheduler {
    leader(gpus).asking(Some("mine".into()))
}

/// The only request in these actions, answered; what follows from it and from the next look at the clock.
fn answered(scheduler: &mut Scheduler, actions: &[Action], heard: impl FnOnce(&Question) -> Heard, now_ms: u64) -> Vec<Action> {
    let [question] = questions(actions)[..] else { panic!("one request and not {actions:?}") };
    let heard = heard(question);
    let mut actions = scheduler.on_answered(question.number, &heard, now_ms);
    actions.extend(scheduler.advance(now_ms));
    scheduler.sanity_check();
    actions
}

/// Lets the program answer until it is not asked any more; all that was decided.
fn converse(scheduler: &mut Scheduler, program: &mut Emptiest, mut actions: Vec<Action>, now_ms: u64) -> Vec<Action> {
    let mut all = Vec::new();
    while !questions(&actions).is_empty() {
        let next = answered(scheduler, &actions, |question| program.answer(question), now_ms);
        all.append(&mut actions);
        actions = next;
    }
    all.append(&mut actions);
    all
}

fn nothing(why: &str) -> impl FnOnce(&Question) -> Heard {
    move |_| Heard::Nothing(why.to_owned())
}

#[test]
fn a_program_that_takes_the_emptiest_node_decides_as_least_loaded_does() {
    let placed = |actions: &[Action]| -> Vec<(JobId, String, Vec<u8>)> {
        let row = |assignment: &&Assignment| (assignment.spec.id, assignment.node.clone(), assignment.gpus.clone());
        assignments(actions).iter().map(row).collect()
    };
    let deliver = |scheduler: &mut Scheduler| {
        // Few enough that no node fills up: an answer for a full node is asked for again, behind the others of its request.
        for number in 0..24 {
            let milli = [300, 1000, 2000, 100][number as usize % 4];
            scheduler.on_delivered(delivery(spec(number, milli), false), SETTLED);
        }
        scheduler.advance(SETTLED)
    };
    let mut native = leader(&[8, 8, 8, 8]);
    let native = placed(&deliver(&mut native));
    let (mut scheduler, mut program) = (asking(&[8, 8, 8, 8]), Emptiest::default());
    let greeting = deliver(&mut scheduler);
    assert!(assignments(&greeting).is_empty() && greeting.iter().any(|action| matches!(action, Action::Ask(_))));
    let all = converse(&mut scheduler, &mut program, greeting, SETTLED + 3);
    assert_eq!(native.len(), 24);
    assert_eq!(placed(&all), native);
    let standing = scheduler.program().unwrap();
    assert_eq!((standing.state, standing.placed, standing.wrong), (ProgramState::Decides, native.len() as u64, 0));
    assert_eq!(news(&all), ["the policy program service:mine decides where jobs run"]);
    let assignment = assignments(&all)[0].clone();
    let words = assignment.choice.unwrap().words();
    assert_eq!(words, "service:mine: the program chose it out of 4 of 4 nodes with room");
}

#[test]
fn what_the_program_lets_wait_is_asked_about_again_once_more_is_free() {
    let mut scheduler = asking(&[2]);
    let greeting = scheduler.advance(SETTLED);
    answered(&mut scheduler, &greeting, |_| Heard::Answer(String::new()), SETTLED);
    let asked = submit(&mut scheduler, spec(1, 1000), SETTLED);
    let id = |question: &Question| question.lines.rsplit_once("\"id\":").unwrap().1.split(',').next().unwrap().to_owned();
    let wait = |question: &Question| Heard::Answer(format!("{{\"id\":{},\"node\":null}}", id(question)));
    let after = answered(&mut scheduler, &asked, wait, SETTLED);
    assert!(questions(&after).is_empty() && assignments(&after).is_empty());
    assert_eq!(scheduler.why_waiting(JobId::new(0, 1), SETTLED).unwrap().summary, "the policy program lets it wait until more is free");
    assert!(questions(&submit(&mut scheduler, spec(2, 1000), SETTLED)).is_empty(), "an equal job waits as it does");
    scheduler.on_registered(node(2, 4, 1), SETTLED + 1);
    beat(&mut scheduler, 2, SETTLED + 1);
    let again = scheduler.advance(SETTLED + 1);
    assert_eq!(questions(&again)[0].asks, 2);
    let mut program = Emptiest { free: BTreeMap::from([(0, 2000), (1, 4000)]) };
    let all = converse(&mut scheduler, &mut program, again, SETTLED + 2);
    assert_eq!(assignments(&all).len(), 2);
}

#[test]
fn what_a_program_let_wait_does_not_wait_for_ever_when_it_is_gone() {
    let mut scheduler = asking(&[2]);
    let greeting = scheduler.advance(SETTLED);
    answered(&mut scheduler, &greeting, |_| Heard::Answer(String::new()), SETTLED);
    let asked = submit(&mut scheduler, spec(1, 1000), SETTLED);
    answered(&mut scheduler, &asked, |_| Heard::Answer("{\"id\":1,\"node\":null}".into()), SETTLED);
    beat(&mut scheduler, 1, SETTLED + 5_000);
    let idle = scheduler.advance(SETTLED + 5_000);
    assert_eq!(questions(&idle)[0].asks, 0);
    let after = answered(&mut scheduler, &idle, nothing("no program listens on policy.mine"), SETTLED + 5_000);
    assert_eq!(assignments(&after).len(), 1);
}

#[test]
fn without_an_answer_the_built_in_policy_decides_and_the_program_is_tried_again() {
    let mut scheduler = asking(&[4]);
    let greeting = submit(&mut scheduler, spec(1, 100), SETTLED);
    let after = answered(&mut scheduler, &greeting, nothing("no program listens on policy.mine"), SETTLED + 1);
    assert_eq!(assignments(&after)[0].choice.as_ref().unwrap().policy, "least-loaded");
    assert_eq!(
        news(&after),
        [
            "the policy program service:mine failed: no program listens on policy.mine; least-loaded decides, and the program is tried again in 1 s"
        ]
    );
    // Jobs do not wait for a program that is tried again, and a further failure is no news.
    let mut now_ms = SETTLED + 1;
    for (number, pause_ms) in (10..).zip([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
        beat(&mut scheduler, 1, now_ms + pause_ms - 1);
        assert!(questions(&scheduler.advance(now_ms + pause_ms - 1)).is_empty());
        now_ms += pause_ms;
        let mut tried = scheduler.advance(now_ms);
        assert_eq!(assignments(&submit(&mut scheduler, spec(number, 10), now_ms)).len(), 1);
        let [question] = questions(&tried)[..] else { panic!("{tried:?}") };
        assert!(
            question.lines.starts_with("{\"type\":\"world\",\"version\":1,\"nodes\":[{\"node\":0,\"name\":\"gpu-node-01\""),
            "{}",
            question.lines
        );
        tried = answered(&mut scheduler, &tried, nothing("no program listens on policy.mine"), now_ms);
        assert!(news(&tried).is_empty());
    }
    assert_eq!(scheduler.program().unwrap().placed_by_fallback, 8);
    // It is there: it decides from now on.
    beat(&mut scheduler, 1, now_ms + 30_000);
    let tried = scheduler.advance(now_ms + 30_000);
    let (mut program, number) = (Emptiest::default(), scheduler.program().unwrap().requests);
    let back = answered(&mut scheduler, &tried, |question| program.answer(question), now_ms + 30_000);
    assert_eq!(news(&back), ["the policy program service:mine decides where jobs run"]);
    let asked = submit(&mut scheduler, spec(99, 100), now_ms + 30_000);
    assert_eq!((questions(&asked)[0].number, questions(&asked)[0].world.as_str()), (number + 1, &*format!("0-{number}")));
    assert_eq!(assignments(&converse(&mut scheduler, &mut program, asked, now_ms + 30_000)).len(), 1);
}

#[test]
fn an_owner_that_says_nothing_of_a_request_is_not_waited_for_and_a_late_answer_changes_nothing() {
    let mut scheduler = asking(&[4]);
    let greeting = submit(&mut scheduler, spec(1, 100), SETTLED);
    let number = questions(&greeting)[0].number;
    beat(&mut scheduler, 1, SETTLED + 2_000);
    assert!(assignments(&scheduler.advance(SETTLED + 2_000)).is_empty());
    let after = scheduler.advance(SETTLED + 2_001);
    assert_eq!(assignments(&after).len(), 1);
    assert!(scheduler.on_answered(number, &Heard::Answer("{}".into()), SETTLED + 2_002).is_empty());
    assert_eq!(scheduler.program().unwrap().why, "no answer within 1 s");
}

#[test]
fn a_program_that_was_restarted_is_told_of_all_nodes_again() {
    let mut scheduler = asking(&[4, 4]);
    let (mut program, greeting) = (Emptiest::default(), scheduler.advance(SETTLED));
    converse(&mut scheduler, &mut program, greeting, SETTLED);
    let asked = submit(&mut scheduler, spec(1, 100), SETTLED);
    let unknown = |_: &Question| Heard::Answer("{\"type\": \"unknown_world\"}\n".into());
    let again = answered(&mut scheduler, &asked, unknown, SETTLED);
    assert!(questions(&again)[0].lines.starts_with("{\"type\":\"world\""));
    let all = converse(&mut scheduler, &mut Emptiest::default(), again, SETTLED);
    assert_eq!((assignments(&all).len(), scheduler.program().unwrap().failures), (1, 0));
    // One that never knows anything is left out.
    let mut actions = submit(&mut scheduler, spec(2, 100), SETTLED);
    for _ in 0..3 {
        actions = answered(&mut scheduler, &actions, unknown, SETTLED);
    }
    assert_eq!(assignments(&actions).len(), 1);
    assert!(news(&actions)[0].contains("it knows nothing of them"), "{:?}", news(&actions));
}

#[test]
fn wrong_answers_are_said_and_after_three_requests_the_program_is_left_out() {
    let mut scheduler = asking(&[4]);
    let (mut program, greeting) = (Emptiest::default(), scheduler.advance(SETTLED));
    converse(&mut scheduler, &mut program, greeting, SETTLED);
    let mut actions = submit(&mut scheduler, spec(1, 2000), SETTLED);
    let mut said = Vec::new();
    for (at, node) in ["77", "0, \"gpus\": [0, 0]", "0, \"gpus\": [1]"].into_iter().enumerate() {
        let wrong = |_: &Question| Heard::Answer(format!("{{\"id\": {}, \"node\": {node}}}", at + 1));
        let now_ms = SETTLED + at as u64 * WRONG_EVERY_MS / 2;
        beat(&mut scheduler, 1, now_ms);
        actions = answered(&mut scheduler, &actions, wrong, now_ms);
        said.extend(news(&actions));
    }
    assert_eq!(
        said,
        [
            "an answer of the policy program service:mine is wrong: node 77 was chosen for a task that does not fit there",
            "an answer of the policy program service:mine is wrong, and 1 other since the last such line: GPUs [1] of node 0 (gpu-node-01) were \
             chosen: 1 are too few or too many",
            "the policy program service:mine failed: 3 requests in a row without an answer that holds; the last wrong one: GPUs [1] of node 0 \
             (gpu-node-01) were chosen: 1 are too few or too many; least-loaded decides, and the program is tried again in 1 s",
        ]
    );
    let standing = scheduler.program().unwrap();
    assert_eq!((assignments(&actions).len(), standing.wrong, standing.failures, standing.placed_by_fallback), (1, 3, 1, 1));
}

#[test]
fn an_answer_for_a_node_that_has_left_is_asked_for_again() {
    let mut scheduler = asking(&[4, 8]);
    let (mut program, greeting) = (Emptiest::default(), scheduler.advance(SETTLED));
    converse(&mut scheduler, &mut program, greeting, SETTLED);
    let asked = submit(&mut scheduler, spec(1, 1000), SETTLED);
    // Another node takes the number of the one that left.
    scheduler.on_left("gpu-node-02", u64::MAX, SETTLED);
    scheduler.on_registered(node(3, 8, 1), SETTLED);
    let again = answered(&mut scheduler, &asked, |question| program.answer(question), SETTLED + 1);
    assert!(assignments(&again).is_empty());
    assert_eq!((scheduler.program().unwrap().late, questions(&again).len()), (1, 1));
    let placed = converse(&mut scheduler, &mut program, again, SETTLED + 1);
    assert_eq!(assignments(&placed)[0].node, "gpu-node-01");
}

#[test]
fn requests_stay_small_whatever_the_number_of_nodes() {
    let mut scheduler = Scheduler::new(SchedulerConfig::default(), PolicyName::LeastLoaded, 1, 0).asking(Some("mine".into()));
    for number in 0..3_000 {
        let spec = crate::node::NodeSpec { node: format!("gpu-node-{number}"), ..node(1, 8, 1) };
        scheduler.on_registered(spec, SETTLED);
        let name = format!("gpu-node-{number}");
        scheduler.on_heartbeat(&name, super::super::Beat { incarnation: 1, running: &[], telemetry: &[], leaving: false }, SETTLED);
    }
    for number in 0..100 {
        scheduler.on_delivered(delivery(spec(number, 1000), false), SETTLED);
    }
    let (mut program, mut requests) = (Emptiest::default(), Vec::new());
    let mut actions = scheduler.advance(SETTLED);
    while let [question] = questions(&actions)[..] {
        requests.push((question.lines.len(), question.asks));
        actions = answered(&mut scheduler, &actions, |question| program.answer(question), SETTLED);
    }
    assert!(requests.iter().all(|(bytes, _)| *bytes < REQUEST_BYTES + 20_000), "{requests:?}");
    assert!(requests[0].1 == 0 && requests[1].1 == 0 && requests.last().unwrap().1 > 1, "{requests:?}");
    assert_eq!((program.free.len(), scheduler.waiting(), scheduler.running()), (3_000, 0, 100));
}

/// What a program may do with a request.
#[derive(Debug, Clone)]
enum Deed {
    Well,
    Waits,
    Draws(Vec<(u64, Option<u32>, Option<Vec<usize>>)>),
    Babbles(String),
    Nothing,
    Unknown,
    /// The answer never comes.
    Drops,
    /// It comes once so many more things have happened.
    Late(usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    let gpus = proptest::option::weighted(0.4, proptest::collection::vec(0_usize..20, 0..4));
    let answer = (0_u64..5, proptest::option::weighted(0.9, 0_u32..7), gpus);
    prop_oneof![
        6 => Just(Deed::Well),
        1 => Just(Deed::Waits),
        4 => proptest::collection::vec(answer, 0..6).prop_map(Deed::Draws),
        1 => ".{0,60}".prop_map(Deed::Babbles),
        1 => Just(Deed::Nothing),
        1 => Just(Deed::Unknown),
        1 => Just(Deed::Drops),
        4 => (1_usize..12).prop_map(Deed::Late),
    ]
}

fn ids(question: &Question) -> Vec<u64> {
    let asks = question.lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).filter(|said| said["type"] == "ask");
    asks.map(|said| said["id"].as_u64().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_program_answers_the_books_hold_and_the_work_goes_on(
        steps in proptest::collection::vec(step(), 1..120),
        deeds in proptest::collection::vec(deed(), 1..40),
        seed in any::<u64>(),
    ) {
        let mut scheduler = Scheduler::new(SchedulerConfig::default(), PolicyName::LeastLoaded, seed, 0).asking(Some("mine".into()));
        let (mut program, mut deeds) = (Emptiest::default(), deeds.into_iter().cycle());
        let mut due: Vec<(usize, u64, Heard)> = Vec::new();
        let mut now_ms = 2_000;
        for (number, step) in steps.iter().enumerate() {
            now_ms += if let Step::Wait { ms } = step { *ms } else { 1 };
            act(&mut scheduler, step, number as u128, now_ms);
            let mut actions = scheduler.advance(now_ms);
            for (_, number, heard) in due.extract_if(.., |(at, ..)| *at <= number) {
                actions.extend(scheduler.on_answered(number, &heard, now_ms));
            }
            for _ in 0..5 {
                scheduler.sanity_check();
                let Some(question) = questions(&actions).first().map(|question| (**question).clone()) else { break };
                let text = |answers: Vec<Value>| Heard::Answer(answers.iter().map(|answer| format!("{answer}\n")).collect());
                let deed = deeds.next().unwrap();
                let late = if let Deed::Late(steps) = deed { Some(steps) } else { None };
                // It follows what it is told, whatever it says.
                let well = program.answer(&question);
                let heard = match deed {
                    Deed::Well | Deed::Late(_) => well,
                    Deed::Waits => text(ids(&question).into_iter().map(|id| json!({"id": id, "node": null})).collect()),
                    Deed::Draws(drawn) => {
                        let first = ids(&question).first().copied().unwrap_or(1);
                        text(drawn.into_iter().map(|(id, node, gpus)| json!({"id": first + id, "node": node, "gpus": gpus})).collect())
                    }
                    Deed::Babbles(text) => Heard::Answer(text),
                    Deed::Nothing => Heard::Nothing("nothing".into()),
                    Deed::Unknown => Heard::Answer("{\"type\": \"unknown_world\"}".into()),
                    Deed::Drops => break,
                };
                if let Some(steps) = late {
                    due.push((number + steps, question.number, heard));
                    break;
                }
                let jobs = scheduler.jobs.len();
                let came = scheduler.on_answered(question.number, &heard, now_ms);
                prop_assert_eq!(scheduler.jobs.len(), jobs, "an answer neither ends nor makes a job");
                for assignment in assignments(&came) {
                    let node = scheduler.node(&assignment.node).unwrap();
                    prop_assert_eq!(node.closed(scheduler.config.silent_after_ms, now_ms), None);
                    prop_assert_eq!(assignment.gpus.len(), assignment.spec.demand.gpu_count() as usize);
                }
                scheduler.sanity_check();
                actions = scheduler.advance(now_ms);
            }
        }
        // It ends for good. All that has room runs, without it.
        for _ in 0..3 {
            now_ms += 2_001;
            for node in 1..5 {
                act(&mut scheduler, &Step::Beat { node, broken: None, leaving: false, honest: true }, 0, now_ms);
            }
            let actions = scheduler.advance(now_ms);
            if let [question] = questions(&actions)[..] {
                scheduler.on_answered(question.number, &Heard::Nothing("gone".into()), now_ms);
                scheduler.advance(now_ms);
            }
        }
        check(&scheduler, now_ms);
    }
}

#[test]
fn a_recording_replays_what_the_program_answered() {
    let header = Header {
        version: VERSION,
        scheduler: "scheduler-1".into(),
        policy: PolicyName::LeastLoaded,
        program: Some("mine".into()),
        seed: 5,
        epoch: 3,
        began_ms: 0,
        config: SchedulerConfig::default(),
    };
    let mut scheduler = Scheduler::new(header.config.clone(), header.policy, header.seed, 0).under_epoch(3).asking(header.program.clone());
    let mut entries = Vec::new();
    let mut tell = |call: Call, at_ms: u64| {
        let actions = scheduler.call(call.clone(), at_ms);
        entries.push(Entry { at_ms, call, decided: actions.iter().map(line).collect() });
        actions
    };
    for index in 1..=3 {
        tell(Call::Registered(node(index, 4, 1)), 0);
        let (node, running) = (format!("gpu-node-{index:02}"), Vec::new());
        tell(Call::Synced(SyncedNode { node: node.clone(), incarnation: 1, running, part: SyncPart::default() }), 5);
        tell(Call::Heartbeat { node, incarnation: 1, running: Vec::new(), telemetry: Vec::new(), leaving: false }, 10_000);
    }
    for n in 1..=80 {
        tell(Call::Delivered(delivery(spec(n, 100), false)), 10_001);
    }
    let (mut program, mut at_ms) = (Emptiest::default(), 10_002);
    let mut actions = tell(Call::Advance { cluster_ms: 1_700_000_000_000 }, at_ms);
    while let [question] = questions(&actions)[..] {
        let (number, mut heard) = (question.number, program.answer(question));
        if number == 2 {
            heard = Heard::Answer("{\"id\": 1, \"node\": 9}".into());
        }
        at_ms += 3;
        tell(Call::Answered { number, heard }, at_ms);
        actions = tell(Call::Advance { cluster_ms: 1_700_000_000_000 + at_ms }, at_ms);
    }
    let mut replay = Replay::begin(&header);
    for entry in &entries {
        replay.check(serde_json::from_slice(&serde_json::to_vec(entry).unwrap()).unwrap()).unwrap();
    }
    assert_eq!(replay.placements, 80);
    // Without an answer, what follows is not the same.
    let mut replay = Replay::begin(&header);
    let others = entries.into_iter().filter(|entry| !matches!(entry.call, Call::Answered { number: 3, .. }));
    assert!(others.map(|entry| replay.check(entry)).any(|checked| checked.is_err()));
}
