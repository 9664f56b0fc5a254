//! `explain` and `would-fit` on real processes: what is said is what then happens, and the question leaves nothing behind.

use std::collections::BTreeSet;

use faultline_engine::job::{Demand, JobId, JobSpec, JobState};
use faultline_tests::cluster::{Cluster, sleep_job};
use serde_json::Value;

fn whole_gpu(duration_ms: i64) -> JobSpec {
    JobSpec { demand: Demand { gpu_milli: 1_000, ..Demand::default() }, timeout_ms: 120_000, ..sleep_job(duration_ms) }
}

/// Exit code, standard output, and standard error.
fn run(cluster: &Cluster, args: &[&str]) -> (i32, String, String) {
    let output = cluster.faultline_command(args).output().expect("faultline starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("an exit code"), text(&output.stdout), text(&output.stderr))
}

fn json(cluster: &Cluster, args: &[&str], code: i32) -> Value {
    let (found, out, err) = run(cluster, &[args, &["-o", "json"]].concat());
    assert_eq!(found, code, "{args:?}: {out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}{err}"))
}

fn explain(cluster: &Cluster, job: JobId) -> Value {
    json(cluster, &["explain", &job.to_string()], 0)
}

/// The places of jobs, each node with its GPUs.
fn places<'a>(spots: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    spots.into_iter().map(|spot| format!("{} {}", spot["node"], spot["gpus"])).collect()
}

#[tokio::test]
async fn what_is_explained_is_what_happens_and_a_question_books_nothing() {
    let cluster = Cluster::start(2).await;
    let nodes = cluster.nodes().await;
    let gpus: usize = nodes.iter().map(|node| node.spec.gpus.len()).sum();
    let (all, one_more) = (gpus.to_string(), (gpus + 1).to_string());

    // A new leader listens first, and says so.
    cluster.wait_until("the leader places", async || run(&cluster, &["would-fit"]).0 == 0).await;
    // Nothing runs yet: each GPU takes one, and the next one is refused by both nodes.
    let would = json(&cluster, &["would-fit", "--gpus", "1", "--count", &all], 0);
    assert_eq!((would["starts"].as_u64(), would["rejects"].as_array().map(Vec::len)), (Some(gpus as u64), Some(0)), "{would}");
    let too_many = json(&cluster, &["would-fit", "--gpus", "1", "--count", &one_more], 5);
    assert_eq!((too_many["starts"].as_u64(), &too_many["rejects"][0]["nodes"]), (Some(gpus as u64), &Value::from(2)), "{too_many}");
    for bad in [["--gpus", "1.5"], ["--gpus", "9"], ["--count", "0"], ["--model", "*"], ["--kind", "a.b"]] {
        assert_eq!(run(&cluster, &[&["would-fit"], &bad[..]].concat()).0, 2, "{bad:?}");
    }
    let stats = cluster.stats().await.expect("a leader");
    assert_eq!((stats.placed_total, stats.gpu_used_milli, stats.running), (0, 0, 0), "a question books nothing");

    // What was said comes true.
    let running = cluster.submit(&(0..gpus).map(|_| whole_gpu(90_000)).collect::<Vec<_>>()).await;
    for job in &running {
        cluster.wait_running(*job).await;
    }
    let explained: Vec<Value> = running.iter().map(|job| explain(&cluster, *job)).collect();
    assert_eq!(places(explained.iter().map(|one| &one["attempt"])), places(would["spots"].as_array().expect("spots")));
    for one in &explained {
        let choice = &one["attempt"]["choice"];
        assert_eq!((choice["policy"].as_str(), choice["nodes"].as_u64()), (Some("least-loaded"), Some(2)), "{one}");
        assert_eq!(choice["runner_up"].is_object(), choice["fitting"] == 2, "{one}");
    }

    // The cluster is full: two wait, one behind the other.
    let waiting = cluster.submit(&[whole_gpu(10)]).await;
    cluster.wait_until("the first one waits", async || cluster.job(waiting[0]).await.is_some_and(|job| job.waiting.is_some())).await;
    let second = cluster.submit(&[whole_gpu(10)]).await[0];
    let refused = "2 nodes: GPU share taken";
    cluster
        .wait_until("the second one has been tried", async || {
            cluster.job(second).await.and_then(|job| job.waiting).is_some_and(|why| why.summary == refused)
        })
        .await;
    let why = explain(&cluster, second);
    let place = &why["waiting"]["place"];
    assert_eq!(
        (&place["waiting"], &place["ahead"], &place["ahead_alike"], &place["able"]),
        (&2.into(), &1.into(), &1.into(), &2.into()),
        "{why}"
    );
    let (code, text, _) = run(&cluster, &["explain", &second.to_string()]);
    assert!(code == 0 && text.contains(refused) && text.contains("place 2 of 2: 1 job goes before it"), "{text}");
    let (code, text, err) = run(&cluster, &["would-fit", "--gpus", "1"]);
    assert!(code == 5 && text.contains(&format!("it would wait: {refused}")) && err.contains("1 job would not start now"), "{text}{err}");

    // No node could ever run it: that is said while it waits, and then it happens.
    let mut impossible = whole_gpu(10);
    impossible.demand.models = vec!["B200-180GB".into()];
    let impossible = cluster.submit(&[impossible]).await[0];
    cluster.wait_until("it is tried", async || cluster.job(impossible).await.is_some_and(|job| job.waiting.is_some())).await;
    let given_up = explain(&cluster, impossible);
    let when = &given_up["waiting"]["place"]["given_up_at_ms"];
    assert!(when.is_u64() && given_up["lines"].to_string().contains("no node could ever run it"), "{given_up}");
    let record = cluster.wait_ended(&[impossible]).await.remove(&impossible).expect("a record");
    assert_eq!(record.state, JobState::Dead);
    assert!(record.ended_at_ms + 1_000 > when.as_u64().unwrap_or(0), "{} {when}", record.ended_at_ms);
    assert_eq!(explain(&cluster, impossible)["lines"][0]["words"], "given up; it never ran");

    for job in running {
        cluster.cancel(job).await;
    }
    let ended = cluster.wait_ended(&[waiting[0], second]).await;
    assert!(ended.values().all(|record| record.state == JobState::Committed));
    let last = explain(&cluster, second);
    assert!(last["lines"][0]["words"].as_str().is_some_and(|words| words.starts_with("committed; it ran on gpu-node-")), "{last}");
    assert_eq!(last["attempt"]["choice"]["policy"], "least-loaded", "the record keeps the numbers: {last}");
    cluster.assert_audit_clean();
}
