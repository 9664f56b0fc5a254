//! What `faultline up` keeps to itself: keys that are made and never fixed, in files of its user alone, and never in a log or an answer. And what a
//! message says is shown, and steers nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use async_nats::HeaderMap;
use faultline_engine::job::JobId;
use faultline_protocol::codec::{self, HEADER_JOB_STATE};
use faultline_protocol::messages::{ClusterEvent, EventBatch, EventKind, Level, OPEN, OpenMarker};
use faultline_protocol::subjects;
use faultline_runtime::clock::{random_u128, unix_ms};
use faultline_runtime::config::Common;
use faultline_runtime::connect::{Nats, connect_once};
use faultline_tests::cluster::program;
use faultline_tests::up::{Up, text};
use tempfile::TempDir;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

fn seeds(data_dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(data_dir.join("nkeys")).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            std::fs::read_to_string(path).unwrap().trim().to_owned()
        })
        .collect()
}

/// Anything that looks like the seed of an nkey.
fn holds_a_seed(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    text.split(|c| !is_part(c)).any(|word| word.len() == 58 && word.starts_with('S'))
}

#[tokio::test]
async fn keys_are_secret_in_files_logs_answers_and_command_lines() {
    let up = Up::start(1, &["--log-level", "debug"]).await;
    let seeds = seeds(&up.data_dir());
    assert!(seeds.len() >= 8 && seeds.iter().all(|seed| holds_a_seed(seed)), "{} seeds", seeds.len());
    for (name, expected) in [("", 0o700), ("nkeys", 0o700), ("nats-server.conf", 0o600)] {
        assert_eq!(mode(&up.data_dir().join(name)), expected, "{name}");
    }
    let mut told = vec![up.log(), std::fs::read_to_string(up.data_dir().join("nats-server.conf")).unwrap()];
    for args in [&["status"][..], &["status", "-o", "json"], &["nodes", "-o", "json"], &["events", "-o", "json"], &["audit"]] {
        told.push(text(&up.faultline(args)));
    }
    let logs = up.data_dir().parent().unwrap().join("logs");
    for log in std::fs::read_dir(&logs).unwrap() {
        told.push(std::fs::read_to_string(log.unwrap().path()).unwrap());
    }
    let status = up.json(&["status"]).unwrap();
    for service in status["services"].as_array().unwrap() {
        let process = Path::new("/proc").join(service["pid"].to_string());
        let command_line = std::fs::read(process.join("cmdline")).unwrap();
        told.push(String::from_utf8_lossy(&command_line).replace('\0', " "));
    }
    assert!(told.iter().any(|text| text.contains("worker-01.") || text.contains("--nkey-file")), "the command lines were read");
    for text in told {
        assert!(!holds_a_seed(&text) && seeds.iter().all(|seed| !text.contains(seed.as_str())), "a seed is in:\n{text}");
    }

    let key = up.data_dir().join("nkeys/cli.nk");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = up.faultline(&["rate", "get"]);
    let said = text(&refused);
    assert!(refused.status.code() == Some(2) && said.contains("nkey_file") && said.contains("chmod 600") && !holds_a_seed(&said), "{said}");
}

#[test]
fn no_two_installations_have_a_key_in_common() {
    let made = || {
        let folder = TempDir::new().unwrap();
        let written = Command::new(program("faultline")).args(["nats-config", "--out"]).arg(folder.path()).output().unwrap();
        assert!(written.status.success() && !holds_a_seed(&text(&written)), "{}", text(&written));
        seeds(folder.path())
    };
    let (one, other) = (made(), made());
    assert!(one.iter().all(|seed| !other.contains(seed)));
}

/// A title for the terminal, a cleared screen, a line of its own, and writing turned round.
const EVIL: &str = "good\x1b]0;owned\x07\x1b[2J\n01KAFORGEDROW  committed\r\u{9b}31m\u{202e}txt";

async fn publish(nats: &Nats, subject: String, headers: HeaderMap, body: impl AsRef<[u8]>) {
    let sent = nats.jetstream.publish_with_headers(subject, headers, body.as_ref().to_vec().into()).await.unwrap();
    sent.await.unwrap();
}

#[tokio::test]
async fn what_a_message_says_is_shown_and_steers_no_terminal() {
    let up = Up::start(1, &[]).await;
    let common = Common { nats_url: up.url(), nkey_file: Some(up.data_dir().join("nkeys/admin.nk")), ..Common::default() };
    let nats = connect_once(&common, "admin", "test").await.unwrap();
    let job = JobId::new(unix_ms(), random_u128());
    let marker = OpenMarker { job, name: EVIL.into(), kind: EVIL.into(), priority: "high".parse().unwrap(), submitted_at_ms: unix_ms() };
    let mut headers = codec::headers_for::<OpenMarker>();
    headers.insert(HEADER_JOB_STATE, OPEN);
    publish(&nats, subjects::result(job), headers, codec::encode(&marker)).await;
    let mut event = ClusterEvent::new(unix_ms(), EVIL, Level::Error, EventKind::JobPlaced, EVIL);
    (event.job, event.node) = (Some(job), Some(EVIL.into()));
    publish(&nats, subjects::job_event(job), codec::headers_for::<EventBatch>(), codec::encode(&EventBatch { events: vec![event] })).await;
    // A poisoned job, whose reason goes into a log, an event and a letter.
    let mut headers = HeaderMap::new();
    headers.insert(codec::HEADER_KIND, EVIL.replace(['\n', '\r'], " "));
    publish(&nats, format!("job.q.high.sleep.{}", JobId::new(unix_ms(), random_u128())), headers, EVIL).await;
    up.wait_until("the poison is noticed", async || up.log().contains("unreadable message in the queue")).await;

    let id = job.to_string();
    let is_clean = |text: &str| !text.contains(|c: char| c.is_control() && c != '\n') && !text.contains('\u{202e}');
    let mut shown = 0;
    for args in [&["jobs"][..], &["job", &id], &["events"], &["events", "--job", &id], &["audit"], &["nodes"]] {
        for format in ["table", "json", "jsonl"] {
            let output = up.command(args).args(["-o", format]).output().unwrap();
            let text = text(&output);
            assert!(is_clean(&text), "{args:?} -o {format}: {text:?}");
            assert!(!text.lines().any(|line| line.trim_start().starts_with("01KAFORGEDROW")), "{args:?} -o {format}: {text}");
            shown += usize::from(text.contains("owned"));
        }
    }
    assert!(shown >= 9, "the name is shown, in {shown} answers");
    assert!(is_clean(&up.log()), "{:?}", up.log());
    let refused = up.faultline(&["submit", "--kind", "sleep", "--name", EVIL]);
    assert!(refused.status.code() == Some(2) && text(&refused).contains("name") && is_clean(&text(&refused)), "{:?}", text(&refused));
}
