//! `faultline chaos`, with the real processes: what it breaks is really broken, what it says is measured, and all is put right again.

use std::process::Stdio;

use faultline_tests::proc;
use faultline_tests::up::{Up, text};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Twenty jobs that keep the workers busy for a while.
fn give_work(up: &Up, duration: &str, count: &str) {
    let submitted = up.faultline(&["submit", "--kind", "sleep", "--duration", duration, "--count", count]);
    assert!(submitted.status.success(), "{}", text(&submitted));
}

fn links_are_clean(up: &Up) -> bool {
    let links = up.json(&["link"]).unwrap_or_default();
    let rows = links.as_array().map_or(&[][..], Vec::as_slice);
    !rows.is_empty() && rows.iter().all(|link| link["conditions"]["state"] == "open")
}

#[tokio::test]
async fn a_killed_worker_passes_its_hypothesis_and_a_wrong_one_fails_with_exit_code_5() {
    let up = Up::start(3, &[]).await;
    give_work(&up, "4s", "40");
    let hypothesis = "lost=0,duplicates=0,attempts_lost>=1,unrecovered=0,faults_unnoticed=0,recovery_max<30s";
    let run =
        up.faultline(&["chaos", "run", "kill-busy-worker", "--for", "3s", "--before", "1s", "--hypothesis", hypothesis, "-o", "json"]);
    assert!(run.status.success(), "{}\n{}", text(&run), up.log_tail());
    let report: Value = serde_json::from_slice(&run.stdout).expect("a report");
    assert_eq!((&report["outcome"], report["measured"]["faults"].as_u64()), (&Value::from("passed"), Some(1)), "{report}");
    let target = report["targets"][0].as_str().expect("a target").to_owned();
    assert!(up.service(&target).is_some_and(|service| service["restarts"] == 1 && service["state"] == "running"));
    assert!(report["measured"]["detection"]["count"] == 1 && report["measured"]["recovery"]["count"].as_u64() >= Some(1), "{report}");
    assert_eq!(report["clauses"].as_array().map(Vec::len), Some(6));

    // The same deed, and a claim that cannot hold.
    give_work(&up, "4s", "40");
    let run = up.faultline(&["chaos", "run", "kill-busy-worker", "--for", "1s", "--before", "0s", "--hypothesis", "committed>=100000"]);
    assert_eq!(run.status.code(), Some(5), "{}", text(&run));
    assert!(text(&run).contains("FAILED") && text(&run).contains("committed>=100000"), "{}", text(&run));
    let list = up.json(&["chaos", "ls"]).expect("a list");
    let outcomes: Vec<&str> = list["runs"].as_array().expect("runs").iter().filter_map(|run| run["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["failed", "passed"], "the newest first");
    up.assert_audit_clean();
}

#[tokio::test]
async fn an_abort_thaws_the_frozen_and_heals_the_cut() {
    let up = Up::start(2, &[]).await;
    for kind in ["freeze", "partition"] {
        let run = up
            .command(&["chaos", "run", kind, "--target", "worker-01", "--for", "5m", "--before", "0s", "-o", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("faultline starts");
        match kind {
            "freeze" => up.wait_until("the worker is frozen", async || up.process_state("worker-01") == Some('T')).await,
            _ => up.wait_until("the link is cut", async || !links_are_clean(&up)).await,
        }
        let second = up.faultline(&["chaos", "run", "freeze"]);
        assert!(second.status.code() == Some(1) && text(&second).contains("chaos abort"), "one at a time: {}", text(&second));
        let aborted = up.faultline(&["chaos", "abort"]);
        assert!(aborted.status.success(), "{}", text(&aborted));
        let run = run.wait_with_output().expect("it can be waited for");
        let report: Value = serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&run)));
        assert_eq!((run.status.code(), &report["outcome"]), (Some(1), &Value::from("aborted")), "{report}");
        assert!(up.process_state("worker-01").is_some_and(|state| state != 'T'));
        assert!(links_are_clean(&up));
    }
    assert_eq!(up.faultline(&["chaos", "abort"]).status.code(), Some(4), "nothing runs any more");
}

#[tokio::test]
async fn an_abort_arrives_while_nats_is_what_is_broken() {
    let up = Up::start(1, &[]).await;
    let is_down = async || up.service("nats").is_none_or(|nats| nats["state"] != "running");
    for by_interrupt in [false, true] {
        let run = up
            .command(&["chaos", "run", "kill-nats", "--for", "5m", "--before", "0s", "-o", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("faultline starts");
        up.wait_until("NATS is down", is_down).await;
        if by_interrupt {
            kill_process(Pid::from_child(&run), Signal::INT).expect("it runs");
        } else {
            let aborted = up.faultline(&["chaos", "abort"]);
            assert!(aborted.status.success(), "{}", text(&aborted));
        }
        let run = run.wait_with_output().expect("it can be waited for");
        let report: Value = serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&run)));
        assert_eq!((run.status.code(), &report["outcome"]), (Some(1), &Value::from("aborted")), "{report}");
        up.wait_until("NATS is back", async || !is_down().await).await;
    }
    up.assert_audit_clean();
}

