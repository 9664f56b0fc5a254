//! What `job ID` shows.

use faultline_engine::fault::{FaultCause, FaultDepth, FaultTruth};
use faultline_engine::job::{AttemptId, Demand, Origin, Param, Priority};
use faultline_engine::scheduler::WhyWaiting;
use faultline_runtime::config::Color;
use faultline_runtime::times;

use super::*;
use crate::output::{Format, Output};

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

fn submission() -> Submission {
    Submission {
        demand: Demand { gpu_milli: 500, gpu_memory_mib: 1024, models: vec!["H100-80GB".into(), "A100-40GB".into()] },
        expected_ms: 1_000,
        timeout_ms: 90_000,
        max_retries: 1,
        params: Params::from([("size".to_owned(), Param::Int(512)), ("tag".to_owned(), Param::Text("12".into()))]),
        params_left_out_bytes: 0,
        origin: Origin { by: "command, user ann@login-1".into(), resubmitted_from: Some(JobId::new(0, 3)) },
    }
}

fn view() -> JobView {
    JobView {
        id: JobId::new(0, 9),
        name: "gpu-algebra-5678".into(),
        kind: "matrix".into(),
        priority: Priority::Urgent,
        state: JobState::Committed,
        submitted_at_ms: 800,
        ended_at_ms: Some(2_510),
        demand: None,
        node: Some("gpu-node-02".into()),
        progress_permille: 1000,
        failures: 0,
        requeues: 1,
        attempts: vec![attempt(1, AttemptOutcome::Lost), attempt(2, AttemptOutcome::Committed)],
        result: "512x512 verified".into(),
        reason: String::new(),
        waiting: None,
        submission: None,
    }
    .with_submission(Some(submission()))
}

fn text(lines: &[Fact]) -> String {
    Output::new(Format::Table, Color::Never).render(facts(lines))
}

#[test]
fn a_job_that_ended_shows_what_was_submitted_and_its_path_downwards() {
    times::show_utc(true);
    let expected = "\
id            00000000000000000000000009
name          gpu-algebra-5678
kind          matrix
priority      urgent
state         committed
submitted     1970-01-01 00:00:00.800Z, 9.2 s ago
submitted by  command, user ann@login-1 (as the submitter states)
repeats       00000000000000000000000003
wants         0.5 GPU, 1024 MiB on each, H100-80GB or A100-40GB
limits        1 min 30 s for an attempt, 1 retry
parameters    size=512, tag=\"12\"
ended         1970-01-01 00:00:02.510Z, after 1.7 s
failures      0 of the job itself; 1 attempt interrupted by the node
result        512x512 verified";
    assert_eq!(text(&job_facts(&view(), 10_000)), expected);
    let kill = FaultTruth {
        id: "1".into(),
        kind: "kill".into(),
        depth: FaultDepth::Process,
        target: "worker-01".into(),
        gpu: None,
        from_ms: 1_390,
        until_ms: None,
        cause: FaultCause::Ordered,
        domain: None,
        by: "`faultline kill`, user ann".into(),
    };
    let causes: Vec<AttemptCause> = view().attempts.iter().filter_map(|row| AttemptCause::of(row, Some("worker-01"), [&kill])).collect();
    let attempts = attempts_facts(&view().attempts, 800, &causes);
    let cause = |attempt: &[Fact]| attempt.iter().find(|(name, _)| *name == "cause").map(|(_, words)| words.clone());
    assert_eq!(cause(&attempts[0]).unwrap(), "worker-01 killed (SIGKILL) by `faultline kill`, user ann, noticed after 120 ms");
    assert_eq!(cause(&attempts[1]), None);
    let expected = "\
attempt   00000000000000000000000001
outcome   interrupted
node      gpu-node-01, GPU 0 and 1, incarnation 1
placed    00:00:01.000Z, after waiting for 200 ms
ran       500 ms
cause     worker-01 killed (SIGKILL) by `faultline kill`, user ann, noticed after 120 ms
detail    its node crashed
why here  least loaded";
    assert_eq!(text(&attempts[0]), expected);
    assert!(text(&attempts[1]).contains("after waiting for 490 ms"));
}

#[test]
fn a_job_fits_eighty_columns() {
    let mut long = view();
    long.reason = "a long reason ".repeat(20);
    long.attempts[0].detail = "the node was silent for 5.2 s and nobody answered its pings ".repeat(4);
    let out = Output::new(Format::Table, Color::Never).with_width(80);
    let shown = [vec![job_facts(&long, 10_000)], attempts_facts(&long.attempts, 800, &[])].concat();
    for lines in shown {
        let text = out.render(facts(&lines));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("00000000000000000000000"), "ids stay whole: {text}");
    }
}

#[test]
fn parameters_that_were_not_kept_are_told() {
    let left_out = Submission { params: Params::new(), params_left_out_bytes: 9_000, ..submission() };
    let words = submission_facts(&left_out).into_iter().find(|(name, _)| *name == "parameters").unwrap().1;
    assert_eq!(words, "9000 bytes, too long to be kept in the record");
    assert_eq!(params_words(&Params::new()), "none");
}

#[test]
fn a_waiting_job_says_why() {
    let mut view = JobView { state: JobState::Queued, ended_at_ms: None, attempts: vec![], ..view() };
    let waits = |view: &JobView| job_facts(view, 5_000).into_iter().find(|(name, _)| *name == "waiting").map(|(_, words)| words);
    assert!(waits(&view).unwrap().starts_with("in the queue; no scheduler has taken it yet"));
    view.waiting = Some(WhyWaiting { since_ms: 2_000, rejects: vec![], summary: "8 nodes: GPU share taken".into(), place: None });
    assert_eq!(waits(&view).as_deref(), Some("for 3.0 s: 8 nodes: GPU share taken"));
}
