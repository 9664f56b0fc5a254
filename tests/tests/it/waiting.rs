//! Commands that wait while nothing answers: they say so, and go on when something does.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use faultline_tests::cluster::Cluster;
use faultline_tests::nats::TestNats;
use tokio::sync::mpsc;
use tokio::time::timeout;

#[tokio::test]
async fn a_submission_that_waits_says_that_no_scheduler_answers_and_ends_once_one_does() {
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    let mut command = cluster.faultline_command(&["submit", "--kind", "sleep", "--duration", "10ms", "--wait"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("faultline starts");
    let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let (out, mut said) = mpsc::unbounded_channel();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(out.send(line))));

    // The leader is asked for 5 s which kinds there are, and then it is silent for 4 s.
    hear(&mut said, "no scheduler answers: the jobs are queued").await;
    assert!(child.try_wait().expect("it was started").is_none(), "it waits");
    cluster.scheduler("scheduler-1");
    hear(&mut said, "a scheduler answers again").await;
    cluster.worker(1);
    let status = tokio::task::spawn_blocking(move || child.wait().expect("it ends")).await.expect("it is waited for");
    assert_eq!(status.code(), Some(0));
}

async fn hear(said: &mut mpsc::UnboundedReceiver<String>, words: &str) {
    let mut before = Vec::new();
    while let Ok(Some(line)) = timeout(Duration::from_secs(60), said.recv()).await {
        if line.contains(words) {
            return;
        }
        before.push(line);
    }
    panic!("`{words}` is not told: {before:?}");
}
