use faultline_engine::job::{AttemptId, JobId, Priority};
use faultline_protocol::messages::{Asked, EventKind, JobState, Level, OpenMarker, RunningBrief};

use super::*;

fn view_with_a_running_job() -> (View, JobId) {
    let mut view = View::new(1_000);
    let job = JobId::new(1, 1);
    view.jobs.on_open(OpenMarker { job, name: "j".into(), kind: "sleep".into(), priority: Priority::Low, submitted_at_ms: 1 });
    let running = vec![RunningBrief { attempt: AttemptId::new(1, 1), job, progress_permille: 5, epoch: 7 }];
    let bare = serde_json::json!({"node": "a", "worker": "w", "incarnation": 1, "seq": 1, "sent_at_ms": 1, "running": [], "gpus": []});
    view.on_heartbeat(Heartbeat { running, ..serde_json::from_value(bare).unwrap() }, 1_000);
    assert_eq!(view.jobs.get(job).unwrap().state, JobState::Running);
    (view, job)
}

#[test]
fn a_node_that_is_given_up_or_leaves_runs_nothing() {
    let (mut view, job) = view_with_a_running_job();
    view.on_verdict(Verdict {
        node: "a".into(),
        worker: "w".into(),
        incarnation: 1,
        health: Health::Gone,
        detector: "x".into(),
        phi: 0.0,
        silence_ms: 1,
        evidence: String::new(),
        at_ms: 1,
    });
    assert_eq!(view.jobs.get(job).unwrap().state, JobState::Queued);
    assert_eq!(view.losses.progress_of(AttemptId::new(1, 1)), Some(5), "how far it had come is kept");
    let (mut view, job) = view_with_a_running_job();
    view.on_goodbye(&Goodbye { node: "a".into(), worker: "w".into(), incarnation: 1, reason: "scaled down".into() });
    assert_eq!((view.jobs.get(job).unwrap().state, view.nodes.len()), (JobState::Queued, 0));
}

#[test]
fn the_leaders_figures_are_used_while_it_answers() {
    let (mut view, _) = view_with_a_running_job();
    assert_eq!(view.stale_since_ms(), Some(1_000));
    assert_eq!((view.stats(2_000).running, view.stats(2_000).nodes_alive), (1, 1));
    let stats = ClusterStats { leader: "scheduler-1".into(), running: 77, at_ms: 3_000, ..ClusterStats::default() };
    view.on_leader_answer(LeaderAnswer { stats, ..LeaderAnswer::default() }, 3_000);
    assert_eq!((view.stats(3_100).running, view.stale_since_ms()), (77, None));
    view.on_ledger(LedgerSnapshot { committed: 9, ..LedgerSnapshot::default() });
    view.on_leader_silent();
    let stats = view.stats(4_000);
    assert_eq!((stats.running, stats.leader.as_str(), stats.ledger.committed, stats.at_ms), (1, "scheduler-1", 9, 4_000));
    assert_eq!(view.stale_since_ms(), Some(3_000));
}

#[test]
fn a_rate_is_in_force_when_the_generator_says_so_and_until_it_falls_silent() {
    let mut view = View::new(0);
    view.on_rate(Some(RateSetting { asked: Asked::Rate(2_000.0), set_by: "cli".into(), at_ms: 1 }));
    assert!(view.rate(1_000).deviation().unwrap().starts_with("no generator runs"));
    let said = InForce {
        jobs_per_minute: 2.0,
        load_percent: None,
        gpus: 0,
        capped: false,
        rate_revision: 7,
        rate_refused: Some("outside 0.1 to 50".into()),
        weights: std::collections::BTreeMap::new(),
        mix_revision: 0,
        mix_refused: None,
        at_ms: 999_999_999,
    };
    view.on_in_force(Some(said), 1_000);
    let rate = view.rate(15_999);
    assert_eq!((rate.jobs_per_minute, rate.in_force_per_minute, rate.refused.as_deref()), (2_000.0, Some(2.0), Some("outside 0.1 to 50")));
    assert!(rate.deviation().unwrap().contains("keeps to 2 jobs a minute: outside"));
    assert!(view.rate_is_answered(7) && !view.rate_is_answered(8));
    assert_eq!(view.rate(16_000).in_force_per_minute, None, "by the time of its arrival here, not by its own clock");
    view.on_in_force(None, 2_000);
    assert_eq!(view.rate(2_000).in_force_per_minute, None, "it has stopped");
}

#[test]
fn events_and_the_rate_are_kept() {
    let mut view = View::new(0);
    view.on_event(event_seq(4, 0), ClusterEvent::new(1, "detector", Level::Warn, EventKind::NodeSuspect, "late"));
    assert_eq!(view.events.last_seq(), event_seq(4, 0));
    view.on_rate(Some(RateSetting { asked: Asked::Rate(10.0), set_by: "cli".into(), at_ms: 1 }));
    assert_eq!((view.rate(0).jobs_per_minute, view.rate(0).set_by.as_str()), (10.0, "cli"));
    view.on_rate(None);
    assert_eq!((view.rate(0).load_percent, view.rate(0).set_by.as_str()), (Some(60.0), ""));
    view.on_undecodable();
    assert_eq!(view.undecodable(), 1);
}
