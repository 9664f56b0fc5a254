//! Simulated faults on real processes: what each does to the jobs that it hits, what the history says, and that the books balance.

use std::collections::BTreeMap;

use faultline_engine::job::{AttemptOutcome, JobState};
use faultline_protocol::messages::{ClusterEvent, EventKind, FaultCause, FaultDepth, FaultTruth};
use faultline_tests::cluster::{Cluster, sleep_job};

fn order(cluster: &Cluster, args: &[&str]) {
    let output = cluster.faultline(&[&["fault"], args].concat());
    assert!(output.status.success(), "fault {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The ground truth of all faults by id: how each was announced to end, and how it ended.
fn truths(cluster: &Cluster) -> BTreeMap<String, (FaultTruth, Option<FaultTruth>)> {
    let output = cluster.faultline(&["events", "--kind", "fault_began", "--kind", "fault_ended", "--limit", "1000", "-o", "json"]);
    let events: Vec<ClusterEvent> = serde_json::from_slice(&output.stdout).expect("events are JSON");
    let mut truths = BTreeMap::new();
    for event in events {
        let truth = event.fault.expect("an event of a fault carries its truth");
        match event.kind {
            EventKind::FaultBegan => assert!(truths.insert(truth.id.clone(), (truth, None)).is_none(), "ids are unique"),
            _ => {
                let known = truths.get_mut(&truth.id).expect("what ends has begun");
                known.1 = Some(truth);
            }
        }
    }
    truths
}

#[tokio::test]
async fn gpu_faults_requeue_or_fail_as_documented_and_the_truth_is_written() {
    let cluster = Cluster::start(2).await;

    // A GPU that falls off the bus: the job goes on elsewhere and is charged nothing.
    let lost_gpu = cluster.submit(&[sleep_job(3_000)]).await[0];
    let node = cluster.wait_running(lost_gpu).await;
    order(&cluster, &[&node, "xid-79", "--for", "4s"]);
    let out = async || {
        let nodes = cluster.nodes().await;
        nodes.iter().any(|view| view.spec.node == node && view.telemetry.iter().any(|gpu| gpu.out_of_service && gpu.xid == 79))
    };
    cluster.wait_until("the GPU is out of service", out).await;

    // An application error costs a retry; without any left the job is dead.
    let retried = cluster.submit(&[sleep_job(3_000)]).await[0];
    order(&cluster, &[&cluster.wait_running(retried).await, "xid-31"]);
    let mut last_try = sleep_job(3_000);
    last_try.max_retries = 0;
    let exhausted = cluster.submit(&[last_try]).await[0];
    order(&cluster, &[&cluster.wait_running(exhausted).await, "xid-13"]);

    let ids = [lost_gpu, retried, exhausted];
    let records = cluster.wait_ended(&ids).await;
    let path = |job| records[&job].history.iter().map(|row| row.outcome).collect::<Vec<_>>();
    use AttemptOutcome::{Committed, Failed, Lost};
    // The two application errors may have hit whichever of the jobs was on the GPU that was hit: the sums are certain.
    assert_eq!(records[&lost_gpu].history[0].outcome, Lost, "{:?}", records[&lost_gpu]);
    assert!(records[&lost_gpu].history[0].detail.starts_with("xid_79 on GPU"), "{:?}", records[&lost_gpu].history[0]);
    assert!(records[&lost_gpu].requeues >= 1);
    let failures: usize = ids.iter().map(|job| path(*job).iter().filter(|outcome| **outcome == Failed).count()).sum();
    assert_eq!(failures, 2, "{records:?}");
    for job in ids {
        let record = &records[&job];
        match record.state {
            JobState::Committed => assert_eq!(path(job).last(), Some(&Committed)),
            state => assert_eq!((state, job, record.failures), (JobState::Dead, exhausted, 1), "{record:?}"),
        }
    }

    let all_ended = async || truths(&cluster).values().all(|(_, ended)| ended.is_some());
    cluster.wait_until("every fault has ended", all_ended).await;
    let truths = truths(&cluster);
    let kinds: Vec<&str> = truths.values().map(|(began, _)| began.kind.as_str()).collect();
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    for (began, ended) in truths.values() {
        let ended = ended.as_ref().expect("it was waited for");
        assert_eq!((began.depth, began.cause, &began.domain), (FaultDepth::Simulated, FaultCause::Ordered, &None));
        assert!(began.gpu.is_some() && began.from_ms == ended.from_ms && ended.until_ms >= Some(began.from_ms));
        if began.kind == "xid_79" {
            assert_eq!((began.target.as_str(), began.until_ms), (node.as_str(), Some(began.from_ms + 4_000)));
        }
    }
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_zombie_commits_too_late_and_rejoins() {
    let cluster = Cluster::start(2).await;
    let job = cluster.submit(&[sleep_job(3_000)]).await[0];
    let node = cluster.wait_running(job).await;
    order(&cluster, &[&node, "zombie", "--for", "20s"]);
    let records = cluster.wait_ended(&[job]).await;
    let record = &records[&job];
    assert_eq!((record.state, record.requeues, record.failures), (JobState::Committed, 1, 0), "{record:?}");
    assert_ne!(record.history.last().map(|row| row.node.as_str()), Some(node.as_str()), "the zombie's commit comes later: {record:?}");
    let superseded = async || {
        cluster
            .nodes()
            .await
            .iter()
            .any(|view| view.spec.node == node && view.running.is_empty() && view.heartbeat_age_ms.is_some_and(|age_ms| age_ms < 2_000))
    };
    cluster.wait_until("the zombie is back, with nothing on it", superseded).await;
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn nonsense_orders_are_refused_before_anything_breaks() {
    let cluster = Cluster::start(1).await;
    let nodes = cluster.nodes().await;
    let (node, gpus) = (nodes[0].spec.node.as_str(), nodes[0].spec.gpus.len().to_string());
    for (args, code, part) in [
        (vec!["fault", node, "xid-79", "--gpu", &gpus], 2, "GPUs, counted from 0"),
        (vec!["fault", node, "flood"], 2, "use crash, hang"),
        (vec!["fault", "gpu-node-77", "crash"], 4, "gpu-node-77"),
    ] {
        let output = cluster.faultline(&args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(part), "{args:?}: {:?} {said}", output.status.code());
    }
    assert!(truths(&cluster).is_empty());
    let catalogue = cluster.faultline(&["faults", "-o", "json"]);
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&catalogue.stdout).expect("the catalogue is JSON");
    assert!(entries.iter().any(|entry| entry["kind"] == "xid_79" && entry["xid"] == 79), "{entries:?}");
}
