//! The configuration that `faultline nats-config` writes and `up` uses, and `faultline setup`, against the real server.
//! Skipped, with a line that says so, where no nats-server binary is to be found.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::{Client, ConnectOptions};
use faultline_protocol::{streams, subjects};
use futures::StreamExt;

const PATIENCE: Duration = Duration::from_secs(10);

fn server_binary() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/nats/bin");
    let found = on_path.chain([pinned]).map(|folder| folder.join("nats-server")).find(|path| path.is_file());
    if found.is_none() {
        println!("SKIPPED: no nats-server on PATH or in .tools");
    }
    found
}

fn faultline(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faultline"));
    for variable in ["FAULTLINE_NATS_URL", "FAULTLINE_NKEY_FILE", "FAULTLINE_UP_DATA_DIR"] {
        command.env_remove(variable);
    }
    command.args(args).stdin(Stdio::null()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A server in a folder of its own; ends with the test.
struct Server {
    process: Child,
    dir: tempfile::TempDir,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    async fn start() -> Option<Self> {
        let binary = server_binary()?;
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let written = faultline(&["nats-config", "--out", dir.path().to_str().unwrap(), "--port", &port.to_string()]);
        assert!(written.status.success(), "{}", stderr(&written));
        let config = String::from_utf8(written.stdout).unwrap();
        let process = Command::new(binary).args(["-c", config.trim()]).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { process, dir, url: format!("nats://127.0.0.1:{port}") };
        tokio::time::timeout(PATIENCE, async {
            while async_nats::connect_with_options(&server.url, server.options("admin")).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("the server accepts the administrator");
        Some(server)
    }

    fn options(&self, user: &str) -> ConnectOptions {
        let seed = std::fs::read_to_string(self.dir.path().join("nkeys").join(format!("{user}.nk"))).unwrap();
        ConnectOptions::with_nkey(seed.trim().to_owned()).custom_inbox_prefix(subjects::inbox_prefix(user))
    }

    async fn connect(&self, user: &str) -> Client {
        self.options(user).connect(&self.url).await.unwrap()
    }

    fn setup(&self, more: &[&str]) -> Output {
        let dir = self.dir.path().to_str().unwrap();
        faultline(&[&["setup", "--nats-url", &self.url, "--data-dir", dir], more].concat())
    }
}

#[tokio::test]
async fn setup_may_be_repeated_and_limits_may_be_changed() {
    let Some(server) = Server::start().await else { return };
    let first = server.setup(&[]);
    assert!(first.status.success(), "{}", stderr(&first));
    assert!(String::from_utf8_lossy(&first.stdout).starts_with("created: stream JOBS"));
    let second = server.setup(&[]);
    assert!(second.status.success(), "{}", stderr(&second));
    let said = String::from_utf8_lossy(&second.stdout).into_owned();
    assert!(said.starts_with("already there: ") && !said.contains("created"), "{said}");

    let resized = server.setup(&["--jobs-max-bytes", "1000000"]);
    assert!(String::from_utf8_lossy(&resized.stdout).contains("changed: stream JOBS"), "{}", stderr(&resized));
    assert!(server.setup(&[]).status.success());
    let jobs = jetstream::new(server.connect("admin").await).get_stream(streams::JOBS).await.unwrap();
    assert_eq!(jobs.cached_info().config.max_bytes, 1_000_000);
}

#[tokio::test]
async fn a_stream_with_another_configuration_is_refused_by_name_and_field() {
    let Some(server) = Server::start().await else { return };
    let jetstream = jetstream::new(server.connect("admin").await);
    let other = jetstream::stream::Config { name: streams::JOBS.into(), subjects: vec!["job.q.high.>".into()], ..Default::default() };
    jetstream.create_stream(other).await.unwrap();
    let refused = server.setup(&[]);
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    for expected in ["stream JOBS", "retention", "subjects"] {
        assert!(said.contains(expected), "{expected} is missing in: {said}");
    }
    assert!(jetstream.get_stream(streams::RESULTS).await.is_err(), "nothing may be created when something is in the way");
}

#[tokio::test]
async fn a_worker_may_not_play_the_generator() {
    let Some(server) = Server::start().await else { return };
    assert!(server.setup(&[]).status.success());
    let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let options = server.options("worker").event_callback(move |event| {
        let _ = report.send(event.to_string());
        std::future::ready(())
    });
    let worker = options.connect(&server.url).await.unwrap();
    worker.publish("job.q.normal.sleep.01", "x".into()).await.unwrap();
    worker.flush().await.unwrap();
    let violation = tokio::time::timeout(PATIENCE, async {
        loop {
            let event = reports.recv().await.expect("the connection stays");
            if event.to_lowercase().contains("permissions violation") {
                return event;
            }
        }
    });
    assert!(violation.await.unwrap().contains("job.q.normal.sleep.01"));
    let jobs = jetstream::new(server.connect("admin").await).get_stream(streams::JOBS).await.unwrap();
    assert_eq!(jobs.cached_info().state.messages, 0);
}

#[tokio::test]
async fn every_user_may_watch_read_and_write_what_it_works_with() {
    let Some(server) = Server::start().await else { return };
    assert!(server.setup(&[]).status.success());
    for (user, bucket, key, watches) in [
        ("scheduler", streams::KV_LEASE, "scheduler", false),
        ("worker", streams::KV_NODES, "n", false),
        ("fault-detector", streams::KV_HEALTH, "n", true),
        ("generator", streams::KV_CONTROL, "mix", true),
        ("dashboard", streams::KV_CONTROL, "drain.n", true),
        ("cli", streams::KV_CONTROL, "rate", false),
    ] {
        let store = jetstream::new(server.connect(user).await).get_key_value(bucket).await.unwrap();
        let watch = match watches {
            true => Some(store.watch(key).await.unwrap_or_else(|error| panic!("{user} cannot watch {bucket}: {error}"))),
            false => None,
        };
        store.put(key, "x".into()).await.unwrap_or_else(|error| panic!("{user} cannot write {bucket}: {error}"));
        assert_eq!(store.get(key).await.unwrap().unwrap(), "x");
        if let Some(mut watch) = watch {
            let seen = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(seen.key, key);
        }
    }
    for (user, stream) in [("scheduler", streams::RESULTS), ("cli", streams::EVENTS), ("dashboard", streams::RESULTS)] {
        let stream = jetstream::new(server.connect(user).await).get_stream(stream).await.unwrap();
        let ordered = jetstream::consumer::pull::OrderedConfig::default();
        let mut batch = stream.create_consumer(ordered).await.unwrap().messages().await.unwrap();
        assert!(
            tokio::time::timeout(Duration::from_millis(200), batch.next()).await.is_err(),
            "{user} must wait in peace on an empty stream"
        );
    }
}

#[tokio::test]
async fn the_detector_hears_that_a_worker_is_gone() {
    let Some(server) = Server::start().await else { return };
    let detector = server.connect("fault-detector").await;
    let mut gone = detector.subscribe(subjects::SYSTEM_DISCONNECT).await.unwrap();
    let mut came = detector.subscribe(subjects::SYSTEM_CONNECT).await.unwrap();
    detector.flush().await.unwrap();
    let worker = server.options("worker").name("worker-99").connect(&server.url).await.unwrap();
    worker.flush().await.unwrap();
    name_in(&mut came, "worker-99").await;
    drop(worker);
    name_in(&mut gone, "worker-99").await;
}

/// Waits for the system event about the client of this name.
async fn name_in(events: &mut async_nats::Subscriber, name: &str) {
    let wanted = format!("\"name\":\"{name}\"");
    let found = async {
        while let Some(event) = events.next().await {
            if String::from_utf8_lossy(&event.payload).replace("\": \"", "\":\"").contains(&wanted) {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(PATIENCE, found).await.expect("the system event arrives"));
}
