mod inquiry;

use proptest::prelude::*;

use super::*;

/// The name of a worker with one node.
const WORKERS: [&str; 10] = ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9"];

/// A detector in virtual time: ticks every 100 ms, and beats for those who are not silenced.
struct World {
    detector: Detector,
    now_ms: u64,
    /// Node, worker, and the phase of its beat within the interval.
    nodes: Vec<(String, String, u64)>,
    silent: BTreeSet<String>,
    log: Vec<(u64, DetectorAction)>,
}

impl World {
    /// `count` nodes on a worker each, beating for 10 s already.
    fn new(config: DetectorConfig, count: usize) -> Self {
        let start_ms = 1_000_000;
        let nodes = (0..count).map(|n| (format!("n{n}"), format!("w{n}"), n as u64 * 100 % 1000)).collect();
        let mut world =
            Self { detector: Detector::new(config, start_ms), now_ms: start_ms, nodes, silent: BTreeSet::new(), log: Vec::new() };
        world.run(10_000);
        assert_eq!(world.log, []);
        world
    }

    fn note(&mut self, actions: Vec<DetectorAction>) {
        self.detector.sanity_check();
        self.log.extend(actions.into_iter().map(|action| (self.now_ms, action)));
    }

    fn run(&mut self, for_ms: u64) {
        for _ in 0..for_ms / 100 {
            self.now_ms += 100;
            for (node, worker, phase) in self.nodes.clone() {
                if self.now_ms % 1000 == phase && !self.silent.contains(&node) {
                    let actions = self.detector.on_heartbeat(&node, &worker, 1, self.now_ms);
                    self.note(actions);
                }
            }
            let actions = self.detector.tick(self.now_ms);
            self.note(actions);
        }
    }

    fn silence(&mut self, nodes: &[&str]) {
        self.silent.extend(nodes.iter().map(|node| (*node).to_owned()));
    }

    /// The verdicts on one node: when, counted from `since_ms`, and which.
    fn verdicts(&self, node: &str, since_ms: u64) -> Vec<(u64, Health)> {
        let verdict = |(at, action): &(u64, DetectorAction)| match action {
            DetectorAction::Judge(verdict) if verdict.node == node => Some((at - since_ms, verdict.health)),
            _ => None,
        };
        self.log.iter().filter_map(verdict).collect()
    }

    fn pings(&self) -> Vec<(u64, &str)> {
        self.log
            .iter()
            .filter_map(|(at, action)| if let DetectorAction::PingWorker { worker } = action { Some((*at, worker.as_str())) } else { None })
            .collect()
    }

    fn evidence(&self) -> Vec<&str> {
        self.log
            .iter()
            .filter_map(|(_, action)| if let DetectorAction::Judge(verdict) = action { Some(verdict.evidence.as_str()) } else { None })
            .collect()
    }
}

#[test]
fn silence_makes_suspect_then_dead_and_a_heartbeat_brings_it_back() {
    for kind in EstimatorKind::ALL {
        let mut world = World::new(DetectorConfig { detector: kind, heartbeats_only: true, ..DetectorConfig::default() }, 8);
        world.silence(&["n0"]);
        let last_beat_ms = world.now_ms;
        world.run(12_000);
        let verdicts = world.verdicts("n0", last_beat_ms);
        assert_eq!(verdicts.iter().map(|(_, health)| *health).collect::<Vec<_>>(), [Health::Suspect, Health::Dead], "{kind:?}");
        assert!((2_000..=3_500).contains(&verdicts[0].0), "{kind:?}: {verdicts:?}");
        assert!((5_000..=5_200).contains(&verdicts[1].0), "{kind:?}: {verdicts:?}");
        assert!(world.evidence()[1].starts_with("no heartbeat for 5.0 s: "), "{:?}", world.evidence());
        world.silent.clear();
        world.run(1_000);
        assert_eq!(world.detector.health("n0"), Some(Health::Alive));
        assert_eq!(world.log.len(), 3, "no other node was judged: {:?}", world.log);
        let Some((_, DetectorAction::Judge(verdict))) = world.log.last() else { panic!("no verdict") };
        assert_eq!((verdict.before, verdict.health), (Health::Dead, Health::Alive));
        assert!(verdict.silence_ms >= 12_000);
        world.run(10_000);
        assert_eq!(world.log.len(), 3, "it recovered for good: {:?}", world.log);
    }
}

