//! A server that is not there, not ready, not ours or full. What arrives through a good server is the parent's business.

use std::process::Stdio;
use std::time::Duration;

use async_nats::jetstream::stream::Config;
use faultline_engine::job::{JobState, Priority};
use faultline_protocol::{streams, subjects};
use faultline_runtime::config::Common;
use faultline_runtime::connect::connect_once;
use faultline_runtime::submit::{SubmitError, Submitter, read_record};
use faultline_tests::cluster::{Cluster, sleep_job};
use faultline_tests::nats::TestNats;

use super::{assert_a_job_commits, assert_exit, assert_running, faultline_at, text};

#[tokio::test]
async fn services_that_start_before_nats_wait_and_say_so() {
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    cluster.server.kill9().await;
    // Without what the client says at every try, which would push the one line out of the logs' tails.
    cluster.log_level("info");
    cluster.scheduler("scheduler-1");
    cluster.detector();
    cluster.worker(1);
    cluster.wait_until("all three say that they wait", async || cluster.log_tails().matches("cannot be reached yet").count() >= 3).await;
    assert_running(&mut cluster, &["scheduler-1", "worker-01", "fault-detector"]);
    for args in [&["jobs"][..], &["nodes"], &["audit"], &["setup"], &["submit", "--kind", "sleep"]] {
        assert_exit(&cluster.faultline(args), 3, &["cannot be reached", &cluster.server.url(), "faultline up"]);
    }
    cluster.server.restart().await;
    cluster.wait_for_nodes(1).await;
    cluster.wait_until("NATS takes jobs again", async || cluster.nats.is_connected()).await;
    assert_a_job_commits(&cluster).await;
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused_with_the_way_out() {
    let server = TestNats::start_with_config("max_payload: 1MB\n").await;
    assert_exit(&faultline_at(&server.url(), &["setup"]), 1, &["JetStream is off", "jetstream"]);
    let submit = faultline_at(&server.url(), &["jobs"]);
    assert_ne!(submit.status.code(), Some(0), "{}", text(&submit));
}

#[tokio::test]
async fn a_stream_that_is_there_with_another_configuration_is_named_and_nothing_is_changed() {
    let server = TestNats::start().await;
    let common = Common { nats_url: server.url(), ..Common::default() };
    let nats = connect_once(&common, "test", "test").await.expect("the test's own NATS answers");
    let other = Config {
        name: streams::JOBS.into(),
        subjects: vec![subjects::QUEUE_ALL.into()],
        max_age: Duration::from_secs(60),
        ..Config::default()
    };
    nats.jetstream.create_stream(other).await.expect("a stream is made");
    let setup = faultline_at(&server.url(), &["setup"]);
    assert_exit(&setup, 1, &["nothing was changed", "stream JOBS", "retention", "max_age is 1 min"]);
    assert!(nats.jetstream.get_stream(streams::RESULTS).await.is_err(), "and nothing was created");
    // The way out that the message names.
    nats.jetstream.delete_stream(streams::JOBS).await.expect("the stream is removed");
    assert_exit(&faultline_at(&server.url(), &["setup"]), 0, &["stream JOBS"]);
}

#[tokio::test]
async fn a_full_queue_refuses_jobs_and_loses_none() {
    let server = TestNats::start().await;
    assert_exit(&faultline_at(&server.url(), &["setup", "--jobs-max-bytes", "65536"]), 0, &["stream JOBS"]);
    let mut cluster = Cluster::bare(server).await;
    let submitter = Submitter::new(&cluster.nats);
    let mut accepted = Vec::new();
    let (refused, error) = loop {
        assert!(accepted.len() < 1_000, "64 KiB take a thousand jobs");
        let mut job = sleep_job(10);
        job.priority = Priority::High;
        match submitter.submit(&job).await {
            Ok(_) => accepted.push(job.id),
            Err(error) => break (job, error),
        }
    };
    assert!(matches!(error, SubmitError::QueueFull(_)) && error.is_transient(), "{error}");
    assert!(error.to_string().contains("queue is full") && error.to_string().contains("--jobs-max-bytes"), "{error}");
    cluster.assert_audit_clean();

    // The command keeps trying with the same id, and gets through as soon as there is room: here by the way out that the error names.
    let waiting =
        cluster.faultline_command(&["submit", "--kind", "sleep", "--duration", "10ms", "-o", "json"]).stdout(Stdio::piped()).spawn();
    let waiting = waiting.expect("faultline starts");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_exit(&cluster.faultline(&["setup", "--jobs-max-bytes", "1073741824"]), 0, &["changed: stream JOBS"]);
    let done = tokio::task::spawn_blocking(move || waiting.wait_with_output()).await.expect("it is waited for").expect("it ends");
    assert_exit(&done, 0, &["\"submitted\": 1"]);
    submitter.submit(&refused).await.expect("the same id is taken now");
    accepted.push(refused.id);

    cluster.scheduler("scheduler-1");
    cluster.worker(1);
    let records = cluster.wait_ended(&accepted).await;
    assert!(records.values().all(|record| record.state == JobState::Committed && record.history.len() == 1), "{records:?}");
    cluster.assert_audit_clean();
}

/// The records' stream is the other one that can fill up: jobs are refused while there is room left for the ends of those that are open.
#[tokio::test]
async fn records_that_are_nearly_full_refuse_new_jobs_and_those_that_are_open_end() {
    let server = TestNats::start().await;
    let mut cluster = Cluster::bare(server).await;
    for (flags, field) in [
        (vec!["setup", "--results-max-bytes", "1000000"], "--results-max-bytes: 1000000 is too small"),
        (vec!["setup", "--jobs-max-bytes", "4294967296"], "--jobs-max-bytes and --results-max-bytes"),
    ] {
        assert_exit(&cluster.faultline(&flags), 2, &[field, "give"]);
    }
    // Smaller than `setup` makes it, by the server's own means.
    let stream = cluster.nats.jetstream.get_stream(streams::RESULTS).await.expect("RESULTS is there");
    let small = Config { max_bytes: 65_536, ..stream.cached_info().config.clone() };
    cluster.nats.jetstream.update_stream(&small).await.expect("an administrator may");
    let submitter = Submitter::new(&cluster.nats);
    let mut accepted = Vec::new();
    let error = loop {
        assert!(accepted.len() < 1_000, "64 KiB take a thousand records");
        let job = sleep_job(10);
        match submitter.submit(&job).await {
            Ok(_) => accepted.push(job.id),
            Err(error) => break error,
        }
        // How full it is is asked for now and then.
        tokio::time::sleep(Duration::from_millis(30)).await;
    };
    assert!(
        matches!(error, SubmitError::ResultsFull(_)) && error.is_transient() && error.to_string().contains("kept for the ends"),
        "{error}"
    );
    assert_exit(&cluster.faultline(&["doctor"]), 5, &["room", "--results-max-bytes"]);
    cluster.log_level("info");
    cluster.scheduler("scheduler-1");
    cluster.worker(1);
    // Which of them come first is chance; with all of RESULTS taken by open markers it would be none.
    let some_end = async || {
        let mut ended = 0;
        for job in &accepted {
            ended += usize::from(matches!(read_record(&cluster.nats, *job).await, Ok(Some(found)) if !found.is_open));
        }
        ended >= 5
    };
    cluster.wait_until("some of those that are open end in the room that is kept", some_end).await;
    assert_exit(&cluster.faultline(&["setup", "--results-max-bytes", "2147483648"]), 0, &["changed: stream RESULTS"]);
    let records = cluster.wait_ended(&accepted).await;
    assert!(records.values().all(|record| record.state == JobState::Committed && record.failures == 0), "{records:?}");
    assert_running(&mut cluster, &["scheduler-1", "worker-01"]);
    cluster.assert_audit_clean();
}
