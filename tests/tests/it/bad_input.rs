//! Whatever arrives, it is refused with a reason, and no service stops: real processes on a real NATS get garbage, absurd numbers,
//! old news and a server that is not as it should be. Afterwards a job commits and `audit` finds nothing.

mod server;

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::Stream;
use faultline_engine::job::{Assignment, AttemptId, JobId, JobSpec, JobState, Param};
use faultline_protocol::codec::{self, HEADER_JOB_OPEN_SEQ, HEADER_KIND, HEADER_VERSION, Message};
use faultline_protocol::messages::{
    AssignBatch, CancelRequest, DeadLetter, EndedBatch, FaultOrder, Goodbye, Heartbeat, KillAttempts, Query, QueryReply, QueuedJob,
    SyncOrder, TerminalRecord, Verdict, WorkerSync,
};
use faultline_protocol::subjects::{self, ControlVerb};
use faultline_protocol::{messages::NodeRegistration, streams};
use faultline_runtime::clock::{random_u128, unix_ms};
use faultline_runtime::connect::PublishError;
use faultline_runtime::submit::{SubmitError, Submitter};
use faultline_tests::cluster::{Cluster, program, sleep_job};
use futures::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Bytes that are not a message: nothing, an unused code, cut short, a promise of four billion entries, nested too deep.
fn garbage() -> [Vec<u8>; 5] {
    [Vec::new(), b"\xc1garbage".to_vec(), b"\x81\xa4node".to_vec(), b"\xdd\xff\xff\xff\xff".to_vec(), vec![0x91; 200_000]]
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// `faultline ARGS` against a server that may be anything or nothing.
fn faultline_at(url: &str, args: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(program("faultline"));
    command.args(args).env("FAULTLINE_NATS_URL", url).env("NO_COLOR", "1").current_dir(folder.path()).stdin(Stdio::null());
    command.output().expect("faultline starts")
}

fn assert_exit(output: &Output, code: i32, words: &[&str]) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

/// Publishes straight into a stream, past everything that would have said no.
async fn publish_raw(cluster: &Cluster, subject: String, headers: HeaderMap, body: impl AsRef<[u8]>) -> u64 {
    let ack = cluster.nats.jetstream.publish_with_headers(subject, headers, body.as_ref().to_vec().into()).await.expect("it is sent");
    ack.await.expect("the stream takes it").sequence
}

/// The open marker that a submitter writes first.
async fn open(cluster: &Cluster, spec: &JobSpec) -> u64 {
    Submitter::new(&cluster.nats).open(spec).await.expect("RESULTS takes it").open_seq
}

fn headers_with_seq(seq: u64) -> HeaderMap {
    let mut headers = codec::headers_for::<QueuedJob>();
    headers.insert(HEADER_JOB_OPEN_SEQ, seq.to_string());
    headers
}

fn queue_of(spec: &JobSpec) -> String {
    subjects::queue(spec.priority, "sleep", spec.id)
}

/// Waits for the dead letter under this id.
async fn dead_letter(cluster: &Cluster, id: &str) -> DeadLetter {
    let dead: Stream<()> = cluster.nats.jetstream.get_stream_no_info(streams::DEAD).await.expect("DEAD is there");
    let mut letter = None;
    cluster
        .wait_until(&format!("{id} is in DEAD"), async || {
            if let Ok(found) = dead.direct_get_last_for_subject(subjects::dead(id)).await {
                letter = Some(codec::decode::<DeadLetter>(Some(&found.headers), &found.payload).expect("a dead letter can be read"));
            }
            letter.is_some()
        })
        .await;
    letter.expect("just found")
}

async fn assert_a_job_commits(cluster: &Cluster) {
    let ids = cluster.submit(&[sleep_job(20)]).await;
    let records = cluster.wait_ended(&ids).await;
    assert_eq!(records[&ids[0]].state, JobState::Committed, "{:?}", records[&ids[0]]);
}

fn assert_running(cluster: &mut Cluster, names: &[&str]) {
    for name in names {
        assert!(cluster.is_running(name), "{name} has stopped\n{}", cluster.log_tails());
    }
}

#[tokio::test]
async fn poison_in_the_queue_goes_to_dead_with_the_reason_and_the_next_job_commits() {
    let mut cluster = Cluster::start(1).await;
    let good = |spec: &JobSpec| codec::encode(&QueuedJob { spec: spec.clone() });
    let mut expected: Vec<(JobId, &str)> = Vec::new();
    let mut with_record = Vec::new();

    // Bodies that are not a job, each with the open marker that its submitter wrote: the record is closed as well.
    for body in garbage() {
        let spec = sleep_job(20);
        let seq = open(&cluster, &spec).await;
        publish_raw(&cluster, queue_of(&spec), headers_with_seq(seq), body).await;
        expected.push((spec.id, "undecodable"));
        with_record.push(spec.id);
    }
    // A server without accounts can be asked to answer with a stored message on any subject. Such a copy is told by its header.
    let relayed = sleep_job(20);
    let mut copied = headers_with_seq(open(&cluster, &relayed).await);
    copied.insert("Nats-Stream", "EVENTS");
    publish_raw(&cluster, queue_of(&relayed), copied, good(&relayed)).await;
    expected.push((relayed.id, "a copy of a stored message"));
    with_record.push(relayed.id);
    // Headers that do not say what it is, or say something else.
    let headerless = sleep_job(20);
    publish_raw(&cluster, queue_of(&headerless), HeaderMap::new(), good(&headerless)).await;
    expected.push((headerless.id, HEADER_KIND));
    for (header, value, reason) in
        [(HEADER_VERSION, "99", "version `99`"), (HEADER_VERSION, "-1", "version"), (HEADER_KIND, "heartbeat", "kind `heartbeat`")]
    {
        let spec = sleep_job(20);
        let seq = open(&cluster, &spec).await;
        let mut headers = headers_with_seq(seq);
        headers.insert(header, value);
        publish_raw(&cluster, queue_of(&spec), headers, good(&spec)).await;
        expected.push((spec.id, reason));
        with_record.push(spec.id);
    }
    // Jobs without an open marker, and one under another's name.
    let unopened = sleep_job(20);
    publish_raw(&cluster, queue_of(&unopened), codec::headers_for::<QueuedJob>(), good(&unopened)).await;
    expected.push((unopened.id, HEADER_JOB_OPEN_SEQ));
    let (named, meant) = (sleep_job(20), sleep_job(20));
    let seq = open(&cluster, &named).await;
    publish_raw(&cluster, queue_of(&named), headers_with_seq(seq), good(&meant)).await;
    expected.push((named.id, "another job"));
    with_record.push(named.id);

    for (id, reason) in &expected {
        let letter = dead_letter(&cluster, &id.to_string()).await;
        assert!(letter.reason.contains(reason), "{id}: `{reason}` is not in `{}`", letter.reason);
        assert!(letter.body_start.len() <= 1024);
    }
    let records = cluster.wait_ended(&with_record).await;
    assert!(records.values().all(|record| record.state == JobState::Dead && !record.reason.is_empty()), "{records:?}");

    // A subject without an id still leaves a letter, under the message's sequence.
    let seq = publish_raw(&cluster, "job.q.normal.sleep.not-an-id".into(), headers_with_seq(1), b"\xc1").await;
    assert_eq!(dead_letter(&cluster, &format!("seq-{seq}")).await.subject, "job.q.normal.sleep.not-an-id");

    assert_a_job_commits(&cluster).await;
    assert_running(&mut cluster, &["scheduler-1", "worker-01", "fault-detector"]);
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn absurd_jobs_that_no_submitter_let_through_are_dead_too() {
    let cluster = Cluster::start(1).await;
    type Change = fn(&mut JobSpec);
    let absurd: [(&str, Change); 6] = [
        ("timeout", |spec| spec.timeout_ms = 0),
        ("timeout", |spec| spec.timeout_ms = u64::MAX),
        ("gpus", |spec| spec.demand.gpu_milli = u32::MAX),
        ("max_retries", |spec| spec.max_retries = u32::MAX),
        ("name", |spec| spec.name = "\u{1b}[2J".repeat(3)),
        ("params", |spec| drop(spec.params.insert("duration_ms".into(), Param::Float(f64::NAN)))),
    ];
    let mut ids = Vec::new();
    for (_, change) in &absurd {
        let mut spec = sleep_job(20);
        change(&mut spec);
        let seq = open(&cluster, &spec).await;
        publish_raw(&cluster, queue_of(&spec), headers_with_seq(seq), codec::encode(&QueuedJob { spec: spec.clone() })).await;
        ids.push(spec.id);
    }
    let records = cluster.wait_ended(&ids).await;
    for ((field, _), id) in absurd.iter().zip(&ids) {
        let record: &TerminalRecord = &records[id];
        assert_eq!(record.state, JobState::Dead, "{record:?}");
        assert!(record.reason.contains(field), "`{field}` is not in `{}`", record.reason);
        assert!(dead_letter(&cluster, &id.to_string()).await.reason.contains(field));
    }
    assert_a_job_commits(&cluster).await;
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_message_larger_than_the_server_takes_is_refused_at_the_door() {
    let cluster = Cluster::start(1).await;
    let mut long = sleep_job(20);
    long.params.insert("text".into(), Param::Text("x".repeat(2 << 20)));
    // A submitter does not even try.
    let refused = Submitter::new(&cluster.nats).submit(&long).await.expect_err("2 MiB of text");
    assert!(matches!(refused, SubmitError::Invalid(_)) && refused.to_string().contains("params"), "{refused}");
    // The client knows what its server takes.
    let published = cluster.nats.publish_durable_with(queue_of(&long), headers_with_seq(1), &QueuedJob { spec: long.clone() }).await;
    let refused = published.expect_err("2 MiB of body");
    assert!(matches!(refused, PublishError::TooLarge(_)) && refused.to_string().contains("larger"), "{refused}");
    // And so does the server, for a client that does not care.
    let mut wild = tokio::net::TcpStream::connect(("127.0.0.1", cluster.server.port())).await.expect("the server listens");
    wild.write_all(format!("CONNECT {{}}\r\nPUB {} {}\r\n", queue_of(&long), 2 << 20).as_bytes()).await.expect("it is sent");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), wild.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(read.is_ok() && answer.contains("Maximum Payload"), "{answer}");

    assert_a_job_commits(&cluster).await;
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_demand_that_no_node_can_ever_meet_is_dead_with_the_reason() {
    let cluster = Cluster::start(2).await;
    let mut model = sleep_job(20);
    model.demand.models = vec!["H900-9TB".into()];
    let mut memory = sleep_job(20);
    memory.demand.gpu_memory_mib = 1 << 20;
    let mut kind = sleep_job(20);
    kind.kind = "telepathy".into();
    let ids = cluster.submit(&[model, memory, kind]).await;
    let waiting = cluster.submit(&[sleep_job(20)]).await;
    assert_eq!(cluster.wait_ended(&waiting).await[&waiting[0]].state, JobState::Committed, "they keep no job waiting");
    let records = cluster.wait_ended(&ids).await;
    for (id, words) in ids.iter().zip(["model", "memory", "executor"]) {
        let record = &records[id];
        assert_eq!((record.state, record.history.len()), (JobState::Dead, 0), "{record:?}");
        assert!(record.reason.contains(words), "`{words}` is not in `{}`", record.reason);
        assert!(dead_letter(&cluster, &id.to_string()).await.reason.contains(words));
        assert_exit(&cluster.faultline(&["job", &id.to_string()]), 0, &["given up", words]);
    }
    cluster.assert_audit_clean();
}

#[test]
fn absurd_numbers_on_the_command_line_are_refused_and_the_flag_is_named() {
    let nobody = "nats://127.0.0.1:9";
    let submit = |rest: &[&'static str]| [&["submit", "--kind", "sleep"], rest].concat();
    let cases = [
        (submit(&["--gpus", "-1"]), "--gpus"),
        (submit(&["--gpus", "9"]), "--gpus"),
        (submit(&["--gpus", "1.5"]), "--gpus"),
        (submit(&["--gpus", "NaN"]), "--gpus"),
        (submit(&["--gpu-memory", "-1"]), "--gpu-memory"),
        (submit(&["--gpu-memory", "99999999999999"]), "--gpu-memory"),
        (submit(&["--count", "0"]), "--count"),
        (submit(&["--count=-5"]), "--count"),
        (submit(&["--count", "999999999999999999999999"]), "--count"),
        (submit(&["--timeout", "-5s"]), "--timeout"),
        (submit(&["--timeout", "0s"]), "--timeout"),
        (submit(&["--timeout", "5"]), "--timeout"),
        (submit(&["--timeout", "400d"]), "--timeout"),
        (submit(&["--duration", "-1s"]), "--duration"),
        (submit(&["--max-retries=-1"]), "--max-retries"),
        (submit(&["--max-retries", "101"]), "--max-retries"),
        (submit(&["--priority", "asap"]), "--priority"),
        (submit(&["--model", "a b"]), "--model"),
        (submit(&["--name", ""]), "--name"),
        (submit(&["--param", "novalue"]), "--param"),
        (vec!["submit", "--kind", "matrix", "--size", "-5"], "--size"),
        (vec!["submit", "--kind", "matrix", "--size", "0"], "--size"),
        (vec!["submit", "--kind", "no kind!"], "--kind"),
        (vec!["rate", "set", "51"], "--unbounded"),
        (vec!["rate", "preset", "warp"], "warp"),
        (vec!["scale", "workers", "99999999"], "COUNT"),
        (vec!["setup", "--jobs-max-bytes=-1"], "--jobs-max-bytes"),
        (vec!["setup", "--replicas", "2"], "--replicas"),
        (vec!["audit", "--wait", "-1s"], "--wait"),
        (vec!["job", "not-an-id"], "invalid id `not-an-id`"),
        (vec!["cancel", "123"], "invalid id `123`"),
        (vec!["node", "a.b"], "name"),
        (vec!["drain", "*"], "name"),
        (vec!["jobs", "--state", "finished"], "--state"),
    ];
    for (args, word) in cases {
        let output = faultline_at(nobody, &args);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(word), "{args:?}: `{word}` is not in: {text}");
    }
}

#[tokio::test]
async fn what_nobody_knows_is_not_found() {
    let cluster = Cluster::start(1).await;
    let unknown = sleep_job(0).id.to_string();
    assert_exit(&cluster.faultline(&["job", &unknown]), 4, &[&unknown]);
    assert_exit(&cluster.faultline(&["job", "not-an-id"]), 2, &["invalid id `not-an-id`"]);
    assert_exit(&cluster.faultline(&["cancel", &unknown]), 4, &["not found"]);
    assert_exit(&cluster.faultline(&["node", "gpu-node-77"]), 4, &["gpu-node-77"]);
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn orders_of_a_deposed_leader_are_refused() {
    let mut cluster = Cluster::start(1).await;
    let running = cluster.submit(&[sleep_job(4_000)]).await[0];
    cluster.wait_running(running).await;
    let view = cluster.job(running).await.expect("it runs");
    let attempt = view.attempts.last().expect("it has an attempt").attempt;

    let node = cluster.nodes().await.remove(0).spec;
    let now_ms = unix_ms();
    let assignment = Assignment {
        spec: sleep_job(60_000),
        attempt: AttemptId::new(now_ms, random_u128()),
        node: node.node.clone(),
        incarnation: node.incarnation,
        gpus: vec![0],
        open_seq: 1,
        ack_subject: "$JS.ACK.JOBS.nobody.1.1.1.1.0".into(),
        placed_at_ms: now_ms,
        failures: 0,
        requeues: 0,
        history: Vec::new(),
        why: String::new(),
        choice: None,
        epoch: 0,
    };
    let mut heartbeats = cluster.nats.client.subscribe(subjects::heartbeat(&node.node)).await.expect("a subscription");
    let forged = assignment.attempt;
    let batch = AssignBatch { epoch: 0, assignments: vec![assignment] };
    cluster.nats.publish(subjects::assign("worker-01"), &batch).await.expect("it is sent");
    let kill = KillAttempts { epoch: 0, attempts: vec![attempt], reason: "old news".into() };
    cluster.nats.publish(subjects::ctl("worker-01", ControlVerb::Kill), &kill).await.expect("it is sent");
    let refused = async || !cluster.lines_with("a higher epoch is known").is_empty();
    cluster.wait_until("the worker refuses the assignment", refused).await;
    for _ in 0..3 {
        let message = heartbeats.next().await.expect("the node beats");
        let beat: Heartbeat = codec::decode(message.headers.as_ref(), &message.payload).expect("a heartbeat can be read");
        assert!(beat.running.iter().all(|brief| brief.attempt != forged), "the forged attempt runs");
    }
    let records = cluster.wait_ended(&[running]).await;
    assert_eq!((records[&running].state, records[&running].history.len()), (JobState::Committed, 1), "{:?}", records[&running]);
    assert_running(&mut cluster, &["scheduler-1", "worker-01"]);
    cluster.assert_audit_clean();
}

/// Publishes bytes that cannot be read, with and without the headers of the message that belongs there.
async fn throw<M: Message>(cluster: &Cluster, subject: &str) {
    for body in garbage() {
        for headers in [HeaderMap::new(), codec::headers_for::<M>()] {
            cluster.nats.client.publish_with_headers(subject.to_owned(), headers, body.clone().into()).await.expect("it is sent");
        }
    }
}

#[tokio::test]
async fn garbage_on_every_subject_and_in_the_buckets_stops_nobody() {
    let mut cluster = Cluster::start(1).await;
    cluster.spawn("generator", "faultline-generator", &["--rate", "0.1"]);
    cluster.spawn("dashboard", "faultline-dashboard", &["--port", "0"]);
    for node in ["gpu-node-01", "gpu-node-99", "nobody"] {
        throw::<Heartbeat>(&cluster, &subjects::heartbeat(node)).await;
        throw::<Goodbye>(&cluster, &subjects::goodbye(node)).await;
        throw::<Verdict>(&cluster, &subjects::verdict(node)).await;
    }
    throw::<EndedBatch>(&cluster, subjects::SCHED_ENDED).await;
    throw::<WorkerSync>(&cluster, subjects::SCHED_SYNCED).await;
    throw::<Query>(&cluster, subjects::SCHED_QUERY).await;
    throw::<CancelRequest>(&cluster, subjects::SCHED_CANCEL).await;
    throw::<AssignBatch>(&cluster, &subjects::assign("worker-01")).await;
    throw::<KillAttempts>(&cluster, &subjects::ctl("worker-01", ControlVerb::Kill)).await;
    throw::<FaultOrder>(&cluster, &subjects::ctl("worker-01", ControlVerb::Fault)).await;
    throw::<SyncOrder>(&cluster, &subjects::ctl("worker-01", ControlVerb::Sync)).await;
    throw::<SyncOrder>(&cluster, subjects::CTL_ALL_SYNC).await;
    throw::<SyncOrder>(&cluster, "ctl.worker-01.dance").await;
    throw::<Heartbeat>(&cluster, subjects::SYSTEM_CONNECT).await;
    throw::<Heartbeat>(&cluster, subjects::SYSTEM_DISCONNECT).await;
    throw::<Heartbeat>(&cluster, &subjects::job_event(sleep_job(0).id)).await;
    throw::<Heartbeat>(&cluster, "job.done.nonsense").await;
    // A heartbeat under another node's subject, of a worker with an invalid name.
    let beat = Heartbeat {
        node: "a.b > *".into(),
        worker: String::new(),
        incarnation: u64::MAX,
        seq: 0,
        sent_at_ms: 0,
        running: vec![],
        gpus: vec![],
        leaving: true,
    };
    cluster.nats.publish(subjects::heartbeat("gpu-node-01"), &beat).await.expect("it is sent");
    let nonsense = NodeRegistration { spec: cluster.nodes().await.remove(0).spec, registered_at_ms: 0, life: 0 };
    for (bucket, keys) in [
        (streams::KV_NODES, vec!["gpu-node-01", "gpu-node-98"]),
        (streams::KV_HEALTH, vec!["gpu-node-01", "gpu-node-98"]),
        (streams::KV_CONTROL, vec!["rate", "mix", "unknown"]),
    ] {
        let store = cluster.nats.bucket(bucket).await.expect("the bucket is there");
        for key in keys {
            for body in garbage() {
                store.put(key, body.into()).await.expect("it is written");
            }
        }
        store.put("gpu-node-97", codec::encode(&nonsense)).await.expect("it is written");
    }

    // Asked nonsense, the leader says so.
    let request = async_nats::Request::new().headers(codec::headers_for::<Query>()).payload(b"\xc1".as_slice().into());
    let answer = cluster.nats.client.send_request(subjects::SCHED_QUERY, request).await.expect("the leader answers");
    let reply: QueryReply = codec::decode(answer.headers.as_ref(), &answer.payload).expect("its answer can be read");
    assert!(matches!(&reply, QueryReply::Error(words) if words.contains("decoded")), "{reply:?}");

    assert_a_job_commits(&cluster).await;
    assert_running(&mut cluster, &["scheduler-1", "worker-01", "fault-detector", "generator", "dashboard"]);
    // Nor does it stop those who start with the garbage in the buckets. The worker writes its registration anew.
    for name in ["scheduler-1", "worker-01", "fault-detector", "generator", "dashboard"] {
        cluster.kill9(name);
    }
    cluster.scheduler("scheduler-1");
    cluster.detector();
    cluster.worker(1);
    cluster.spawn("generator", "faultline-generator", &["--rate", "0.1"]);
    cluster.spawn("dashboard", "faultline-dashboard", &["--port", "0"]);
    assert_a_job_commits(&cluster).await;
    assert_running(&mut cluster, &["scheduler-1", "worker-01", "fault-detector", "generator", "dashboard"]);
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_ledger_snapshot_that_cannot_be_read_is_counted_anew() {
    let mut cluster = Cluster::start(1).await;
    assert_a_job_commits(&cluster).await;
    let ledger = async || cluster.stats().await.map(|stats| stats.ledger.committed).unwrap_or_default();
    cluster.wait_until("the ledger has counted it", async || ledger().await == 1).await;
    let store = cluster.nats.bucket(streams::KV_LEDGER).await.unwrap();
    store.put(streams::KEY_LEDGER, b"\xc1".as_slice().into()).await.unwrap();
    assert_a_job_commits(&cluster).await;
    cluster.kill9("scheduler-1");
    cluster.scheduler("scheduler-2");
    assert_a_job_commits(&cluster).await;
    let ledger = async || cluster.stats().await.map(|stats| stats.ledger.committed).unwrap_or_default();
    cluster.wait_until("all three are counted", async || ledger().await == 3).await;
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn a_priority_that_nobody_reads_is_refused_at_the_door() {
    let cluster = Cluster::start(1).await;
    let spec = sleep_job(20);
    let subject = format!("job.q.bogus.sleep.{}", spec.id);
    let sent = cluster.nats.publish_durable_with(subject, headers_with_seq(1), &QueuedJob { spec }).await;
    assert!(matches!(sent, Err(PublishError::NoStream)), "{sent:?}");
    cluster.assert_audit_clean();
}