#[tokio::test]
async fn what_makes_no_sense_breaks_nothing() {
    let up = Up::start(1, &[]).await;
    for (args, code, words) in [
        (&["chaos", "run", "melt"][..], 2, "kill-busy-worker"),
        (&["chaos", "run", "gpu-error", "12"], 2, "xid: nodes know 13, 31, 48, 74, 79, 94, 95, not 12"),
        (&["chaos", "run", "freeze", "--seed", "9223372036854775808"], 2, "0 to 9223372036854775807"),
        (&["scenario", "run", "zombie", "--seed", "9223372036854775808"], 2, "0 to 9223372036854775807"),
        (&["up", "--seed", "9223372036854775808"], 2, "0 to 9223372036854775807"),
        (&["up", "--fault-time-scale", "0", "--faults", "calibrated"], 2, "--fault-time-scale must be above 0"),
        (&["chaos", "run", "freeze", "--hypothesis", "lots=0"], 2, "unknown metric `lots`"),
        (&["chaos", "run", "kill-percent", "--percent", "200"], 2, "percent"),
        (&["chaos", "run", "kill-service"], 2, "scheduler-1"),
        (&["chaos", "run", "kill-service", "nobody", "--before", "0s"], 1, "unknown process nobody"),
        (&["chaos", "run", "kill-busy-worker", "--before", "0s"], 1, "no worker runs a job now"),
    ] {
        let run = up.faultline(args);
        assert!(run.status.code() == Some(code) && text(&run).contains(words), "{args:?}: {:?} {}", run.status.code(), text(&run));
    }
    let restarts = |name: &str| up.service(name).map(|service| service["restarts"].clone());
    assert_eq!((restarts("worker-01"), restarts("nats")), (Some(0.into()), Some(0.into())));
}

/// What neither kills nor cuts anything off: no node is given up for it, and what it hits is in the history.
#[tokio::test]
async fn slow_nodes_slow_links_hangs_and_gpu_errors_are_survived_and_measured() {
    let up = Up::start(2, &[]).await;
    give_work(&up, "12s", "20");
    let running = || {
        up.json(&["nodes"])
            .map_or(0, |nodes| nodes.as_array().into_iter().flatten().filter_map(|node| node["running"].as_array()).flatten().count())
    };
    up.wait_until("all of it runs", async || running() == 20).await;
    for (args, truth) in [
        (&["gpu-error", "48"][..], "xid_48"),
        (&["slow", "--factor", "3"], "slow"),
        (&["hang"], "hang"),
        (&["slow-link", "--target", "worker-02"], "link_degraded"),
    ] {
        let flags = ["--for", "1s", "--before", "0s", "--hypothesis", "lost=0,duplicates=0,unrecovered=0,faults=1", "-o", "json"];
        let run = up.faultline(&[&["chaos", "run"][..], args, &flags[..]].concat());
        assert!(run.status.success(), "{args:?}: {}\n{}", text(&run), up.log_tail());
        let report: Value = serde_json::from_slice(&run.stdout).expect("a report");
        let measured = &report["measured"];
        if truth == "xid_48" {
            // A GPU is reported by its own worker: jobs continue at once, without a verdict on the node.
            assert!(measured["attempts_lost"].as_u64() > Some(0) && measured["faults_unnoticed"] == 0, "{report}");
        } else {
            assert_eq!(measured["attempts_lost"], 0, "{args:?}: {report}");
        }
        let target = &report["targets"][0];
        let of_this = |event: &&Value| event["fault"]["kind"] == truth && event["fault"]["target"] == *target;
        up.wait_until("its end is in the history", async || up.events(&["fault_ended"]).iter().any(|event| of_this(&event))).await;
        let began = up.events(&["fault_began"]);
        assert_eq!(began.iter().filter(of_this).count(), 1, "{args:?}: {began:?}");
    }
    up.assert_audit_clean();
}

