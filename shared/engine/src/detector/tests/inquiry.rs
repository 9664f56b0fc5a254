//! Suspicion, the ping that it costs, and what the answer is worth.

use super::*;

fn named(nodes: &[&str]) -> PingOutcome {
    PingOutcome::Answered { nodes: nodes.iter().map(|node| (*node).to_owned()).collect() }
}

impl World {
    /// Runs on and answers every ping as `answer` says: after 500 ms without an answer, else after 100 ms.
    fn run_answering(&mut self, for_ms: u64, answer: impl Fn(&str) -> PingOutcome) {
        let mut due: Vec<(u64, String, PingOutcome)> = Vec::new();
        for _ in 0..for_ms / 100 {
            let read = self.log.len();
            self.run(100);
            for (at_ms, action) in &self.log[read..] {
                if let DetectorAction::PingWorker { worker } = action {
                    let outcome = answer(worker);
                    let delay_ms = if outcome == PingOutcome::TimedOut { 500 } else { 100 };
                    due.push((at_ms + delay_ms, worker.clone(), outcome));
                }
            }
            let (ready, later) = due.into_iter().partition(|(at_ms, ..)| *at_ms <= self.now_ms);
            due = later;
            for (_, worker, outcome) in ready {
                let actions = self.detector.on_ping_answer(&worker, outcome, self.now_ms);
                self.note(actions);
            }
        }
    }

    /// The last node of `World::new` moves to the worker of the first, so that one worker hosts both.
    fn share_a_worker(&mut self) {
        let last = self.nodes.len() - 1;
        self.nodes[last].1 = "w0".into();
        self.run(1_000);
    }

    fn healths(&self, node: &str) -> Vec<Health> {
        self.verdicts(node, 0).into_iter().map(|(_, health)| health).collect()
    }
}

#[test]
fn a_suspect_node_whose_worker_does_not_answer_is_gone_long_before_it_is_dead() {
    for kind in EstimatorKind::ALL {
        let mut world = World::new(DetectorConfig { detector: kind, ..DetectorConfig::default() }, 8);
        world.silence(&["n0"]);
        let last_beat_ms = world.now_ms;
        world.run_answering(10_000, |_| PingOutcome::TimedOut);
        let verdicts = world.verdicts("n0", last_beat_ms);
        assert_eq!(world.healths("n0"), [Health::Suspect, Health::Gone, Health::Dead], "{kind:?}");
        assert_eq!(verdicts[1].0, verdicts[0].0 + 500, "{kind:?}: one unanswered ping");
        assert!(verdicts[1].0 <= 3_500 && (5_000..=5_100).contains(&verdicts[2].0), "{kind:?}: {verdicts:?}");
        assert_eq!(world.pings().len(), 1, "{kind:?}");
        assert!(world.evidence()[1].ends_with("and w0 does not answer a ping"), "{:?}", world.evidence());
    }
}

#[test]
fn a_worker_without_a_connection_takes_all_its_nodes_with_it() {
    let mut world = World::new(DetectorConfig::default(), 4);
    world.share_a_worker();
    // n3 has beaten a moment ago when n0 becomes suspect: it is on the same worker.
    world.silence(&["n0"]);
    world.run(2_000);
    world.silence(&["n3"]);
    world.run_answering(6_000, |_| PingOutcome::NobodyListens);
    assert_eq!(world.healths("n0"), [Health::Suspect, Health::Gone, Health::Dead]);
    assert_eq!(world.healths("n3"), [Health::Gone, Health::Dead]);
    assert!(world.evidence().iter().any(|evidence| evidence.contains("w0 has no connection")), "{:?}", world.evidence());
}

#[test]
fn a_node_whose_heartbeats_alone_are_lost_keeps_its_work_for_as_long_as_its_worker_answers_for_it() {
    let mut world = World::new(DetectorConfig::default(), 8);
    world.silence(&["n0"]);
    let last_beat_ms = world.now_ms;
    world.run_answering(120_000, |_| named(&["n0"]));
    assert_eq!(world.healths("n0"), [Health::Suspect], "neither gone nor dead");
    let standing: Vec<NodeVerdict> = world.detector.standing_verdicts(world.now_ms).collect();
    assert!(standing[0].evidence.contains("its worker answers for it"), "{}", standing[0].evidence);
    // Asked after 1, 2 and then every 2.5 s.
    assert!((45..=50).contains(&world.pings().len()), "{} pings in two minutes", world.pings().len());
    // And when the worker dies after all, the next question finds out.
    let died_ms = world.now_ms;
    world.run_answering(10_000, |_| PingOutcome::TimedOut);
    let after: Vec<(u64, Health)> = world.verdicts("n0", last_beat_ms).into_iter().filter(|(at, _)| last_beat_ms + at > died_ms).collect();
    assert_eq!(after.iter().map(|(_, health)| *health).collect::<Vec<_>>(), [Health::Gone, Health::Dead]);
    assert!(last_beat_ms + after[0].0 <= died_ms + 3_000, "{after:?}");
}

