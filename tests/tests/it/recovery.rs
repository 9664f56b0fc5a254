//! Every component dies once: nothing is lost, nothing is committed twice, and `audit` says so after each.

use std::time::Duration;

use faultline_engine::job::{AttemptOutcome, JobState};
use faultline_engine::node::Health;
use faultline_protocol::messages::{ClusterEvent, EventKind, TerminalRecord};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::record::{Commit, commit, read_record};
use faultline_tests::clocks::{APART_MS, is_before};
use faultline_tests::cluster::{Cluster, sleep_job};
use faultline_tests::nats::TestNats;
use tokio::time::{Instant, sleep_until};

fn worker_of(node: &str) -> String {
    node.replace("gpu-node", "worker")
}

fn assert_moved(record: &TerminalRecord, from: &str) {
    assert_eq!(record.state, JobState::Committed, "{record:?}");
    let lost = record.history.iter().find(|row| row.node == from).expect("the lost attempt is in the path");
    assert_eq!(lost.outcome, AttemptOutcome::Lost);
    assert!(!lost.detail.is_empty());
    let last = record.history.last().expect("a committed job has a path");
    assert_eq!((last.outcome, last.node != from), (AttemptOutcome::Committed, true), "{record:?}");
    assert_eq!((record.requeues, record.failures), (1, 0), "a node's death costs the job nothing");
}