#[test]
fn a_hint_and_an_unanswered_ping_make_it_gone_and_two_seconds_more_dead() {
    let mut world = World::new(DetectorConfig::default(), 3);
    world.silence(&["n1"]);
    let cut_ms = world.now_ms;
    world.detector.on_disconnect_hint("w1", "Read Error", cut_ms);
    world.run(200);
    assert_eq!(world.pings(), [(cut_ms + 100, "w1")]);
    let actions = world.detector.on_ping_answer("w1", PingOutcome::NobodyListens, world.now_ms);
    world.note(actions);
    assert_eq!(world.verdicts("n1", cut_ms), [(200, Health::Gone)]);
    assert_eq!(world.evidence(), ["the connection of w1 ended (Read Error) and no process receives its pings"]);
    world.run(3_000);
    assert_eq!(world.verdicts("n1", cut_ms), [(200, Health::Gone), (2_200, Health::Dead)]);
    let standing: Vec<NodeVerdict> = world.detector.standing_verdicts(world.now_ms).collect();
    assert_eq!(standing.len(), 1);
    assert_eq!((standing[0].node.as_str(), standing[0].health), ("n1", Health::Dead));
    assert!(standing[0].evidence.contains("neither a heartbeat"));
}

#[test]
fn a_worker_that_reconnects_or_answers_is_left_alone() {
    let mut world = World::new(DetectorConfig::default(), 3);
    world.detector.on_disconnect_hint("w1", "Stale Connection", world.now_ms);
    world.detector.on_connect("w1");
    world.run(1_000);
    assert_eq!(world.log, []);
    world.detector.on_disconnect_hint("w1", "Stale Connection", world.now_ms);
    world.run(200);
    assert_eq!(world.pings().len(), 1);
    assert_eq!(world.detector.on_ping_answer("w1", PingOutcome::Answered { nodes: vec!["n1".into()] }, world.now_ms), []);
    world.run(5_000);
    assert_eq!(world.log.len(), 1);
    assert_eq!(world.detector.on_ping_answer("w1", PingOutcome::TimedOut, world.now_ms), [], "an unexpected answer");
    world.detector.on_disconnect_hint("stranger", "Client Closed", world.now_ms);
}

#[test]
fn a_new_connection_in_time_keeps_gone_from_becoming_dead() {
    let mut world = World::new(DetectorConfig::default(), 3);
    world.silence(&["n1"]);
    let cut_ms = world.now_ms;
    world.detector.on_disconnect_hint("w1", "Read Error", cut_ms);
    world.run(100);
    let actions = world.detector.on_ping_answer("w1", PingOutcome::TimedOut, world.now_ms);
    world.note(actions);
    world.detector.on_connect("w1");
    world.run(2_400);
    assert_eq!(world.verdicts("n1", cut_ms), [(100, Health::Gone)]);
    world.silent.clear();
    world.run(1_000);
    assert_eq!(world.detector.health("n1"), Some(Health::Alive));
}

#[test]
fn a_ping_that_could_not_be_asked_is_asked_again() {
    let mut world = World::new(DetectorConfig::default(), 3);
    world.silence(&["n1"]);
    world.detector.on_disconnect_hint("w1", "Read Error", world.now_ms);
    world.run(100);
    assert_eq!(world.detector.on_ping_answer("w1", PingOutcome::NotAsked, world.now_ms), []);
    world.run(1_100);
    assert_eq!(world.pings().len(), 2);
}

