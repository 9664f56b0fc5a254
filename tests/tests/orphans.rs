//! Submitters that die between their two writes: the open markers that they leave are swept up, however long the queue is.

use faultline_engine::job::{JobId, JobSpec, JobState};
use faultline_protocol::streams;
use faultline_runtime::clock::{ms, random_u128, unix_ms};
use faultline_runtime::submit::Submitter;
use faultline_tests::cluster::{Cluster, sleep_job};
use faultline_tests::nats::TestNats;

/// Many more than are looked at closely in one sweep.
const WAITING: u64 = 3_000;
const ORPHANS: u64 = 20;

/// A job whose id says that it was submitted so long ago: no submitter of ours would take it any more.
fn old_job(age_ms: u64) -> JobSpec {
    JobSpec { id: JobId::new(unix_ms() - age_ms, random_u128()), ..sleep_job(10) }
}

#[tokio::test]
async fn orphans_behind_a_long_queue_are_abandoned_and_what_waits_is_left_alone() {
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    let submitter = Submitter::new(&cluster.nats);
    let orphan_ms = ms(streams::ORPHAN_AFTER);
    for at in 0..WAITING {
        let spec = old_job(3 * orphan_ms + WAITING - at);
        let opened = submitter.open(&spec).await.expect("RESULTS takes it");
        submitter.enqueue(&spec, opened.open_seq).await.expect("JOBS takes it");
    }
    let orphans: Vec<JobSpec> = (0..ORPHANS).map(|_| old_job(2 * orphan_ms)).collect();
    let young = old_job(orphan_ms / 4);
    for spec in orphans.iter().chain([&young]) {
        submitter.open(spec).await.expect("RESULTS takes it");
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