#[tokio::test]
async fn a_worker_killed_in_mid_job_loses_nothing_and_its_job_finishes_elsewhere() {
    let mut cluster = Cluster::start(3).await;
    let job = cluster.submit(&[sleep_job(2_000)]).await[0];
    let node = cluster.wait_running(job).await;
    cluster.kill9(&worker_of(&node));
    let records = cluster.wait_ended(&[job]).await;
    assert_moved(&records[&job], &node);
    let reason = &records[&job].history[0].detail;
    assert!(reason.contains("is gone: the connection of"), "the end of its connection and an unanswered ping are the reason: {reason}");
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn without_a_detector_the_ack_timeout_alone_brings_the_job_back() {
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    cluster.scheduler("scheduler-1");
    cluster.worker(1);
    cluster.worker(2);
    cluster.wait_for_nodes(2).await;
    let job = cluster.submit(&[sleep_job(1_000)]).await[0];
    let node = cluster.wait_running(job).await;
    cluster.kill9(&worker_of(&node));
    let records = cluster.wait_ended(&[job]).await;
    assert_moved(&records[&job], &node);
    assert!(records[&job].history[0].detail.contains("JetStream delivered the job again"), "{}", records[&job].history[0].detail);
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn the_standby_takes_over_from_a_killed_scheduler_and_running_jobs_go_on() {
    let mut cluster = Cluster::start(2).await;
    cluster.scheduler("scheduler-2");
    let before = cluster.submit(&[sleep_job(6_000)]).await[0];
    cluster.wait_running(before).await;
    let epoch = cluster.stats().await.expect("there is a leader").epoch;
    cluster.kill9("scheduler-1");
    let after = cluster.submit(&[sleep_job(10)]).await[0];
    let records = cluster.wait_ended(&[before, after]).await;
    assert_eq!(
        (records[&before].state, records[&before].history.len()),
        (JobState::Committed, 1),
        "it was not disturbed: {:?}",
        records[&before]
    );
    assert_eq!(records[&after].state, JobState::Committed);
    let stats = cluster.stats().await.expect("the standby leads");
    assert!(stats.leader == "scheduler-2" && stats.epoch > epoch, "{} in epoch {}", stats.leader, stats.epoch);
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_killed_and_restarted_nats_server_loses_nothing() {
    let mut cluster = Cluster::start(2).await;
    let before = cluster.submit(&(0..50).map(|n| sleep_job(n * 60)).collect::<Vec<_>>()).await;
    cluster.wait_running(before[49]).await;
    cluster.server.kill9().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.server.restart().await;
    let mut ids = before;
    cluster.wait_until("NATS takes jobs again", async || cluster.nats.is_connected()).await;
    ids.extend(cluster.submit(&[sleep_job(10), sleep_job(10)]).await);
    let records = cluster.wait_ended(&ids).await;
    assert!(records.values().all(|record| record.state == JobState::Committed));
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_frozen_worker_that_wakes_up_commits_nothing() {
    let cluster = Cluster::start(2).await;
    let job = cluster.submit(&[sleep_job(4_000)]).await[0];
    let node = cluster.wait_running(job).await;
    cluster.freeze(&worker_of(&node));
    let records = cluster.wait_ended(&[job]).await;
    assert_moved(&records[&job], &node);
    let reason = &records[&job].history[0].detail;
    assert!(reason.contains("is gone: no heartbeat for") && reason.contains("does not answer a ping"), "not as late as dead: {reason}");
    let seq = read_record(&cluster.nats, job).await.unwrap().unwrap().seq;
    cluster.thaw(&worker_of(&node));
    cluster
        .wait_until("the zombie is back and idle", async || {
            cluster
                .nodes()
                .await
                .iter()
                .any(|view| view.spec.node == node && view.heartbeat_age_ms.is_some_and(|age| age < 2_000) && view.running.is_empty())
        })
        .await;
    assert_eq!(read_record(&cluster.nats, job).await.unwrap().unwrap().seq, seq, "the record is the heir's");
    // And straight at the fence: a commit that expects the open marker comes too late, from any client.
    let late = TerminalRecord { ended_at_ms: unix_ms(), result: "forged".into(), attempt: None, ..records[&job].clone() };
    assert_eq!(commit(&cluster.nats, &late, 60).await.unwrap(), Commit::TooLate(Some(JobState::Committed)));
    cluster.assert_audit_clean();
}

/// Thirty seconds of what a machine without power looks like, and then it is back and knows nothing of it.
#[tokio::test]
async fn a_gpu_of_a_worker_frozen_for_30_s_is_nobody_elses_before_the_verdict_and_gets_nothing_before_it_is_back() {
    const FROZEN: Duration = Duration::from_secs(30);
    const HIS: &str = "gpu-node-01";
    let cluster = Cluster::start(2).await;
    cluster.set_draining("gpu-node-02", true).await;
    // The victim holds all GPUs of the one node whose model the other job must have.
    let his_model = cluster.nodes().await.iter().find(|node| node.spec.node == HIS).expect("node 1").spec.gpus[0].model.clone();
    let (mut victim, mut waiting) = (sleep_job(4_000), sleep_job(100));
    (victim.demand.gpu_milli, waiting.demand.gpu_milli) = (8_000, 8_000);
    waiting.demand.models = vec![his_model];
    let victim = cluster.submit(&[victim]).await[0];
    assert_eq!(cluster.wait_running(victim).await, HIS);
    cluster.freeze("worker-01");
    let (frozen, frozen_ms) = (Instant::now(), unix_ms());
    let waiting = cluster.submit(&[waiting]).await[0];
    cluster.set_draining("gpu-node-02", false).await;

    let of_heir = cluster.wait_ended(&[victim]).await.remove(&victim).expect("it has ended");
    assert_moved(&of_heir, HIS);
    let seq = read_record(&cluster.nats, victim).await.unwrap().unwrap().seq;
    sleep_until(frozen + FROZEN).await;
    assert!(cluster.job(waiting).await.is_some_and(|view| view.node.is_none()), "a frozen node gets nothing");
    cluster.thaw("worker-01");
    let thawed_ms = unix_ms();

    let of_waiting = cluster.wait_ended(&[waiting]).await.remove(&waiting).expect("it has ended");
    // The first tries may have been refused: what woke up holds the GPUs until it is told that it has lost its job.
    let path = &of_waiting.history;
    assert!(of_waiting.state == JobState::Committed && path.iter().all(|row| row.node == HIS), "{of_waiting:?}");
    assert!(path.len() < 6, "refusals are not repeated at once: {path:?}");
    let events = cluster.events().await;
    let when = |kinds: &[EventKind]| {
        let of_node = |event: &&ClusterEvent| event.node.as_deref() == Some(HIS) && event.job.is_none() && event.at_ms >= frozen_ms;
        events.iter().filter(of_node).find(|event| kinds.contains(&event.kind)).map(|event| event.at_ms).expect("it is in the history")
    };
    let (verdict_ms, back_ms) = (when(&[EventKind::NodeGone, EventKind::NodeDead]), when(&[EventKind::NodeRecovered]));
    let heir_ms = of_heir.history[1].placed_at_ms;
    assert!(is_before(verdict_ms, heir_ms), "given away at {heir_ms}, judged at {verdict_ms}");
    assert!(is_before(thawed_ms, back_ms) && is_before(back_ms, path[0].placed_at_ms), "{thawed_ms} {back_ms} {path:?}");
    let placed_meanwhile = events.iter().filter(|event| {
        event.kind == EventKind::JobPlaced && event.node.as_deref() == Some(HIS) && (frozen_ms..back_ms - APART_MS).contains(&event.at_ms)
    });
    assert_eq!(placed_meanwhile.count(), 0);
    assert_eq!(read_record(&cluster.nats, victim).await.unwrap().unwrap().seq, seq, "what woke up has committed nothing");
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_node_whose_heartbeats_alone_are_lost_keeps_its_job() {
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    cluster.scheduler("scheduler-1");
    cluster.detector();
    cluster.spawn("worker-01", "faultline-worker", &["--name", "worker-01", "--first-node", "1", "--nodes", "2", "--faults", "off"]);
    cluster.wait_for_nodes(2).await;
    // Longer than the silence after which a node is dead.
    let job = cluster.submit(&[sleep_job(9_000)]).await[0];
    let node = cluster.wait_running(job).await;
    let broken = cluster.faultline(&["fault", &node, "heartbeat-loss", "--for", "40s"]);
    assert!(broken.status.success(), "{}", String::from_utf8_lossy(&broken.stderr));
    let records = cluster.wait_ended(&[job]).await;
    let record = &records[&job];
    assert_eq!((record.history.len(), record.requeues), (1, 0), "it was left where it ran: {record:?}");
    assert_eq!((record.state, record.history[0].node.as_str()), (JobState::Committed, node.as_str()));
    // Silent for 9 s, and neither gone nor dead: its worker answers for it. It gets nothing new, and its neighbour does.
    let health = async |name: &str| cluster.nodes().await.into_iter().find(|view| view.spec.node == name).map(|view| view.health);
    assert_eq!(health(&node).await, Some(Health::Suspect));
    let next = cluster.submit(&[sleep_job(10)]).await[0];
    let ended = cluster.wait_ended(&[next]).await;
    assert_ne!(ended[&next].history[0].node, node);
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_detector_that_dies_and_comes_back_kills_nobody() {
    let mut cluster = Cluster::start(3).await;
    let job = cluster.submit(&[sleep_job(8_000)]).await[0];
    cluster.wait_running(job).await;
    cluster.kill9("fault-detector");
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.detector();
    let records = cluster.wait_ended(&[job]).await;
    assert_eq!((records[&job].history.len(), records[&job].requeues), (1, 0), "{:?}", records[&job]);
    assert!(cluster.nodes().await.iter().all(|node| node.health == Health::Alive));
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn two_thousand_jobs_survive_the_death_of_a_worker_and_of_the_scheduler() {
    let mut cluster = Cluster::start(4).await;
    cluster.scheduler("scheduler-2");
    let submit = cluster
        .faultline_command(&["submit", "--kind", "sleep", "--duration", "50ms", "--count", "2000", "--wait"])
        .spawn()
        .expect("faultline starts");
    cluster.wait_until("the first hundred are placed", async || cluster.stats().await.is_some_and(|stats| stats.placed_total > 100)).await;
    cluster.kill9("worker-02");
    cluster.kill9("scheduler-1");
    let done = tokio::task::spawn_blocking(move || submit.wait_with_output()).await.unwrap().unwrap();
    assert!(done.status.success(), "submit --wait ends with {:?}\n{}", done.status.code(), cluster.log_tails());
    let ledger = async || cluster.stats().await.map(|stats| stats.ledger).unwrap_or_default();
    cluster.wait_until("the ledger has counted them", async || ledger().await.committed == 2_000).await;
    assert_eq!(ledger().await.duplicates, 0);
    cluster.assert_audit_clean();
}