#[test]
fn many_at_once_are_believed_late_but_they_are_believed() {
    let mut world = World::new(DetectorConfig::default(), 10);
    world.silence(&["n1", "n2", "n3"]);
    let start_ms = world.now_ms;
    world.run(15_000);
    for node in ["n1", "n2", "n3"] {
        let verdicts = world.verdicts(node, start_ms);
        assert_eq!(verdicts.iter().map(|(_, health)| *health).collect::<Vec<_>>(), [Health::Suspect, Health::Dead]);
        assert!((4_300..=5_600).contains(&verdicts[0].0) && (7_000..=8_200).contains(&verdicts[1].0), "{verdicts:?}");
    }
    assert!(world.evidence().iter().all(|evidence| evidence.contains("3 workers fell silent together")));
    let mut two = World::new(DetectorConfig::default(), 10);
    two.silence(&["n1", "n2"]);
    let start_ms = two.now_ms;
    two.run(15_000);
    assert!(two.verdicts("n1", start_ms)[1].0 <= 5_200, "20 % are not more than 20 %");
}

/// The silence of a worker with most of the nodes is that of one connection; and where a neighbour beats the connection works.
#[test]
fn connections_are_counted_and_not_nodes() {
    let hosts = |host: fn(usize) -> usize| {
        let mut world = World::new(DetectorConfig::default(), 10);
        for (index, node) in world.nodes.iter_mut().enumerate() {
            node.1 = format!("w{}", host(index));
        }
        world.run(2_000);
        assert_eq!(world.log, []);
        world
    };
    let dies_in_time = |world: &World, node: &str, start_ms| {
        world.verdicts(node, start_ms).last().is_some_and(|(at, health)| *at <= 5_600 && *health == Health::Dead)
    };

    // Six workers, one of them with five of the ten nodes.
    let mut one_large = hosts(|index| index.saturating_sub(4));
    one_large.silence(&["n0", "n1", "n2", "n3", "n4"]);
    let start_ms = one_large.now_ms;
    one_large.run(10_000);
    for node in ["n0", "n2", "n4"] {
        assert!(dies_in_time(&one_large, node, start_ms), "{:?}", one_large.verdicts(node, start_ms));
    }
    assert!(one_large.evidence().iter().all(|evidence| !evidence.contains("together")));

    // Five workers of two nodes: one node of each falls silent, and no connection.
    let mut neighbours = hosts(|index| index / 2);
    neighbours.silence(&["n0", "n2", "n4", "n6", "n8"]);
    let start_ms = neighbours.now_ms;
    neighbours.run(10_000);
    assert!(dies_in_time(&neighbours, "n4", start_ms), "{:?}", neighbours.verdicts("n4", start_ms));

    // Two of five workers with all their nodes.
    let mut two_of_five = hosts(|index| index / 2);
    two_of_five.silence(&["n0", "n1", "n2", "n3"]);
    let start_ms = two_of_five.now_ms;
    two_of_five.run(10_000);
    assert!(!dies_in_time(&two_of_five, "n1", start_ms), "{:?}", two_of_five.verdicts("n1", start_ms));
    assert!(two_of_five.evidence().iter().all(|evidence| evidence.contains("2 workers fell silent together")));
}

#[test]
fn a_mass_silence_that_ends_leaves_no_verdict() {
    let mut world = World::new(DetectorConfig::default(), 10);
    world.silence(&["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"]);
    world.run(3_500);
    world.silent.clear();
    world.run(10_000);
    assert_eq!(world.log, []);
}

#[test]
fn a_failed_ping_is_believed_in_a_mass_silence_too() {
    let mut world = World::new(DetectorConfig::default(), 10);
    world.silence(&["n0", "n1", "n2", "n3", "n4"]);
    let cut_ms = world.now_ms;
    for worker in &WORKERS[..5] {
        world.detector.on_disconnect_hint(worker, "Read Error", cut_ms);
    }
    world.run(100);
    for worker in &WORKERS[..5] {
        let actions = world.detector.on_ping_answer(worker, PingOutcome::NobodyListens, world.now_ms);
        world.note(actions);
    }
    assert_eq!(world.verdicts("n3", cut_ms), [(100, Health::Gone)]);
    world.run(2_500);
    assert_eq!(world.verdicts("n3", cut_ms), [(100, Health::Gone), (2_100, Health::Dead)]);
}

