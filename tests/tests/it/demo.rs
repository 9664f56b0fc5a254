//! `faultline demo --headless`, for real, with few nodes and short scenes: a rack, the leader, and NATS die, and the books balance.

use std::process::Command;

use faultline_tests::cluster::program;
use faultline_tests::up::text;
use serde_json::Value;

#[test]
fn a_rack_the_leader_and_nats_die_and_no_job_is_lost() {
    let mut demo = Command::new(program("faultline"));
    // A cluster that runs elsewhere must not be touched: if it were asked for, there is none.
    demo.env("FAULTLINE_NATS_URL", "nats://127.0.0.1:1").env("NO_COLOR", "1");
    let run = demo.args(["demo", "--headless", "--nodes", "8", "--scene", "2s", "-o", "json"]).output().expect("faultline starts");
    assert!(run.status.success(), "{}", text(&run));
    let report: Value = serde_json::from_slice(&run.stdout).expect("a report");
    let killed: Vec<&str> = report["killed"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let kinds: Vec<&str> = killed.iter().map(|name| name.split('-').next().unwrap_or(name)).collect();
    assert_eq!(kinds, ["worker", "scheduler", "nats"], "{report:#}");
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{report:#}"));
    // A rack that runs jobs was chosen, and each of its jobs has moved.
    assert!(number(&report["incidents"]) >= 3 && number(&report["jobs_interrupted"]) >= 1, "{report:#}");
    assert_eq!(report["jobs_moved"], report["jobs_interrupted"], "{report:#}");
    assert_eq!((&report["recovered"], &report["audit"]["ok"]), (&Value::from(true), &Value::from(true)), "{report:#}");
    assert!(number(&report["audit"]["committed"]) >= 1, "{report:#}");
    // What was shown while it went: each scene, and what became of the jobs.
    let said = String::from_utf8_lossy(&run.stderr);
    for words in ["1 of 4  8 nodes run ", "2 of 4  rack-", "3 of 4  The leading scheduler dies", "4 of 4  NATS dies", "moved, 0 lost"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}
