//! Who may say and hear what, walked on a real server with the configuration that `faultline nats-config` and `up` write. What is expected
//! stands here, written by hand: a permission that is widened or narrowed makes a test fail until somebody has changed the table, too.

#[path = "permissions/table.rs"]
mod table;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream::stream::Config;
use async_nats::{Client, ConnectOptions, HeaderMap, Message, Subscriber, jetstream};
use faultline_engine::node::Health;
use faultline_protocol::codec::{self, DecodeError};
use faultline_protocol::messages::Verdict;
use faultline_protocol::{streams, subjects};
use faultline_tests::cluster::{PATIENCE, program};
use faultline_tests::nats::TestNats;
use futures::StreamExt as _;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

use table::{Row, USERS};

const HOW_TO_EXTEND: &str = "Whoever adds a user, a subject, a stream or a bucket, or changes services/cli/src/nats_server/permissions.rs, \
     changes tests/tests/permissions/table.rs: a row is a subject and the users who may use it.";

/// A server with the users of a real installation.
struct Server {
    nats: TestNats,
    keys: TempDir,
}

impl Server {
    async fn start() -> Server {
        let keys = TempDir::new().expect("a temporary folder");
        let written =
            Command::new(program("faultline")).arg("nats-config").arg("--out").arg(keys.path()).output().expect("faultline starts");
        assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        let config = std::fs::read_to_string(String::from_utf8_lossy(&written.stdout).trim()).expect("the configuration is there");
        let store = keys.path().join("jetstream");
        let config = config.replace(&format!("\"{}\"", store.display()), "\"/data\"");
        assert!(config.contains("\"/data\""), "the test server puts its data elsewhere");
        // As a local process: behind the port of a container the subscriptions of one user were seen to take minutes.
        Server { nats: TestNats::start_local(&config).await, keys }
    }

    fn options(&self, user: &str) -> ConnectOptions {
        let seed = std::fs::read_to_string(self.keys.path().join("nkeys").join(format!("{user}.nk"))).expect("the user has a key");
        ConnectOptions::with_nkey(seed.trim().to_owned()).name(user).custom_inbox_prefix(subjects::inbox_prefix(user))
    }

    async fn connect(&self, user: &str) -> Client {
        self.options(user).connect(self.nats.url()).await.unwrap_or_else(|error| panic!("{user}: {error}"))
    }

    async fn watched(&self, user: &str) -> Watched {
        let (report, errors) = mpsc::unbounded_channel();
        let options = self.options(user).event_callback(move |event| {
            let _ = report.send(event.to_string());
            std::future::ready(())
        });
        let client = options.connect(self.nats.url()).await.unwrap_or_else(|error| panic!("{user}: {error}"));
        Watched { client, errors }
    }
}

/// A connection and the errors that the server sends to it.
struct Watched {
    client: Client,
    errors: mpsc::UnboundedReceiver<String>,
}

impl Watched {
    /// The subjects that the server refused so far. It answers in order, so a subject that is refused to all marks the end.
    async fn refused(&mut self, marker: &str) -> BTreeSet<String> {
        let mut refused = BTreeSet::new();
        loop {
            let error = timeout(PATIENCE, self.errors.recv()).await.expect("the server refuses the marker").expect("the connection stays");
            if !error.to_lowercase().contains("permissions violation") {
                continue;
            }
            let subject = error.split('"').nth(1).unwrap_or_else(|| panic!("no subject in: {error}")).to_owned();
            if subject == marker {
                return refused;
            }
            refused.insert(subject);
        }
    }
}

/// Every difference between what the table says and what the server does, one line each.
fn compare(user: &str, what: &str, rows: &[Row], done: impl Fn(&str) -> bool, refused: &BTreeSet<String>, wrong: &mut Vec<String>) {
    for Row { subject, users } in rows {
        let is_allowed = user == "admin" || users.contains(&user);
        match (is_allowed, done(subject), refused.contains(subject)) {
            (true, true, false) | (false, false, true) => {}
            (expected, went_through, refused) => wrong.push(format!(
                "{user} {what} {subject}: the table says {}, the server {}",
                if expected { "allowed" } else { "forbidden" },
                if refused {
                    "refused it"
                } else if went_through {
                    "let it pass"
                } else {
                    "neither refused it nor let it pass"
                },
            )),
        }
    }
}

