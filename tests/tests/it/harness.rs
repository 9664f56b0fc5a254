//! The harness itself: a server starts, keeps what JetStream has acknowledged through kill -9, and leaves nothing behind.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use async_nats::jetstream::{self, stream};
use faultline_tests::nats::{TEST_CONFIG, TestNats, TestNatsError};

const MESSAGES: u64 = 50;

#[tokio::test]
async fn acknowledged_messages_survive_kill_9() {
    let mut nats = TestNats::start_open().await;
    let config =
        stream::Config { name: "KEPT".into(), subjects: vec!["kept.*".into()], storage: stream::StorageType::File, ..Default::default() };
    {
        let jetstream = jetstream::new(async_nats::connect(nats.url()).await.expect("connects"));
        jetstream.create_stream(config).await.expect("stream");
        for number in 1..=MESSAGES {
            let ack = jetstream.publish(format!("kept.{number}"), number.to_string().into()).await.expect("published");
            assert_eq!(ack.await.expect("acknowledged").sequence, number);
        }
    }

    nats.kill9().await;
    assert!(!answers(nats.port()), "nothing answers after kill -9");
    nats.restart().await;

    let jetstream = jetstream::new(async_nats::connect(nats.url()).await.expect("connects again, on the same port"));
    let stream = jetstream.get_stream("KEPT").await.expect("the stream is still there");
    assert_eq!(stream.cached_info().state.messages, MESSAGES);
    let last = stream.get_raw_message(MESSAGES).await.expect("the last message");
    assert_eq!((last.subject.as_str(), &last.payload[..]), ("kept.50", &b"50"[..]));
}

#[tokio::test]
async fn two_servers_share_nothing() {
    let (first, second) = tokio::join!(TestNats::start_open(), TestNats::start_open());
    assert_ne!(first.port(), second.port());
    let jetstream = jetstream::new(async_nats::connect(first.url()).await.expect("connects"));
    jetstream.create_stream(stream::Config { name: "MINE".into(), ..Default::default() }).await.expect("stream");
    let other = jetstream::new(async_nats::connect(second.url()).await.expect("connects"));
    assert!(other.get_stream("MINE").await.is_err(), "the second server does not know the first one's stream");
}

/// In a runtime with several threads too, where a container is removed on another path.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_server_is_gone() {
    let nats = TestNats::start_open().await;
    let port = nats.port();
    assert!(answers(port));
    drop(nats);
    assert!(!answers(port), "port {port} still answers after the drop");
}

#[tokio::test]
async fn own_configuration_is_used() {
    let without_jetstream = TEST_CONFIG.split("jetstream {").next().expect("text before the block");
    let nats = TestNats::start_with_config(without_jetstream).await;
    let client = async_nats::connect(nats.url()).await.expect("connects");
    assert!(!client.server_info().jetstream, "this server has no JetStream");
}

#[tokio::test]
async fn broken_configuration_is_an_error_with_the_servers_words() {
    let error = TestNats::try_start("jetstream { nonsense").await.expect_err("cannot start");
    assert!(matches!(&error, TestNatsError::Ended { detail, .. } if detail.contains("Parse error")), "{error}");
}

/// A test process that is killed runs no destructors; its local server and folder must go all the same.
#[test]
fn killed_test_process_leaves_no_local_server() {
    const INNER: &str = "FAULTLINE_HARNESS_INNER";
    if std::env::var_os(INNER).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let nats = runtime.block_on(TestNats::start_open());
        println!("inner port {}", nats.port());
        loop {
            std::thread::park();
        }
    }
    let mut inner = Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", "harness::killed_test_process_leaves_no_local_server", "--nocapture"])
        .env(INNER, "1")
        .env("FAULTLINE_TEST_NATS", "process")
        .env_remove("FAULTLINE_TEST_NATS_REPORT")
        .stdout(Stdio::piped())
        .spawn()
        .expect("inner test process");
    let lines = BufReader::new(inner.stdout.take().expect("piped")).lines();
    let port = lines.map_while(Result::ok).find_map(|line| line.split_once("inner port ")?.1.parse::<u16>().ok()).expect("its port");
    assert!(answers(port));

    inner.kill().expect("kill -9");
    inner.wait().expect("gone");
    while answers(port) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// What ended in the middle of a run is removed by the next start: a container whose owner process does not exist any more.
#[tokio::test]
async fn container_of_a_dead_process_is_removed() {
    let first = TestNats::start_open().await;
    if !first.description().starts_with("docker") || !Path::new("/proc/self").exists() {
        return; // the watcher of a local server is tested above
    }
    let name = format!("faultline-test-orphan-{}", std::process::id());
    // Above every process id that the kernel gives out.
    let created = Command::new("docker")
        .args(["create", "--name", &name, "--label", "faultline.test.owner-pid=999999999", "faultline/nats:2.15.1"])
        .stdout(Stdio::null())
        .status()
        .expect("docker");
    assert!(created.success());
    let inner = Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", "harness::two_servers_share_nothing"])
        .env("FAULTLINE_TEST_NATS", "docker")
        .stdout(Stdio::null())
        .status()
        .expect("inner test process");
    assert!(inner.success());
    let left = Command::new("docker").args(["inspect", &name]).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("docker");
    assert!(!left.success(), "container {name} was left");
}

fn answers(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut line = String::new();
    // A forwarder may still accept while nothing stands behind it; only a greeting counts.
    BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("INFO ")
}
