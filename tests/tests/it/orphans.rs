//! Submitters that die between their two writes: the open markers that they leave are swept up, however long the queue is.

use std::time::Duration;

use faultline_engine::job::{JobId, JobSpec, JobState};
use faultline_runtime::clock::{random_u128, unix_ms};
use faultline_runtime::submit::{Submitter, read_record};
use faultline_tests::cluster::{Cluster, sleep_job};
use faultline_tests::nats::TestNats;
use tokio::time::{Instant, sleep};

/// Many more than are looked at closely in one sweep.
const WAITING: u64 = 3_000;
const ORPHANS: u64 = 20;

/// An orphan's age by the server's clock, two surveys, and what a busy machine takes.
const SWEPT_WITHIN: Duration = Duration::from_secs(170);

#[tokio::test]
async fn orphans_behind_a_long_queue_are_abandoned_and_what_waits_is_left_alone() {
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    let submitter = Submitter::new(&cluster.nats);
    for _ in 0..WAITING {
        submitter.submit(&sleep_job(10)).await.expect("JOBS takes it");
    }
    // The ages that their submitters' clocks tell mean nothing.
    let orphans: Vec<JobSpec> =
        (0..ORPHANS).map(|hours| JobSpec { id: JobId::new(unix_ms() - hours * 3_600_000, random_u128()), ..sleep_job(10) }).collect();
    for spec in &orphans {
        submitter.open(spec).await.expect("RESULTS takes it");
    }
    // No worker: all that is queued waits.
    cluster.scheduler("scheduler-1");
    cluster.wait_until("there is a leader", async || cluster.stats().await.is_some()).await;
    let audit = cluster.faultline(&["audit"]);
    let text = String::from_utf8_lossy(&audit.stdout).into_owned();
    assert!(audit.status.success() && text.contains("20 being submitted"), "{text}");

    let young = sleep_job(10);
    let give_up = Instant::now() + SWEPT_WITHIN;
    let mut is_young_open = false;
    loop {
        let open = count_open(&cluster, &orphans).await;
        if open == 0 {
            break;
        }
        assert!(Instant::now() < give_up, "{open} orphans are left");
        if !is_young_open && Instant::now() + SWEPT_WITHIN / 2 > give_up {
            assert_eq!(open, orphans.len(), "they were swept up before the server said that they are old");
            submitter.open(&young).await.expect("RESULTS takes it");
            is_young_open = true;
        }
        sleep(Duration::from_secs(1)).await;
    }
    let ids: Vec<JobId> = orphans.iter().map(|spec| spec.id).collect();
    let ended = cluster.wait_ended(&ids).await;
    assert!(ended.values().all(|record| record.state == JobState::Abandoned), "{ended:?}");
    let audit = cluster.faultline(&["audit"]);
    let text = String::from_utf8_lossy(&audit.stdout).into_owned();
    let figures = format!("3,021 = 0 committed + 0 given up + 0 cancelled + {ORPHANS} abandoned + 3,001 open");
    assert!(audit.status.success() && text.contains(&figures), "{text}");
    assert!(text.contains("1 being submitted") && text.contains("0 messages left JOBS"), "{text}");
}

async fn count_open(cluster: &Cluster, jobs: &[JobSpec]) -> usize {
    let mut open = 0;
    for spec in jobs {
        let found = read_record(&cluster.nats, spec.id).await.expect("it can be read").expect("there is a record");
        open += usize::from(found.is_open);
    }
    open
}