fn assert_nothing_wrong(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} differences:\n{}\n{HOW_TO_EXTEND}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn every_user_may_publish_what_the_table_says_and_the_server_refuses_the_rest() {
    let server = Server::start().await;
    let admin = server.connect("admin").await;
    let mut everything = admin.subscribe(">").await.unwrap();
    let (rows, mut wrong) = (table::publish(), Vec::new());
    for user in USERS {
        let mut watched = server.watched(user).await;
        let mut refused = BTreeSet::new();
        // The client library keeps few errors at a time.
        for some in rows.chunks(20) {
            for row in some {
                watched.client.publish(row.subject.clone(), user.into()).await.unwrap_or_else(|error| panic!("{}: {error}", row.subject));
            }
            if user != "admin" {
                watched.client.publish("matrix.end", "".into()).await.unwrap();
                refused.extend(watched.refused("matrix.end").await);
            }
        }
        // After everything else of this user: the others' refusals have come back already.
        let last = if user == "admin" { &watched.client } else { &admin };
        last.publish("matrix.end", user.into()).await.unwrap();
        let mut heard = BTreeSet::new();
        loop {
            let message = timeout(PATIENCE, everything.next()).await.expect("the administrator hears everything").unwrap();
            if message.payload != user.as_bytes() {
                continue;
            }
            if message.subject.as_str() == "matrix.end" {
                break;
            }
            heard.insert(message.subject.to_string());
        }
        compare(user, "publishes", &rows, |subject| heard.contains(subject), &refused, &mut wrong);
    }
    println!("{} users, {} subjects to publish", USERS.len(), rows.len());
    assert_nothing_wrong(&wrong);
}

#[tokio::test]
async fn every_user_may_hear_what_the_table_says_and_the_server_refuses_the_rest() {
    let server = Server::start().await;
    let admin = server.connect("admin").await;
    let (rows, mut wrong) = (table::subscribe(), Vec::new());
    for user in USERS {
        let mut watched = server.watched(user).await;
        let mut subscribed = Vec::new();
        let mut refused = BTreeSet::new();
        // The client library keeps few errors at a time.
        for some in rows.chunks(8) {
            for row in some {
                subscribed.push((row.subject.clone(), watched.client.subscribe(row.subject.clone()).await.unwrap()));
            }
            if user != "admin" {
                drop(watched.client.subscribe("matrix.end").await.unwrap());
                refused.extend(watched.refused("matrix.end").await);
            }
        }
        watched.client.flush().await.unwrap();
        for row in &rows {
            admin.publish(table::one_of(&row.subject), user.into()).await.unwrap();
        }
        admin.flush().await.unwrap();
        let mut heard = BTreeSet::new();
        for (subject, subscription) in &mut subscribed {
            // What was refused brings nothing, however long one waits; the loop below shows that nothing comes of what is allowed late.
            if !refused.contains(subject) && hears(subscription, user).await {
                heard.insert(subject.clone());
            }
        }
        compare(user, "hears", &rows, |subject| heard.contains(subject), &refused, &mut wrong);
    }
    println!("{} users, {} subjects to hear", USERS.len(), rows.len());
    assert_nothing_wrong(&wrong);
}

/// Whether a message with this body comes.
async fn hears(subscription: &mut Subscriber, body: &str) -> bool {
    let wanted = async {
        while let Some(message) = subscription.next().await {
            if message.payload == body.as_bytes() {
                return true;
            }
        }
        false
    };
    timeout(Duration::from_secs(5), wanted).await.unwrap_or(false)
}

