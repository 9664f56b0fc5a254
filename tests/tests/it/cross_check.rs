//! `faultline lab cross-check`, for real: live and virtual have the same jobs, attempts, books, and order of placements. How long things take depends on
//! the machine that runs the tests, so the figures of time are printed here and judged by the command alone.

use std::process::{Command, Output};

use faultline_tests::cluster::program;
use faultline_tests::up::text;
use serde_json::Value;

/// Submissions, ends, and faults are far apart, so that a slow machine changes no order.
const SHORT: &str = r#"
title = "three workers, one of which is killed"

[cluster]
workers = 3
policy = "best-fit"

[[workload.job]]
at = "0 s"
duration = "9 s"
gpus = 8

[[workload.job]]
at = "500 ms"
duration = "4 s"
gpus = 4

[[workload.job]]
at = "1 s"
duration = "5 s"
gpus = 8

[[workload.job]]
at = "1500 ms"
duration = "6 s"
gpus = 8

[[workload.job]]
at = "2 s"
duration = "2500 ms"
gpus = 0.5

[[workload.job]]
at = "2500 ms"
duration = "3 s"
gpus = 8

[[faults.kill]]
worker = 2
at = "3500 ms"
down = "2 s"

[run]
seeds = "7"
"#;

fn cross_check(args: &[&str]) -> Output {
    let mut command = Command::new(program("faultline"));
    command.args(["lab", "cross-check"]).args(args).env("FAULTLINE_NATS_URL", "nats://127.0.0.1:1").env("NO_COLOR", "1");
    command.output().expect("faultline starts")
}

fn scenario(change: impl Fn(&str) -> String) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("short.toml");
    std::fs::write(&file, change(SHORT)).expect("a file");
    let name = file.display().to_string();
    (folder, name)
}

#[test]
fn live_and_virtual_have_the_same_jobs_attempts_books_and_placements() {
    let (_folder, file) = scenario(str::to_owned);
    let run = cross_check(&[&file, "-o", "json"]);
    let report: Value = serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&run)));
    let rows = report["rows"].as_array().expect("rows");
    for row in rows {
        println!("{}: live {}, virtual {}, {}", row["figure"], row["live"], row["virtual"], row["verdict"]);
    }
    for (figure, count) in [
        ("placements without faults, in order", 6.0),
        ("jobs committed", 6.0),
        ("attempts of jobs without faults", 0.0),
        ("held when all has ended", 0.0),
    ] {
        let row = rows.iter().find(|row| row["figure"] == figure).unwrap_or_else(|| panic!("{figure}: {report}"));
        assert_eq!(row["verdict"], "agrees", "{row}");
        assert_eq!(row["live"], row["virtual"], "{row}");
        assert!(row["live"].as_f64() >= Some(count), "{row}");
    }
    let interrupted: Vec<u64> = report["runs"].as_array().expect("runs").iter().filter_map(|run| run["interrupted"].as_u64()).collect();
    assert!(interrupted.len() == 2 && interrupted[0] == 0 && interrupted[1] > 0, "{report}");
    // The exit code is that of all figures, those of time among them.
    let expected = if report["agrees"] == true { 0 } else { 5 };
    assert_eq!(run.status.code(), Some(expected), "{}", text(&run));
}

#[test]
fn a_lab_that_is_told_a_wrong_delay_is_found_out() {
    let (_folder, file) = scenario(|text| format!("{text}\n[virtual]\ndetection = \"5 s\"\n"));
    let run = cross_check(&[&file, "-o", "json"]);
    assert_eq!(run.status.code(), Some(5), "{}", text(&run));
    let report: Value = serde_json::from_slice(&run.stdout).expect("a report");
    let detection =
        report["rows"].as_array().expect("rows").iter().find(|row| row["unit"] == "s" && row["tolerance"] == 0.3).expect("a row");
    assert_eq!(detection["verdict"], "differs", "{report}");
}

#[test]
fn a_bad_scenario_is_refused_before_anything_starts() {
    let (_folder, file) = scenario(|text| text.replacen("worker = 2", "worker = 4", 1));
    let run = cross_check(&[&file]);
    assert!(
        run.status.code() == Some(2) && text(&run).contains("line 39: faults.kill.0.worker: 4 is out of range: write 1 to 3"),
        "{}",
        text(&run)
    );
    assert_eq!(cross_check(&["no-such-file.toml"]).status.code(), Some(2));
    assert!(text(&cross_check(&["--show"])).contains("[faults.kills]"));
}
