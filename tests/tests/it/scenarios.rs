//! `faultline scenario`, for real: two of those that come with the program, one that cannot pass, and files that are refused.

use std::process::{Command, Output};

use faultline_tests::cluster::program;
use faultline_tests::up::text;
use serde_json::Value;

fn scenario(args: &[&str]) -> Output {
    let mut command = Command::new(program("faultline"));
    // A cluster that runs elsewhere must not be touched: if it were asked for, there is none.
    command.arg("scenario").args(args).env("FAULTLINE_NATS_URL", "nats://127.0.0.1:1").env("NO_COLOR", "1");
    command.output().expect("faultline starts")
}

fn passes(name: &str) -> Value {
    let run = scenario(&["run", name, "--seed", "1", "-o", "json"]);
    assert!(run.status.success(), "{name}: {}", text(&run));
    let report: Value = serde_json::from_slice(&run.stdout).expect("a report");
    assert_eq!((&report["passed"], report["seed"].as_u64()), (&Value::from(true), Some(1)));
    report
}

#[test]
fn a_crashed_worker_costs_nothing() {
    let report = passes("worker-crash");
    assert!(report["measured"]["attempts_lost"].as_u64() >= Some(1), "{report}");
    assert_eq!(report["faults"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_partition_costs_nothing() {
    let report = passes("partition");
    assert!(report["measured"]["recovery"]["count"].as_u64() >= Some(1), "{report}");
}

const IMPOSSIBLE: &str = r#"
[scenario]
name = "impossible"
shows = "that an assertion can fail"
look_for = "exit code 5"
limit = "30s"

[cluster]
workers = 1

[workload]
jobs = 3
duration = ["10ms", "20ms"]

[[assert]]
that = "committed=3,lost=0"

[[assert]]
that = "committed>=4"
because = "three are not four"
"#;

#[test]
fn an_assertion_that_does_not_hold_is_exit_code_5() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("impossible.toml");
    std::fs::write(&file, IMPOSSIBLE).expect("a file");
    let run = scenario(&["run", &file.display().to_string(), "-o", "json"]);
    assert_eq!(run.status.code(), Some(5), "{}", text(&run));
    let report: Value = serde_json::from_slice(&run.stdout).expect("a report");
    let verdicts: Vec<Option<bool>> =
        report["clauses"].as_array().expect("clauses").iter().map(|clause| clause["passed"].as_bool()).collect();
    assert_eq!(verdicts, [Some(true), Some(true), Some(false)], "{report}");
    assert!(text(&run).contains("1 of 3 assertions"), "{}", text(&run));
}

#[test]
fn a_bad_file_is_refused_with_line_and_remedy_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("bad.toml");
    for (from, to, words) in [
        ("jobs = 3", "jobs = 3\ncolour = 1", "line 13"),
        ("committed>=4", "comitted>=4", "unknown metric `comitted`"),
        ("workers = 1", "workers = 0", "cluster.workers: 0 is outside 1 to"),
    ] {
        std::fs::write(&file, IMPOSSIBLE.replacen(from, to, 1)).expect("a file");
        for verb in ["check", "run"] {
            let run = scenario(&[verb, &file.display().to_string()]);
            assert!(run.status.code() == Some(2) && text(&run).contains(words), "{verb} {to}: {:?} {}", run.status.code(), text(&run));
            assert!(!text(&run).contains("starting"), "{}", text(&run));
        }
    }
    assert_eq!(scenario(&["run", "no-such-scenario"]).status.code(), Some(4));
}

#[test]
fn those_that_come_with_the_program_are_listed_shown_and_fine() {
    let list = scenario(&["ls", "-o", "json"]);
    let rows: Value = serde_json::from_slice(&list.stdout).expect("a list");
    let names: Vec<&str> = rows.as_array().expect("rows").iter().filter_map(|row| row["name"].as_str()).collect();
    assert!(names.len() >= 10 && names.contains(&"rack-power-loss"), "{names:?}");
    for name in names {
        assert!(scenario(&["check", name]).status.success(), "{name}");
        assert!(text(&scenario(&["show", name])).contains("[[assert]]"), "{name}");
    }
}
