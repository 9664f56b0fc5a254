//! What a person does to a running cluster: it happens at once, is told as it happened, and leaves a trace in the history that names who did it.

use faultline_tests::proc;
use faultline_tests::rest::rest;
use faultline_tests::up::{Up, text};
use serde_json::Value;

fn lives(pid: u64) -> bool {
    proc::state(pid).is_some_and(|state| state != 'Z')
}

/// The faults of a process in the history, as they began and as they ended.
fn faults(up: &Up, kind: &str, target: &str) -> (Vec<Value>, Vec<Value>) {
    let of = |event: &str| {
        let is_wanted = |event: &Value| event["fault"]["kind"] == kind && event["fault"]["target"] == target;
        up.events(&[event]).into_iter().filter(is_wanted).collect()
    };
    (of("fault_began"), of("fault_ended"))
}

/// Submits one long job and gives its id and the node that it runs on.
async fn long_job(up: &Up) -> (String, String) {
    let submitted = up.json(&["submit", "--kind", "sleep", "--duration", "20s", "--timeout", "5m"]).expect("a job is taken");
    let id = submitted["jobs"][0]["id"].as_str().expect("an id").to_owned();
    let node = || up.json(&["job", &id]).and_then(|job| job["node"].as_str().map(str::to_owned));
    up.wait_until("the job runs", async || node().is_some()).await;
    let node = node().expect("it runs");
    (id, node)
}

#[tokio::test]
async fn a_kill_is_in_the_history_with_who_did_it_and_is_the_cause_of_what_broke_off() {
    let up = Up::start_all(3, &["--no-generator"]).await;
    let port = up.dashboard_port().await;
    let (job, node) = long_job(&up).await;
    let worker = node.replace("gpu-node-", "worker-");
    // Neither of these explains why the attempt broke off.
    assert!(up.faultline(&["fault", &node, "slow", "--for", "100ms"]).status.success());
    let bystander = if node == "gpu-node-01" { "gpu-node-02" } else { "gpu-node-01" };
    assert!(up.faultline(&["fault", bystander, "heartbeat-loss", "--for", "5s"]).status.success());

    let before = up.service(&worker).and_then(|service| service["pid"].as_u64()).expect("it runs");
    let killed = up.faultline(&["kill", &worker]);
    assert!(killed.status.success(), "{}", text(&killed));
    assert!(!lives(before), "what is told has happened");
    let said = text(&killed);
    assert!(said.contains(&format!("{worker} (process {before}) ended")) && said.contains("after SIGKILL"), "{said}");

    up.wait_until("the end is in the history", async || !faults(&up, "kill", &worker).1.is_empty()).await;
    let (began, ended) = faults(&up, "kill", &worker);
    assert_eq!((began.len(), ended.len()), (1, 1), "{began:?} {ended:?}");
    let headline = began[0]["detail"].as_str().expect("words").to_owned();
    assert!(headline.starts_with(&format!("{worker} killed (SIGKILL) by `faultline kill`, user ")), "{headline}");
    let end = ended[0]["detail"].as_str().expect("words");
    assert!(end.starts_with(&format!("{headline}; back after ")), "{end}");
    assert!(ended[0]["fault"]["until_ms"].as_u64() > ended[0]["fault"]["from_ms"].as_u64(), "{ended:?}");

    let losses = || rest(port, "GET", &format!("jobs/{job}"), "").1["losses"].as_array().cloned().unwrap_or_default();
    up.wait_until("the page knows the cause", async || losses().iter().any(|loss| loss["cause"]["kind"] == "kill")).await;
    let losses = losses();
    assert_eq!(losses.len(), 1, "{losses:?}");
    let cause = &losses[0]["cause"];
    assert_eq!((cause["headline"].as_str(), &cause["target"]), (Some(headline.as_str()), &Value::from(worker.as_str())), "{cause}");
    assert!(cause["noticed_after_ms"].as_u64() < Some(10_000), "{cause}");
    let told = text(&up.faultline(&["job", &job]));
    assert!(told.contains(&headline), "{told}");
    let bars = rest(port, "GET", "timeline", "").1["bars"].as_array().cloned().unwrap_or_default();
    let causes: Vec<&Value> = bars.iter().filter(|bar| !bar["cause"].is_null()).map(|bar| &bar["cause"]["kind"]).collect();
    assert_eq!(causes, ["kill"], "{bars:?}");
}

#[tokio::test]
async fn the_pages_kill_kills_now_also_while_an_experiment_runs_and_again_at_once() {
    let up = Up::start_all(3, &["--no-generator"]).await;
    let port = up.dashboard_port().await;
    let order = r#"{"kind":"freeze","target":"worker-03","for_ms":60000,"before_ms":0}"#;
    assert_eq!(rest(port, "POST", "chaos/run", order).0, 202);
    up.wait_until("the experiment froze its target", async || up.process_state("worker-03") == Some('T')).await;
    for number in ["01", "02"] {
        let before = up.service(&format!("worker-{number}")).and_then(|service| service["pid"].as_u64()).expect("it runs");
        let (status, answer) = rest(port, "POST", &format!("nodes/gpu-node-{number}/kill"), "");
        assert_eq!((status, answer["pid"].as_u64()), (200, Some(before)), "{answer}");
        assert!(!lives(before) && answer["ended_after_ms"].is_u64(), "{answer}");
        assert_eq!((&answer["nodes"], answer["back"]["pid"].is_u64()), (&Value::from(1), true), "{answer}");
    }
    let by = |event: &Value| event["fault"]["by"].as_str().unwrap_or_default().to_owned();
    up.wait_until("both ends are in the history", async || {
        ["worker-01", "worker-02"].iter().all(|worker| !faults(&up, "kill", worker).1.is_empty())
    })
    .await;
    assert_eq!(by(&faults(&up, "kill", "worker-01").0[0]), "the dashboard");
    assert!(by(&faults(&up, "freeze", "worker-03").0[0]).starts_with("experiment "));
    assert_eq!(rest(port, "POST", "nodes/gpu-node-77/kill", "").0, 404);
    assert!(up.faultline(&["chaos", "abort"]).status.success());
}

