//! Wall clocks that jump: work goes on as if nothing had happened, and `doctor` names whose clock is off.

use std::path::PathBuf;
use std::time::Duration;

use faultline_engine::job::{JobId, JobState};
use faultline_protocol::messages::EventKind;
use faultline_tests::cluster::{Cluster, PATIENCE, sleep_job};
use faultline_tests::nats::TestNats;
use tokio::time::Instant;

/// A little more, so that the milliseconds of a comparison do not make it 59 minutes in words.
const HOUR_MS: i64 = 3_600_500;
/// Far below what a clock that is followed would cost.
const SOON: Duration = Duration::from_secs(20);

/// Submits short jobs, which must be committed soon and undisturbed.
async fn work_goes_on(cluster: &Cluster, when: &str) {
    let began = Instant::now();
    let jobs = cluster.submit(&(0..10).map(|_| sleep_job(50)).collect::<Vec<_>>()).await;
    let records = cluster.wait_ended(&jobs).await;
    let took = began.elapsed();
    println!("{when}: 10 jobs in {} ms", took.as_millis());
    assert!(took < SOON, "{when}: {} ms", took.as_millis());
    assert!(records.values().all(|record| record.state == JobState::Committed && record.requeues == 0), "{when}: {records:?}");
}

fn doctor(cluster: &Cluster) -> String {
    String::from_utf8_lossy(&cluster.faultline(&["doctor"]).stdout).into_owned()
}

async fn doctor_says(cluster: &Cluster, words: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = doctor(cluster);
        if said.contains(words) {
            return;
        }
        assert!(Instant::now() < deadline, "doctor does not say `{words}`:\n{said}");
    }
}

async fn long_jobs(cluster: &Cluster) -> Vec<JobId> {
    let jobs = cluster.submit(&(0..4).map(|_| sleep_job(12_000)).collect::<Vec<_>>()).await;
    for job in &jobs {
        cluster.wait_running(*job).await;
    }
    jobs
}

#[tokio::test]
async fn no_service_follows_its_wall_clock_and_doctor_names_those_that_are_off() {
    let mut cluster = Cluster::start(2).await;
    cluster.spawn("dashboard", "faultline-dashboard", &["--port", "0"]);
    cluster.spawn("generator", "faultline-generator", &["--rate", "120", "--unbounded-rate", "--mix", "sleep=1", "--first-jobs", "0"]);
    // Every process, to and fro, while it runs.
    for (name, ahead_ms) in [
        ("scheduler-1", -60_000),
        ("scheduler-1", -HOUR_MS),
        ("worker-01", 2 * HOUR_MS),
        ("worker-02", -2 * HOUR_MS),
        ("fault-detector", HOUR_MS),
        ("fault-detector", -HOUR_MS),
        ("dashboard", HOUR_MS),
        ("generator", -HOUR_MS),
    ] {
        cluster.set_clock(name, ahead_ms);
        work_goes_on(&cluster, &format!("{name} {ahead_ms} ms ahead")).await;
    }
    // A leader that begins an hour ahead adopts what runs and lets it run.
    let long = long_jobs(&cluster).await;
    cluster.set_clock("scheduler-2", HOUR_MS);
    cluster.scheduler("scheduler-2");
    cluster.kill9("scheduler-1");
    work_goes_on(&cluster, "a new leader, an hour ahead").await;
    let records = cluster.wait_ended(&long).await;
    assert!(records.values().all(|record| record.state == JobState::Committed && record.history.len() == 1), "{records:?}");
    for words in [
        "scheduler-2 is 1 h ahead",
        "worker-01 is 2 h ahead",
        "worker-02 is 2 h behind",
        "fault-detector is 1 h behind",
        "dashboard is 1 h ahead",
        "generator is 1 h behind",
    ] {
        doctor_says(&cluster, words).await;
    }
    let judged = cluster.events_of(&[EventKind::NodeSuspect, EventKind::NodeGone, EventKind::NodeDead]).await;
    assert!(judged.is_empty(), "no node fell silent: {judged:?}");
    assert!(cluster.terminate("generator").await);
    cluster.assert_audit_clean();
}

/// The real thing: the library answers every call for the wall clock, also those that are not ours.
#[tokio::test]
async fn a_scheduler_whose_machine_is_set_back_and_forth_places_as_before() {
    let Some(library) = faketime() else { return eprintln!("SKIPPED: libfaketime.so.1 is not installed (package libfaketime)") };
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    cluster.detector();
    cluster.worker(1);
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let stamp = folder.path().join("stamp");
    let set = |offset: &str| std::fs::write(&stamp, offset).expect("the folder is there");
    set("+0");
    let environment = [
        ("LD_PRELOAD", library.to_str().expect("a path in text")),
        ("FAKETIME_TIMESTAMP_FILE", stamp.to_str().expect("a path in text")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_NO_CACHE", "1"),
    ];
    cluster.spawn_with("scheduler-1", "faultline-scheduler", &["--name", "scheduler-1"], &environment);
    cluster.wait_for_nodes(1).await;
    let long = long_jobs(&cluster).await;
    for offset in ["-60", "-3600", "+3600", "-7200"] {
        set(offset);
        work_goes_on(&cluster, &format!("clock set to {offset} s")).await;
    }
    let records = cluster.wait_ended(&long).await;
    assert!(records.values().all(|record| record.state == JobState::Committed && record.history.len() == 1), "{records:?}");
    doctor_says(&cluster, "scheduler-1 is 2 h behind").await;
    cluster.assert_audit_clean();
}

/// Where Debian, Fedora and a local build put it.
fn faketime() -> Option<PathBuf> {
    let folders =
        ["/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib64/faketime", "/usr/local/lib/faketime"];
    folders.iter().map(|folder| PathBuf::from(folder).join("libfaketime.so.1")).find(|path| path.is_file())
}
