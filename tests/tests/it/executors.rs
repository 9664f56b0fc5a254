//! `service:NAME` jobs: the Python example of `services/worker/examples/python` on a whole cluster, under the NATS user `executor`,
//! and an executor that does what none should. Skipped, and it says so, where there is no Python or no way to nats-py.

use std::path::Path;

use faultline_runtime::config::Common;
use faultline_runtime::connect::connect_once;
use faultline_tests::python::{Script, interpreter};
use faultline_tests::up::Up;
use serde_json::Value;

/// An executor that is silent for so long counts as dead; short, so that the test is.
const CONFIG: &str = "[worker]\nservice_silence_ms = 2000\nretry_base_ms = 100\n";

async fn cluster() -> Up {
    Up::start_configured(2, &[], CONFIG).await
}

async fn executor(up: &Up, python: &Path, instance: &str) -> Script {
    let (url, nkey) = (up.url(), up.nkey("executor"));
    let args = ["--url", &url, "--nkey", nkey.to_str().unwrap(), "--instance", instance];
    let script = Script::start(python, "services/worker/examples/python/executor.py", &args);
    up.wait_until("the executor answers", async || script.says("answers exec.greet")).await;
    script
}

async fn odd_executor(up: &Up, python: &Path) -> Script {
    let (url, nkey) = (up.url(), up.nkey("executor"));
    let script = Script::start(python, "tests/python/odd_executor.py", &[&url, nkey.to_str().unwrap()]);
    up.wait_until("the odd executor answers", async || script.says("ready")).await;
    script
}

fn submit(up: &Up, kind: &str, args: &[&str]) -> String {
    submit_with_retries(up, kind, "0", args)
}

fn submit_with_retries(up: &Up, kind: &str, retries: &str, args: &[&str]) -> String {
    let report = up.json(&[&["submit", "--kind", kind, "--max-retries", retries], args].concat()).expect("the job is taken");
    report["jobs"][0]["id"].as_str().expect("an id").to_owned()
}

fn job(up: &Up, id: &str) -> Value {
    up.json(&["job", id]).unwrap_or_default()
}

async fn ended(up: &Up, id: &str) -> Value {
    let mut view = Value::Null;
    up.wait_until(&format!("{id} ends"), async || {
        view = job(up, id);
        !view["ended_at_ms"].is_null()
    })
    .await;
    view
}

async fn dead_because(up: &Up, id: &str, words: &str) -> Value {
    let view = ended(up, id).await;
    assert_eq!(view["state"], "dead", "{view:#}");
    assert!(view["reason"].as_str().unwrap().contains(words), "`{words}` is not in {}\n{}", view["reason"], up.log_tail());
    view
}

