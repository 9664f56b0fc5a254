//! Three NATS servers, three copies of everything, and each server is killed in turn while jobs run: nothing is lost, no job has two
//! results, and `audit` says so.

use std::time::Duration;

use async_nats::jetstream;
use faultline_protocol::streams::{self, Provision};
use faultline_tests::cluster::Cluster;
use faultline_tests::nats::TestNats;
use faultline_tests::up::{Up, text};
use rustix::process::Signal;
use tokio::time::Instant;

const JOBS_A_ROUND: u64 = 1_500;

fn server(cluster: &mut Cluster, index: usize) -> &mut TestNats {
    if index == 0 { &mut cluster.server } else { &mut cluster.peers[index - 1] }
}

/// Whether every stream has a leader and two copies that are up to date.
async fn is_whole(jetstream: &jetstream::Context) -> bool {
    let provision = Provision { replicas: 3, ..Provision::default() };
    let buckets = streams::bucket_configs(provision).into_iter().map(|bucket| format!("KV_{}", bucket.bucket));
    for name in streams::stream_configs(provision).into_iter().map(|stream| stream.name).chain(buckets) {
        let Ok(stream) = jetstream.get_stream(&name).await else { return false };
        let Some(cluster) = &stream.cached_info().cluster else { return false };
        let current = cluster.replicas.iter().filter(|replica| replica.current && !replica.offline).count();
        if cluster.leader.is_none() || current != 2 {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn each_server_dies_in_turn_under_load_and_nothing_is_lost_or_committed_twice() {
    let mut cluster = Cluster::bare_on_three().await;
    cluster.log_level("info");
    cluster.scheduler("scheduler-1");
    cluster.scheduler("scheduler-2");
    cluster.detector();
    for index in 1..=4 {
        cluster.worker(index);
    }
    cluster.wait_for_nodes(4).await;
    let lease = cluster.nats.jetstream.get_stream("KV_LEASE").await.unwrap();
    let config = &lease.cached_info().config;
    assert_eq!((config.max_age, config.num_replicas), (Duration::from_secs(12), 3));

    for victim in 0..3 {
        let began = Instant::now();
        let placed_before = cluster.stats().await.expect("there is a leader").placed_total;
        let count = JOBS_A_ROUND.to_string();
        let submit = cluster
            .faultline_command(&["submit", "--kind", "sleep", "--duration", "200ms", "--count", &count, "--wait"])
            .spawn()
            .expect("faultline starts");
        let placed = async || cluster.stats().await.map_or(0, |stats| stats.placed_total);
        cluster.wait_until("the first hundred are placed", async || placed().await > placed_before + 100).await;
        server(&mut cluster, victim).kill9().await;
        let killed = Instant::now();
        cluster.wait_until("a leader answers on two servers", async || cluster.stats().await.is_some()).await;
        let answered = killed.elapsed();
        server(&mut cluster, victim).restart().await;
        let jetstream = cluster.nats.jetstream.clone();
        cluster.wait_until("all copies are up to date", async || is_whole(&jetstream).await).await;
        let whole = killed.elapsed();
        let done = tokio::task::spawn_blocking(move || submit.wait_with_output()).await.unwrap().unwrap();
        assert!(done.status.success(), "submit --wait ends with {:?}\n{}", done.status.code(), cluster.log_tails());
        println!(
            "server {}: the leader answered {answered:.1?} after its kill -9, all copies were up to date after {whole:.1?}; {count} jobs in {:.1?}",
            victim + 1,
            began.elapsed()
        );
    }

    let ledger = async || cluster.stats().await.map(|stats| stats.ledger).unwrap_or_default();
    cluster.wait_until("the ledger has counted them", async || ledger().await.committed == 3 * JOBS_A_ROUND).await;
    assert_eq!(ledger().await.duplicates, 0);
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn three_servers_start_on_their_own_data_each_time() {
    let mut up = Up::start(1, &["--nats-servers", "3"]).await;
    let submit = |up: &Up| up.faultline(&["submit", "--kind", "sleep", "--duration", "50ms", "--count", "20", "--wait"]);
    let done = submit(&up);
    assert!(done.status.success(), "{}", text(&done));
    for round in 1..=3 {
        let status = up.signal(Signal::INT).await;
        assert!(status.success(), "round {round}: {status}\n{}", up.log_tail());
        let began = Instant::now();
        up.start_again().await;
        println!("start {round} on its own data: all nodes alive after {:.1?}", began.elapsed());
        let done = submit(&up);
        assert!(done.status.success(), "round {round}: {}", text(&done));
    }
    up.assert_audit_clean();
}
