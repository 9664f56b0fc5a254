//! The consumers of JOBS are deleted while jobs run: the jobs go on and commit, since no other worker can be given them, and the consumers are made
//! anew by `faultline setup`, or by `faultline up` on its own.

use faultline_engine::job::{AttemptOutcome, JobState, Priority};
use faultline_protocol::streams;
use faultline_tests::cluster::{Cluster, sleep_job};
use faultline_tests::up::{Up, text};

#[tokio::test]
async fn running_jobs_outlive_their_consumer_and_setup_makes_it_anew() {
    let cluster = Cluster::start(1).await;
    // Longer than a worker goes on without any answer from JetStream.
    let ids = cluster.submit(&[sleep_job(16_000)]).await;
    cluster.wait_running(ids[0]).await;
    let jobs = cluster.nats.jetstream.get_stream(streams::JOBS).await.expect("setup made it");
    for priority in Priority::ALL {
        jobs.delete_consumer(&streams::queue_consumer_name(priority)).await.expect("it was there");
    }
    let records = cluster.wait_ended(&ids).await;
    let record = &records[&ids[0]];
    assert_eq!((record.state, record.requeues, record.failures), (JobState::Committed, 0, 0), "{record:?}");
    assert_eq!(record.history.iter().map(|row| row.outcome).collect::<Vec<_>>(), [AttemptOutcome::Committed]);
    let said = cluster.lines_with("no consumer waits for the acknowledgement");
    assert!(!said.is_empty(), "{}", cluster.log_tails());
    assert!(cluster.lines_with("stopped the attempt").is_empty());

    let setup = cluster.faultline(&["setup"]);
    assert!(text(&setup).contains("created: consumer JOBS/sched-urgent"), "{}", text(&setup));
    let ids = cluster.submit(&[sleep_job(50)]).await;
    cluster.wait_ended(&ids).await;
    cluster.wait_until("the message of the job that had ended is gone", async || cluster.faultline(&["audit"]).status.success()).await;
}

#[tokio::test]
async fn up_makes_deleted_consumers_anew_and_says_so() {
    let up = Up::start(1, &[]).await;
    let running = up.faultline(&["submit", "--kind", "sleep", "--duration", "8s", "--count", "3"]);
    assert!(running.status.success(), "{}", text(&running));
    let jetstream = async_nats::jetstream::new(up.admin().await);
    let jobs = jetstream.get_stream(streams::JOBS).await.expect("up made it");
    jobs.delete_consumer(&streams::queue_consumer_name(Priority::Normal)).await.expect("it was there");
    up.wait_until("the history has it", async || !up.events(&["repaired"]).is_empty()).await;
    let detail = up.events(&["repaired"])[0]["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains("consumer JOBS/sched-normal"), "{detail}");
    let done = up.faultline(&["submit", "--kind", "sleep", "--duration", "50ms", "--count", "20", "--wait"]);
    assert!(done.status.success(), "{}", text(&done));
    up.wait_until("all of them have ended", async || up.faultline(&["audit"]).status.success()).await;
    assert!(up.events(&["attempt_lost"]).is_empty(), "{:?}", up.events(&["attempt_lost"]));
}
