//! What the table of jobs looks like, and how a record becomes a view.

use comfy_table::ContentArrangement;
use faultline_engine::job::{AttemptId, AttemptOutcome, AttemptSummary, Demand, Submission};
use faultline_runtime::config::Color;

use crate::output::{Format, Output};

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
        choice: None,
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
        submission: Some(Submission {
            demand: Demand { gpu_milli: 500, gpu_memory_mib: 0, models: vec![] },
            expected_ms: 1,
            timeout_ms: 30_000,
            max_retries: 3,
            params: Default::default(),
            params_left_out_bytes: 0,
            origin: Default::default(),
        }),
    }
}

#[test]
fn an_ended_job_still_says_what_was_submitted() {
    let view = view_of_terminal(record());
    assert_eq!(view.node.as_deref(), Some("gpu-node-02"));
    assert_eq!(view.demand.as_ref().map(|demand| demand.gpu_milli), Some(500));
    assert_eq!(view.submission, record().submission);
    assert_eq!(view_of_terminal(TerminalRecord { submission: None, ..record() }).demand, None, "of an older build");
}

#[test]
fn the_list_of_jobs() {
    let mut running = view_of_terminal(record());
    (running.state, running.ended_at_ms, running.progress_permille) = (JobState::Running, None, 425);
    let expected = "\
ID                          NAME              KIND    PRIORITY  STATE         NODE         ATTEMPTS  SUBMITTED  TOOK
00000000000000000000000009  gpu-algebra-5678  matrix  urgent    committed     gpu-node-02         2  9.2 s ago  1.7 s
00000000000000000000000009  gpu-algebra-5678  matrix  urgent    running 42 %  gpu-node-02         2  9.2 s ago      -";
    assert_eq!(text(jobs_table(&[view_of_terminal(record()), running.clone()], Ids::Whole, 10_000)), expected);
    running.state = JobState::Queued;
    running.attempts.truncate(1);
    assert_eq!(running.state_words(), "queued", "its node took the attempt with it");
    running.attempts[0].outcome = AttemptOutcome::Failed;
    assert!(text(jobs_table(std::slice::from_ref(&running), Ids::Whole, 10_000)).contains("  waiting for a retry  "));
    running.state = JobState::Dead;
    assert!(text(jobs_table(&[running], Ids::Whole, 10_000)).contains("  given up  "));
}

#[test]
fn the_list_fits_eighty_columns_whatever_the_names() {
    let mut job = view_of_terminal(record());
    (job.state, job.progress_permille, job.submitted_at_ms) = (JobState::Running, 1000, 10_000_000_000 - 3_599_000);
    let shown = |job: &JobView| {
        let out = Output::new(Format::Table, Color::Never).with_width(80);
        out.fitting(|ids| jobs_table(std::slice::from_ref(job), ids, 10_000_000_000), &DROPS)
    };
    let usual = shown(&job);
    let expected = "\
ID          NAME              STATE          NODE         SUBMITTED        TOOK
…000000009  gpu-algebra-5678  running 100 %  gpu-node-02  59 min 59 s ago  0 ms";
    assert_eq!(usual, expected);
    (job.name, job.node) = ("n".repeat(120), Some("x".repeat(64)));
    let long = shown(&job);
    assert!(long.lines().count() == 2 && long.lines().all(|line| line.chars().count() <= 80), "{long}");
    assert!(long.contains("…000000009") && long.contains("running 100 %"), "{long}");
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
