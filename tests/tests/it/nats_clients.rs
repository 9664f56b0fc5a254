//! What a client that shares no code with us sees: nats-py does what the `nats` commands of docs/protocol.md do. Skipped, and it says so, where
//! there is no Python or no way to nats-py.

use std::collections::BTreeSet;

use faultline_tests::cluster::program;
use faultline_tests::python::{Script, command, interpreter};
use faultline_tests::up::{Up, text};
use serde_json::Value;

#[tokio::test]
async fn the_services_api_finds_every_process_and_its_answers_keep_to_the_schemas() {
    let Some(python) = interpreter() else { return };
    let up = Up::start(2, &[]).await;
    let (url, executor_key, admin_key) = (up.url(), up.nkey("executor"), up.nkey("admin"));
    let args = ["--url", &url, "--nkey", executor_key.to_str().unwrap(), "--instance", "alpha"];
    let executor = Script::start(&python, "services/worker/examples/python/executor.py", &args);
    up.wait_until("the executor answers", async || executor.says("answers exec.greet")).await;
    let submitted = up.faultline(&["submit", "--kind", "service:greet", "--count", "3", "--wait"]);
    assert!(submitted.status.success(), "{}", text(&submitted));

    let asked = command(&python, "tests/python/services_api.py").arg(&url).arg(&admin_key).output().unwrap();
    assert!(asked.status.success(), "{}", text(&asked));
    let infos: Vec<Value> = serde_json::from_slice(&asked.stdout).unwrap();
    let heard =
        |info: &Value| (info["metadata"]["instance"].as_str().map(str::to_owned), info["metadata"]["pid"].as_str().map(str::to_owned));
    let ours: BTreeSet<_> = infos.iter().filter(|info| info["name"].as_str().unwrap().starts_with("faultline-")).map(heard).collect();
    let status = up.json(&["status"]).unwrap();
    let started = |service: &Value| (service["name"].as_str().map(str::to_owned), service["pid"].as_u64().map(|pid| pid.to_string()));
    let expected: BTreeSet<_> =
        status["services"].as_array().unwrap().iter().filter(|service| service["name"] != "nats").map(started).collect();
    assert_eq!(ours, expected);
    assert_eq!(expected.len(), 5, "two workers, two schedulers, a detector: {status:#}");

    let python_service = infos.iter().find(|info| info["name"] == "python-executor").expect("the executor is found too");
    assert_eq!(python_service["metadata"]["instance"], "alpha");
    let subjects: Vec<&Value> = python_service["endpoints"].as_array().unwrap().iter().map(|endpoint| &endpoint["subject"]).collect();
    assert_eq!(subjects, ["exec.greet", "exec.divide"]);
    assert_eq!(python_service["stats"]["endpoints"][0]["num_requests"], 3);
}

#[tokio::test]
async fn the_nats_commands_of_the_docs_show_json() {
    let Some(python) = interpreter() else { return };
    let up = Up::start(2, &[]).await;
    let rate = up.faultline(&["rate", "set", "12.5"]);
    assert_eq!(rate.status.code(), Some(1), "{}", text(&rate));
    assert!(text(&rate).contains("no generator answered") && text(&rate).contains("the rate is stored"), "{}", text(&rate));
    let (url, nkey, faultline) = (up.url(), up.nkey("admin"), program("faultline"));
    let args = [url.as_str(), nkey.to_str().unwrap(), faultline.to_str().unwrap()];
    let mut script = Script::start(&python, "tests/python/nats_commands.py", &args);
    up.wait_until("it listens", async || script.says("listening")).await;
    for more in [
        &["--kind", "sleep", "--duration", "100ms", "--count", "20"][..],
        &["--kind", "fault", "--param", "fail_odds=1", "--max-retries", "0"],
    ] {
        let submitted = up.faultline(&[&["submit"], more].concat());
        assert!(submitted.status.success(), "{}", text(&submitted));
    }
    assert_eq!(script.wait(), Some(0), "{}", script.log());
    let log = script.log();
    let report: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(report["rate"]["jobs_per_minute"], 12.5, "{report:#}");
    assert_eq!(report["consumers"], serde_json::json!(["sched-high", "sched-low", "sched-normal", "sched-urgent"]), "{report:#}");
    let records = ["DEAD", "EVENTS", "KV_CONTROL", "KV_HEALTH", "KV_LEDGER", "KV_NODES", "RESULTS"];
    assert_eq!(report["streams"], serde_json::json!(records), "the lists are those of one account: {report:#}");
    assert_eq!(report["queue"], "JOBS", "the others are there by name: {report:#}");
}