#[tokio::test]
async fn python_runs_jobs_and_its_errors_cancellations_and_time_limits_are_those_of_any_other() {
    let Some(python) = interpreter() else { return };
    let up = cluster().await;
    let script = executor(&up, &python, "alpha").await;
    let greeted = submit(&up, "service:greet", &["--param", "name=Ada"]);
    let divided = submit(&up, "service:divide", &["--param", "a=1", "--param", "b=8"]);
    let raises = submit_with_retries(&up, "service:divide", "1", &["--param", "a=1", "--param", "b=0"]);
    let refused = submit_with_retries(&up, "service:greet", "3", &["--param", "seconds=-1"]);
    let endless = submit(&up, "service:greet", &["--param", "seconds=60"]);
    let late = submit(&up, "service:greet", &["--param", "seconds=60", "--timeout", "1s"]);

    let view = ended(&up, &greeted).await;
    assert_eq!((&view["state"], &view["result"]), (&"committed".into(), &"Hello, Ada! (alpha)".into()), "{view:#}");
    assert!(String::from_utf8_lossy(&up.faultline(&["job", &greeted]).stdout).contains("Hello, Ada! (alpha)"));
    assert_eq!(ended(&up, &divided).await["result"], r#"{"quotient":0.125}"#);
    let view = dead_because(&up, &raises, "ZeroDivisionError").await;
    assert_eq!((view["attempts"].as_array().unwrap().len(), &view["failures"]), (2, &2.into()), "{view:#}");
    let view = dead_because(&up, &refused, "must be a number that is not negative, not -1").await;
    assert_eq!(view["attempts"].as_array().unwrap().len(), 1, "a final error is not retried: {view:#}");

    up.wait_until("its progress is shown", async || job(&up, &endless)["progress_permille"].as_u64().is_some_and(|done| done > 0)).await;
    assert!(up.faultline(&["cancel", &endless]).status.success());
    up.wait_until("Python sees the cancellation", async || script.says(&format!("cancelled {endless}"))).await;
    assert!(script.says(&format!("told to stop {endless}: the worker no longer waits")), "{}", script.log());
    assert_eq!(ended(&up, &endless).await["state"], "cancelled");
    let view = dead_because(&up, &late, "time limit of 1 s").await;
    assert_eq!(view["attempts"][0]["outcome"], "timed_out");
    assert!(script.says(&format!("told to stop {late}: its time is over")), "{}", script.log());
    assert!(!script.says("NATS:"), "the server refused something: {}", script.log());
    up.assert_audit_clean();
}

#[tokio::test]
async fn executors_that_are_silent_absent_or_talk_nonsense_cost_their_attempt_and_nothing_else() {
    let Some(python) = interpreter() else { return };
    let up = cluster().await;
    let script = odd_executor(&up, &python).await;
    let odd = |how: &str| submit(&up, "service:odd", &["--param", &format!("how={how}")]);
    let (hang, nonsense, misspelt, huge) = (odd("hang"), odd("nonsense"), odd("misspelt"), odd("huge"));
    let (chatty, echo, deputy) = (odd("chatty"), odd("echo"), odd("deputy"));
    let nobody = submit(&up, "service:nobody", &[]);

    let view = dead_because(&up, &nobody, "no executor answers exec.nobody").await;
    let attempt = &view["attempts"][0];
    let took_ms = attempt["ended_at_ms"].as_u64().unwrap() - attempt["started_at_ms"].as_u64().unwrap();
    assert!(took_ms < 1_000, "an absent executor is noticed at once, not after {took_ms} ms");
    dead_because(&up, &hang, "no sign of life from the executor of exec.odd for 2 s; its last words were: loading the model").await;
    dead_because(&up, &nonsense, "sent an answer that cannot be read").await;
    dead_because(&up, &misspelt, "finished").await;
    dead_because(&up, &huge, "5000 characters").await;
    assert_eq!(ended(&up, &chatty).await["result"], r#"{"answers":3001}"#);
    assert_eq!(ended(&up, &deputy).await["result"], "told");
    let common = Common { nats_url: up.url(), nkey_file: Some(up.nkey("admin")), ..Common::default() };
    let nats = connect_once(&common, "admin", "test").await.unwrap();
    let results = nats.jetstream.get_stream("RESULTS").await.unwrap();
    assert!(results.direct_get_last_for_subject(format!("job.res.{deputy}")).await.is_ok());
    assert!(results.direct_get_last_for_subject("job.res.deputy").await.is_err(), "the worker was led to write where an executor may not");

    let view = ended(&up, &echo).await;
    let told: Value = serde_json::from_str(view["result"].as_str().unwrap()).unwrap();
    let (headers, request) = (&told["headers"], &told["request"]);
    assert_eq!((&request["job"], &request["number"], &request["kind"]), (&echo.clone().into(), &1.into(), &"service:odd".into()));
    assert_eq!((&headers["Faultline-Version"], &headers["Faultline-Attempt"]), (&"1".into(), &request["attempt"]));
    assert_eq!((&request["silence_ms"], &request["timeout_ms"]), (&2000.into(), &30_000.into()));
    assert_eq!(headers["Faultline-Deadline"], request["deadline_ms"].to_string());
    assert!(headers["traceparent"].as_str().unwrap().starts_with("00-"), "{headers}");

    for worker in ["worker-01", "worker-02"] {
        assert_eq!(up.service(worker).unwrap()["restarts"], 0, "{}", up.log_tail());
    }
    assert!(!script.log().contains("Permissions Violation"), "{}", script.log());
    up.assert_audit_clean();
}

#[tokio::test]
async fn the_job_of_an_executor_that_is_killed_is_committed_by_another() {
    let Some(python) = interpreter() else { return };
    let up = cluster().await;
    let mut instances = [executor(&up, &python, "first").await, executor(&up, &python, "second").await];
    let id = submit_with_retries(&up, "service:greet", "2", &["--param", "seconds=4"]);
    let takes = format!("accepted {id} attempt 1");
    up.wait_until("one of them has the job", async || instances.iter().any(|instance| instance.says(&takes))).await;
    let (victim, heir) = if instances[0].says(&takes) { (0, "second") } else { (1, "first") };
    instances[victim].kill9();
    let view = ended(&up, &id).await;
    assert_eq!((&view["state"], &view["result"]), (&"committed".into(), &format!("Hello, World! ({heir})").into()), "{view:#}");
    let attempts = view["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &attempts[0]["outcome"]), (2, &"failed".into()), "{view:#}");
    assert!(attempts[0]["detail"].as_str().unwrap().contains("no sign of life from the executor of exec.greet for 2 s"), "{view:#}");
    assert_eq!(instances[1 - victim].terminate(), Some(0));
    up.assert_audit_clean();
}

#[tokio::test]
async fn an_executor_notices_that_its_worker_was_killed_and_runs_the_job_for_another() {
    let Some(python) = interpreter() else { return };
    let up = cluster().await;
    let script = executor(&up, &python, "alpha").await;
    let id = submit(&up, "service:greet", &["--param", "seconds=4"]);
    up.wait_until("Python has the job", async || script.says(&format!("accepted {id} attempt 1"))).await;
    let node = job(&up, &id)["node"].as_str().expect("it runs on a node").to_owned();
    assert!(up.faultline(&["kill", &node.replace("gpu-node", "worker")]).status.success());
    // No worker could tell it: it asked for a receipt, and NATS reported no responder.
    up.wait_until("Python stops the first attempt", async || script.says(&format!("cancelled {id}"))).await;
    assert!(!script.says("told to stop"), "{}", script.log());
    let view = ended(&up, &id).await;
    assert_eq!((&view["state"], &view["result"]), (&"committed".into(), &"Hello, World! (alpha)".into()), "{view:#}");
    let outcomes: Vec<&Value> = view["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["outcome"]).collect();
    assert_eq!(outcomes, ["lost", "committed"], "{view:#}");
    assert_eq!((&view["failures"], &view["requeues"]), (&0.into(), &1.into()), "a worker's death costs the job nothing: {view:#}");
    assert!(script.says(&format!("accepted {id} attempt 2")), "{}", script.log());
    up.assert_audit_clean();
}

#[tokio::test]
async fn kinds_that_no_node_offers_say_so() {
    let up = Up::start_configured(1, &[], "[worker]\nservice_executors = false\n").await;
    for kind in ["service:greet", "service", "service:a:b", "service:a.b", "service:*"] {
        let refused = up.faultline(&["submit", "--kind", kind]);
        assert_eq!(refused.status.code(), Some(2), "{kind}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--kind"), "{}", String::from_utf8_lossy(&refused.stderr));
    }
}
