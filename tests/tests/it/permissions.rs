//! Who may say and hear what, walked on a real server with the configuration that `faultline nats-config` and `up` write. What is expected
//! stands here, written by hand: a permission that is widened or narrowed makes a test fail until the table is changed, too.
//! What a user can make the server or another service say for it is walked in [`border`].

mod border;
mod spies;
mod table;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Message, Subscriber};
use faultline_protocol::{streams, subjects};
use faultline_tests::cluster::{PATIENCE, program};
use faultline_tests::nats::TestNats;
use futures::StreamExt as _;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

use spies::Spies;
use table::{Row, USERS};

const HOW_TO_EXTEND: &str = "After adding a user, a subject, a stream or a bucket, or changing shared/cluster/src/nats_server/permissions.rs, \
     change tests/tests/it/permissions/table.rs: a row is a subject and the users who may use it.";

/// A server with the users of a real installation.
struct Server {
    nats: TestNats,
    keys: TempDir,
    config: String,
}

/// The account of a user.
fn account_of(user: &str) -> String {
    user.to_uppercase().replace('-', "_")
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
        let config = spies::with_spies(&config);
        // As a local process: behind the port of a container the subscriptions of one user were seen to take minutes.
        Server { nats: TestNats::start_local(&config).await, keys, config }
    }

    async fn spies(&self) -> Spies {
        Spies::connect(&self.nats.url(), &self.config).await
    }

    /// With the streams, buckets and consumers of an installation.
    async fn provisioned() -> Server {
        let server = Self::start().await;
        let setup = Command::new(program("faultline"))
            .args(["setup", "--nats-url", &server.nats.url(), "--data-dir"])
            .arg(server.keys.path())
            .output()
            .expect("faultline starts");
        assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
        server
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
        Watched { client, errors, marks: 0 }
    }
}

/// A connection and the errors that the server sends to it.
struct Watched {
    client: Client,
    errors: mpsc::UnboundedReceiver<String>,
    /// How often [`Watched::is_taken`] was asked.
    marks: u64,
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

    /// Waits until the server has taken everything that this user has sent.
    async fn is_taken(&mut self) {
        self.marks += 1;
        let marker = format!("matrix.taken.{}", self.marks);
        let mut refused = async || {
            while let Some(error) = self.errors.recv().await {
                if error.contains(&marker) {
                    return;
                }
            }
        };
        for _ in 0..100 {
            self.client.publish(marker.clone(), "".into()).await.unwrap();
            // The client library keeps few errors at a time: one may be lost.
            if timeout(PATIENCE / 100, refused()).await.is_ok() {
                return;
            }
        }
        panic!("the server does not refuse the marker");
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
    let mut spies = server.spies().await;
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
        watched.client.flush().await.unwrap();
        let own = account_of(user);
        let heard = spies.settled().await.into_iter().filter(|heard| heard.account == own && heard.body == user.as_bytes());
        let heard: BTreeSet<String> = heard.map(|heard| heard.subject).collect();
        compare(user, "publishes", &rows, |subject| heard.contains(subject), &refused, &mut wrong);
    }
    println!("{} users, {} subjects to publish", USERS.len(), rows.len());
    assert_nothing_wrong(&wrong);
}

#[tokio::test]
async fn every_user_may_hear_what_the_table_says_and_the_server_refuses_the_rest() {
    let server = Server::start().await;
    let spies = server.spies().await;
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
        if user == "admin" {
            // To whom nothing is refused: the server has taken all of that once this comes back.
            let mut back = watched.client.subscribe("matrix.back").await.unwrap();
            watched.client.publish("matrix.back", "".into()).await.unwrap();
            timeout(PATIENCE, back.next()).await.expect("the administrator hears itself").unwrap();
        }
        // Said within the user's own account: what comes in from others is another test's business.
        let speaker = spies.client(&account_of(user));
        for row in &rows {
            speaker.publish(table::one_of(&row.subject), user.into()).await.unwrap();
        }
        speaker.flush().await.unwrap();
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

/// What is told arrives with those who hear it, what is stored with its stream, and neither anywhere else.
#[tokio::test]
async fn what_a_user_publishes_arrives_where_the_table_says_and_nowhere_else() {
    let server = Server::start().await;
    let mut spies = server.spies().await;
    let (rows, mut wrong) = (table::publish(), Vec::new());
    for user in USERS.into_iter().filter(|&user| user != "admin") {
        let client = server.connect(user).await;
        let plain: Vec<&Row> = rows.iter().filter(|row| !row.subject.starts_with('$') && row.users.contains(&user)).collect();
        for row in &plain {
            client.publish(row.subject.clone(), user.into()).await.unwrap();
        }
        client.flush().await.unwrap();
        let heard = spies.settled().await;
        for row in plain {
            let arrived = heard.iter().filter(|heard| heard.subject == row.subject && heard.body == user.as_bytes());
            let arrived: BTreeSet<String> = arrived.map(|heard| heard.account.clone()).collect();
            let mut expected: BTreeSet<String> = table::hearers(&row.subject).map(account_of).collect();
            expected.extend(table::stored_in(&row.subject).map(str::to_owned));
            expected.insert(account_of(user));
            // Requests that a service answers are between two.
            expected.extend((!table::ANSWERED.contains(&&*row.subject)).then(|| "ADMIN".to_owned()));
            if arrived != expected {
                wrong.push(format!("{user} publishes {}: it arrives in {arrived:?}, not in {expected:?}", row.subject));
            }
        }
    }
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
    assert!(asked.is_err(), "even the administrator has no say in the system account: {asked:?}");
    // Its own question is heard, as that of each user of the account; nothing comes from the server.
    while let Some(Some(message)) = futures::FutureExt::now_or_never(system.next()) {
        assert_eq!(message.subject.as_str(), "$SYS.REQ.SERVER.PING", "the system account's messages stay there");
    }
}