#[test]
fn its_own_absence_is_held_against_nobody() {
    let mut world = World::new(DetectorConfig::default(), 8);
    // Cut off, and told so.
    world.now_ms += 60_000;
    world.detector.on_own_reconnect(world.now_ms);
    world.run(10_000);
    assert_eq!(world.log, []);
    // Stood still, without being told.
    world.now_ms += 60_000;
    world.run(10_000);
    assert_eq!(world.log, []);
    // The clock was set back by a day.
    world.detector.on_disconnect_hint("w1", "Stale Connection", world.now_ms);
    world.now_ms -= 40_000;
    world.run(300);
    world.detector.on_connect("w1");
    world.run(10_000);
    assert_eq!(world.log, []);
    // And after all that it still notices.
    world.silence(&["n4"]);
    world.run(7_000);
    assert_eq!(world.detector.health("n4"), Some(Health::Dead));
}

#[test]
fn after_its_own_reconnect_pings_wait_for_the_end_of_the_freeze() {
    let mut world = World::new(DetectorConfig::default(), 3);
    world.silence(&["n1"]);
    world.detector.on_disconnect_hint("w1", "Read Error", world.now_ms);
    world.run(100);
    assert_eq!(world.pings().len(), 1);
    world.detector.on_own_reconnect(world.now_ms);
    let back_ms = world.now_ms;
    assert_eq!(world.detector.on_ping_answer("w1", PingOutcome::TimedOut, world.now_ms), [], "asked through the connection that broke");
    world.run(2_500);
    assert_eq!(world.pings()[1], (back_ms + 2_000, "w1"));
    let actions = world.detector.on_ping_answer("w1", PingOutcome::NobodyListens, world.now_ms);
    assert_eq!(actions.len(), 1);
}

#[test]
fn verdicts_of_before_a_restart_stand_until_a_heartbeat() {
    let mut detector = Detector::new(DetectorConfig::default(), 5_000);
    detector.restore("n0", "w0", 7, Health::Dead, "no heartbeat for 5.0 s", 5_000);
    assert_eq!(detector.on_registered("n0", "w0", 7, 5_000), [], "the registration is as old");
    assert_eq!(detector.on_registered("n1", "w1", 1, 5_000), []);
    assert_eq!(detector.standing_verdicts(6_000).count(), 1);
    detector.sanity_check();
    assert_eq!(detector.on_heartbeat("n0", "w0", 6, 6_000), [], "an older life");
    let actions = detector.on_heartbeat("n0", "w0", 7, 6_000);
    assert!(matches!(&actions[..], [DetectorAction::Judge(verdict)] if verdict.health == Health::Alive && verdict.before == Health::Dead));
}

#[test]
fn a_new_life_starts_alive() {
    let mut world = World::new(DetectorConfig::default(), 3);
    world.silence(&["n1"]);
    world.run(6_000);
    assert_eq!(world.detector.health("n1"), Some(Health::Dead));
    let actions = world.detector.on_registered("n1", "w9", 2, world.now_ms);
    assert!(
        matches!(&actions[..], [DetectorAction::Judge(verdict)] if verdict.health == Health::Alive && verdict.incarnation == 2 && verdict.worker == "w9")
    );
    world.detector.sanity_check();
    assert_eq!(world.detector.on_heartbeat("n1", "w1", 1, world.now_ms), []);
    world.detector.sanity_check();
}

#[test]
fn who_says_goodbye_is_forgotten_and_stragglers_do_not_bring_it_back() {
    let mut world = World::new(DetectorConfig::default(), 3);
    assert_eq!(world.detector.on_goodbye("n1", 0, "an older life", world.now_ms), []);
    world.silence(&["n1"]);
    let actions = world.detector.on_goodbye("n1", 1, "scaled down", world.now_ms);
    assert!(matches!(&actions[..], [DetectorAction::Forget { reason, .. }] if reason == "scaled down"));
    assert_eq!(world.detector.on_heartbeat("n1", "w1", 1, world.now_ms), []);
    assert_eq!(world.detector.len(), 2);
    world.detector.on_disconnect_hint("w1", "Client Closed", world.now_ms);
    world.run(10_000);
    assert_eq!(world.log, []);
    world.detector.on_heartbeat("n1", "w1", 2, world.now_ms);
    assert_eq!(world.detector.len(), 3, "a later life");
    world.detector.on_goodbye("n1", 2, "scaled down", world.now_ms);
    world.detector.on_registered("n1", "w1", 1, world.now_ms);
    assert_eq!(world.detector.len(), 3, "it registered again");
    world.detector.on_heartbeat("n1", "w1", 1, world.now_ms);
    assert!(matches!(&world.detector.on_unregistered("n2")[..], [DetectorAction::Forget { .. }]));
    world.detector.sanity_check();
}

