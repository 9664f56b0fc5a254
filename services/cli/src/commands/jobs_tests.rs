//! What the tables of jobs and paths look like, and how a record becomes a view.

use comfy_table::ContentArrangement;
use faultline_engine::job::AttemptId;
use faultline_engine::placement::WhyWaiting;

use super::*;

fn text(mut table: Table) -> String {
    table.force_no_tty().set_content_arrangement(ContentArrangement::Disabled);
    table.trim_fmt()
}

fn attempt(number: u128, outcome: AttemptOutcome) -> AttemptSummary {
    AttemptSummary {
        attempt: AttemptId::new(0, number),
        node: format!("gpu-node-0{number}"),
        incarnation: 1,
        gpus: vec![0, 1],
        gpu_milli: 0,
        placed_at_ms: 1_000 * number as u64,
        started_at_ms: Some(1_000 * number as u64 + 10),
        ended_at_ms: Some(1_000 * number as u64 + 510),
        outcome,
        detail: if outcome == AttemptOutcome::Lost { "its node crashed".into() } else { String::new() },
        why: "least loaded".into(),
    }
}

fn record() -> TerminalRecord {
    TerminalRecord {
        job: JobId::new(0, 9),
        name: "gpu-algebra-5678".into(),
        kind: "matrix".into(),
        priority: Priority::Urgent,
        state: JobState::Committed,
        attempt: Some(AttemptId::new(0, 2)),
        open_seq: 4,
        submitted_at_ms: 800,
        ended_at_ms: 2_510,
        result: "512x512 verified".into(),
        reason: String::new(),
        failures: 0,
        requeues: 1,
        history: vec![attempt(1, AttemptOutcome::Lost), attempt(2, AttemptOutcome::Committed)],
    }
}

#[test]
fn the_path_of_a_job_that_was_moved() {
    let view = view_of_terminal(record());
    assert_eq!(view.node.as_deref(), Some("gpu-node-02"));
    let expected = "\
ATTEMPT                     NODE                  GPUS  PLACED        WAITED  RAN     OUTCOME    DETAIL            WHY HERE
00000000000000000000000001  gpu-node-01 (life 1)  0,1   00:00:01.000  200 ms  500 ms  lost       its node crashed  least loaded
00000000000000000000000002  gpu-node-02 (life 1)  0,1   00:00:02.000  490 ms  500 ms  committed                    least loaded";
    assert_eq!(text(path_table(&view.attempts, view.submitted_at_ms)), expected);
    let expected = "\
id         00000000000000000000000009
name       gpu-algebra-5678
kind       matrix
priority   urgent
state      committed
submitted  00:00:00.800 UTC, 9.2 s ago
ended      00:00:02.510 UTC, after 1.7 s
failures   0 of the job itself, 1 by nodes that went away
result     512x512 verified";
    assert_eq!(text(facts(&job_facts(&view, 10_000))), expected);
}

#[test]
fn the_list_of_jobs() {
    let mut running = view_of_terminal(record());
    (running.state, running.ended_at_ms, running.progress_permille) = (JobState::Running, None, 425);
    let expected = "\
ID                          NAME              KIND    PRIORITY  STATE         NODE         ATTEMPTS  SUBMITTED  TOOK
00000000000000000000000009  gpu-algebra-5678  matrix  urgent    committed     gpu-node-02         2  9.2 s ago  1.7 s
00000000000000000000000009  gpu-algebra-5678  matrix  urgent    running 42 %  gpu-node-02         2  9.2 s ago      -";
    assert_eq!(text(jobs_table(&[view_of_terminal(record()), running], 10_000)), expected);
}

#[test]
fn a_waiting_job_says_why() {
    let marker = OpenMarker { job: JobId::new(0, 9), name: "n".into(), kind: "sleep".into(), priority: Priority::Low, submitted_at_ms: 0 };
    let mut view = view_of_marker(marker);
    let waits = |view: &JobView| job_facts(view, 5_000).into_iter().find(|(name, _)| *name == "waits").map(|(_, words)| words);
    assert_eq!(waits(&view).as_deref(), Some("in the queue, or for a submitter that died before it queued it: no scheduler has it"));
    view.waiting = Some(WhyWaiting { since_ms: 2_000, rejects: vec![], summary: "8 nodes: GPU share taken".into() });
    assert_eq!(waits(&view).as_deref(), Some("since 3.0 s ago: 8 nodes: GPU share taken"));
}

#[test]
fn filters_add_up() {
    let flags = |states: &[JobState], kind: Option<&str>, node: Option<&str>| JobsFlags {
        states: states.to_vec(),
        kind: kind.map(str::to_owned),
        node: node.map(str::to_owned),
        priority: Some(Priority::Urgent),
        limit: 1,
    };
    let view = view_of_terminal(record());
    assert!(flags(&[], None, None).wants(&view));
    assert!(flags(&[JobState::Dead, JobState::Committed], Some("matrix"), Some("gpu-node-02")).wants(&view));
    assert!(!flags(&[JobState::Dead], None, None).wants(&view));
    assert!(!flags(&[], Some("sleep"), None).wants(&view));
    assert!(!flags(&[], None, Some("gpu-node-01")).wants(&view));
}
