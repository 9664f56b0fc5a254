//! A change of leader: what the dead one had pulled is delivered again at once, what workers run is left alone, and broken
//! rules are seen.

use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use faultline_engine::job::{AttemptId, JobState, Priority};
use faultline_protocol::messages::{Heartbeat, RunningBrief, SyncOrder};
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock::{random_u128, unix_ms};
use faultline_tests::cluster::{Cluster, PATIENCE, sleep_job};
use faultline_tests::nats::TestNats;
use futures::StreamExt;
use tokio::time::{Instant, timeout};

async fn queue(cluster: &Cluster, priority: Priority) -> Consumer<pull::Config> {
    cluster.nats.jetstream.get_consumer_from_stream(streams::queue_consumer_name(priority), streams::JOBS).await.expect("setup made it")
}

#[tokio::test]
async fn a_message_is_delivered_again_at_once_by_an_ack_subject_that_was_made_up_for_its_sequence() {
    let cluster = Cluster::bare(TestNats::start().await).await;
    let jobs = cluster.submit(&(0..3).map(|_| sleep_job(10)).collect::<Vec<_>>()).await;
    let consumer = queue(&cluster, Priority::Normal).await;
    let mut pulled = consumer.fetch().max_messages(3).messages().await.expect("the server answers");
    let mut sequences = Vec::new();
    while let Some(message) = pulled.next().await {
        sequences.push(message.expect("a job").info().expect("its facts").stream_sequence);
    }
    assert_eq!(sequences.len(), 3);
    let last = queue(&cluster, Priority::Normal).await.cached_info().delivered.consumer_sequence;
    let made_up = subjects::ack_of(streams::JOBS, &streams::queue_consumer_name(Priority::Normal), sequences[1], last);
    let asked = Instant::now();
    cluster.nats.client.publish(made_up, "-NAK".into()).await.expect("it is sent");
    let mut again = consumer.batch().max_messages(1).expires(Duration::from_secs(14)).messages().await.expect("the server answers");
    let message = again.next().await.expect("it comes again").expect("a job");
    assert_eq!(subjects::queued_job_id(&message.subject), Some(jobs[1]), "that one and no other");
    assert!(asked.elapsed() < streams::ACK_WAIT, "by the ack timeout it would have come anyway");
}

/// The test plays a leader that pulled jobs and died.
#[tokio::test]
async fn what_a_dead_leader_had_pulled_is_placed_without_waiting_for_the_ack_timeout() {
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    let jobs = cluster.submit(&(0..200).map(|_| sleep_job(5)).collect::<Vec<_>>()).await;
    let mut pulled = queue(&cluster, Priority::Normal).await.fetch().max_messages(150).messages().await.expect("the server answers");
    let pulled_at = Instant::now();
    let mut count = 0;
    while let Some(Ok(_)) = pulled.next().await {
        count += 1;
    }
    assert_eq!(count, 150);
    cluster.worker(1);
    cluster.scheduler("scheduler-1");
    let records = cluster.wait_ended(&jobs).await;
    let took = pulled_at.elapsed();
    println!("150 pulled jobs were committed {} ms after they had been pulled, the start of the cluster included", took.as_millis());
    assert!(took < streams::ACK_WAIT, "they came by the ack timeout: {} ms", took.as_millis());
    assert!(records.values().all(|record| record.state == JobState::Committed && record.history.len() == 1));
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn after_the_kill_of_a_leader_old_and_new_jobs_are_placed_soon_and_running_ones_go_on() {
    let mut cluster = Cluster::start(2).await;
    cluster.scheduler("scheduler-2");
    let long: Vec<_> = (0..4).map(|_| sleep_job(9_000)).collect();
    let running = cluster.submit(&long).await;
    for job in &running {
        cluster.wait_running(*job).await;
    }
    let mut old = Vec::new();
    for _ in 0..300 {
        let mut job = sleep_job(200);
        job.demand.gpu_milli = 900;
        old.push(job);
    }
    let old = cluster.submit(&old).await;
    cluster.wait_until("the leader has pulled many", async || cluster.stats().await.is_some_and(|stats| stats.queued_held > 100)).await;
    let killed_at_ms = unix_ms();
    cluster.kill9("scheduler-1");
    let new = cluster.submit(&[sleep_job(5)]).await;
    let all: Vec<_> = running.iter().chain(&old).chain(&new).copied().collect();
    let records = cluster.wait_ended(&all).await;
    let first_after = |jobs: &[_]| {
        let placed = jobs.iter().filter_map(|job| records[job].history.last()).map(|row| row.placed_at_ms);
        placed.filter(|at_ms| *at_ms > killed_at_ms).min().map(|at_ms| at_ms - killed_at_ms)
    };
    println!("first placements after the kill: an old job {:?} ms, a new one {:?} ms", first_after(&old), first_after(&new));
    let waited = first_after(&old).expect("old jobs were left");
    assert!(waited < u64::try_from(streams::ACK_WAIT.as_millis()).unwrap(), "by the ack timeout only: {waited} ms");
    for job in &running {
        assert_eq!((records[job].history.len(), records[job].requeues), (1, 0), "it was not disturbed: {:?}", records[job]);
    }
    assert!(records.values().all(|record| record.state == JobState::Committed));
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_job_that_two_live_nodes_name_is_a_violation_that_stats_and_audit_show() {
    let cluster = Cluster::start(2).await;
    let job = cluster.submit(&[sleep_job(8_000)]).await[0];
    let node = cluster.wait_running(job).await;
    let other = cluster.nodes().await.into_iter().map(|view| view.spec).find(|spec| spec.node != node).expect("there are two");
    cluster.assert_audit_clean();
    let epoch = cluster.stats().await.expect("there is a leader").epoch;
    // A node is judged once its worker has said what it runs; a frozen one cannot.
    let mut answers = cluster.nats.client.subscribe(subjects::SCHED_SYNCED).await.expect("NATS takes it");
    cluster.nats.publish(subjects::CTL_ALL_SYNC, &SyncOrder { epoch }).await.expect("it is sent");
    for _ in 0..2 {
        timeout(PATIENCE, answers.next()).await.expect("both workers answer");
    }
    let forged = RunningBrief { attempt: AttemptId::new(unix_ms(), random_u128()), job, progress_permille: 1, epoch };
    // Its own heartbeats do not name the attempt, so it must be quiet for a while.
    cluster.freeze(&other.worker);
    let mut seq = 1_000_000;
    cluster
        .wait_until("the leader counts a violation", async || {
            seq += 1;
            let heartbeat = Heartbeat {
                node: other.node.clone(),
                worker: other.worker.clone(),
                incarnation: other.incarnation,
                seq,
                sent_at_ms: unix_ms(),
                running: vec![forged],
                gpus: vec![],
                leaving: false,
            };
            cluster.nats.publish(subjects::heartbeat(&other.node), &heartbeat).await.expect("it is sent");
            cluster.stats().await.is_some_and(|stats| stats.violations_total > 0)
        })
        .await;
    cluster.thaw(&other.worker);
    let stats = cluster.stats().await.expect("the leader goes on");
    assert!(stats.last_violation.contains("runs twice under one lease"), "{}", stats.last_violation);
    let audit = cluster.faultline(&["audit", "--wait", "2s"]);
    let text = String::from_utf8_lossy(&audit.stdout).into_owned();
    assert_eq!(audit.status.code(), Some(5), "{text}");
    assert!(text.contains("runs twice under one lease"), "{text}");
    assert_eq!(cluster.wait_ended(&[job]).await[&job].state, JobState::Committed, "nothing stops for it");
}
