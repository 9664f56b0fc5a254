//! Jobs with parameters of 120 KB beside small ones: messages are bounded by bytes, so all of them run; and a server that takes only small
//! messages refuses what it could not carry at the door.

use faultline_engine::job::{JobSpec, JobState, Param};
use faultline_runtime::submit::{SubmitError, Submitter};
use faultline_tests::cluster::{Cluster, sleep_job};
use faultline_tests::nats::{TEST_CONFIG, TestNats};

/// A job with this many parameters of 4,000 bytes.
fn large(params: usize) -> JobSpec {
    let mut job = sleep_job(20);
    job.params.extend((0..params).map(|n| (format!("text-{n:02}"), Param::Text("x".repeat(4_000)))));
    job
}

#[tokio::test]
async fn large_jobs_and_small_ones_all_commit_and_a_new_leader_adopts_those_that_run() {
    let mut cluster = Cluster::start(2).await;
    let mut jobs: Vec<JobSpec> = (0..30).map(|_| large(30)).collect();
    jobs.extend((0..100).map(|_| sleep_job(20)));
    let ids = cluster.submit(&jobs).await;
    let records = cluster.wait_ended(&ids).await;
    assert!(records.values().all(|record| record.state == JobState::Committed && record.history.len() == 1), "{records:?}");

    // All of them at once in the leader's books: its answers and the workers' are bounded, too.
    let running: Vec<JobSpec> = (0..14)
        .map(|_| large(30))
        .map(|job| JobSpec { params: job.params.into_iter().chain([("duration_ms".into(), Param::Int(12_000))]).collect(), ..job })
        .collect();
    let ids = cluster.submit(&running).await;
    for id in &ids {
        cluster.wait_running(*id).await;
    }
    let rows = cluster.leader().oldest_active_jobs(1).await.expect("the leader answers");
    assert!(!rows.is_empty());
    cluster.kill9("scheduler-1");
    cluster.scheduler("scheduler-2");
    let records = cluster.wait_ended(&ids).await;
    assert!(records.values().all(|record| record.state == JobState::Committed && record.requeues == 0), "{records:?}");
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_server_for_small_messages_refuses_a_large_job_and_runs_the_others() {
    let config = format!("{}\nmax_payload: 65536\n", without_payload(TEST_CONFIG));
    let mut cluster = Cluster::bare(TestNats::start_with_config(&config).await).await;
    cluster.scheduler("scheduler-1");
    cluster.detector();
    cluster.worker(1);
    cluster.wait_for_nodes(1).await;
    let submitter = Submitter::new(&cluster.nats);
    let refused = submitter.submit(&large(30)).await.expect_err("it could not be placed");
    assert!(matches!(refused, SubmitError::Invalid(_)) && !refused.is_transient(), "{refused}");
    for words in ["params", "65536", "max_payload"] {
        assert!(refused.to_string().contains(words), "{words} is missing in: {refused}");
    }
    let mut jobs: Vec<JobSpec> = (0..20).map(|_| large(8)).collect();
    jobs.extend((0..100).map(|_| sleep_job(20)));
    let mut ids = cluster.submit(&jobs).await;

    // A submitter that skips the check: what cannot be placed is given up, by itself.
    let past_the_door = JobSpec { name: "x".repeat(120), ..large(16) };
    let opened = submitter.open(&past_the_door).await.expect("a marker is small");
    submitter.enqueue(&past_the_door, opened.open_seq).await.expect("the server takes the job alone");
    ids.push(past_the_door.id);
    let records = cluster.wait_ended(&ids).await;
    let dead: Vec<_> = records.values().filter(|record| record.state != JobState::Committed).collect();
    let [dead] = dead[..] else { panic!("{dead:?}") };
    assert_eq!((dead.job, dead.state), (past_the_door.id, JobState::Dead));
    assert!(dead.reason.contains("its assignment takes") && dead.reason.contains("max_payload"), "{}", dead.reason);
    cluster.assert_audit_clean();
}

fn without_payload(config: &str) -> String {
    config.lines().filter(|line| !line.trim_start().starts_with("max_payload")).collect::<Vec<_>>().join("\n")
}
