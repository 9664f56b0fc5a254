//! Submitters that die between their two writes: the open markers that they leave are swept up, however long the queue is.

use async_nats::header;
use faultline_engine::job::{JobId, JobSpec, JobState};
use faultline_protocol::codec::{self, HEADER_JOB_OPEN_SEQ, HEADER_JOB_STATE};
use faultline_protocol::messages::{OpenMarker, QueuedJob};
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock::{random_u128, unix_ms};
use faultline_runtime::record::OPEN;
use faultline_tests::cluster::{Cluster, sleep_job};
use faultline_tests::nats::TestNats;

/// Many more than are looked at closely in one sweep.
const WAITING: u64 = 3_000;
const ORPHANS: u64 = 20;

/// A job whose id says that it was submitted so long ago: no submitter of ours would take it any more.
fn old_job(age_ms: u64) -> JobSpec {
    JobSpec { id: JobId::new(unix_ms() - age_ms, random_u128()), ..sleep_job(10) }
}

/// The first write of a submission.
async fn open(cluster: &Cluster, spec: &JobSpec) -> u64 {
    let marker = OpenMarker {
        job: spec.id,
        name: spec.name.clone(),
        kind: spec.kind.clone(),
        priority: spec.priority,
        submitted_at_ms: spec.submitted_at_ms,
    };
    let mut headers = codec::headers_for::<OpenMarker>();
    headers.insert(HEADER_JOB_STATE, OPEN);
    headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
    cluster.nats.publish_durable_with(subjects::result(spec.id), headers, &marker).await.expect("RESULTS takes it")
}

/// The second one.
async fn queue(cluster: &Cluster, spec: &JobSpec, open_seq: u64) {
    let mut headers = codec::headers_for::<QueuedJob>();
    headers.insert(HEADER_JOB_OPEN_SEQ, open_seq.to_string());
    let subject = subjects::queue(spec.priority, spec.class(), spec.id);
    cluster.nats.publish_durable_with(subject, headers, &QueuedJob { spec: spec.clone() }).await.expect("JOBS takes it");
}

#[tokio::test]
async fn orphans_behind_a_long_queue_are_abandoned_and_what_waits_is_left_alone() {
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    let orphan_ms = u64::try_from(streams::ORPHAN_AFTER.as_millis()).unwrap();
    for at in 0..WAITING {
        let spec = old_job(3 * orphan_ms + WAITING - at);
        let open_seq = open(&cluster, &spec).await;
        queue(&cluster, &spec, open_seq).await;
    }
    let orphans: Vec<JobSpec> = (0..ORPHANS).map(|_| old_job(2 * orphan_ms)).collect();
    let young = old_job(orphan_ms / 4);
    for spec in orphans.iter().chain([&young]) {
        open(&cluster, spec).await;
    }
    // No worker: all that is queued waits.
    cluster.scheduler("scheduler-1");
    let ids: Vec<JobId> = orphans.iter().map(|spec| spec.id).collect();
    let ended = cluster.wait_ended(&ids).await;
    assert!(ended.values().all(|record| record.state == JobState::Abandoned), "{ended:?}");
    let audit = cluster.faultline(&["audit"]);
    let text = String::from_utf8_lossy(&audit.stdout).into_owned();
    let figures = format!("3,021 = 0 committed + 0 dead + 0 cancelled + {ORPHANS} abandoned + 3,001 open");
    assert!(audit.status.success() && text.contains(&figures), "{text}");
    assert!(text.contains("1 being submitted"), "{text}");
}
