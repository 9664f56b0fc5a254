//! Workers that are started all alike, without names: each takes the lowest free one, keeps it while it lives, and gives it back.

use std::collections::BTreeSet;
use std::process::ExitStatus;
use std::time::Duration;

use faultline_protocol::streams;
use faultline_tests::cluster::{Cluster, PATIENCE, sleep_job};
use tokio::time::{Instant, sleep};

/// Starts a worker without a name; `replica` is what this test calls it.
fn start(cluster: &mut Cluster, replica: &str) {
    cluster.spawn(replica, "faultline-worker", &["--faults", "off"]);
}

/// The name that a replica took, once it has said so.
async fn name_of(cluster: &Cluster, replica: &str) -> String {
    let log = format!("{replica}-");
    let said = || cluster.lines_with("took the lowest free number").into_iter().find(|line| line.starts_with(&log));
    cluster.wait_until(&format!("{replica} has a name"), async || said().is_some()).await;
    let line = said().expect("it was just there");
    let at = line.find("worker-").expect("the line has the name");
    line[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
}

async fn names_of(cluster: &Cluster, replicas: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for replica in replicas {
        assert!(names.insert(name_of(cluster, replica).await), "{replica} took a name that another one has\n{}", cluster.log_tails());
    }
    names
}

async fn incarnation(cluster: &Cluster, worker: &str) -> Option<u64> {
    cluster.nodes().await.into_iter().find(|node| node.spec.worker == worker).map(|node| node.spec.incarnation)
}

/// The next process that ends, by itself.
async fn next_to_end(cluster: &mut Cluster) -> (String, ExitStatus) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(ended) = cluster.ended().into_iter().next() {
            return ended;
        }
        assert!(Instant::now() < deadline, "no process ended\n{}", cluster.log_tails());
        sleep(Duration::from_millis(50)).await;
    }
}

fn numbered(numbers: &[u32]) -> BTreeSet<String> {
    numbers.iter().map(|number| format!("worker-{number:02}")).collect()
}

#[tokio::test]
async fn replicas_take_free_names_give_them_back_and_never_share_one() {
    let mut cluster = Cluster::start(0).await;
    let first = ["a", "b", "c", "d", "e"];
    first.iter().for_each(|replica| start(&mut cluster, replica));
    assert_eq!(names_of(&cluster, &first).await, numbered(&[1, 2, 3, 4, 5]));
    cluster.wait_for_nodes(5).await;
    let nodes: BTreeSet<String> = cluster.nodes().await.into_iter().map(|node| node.spec.node).collect();
    assert_eq!(nodes, (1..=5).map(|number| format!("gpu-node-{number:02}")).collect());

    // One dies, one freezes: their names are theirs until they expire, so a newcomer takes the next free one.
    let (dead, frozen) = (name_of(&cluster, "a").await, name_of(&cluster, "b").await);
    let first_lives = [incarnation(&cluster, &dead).await, incarnation(&cluster, &frozen).await];
    cluster.kill9("a");
    cluster.freeze("b");
    start(&mut cluster, "f");
    assert_eq!(name_of(&cluster, "f").await, "worker-06");
    // One that stops in order gives its name back at once, and the next holder has a new incarnation.
    cluster.wait_until("worker-06 is there", async || incarnation(&cluster, "worker-06").await.is_some()).await;
    let before = incarnation(&cluster, "worker-06").await;
    assert!(cluster.terminate("f").await);
    start(&mut cluster, "g");
    assert_eq!(name_of(&cluster, "g").await, "worker-06");
    cluster.wait_until("worker-06 lives again", async || incarnation(&cluster, "worker-06").await > before).await;

    // The names of the dead and the frozen one are free once they have expired, and not before.
    let store = cluster.nats.bucket(streams::KV_CLAIMS).await.expect("setup made the bucket");
    let is_free = async |name: &str| store.get(name).await.is_ok_and(|claim| claim.is_none());
    cluster.wait_until("both names expire", async || is_free(&dead).await && is_free(&frozen).await).await;
    let heirs = ["h", "i"];
    heirs.iter().for_each(|replica| start(&mut cluster, replica));
    assert_eq!(names_of(&cluster, &heirs).await, BTreeSet::from([dead.clone(), frozen.clone()]));
    for (name, former) in [&dead, &frozen].into_iter().zip(first_lives) {
        cluster.wait_until(&format!("{name} is a new life"), async || incarnation(&cluster, name).await > former).await;
    }

    // The frozen one resumes and finds that another process has its name: it stops, and what it sends on the way has no effect.
    cluster.thaw("b");
    let (replica, status) = next_to_end(&mut cluster).await;
    assert!(replica == "b" && !status.success(), "{replica} ended with {status}\n{}", cluster.log_tails());
    assert!(!cluster.lines_with("has it now: this worker stops").is_empty());

    let ids = cluster.submit(&(0..60).map(|_| sleep_job(50)).collect::<Vec<_>>()).await;
    cluster.wait_ended(&ids).await;
    let names: BTreeSet<String> = cluster.nodes().await.into_iter().map(|node| node.spec.worker).collect();
    assert_eq!(names, numbered(&[1, 2, 3, 4, 5, 6]));
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_second_worker_of_a_name_is_refused_by_the_holders_process_and_a_killed_one_is_back_at_once() {
    let mut cluster = Cluster::start(1).await;
    let (_, holder) = cluster.pids().into_iter().find(|(name, _)| name == "worker-01").expect("it runs");
    cluster.spawn("second", "faultline-worker", &["--name", "worker-01", "--first-node", "1", "--faults", "off"]);
    let (name, status) = next_to_end(&mut cluster).await;
    assert!(name == "second" && !status.success(), "{name} ended with {status}\n{}", cluster.log_tails());
    let said = cluster.lines_with("worker-01 is taken");
    assert!(said.iter().any(|line| line.contains(&format!("process {holder} on ")) && line.contains("--name")), "{said:?}");
    let ids = cluster.submit(&(0..20).map(|_| sleep_job(50)).collect::<Vec<_>>()).await;
    let records = cluster.wait_ended(&ids).await;
    assert!(records.values().all(|record| record.history.len() == 1), "{records:?}");

    let former = incarnation(&cluster, "worker-01").await;
    cluster.kill9("worker-01");
    let killed = Instant::now();
    cluster.worker(1);
    cluster.wait_until("it lives again", async || incarnation(&cluster, "worker-01").await > former).await;
    let took = killed.elapsed();
    assert!(took < streams::CLAIM_MAX_AGE - Duration::from_secs(5), "its own former claim held it up for {took:?}");
    cluster.assert_audit_clean();
}
