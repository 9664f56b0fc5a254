//! `audit` and `audit --watch` on a real cluster: clean while all is well, through the death of NATS and of the leader, and
//! not clean once a second end is forged.

use std::process::{Child, Stdio};
use std::time::Duration;

use faultline_engine::job::JobState;
use faultline_protocol::codec::{self, HEADER_JOB_STATE};
use faultline_protocol::messages::TerminalRecord;
use faultline_protocol::subjects;
use faultline_tests::cluster::{Cluster, sleep_job};
use rustix::process::{Pid, Signal, kill_process};

fn watch(cluster: &Cluster, args: &[&str]) -> Child {
    let mut command = cluster.faultline_command(&["audit", "--watch"]);
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("faultline starts")
}

/// Exit code, standard output and error.
async fn end(child: Child) -> (Option<i32>, String, String) {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.expect("it is waited for").expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn watching_stays_clean_through_the_death_of_nats_and_of_the_leader_and_ends_with_ctrl_c() {
    let mut cluster = Cluster::start(2).await;
    cluster.scheduler("scheduler-2");
    let child = watch(&cluster, &["-o", "jsonl"]);
    let mut jobs = cluster.submit(&(0..30).map(|_| sleep_job(50)).collect::<Vec<_>>()).await;
    cluster.wait_ended(&jobs).await;
    cluster.server.kill9().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    cluster.server.restart().await;
    cluster.kill9("scheduler-1");
    cluster.wait_until("NATS takes jobs again", async || cluster.nats.is_connected()).await;
    let more = cluster.submit(&(0..30).map(|_| sleep_job(50)).collect::<Vec<_>>()).await;
    cluster.wait_ended(&more).await;
    jobs.extend(more);
    cluster
        .wait_until("the leader has counted them", async || cluster.stats().await.is_some_and(|stats| stats.ledger.committed == 60))
        .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let (code, out, err) = end(child).await;
    assert_eq!(code, Some(0), "{out}\n{err}");
    let last: serde_json::Value = serde_json::from_str(out.lines().last().expect("totals")).expect("a line of JSON");
    assert_eq!((last["submitted"].as_u64(), last["committed"].as_u64(), last["open"].as_u64()), (Some(60), Some(60), Some(0)), "{out}");
    for note in ["NATS does not answer", "NATS is back", "scheduler-2 leads"] {
        assert!(out.contains(note), "`{note}` is not told:\n{out}");
    }
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn that_no_scheduler_answers_is_said_by_both() {
    let cluster = Cluster::start(1).await;
    cluster.freeze("scheduler-1");
    let child = watch(&cluster, &["-o", "jsonl", "--for", "20s"]);
    let jobs = cluster.submit(&[sleep_job(10)]).await;
    let audit = cluster.faultline(&["audit"]);
    let text = String::from_utf8_lossy(&audit.stdout).into_owned();
    assert!(audit.status.success() && text.contains("\nno scheduler answers: 1 open job waits until one leads\n"), "{text}");
    tokio::time::sleep(Duration::from_secs(11)).await;
    cluster.thaw("scheduler-1");
    cluster.wait_ended(&jobs).await;
    let (code, out, err) = end(child).await;
    assert_eq!(code, Some(0), "{out}\n{err}");
    let at = |note: &str| out.find(note).unwrap_or_else(|| panic!("`{note}` is not told:\n{out}"));
    assert!(at("no scheduler answers: open jobs wait until one leads") < at("a scheduler answers again"), "{out}");
    let text = cluster.faultline(&["audit"]).stdout;
    assert!(!String::from_utf8_lossy(&text).contains("no scheduler answers"));
}

#[tokio::test]
async fn a_forged_second_end_is_found_by_both() {
    let cluster = Cluster::start(1).await;
    let jobs = cluster.submit(&[sleep_job(10), sleep_job(10)]).await;
    let records = cluster.wait_ended(&jobs).await;
    let (code, out, err) = end(watch(&cluster, &["--for", "3s"])).await;
    assert_eq!(code, Some(0), "{out}\n{err}");
    let child = watch(&cluster, &["-o", "jsonl", "--for", "15s"]);
    // Once it has told its totals it has begun to read.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let forged = TerminalRecord { state: JobState::Dead, result: "forged".into(), ..records[&jobs[0]].clone() };
    let mut headers = codec::headers_for::<TerminalRecord>();
    headers.insert(HEADER_JOB_STATE, "dead");
    cluster.nats.publish_durable_with(subjects::result(jobs[0]), headers, &forged).await.expect("nothing fences an administrator");
    let (code, out, err) = end(child).await;
    assert_eq!(code, Some(5), "{out}\n{err}");
    let found = out.lines().find(|line| line.contains("\"end_changed\"")).unwrap_or_else(|| panic!("not found:\n{out}"));
    assert!(found.contains(&jobs[0].to_string()), "{found}");
    let audit = cluster.faultline(&["audit", "--wait", "3s"]);
    assert_eq!(audit.status.code(), Some(5), "{}", String::from_utf8_lossy(&audit.stdout));
}
