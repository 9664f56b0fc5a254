//! A disk of a few megabytes: a tmpfs on a folder of its own, which a test can fill and free. It takes the right to mount, so where a
//! test's user does not have that, the test says why and skips. The mount goes with the value, also when the test process is killed.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// What fills the disk.
const FILLER: &str = "filler";

/// See above.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
    watcher: Child,
}

impl SmallDisk {
    /// An empty disk of so many MiB.
    ///
    /// # Errors
    /// When this user or system cannot mount one, with the reason.
    pub fn mount(mib: u32) -> Result<SmallDisk, String> {
        let folder = tempfile::Builder::new().prefix("faultline-disk-").tempdir().map_err(|error| error.to_string())?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(folder.path()).output();
        match mounted {
            Ok(output) if output.status.success() => {}
            Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => return Err(format!("mount cannot be started: {error}")),
        }
        // `read` returns when the last holder of the pipe's other end is gone, and that is this process, however it ended.
        let watcher = Command::new("sh")
            .args(["-c", "read _; umount -l \"$1\" && rmdir \"$1\"", "faultline-disk-watcher"])
            .arg(folder.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("its watcher cannot be started: {error}"))?;
        Ok(SmallDisk { folder, watcher })
    }

    /// The same for a test: `None`, with a line that says why, where it cannot be.
    pub fn mount_or_skip(mib: u32) -> Option<SmallDisk> {
        SmallDisk::mount(mib).inspect_err(|reason| println!("SKIPPED: no small disk can be mounted here: {reason}")).ok()
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join(FILLER)
    }

    /// Leaves no byte free.
    ///
    /// # Panics
    /// When it cannot be filled.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).expect("a file on the small disk");
        let zeros = vec![0; 64 << 10];
        let error = loop {
            if let Err(error) = std::io::Write::write_all(&mut file, &zeros) {
                break error;
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
    }

    /// Gives back what [`SmallDisk::fill`] took.
    pub fn free(&self) {
        let _ = std::fs::remove_file(self.filler());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}
