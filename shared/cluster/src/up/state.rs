//! What `up` leaves in its data folder for other commands: a lock while it runs, and a note of where things are.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::nats_server::keys::{private_dir, write_private};

/// A looking `status` holds the lock for a moment.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(30);

/// The lock on a data folder; the operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

fn lock_path(data_dir: &Path) -> PathBuf {
    data_dir.join("lock")
}

impl DataLock {
    /// Takes the folder for this process, or says who has it.
    pub fn take(data_dir: &Path) -> Result<Self, Error> {
        private_dir(data_dir)?;
        let path = lock_path(data_dir);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        for _ in 0..LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => {
                    let mut note = || -> std::io::Result<()> {
                        file.set_len(0)?;
                        file.rewind()?;
                        write!(file, "{}", std::process::id())
                    };
                    note().with_context(|| format!("writing {}", path.display()))?;
                    return Ok(Self { _file: file });
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(error)) => {
                    return Err(anyhow::Error::new(error).context(format!("locking {}", path.display())).into());
                }
            }
        }
        let holder = holder(data_dir).map(|pid| format!(" (process {pid})")).unwrap_or_default();
        Err(Error::Failed(anyhow::anyhow!(
            "another `faultline up`{holder} already runs on the data folder {}: stop it with `faultline down`, or choose another folder with --data-dir",
            data_dir.display()
        )))
    }
}

/// Refuses a folder of which this user cannot tell whether anything runs there.
pub fn check_access(data_dir: &Path) -> Result<(), Error> {
    match File::open(lock_path(data_dir)) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(Error::Failed(anyhow::anyhow!(
            "this user may not read the data folder {}: run this as the folder's owner, or name another one with --data-dir",
            data_dir.display()
        ))),
        _ => Ok(()),
    }
}

/// The process that runs on this data folder, if one does. None also where this user cannot tell: see [`check_access`].
pub fn holder(data_dir: &Path) -> Option<u32> {
    let mut file = File::open(lock_path(data_dir)).ok()?;
    match file.try_lock_shared() {
        Ok(()) => None,
        Err(_) => {
            let mut text = String::new();
            file.read_to_string(&mut text).ok()?;
            text.trim().parse().ok()
        }
    }
}

/// Where the running cluster is to be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningState {
    pub pid: u32,
    pub nats_url: String,
    pub dashboard_url: Option<String>,
    pub control_socket: PathBuf,
    pub started_at_ms: u64,
}

fn state_path(data_dir: &Path) -> PathBuf {
    data_dir.join("up.json")
}

impl RunningState {
    pub fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        write_private(&state_path(data_dir), &format!("{}\n", serde_json::to_string_pretty(self)?))
    }

    /// The note of the last `up`; after a kill -9 it may be out of date.
    pub fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(state_path(data_dir)).ok()?).ok()
    }

    pub fn remove(data_dir: &Path) {
        let _ = std::fs::remove_file(state_path(data_dir));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()), None);
        let first = DataLock::take(dir.path()).unwrap();
        let text = DataLock::take(dir.path()).unwrap_err().to_string();
        assert!(text.contains(&std::process::id().to_string()) && text.contains("--data-dir"), "{text}");
        assert_eq!(holder(dir.path()), Some(std::process::id()));
        drop(first);
        assert_eq!(holder(dir.path()), None);
        assert!(DataLock::take(dir.path()).is_ok());
    }

    #[test]
    fn the_note_comes_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let state = RunningState {
            pid: 7,
            nats_url: "nats://127.0.0.1:4222".into(),
            dashboard_url: None,
            control_socket: "x.sock".into(),
            started_at_ms: 1,
        };
        state.write(dir.path()).unwrap();
        assert_eq!(RunningState::read(dir.path()), Some(state));
        RunningState::remove(dir.path());
        assert_eq!(RunningState::read(dir.path()), None);
    }
}
