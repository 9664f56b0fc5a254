use faultline_engine::job::{AttemptId, JobId, JobState};
use faultline_protocol::messages::{ClusterEvent, EventKind, FaultTruth, Level, TerminalRecord};

use super::report::{Around, markdown};
use super::{IncidentView, Incidents};
use crate::observe::Observer;

const BEGAN_MS: u64 = 1_000_000;

fn about(at_ms: u64, kind: EventKind, detail: &str) -> ClusterEvent {
    ClusterEvent { node: Some("gpu-node-02".into()), ..ClusterEvent::new(at_ms, "x", Level::Warn, kind, detail) }
}

/// A worker is killed and back after 320 ms; one job moves.
fn killed_worker() -> IncidentView {
    let truth = FaultTruth {
        id: "F1".into(),
        kind: "kill".into(),
        depth: faultline_engine::fault::FaultDepth::Process,
        target: "worker-02".into(),
        gpu: None,
        from_ms: BEGAN_MS,
        until_ms: None,
        cause: faultline_engine::fault::FaultCause::Ordered,
        domain: None,
        by: "`faultline kill`, user root".into(),
    };
    let of_job = |event: ClusterEvent| ClusterEvent { job: Some(JobId::new(1, 1)), attempt: Some(AttemptId::new(event.at_ms, 1)), ..event };
    let ended = FaultTruth { until_ms: Some(BEGAN_MS + 250), ..truth.clone() };
    let mut incidents = Incidents::default();
    incidents.on_node("gpu-node-02", "worker-02");
    for event in [
        ClusterEvent { fault: Some(truth), node: None, ..about(BEGAN_MS, EventKind::FaultBegan, "") },
        about(BEGAN_MS + 120, EventKind::NodeGone, "its connection ended | no process receives its pings"),
        of_job(about(BEGAN_MS + 121, EventKind::AttemptLost, "gpu-node-02 is gone")),
        of_job(ClusterEvent { node: Some("gpu-node-05".into()), ..about(BEGAN_MS + 126, EventKind::JobPlaced, "") }),
        ClusterEvent { fault: Some(ended), node: None, ..about(BEGAN_MS + 250, EventKind::FaultEnded, "back after 250 ms as process 7") },
        about(BEGAN_MS + 320, EventKind::NodeRecovered, "back after a restart"),
    ] {
        incidents.on_event(&event);
    }
    incidents.on_ended(JobId::new(1, 1), JobState::Committed, BEGAN_MS + 2_000, None);
    incidents.newest(BEGAN_MS + 60_000).next().expect("an incident")
}

/// A commit every `every_ms` in that time.
fn commits(observer: &mut Observer, from_ms: u64, to_ms: u64, every_ms: u64) {
    for at_ms in (from_ms..to_ms).step_by(usize::try_from(every_ms).unwrap()) {
        let record = TerminalRecord::bare(JobId::new(2, u128::from(at_ms)), 1, JobState::Committed, at_ms);
        observer.on_ended(&record, at_ms, at_ms);
    }
}

#[test]
fn the_rate_is_back_when_commits_come_as_before() {
    let incident = killed_worker();
    let mut observer = Observer::default();
    commits(&mut observer, BEGAN_MS - 60_000, BEGAN_MS, 100);
    // Half of the rate for 30 s, then all of it.
    commits(&mut observer, BEGAN_MS + 1_000, BEGAN_MS + 30_000, 200);
    commits(&mut observer, BEGAN_MS + 30_000, BEGAN_MS + 90_000, 100);
    let around = Around::of(&incident, &observer, BEGAN_MS + 90_000);
    let back_ms = around.back_after_ms.expect("it is back");
    assert!((38_000..=40_000).contains(&back_ms), "{back_ms}");
    let lengths: Vec<(&str, u64)> = around.stretches.iter().map(|one| (one.name, one.measured.to_ms - one.measured.from_ms)).collect();
    assert_eq!(lengths, [("before", 60_000), ("during", 320), ("after", back_ms - 320)]);
    assert_eq!(Around::of(&incident, &observer, BEGAN_MS + 20_000).back_after_ms, None, "not yet");
    assert_eq!(Around::of(&incident, &Observer::default(), BEGAN_MS + 90_000).back_after_ms, None, "no commits came before");
}

#[test]
fn a_post_mortem_has_what_is_known_and_room_for_what_only_people_know() {
    let incident = killed_worker();
    let mut observer = Observer::default();
    commits(&mut observer, BEGAN_MS - 60_000, BEGAN_MS + 60_000, 500);
    let around = Around::of(&incident, &observer, BEGAN_MS + 60_000);
    let text = markdown(&incident, &around, |ms| format!("t+{}", ms - BEGAN_MS));
    for line in [
        "# Incident F1: worker-02 killed (SIGKILL) by `faultline kill`, user root",
        "It was noticed after 120 ms. 1 job was interrupted; the last was placed again after 126 ms; 0 lost. The cluster had recovered after 320 ms.",
        "| t+120 | 120 ms | gpu-node-02 gone: its connection ended \\| no process receives its pings |",
        "| from the fault until the last interrupted job was placed again | 126 ms | 500 ms |",
        "| of them committed, open, given up, cancelled, unknown | 1, 0, 0, 0, 0 |",
        "| jobs lost, in the whole cluster | unknown |",
        "faultline kill worker-02\n",
        "## Actions\n\n*To be filled in.*",
    ] {
        assert!(text.contains(line), "{line}\n---\n{text}");
    }
}
