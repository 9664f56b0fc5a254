//! What happens to the store under load: each bucket is deleted and set up again, and the disk is filled and freed. Drawn between the
//! faults of NATS itself, since a server that is down or frozen deletes nothing, and one on a full disk does not start.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use faultline_protocol::streams;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;
use tempfile::TempDir;

use super::step::{Op, Service, Step};
use crate::nats::{TEST_CONFIG, TestNats};

const BUCKETS: [&str; 6] =
    [streams::KV_LEASE, streams::KV_NODES, streams::KV_HEALTH, streams::KV_CONTROL, streams::KV_CLAIMS, streams::KV_LEDGER];
/// Between two buckets.
const BUCKET_EVERY_MS: u64 = 14_000;
/// Between two fillings of the disk.
const FILL_EVERY_MS: u64 = 55_000;
const FULL_MS: Range<u64> = 3_000..6_000;
/// A server needs this long before and after a fault of its own, or its clients do, until something else is worth doing to it.
const APART_MS: u64 = 2_500;
/// Bytes of the small disk: what a run of five minutes writes, with room.
const DISK_MIB: u64 = 768;
const CHUNK: usize = 1 << 20;

/// When NATS is down or frozen, with a margin.
fn busy(steps: &[Step]) -> Vec<Range<u64>> {
    let begins = |step: &&Step| matches!(step.op, Op::Kill(Service::Nats) | Op::Freeze(Service::Nats));
    let ends = |step: &&Step| matches!(step.op, Op::Start(Service::Nats) | Op::Thaw(Service::Nats));
    let end_of = |from: u64| steps.iter().filter(ends).map(|step| step.at_ms).find(|at_ms| *at_ms >= from).unwrap_or(u64::MAX - APART_MS);
    steps.iter().filter(begins).map(|step| step.at_ms.saturating_sub(APART_MS)..end_of(step.at_ms) + APART_MS).collect()
}

/// The first time from `from_ms` on at which NATS is left alone for so long.
fn quiet_from(busy: &[Range<u64>], from_ms: u64, for_ms: u64) -> u64 {
    let mut at_ms = from_ms;
    while let Some(in_the_way) = busy.iter().find(|range| range.start < at_ms + for_ms && at_ms < range.end) {
        at_ms = in_the_way.end;
    }
    at_ms
}

/// What is done to the store beside these steps, which are in the order of time.
pub(super) fn draw(rng: &mut Pcg64Mcg, length_ms: u64, steps: &[Step]) -> Vec<Step> {
    let mut busy = busy(steps);
    let mut drawn = Vec::new();
    let mut at_ms = rng.random_range(8_000..20_000);
    while at_ms < length_ms {
        let full_ms = rng.random_range(FULL_MS);
        let from_ms = quiet_from(&busy, at_ms, full_ms + APART_MS);
        let free_ms = from_ms + full_ms;
        if free_ms + APART_MS < length_ms {
            drawn.extend([Step { at_ms: from_ms, op: Op::FillDisk }, Step { at_ms: free_ms, op: Op::FreeDisk }]);
            busy.push(from_ms.saturating_sub(APART_MS)..free_ms + APART_MS);
        }
        at_ms = from_ms + FILL_EVERY_MS;
    }
    let mut deck: Vec<&'static str> = Vec::new();
    let mut at_ms = rng.random_range(4_000..9_000);
    while at_ms < length_ms {
        if deck.is_empty() {
            deck = BUCKETS.to_vec();
            deck.shuffle(rng);
        }
        let from_ms = quiet_from(&busy, at_ms, APART_MS);
        if let (true, Some(bucket)) = (from_ms + APART_MS < length_ms, deck.pop()) {
            drawn.push(Step { at_ms: from_ms, op: Op::Anew(bucket) });
        }
        at_ms = from_ms + rng.random_range(BUCKET_EVERY_MS / 2..BUCKET_EVERY_MS);
    }
    drawn
}

/// A disk of a few hundred MiB, in memory, that can be filled and freed. Only root may mount one.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
    /// Unmounts it when this process ends without its destructors.
    watcher: Child,
}

impl SmallDisk {
    /// Why there is none, in words.
    pub fn mount() -> Result<SmallDisk, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root may mount one".into());
        }
        let folder = tempfile::Builder::new().prefix("faultline-disk-").tempdir().map_err(|error| error.to_string())?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={DISK_MIB}m"), "tmpfs"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("mount: {error}"))?;
        if !mounted.status.success() {
            return Err(format!("mount: {}", String::from_utf8_lossy(&mounted.stderr).trim()));
        }
        let watcher = Command::new("sh")
            .args(["-c", "read _; umount -l \"$1\"; rmdir -- \"$1\"", "faultline-disk-watcher"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("sh: {error}"))?;
        Ok(SmallDisk { folder, watcher })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Writes until nothing more fits.
    pub fn fill(&self) -> std::io::Result<()> {
        let mut file = File::create(self.ballast())?;
        let mut chunk = vec![0_u8; CHUNK];
        while !chunk.is_empty() {
            if let Err(error) = file.write_all(&chunk) {
                if error.kind() != std::io::ErrorKind::StorageFull {
                    return Err(error);
                }
                chunk.truncate(chunk.len() / 2);
            }
        }
        Ok(())
    }

    pub fn free(&self) -> std::io::Result<()> {
        std::fs::remove_file(self.ballast())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Its standard input ends, and it tidies up.
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

/// A server on a small disk; on the usual one where that cannot be had, and then the disk is neither filled nor freed.
pub async fn server() -> (TestNats, Option<SmallDisk>) {
    match SmallDisk::mount() {
        Ok(disk) => {
            let data = disk.path().join("data");
            // The streams may hold more than the disk does, as on a disk that other programs have filled.
            let store = format!("store_dir: \"{}\"\n  max_file_store: 16GB", data.display());
            let config = TEST_CONFIG.replace("store_dir: \"/data\"", &store);
            assert_ne!(config, TEST_CONFIG, "the test server's configuration names its folder differently");
            (TestNats::start_local(&config).await, Some(disk))
        }
        Err(reason) => {
            eprintln!("chaos: the disk is not filled in this run, because a small one cannot be had: {reason}");
            (TestNats::start().await, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_found_between_the_faults_of_nats() {
        let busy = [5_000..9_000, 10_000..20_000];
        assert_eq!(quiet_from(&busy, 1_000, 2_000), 1_000);
        assert_eq!(quiet_from(&busy, 4_000, 2_000), 20_000, "a second is not enough");
        assert_eq!(quiet_from(&busy, 9_000, 500), 9_000);
    }

    #[test]
    fn a_small_disk_is_full_and_then_it_is_not() {
        let disk = match SmallDisk::mount() {
            Ok(disk) => disk,
            Err(reason) => return eprintln!("skipped: there is no small disk here: {reason}"),
        };
        disk.fill().unwrap();
        let error = std::fs::write(disk.path().join("more"), [1; 8192]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        disk.free().unwrap();
        std::fs::write(disk.path().join("more"), [1; 8192]).unwrap();
    }
}
