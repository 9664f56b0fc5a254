//! Stores and servers of an earlier version, in which one account held all streams and all keys.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use faultline_protocol::streams;
use faultline_runtime::config::Common;
use faultline_runtime::connect::connect_once;
use faultline_runtime::submit::Submitter;
use faultline_tests::cluster::{program, sleep_job};
use faultline_tests::nats::{TEST_CONFIG, TestNats, free_port};
use faultline_tests::up::{Up, text};
use tempfile::TempDir;

/// The account of docker/nats/test.conf is the one that installations had.
const FORMER: &str = "jetstream/APP/streams";

fn faultline(folder: &Path, url: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program("faultline"));
    command.args(args).env("FAULTLINE_NATS_URL", url).env("NO_COLOR", "1").current_dir(folder).stdin(Stdio::null());
    command.output().expect("faultline starts")
}

/// A server whose store is in the folder, with everything in one account.
async fn former_server(store: &Path) -> TestNats {
    let config = TEST_CONFIG.replace("\"/data\"", &format!("\"{}\"", store.display()));
    assert_ne!(config, TEST_CONFIG);
    TestNats::start_local(&config).await
}

#[tokio::test]
async fn the_jobs_of_an_earlier_versions_store_go_on_also_when_its_move_was_interrupted() {
    let former = TempDir::new().unwrap();
    let store = former.path().join("data/jetstream");
    std::fs::create_dir_all(&store).unwrap();
    let mut server = former_server(&store).await;
    let (url, folder) = (server.url(), former.path());
    let set_up = faultline(folder, &url, &["setup"]);
    assert!(set_up.status.success(), "{}", text(&set_up));
    // No generator runs that could say that it holds: the setting is stored all the same.
    assert_eq!(faultline(folder, &url, &["rate", "set", "12.5"]).status.code(), Some(1));
    let nats = connect_once(&Common { nats_url: url, ..Common::default() }, "test", "test").await.unwrap();
    let submitter = Submitter::new(&nats);
    let mut ids = Vec::new();
    for _ in 0..30 {
        let job = sleep_job(20);
        submitter.submit(&job).await.unwrap();
        ids.push(job.id.to_string());
    }
    server.kill9().await;
    drop(nats);
    // As a start leaves it that was killed after the first stream.
    let (from, to) = (store.join(FORMER), store.join("jetstream/QUEUE/streams"));
    std::fs::create_dir_all(&to).unwrap();
    std::fs::rename(from.join("KV_LEASE"), to.join("KV_LEASE")).unwrap();

    let config = format!("[up]\ndata_dir = \"{}\"\n", folder.join("data").display());
    let up = Up::start_configured(2, &[], &config).await;
    assert!(up.log().contains("the streams of an earlier version were moved"), "{}", up.log_tail());
    for id in &ids {
        up.wait_until("the job commits", async || up.json(&["job", id]).is_some_and(|view| view["state"] == "committed")).await;
    }
    let rate = up.json(&["rate", "get"]).unwrap();
    assert!(rate.to_string().contains("12.5"), "{rate}");
    up.assert_audit_clean();
    let left = std::fs::read_dir(&from).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing of ours is left in the former account");
}

#[tokio::test]
async fn stores_that_cannot_be_moved_are_refused_with_the_way_out() {
    let folder = TempDir::new().unwrap();
    let member = folder.path().join(".data/jetstream-2").join(FORMER).join("JOBS");
    std::fs::create_dir_all(&member).unwrap();
    let port = free_port().to_string();
    let args = ["up", "--nats-servers", "3", "--nats-port", &port, "--no-dashboard"];
    let mut command = Command::new(program("faultline"));
    let refused = command.args(args).env("NO_COLOR", "1").current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
    let said = text(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    for expected in ["jetstream-2", "1 stream of an earlier version", "cannot be moved", "a new folder"] {
        assert!(said.contains(expected), "{expected} is missing in: {said}");
    }
    assert!(member.is_dir(), "nothing was touched");
}

#[test]
fn nats_config_moves_a_store_only_when_it_is_told_that_the_server_is_stopped() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("nats");
    let run = |more: &[&str]| {
        let mut command = Command::new(program("faultline"));
        command.args(["nats-config", "--out"]).arg(&out).args(more).env("NO_COLOR", "1").stdin(Stdio::null()).output().unwrap()
    };
    // Beside the configuration, and in the volume of a composed server.
    for store in ["jetstream", "1/jetstream"] {
        let jobs = out.join(store).join(FORMER).join("JOBS");
        std::fs::create_dir_all(&jobs).unwrap();
        let refused = run(&[]);
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
        assert!(text(&refused).contains("no configuration was written") && text(&refused).contains("--move-store"), "{}", text(&refused));
        let moved = run(&["--move-store"]);
        assert!(moved.status.success() && text(&moved).contains("moved 1 stream"), "{}", text(&moved));
        assert!(out.join(store).join("jetstream/QUEUE/streams/JOBS").is_dir() && !jobs.exists());
    }
    assert!(run(&[]).status.success());
}

#[tokio::test]
async fn doctor_names_a_server_on_which_all_keys_share_an_account() {
    let former = TempDir::new().unwrap();
    let server = TestNats::start_open().await;
    let set_up = faultline(former.path(), &server.url(), &["setup"]);
    assert!(set_up.status.success(), "{}", text(&set_up));
    let report = faultline(former.path(), &server.url(), &["doctor", "-o", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let accounts = checks.iter().find(|check| check["check"] == "accounts").unwrap();
    assert_eq!(accounts["status"], "warn", "{accounts}");
    assert!(
        accounts["found"].as_str().unwrap().contains("the account APP") && accounts["remedy"].as_str().unwrap().contains("nats-config")
    );
    let jetstream = checks.iter().find(|check| check["check"] == "jetstream").unwrap();
    let streams =
        streams::stream_configs(streams::Provision::default()).len() + streams::bucket_configs(streams::Provision::default()).len();
    assert!(jetstream["found"].as_str().unwrap().contains(&format!("in {streams} streams")), "{jetstream}");
}