#[tokio::test]
async fn a_crash_from_the_page_is_told_in_the_words_of_the_worker() {
    let up = Up::start_all(1, &["--no-generator"]).await;
    let port = up.dashboard_port().await;
    let (status, answer) = rest(port, "POST", "nodes/gpu-node-01/fault", r#"{"kind":"crash","for_ms":500}"#);
    let outcome = answer["outcome"].as_str().unwrap_or_default();
    assert!(status == 202 && outcome.starts_with("crash for 500 ms") && outcome.ends_with("ordered by the dashboard"), "{answer}");
}

#[tokio::test]
async fn signals_nats_and_scaling_leave_a_trace_too() {
    let up = Up::start(2, &[]).await;
    let pid = up.service("nats").and_then(|service| service["pid"].as_u64()).expect("it runs");
    let killed = up.faultline(&["kill", "nats"]);
    assert!(killed.status.success() && !lives(pid), "{}", text(&killed));
    up.wait_until("the history has it once NATS is back", async || !faults(&up, "kill", "nats").1.is_empty()).await;
    let (began, ended) = faults(&up, "kill", "nats");
    assert_eq!((began.len(), ended.len()), (1, 1), "{began:?} {ended:?}");

    let frozen = up.faultline(&["kill", "worker-02", "--signal", "stop"]);
    assert!(frozen.status.success() && up.process_state("worker-02") == Some('T'), "{}", text(&frozen));
    let again = up.faultline(&["kill", "worker-02", "--signal", "stop"]);
    assert!(again.status.code() == Some(1) && text(&again).contains("is frozen already"), "{}", text(&again));
    assert!(up.faultline(&["kill", "worker-02", "--signal", "cont"]).status.success());
    up.wait_until("the freeze is over in the history", async || !faults(&up, "freeze", "worker-02").1.is_empty()).await;
    let end = faults(&up, "freeze", "worker-02").1[0]["detail"].as_str().unwrap_or_default().to_owned();
    assert!(end.contains("frozen (SIGSTOP) by `faultline kill`, user ") && end.contains("it goes on after "), "{end}");

    assert!(up.faultline(&["scale", "workers", "3"]).status.success());
    up.wait_until("the scaling is in the history", async || !up.events(&["workers_scaled"]).is_empty()).await;
    let scaled = up.events(&["workers_scaled"])[0]["detail"].as_str().unwrap_or_default().to_owned();
    assert!(scaled.starts_with("scaling from 2 to 3 workers, by `faultline scale`, user "), "{scaled}");

    assert!(up.faultline(&["drain", "gpu-node-01", "--reason", "new fans"]).status.success());
    let drained = || up.events(&["node_drained"]).first().and_then(|event| event["detail"].as_str().map(str::to_owned));
    up.wait_until("the drain is in the history", async || drained().is_some()).await;
    let words = drained().unwrap_or_default();
    assert!(words.contains("new fans, by `faultline drain`, user "), "{words}");

    let unknown = up.faultline(&["kill", "worker-77"]);
    assert!(unknown.status.code() == Some(4) && text(&unknown).contains("worker-01"), "{}", text(&unknown));
}

#[tokio::test]
async fn an_experiment_runs_although_something_else_is_down() {
    let up = Up::start(3, &[]).await;
    assert!(up.faultline(&["fault", "gpu-node-03", "crash", "--for", "5m"]).status.success());
    let health = |node: &str| up.json(&["node", node]).and_then(|node| node["health"].as_str().map(str::to_owned)).unwrap_or_default();
    up.wait_until("the crashed node is dead", async || health("gpu-node-03") == "dead").await;
    let hypothesis = "lost=0,duplicates=0,faults=1,faults_unnoticed=0,false_verdicts=0";
    // Longer than the 2.3 s of silence after which a node is suspect.
    let args = ["chaos", "run", "crash", "--for", "5s", "--before", "0s", "--hypothesis", hypothesis, "-o", "json"];
    let run = up.faultline(&args);
    assert!(run.status.success(), "{}\n{}", text(&run), up.log_tail());
    let report: Value = serde_json::from_slice(&run.stdout).expect("a report");
    assert_ne!(report["targets"][0], "gpu-node-03", "what is broken already is not drawn");
    assert_eq!((&report["baseline"]["nodes_down"], &report["baseline"]["nodes_known"]), (&Value::from(1), &Value::from(3)), "{report}");
    assert!(report["whole_after_ms"].is_u64(), "{report}");

    let named = up.faultline(&["chaos", "run", "crash", "--target", "gpu-node-03", "--before", "0s"]);
    assert!(named.status.code() == Some(1) && text(&named).contains("gpu-node-03 is dead"), "{}", text(&named));
    let old_rule = up.faultline(&["chaos", "run", "crash", "--target", "gpu-node-01", "--before", "0s", "--wait-whole"]);
    assert!(old_rule.status.code() == Some(1) && text(&old_rule).contains("of 3 nodes"), "{}", text(&old_rule));
}
