//! The disk of NATS fills up and is freed again: `doctor` says what is wrong, `up` restarts the server when there is room, and everything
//! goes on. Skipped, with a line that says so, where this user cannot mount a small disk.

use std::time::Duration;

use faultline_tests::small_disk::SmallDisk;
use faultline_tests::up::{Up, text};

#[tokio::test]
async fn a_disk_that_was_full_stops_nothing_once_there_is_room() {
    let Some(disk) = SmallDisk::mount_or_skip(160) else { return };
    let up = Up::start_on(&disk, 2, &[]).await;
    let submit = |extra: &[&str]| {
        let args = [&["submit", "--kind", "sleep", "--duration", "200ms", "--count", "20"], extra].concat();
        up.faultline(&args)
    };
    assert!(submit(&["--wait"]).status.success(), "{}", up.log_tail());
    // These run when the disk is full: they cannot commit before there is room.
    let running = up.faultline(&["submit", "--kind", "sleep", "--duration", "6s", "--count", "4"]);
    assert!(running.status.success(), "{}", text(&running));

    disk.fill();
    up.wait_until("`up` says that the disk is full", async || up.log().contains("is full (0 MiB free)")).await;
    let doctor = up.faultline(&["doctor"]);
    let said = text(&doctor);
    assert_eq!(doctor.status.code(), Some(5), "{said}");
    for words in ["NATS cannot write to", "disk full (0 KiB free)", "restart nats-server"] {
        assert!(said.contains(words), "{words} is missing in:\n{said}");
    }
    // As long as there is no room the server stays as it is.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let restarts = || up.service("nats").and_then(|nats| nats["restarts"].as_u64());
    assert_eq!(restarts(), Some(0), "{}", up.log_tail());

    disk.free();
    up.wait_until("`up` restarts the server", async || restarts() == Some(1)).await;
    up.wait_until("jobs commit again", async || submit(&["--wait"]).status.success()).await;
    up.wait_until("the history has it", async || !up.events(&["repaired"]).is_empty()).await;
    let detail = up.events(&["repaired"])[0]["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains("no space left on device") && detail.contains("restarted"), "{detail}");
    up.wait_until("nothing is left", async || up.json(&["audit"]).is_some()).await;
    assert!(up.faultline(&["doctor"]).status.success(), "{}", text(&up.faultline(&["doctor"])));
    up.assert_audit_clean();
}
