//! A placement policy that is a user's program: the example of docs/policies.md behind a live scheduler, under the NATS user `policy`, and programs that do
//! what none should. The ones in Python are skipped, and say so, where there is no Python or no way to nats-py.

use std::path::Path;

use async_nats::{Client, ConnectOptions};
use faultline_client::Leader;
use faultline_protocol::subjects;
use faultline_runtime::config::Common;
use faultline_runtime::connect::connect_once;
use faultline_tests::python::{Script, interpreter};
use faultline_tests::up::Up;
use futures::StreamExt as _;
use serde_json::Value;

const SERVE: &str = "services/worker/examples/python/serve_policy.py";
const FLAGS: &[&str] = &["--policy", "service:mine"];

fn serve(up: &Up, python: &Path) -> Script {
    let (url, nkey) = (up.url(), up.nkey("policy"));
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/emptiest_node.py");
    let args = ["--url", &url, "--nkey", nkey.to_str().unwrap(), "--name", "mine", python.to_str().unwrap(), example.to_str().unwrap()];
    Script::start(python, SERVE, &args)
}

/// What the leader says of the cluster; nothing while there is no leader.
async fn stats(up: &Up) -> Value {
    let common = Common { nats_url: up.url(), nkey_file: Some(up.nkey("cli")), ..Common::default() };
    let nats = connect_once(&common, "cli", "test").await.expect("the server answers");
    serde_json::to_value(Leader::of(&nats).stats().await.ok()).expect("it is JSON")
}

async fn standing(up: &Up) -> Value {
    stats(up).await["policy_program"].clone()
}

async fn until_state(up: &Up, state: &str) -> Value {
    let mut seen = Value::Null;
    up.wait_until(&format!("the program is `{state}`"), async || {
        seen = standing(up).await;
        seen["state"] == state
    })
    .await;
    seen
}

fn run_jobs(up: &Up, count: &str) -> Vec<Value> {
    let report = up.json(&["submit", "--kind", "sleep", "--duration", "50ms", "--gpus", "1", "--count", count, "--wait"]);
    let report = report.unwrap_or_else(|| panic!("the jobs run\n{}", up.log_tail()));
    report["jobs"].as_array().unwrap().iter().map(|job| up.json(&["explain", job["id"].as_str().unwrap()]).unwrap()).collect()
}

fn policies(jobs: &[Value]) -> Vec<&str> {
    jobs.iter().map(|job| job["attempt"]["choice"]["policy"].as_str().unwrap_or_else(|| panic!("{job:#}"))).collect()
}

#[tokio::test]
async fn the_example_decides_live_and_what_it_does_not_decide_the_built_in_policy_does() {
    let Some(python) = interpreter() else { return };
    let up = Up::start(2, FLAGS).await;
    let silent = until_state(&up, "silent").await;
    assert_eq!(silent["why"], "no program listens on policy.mine", "{silent:#}");
    assert!(policies(&run_jobs(&up, "4")).iter().all(|policy| *policy == "least-loaded"));

    let mut script = serve(&up, &python);
    until_state(&up, "decides").await;
    let jobs = run_jobs(&up, "20");
    assert!(policies(&jobs).iter().all(|policy| *policy == "service:mine"), "{jobs:#?}\n{}", script.log());
    let why = jobs[0]["attempt"]["choice"].clone();
    assert_eq!((why["fitting"].as_u64(), why["nodes"].as_u64()), (Some(2), Some(2)), "{why:#}");
    let doctor = String::from_utf8_lossy(&up.faultline(&["doctor"]).stdout).into_owned();
    assert!(doctor.contains("service:mine decides"), "{doctor}");

    // A new program knows nothing of the nodes: it is told, and the work goes on.
    script.kill9();
    let mut script = serve(&up, &python);
    up.wait_until("the new one answers", async || script.says("answers policy.mine")).await;
    until_state(&up, "decides").await;
    run_jobs(&up, "4");
    // A new leader greets it anew.
    let before = standing(&up).await["requests"].as_u64().unwrap();
    let killed = up.faultline(&["kill", stats(&up).await["leader"].as_str().unwrap()]);
    assert!(killed.status.success(), "{}", String::from_utf8_lossy(&killed.stderr));
    up.wait_until("a new leader asks it", async || standing(&up).await["requests"].as_u64().is_some_and(|requests| requests < before))
        .await;
    until_state(&up, "decides").await;
    assert!(policies(&run_jobs(&up, "4")).iter().all(|policy| *policy == "service:mine"), "{}", script.log());

    // It hangs: jobs do not wait for it.
    script.kill9();
    assert!(policies(&run_jobs(&up, "4")).iter().all(|policy| *policy == "least-loaded"));
    let events = up.events(&["policy_failed"]);
    let details: Vec<&str> = events.iter().filter_map(|event| event["detail"].as_str()).collect();
    assert!(details.iter().any(|detail| detail.contains("least-loaded decides")), "{details:?}");
}

async fn connect(up: &Up) -> Client {
    let seed = std::fs::read_to_string(up.nkey("policy")).expect("the user has a key");
    let options = ConnectOptions::with_nkey(seed.trim().to_owned()).custom_inbox_prefix(subjects::inbox_prefix("policy"));
    options.connect(up.url()).await.expect("the user may connect")
}

#[tokio::test]
async fn a_program_that_answers_nonsense_costs_time_and_no_job() {
    let up = Up::start(2, FLAGS).await;
    let client = connect(&up).await;
    let mut requests = client.subscribe("policy.*").await.expect("it may listen");
    client.flush().await.expect("the server answers");
    let nonsense = tokio::spawn(async move {
        let answers = [
            "",
            "nonsense",
            "{\"id\": 1, \"node\": 4000000000}",
            "{\"type\": \"unknown_world\"}",
            "{\"id\": 0, \"node\": 0, \"gpus\": [0, 0, 99]}",
        ];
        let large = "x".repeat(100_000);
        for answer in answers.iter().chain([&large.as_str()]).cycle() {
            let Some(request) = requests.next().await else { return };
            if let Some(reply) = request.reply {
                client.publish(reply, (*answer).to_owned().into()).await.expect("it may answer");
            }
        }
    });
    for _ in 0..6 {
        let jobs = run_jobs(&up, "10");
        assert!(jobs.iter().all(|job| job["state"] == "committed"), "{jobs:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    }
    let standing = standing(&up).await;
    assert!(standing["failures"].as_u64().unwrap() > 1, "{standing:#}");
    up.assert_audit_clean();
    nonsense.abort();
}
