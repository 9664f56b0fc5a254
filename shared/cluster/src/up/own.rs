//! A `faultline up` of its own as a child: in a folder that nothing else uses, without the settings of the process that starts it. It ends with the
//! value: the end of its standard input tells it to stop in order, its children with it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::services::BIN_DIR_VARIABLE;
use crate::error::Error;

/// `up` stops in order within 5 s; then it is killed, and its children end with it.
const STOP_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);
/// The last lines of the log that are shown when it does not start.
const LOG_TAIL: usize = 15;

/// The child and its folder, which goes with the value.
#[derive(Debug)]
pub struct OwnUp {
    child: Child,
    folder: TempDir,
    program: PathBuf,
    args: Vec<String>,
    /// Where the child looks for programs, if not where this process does.
    path: Option<OsString>,
}

impl OwnUp {
    /// Starts `faultline up` with these flags in a folder that may hold a `faultline.toml`. `path` is what PATH is for it, if it needs another.
    pub fn start(program: PathBuf, folder: TempDir, args: Vec<String>, path: Option<OsString>) -> Result<Self, Error> {
        let child = spawn(&program, folder.path(), &args, path.as_ref())?;
        Ok(Self { child, folder, program, args, path })
    }

    /// Once it has ended: the same again on the same data.
    pub fn start_again(&mut self) -> Result<(), Error> {
        self.child = spawn(&self.program, self.folder.path(), &self.args, self.path.as_ref())?;
        Ok(())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, once it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `faultline` in its folder, not started yet.
    pub fn command(&self) -> Command {
        clean(&self.program, self.folder.path())
    }

    /// Looks until there is what is waited for; or says, with the end of the log, that it has ended or that the limit has passed.
    pub async fn until<T>(&mut self, limit: Duration, mut look: impl AsyncFnMut(&OwnUp) -> Option<T>) -> Result<T, Error> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = look(self).await {
                return Ok(found);
            }
            if let Some(status) = self.ended() {
                return Err(Error::Failed(anyhow!("the cluster did not start ({status}):\n{}", self.log_tail(LOG_TAIL))));
            }
            if Instant::now() >= deadline {
                let seconds = limit.as_secs();
                return Err(Error::Failed(anyhow!("the cluster was not whole within {seconds} s:\n{}", self.log_tail(LOG_TAIL))));
            }
            sleep(POLL).await;
        }
    }

    /// All that it and its processes have said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_of(self.folder.path())).unwrap_or_default()
    }

    /// The last lines of it.
    pub fn log_tail(&self, most: usize) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(most)..].join("\n")
    }

    /// Tells it to stop and waits until it has; what does not stop in time is killed.
    pub async fn stop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + STOP_LIMIT;
        while self.ended().is_none() && Instant::now() < deadline {
            sleep(POLL).await;
        }
        self.kill();
    }

    /// Does nothing to one that has ended.
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for OwnUp {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = tokio::time::Instant::now() + STOP_LIMIT;
        while self.ended().is_none() && tokio::time::Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        self.kill();
    }
}

fn log_of(folder: &Path) -> PathBuf {
    folder.join("up.log")
}

fn spawn(program: &Path, folder: &Path, args: &[String], path: Option<&OsString>) -> Result<Child, Error> {
    let log = std::fs::File::options().create(true).append(true).open(log_of(folder)).context("making a log file")?;
    let mut command = clean(program, folder);
    command.args(["--stop-with-parent", "up"]).args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
    if let Some(path) = path {
        command.env("PATH", path);
    }
    // Ctrl-C must reach this process alone, which then stops the child in order.
    command.process_group(0);
    Ok(command.spawn().context("starting `faultline up`")?)
}

/// Neither the settings of the folder that this process is in nor those of its environment are the child's.
fn clean(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FAULTLINE_") && name != BIN_DIR_VARIABLE {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1").current_dir(folder);
    command
}
