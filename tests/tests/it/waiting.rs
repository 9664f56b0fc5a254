//! Commands that wait while nothing answers: they say so, and go on when something does.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use faultline_tests::cluster::Cluster;
use faultline_tests::nats::TestNats;
use tokio::time::sleep;

#[tokio::test]
async fn a_submission_that_waits_says_that_no_scheduler_answers_and_ends_once_one_does() {
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    let mut command = cluster.faultline_command(&["submit", "--kind", "sleep", "--duration", "10ms", "--wait"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("faultline starts");
    // The leader is asked for 5 s which kinds there are, and then it is silent for 4 s.
    sleep(Duration::from_secs(15)).await;
    assert!(child.try_wait().expect("it was started").is_none(), "it waits");
    cluster.scheduler("scheduler-1");
    cluster.worker(1);
    let mut said = String::new();
    let status = tokio::task::spawn_blocking(move || {
        child.stderr.take().expect("it is piped").read_to_string(&mut said).expect("text");
        (child.wait().expect("it ends"), said)
    });
    let (status, said) = status.await.expect("it is waited for");
    assert_eq!(status.code(), Some(0), "{said}");
    let told = |words: &str| said.find(words).unwrap_or_else(|| panic!("`{words}` is not told: {said}"));
    assert!(told("no scheduler answers: the jobs are queued") < told("a scheduler answers again"), "{said}");
}
