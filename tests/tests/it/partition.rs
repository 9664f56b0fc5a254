//! The network breaks and heals: every process stands behind a proxy, and each of them is cut off once. Nothing is lost, nothing is
//! committed twice, no node is declared dead by mistake, and `audit` says so after each.

use std::process::Stdio;
use std::time::Duration;

use faultline_engine::job::{AttemptOutcome, JobState};
use faultline_engine::node::Health;
use faultline_protocol::messages::EventKind;
use faultline_proxy::{Direction, LinkConditions};
use faultline_runtime::record::read_record;
use faultline_tests::cluster::{Cluster, sleep_job};
use faultline_tests::nats::TestNats;
use faultline_tests::up::{Up, text};
use tokio::time::{Instant, sleep, sleep_until};

const VERDICTS: [EventKind; 2] = [EventKind::NodeGone, EventKind::NodeDead];

#[tokio::test]
async fn a_partitioned_worker_fences_itself_and_its_late_commit_is_refused() {
    const PARTITION: Duration = Duration::from_secs(20);
    let cluster = Cluster::start_linked(TestNats::start().await, 2).await;
    cluster.set_draining("gpu-node-02", true).await;
    // In the partition the first one ends and is not heard; the second one is still under way when the worker loses patience.
    let ids = cluster.submit(&[sleep_job(6_000), sleep_job(18_000)]).await;
    let [ends, is_fenced] = [ids[0], ids[1]];
    for id in &ids {
        assert_eq!(cluster.wait_running(*id).await, "gpu-node-01");
    }
    let began = Instant::now();
    cluster.partition("worker-01");
    cluster.set_draining("gpu-node-02", false).await;

    cluster.wait_until("the worker fences itself", async || cluster.log("worker-01").contains("answered no sign of progress")).await;
    let of_heir = cluster.wait_ended(&[ends]).await.remove(&ends).expect("it has ended");
    sleep_until(began + PARTITION).await;
    // It learns it from the refusal, or from the leader, whichever comes first; what it sent meanwhile arrives in any case.
    let knows =
        || ["this result was discarded", "before its result was committed"].iter().any(|words| cluster.log("worker-01").contains(words));
    assert!(!knows(), "nothing has passed");
    let seq = read_record(&cluster.nats, ends).await.unwrap().unwrap().seq;
    cluster.heal("worker-01");

    cluster.wait_until("the worker knows that it comes too late", async || knows()).await;
    let mut records = cluster.wait_ended(&[is_fenced]).await;
    let is_back = async || cluster.nodes().await.iter().all(|node| node.health == Health::Alive && node.running.is_empty());
    cluster.wait_until("the worker is back and idle", is_back).await;
    assert_eq!(read_record(&cluster.nats, ends).await.unwrap().unwrap().seq, seq, "the record is the heir's");
    records.insert(ends, of_heir);
    for record in records.values() {
        assert_eq!((record.state, record.failures), (JobState::Committed, 0), "{record:?}");
        let path: Vec<_> = record.history.iter().map(|row| (row.node.as_str(), row.outcome)).collect();
        assert_eq!(path, [("gpu-node-01", AttemptOutcome::Lost), ("gpu-node-02", AttemptOutcome::Committed)]);
    }
    cluster.assert_audit_clean();
}

/// The leader hears everything and is not heard: it goes on placing until it gives up the lease, and all of that arrives late.
#[tokio::test]
async fn what_a_deposed_scheduler_placed_is_refused_by_its_epoch() {
    // The server must not give the silent connection up, else what is held would never arrive.
    let patient = |config: &str| {
        let changed = config.replace("ping_interval: \"2s\"", "ping_interval: \"60s\"");
        assert_ne!(changed, config);
        changed
    };
    let mut cluster = Cluster::start_linked(TestNats::start_changed(patient).await, 2).await;
    cluster.scheduler("scheduler-2");
    let epoch = cluster.stats().await.expect("there is a leader").epoch;
    let args = ["submit", "--kind", "sleep", "--duration", "300ms", "--gpus", "1", "--count", "600", "--wait"];
    let submit = cluster.faultline_command(&args).spawn().expect("faultline starts");
    cluster.wait_until("jobs are placed", async || cluster.stats().await.is_some_and(|stats| stats.placed_total > 50)).await;

    cluster.link("scheduler-1", LinkConditions { direction: Direction::Up, ..LinkConditions::stalled() });
    let leads = async || cluster.stats().await.is_some_and(|stats| stats.leader == "scheduler-2");
    cluster.wait_until("the standby leads", leads).await;
    let is_deposed = async || cluster.log("scheduler-1").contains("lost the lease");
    cluster.wait_until("the old leader has given up by itself", is_deposed).await;
    cluster.heal("scheduler-1");

    let refusal = "assignments of a leader refused";
    let is_refused = async || ["worker-01", "worker-02"].iter().any(|worker| cluster.log(worker).contains(refusal));
    cluster.wait_until("workers refuse the old epoch", is_refused).await;
    let done = tokio::task::spawn_blocking(move || submit.wait_with_output()).await.unwrap().unwrap();
    assert!(done.status.success(), "submit --wait ends with {:?}\n{}", done.status.code(), cluster.log_tails());
    let stats = cluster.stats().await.expect("there is a leader");
    assert!(stats.epoch > epoch && stats.leader == "scheduler-2", "{} in epoch {}", stats.leader, stats.epoch);
    let ledger = async || cluster.stats().await.map(|stats| stats.ledger).unwrap_or_default();
    cluster.wait_until("the ledger has counted them", async || ledger().await.committed == 600).await;
    assert_eq!(ledger().await.duplicates, 0);
    cluster.assert_audit_clean();
}