#[tokio::test]
async fn a_frozen_process_does_not_outlive_a_kill_9_of_up() {
    let mut up = Up::start(2, &[]).await;
    assert!(up.faultline(&["kill", "scheduler-1", "--signal", "stop"]).status.success());
    let run =
        up.command(&["chaos", "run", "freeze", "--target", "worker-01", "--for", "5m", "--before", "0s"]).stderr(Stdio::null()).spawn();
    let mut run = run.expect("faultline starts");
    for name in ["scheduler-1", "worker-01"] {
        up.wait_until("it is frozen", async || up.process_state(name) == Some('T')).await;
    }
    let pids = up.pids();
    assert!(pids.len() >= 5, "{pids:?}");
    up.signal(Signal::KILL).await;
    let lives = |pid: u64| proc::state(pid).is_some_and(|state| state != 'Z');
    up.wait_until("all are gone", async || pids.iter().all(|(_, pid)| !lives(*pid))).await;
    // No process answers it any more, which it would believe after a minute.
    let _ = run.kill();
    let _ = run.wait();
}

#[tokio::test]
async fn nothing_outlives_a_kill_9_of_every_process_that_status_names() {
    let mut up = Up::start(2, &[]).await;
    let named = up.pids();
    let unnamed: Vec<u64> = named.iter().flat_map(|(_, pid)| proc::children(*pid)).collect();
    assert!(!unnamed.is_empty(), "nats-server is a child of its guard");
    up.signal(Signal::KILL).await;
    for (_, pid) in &named {
        // Those that noticed by themselves are gone already.
        let _ = kill_process(Pid::from_raw(*pid as i32).expect("a process"), Signal::KILL);
    }
    let lives = |pid: &u64| proc::state(*pid).is_some_and(|state| state != 'Z');
    up.wait_until("all are gone", async || !named.iter().map(|(_, pid)| pid).chain(&unnamed).any(lives)).await;
    up.start_again().await;
}

#[tokio::test]
async fn up_that_is_told_to_stop_ends_the_experiment_first() {
    let mut up = Up::start(2, &[]).await;
    assert!(up.faultline(&["link", "worker-02", "delay", "10ms"]).status.success());
    let run = up
        .command(&["chaos", "run", "freeze", "--target", "worker-01", "--for", "5m", "--before", "0s", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("faultline starts");
    up.wait_until("the worker is frozen", async || up.process_state("worker-01") == Some('T')).await;
    let status = up.signal(Signal::INT).await;
    assert!(status.success(), "{status}: {}", up.log_tail());
    let run = run.wait_with_output().expect("it can be waited for");
    let report: Value = serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&run)));
    assert_eq!((run.status.code(), &report["outcome"]), (Some(1), &Value::from("aborted")), "{report}");
    assert!(report["reason"].as_str().is_some_and(|reason| reason.contains("`faultline up` was stopped")), "{report}");
    assert!(up.log().contains("the experiment has ended"), "{}", up.log_tail());

    up.start_again().await;
    let mut ended: Vec<_> = up.events(&["fault_ended"]).into_iter().map(|event| event["fault"]["kind"].clone()).collect();
    ended.sort_by_key(ToString::to_string);
    assert_eq!(ended, ["freeze", "link_delay"]);
}
