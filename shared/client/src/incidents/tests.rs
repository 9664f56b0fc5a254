use faultline_engine::fault::{FaultCause, FaultDepth};
use faultline_protocol::messages::Level;

use super::*;

const NODE: &str = "gpu-node-02";
const WORKER: &str = "worker-02";

fn job(n: u128) -> JobId {
    JobId::new(1, n)
}

fn event(at_ms: u64, kind: EventKind, detail: &str) -> ClusterEvent {
    ClusterEvent::new(at_ms, "x", Level::Warn, kind, detail)
}

fn about(at_ms: u64, kind: EventKind, node: &str, detail: &str) -> ClusterEvent {
    ClusterEvent { node: Some(node.into()), ..event(at_ms, kind, detail) }
}

fn of_job(at_ms: u64, kind: EventKind, n: u128, attempt_ms: u64, node: &str, detail: &str) -> ClusterEvent {
    ClusterEvent { job: Some(job(n)), attempt: Some(AttemptId::new(attempt_ms, n)), requeues: 1, ..about(at_ms, kind, node, detail) }
}

fn truth(id: &str, kind: &str, target: &str, from_ms: u64) -> FaultTruth {
    FaultTruth {
        id: id.into(),
        kind: kind.into(),
        depth: FaultDepth::Process,
        target: target.into(),
        gpu: None,
        from_ms,
        until_ms: None,
        cause: FaultCause::Ordered,
        domain: None,
        by: "`faultline kill`, user root".into(),
    }
}

fn began(truth: FaultTruth) -> ClusterEvent {
    ClusterEvent { fault: Some(truth.clone()), ..event(truth.from_ms, EventKind::FaultBegan, "") }
}

fn ended(truth: FaultTruth, until_ms: u64, detail: &str) -> ClusterEvent {
    ClusterEvent { fault: Some(FaultTruth { until_ms: Some(until_ms), ..truth }), ..event(until_ms, EventKind::FaultEnded, detail) }
}

fn fold(events: impl IntoIterator<Item = ClusterEvent>) -> Incidents {
    let mut incidents = Incidents::default();
    for node in 1..=8 {
        incidents.on_node(&format!("gpu-node-{node:02}"), &format!("worker-{node:02}"));
    }
    events.into_iter().for_each(|event| incidents.on_event(&event));
    incidents
}

fn all(incidents: &Incidents) -> Vec<IncidentView> {
    incidents.newest(u64::MAX / 2).collect()
}

