//! What a user can make another party say: the server by a reply subject or a consumer's deliver subject, a service by a request, or itself
//! by `allow_responses`. All of that must stay in the user's own account, and so reach what the user may publish anyhow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::jetstream::{self, consumer};
use async_nats::{Client, HeaderMap};
use faultline_engine::node::Health;
use faultline_protocol::codec;
use faultline_protocol::messages::Verdict;
use faultline_protocol::{streams, subjects};
use faultline_tests::cluster::PATIENCE;
use futures::StreamExt as _;
use tokio::time::timeout;

use super::spies::{Heard, Spies};
use super::table::{self, USERS};
use super::{Server, account_of};

/// A position that JetStream's request to reset a consumer takes; it lies in all streams that a user can have read out.
const FAR_AHEAD: &str = r#"{"seq":1000000}"#;

/// Streams that are tried one after another; what holds for these holds for the others of the same account.
const TRIED: [&str; 5] = ["JOBS", "RESULTS", "EVENTS", "KV_NODES", "KV_LEASE"];

/// Whether a subject is about one of the streams that are tried, or about none.
fn is_tried(subject: &str) -> bool {
    let mut names =
        subject.split('.').filter(|token| token.len() > 3 && token.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'));
    let verbs = ["STREAM", "CONSUMER", "DIRECT", "CREATE", "DELETE", "UPDATE", "PURGE", "INFO", "NEXT", "NAMES", "LIST"];
    !subject.starts_with("$JS.API.") || names.all(|name| TRIED.contains(&name) || verbs.contains(&name) || name == "DURABLE")
}

/// Where an answer is sent to: everything that the table knows, and what only the server listens to.
fn targets() -> Vec<String> {
    // Every account may ask whether JetStream is on, since the server takes an account that does not for one without JetStream.
    let known = table::publish().into_iter().map(|row| row.subject).filter(|subject| is_tried(subject) && subject != "$JS.API.INFO");
    let more = [
        "$JS.API.CONSUMER.RESET.JOBS.sched-normal",
        "$JS.API.CONSUMER.MSG.NEXT.JOBS.sched-normal",
        "$JS.API.CONSUMER.DELETE.JOBS.sched-normal",
        "sched.query.more",
    ];
    known.chain(more.map(str::to_owned)).collect()
}

/// Subjects that a user may publish, as the table says.
fn may_publish(user: &str) -> BTreeSet<String> {
    let mut allowed: BTreeSet<String> =
        table::publish().into_iter().filter(|row| row.users.contains(&user)).map(|row| row.subject).collect();
    // The table has another consumer's name.
    if allowed.contains("$JS.API.CONSUMER.MSG.NEXT.JOBS.any") {
        allowed.insert("$JS.API.CONSUMER.MSG.NEXT.JOBS.sched-normal".into());
    }
    allowed
}

/// Services as careless as can be: they answer every question, whatever its reply subject is.
async fn careless_services(server: &Server) -> Vec<Client> {
    let mut clients = Vec::new();
    for (user, subject) in [
        ("scheduler", subjects::SCHED_QUERY),
        ("scheduler", subjects::SCHED_CANCEL),
        ("worker", "ctl.worker-01.ping"),
        ("up", subjects::CHAOS_RUN),
        ("up", subjects::CHAOS_ABORT),
        ("up", subjects::CHAOS_LIST),
        ("up", subjects::UP_PROCESSES),
        ("worker", "exec.reply.*"),
        ("policy", "policy.*"),
        ("worker", "$SRV.INFO"),
        ("executor", "$SRV.INFO"),
        ("fault-detector", "$SRV.PING.faultline-fault-detector"),
    ] {
        let client = server.connect(user).await;
        let mut questions = client.subscribe(subject).await.unwrap();
        client.flush().await.unwrap();
        let answers = client.clone();
        tokio::spawn(async move {
            while let Some(question) = questions.next().await {
                if let Some(reply) = question.reply {
                    let _ = answers.publish(reply, FAR_AHEAD.into()).await;
                }
            }
        });
        clients.push(client);
    }
    clients
}

/// Puts a message into every stream that is read, so that a direct read and a consumer have something to send. A consumer's messages
/// keep these subjects wherever they go, so none of them is a target.
async fn fill(server: &Server) {
    let jetstream = jetstream::new(server.connect("admin").await);
    for start in ["job.q.normal.sleep", "job.res", "job.ev", "job.dead", "$KV.NODES", "$KV.HEALTH", "$KV.CONTROL", "$KV.LEDGER"] {
        let stored = jetstream.publish(format!("{start}.filled"), FAR_AHEAD.into()).await.unwrap();
        stored.await.unwrap_or_else(|error| panic!("{start}: {error}"));
    }
}

/// What becomes visible in a stream when a key has written to it, emptied it or made it anew. A stream whose messages expire while the
/// test runs changes by itself, so of it only the time of its creation says something.
#[derive(Debug, Default, PartialEq, Eq)]
struct Contents {
    made: Option<i128>,
    last_sequence_and_messages: Option<(u64, u64)>,
}

impl Contents {
    fn of(stream: &jetstream::stream::Stream) -> Self {
        let info = stream.cached_info();
        let age = info.config.max_age;
        Self {
            made: Some(info.created.unix_timestamp_nanos()),
            last_sequence_and_messages: (age.is_zero() || age > Duration::from_secs(600))
                .then_some((info.state.last_sequence, info.state.messages)),
        }
    }
}

/// The contents of every stream; what the spies hear of these questions is forgotten.
async fn contents(admin: &jetstream::Context, spies: &mut Spies) -> BTreeMap<String, Contents> {
    let mut all = BTreeMap::new();
    for stream in TRIED {
        // A stream that a key has deleted holds nothing.
        let held = admin.get_stream(stream).await.map_or_else(|_| Contents::default(), |stream| Contents::of(&stream));
        all.insert(stream.to_owned(), held);
    }
    spies.settled().await;
    all
}

/// Every request that a user may make, with this subject for the answer.
async fn ask_everything(client: &Client, user: &str, target: &str) -> usize {
    let mut sent = 0;
    for way in may_publish(user).into_iter().filter(|way| is_tried(way) && !way.starts_with("$JS.API.CONSUMER.CREATE.")) {
        let mut bodies = vec![""];
        if way.starts_with("$JS.API.") {
            bodies.extend([r#"{"seq":1}"#, r#"{"batch":1,"no_wait":true}"#]);
        }
        for body in bodies {
            client.publish_with_reply(way.clone(), target.to_owned(), body.into()).await.unwrap();
            sent += 1;
        }
    }
    sent
}

/// Consumers that push to this subject, or are pulled with it, on every stream on which the user may make one.
async fn consume_everything(client: &Client, user: &str, target: &str) -> usize {
    let mut sent = 0;
    for stream in TRIED {
        if !may_publish(user).contains(&format!("$JS.API.CONSUMER.CREATE.{stream}")) {
            continue;
        }
        let settings = r#""deliver_policy":"all","ack_policy":"none","mem_storage":true,"num_replicas":1,"inactive_threshold":5000000000"#;
        let push = format!(r#"{{"stream_name":"{stream}","config":{{"deliver_subject":"{target}",{settings}}}}}"#);
        client.publish_with_reply(format!("$JS.API.CONSUMER.CREATE.{stream}"), target.to_owned(), push.into()).await.unwrap();
        let pull = format!(r#"{{"stream_name":"{stream}","config":{{"name":"any",{settings}}}}}"#);
        client.publish_with_reply(format!("$JS.API.CONSUMER.CREATE.{stream}.any"), target.to_owned(), pull.into()).await.unwrap();
        client.publish_with_reply(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.any"), target.to_owned(), "1".into()).await.unwrap();
        client.publish_with_reply(format!("$JS.API.CONSUMER.DELETE.{stream}.any"), target.to_owned(), "".into()).await.unwrap();
        sent += 4;
    }
    sent
}

/// The server's own reports of where a message went.
async fn have_it_traced(client: &Client, user: &str, target: &str) -> usize {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Trace-Dest", target);
    let ways: Vec<String> = may_publish(user).into_iter().filter(|way| !way.starts_with('$')).collect();
    for way in &ways {
        client.publish_with_headers(way.clone(), headers.clone(), "".into()).await.unwrap();
    }
    ways.len()
}

/// What a user both says and hears it may answer, to any subject.
async fn answer_itself(client: &Client, user: &str, target: &str) -> usize {
    // The server takes no message with such a reply subject.
    if target.starts_with("$JS.ACK.") {
        return 0;
    }
    let own: Vec<String> = may_publish(user).into_iter().filter(|way| table::hearers(way).any(|hearer| hearer == user)).collect();
    for way in &own {
        let mut questions = client.subscribe(way.clone()).await.unwrap();
        client.publish_with_reply(way.clone(), target.to_owned(), "".into()).await.unwrap();
        if timeout(PATIENCE, questions.next()).await.expect("it hears itself").is_some() {
            client.publish(target.to_owned(), FAR_AHEAD.into()).await.unwrap();
        }
        questions.unsubscribe().await.unwrap();
    }
    own.len()
}

/// What came into another account on a target that this user may not publish, as `target in ACCOUNT`.
async fn reached(spies: &mut Spies, user: &str) -> BTreeSet<String> {
    let (own, mut allowed, targets) = (account_of(user), may_publish(user), targets());
    if allowed.contains("job.res.01") {
        // The server tells of every record.
        allowed.insert("job.done.01".into());
    }
    // A user that connects is news in itself.
    let is_news = |heard: &Heard| heard.body.starts_with(br#"{"type":"io.nats.server.advisory.v1.client_"#);
    let foreign = spies.settled().await.into_iter().filter(|heard| heard.account != own && !is_news(heard));
    let forbidden = foreign.filter(|heard| targets.contains(&heard.subject) && !allowed.contains(&heard.subject));
    forbidden.map(|heard| format!("{} in {}", heard.subject, heard.account)).collect()
}

/// What consumers brought where: messages to another account than the stream's and the user's, and whatever changed a stream.
async fn delivered(spies: &mut Spies, user: &str, admin: &jetstream::Context, before: &BTreeMap<String, Contents>) -> BTreeSet<String> {
    let homes = [account_of(user), "RECORDS".to_owned()];
    let foreign = spies.settled().await.into_iter().filter(|heard| heard.body == FAR_AHEAD.as_bytes() && !homes.contains(&heard.account));
    let changed = contents(admin, spies).await.into_iter().filter(|(stream, now)| before[stream] != *now);
    let foreign = foreign.map(|heard| format!("{} in {}", heard.subject, heard.account));
    foreign.chain(changed.map(|(stream, now)| format!("{stream} changed from {:?} to {now:?}", before[&stream]))).collect()
}

/// One way, against these targets.
async fn try_all(client: &Client, user: &str, way: &str, targets: impl Iterator<Item = String>) -> usize {
    let mut tries = 0;
    for target in targets {
        tries += match way {
            "reply" => ask_everything(client, user, &target).await,
            "consumer" => consume_everything(client, user, &target).await,
            "trace" => have_it_traced(client, user, &target).await,
            _ => answer_itself(client, user, &target).await,
        };
    }
    tries
}

async fn found(
    spies: &mut Spies,
    user: &str,
    way: &str,
    admin: &jetstream::Context,
    before: &BTreeMap<String, Contents>,
) -> BTreeSet<String> {
    match way {
        "consumer" => delivered(spies, user, admin, before).await,
        _ => reached(spies, user).await,
    }
}

#[derive(Default)]
struct Tally {
    tries: usize,
    reached: BTreeSet<String>,
}

/// A user's key against every target, in every way; prints the table of docs/security.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_key_makes_others_send_stays_within_its_own_account() {
    let server = Server::provisioned().await;
    fill(&server).await;
    let _services = careless_services(&server).await;
    let admin = jetstream::new(server.connect("admin").await);
    let mut spies = server.spies().await;
    let mut matrix: BTreeMap<(&str, &str), Tally> = BTreeMap::new();
    let keys = USERS.into_iter().filter(|&user| user != "admin");
    for user in keys.clone() {
        let mut watched = server.watched(user).await;
        let client = watched.client.clone();
        for way in ["reply", "consumer", "trace", "own answer"] {
            let tally = matrix.entry((user, way)).or_default();
            let before = if way == "consumer" { contents(&admin, &mut spies).await } else { BTreeMap::new() };
            // Whether a consumer's message went to a subject of the user's own is not to be seen in it.
            let targets = targets().into_iter().filter(|target| way != "consumer" || !may_publish(user).contains(target));
            tally.tries = try_all(&client, user, way, targets).await;
            watched.is_taken().await;
            tally.reached = found(&mut spies, user, way, &admin, &before).await;
            // The server's own queues lag behind on a busy machine, and bring what the key before caused: only what comes again counts.
            if way != "consumer" && !tally.reached.is_empty() {
                try_all(&client, user, way, tally.reached.iter().filter_map(|what| what.split(' ').next()).map(str::to_owned)).await;
                watched.is_taken().await;
                let again = found(&mut spies, user, way, &admin, &before).await;
                tally.reached.retain(|what| again.contains(what));
            }
        }
    }
    for ((user, way), tally) in &matrix {
        println!("{user:15} {way:11} {:6} tries, {:3} targets outside reached", tally.tries, tally.reached.len());
    }
    println!("{} tries, {} targets", matrix.values().map(|tally| tally.tries).sum::<usize>(), targets().len());
    let outside: Vec<String> = matrix
        .iter()
        .filter(|(_, tally)| !tally.reached.is_empty())
        .map(|((user, way), tally)| format!("{user} by {way}: {}", tally.reached.iter().cloned().collect::<Vec<_>>().join(", ")))
        .collect();
    assert!(outside.is_empty(), "a key reaches beyond its account:\n{}", outside.join("\n"));
}

#[tokio::test]
async fn no_key_deletes_the_queue_by_the_reply_subject_of_a_read() {
    let server = Server::provisioned().await;
    fill(&server).await;
    let admin = jetstream::new(server.connect("admin").await);
    let mut spies = server.spies().await;
    for user in USERS.into_iter().filter(|&user| user != "admin") {
        let mut watched = server.watched(user).await;
        // An empty answer is a valid request: a read of nothing gives one.
        for way in may_publish(user).into_iter().filter(|way| way.starts_with("$JS.API.DIRECT.GET.")) {
            for request in ["STREAM.DELETE.JOBS", "STREAM.PURGE.JOBS", "CONSUMER.DELETE.JOBS.sched-normal"] {
                let target = format!("$JS.API.{request}");
                if !may_publish(user).contains(&target) {
                    watched.client.publish_with_reply(way.clone(), target, "".into()).await.unwrap();
                }
            }
        }
        watched.is_taken().await;
        spies.settled().await;
        let jobs = admin.get_stream(streams::JOBS).await.unwrap_or_else(|error| panic!("{user} deleted JOBS: {error}"));
        assert_eq!(jobs.cached_info().state.messages, 1, "{user} purged JOBS");
        assert_eq!(jobs.cached_info().state.consumer_count, 4, "{user} deleted a consumer of JOBS");
    }
}

/// The server delivers to any subject that it hears itself, among them the one that sets a consumer to another place in its stream.
#[tokio::test]
async fn no_key_moves_the_schedulers_place_in_the_queue_by_a_consumer_that_pushes() {
    let server = Server::provisioned().await;
    fill(&server).await;
    let mut spies = server.spies().await;
    for user in USERS.into_iter().filter(|&user| user != "admin") {
        let mut watched = server.watched(user).await;
        consume_everything(&watched.client, user, "$JS.API.CONSUMER.RESET.JOBS.sched-normal").await;
        watched.is_taken().await;
    }
    spies.settled().await;
    let scheduler = jetstream::new(server.connect("scheduler").await);
    let name = streams::queue_consumer_name("normal".parse().unwrap());
    let normal: consumer::PullConsumer = scheduler.get_consumer_from_stream(name, streams::JOBS).await.unwrap();
    let mut batch = normal.fetch().max_messages(1).messages().await.unwrap();
    let job = timeout(PATIENCE, batch.next()).await.unwrap().expect("the job that was there before is still delivered").unwrap();
    assert_eq!(job.subject.as_str(), "job.q.normal.sleep.filled");
}

fn forged_verdict(node: &str) -> Verdict {
    Verdict {
        node: node.into(),
        worker: "worker-01".into(),
        incarnation: u64::MAX,
        health: Health::Dead,
        detector: "phi-accrual".into(),
        phi: 99.0,
        silence_ms: 60_000,
        evidence: "forged".into(),
        at_ms: 1,
    }
}

/// A worker may store what looks like a verdict, and read it; it cannot have it sent to those who listen to the detector.
#[tokio::test]
async fn what_a_worker_stores_and_has_sent_does_not_pass_for_the_detectors_word() {
    let server = Server::provisioned().await;
    let mut spies = server.spies().await;
    let scheduler = server.connect("scheduler").await;
    let mut verdicts = scheduler.subscribe(subjects::VERDICT_ALL).await.unwrap();
    scheduler.flush().await.unwrap();

    let mut watched = server.watched("worker").await;
    let worker = watched.client.clone();
    let (headers, body) = (codec::headers_for::<Verdict>(), codec::encode(&forged_verdict("gpu-node-01")));
    let stored = jetstream::new(worker.clone()).publish_with_headers("job.res.x", headers, body).await.unwrap();
    stored.await.expect("a worker may write records");
    worker.publish_with_reply("$JS.API.DIRECT.GET.RESULTS.job.res.x", "node.verdict.gpu-node-01", "".into()).await.unwrap();
    watched.is_taken().await;
    let heard = spies.settled().await.into_iter().filter(|heard| heard.subject.starts_with("node.verdict."));
    let accounts: BTreeSet<String> = heard.map(|heard| heard.account).collect();
    assert_eq!(accounts, BTreeSet::from(["WORKER".to_owned()]), "the answer stays with the worker that asked");

    let detector = server.connect("fault-detector").await;
    let real = codec::encode(&forged_verdict("gpu-node-02"));
    detector.publish_with_headers("node.verdict.gpu-node-02", codec::headers_for::<Verdict>(), real).await.unwrap();
    let first = timeout(PATIENCE, verdicts.next()).await.expect("the detector is heard").unwrap();
    assert_eq!(first.subject.as_str(), "node.verdict.gpu-node-02", "the scheduler hears the detector, and nothing before");
}
