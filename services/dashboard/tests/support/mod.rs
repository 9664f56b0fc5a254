//! A nats-server of its own on a free loopback port, and the messages that the other services would send.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::header;
use faultline_engine::job::{AttemptId, AttemptOutcome, AttemptSummary, JobId, Priority};
use faultline_engine::node::GpuTelemetry;
use faultline_protocol::codec::{self, HEADER_JOB_STATE};
use faultline_protocol::messages::{ClusterStats, Heartbeat, JobState, OpenMarker, Query, QueryReply, RunningBrief, TerminalRecord};
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock::{random_u128, unix_ms};
use faultline_runtime::config::Common;
use faultline_runtime::connect::{Nats, connect_once};
use futures::StreamExt;

const NAME: &str = "nats-server";

/// Stops when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    _data: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; then no process is left to signal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary() -> Option<PathBuf> {
    let named = std::env::var_os("FAULTLINE_TEST_NATS_SERVER").map(PathBuf::from);
    let on_path =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).map(|dir| dir.join(NAME)).collect::<Vec<_>>());
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/nats/bin").join(NAME);
    named.into_iter().chain(on_path).chain([fetched]).find(|path| path.is_file())
}

/// Starts a server with everything provisioned. `None`, with a printed line, when there is no binary.
pub(crate) async fn start() -> Option<(Server, Nats)> {
    let Some(binary) = binary() else {
        println!("SKIPPED: no nats-server: set FAULTLINE_TEST_NATS_SERVER, or put one on PATH or into .tools/nats/bin");
        return None;
    };
    let data = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new(binary)
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
        .arg(data.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("nats://127.0.0.1:{port}");
    let server = Server { child, url: url.clone(), _data: data };
    let nats = connect(&url, "cli").await;
    for config in streams::stream_configs(streams::Provision::default()) {
        nats.jetstream.create_stream(config).await.unwrap();
    }
    for config in streams::bucket_configs(streams::Provision::default()) {
        nats.jetstream.create_key_value(config).await.unwrap();
    }
    Some((server, nats))
}

pub(crate) async fn connect(url: &str, user: &str) -> Nats {
    let common = Common { nats_url: url.to_owned(), ..Common::default() };
    for _ in 0..100 {
        if let Ok(nats) = connect_once(&common, user, user).await {
            return nats;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nats-server at {url} does not answer");
}

pub(crate) fn new_job() -> JobId {
    JobId::new(unix_ms(), random_u128())
}

/// Writes an open marker, as a submitter does. Returns its sequence.
pub(crate) async fn open_job(nats: &Nats, job: JobId, name: &str) -> u64 {
    let marker = OpenMarker { job, name: name.into(), kind: "matrix".into(), priority: Priority::High, submitted_at_ms: unix_ms() };
    let mut headers = codec::headers_for::<OpenMarker>();
    headers.insert(HEADER_JOB_STATE, "open");
    headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
    nats.publish_durable_with(subjects::result(job), headers, &marker).await.unwrap()
}

/// Commits a job, as a worker does.
pub(crate) async fn commit_job(nats: &Nats, job: JobId, name: &str, open_seq: u64) {
    let attempt = |node: &str, outcome| AttemptSummary {
        attempt: AttemptId::new(unix_ms(), random_u128()),
        node: node.into(),
        incarnation: 1,
        gpus: vec![0],
        gpu_milli: 0,
        placed_at_ms: unix_ms(),
        started_at_ms: Some(unix_ms()),
        ended_at_ms: Some(unix_ms()),
        outcome,
        detail: String::new(),
        why: "least loaded".into(),
        choice: None,
    };
    let record = TerminalRecord {
        job,
        name: name.into(),
        kind: "matrix".into(),
        priority: Priority::High,
        state: JobState::Committed,
        attempt: None,
        open_seq,
        submitted_at_ms: unix_ms(),
        ended_at_ms: unix_ms(),
        result: "checked".into(),
        reason: String::new(),
        failures: 0,
        requeues: 1,
        history: vec![attempt("gpu-node-01", AttemptOutcome::Lost), attempt("gpu-node-02", AttemptOutcome::Committed)],
        submission: None,
    };
    let mut headers = codec::headers_for::<TerminalRecord>();
    headers.insert(HEADER_JOB_STATE, "committed");
    nats.publish_durable_with(subjects::result(job), headers, &record).await.unwrap();
}

/// A heartbeat, as a node sends it.
pub(crate) async fn beat(nats: &Nats, node: &str, seq: u64, running: Vec<RunningBrief>) {
    // From JSON, so that fields that are added with a default need no change here.
    let bare = serde_json::json!({"node": node, "worker": "worker-01", "incarnation": 1, "seq": seq, "sent_at_ms": unix_ms(), "running": [], "gpus": []});
    let gpus = vec![GpuTelemetry {
        utilisation_percent: Some(62.0),
        memory_used_mib: Some(9_000),
        memory_total_mib: Some(24_576),
        temperature_c: Some(61.0),
        power_w: Some(240.0),
        ..GpuTelemetry::default()
    }];
    let heartbeat = Heartbeat { running, gpus, ..serde_json::from_value(bare).unwrap() };
    nats.publish(subjects::heartbeat(node), &heartbeat).await.unwrap();
}

/// Sends heartbeats until it is dropped with the test: one that comes before the dashboard listens is lost.
pub(crate) fn keep_beating(nats: &Nats, node: &'static str) {
    let nats = nats.clone();
    tokio::spawn(async move {
        for seq in 1.. {
            beat(&nats, node, seq, vec![]).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}

/// Answers queries as a leader that holds nothing, until it is aborted.
pub(crate) async fn fake_leader(nats: Nats) -> tokio::task::JoinHandle<()> {
    let mut questions = nats.client.subscribe(subjects::SCHED_QUERY).await.unwrap();
    nats.client.flush().await.unwrap();
    tokio::spawn(async move {
        while let Some(message) = questions.next().await {
            let answer = match codec::decode::<Query>(message.headers.as_ref(), &message.payload).unwrap() {
                Query::Stats => {
                    QueryReply::Stats(Box::new(ClusterStats { leader: "scheduler-1".into(), running: 41, ..ClusterStats::default() }))
                }
                Query::Nodes { .. } | Query::Node { .. } => QueryReply::Nodes(vec![]),
                Query::Jobs { .. } | Query::Job { .. } => QueryReply::Jobs(vec![]),
                Query::Goodput => QueryReply::Goodput(Box::default()),
                Query::WouldFit(_) => QueryReply::Error("nothing is held here".into()),
            };
            nats.reply(message.reply.unwrap(), &answer).await.unwrap();
        }
    })
}