#[test]
fn a_node_that_its_worker_does_not_name_is_gone_and_its_neighbour_is_not() {
    let mut world = World::new(DetectorConfig::default(), 8);
    world.share_a_worker();
    world.silence(&["n0"]);
    world.run_answering(10_000, |_| named(&["n7"]));
    assert_eq!(world.healths("n0"), [Health::Suspect, Health::Gone, Health::Dead]);
    assert_eq!(world.healths("n7"), []);
    assert!(world.evidence()[1].ends_with("and w0 reports that it is down"), "{:?}", world.evidence());
}

#[test]
fn a_neighbours_heartbeat_speaks_for_the_worker_and_not_for_the_silent_node() {
    let mut world = World::new(DetectorConfig::default(), 8);
    world.share_a_worker();
    world.silence(&["n0"]);
    // The worker lives, since n7 beats, and does not answer: it may just be slow. Asked again and again, and then silence decides.
    world.run_answering(10_000, |_| PingOutcome::TimedOut);
    assert_eq!(world.healths("n7"), []);
    let healths = world.healths("n0");
    assert_eq!((healths.first(), healths.last()), (Some(&Health::Suspect), Some(&Health::Dead)));
    assert!(world.pings().len() <= 3, "{:?}", world.pings());
}

#[test]
fn a_late_heartbeat_ends_the_suspicion_and_the_answer_is_of_no_interest() {
    let mut world = World::new(DetectorConfig::default(), 8);
    world.silence(&["n0"]);
    world.run(2_400);
    assert_eq!(world.pings().len(), 1);
    world.silent.clear();
    world.run(1_000);
    assert_eq!(world.detector.on_ping_answer("w0", PingOutcome::TimedOut, world.now_ms), []);
    assert_eq!(world.healths("n0"), [Health::Suspect, Health::Alive]);
    world.run(20_000);
    assert_eq!(world.pings().len(), 1, "one ping a suspicion");
}

#[test]
fn a_flapping_node_is_not_requeued_again_and_again() {
    // phi-accrual would soon take such pauses for the node's rhythm.
    let mut world = World::new(DetectorConfig { detector: EstimatorKind::FixedTimeout, ..DetectorConfig::default() }, 8);
    let start_ms = world.now_ms;
    // Silent for 4 s and back for 4 s, for half an hour: enough for suspicion and an unanswered ping, never for death.
    for _ in 0..225 {
        world.silence(&["n0"]);
        world.run_answering(4_000, |_| PingOutcome::TimedOut);
        world.silent.clear();
        world.run_answering(4_000, |_| PingOutcome::TimedOut);
    }
    let gone: Vec<u64> =
        world.verdicts("n0", start_ms).into_iter().filter(|(_, health)| *health == Health::Gone).map(|(at, _)| at).collect();
    // 30, 60, 120, 240 and then 480 s apart, and a little more each until the next suspicion.
    let pauses: Vec<u64> = gone.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gone.len(), 7, "{gone:?}");
    for (pause, hold) in pauses.iter().zip([30_000, 60_000, 120_000, 240_000, 480_000, 480_000]) {
        assert!((hold..hold + 12_000).contains(pause), "{pauses:?}");
    }
    assert!(world.healths("n0").iter().all(|health| *health != Health::Dead));
    let suspicions = world.healths("n0").iter().filter(|health| **health == Health::Suspect).count();
    assert!((suspicions..=2 * suspicions).contains(&world.pings().len()), "{suspicions} suspicions, {} pings", world.pings().len());
    // In peace for long enough, it is given up quickly again.
    world.run(2 * 480_000);
    let quiet_ms = world.now_ms;
    world.silence(&["n0"]);
    world.run_answering(4_000, |_| PingOutcome::TimedOut);
    let after: Vec<(u64, Health)> = world.verdicts("n0", 0).into_iter().filter(|(at, _)| *at > quiet_ms).collect();
    assert_eq!(after.iter().map(|(_, health)| *health).collect::<Vec<_>>(), [Health::Suspect, Health::Gone]);
}

