//! One job's trace from submit to commit, with a worker killed in between.

use std::time::Duration;

use faultline_engine::job::JobId;
use faultline_tests::clocks::is_before;
use faultline_tests::collector::Collector;
use faultline_tests::up::{Up, text};
use serde_json::Value;

const NS_PER_MS: u64 = 1_000_000;

fn start(span: &Value) -> u64 {
    span["startTimeUnixNano"].as_str().unwrap().parse().unwrap()
}

fn end(span: &Value) -> u64 {
    span["endTimeUnixNano"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_from_submit_to_commit_with_the_fault_and_the_recovery() {
    let collector = Collector::start().await;
    let endpoint = collector.endpoint();
    let up = Up::start(2, &["--otlp-endpoint", &endpoint]).await;
    let submitted = up.faultline(&["submit", "--kind", "sleep", "--duration", "3s", "--otlp-endpoint", &endpoint]);
    assert!(submitted.status.success(), "{}", text(&submitted));
    let said = text(&submitted);
    let job: JobId = said.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or_else(|| panic!("no id in {said}"));
    let view = || up.json(&["job", &job.to_string()]);
    let mut node = String::new();
    up.wait_until("the job runs", async || {
        let running = view().filter(|view| view["state"] == "running");
        node = running.and_then(|view| Some(view["node"].as_str()?.to_owned())).unwrap_or_default();
        !node.is_empty()
    })
    .await;
    // A moment of work, so that the lost attempt has a length.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let worker = node.replace("gpu-node-", "worker-");
    assert!(up.faultline(&["kill", &worker]).status.success());

    let trace_id = format!("{:032x}", job.pack().to_u128());
    let told = |name: &str| collector.trace(&trace_id).into_iter().find(|span| span["name"] == name);
    up.wait_until("the second attempt and its commit are told", async || told("attempt 2").is_some() && told("commit").is_some()).await;
    let names = ["submit", "queue wait", "attempt 1", "reaction", "attempt 2", "commit"];
    let spans = names.map(|name| told(name).unwrap_or_else(|| panic!("no span {name}: {:#?}", collector.trace(&trace_id))));
    let [submit, wait, lost, recovery, second, commit] = &spans;

    let services: Vec<&str> = spans.iter().map(|span| span["service"].as_str().unwrap()).collect();
    let (scheduler, worker_service) = ("faultline-scheduler", "faultline-worker");
    assert_eq!(services, ["faultline-cli", scheduler, scheduler, scheduler, worker_service, worker_service]);
    assert_eq!(submit["parentSpanId"], Value::Null);
    for child in [wait, lost, recovery, second] {
        assert_eq!(child["parentSpanId"], submit["spanId"], "{child}");
    }
    assert_eq!(commit["parentSpanId"], second["spanId"]);
    assert_eq!((&lost["status"]["code"], &second["status"]["code"], &commit["status"]["code"]), (&2.into(), &1.into(), &1.into()));
    assert!(lost["status"]["message"].as_str().is_some_and(|why| !why.is_empty()), "{lost}");
    let attributes = lost["attributes"].as_array().unwrap();
    assert!(attributes.iter().any(|pair| pair["key"] == "node" && pair["value"]["stringValue"] == node.as_str()), "{lost}");
    assert!(end(lost) - start(lost) >= 300 * NS_PER_MS, "it ran for a while: {lost}");
    // The scheduler tells of these three, the command of the first, and the worker of the last two.
    assert!(end(wait) <= start(lost) && end(lost) <= start(recovery), "waited, then ran, then lost and placed again");
    assert!(is_before(start(submit) / NS_PER_MS, end(wait) / NS_PER_MS), "submitted, then waited");
    assert!(is_before(end(recovery) / NS_PER_MS, start(second) / NS_PER_MS), "placed again, then run again");
    assert!(start(second) <= start(commit) && end(commit) <= end(second) + 5 * NS_PER_MS, "committed within the second attempt");
    assert_eq!(collector.trace(&trace_id).iter().filter(|span| span["name"] == "submit").count(), 1);
    up.assert_audit_clean();
}