/// The sources say which users, subjects, streams and buckets there are: who adds one is told to say here who may use it.
#[test]
fn the_table_leaves_nothing_out() {
    let keys = TempDir::new().unwrap();
    let written = Command::new(program("faultline")).arg("nats-config").arg("--out").arg(keys.path()).output().unwrap();
    assert!(written.status.success());
    let users: BTreeSet<String> = std::fs::read_dir(keys.path().join("nkeys"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(users, USERS.iter().map(|&user| user.to_owned()).collect::<BTreeSet<_>>(), "the users. {HOW_TO_EXTEND}");

    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/protocol/src/subjects.rs");
    let source = std::fs::read_to_string(source).expect("the protocol's sources lie beside the tests");
    let source = source.split("#[cfg(test)]").next().unwrap();
    let rows = table::publish();
    let knows = |start: &str| rows.iter().any(|row| row.subject == start || row.subject.starts_with(&format!("{start}.")));
    for literal in source.split('"').skip(1).step_by(2) {
        let start: Vec<&str> =
            literal.split('.').take_while(|token| token.bytes().all(|b| b.is_ascii_lowercase()) && !token.is_empty()).take(2).collect();
        if literal.contains('.') && start.len() == 2 {
            assert!(knows(&start.join(".")), "no row for {literal}. {HOW_TO_EXTEND}");
        }
    }
    for stream in streams::stream_configs(streams::Provision::default()) {
        assert!(knows(&format!("$JS.API.STREAM.DELETE.{}", stream.name)), "no row for the stream {}. {HOW_TO_EXTEND}", stream.name);
    }
    for bucket in streams::bucket_configs(streams::Provision::default()) {
        let (name, stream) = (&bucket.bucket, format!("KV_{}", bucket.bucket));
        assert!(
            knows(&format!("$KV.{name}")) && knows(&format!("$JS.API.STREAM.DELETE.{stream}")),
            "no row for the bucket {name}. {HOW_TO_EXTEND}"
        );
    }
}

/// NATS takes a subscription to `exec.>` for one of `exec.*`; what is between those dots is not for other people's programs.
#[tokio::test]
async fn a_wildcard_brings_an_executor_no_answers_of_others() {
    let server = Server::start().await;
    let executor = server.connect("executor").await;
    let mut heard = executor.subscribe("exec.>").await.unwrap();
    executor.flush().await.unwrap();
    let admin = server.connect("admin").await;
    for subject in ["exec.reply.01", "exec.cancel.01", "exec.greet"] {
        admin.publish(subject, subject.into()).await.unwrap();
    }
    admin.flush().await.unwrap();
    let mut subjects = Vec::new();
    while subjects.last().is_none_or(|last| last != "exec.greet") {
        let message = timeout(PATIENCE, heard.next()).await.expect("the last one is allowed").unwrap();
        subjects.push(message.subject.to_string());
    }
    assert_eq!(subjects, ["exec.cancel.01", "exec.greet"]);
}

#[tokio::test]
async fn the_system_account_gives_two_events_and_nothing_else() {
    let server = Server::start().await;
    let detector = server.connect("fault-detector").await;
    let mut came = detector.subscribe(subjects::SYSTEM_CONNECT).await.unwrap();
    let mut gone = detector.subscribe(subjects::SYSTEM_DISCONNECT).await.unwrap();
    detector.flush().await.unwrap();
    let admin = server.connect("admin").await;
    let mut system = admin.subscribe("$SYS.>").await.unwrap();
    admin.flush().await.unwrap();

    let worker = server.options("worker").name("worker-99").connect(server.nats.url()).await.unwrap();
    worker.flush().await.unwrap();
    let names_it = |message: Message| String::from_utf8_lossy(&message.payload).contains("worker-99");
    let event = async |events: &mut Subscriber| {
        while let Some(message) = events.next().await {
            if names_it(message) {
                return;
            }
        }
    };
    timeout(PATIENCE, event(&mut came)).await.expect("the connect event is imported");
    drop(worker);
    timeout(PATIENCE, event(&mut gone)).await.expect("the disconnect event is imported");

    // Both events were there before this answer, so `$SYS.>` of this account had its chance.
    let asked = admin.request("$SYS.REQ.SERVER.PING", "".into()).await;
    assert!(asked.is_err(), "even the administrator of APP has no say in the system account: {asked:?}");
    // Its own question is heard, as that of anybody in the account; nothing comes from the server.
    while let Some(Some(message)) = futures::FutureExt::now_or_never(system.next()) {
        assert_eq!(message.subject.as_str(), "$SYS.REQ.SERVER.PING", "the system account's messages stay there");
    }
}

fn forged_verdict() -> (HeaderMap, Verdict) {
    let verdict = Verdict {
        node: "gpu-node-01".into(),
        worker: "worker-01".into(),
        incarnation: u64::MAX,
        health: Health::Dead,
        detector: "phi-accrual".into(),
        phi: 99.0,
        silence_ms: 60_000,
        evidence: "forged".into(),
        at_ms: 1,
    };
    (codec::headers_for::<Verdict>(), verdict)
}

/// The server checks the subject of a message, not where its answer shall go. So a stored message can be sent to subjects that its author may not publish; `decode_plain` is what tells it from a real one.
#[tokio::test]
async fn what_the_server_relays_for_a_user_does_not_pass_for_that_users_word() {
    let server = Server::start().await;
    let admin = jetstream::new(server.connect("admin").await);
    let results =
        Config { name: streams::RESULTS.into(), subjects: vec![subjects::RESULT_ALL.into()], allow_direct: true, ..Config::default() };
    admin.create_stream(results).await.unwrap();
    let scheduler = server.connect("scheduler").await;
    let mut verdicts = scheduler.subscribe(subjects::VERDICT_ALL).await.unwrap();
    scheduler.flush().await.unwrap();

    let (headers, verdict) = forged_verdict();
    let worker = server.connect("worker").await;
    let stored = jetstream::new(worker.clone()).publish_with_headers("job.res.x", headers, codec::encode(&verdict)).await.unwrap();
    stored.await.expect("a worker may write records");
    worker.publish_with_reply("$JS.API.DIRECT.GET.RESULTS.job.res.x", "node.verdict.gpu-node-01", "".into()).await.unwrap();
    let relayed = timeout(PATIENCE, verdicts.next()).await.expect("the server answers to any subject").unwrap();
    assert_eq!(codec::decode::<Verdict>(relayed.headers.as_ref(), &relayed.payload).as_ref(), Ok(&verdict), "it looks like a verdict");
    assert!(matches!(codec::decode_plain::<Verdict>(subjects::VERDICT_ALL, &relayed), Err(DecodeError::Relayed { .. })));
}