/// As a person does it: the leader neither hears nor is heard, in the middle of work, and comes back.
#[tokio::test]
async fn a_leader_whose_network_stalls_both_ways_is_followed_and_may_lead_again() {
    let up = Up::start(2, &[]).await;
    let leaders =
        || up.events(&["leader_elected"]).iter().filter_map(|event| event["service"].as_str().map(str::to_owned)).collect::<Vec<_>>();
    let first = leaders().pop().expect("a scheduler leads");
    let other = if first == "scheduler-1" { "scheduler-2" } else { "scheduler-1" };
    // 64 at once: some seven seconds of work.
    let args = ["submit", "--kind", "sleep", "--duration", "400ms", "--gpus", "0.25", "--count", "1200", "--wait"];
    let submit = up.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("faultline starts");
    let committed = || up.json(&["audit"]).map_or(0, |audit| audit["committed"].as_u64().unwrap_or(0));
    up.wait_until("jobs commit", async || committed() > 100).await;

    assert!(up.faultline(&["link", &first, "stall"]).status.success());
    up.wait_until("the standby leads", async || leaders().last().is_some_and(|leader| leader == other)).await;
    let steps_down = async || up.log().lines().any(|line| line.contains(&first) && line.contains("lost the lease"));
    up.wait_until("the old leader steps down by itself", steps_down).await;
    assert!(up.faultline(&["link", &first, "heal"]).status.success());
    let done = tokio::task::spawn_blocking(move || submit.wait_with_output()).await.unwrap().unwrap();
    assert!(done.status.success(), "submit --wait: {}\n{}", text(&done), up.log_tail());

    // The new one can neither lead nor go while it is frozen: the leader then is the old one, which was never started again.
    assert!(up.faultline(&["kill", other, "--signal", "stop"]).status.success());
    up.wait_until("the old leader leads again", async || leaders().last() == Some(&first)).await;
    let one_more = up.faultline(&["submit", "--kind", "sleep", "--duration", "10ms", "--wait"]);
    assert!(one_more.status.success(), "{}", text(&one_more));
    assert!(up.faultline(&["kill", other, "--signal", "cont"]).status.success());
    assert!(up.service(&first).is_some_and(|service| service["restarts"] == 0));
    up.wait_until("the ledger has counted them", async || committed() == 1201).await;
    up.assert_audit_clean();
}

#[tokio::test]
async fn on_slow_and_lossy_links_everything_commits_and_nobody_is_taken_for_dead() {
    let cluster = Cluster::start_linked(TestNats::start().await, 4).await;
    for index in 1..=4 {
        let poor = LinkConditions { delay_ms: 200, loss_percent: 2.0, ..LinkConditions::default() };
        cluster.link(&format!("worker-{index:02}"), poor);
    }
    let submit = cluster
        .faultline_command(&["submit", "--kind", "sleep", "--duration", "50ms", "--count", "500", "--wait"])
        .spawn()
        .expect("faultline starts");
    let done = tokio::task::spawn_blocking(move || submit.wait_with_output()).await.unwrap().unwrap();
    assert!(done.status.success(), "submit --wait ends with {:?}\n{}", done.status.code(), cluster.log_tails());
    let verdicts = cluster.events_of(&VERDICTS).await;
    assert!(verdicts.is_empty(), "{verdicts:?}");
    assert!(cluster.nodes().await.iter().all(|node| node.health != Health::Dead));
    let ledger = async || cluster.stats().await.map(|stats| stats.ledger).unwrap_or_default();
    cluster.wait_until("the ledger has counted them", async || ledger().await.committed == 500).await;
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_partitioned_detector_judges_nobody_and_afterwards_it_judges_again() {
    let mut cluster = Cluster::start_linked(TestNats::start().await, 6).await;
    let job = cluster.submit(&[sleep_job(15_000)]).await[0];
    cluster.wait_running(job).await;
    cluster.partition("fault-detector");
    // Longer than any silence that is deadly; and then long enough to draw a wrong conclusion from it.
    sleep(Duration::from_secs(8)).await;
    cluster.heal("fault-detector");
    sleep(Duration::from_secs(4)).await;
    let verdicts = cluster.events_of(&VERDICTS).await;
    assert!(verdicts.is_empty(), "{verdicts:?}");
    assert!(cluster.nodes().await.iter().all(|node| node.health == Health::Alive));
    let records = cluster.wait_ended(&[job]).await;
    assert_eq!((records[&job].history.len(), records[&job].requeues), (1, 0), "{:?}", records[&job]);

    cluster.kill9("worker-06");
    cluster.wait_until("it judges again", async || !cluster.events_of(&[EventKind::NodeDead]).await.is_empty()).await;
    let dead: Vec<_> = cluster.events_of(&[EventKind::NodeDead]).await.into_iter().map(|event| event.node).collect();
    assert_eq!(dead, [Some("gpu-node-06".to_owned())]);
    cluster.assert_audit_clean();
}
