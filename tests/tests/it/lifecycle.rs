//! A job's life while no process dies: submitted, run, failed, repeated, cancelled, given up. Real processes, real NATS.

use faultline_engine::job::{AttemptOutcome, JobState, Param, Params};
use faultline_protocol::messages::{CancelOutcome, JobView};
use faultline_runtime::submit::Submitter;
use faultline_tests::clocks::APART_MS;
use faultline_tests::cluster::{Cluster, fault_job, sleep_job};
use faultline_tests::up::{Up, text};
use rustix::process::Signal;

#[tokio::test]
async fn jobs_of_every_kind_are_submitted_placed_and_committed() {
    let cluster = Cluster::start(3).await;
    let mut specs: Vec<_> = (0..30).map(|_| sleep_job(20)).collect();
    for (kind, param, value) in [("compute", "limit", 5_000), ("matrix", "size", 64)] {
        let mut job = sleep_job(10);
        job.kind = kind.into();
        job.params = Params::from([(param.into(), Param::Int(value))]);
        specs.push(job);
    }
    let ids = cluster.submit(&specs).await;
    let records = cluster.wait_ended(&ids).await;
    for record in records.values() {
        assert_eq!(record.state, JobState::Committed, "{record:?}");
        assert_eq!(record.history.len(), 1);
        assert_eq!(record.history[0].outcome, AttemptOutcome::Committed);
        assert!(record.history[0].why_words().starts_with("least-loaded"), "{record:?}");
    }
    let nodes: std::collections::BTreeSet<_> = records.values().map(|record| record.history[0].node.clone()).collect();
    assert_eq!(nodes.len(), 3, "thirty jobs are spread over all three nodes");
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_job_submitted_twice_runs_once() {
    let cluster = Cluster::start(1).await;
    let job = sleep_job(200);
    let submitter = Submitter::new(&cluster.nats);
    let first = submitter.submit(&job).await.unwrap();
    let again = submitter.submit(&job).await.unwrap();
    assert_eq!((first.open_seq, first.already_done, again.already_done), (again.open_seq, false, false));
    let records = cluster.wait_ended(&[job.id]).await;
    assert_eq!((records[&job.id].history.len(), records[&job.id].open_seq), (1, first.open_seq));
    assert!(submitter.submit(&job).await.unwrap().already_done);
    cluster
        .wait_until("the queue is empty", async || {
            cluster.stats().await.is_some_and(|stats| stats.running == 0 && stats.queued_in_stream == 0)
        })
        .await;
    assert_eq!(cluster.stats().await.unwrap().placed_total, 1);
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_failing_job_is_retried_with_backoff_and_then_dead_with_its_path_and_last_error() {
    let cluster = Cluster::start(2).await;
    let mut job = fault_job("fail_odds", 1.0);
    job.max_retries = 2;
    let ids = cluster.submit(&[job]).await;
    let records = cluster.wait_ended(&ids).await;
    let record = &records[&ids[0]];
    assert_eq!((record.state, record.failures, record.history.len()), (JobState::Dead, 3, 3), "{record:?}");
    assert!(record.history.iter().all(|row| row.outcome == AttemptOutcome::Failed));
    // Half of the base delay of one second is the least that the backoff can be; the second one doubles it.
    // The worker wrote when an attempt ended, the scheduler when the next one was placed.
    let gap = |n: usize| (record.history[n].placed_at_ms + APART_MS).saturating_sub(record.history[n - 1].ended_at_ms.unwrap());
    assert!(gap(1) >= 500 && gap(2) >= 1_000, "{} ms and {} ms", gap(1), gap(2));
    assert!(record.reason.contains("failed 3 times, 2 retries were allowed"), "{}", record.reason);
    let dead = cluster.nats.jetstream.get_stream("DEAD").await.unwrap();
    assert_eq!(dead.cached_info().state.messages, 1);
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_panic_and_a_memory_fault_fail_the_attempt_only() {
    let mut cluster = Cluster::start(1).await;
    let mut specs = vec![fault_job("panic_odds", 1.0), fault_job("oom_odds", 1.0), sleep_job(50)];
    for spec in &mut specs {
        spec.max_retries = 0;
    }
    let ids = cluster.submit(&specs).await;
    let records = cluster.wait_ended(&ids).await;
    assert_eq!(records[&ids[0]].state, JobState::Dead);
    assert!(records[&ids[0]].reason.contains("panicked"), "{}", records[&ids[0]].reason);
    assert!(records[&ids[1]].reason.contains("out of GPU memory"), "{}", records[&ids[1]].reason);
    assert_eq!(records[&ids[2]].state, JobState::Committed);
    assert!(cluster.is_running("worker-01"));
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_job_that_runs_too_long_times_out() {
    let cluster = Cluster::start(1).await;
    let mut job = sleep_job(30_000);
    job.timeout_ms = 300;
    job.max_retries = 0;
    let mut hanging = fault_job("hang_odds", 1.0);
    hanging.timeout_ms = 300;
    hanging.max_retries = 0;
    let ids = cluster.submit(&[job, hanging]).await;
    let records = cluster.wait_ended(&ids).await;
    for record in records.values() {
        assert_eq!((record.state, record.history[0].outcome), (JobState::Dead, AttemptOutcome::TimedOut), "{record:?}");
        assert!(record.reason.contains("time limit of 300 ms"), "{}", record.reason);
    }
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn running_waiting_ended_and_unknown_jobs_are_cancelled_or_refused() {
    let cluster = Cluster::start(1).await;
    let all_gpus = u32::try_from(cluster.nodes().await[0].spec.gpus.len()).unwrap() * 1000;
    let (mut blocking, mut waiting) = (sleep_job(60_000), sleep_job(10));
    (blocking.demand.gpu_milli, waiting.demand.gpu_milli) = (all_gpus, all_gpus);
    let running = cluster.submit(&[blocking]).await[0];
    cluster.wait_running(running).await;
    let queued = cluster.submit(&[waiting]).await[0];
    let why = |view: Option<JobView>| view.and_then(|view| view.waiting).map(|why| why.summary).unwrap_or_default();
    cluster.wait_until("the second job says why it waits", async || why(cluster.job(queued).await).contains("GPU share taken")).await;
    for job in [queued, running] {
        assert_eq!(cluster.cancel(job).await.answers[0].outcome, CancelOutcome::Cancelled);
        assert_eq!(cluster.cancel(job).await.answers[0].outcome, CancelOutcome::AlreadyEnded);
    }
    assert_eq!(cluster.cancel(sleep_job(0).id).await.answers[0].outcome, CancelOutcome::NotFound);
    let records = cluster.wait_ended(&[running, queued]).await;
    assert_eq!(records[&running].history[0].outcome, AttemptOutcome::Cancelled);
    assert!(records[&queued].history.is_empty() && records[&queued].state == JobState::Cancelled);
    cluster.wait_until("the GPU is free again", async || cluster.nodes().await.iter().all(|node| node.running.is_empty())).await;
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_drained_node_gets_nothing_until_it_is_undrained() {
    let cluster = Cluster::start(2).await;
    assert!(cluster.faultline(&["drain", "gpu-node-01"]).status.success());
    cluster.wait_until("the leader knows", async || cluster.nodes().await.iter().any(|node| node.draining)).await;
    let ids = cluster.submit(&(0..10).map(|_| sleep_job(10)).collect::<Vec<_>>()).await;
    assert!(cluster.wait_ended(&ids).await.values().all(|record| record.history[0].node == "gpu-node-02"));
    assert!(cluster.faultline(&["undrain", "gpu-node-01"]).status.success());
    cluster.wait_until("the leader knows", async || cluster.nodes().await.iter().all(|node| !node.draining)).await;
    let ids = cluster.submit(&(0..10).map(|_| sleep_job(100)).collect::<Vec<_>>()).await;
    assert!(cluster.wait_ended(&ids).await.values().any(|record| record.history[0].node == "gpu-node-01"));
}

#[tokio::test]
async fn workers_come_and_go_while_jobs_run() {
    let mut cluster = Cluster::start(1).await;
    let ids = cluster.submit(&(0..40).map(|_| sleep_job(1_000)).collect::<Vec<_>>()).await;
    cluster.worker(2);
    cluster.worker(3);
    cluster.wait_for_nodes(3).await;
    let more = cluster.submit(&(0..40).map(|_| sleep_job(1_000)).collect::<Vec<_>>()).await;
    cluster.wait_running(more[39]).await;
    assert!(cluster.terminate("worker-02").await, "a worker that drains ends well");
    let all: Vec<_> = ids.into_iter().chain(more).collect();
    let records = cluster.wait_ended(&all).await;
    assert!(records.values().all(|record| record.state == JobState::Committed));
    assert!(records.values().all(|record| record.requeues == 0), "draining lets attempts finish");
    cluster.wait_until("the node has left", async || cluster.nodes().await.len() == 2).await;
    cluster.assert_audit_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn up_says_how_many_jobs_are_open_when_it_stops_and_goes_on_with_them_the_next_time() {
    let mut up = Up::start(1, &[]).await;
    let submitted = up.faultline(&["submit", "--kind", "sleep", "--duration", "3s", "--count", "3"]);
    assert!(submitted.status.success(), "{}", text(&submitted));
    assert!(up.signal(Signal::INT).await.success());
    let said = "stopped; 3 jobs are open, which the next `faultline up` on this data goes on with";
    assert!(up.log().contains(said), "{}", up.log_tail());
    up.start_again().await;
    let committed = || up.json(&["status"]).and_then(|status| status["counts"]["jobs_committed"].as_u64());
    up.wait_until("they are committed", async || committed() == Some(3)).await;
    up.assert_audit_clean();
}