#[test]
fn after_a_false_alarm_a_lost_connection_makes_suspect_and_silence_kills() {
    let mut world = World::new(DetectorConfig::default(), 3);
    let cut = |world: &mut World| {
        world.silence(&["n1"]);
        world.detector.on_disconnect_hint("w1", "Read Error", world.now_ms);
        world.run_answering(1_000, |_| PingOutcome::NobodyListens);
    };
    cut(&mut world);
    world.silent.clear();
    world.run(2_000);
    assert_eq!(world.healths("n1"), [Health::Gone, Health::Alive]);
    cut(&mut world);
    assert_eq!(world.healths("n1")[2..], [Health::Suspect], "nothing new goes there");
    assert!(world.evidence()[2].contains("this was a false alarm recently"), "{:?}", world.evidence());
    world.run_answering(5_000, |_| PingOutcome::NobodyListens);
    assert_eq!(world.healths("n1")[3..], [Health::Dead]);
    // A new life starts without that record.
    world.detector.on_registered("n1", "w1", 2, world.now_ms);
    world.detector.on_disconnect_hint("w1", "Read Error", world.now_ms);
    world.run_answering(300, |_| PingOutcome::NobodyListens);
    assert_eq!(world.detector.health("n1"), Some(Health::Gone));
}

#[test]
fn a_mass_silence_is_asked_about_late_and_kills_as_late_as_ever() {
    let mut world = World::new(DetectorConfig::default(), 10);
    world.silence(&["n1", "n2", "n3"]);
    let start_ms = world.now_ms;
    world.run_answering(15_000, |_| PingOutcome::TimedOut);
    for node in ["n1", "n2", "n3"] {
        let verdicts = world.verdicts(node, start_ms);
        assert_eq!(world.healths(node), [Health::Suspect, Health::Gone, Health::Dead]);
        assert!((4_300..=5_600).contains(&verdicts[0].0) && (7_000..=8_200).contains(&verdicts[2].0), "{verdicts:?}");
    }
    assert!(world.pings().iter().all(|(at, _)| at - start_ms >= 4_300), "{:?}", world.pings());
}

#[test]
fn no_answer_that_comes_in_a_freeze_condemns_anybody() {
    for outcome in [PingOutcome::TimedOut, PingOutcome::NobodyListens, named(&[])] {
        let mut world = World::new(DetectorConfig::default(), 8);
        world.silence(&["n0"]);
        world.run(2_500);
        assert_eq!((world.detector.health("n0"), world.pings().len()), (Some(Health::Suspect), 1));
        world.detector.on_own_reconnect(world.now_ms);
        let back_ms = world.now_ms;
        assert_eq!(world.detector.on_ping_answer("w0", outcome.clone(), world.now_ms), [], "{outcome:?}");
        world.run_answering(1_900, |_| outcome.clone());
        assert_eq!(world.detector.health("n0"), Some(Health::Suspect));
        // Asked again at the end of the freeze, and then it counts.
        world.run_answering(1_000, |_| outcome.clone());
        assert_eq!(world.pings()[1], (back_ms + 2_000, "w0"));
        assert_eq!(world.detector.health("n0"), Some(Health::Gone), "{outcome:?}");
    }
}

#[test]
fn what_could_not_be_asked_or_read_condemns_nobody() {
    for outcome in [PingOutcome::NotAsked, PingOutcome::Garbled] {
        let mut world = World::new(DetectorConfig::default(), 8);
        world.silence(&["n0"]);
        world.run_answering(8_000, |_| outcome.clone());
        assert_eq!(world.healths("n0"), [Health::Suspect, Health::Dead], "{outcome:?}");
    }
}

#[test]
fn heartbeats_only_means_neither_hints_nor_pings() {
    let mut world = World::new(DetectorConfig { heartbeats_only: true, ..DetectorConfig::default() }, 8);
    world.silence(&["n0"]);
    let last_beat_ms = world.now_ms;
    world.detector.on_disconnect_hint("w0", "Client Closed", world.now_ms);
    world.run(10_000);
    assert_eq!(world.pings(), []);
    assert_eq!(world.healths("n0"), [Health::Suspect, Health::Dead]);
    assert!((5_000..=5_100).contains(&world.verdicts("n0", last_beat_ms)[1].0));
}