#[derive(Debug, Clone)]
enum Step {
    Heartbeat { node: usize, incarnation: u64 },
    Registered { node: usize, incarnation: u64 },
    Goodbye { node: usize, incarnation: u64 },
    Hint { node: usize },
    Connect { node: usize },
    Ping { node: usize, outcome: PingOutcome },
    OwnReconnect,
    Tick { for_ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..6_usize;
    let life = 0..3_u64;
    let outcome = prop_oneof![
        Just(PingOutcome::Answered { nodes: vec![] }),
        prop::collection::vec(0..6_usize, 1..3)
            .prop_map(|nodes| PingOutcome::Answered { nodes: nodes.iter().map(|node| format!("n{node}")).collect() }),
        Just(PingOutcome::Garbled),
        Just(PingOutcome::NobodyListens),
        Just(PingOutcome::TimedOut),
        Just(PingOutcome::NotAsked)
    ];
    prop_oneof![
        6 => (node.clone(), life.clone()).prop_map(|(node, incarnation)| Step::Heartbeat { node, incarnation }),
        1 => (node.clone(), life.clone()).prop_map(|(node, incarnation)| Step::Registered { node, incarnation }),
        1 => (node.clone(), life).prop_map(|(node, incarnation)| Step::Goodbye { node, incarnation }),
        1 => node.clone().prop_map(|node| Step::Hint { node }),
        1 => node.clone().prop_map(|node| Step::Connect { node }),
        1 => (node, outcome).prop_map(|(node, outcome)| Step::Ping { node, outcome }),
        1 => Just(Step::OwnReconnect),
        8 => (0..3_000_u64).prop_map(|for_ms| Step::Tick { for_ms }),
    ]
}

fn kind() -> impl Strategy<Value = EstimatorKind> {
    prop_oneof![Just(EstimatorKind::PhiAccrual), Just(EstimatorKind::FixedTimeout), Just(EstimatorKind::KOfN)]
}

proptest! {
    /// Whatever happens: no verdict in a freeze, none about an older life, no death by silence that is too short, none at all
    /// without a silence or an unanswered ping, and every verdict changes something.
    #[test]
    fn verdicts_need_their_evidence(kind in kind(), steps in prop::collection::vec(step(), 0..200)) {
        let mut now = 50_000;
        let mut detector = Detector::new(DetectorConfig { detector: kind, ..DetectorConfig::default() }, now);
        for step in steps {
            let name = |node: usize| (format!("n{node}"), format!("w{}", node / 2));
            let mut gone_allowed = false;
            let actions = match step {
                Step::Heartbeat { node, incarnation } => {
                    let (node, worker) = name(node);
                    detector.on_heartbeat(&node, &worker, incarnation, now)
                }
                Step::Registered { node, incarnation } => detector.on_registered(&name(node).0, &name(node).1, incarnation, now),
                Step::Goodbye { node, incarnation } => detector.on_goodbye(&name(node).0, incarnation, "bye", now),
                Step::Hint { node } => { detector.on_disconnect_hint(&name(node).1, "cut", now); vec![] }
                Step::Connect { node } => { detector.on_connect(&name(node).1); vec![] }
                Step::Ping { node, outcome } => {
                    gone_allowed =
                        matches!(outcome, PingOutcome::NobodyListens | PingOutcome::TimedOut | PingOutcome::Answered { .. });
                    detector.on_ping_answer(&name(node).1, outcome, now)
                }
                Step::OwnReconnect => { detector.on_own_reconnect(now); vec![] }
                Step::Tick { for_ms } => {
                    let end = now + for_ms;
                    let mut actions = vec![];
                    while now < end {
                        now += 100;
                        let at_tick = detector.tick(now);
                        prop_assert!(at_tick.is_empty() || !detector.is_frozen(now));
                        actions.extend(at_tick);
                    }
                    actions
                }
            };
            detector.sanity_check();
            for action in actions {
                let DetectorAction::Judge(verdict) = action else { continue };
                prop_assert_ne!(verdict.before, verdict.health);
                prop_assert!(!verdict.evidence.is_empty() && verdict.phi.is_finite());
                match verdict.health {
                    Health::Alive => {}
                    Health::Gone => prop_assert!(gone_allowed),
                    Health::Suspect => prop_assert!(gone_allowed || kind == EstimatorKind::KOfN || verdict.silence_ms > 1_000),
                    Health::Dead => prop_assert!(verdict.before == Health::Gone || verdict.silence_ms >= 5_000, "{:?}", verdict),
                }
            }
        }
    }

    /// A node that beats about once a second is never given up, whatever the jitter, even when a heartbeat is lost now and then.
    #[test]
    fn steady_hearts_are_never_dead(kind in kind(), jitter in prop::collection::vec((0..800_u64, prop::bool::weighted(0.1)), 50..200)) {
        let mut detector = Detector::new(DetectorConfig { detector: kind, ..DetectorConfig::default() }, 0);
        let mut now = 0;
        let mut before_was_lost = false;
        for (beat, (late_ms, lost)) in jitter.into_iter().enumerate() {
            let beat_at = beat as u64 * 1000 + late_ms;
            while now + 100 <= beat_at {
                now += 100;
                for action in detector.tick(now) {
                    let DetectorAction::Judge(verdict) = action else { continue };
                    prop_assert_ne!(verdict.health, Health::Dead);
                }
            }
            // Never two in a row.
            before_was_lost = lost && !before_was_lost;
            if !before_was_lost {
                detector.on_heartbeat("n", "w", 1, beat_at.max(now));
            }
        }
    }

    /// Being cut off again and again, for any time, with nodes that beat whenever it listens, kills no node.
    #[test]
    fn own_reconnects_never_kill(cuts in prop::collection::vec((0..120_000_u64, 1_500..10_000_u64), 1..10)) {
        let mut world = World::new(DetectorConfig::default(), 8);
        for (deaf_ms, listening_ms) in cuts {
            // Within less than an interval it would not even notice by itself.
            world.now_ms += deaf_ms / 100 * 100;
            world.detector.on_own_reconnect(world.now_ms);
            world.run(listening_ms);
        }
        prop_assert!(world.log.is_empty(), "{:?}", world.log);
    }
}

/// Ten thousand nodes, all of them silent at the same time: the case with the most to compute.
#[test]
fn ten_thousand_nodes_are_judged_in_one_go() {
    let mut detector = Detector::new(DetectorConfig::default(), 0);
    for node in 0..10_000 {
        detector.on_heartbeat(&format!("n{node}"), &format!("w{}", node / 100), 1, 1);
    }
    let mut dead = 0;
    for now in (100..9_000).step_by(100) {
        dead += detector
            .tick(now)
            .iter()
            .filter(|action| matches!(action, DetectorAction::Judge(verdict) if verdict.health == Health::Dead))
            .count();
    }
    assert_eq!(dead, 10_000);
}

#[test]
fn a_node_whose_lives_are_counted_anew_is_not_ignored_for_ever() {
    let mut detector = Detector::new(DetectorConfig::default(), 0);
    detector.on_registered("n", "w", 9, 0);
    detector.on_heartbeat("n", "w", 9, 10_000);
    assert!(detector.on_heartbeat("n", "w", 1, 11_000).is_empty());
    assert_eq!(detector.nodes["n"].incarnation, 9, "the other life was heard a moment ago");
    detector.on_heartbeat("n", "w", 1, 13_000);
    assert_eq!(detector.nodes["n"].incarnation, 1);
    detector.sanity_check();
}
