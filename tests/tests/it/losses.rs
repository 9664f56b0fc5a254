//! What `audit` says when the world takes something away: messages of JOBS, the ledger, a night of records, a newer state of the disk.
//! It never calls a loss well, and it never calls wrong what is well.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use faultline_engine::job::{JobId, JobSpec, JobState};
use faultline_engine::ledger::LedgerState;
use faultline_protocol::codec;
use faultline_protocol::streams::{self, KEY_LEDGER, KV_LEDGER};
use faultline_protocol::subjects;
use faultline_runtime::connect::kv_get;
use faultline_runtime::submit::Submitter;
use faultline_tests::cluster::{Cluster, sleep_job};
use faultline_tests::nats::{TEST_CONFIG, TestNats};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// An orphan's age, two surveys, and what a busy machine takes.
const SWEPT_WITHIN: Duration = Duration::from_secs(170);

/// Exit code, and everything it says.
fn audit(cluster: &Cluster, args: &[&str]) -> (Option<i32>, String) {
    said(&cluster.faultline(&[&["audit"], args].concat()))
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

/// What `nats stream rmm JOBS` does.
async fn remove_from_jobs(cluster: &Cluster, job: JobId) {
    let stream = cluster.nats.jetstream.get_stream(streams::JOBS).await.expect("JOBS is there");
    let message = stream.direct_get_last_for_subject(subjects::queue_any(job)).await.expect("the job is queued");
    assert!(stream.delete_message(message.sequence).await.expect("an administrator may"));
}

/// What the leader has stored; nothing while the server does not answer.
async fn stored(cluster: &Cluster) -> LedgerState {
    let Ok(store) = cluster.nats.bucket(KV_LEDGER).await else { return LedgerState::default() };
    kv_get(&store, KEY_LEDGER).await.ok().flatten().unwrap_or_default()
}

/// Waits until the stored ledger has counted so many committed jobs.
async fn wait_counted(cluster: &Cluster, committed: u64) {
    cluster.wait_until("the ledger counts them", async || stored(cluster).await.counts.committed == committed).await;
}

#[tokio::test]
async fn a_job_whose_message_was_deleted_is_named_at_once_and_for_good_also_when_it_has_been_swept_up() {
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    let jobs = cluster.submit(&[sleep_job(10), sleep_job(10), sleep_job(10)]).await;
    cluster.assert_audit_clean();
    let lost = jobs[1];
    remove_from_jobs(&cluster, lost).await;
    // No leader has ever led: the sum alone says it.
    let (code, text) = audit(&cluster, &["--wait", "2s"]);
    assert!(code == Some(5) && text.contains(&format!("{lost} was queued and has lost its message")), "{text}");

    cluster.scheduler("scheduler-1");
    cluster.worker(1);
    let ended = cluster.wait_ended(&[jobs[0], jobs[2]]).await;
    assert!(ended.values().all(|record| record.state == JobState::Committed));
    let (code, text) = said(&cluster.faultline(&["audit", "--watch", "--for", "8s"]));
    assert!(code == Some(5) && text.contains(&format!("{lost} is lost")), "{text}");

    let give_up = Instant::now() + SWEPT_WITHIN;
    while stored(&cluster).await.lost == 0 {
        assert!(Instant::now() < give_up, "the sweeper never came");
        sleep(Duration::from_secs(1)).await;
    }
    let record = cluster.wait_ended(&[lost]).await.remove(&lost).expect("it has ended");
    assert!(record.state == JobState::Abandoned && record.reason.contains("lost"), "{record:?}");
    for leader in ["scheduler-1", "scheduler-2"] {
        let (code, text) = audit(&cluster, &["--wait", "2s"]);
        assert!(code == Some(5) && text.contains(&lost.to_string()), "under {leader}: {text}");
        let (code, text) = said(&cluster.faultline(&["audit", "--watch", "--for", "5s"]));
        assert!(code == Some(5) && text.contains(&lost.to_string()), "under {leader}: {text}");
        if leader == "scheduler-1" {
            cluster.kill9("scheduler-1");
            cluster.scheduler("scheduler-2");
            let more = cluster.submit(&[sleep_job(10)]).await;
            cluster.wait_ended(&more).await;
            wait_counted(&cluster, 3).await;
        }
    }
}

#[tokio::test]
async fn a_purge_of_waiting_jobs_is_seen_by_the_watch_while_it_happens() {
    let cluster = Cluster::bare(TestNats::start().await).await;
    let jobs = cluster.submit(&[sleep_job(10), sleep_job(10)]).await;
    let mut watching = cluster.faultline_command(&["audit", "--watch", "--for", "20s", "-o", "jsonl"]);
    let watching = watching.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("faultline starts");
    sleep(Duration::from_secs(3)).await;
    let stream = cluster.nats.jetstream.get_stream(streams::JOBS).await.expect("JOBS is there");
    stream.purge().await.expect("an administrator may");
    let output = tokio::task::spawn_blocking(move || watching.wait_with_output()).await.expect("it is waited for").expect("it ends");
    let (code, text) = said(&output);
    assert_eq!(code, Some(5), "{text}");
    for job in jobs {
        assert!(text.lines().any(|line| line.contains("\"finding\":\"lost\"") && line.contains(&job.to_string())), "{job}: {text}");
    }
}

#[tokio::test]
async fn whatever_leaves_jobs_for_a_reason_is_no_loss() {
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    let submitter = Submitter::new(&cluster.nats);
    // One is cancelled while it waits, one is queued a second time without its message id, and one message is not a job at all.
    let (cancelled, twice) = (sleep_job(10), sleep_job(10));
    submitter.submit(&cancelled).await.expect("JOBS takes it");
    let open_seq = submitter.submit(&twice).await.expect("JOBS takes it").open_seq;
    queue_again(&cluster, &twice, open_seq).await;
    let garbage = subjects::queue(twice.priority, "sleep", JobId::new(1, 2));
    cluster.nats.jetstream.publish(garbage, "garbage".into()).await.expect("it is sent").await.expect("JOBS takes it");
    cluster.scheduler("scheduler-1");
    cluster.wait_until("there is a leader", async || cluster.stats().await.is_some()).await;
    assert!(cluster.faultline(&["cancel", &cancelled.id.to_string()]).status.success());
    cluster.worker(1);
    let ended = cluster.wait_ended(&[cancelled.id, twice.id]).await;
    assert_eq!((ended[&cancelled.id].state, ended[&twice.id].state), (JobState::Cancelled, JobState::Committed));
    let is_empty = async || {
        let stream = cluster.nats.jetstream.get_stream(streams::JOBS).await.expect("JOBS is there");
        stream.cached_info().state.messages == 0
    };
    cluster.wait_until("the second message is removed", is_empty).await;
    assert_eq!(stored(&cluster).await.queue.extra, 2, "both were counted before they were removed");
    cluster.assert_audit_clean();
}

/// As a submitter does that repeats itself after the server has forgotten the message's id.
async fn queue_again(cluster: &Cluster, spec: &JobSpec, open_seq: u64) {
    let mut headers = codec::headers_for::<faultline_protocol::messages::QueuedJob>();
    headers.insert(codec::HEADER_JOB_OPEN_SEQ, open_seq.to_string());
    let message = faultline_protocol::messages::QueuedJob { spec: spec.clone() };
    let subject = subjects::queue(spec.priority, spec.class(), spec.id);
    cluster.nats.publish_durable_with(subject, headers, &message).await.expect("JOBS takes it");
}

#[tokio::test]
async fn a_ledger_that_was_deleted_is_written_again_and_counts_right() {
    let cluster = Cluster::start(1).await;
    let jobs = cluster.submit(&[sleep_job(10), sleep_job(10), sleep_job(10)]).await;
    cluster.wait_ended(&jobs).await;
    wait_counted(&cluster, 3).await;
    cluster.nats.jetstream.delete_key_value(KV_LEDGER).await.expect("an administrator may");
    assert!(cluster.faultline(&["setup"]).status.success());
    let more = cluster.submit(&[sleep_job(10)]).await;
    cluster.wait_ended(&more).await;
    wait_counted(&cluster, 4).await;
    cluster.assert_audit_clean();
    let state = stored(&cluster).await;
    assert!(state.counts.missed == 0 && state.setbacks.iter().any(|setback| setback.store == KV_LEDGER), "{state:?}");
}

#[tokio::test]
async fn records_that_expired_in_a_night_are_told_and_fail_nothing() {
    let mut cluster = Cluster::start(1).await;
    let first = cluster.submit(&[sleep_job(10)]).await;
    cluster.wait_ended(&first).await;
    wait_counted(&cluster, 1).await;
    let evening = stored(&cluster).await;
    let more = cluster.submit(&[sleep_job(10), sleep_job(10)]).await;
    cluster.wait_ended(&more).await;
    wait_counted(&cluster, 3).await;
    // The power went before the last two were stored, and in the morning their records have expired.
    cluster.kill9("scheduler-1");
    let store = cluster.nats.bucket(KV_LEDGER).await.expect("the bucket is there");
    let night_ms = 12 * 3_600_000;
    let mut night = evening.clone();
    night.counts.at_ms -= night_ms;
    store.put(KEY_LEDGER, codec::encode(&night)).await.expect("an administrator may");
    cluster.nats.jetstream.get_stream(streams::RESULTS).await.expect("RESULTS is there").purge().await.expect("an administrator may");
    for has_leader in [false, true] {
        let (code, text) = audit(&cluster, &[]);
        assert!(code == Some(0) && text.contains("the records of 2 ended jobs expired") && text.contains("3 = 1 committed"), "{text}");
        if !has_leader {
            cluster.scheduler("scheduler-2");
            cluster.wait_until("the leader has counted them", async || stored(&cluster).await.counts.missed == 2).await;
        }
    }
    let next = cluster.submit(&[sleep_job(10)]).await;
    cluster.wait_ended(&next).await;
    wait_counted(&cluster, 2).await;
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn an_older_copy_of_the_streams_is_noticed_by_a_leader_that_had_counted_further_and_never_forgotten() {
    let mut cluster = Cluster::bare(TestNats::start_local(TEST_CONFIG).await).await;
    cluster.scheduler("scheduler-1");
    cluster.worker(1);
    let copy = copy_between_jobs(&mut cluster).await;
    wait_counted(&cluster, 4).await;

    cluster.server.kill9().await;
    put_back(&mut cluster, &copy).await;
    cluster.wait_until("the leader notices", async || !stored(&cluster).await.setbacks.is_empty()).await;
    let after = cluster.submit(&[sleep_job(10)]).await;
    cluster.wait_ended(&after).await;
    for leader in ["scheduler-1", "scheduler-2"] {
        let (code, text) = audit(&cluster, &["--wait", "2s"]);
        assert!(code == Some(5) && text.contains("RESULTS went back from message"), "under {leader}: {text}");
        cluster.kill9(leader);
        cluster.scheduler("scheduler-2");
        cluster.wait_until("there is a leader", async || cluster.stats().await.is_some()).await;
    }
}

#[tokio::test]
async fn the_watch_tells_a_second_setback_at_once_and_reads_again_what_is_left() {
    let mut cluster = Cluster::bare(TestNats::start_local(TEST_CONFIG).await).await;
    cluster.scheduler("scheduler-1");
    cluster.worker(1);
    let copy = copy_between_jobs(&mut cluster).await;
    wait_counted(&cluster, 4).await;
    cluster.server.kill9().await;
    put_back(&mut cluster, &copy).await;
    cluster.wait_until("the leader notices", async || !stored(&cluster).await.setbacks.is_empty()).await;
    let more = cluster.submit(&[sleep_job(10), sleep_job(10), sleep_job(10)]).await;
    cluster.wait_ended(&more).await;
    wait_counted(&cluster, 7).await;

    let mut watching = cluster.faultline_command(&["audit", "--watch", "--for", "20s", "-o", "jsonl"]);
    let watching = watching.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("faultline starts");
    sleep(Duration::from_secs(4)).await;
    cluster.server.kill9().await;
    put_back(&mut cluster, &copy).await;
    sleep(Duration::from_secs(5)).await;
    let after = cluster.submit(&[sleep_job(10)]).await;
    cluster.wait_ended(&after).await;
    let output = tokio::task::spawn_blocking(move || watching.wait_with_output()).await.expect("it is waited for").expect("it ends");
    let (code, text) = said(&output);
    assert_eq!(code, Some(5), "{text}");
    let second = "RESULTS went back from message 10 to 4";
    for told in ["RESULTS went back from message 8 to 4", second, "JOBS went back from message 5 to 2", "reading it again from its first"] {
        assert!(text.contains(told), "`{told}` is missing: {text}");
    }
    assert!(!text.contains("\"no_record\"") && !text.contains("marker_vanished"), "{text}");
    let lines = || text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let at_ms = |wanted: &str| {
        lines().find(|line| line["note"].as_str().is_some_and(|note| note.contains(wanted))).map(|line| line["at_ms"].as_u64())
    };
    let (back, told) = (at_ms("NATS is back").flatten(), at_ms(second).flatten());
    assert!(told.zip(back).is_some_and(|(told, back)| told <= back + 3_000), "{back:?} {told:?}: {text}");
    let totals = lines().rfind(|line| line["submitted"].is_u64()).expect("totals");
    let sum = |names: &[&str]| names.iter().map(|name| totals[*name].as_u64().unwrap_or(0)).sum::<u64>();
    let right = sum(&["committed", "dead", "cancelled", "abandoned", "missed", "open", "lost_with_store"]);
    assert_eq!(sum(&["submitted", "brought_back"]), right, "{totals}");
}

/// The server is killed, its store copied, and the server started again.
async fn copy_store(cluster: &mut Cluster) -> TempDir {
    let data = cluster.server.data().expect("a local process has a folder");
    let copy = TempDir::new().expect("a temporary folder");
    cluster.server.kill9().await;
    copy_folder(&data, copy.path());
    cluster.server.restart().await;
    copy
}

/// A copy of the store that knows two jobs, which have been counted; two more have ended since.
async fn copy_between_jobs(cluster: &mut Cluster) -> TempDir {
    let first = cluster.submit(&[sleep_job(10), sleep_job(10)]).await;
    cluster.wait_ended(&first).await;
    wait_counted(cluster, 2).await;
    let copy = copy_store(cluster).await;
    let more = cluster.submit(&[sleep_job(10), sleep_job(10)]).await;
    cluster.wait_ended(&more).await;
    copy
}

/// A dead server starts with this copy of its store.
async fn put_back(cluster: &mut Cluster, copy: &TempDir) {
    let data = cluster.server.data().expect("a local process has a folder");
    std::fs::remove_dir_all(&data).expect("the newer state is removed");
    copy_folder(copy.path(), &data);
    cluster.server.restart().await;
}

/// Two schedulers, of which the first leads, and two jobs of which an older copy knows; then two more, of which it does not.
async fn two_that_know_more_than_a_copy() -> (Cluster, TempDir) {
    let mut cluster = Cluster::bare(TestNats::start_local(TEST_CONFIG).await).await;
    cluster.scheduler("scheduler-1");
    cluster.wait_until("there is a leader", async || cluster.stats().await.is_some()).await;
    cluster.scheduler("scheduler-2");
    cluster.worker(1);
    let copy = copy_between_jobs(&mut cluster).await;
    // Two looks of a leader.
    sleep(Duration::from_secs(2)).await;
    (cluster, copy)
}

async fn assert_noticed(cluster: &Cluster) {
    let noticed = async || {
        let setbacks = stored(cluster).await.setbacks;
        let is_told =
            |store: &str, from, to| setbacks.iter().any(|told| (told.store.as_str(), told.from_seq, told.to_seq) == (store, from, to));
        is_told("RESULTS", 8, 4) && is_told("JOBS", 4, 2)
    };
    cluster.wait_until("it is noticed", noticed).await;
    let (code, text) = audit(cluster, &["--wait", "2s"]);
    let is_named = text.contains("RESULTS went back from message 8 to 4") && text.contains("JOBS went back from message 4 to 2");
    assert!(code == Some(5) && is_named, "{text}");
}

/// Also when the server is back so soon that the leader keeps the lease.
#[tokio::test]
async fn an_older_copy_of_everything_is_noticed_whoever_of_two_leads_next() {
    for leads_on in [true, false] {
        let (mut cluster, copy) = two_that_know_more_than_a_copy().await;
        cluster.server.kill9().await;
        if !leads_on {
            cluster.kill9("scheduler-1");
        }
        put_back(&mut cluster, &copy).await;
        assert_noticed(&cluster).await;
    }
}

#[tokio::test]
async fn a_standby_that_knew_better_tells_a_leader_that_did_not() {
    let (mut cluster, copy) = two_that_know_more_than_a_copy().await;
    cluster.server.kill9().await;
    cluster.kill9("scheduler-1");
    cluster.freeze("scheduler-2");
    put_back(&mut cluster, &copy).await;
    cluster.scheduler("scheduler-3");
    cluster.wait_until("there is a leader", async || cluster.stats().await.is_some()).await;
    let (code, text) = audit(&cluster, &["--wait", "2s"]);
    assert_eq!(code, Some(0), "the leader cannot know: {text}");
    cluster.thaw("scheduler-2");
    assert_noticed(&cluster).await;
    let after = cluster.submit(&[sleep_job(10)]).await;
    cluster.wait_ended(&after).await;
    assert_noticed(&cluster).await;
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file is copied");
        }
    }
}