fn only(incidents: &Incidents) -> IncidentView {
    let mut all = all(incidents);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

/// A worker is killed 926 ms after second 742; two of its jobs go elsewhere, and one of them ends.
fn killed_worker() -> Vec<ClusterEvent> {
    let kill = truth("F1", "kill", WORKER, 742_926);
    let evidence = "the connection of worker-02 ended (Client Closed) and no process receives its pings";
    let lost = format!("{NODE} is gone: {evidence}");
    vec![
        began(kill.clone()),
        about(743_048, EventKind::NodeGone, NODE, evidence),
        of_job(743_049, EventKind::AttemptLost, 1, 740_000, NODE, &lost),
        of_job(743_049, EventKind::AttemptLost, 2, 740_000, NODE, &lost),
        of_job(743_055, EventKind::JobPlaced, 1, 743_055, "gpu-node-05", ""),
        of_job(743_056, EventKind::JobPlaced, 2, 743_056, "gpu-node-05", ""),
        ended(kill, 743_182, "worker-02 killed (SIGKILL) by `faultline kill`, user root; back after 255 ms as process 11250"),
        about(743_245, EventKind::NodeRecovered, NODE, "back after a restart"),
    ]
}

#[test]
fn a_killed_worker_is_one_incident_that_says_who_how_where_to_and_what_was_lost() {
    let mut incidents = fold(killed_worker());
    incidents.on_ended(job(1), JobState::Committed, 750_000, Some(AttemptId::new(743_055, 1)));
    let seen = only(&incidents);
    assert_eq!((seen.id.as_str(), seen.kind, seen.state), ("F1", IncidentKind::Fault, IncidentState::Recovered));
    assert_eq!((seen.began_ms, seen.recovered_ms, seen.noticed_after_ms), (742_926, Some(743_245), Some(122)));
    assert_eq!((seen.interrupted, seen.waiting, seen.placed_again, seen.committed), (2, 0, 1, 1));
    assert_eq!((seen.placed_again_after_ms, seen.moved_to), (Some(130), vec![MovedTo { node: "gpu-node-05".into(), jobs: 2 }]));
    let lines: Vec<String> = seen.story.iter().map(Step::line).collect();
    assert_eq!(
        lines,
        [
            "worker-02 killed (SIGKILL) by `faultline kill`, user root",
            "after 122 ms: gpu-node-02 gone: the connection of worker-02 ended (Client Closed) and no process receives its pings",
            "after 123 ms: 2 jobs interrupted",
            "after 130 ms: 2 of 2 placed again: 2 to gpu-node-05",
            "after 256 ms: back after 255 ms as process 11250",
            "after 319 ms: recovered, 0 jobs lost",
            "after 7.0 s: of 2 jobs, 1 committed",
        ]
    );
}

#[test]
fn while_a_job_waits_nothing_is_recovered_and_no_loss_is_ruled_out() {
    let events: Vec<_> =
        killed_worker().into_iter().filter(|event| !(event.kind == EventKind::JobPlaced && event.job == Some(job(2)))).collect();
    let mut incidents = fold(events);
    let seen = only(&incidents);
    assert_eq!((seen.state, seen.recovered_ms, seen.waiting, seen.placed_again_after_ms), (IncidentState::Ongoing, None, 1, None));
    assert!(seen.story.iter().all(|step| !step.text.contains("lost")), "{:?}", seen.story);
    assert!(seen.story.iter().any(|step| step.text == "1 of 2 placed again: 1 to gpu-node-05"));
    incidents.on_ended(job(2), JobState::Cancelled, 760_000, None);
    let seen = only(&incidents);
    assert_eq!((seen.recovered_ms, seen.cancelled), (Some(760_000), 1));
}

/// On a busy machine the verdict comes after the worker is back.
#[test]
fn a_killed_worker_is_not_recovered_before_its_nodes_have_registered_again() {
    let kill = truth("F1", "kill", WORKER, 10_000);
    let mut events = vec![began(kill.clone()), ended(kill, 10_255, "back after 255 ms as process 7")];
    assert_eq!(only(&fold(events.clone())).state, IncidentState::Ongoing);
    events.push(ClusterEvent { service: WORKER.into(), ..about(10_400, EventKind::NodeJoined, NODE, "incarnation 2") });
    assert_eq!(only(&fold(events.clone())).recovered_ms, Some(10_400));
    events.push(of_job(10_401, EventKind::AttemptLost, 1, 9_000, NODE, "its node restarted"));
    events.push(of_job(10_405, EventKind::JobPlaced, 1, 10_405, "gpu-node-05", ""));
    let seen = only(&fold(events));
    assert_eq!((seen.interrupted, seen.recovered_ms, seen.noticed_after_ms), (1, Some(10_405), None));
}

#[test]
fn a_placement_that_was_stored_before_the_interruption_counts() {
    let crash = FaultTruth { gpu: Some(0), until_ms: Some(20_000), by: String::new(), ..truth("F1", "xid_79", NODE, 10_000) };
    let incidents = fold([
        began(crash.clone()),
        of_job(10_004, EventKind::JobPlaced, 1, 10_004, "gpu-node-07", ""),
        of_job(10_001, EventKind::AttemptLost, 1, 9_000, NODE, "xid_79 on GPU 0 of gpu-node-02"),
        ended(crash, 20_000, "xid_79 repaired"),
    ]);
    let seen = only(&incidents);
    assert_eq!((seen.waiting, seen.placed_again, seen.placed_again_after_ms, seen.noticed_after_ms), (0, 1, Some(4), None));
    assert_eq!(seen.recovered_ms, Some(20_000));
}

#[test]
fn an_attempt_that_dies_while_no_scheduler_leads_is_told_of_by_the_next_placement_alone() {
    let first = |n, node: &str| ClusterEvent { requeues: 0, ..of_job(742_000, EventKind::JobPlaced, n, 742_000, node, "") };
    let again = |n, at_ms| ClusterEvent { requeues: 0, ..of_job(at_ms, EventKind::JobPlaced, n, at_ms, "gpu-node-05", "") };
    let incidents = fold([
        first(1, NODE),
        first(2, "gpu-node-03"),
        first(3, NODE),
        of_job(742_500, EventKind::AttemptFailed, 3, 742_000, NODE, "exit 1"),
        began(truth("F1", "kill", WORKER, 742_926)),
        about(743_048, EventKind::NodeGone, NODE, "no heartbeat"),
        again(1, 752_000),
        // Nothing is known of the other's node, and the third had failed before.
        again(2, 752_000),
        again(3, 752_000),
    ]);
    let view = only(&incidents);
    assert_eq!((view.interrupted, view.placed_again, view.moved_to[0].node.as_str()), (1, 1, "gpu-node-05"));
}

#[test]
fn moves_are_told_way_by_way_and_counted_over_incidents() {
    let kill = truth("F1", "kill", "worker-02", 10_000);
    let mut events = vec![
        began(kill.clone()),
        about(10_100, EventKind::NodeGone, NODE, "its connection ended"),
        of_job(10_101, EventKind::AttemptLost, 1, 9_000, NODE, "gpu-node-02 is gone"),
        of_job(10_102, EventKind::AttemptLost, 2, 9_000, NODE, "gpu-node-02 is gone"),
        of_job(10_103, EventKind::JobPlaced, 1, 10_103, "gpu-node-05", ""),
    ];
    let incidents = fold(events.clone());
    let tally = incidents.tally(10_000);
    assert_eq!((tally.incidents, tally.interrupted, tally.moved, tally.waiting, tally.all_well), (1, 2, 1, 1, false));
    assert_eq!(incidents.tally(10_001), Tally { all_well: true, ..Tally::default() }, "it began before");
    events.push(of_job(10_200, EventKind::JobPlaced, 2, 10_200, "gpu-node-05", ""));
    events.push(ended(kill, 10_300, "back after 300 ms as process 7"));
    events.push(about(10_400, EventKind::NodeRecovered, NODE, "back after a restart"));
    let incidents = fold(events);
    assert_eq!((incidents.tally(0).moved, incidents.tally(0).all_well), (2, true));
    let way = MovedBetween { from: NODE.into(), to: "gpu-node-05".into(), jobs: 2, last_ms: 10_200 };
    assert_eq!(only(&incidents).moves, [way]);
}

#[test]
fn a_placement_that_is_refused_waits_again() {
    let freeze = truth("F1", "freeze", "worker-04", 10_000);
    let mut events = vec![
        began(freeze.clone()),
        about(12_000, EventKind::NodeSuspect, "gpu-node-04", "no heartbeat for 2.3 s"),
        about(12_500, EventKind::NodeGone, "gpu-node-04", "no heartbeat for 2.8 s, and worker-04 does not answer a ping"),
        of_job(12_501, EventKind::AttemptLost, 1, 9_000, "gpu-node-04", "gpu-node-04 is gone"),
        about(15_000, EventKind::NodeDead, "gpu-node-04", "no heartbeat for 5.0 s"),
        ended(freeze, 18_000, "it goes on after 8.0 s"),
        about(18_020, EventKind::NodeRecovered, "gpu-node-04", "it beats again"),
        of_job(18_022, EventKind::JobPlaced, 1, 18_022, "gpu-node-04", ""),
        of_job(18_025, EventKind::AttemptLost, 1, 18_022, "gpu-node-04", "refused: its GPUs are taken"),
    ];
    assert_eq!((only(&fold(events.clone())).waiting, only(&fold(events.clone())).recovered_ms), (1, None));
    events.push(of_job(22_000, EventKind::JobPlaced, 1, 22_000, "gpu-node-04", ""));
    let seen = only(&fold(events));
    assert_eq!((seen.waiting, seen.recovered_ms, seen.noticed_after_ms), (0, Some(22_000), Some(2_000)));
    let kinds: Vec<StepKind> = seen.story.iter().map(|step| step.kind).collect();
    use StepKind::{Began, GivenUp, Interrupted, Mended, Noticed, PlacedAgain, Recovered};
    assert_eq!(kinds, [Began, Noticed, GivenUp, Interrupted, Mended, PlacedAgain, Recovered]);
    assert!(seen.story[5].text.ends_with("; 1 placement refused at first"), "{:?}", seen.story[5]);
}

#[test]
fn a_killed_leader_is_replaced_and_only_then_all_is_well() {
    let kill = truth("F1", "kill", "scheduler-2", 10_000);
    let led = |at_ms, name: &str| ClusterEvent { service: name.into(), ..event(at_ms, EventKind::LeaderElected, "") };
    let mut events = vec![led(1_000, "scheduler-2"), began(kill.clone()), ended(kill, 10_260, "back after 260 ms as process 7")];
    assert_eq!(only(&fold(events.clone())).state, IncidentState::Ongoing);
    events.push(led(12_580, "scheduler-1"));
    let seen = only(&fold(events));
    assert_eq!((seen.leader.as_deref(), seen.recovered_ms), (Some("scheduler-1"), Some(12_580)));
    assert!(seen.story.iter().any(|step| step.line() == "after 2.5 s: scheduler-1 leads instead of scheduler-2"), "{:?}", seen.story);
    assert_eq!(seen.story.last().map(|step| step.text.as_str()), Some("recovered, no job was interrupted"));
}

#[test]
fn a_killed_standby_needs_no_election_and_a_first_leader_is_no_incident() {
    let kill = truth("F1", "kill", "scheduler-1", 10_000);
    let led = ClusterEvent { service: "scheduler-2".into(), ..event(1_000, EventKind::LeaderElected, "") };
    assert!(all(&fold([led.clone()])).is_empty());
    assert_eq!(only(&fold([led, began(kill.clone()), ended(kill, 10_200, "")])).recovered_ms, Some(10_200));
}

#[test]
fn a_rack_is_one_incident_and_two_orders_are_two() {
    let in_rack = |id: &str, node: &str, from_ms| FaultTruth {
        domain: Some("rack-2".into()),
        cause: FaultCause::Correlated,
        by: String::new(),
        ..truth(id, "crash", node, from_ms)
    };
    let rack = fold([began(in_rack("F1", "gpu-node-03", 5_000)), began(in_rack("F2", "gpu-node-04", 5_200))]);
    let seen = only(&rack);
    assert_eq!((seen.headline.as_str(), seen.nodes_total), ("rack-2 failed: crash on gpu-node-03, gpu-node-04", 2));
    let orders = fold([began(truth("F1", "kill", "worker-03", 5_000)), began(truth("F2", "kill", "worker-04", 6_000))]);
    assert_eq!(all(&orders).len(), 2);
    let one_order = fold([began(truth("F1", "kill", "worker-03", 5_000)), began(truth("F2", "kill", "worker-04", 5_100))]);
    assert_eq!(only(&one_order).headline, "kill on worker-03, worker-04 by `faultline kill`, user root");
}

#[test]
fn what_happens_while_nats_is_away_is_of_nats() {
    let kill = truth("F1", "kill", "nats", 10_000);
    let incidents = fold([
        began(kill.clone()),
        ended(kill, 10_256, "nats killed (SIGKILL); back after 256 ms"),
        about(14_000, EventKind::NodeSuspect, "gpu-node-03", "no heartbeat for 3.0 s"),
        about(14_500, EventKind::NodeRecovered, "gpu-node-03", "it beats again"),
        of_job(22_000, EventKind::AttemptLost, 1, 9_000, "gpu-node-07", "JetStream answered no sign of progress for 12 s"),
        of_job(22_100, EventKind::JobPlaced, 1, 22_100, "gpu-node-01", ""),
    ]);
    let seen = only(&incidents);
    assert_eq!((seen.nodes_total, seen.interrupted, seen.recovered_ms), (2, 1, Some(22_100)));
}

#[test]
fn a_suspicion_without_a_fault_that_passes_is_a_false_alarm_and_one_that_does_not_has_no_known_cause() {
    let suspect = about(5_000, EventKind::NodeSuspect, NODE, "no heartbeat for 2.4 s");
    let back = about(5_900, EventKind::NodeRecovered, NODE, "it beats again");
    let seen = only(&fold([suspect.clone(), back.clone()]));
    assert_eq!((seen.kind, seen.headline.as_str()), (IncidentKind::FalseAlarm, "gpu-node-02 suspected, and back"));
    let dead = about(8_000, EventKind::NodeDead, NODE, "no heartbeat for 5.0 s");
    let seen = only(&fold([suspect, dead, back]));
    assert_eq!((seen.kind, seen.headline.as_str()), (IncidentKind::Unexplained, "gpu-node-02 dead; no fault is known"));
    assert_eq!(seen.noticed_after_ms, None, "when it began is not known");
}

#[test]
fn signs_that_were_stored_before_their_fault_are_of_it() {
    let kill = truth("F1", "kill", WORKER, 4_900);
    let seen = only(&fold([about(5_000, EventKind::NodeGone, NODE, "its connection ended"), began(kill)]));
    assert_eq!((seen.kind, seen.began_ms, seen.noticed_after_ms), (IncidentKind::Fault, 4_900, Some(100)));
}

#[test]
fn a_leader_that_is_deposed_before_the_death_of_nats_is_told_is_of_that_death() {
    let kill = truth("F1", "kill", "nats", 1_000);
    let by = |at_ms, kind, service: &str| ClusterEvent { service: service.into(), ..event(at_ms, kind, "") };
    let incidents = fold([
        by(100, EventKind::LeaderElected, "scheduler-2"),
        by(3_200, EventKind::LeaderLost, "scheduler-2"),
        began(kill.clone()),
        by(4_000, EventKind::LeaderElected, "scheduler-1"),
        ended(kill, 2_500, "nats was started again"),
    ]);
    let view = only(&incidents);
    assert_eq!(
        (view.kind, view.state, view.began_ms, view.recovered_ms),
        (IncidentKind::Fault, IncidentState::Recovered, 1_000, Some(4_000))
    );
    assert_eq!(view.leader.as_deref(), Some("scheduler-1"));
}

#[test]
fn an_election_ends_every_incident_that_cost_the_leader() {
    let by = |at_ms, kind, service: &str| ClusterEvent { service: service.into(), ..event(at_ms, kind, "") };
    let kill = truth("F1", "kill", "scheduler-2", 3_300);
    let incidents = fold([
        by(100, EventKind::LeaderElected, "scheduler-2"),
        by(3_200, EventKind::LeaderLost, "scheduler-2"),
        began(kill.clone()),
        ended(kill, 3_500, "it runs again"),
        by(7_000, EventKind::LeaderElected, "scheduler-1"),
    ]);
    let all = all(&incidents);
    assert_eq!(all.len(), 2, "{all:#?}");
    assert!(all.iter().all(|view| view.recovered_ms == Some(7_000)), "{all:#?}");
}

#[test]
fn nodes_that_leave_with_attempts_are_one_departure_and_without_any_none() {
    let left = |at_ms, node: &str| about(at_ms, EventKind::NodeLeft, node, "the worker stopped");
    assert!(all(&fold([left(5_000, NODE)])).is_empty());
    let seen = only(&fold([
        left(5_000, NODE),
        left(5_001, "gpu-node-03"),
        of_job(5_002, EventKind::AttemptLost, 1, 4_000, NODE, NODE_LEFT),
        of_job(5_003, EventKind::AttemptLost, 2, 4_000, "gpu-node-03", NODE_LEFT),
    ]));
    assert_eq!(
        (seen.kind, seen.headline.as_str(), seen.waiting),
        (IncidentKind::Departure, "gpu-node-02 and 1 other node left in order", 2)
    );
}

/// The scheduler took an attempt for interrupted whose end it had not heard of.
#[test]
fn an_attempt_that_committed_was_not_interrupted() {
    let mut incidents = fold(killed_worker());
    incidents.on_ended(job(1), JobState::Committed, 743_040, Some(AttemptId::new(740_000, 1)));
    let seen = only(&incidents);
    assert_eq!((seen.interrupted, seen.committed, seen.placed_again), (1, 0, 1), "the other one was");

    let lost = of_job(900_000, EventKind::AttemptLost, 3, 890_000, "gpu-node-06", "the news of its end was lost");
    incidents.on_event(&lost);
    assert_eq!(all(&incidents).len(), 2);
    incidents.on_ended(job(3), JobState::Committed, 899_990, Some(AttemptId::new(890_000, 3)));
    assert_eq!(only(&incidents).id, "F1", "nothing of it was so");
    assert_eq!(incidents.open_jobs().collect::<Vec<_>>(), [job(2)]);
}

#[test]
fn a_job_that_two_incidents_interrupted_ends_in_both() {
    let again = truth("F2", "kill", "worker-05", 750_000);
    let lost = of_job(750_100, EventKind::AttemptLost, 1, 743_055, "gpu-node-05", "gpu-node-05 is gone");
    let mut incidents = fold(killed_worker().into_iter().chain([began(again), lost]));
    incidents.on_ended(job(1), JobState::Committed, 760_000, Some(AttemptId::new(755_000, 1)));
    assert_eq!(
        all(&incidents).iter().map(|seen| (seen.id.clone(), seen.committed)).collect::<Vec<_>>(),
        [("F2".into(), 1), ("F1".into(), 1)]
    );
}

#[test]
fn what_nodes_do_after_they_are_back_changes_no_recovery() {
    let left = about(800_000, EventKind::NodeLeft, NODE, "the worker stopped");
    assert_eq!(only(&fold(killed_worker().into_iter().chain([left]))).recovered_ms, Some(743_245));
}

#[test]
fn without_a_fault_a_deposed_leader_is_missed_from_then_on_and_a_restart_in_order_is_no_incident() {
    let says = |at_ms, kind, name: &str| ClusterEvent { service: name.into(), ..event(at_ms, kind, "") };
    let deposed = [
        says(1_000, EventKind::LeaderElected, "scheduler-1"),
        says(9_572, EventKind::LeaderLost, "scheduler-1"),
        says(12_202, EventKind::LeaderElected, "scheduler-2"),
    ];
    assert_eq!(only(&fold(deposed[..2].to_vec())).state, IncidentState::Ongoing);
    let seen = only(&fold(deposed));
    assert_eq!((seen.kind, seen.began_ms, seen.recovered_ms), (IncidentKind::Leader, 9_572, Some(12_202)));
    let restart = [
        says(1_000, EventKind::LeaderElected, "scheduler-1"),
        about(1_100, EventKind::NodeJoined, NODE, "incarnation 1"),
        about(5_000, EventKind::NodeLeft, NODE, "the worker stopped"),
        says(9_000, EventKind::LeaderElected, "scheduler-2"),
    ];
    assert!(all(&fold(restart)).is_empty());
}

#[test]
fn own_failures_are_an_incident_only_when_many_come_at_once() {
    let failed = |at_ms, n| of_job(at_ms, EventKind::AttemptFailed, n, at_ms - 10, NODE, "failed on purpose");
    let few: Vec<_> = (0..9).map(|n| failed(10_000 + n as u64, n)).collect();
    assert!(all(&fold(few.clone())).is_empty());
    let many = few.into_iter().chain([failed(11_000, 9), failed(12_000, 9)]);
    let incidents = fold(many);
    let seen = only(&incidents);
    assert_eq!(
        (seen.kind, seen.failures, seen.headline.as_str()),
        (IncidentKind::Failures, 11, "11 attempts of 10 jobs failed by themselves")
    );
    assert_eq!(incidents.newest(12_500).next().unwrap().state, IncidentState::Ongoing);
}

#[test]
fn own_failures_among_many_attempts_are_what_always_happens() {
    let failed = |at_ms, n| of_job(at_ms, EventKind::AttemptFailed, n, at_ms - 10, NODE, "failed on purpose");
    let placed = |at_ms, n| of_job(at_ms, EventKind::JobPlaced, n, at_ms, NODE, "");
    let history = |placements: u128| {
        let placements = (0..placements).map(move |n| placed(10_000 + n as u64, 1_000 + n));
        placements.chain((0..12).map(move |n| failed(10_500 + n as u64, n)))
    };
    assert!(all(&fold(history(60))).is_empty(), "12 of 60");
    assert_eq!(only(&fold(history(40))).failures, 12, "12 of 40");
}

#[test]
fn a_job_whose_record_has_expired_is_not_called_open() {
    let mut incidents = fold(killed_worker());
    incidents.forget(job(1));
    let seen = only(&incidents);
    assert_eq!((seen.placed_again, seen.unknown, incidents.open_jobs().count()), (1, 1, 1));
    assert_eq!(seen.story.last().unwrap().text, "of 2 jobs, 1 ended, how is not known any more");
}

#[test]
fn a_second_interruption_of_a_job_is_of_the_second_incident_and_the_first_keeps_its_move() {
    let again = truth("F2", "kill", "worker-05", 750_000);
    let events = killed_worker()
        .into_iter()
        .chain([began(again), of_job(750_100, EventKind::AttemptLost, 1, 743_055, "gpu-node-05", "gpu-node-05 is gone")]);
    let seen = all(&fold(events));
    assert_eq!((seen[0].id.as_str(), seen[0].waiting), ("F2", 1));
    assert_eq!((seen[1].id.as_str(), seen[1].waiting, seen[1].state), ("F1", 0, IncidentState::Recovered));
}

#[test]
fn the_oldest_incidents_are_forgotten_with_all_that_points_to_them() {
    let kills = (0..MAX_INCIDENTS as u64 + 5).flat_map(|n| {
        let kill = truth(&format!("F{n}"), "kill", WORKER, n * 60_000);
        let lost = of_job(n * 60_000 + 5, EventKind::AttemptLost, u128::from(n), n * 60_000, NODE, "gone");
        [began(kill.clone()), lost, ended(kill, n * 60_000 + 10, "")]
    });
    let incidents = fold(kills);
    assert_eq!((incidents.all.len(), incidents.by_job.len()), (MAX_INCIDENTS, MAX_INCIDENTS));
}
