//! Where GPU time went, on real processes: the classes sum to all that there was, a killed worker costs what it cost, and the hour outlives its leader.

use std::collections::BTreeMap;

use faultline_engine::job::{Demand, JobSpec};
use faultline_tests::cluster::{Cluster, sleep_job};
use serde_json::Value;

fn whole_gpu(duration_ms: i64) -> JobSpec {
    JobSpec { demand: Demand { gpu_milli: 1_000, ..Demand::default() }, timeout_ms: 120_000, ..sleep_job(duration_ms) }
}

fn goodput(cluster: &Cluster) -> Value {
    let output = cluster.faultline(&["goodput", "-o", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a JSON document")
}

fn classes(view: &Value) -> BTreeMap<String, f64> {
    let one = |class: &Value| (class["class"].as_str().expect("a name").to_owned(), class["gpu_seconds"].as_f64().expect("a number"));
    view["classes"].as_array().expect("classes").iter().map(one).collect()
}

/// All that there was while somebody accounted: the nodes are there from the beginning on, and stay.
fn assert_whole(view: &Value, gpus: usize) {
    let all: f64 = classes(view).values().sum();
    let covered_s = view["covered_ms"].as_f64().expect("a number") / 1_000.0;
    // Nodes register within the first moments of a term.
    let missing = covered_s * gpus as f64 - all;
    assert!((0.0..2.0 * gpus as f64).contains(&missing), "{missing} GPU-seconds of {covered_s} s are in no class: {view}");
}

#[tokio::test]
async fn a_killed_worker_costs_what_its_attempts_had_done_and_the_next_leader_goes_on_with_the_hour() {
    let mut cluster = Cluster::start(2).await;
    cluster.scheduler("scheduler-2");
    cluster.spawn("dashboard", "faultline-dashboard", &["--port", "0"]);
    let gpus: usize = cluster.nodes().await.iter().map(|node| node.spec.gpus.len()).sum();
    let done = cluster.submit(&[whole_gpu(1_500), whole_gpu(1_500)]).await;
    cluster.wait_ended(&done).await;
    let view = goodput(&cluster);
    assert_whole(&view, gpus);
    let productive = classes(&view)["productive"];
    assert!((3.0..3.6).contains(&productive), "two jobs of 1.5 s on a GPU each: {view}");

    let long = cluster.submit(&[whole_gpu(30_000)]).await[0];
    let node = cluster.wait_running(long).await;
    let worker = cluster.nodes().await.into_iter().find(|known| known.spec.node == node).expect("its node").spec.worker;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    cluster.kill9(&worker);
    cluster.wait_until("the job is placed elsewhere", async || cluster.job(long).await.is_some_and(|job| job.requeues == 1)).await;
    let view = goodput(&cluster);
    let lost = view["failures"]["lost_gpu_seconds"].as_f64().expect("a number");
    let stalled = view["failures"]["stalled_gpu_seconds"].as_f64().expect("a number");
    assert!(lost > 1.5 && lost + stalled < 8.0, "about three seconds of work: {view}");
    assert!(classes(&view)["down"] + classes(&view)["down_unseen"] > 0.0, "{view}");

    // What was stored is at most five seconds old.
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    let leader = cluster.stats().await.expect("a leader").leader;
    cluster.kill9(&leader);
    cluster.wait_until("another one leads", async || cluster.stats().await.is_some_and(|stats| stats.leader != leader)).await;
    cluster.wait_until("it tells where GPU time went", async || classes(&goodput(&cluster))["productive"] > 0.0).await;
    let after = goodput(&cluster);
    assert!((classes(&after)["productive"] - productive).abs() < 1e-9, "{after}");
    assert!((after["failures"]["lost_gpu_seconds"].as_f64().expect("a number") - lost).abs() < 1e-9, "{after}");
    let words = after["words"].to_string();
    assert!(words.contains("are missing, in which no scheduler led"), "{words}");

    // Its work began under the first leader, and ends under the second one.
    cluster.wait_ended(&[long]).await;
    let end = goodput(&cluster);
    let work = classes(&end)["productive"] - productive;
    assert!((20.0..30.5).contains(&work), "30 s of work, less what no leader accounted for: {end}");
    // Who follows the bucket for its other key reads no more than that.
    assert_eq!(cluster.lines_with("cannot be read"), Vec::<String>::new());
}
