//! Programs in Python for tests that want a NATS client other than our own. The environment is made by scripts/python-venv.sh.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

/// What the script exits with where there is no Python, or no way to its packages.
const SKIPPED: i32 = 77;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The interpreter with nats-py. `None`, after saying why, where it cannot be had: the test has then shown nothing.
///
/// # Panics
/// When making the environment fails in any other way.
pub fn interpreter() -> Option<PathBuf> {
    let made = Command::new(root().join("scripts/python-venv.sh")).output().expect("the script starts");
    if made.status.code() == Some(SKIPPED) {
        // Test runners show no output of a test that passed: scripts/test.sh says it once more.
        eprintln!("SKIPPED: {}", String::from_utf8_lossy(&made.stderr).trim());
        return None;
    }
    assert!(made.status.success(), "scripts/python-venv.sh: {}", String::from_utf8_lossy(&made.stderr));
    Some(PathBuf::from(String::from_utf8_lossy(&made.stdout).trim()))
}

/// A script of this repository that runs beside the test; it is killed with the value.
pub struct Script {
    child: Child,
    log: NamedTempFile,
}

impl Script {
    pub fn start(interpreter: &Path, script: &str, args: &[&str]) -> Script {
        let log = NamedTempFile::new().expect("a temporary file");
        // Clones share their place in the file, so that neither writes over the other.
        let (out, err) = (log.as_file().try_clone().expect("a log"), log.as_file().try_clone().expect("a log"));
        let child = command(interpreter, script).args(args).stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        Script { child: child.unwrap_or_else(|error| panic!("{script} does not start: {error}")), log }
    }

    /// Whether a line of what it has written so far contains this.
    pub fn says(&self, text: &str) -> bool {
        self.log().lines().any(|line| line.contains(text))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    pub fn kill9(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("a killed child can be waited for");
    }

    /// SIGTERM, and its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it can be told to stop");
        self.wait()
    }

    /// Its exit code, once it has ended by itself.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("a child can be waited for").code()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A script of this repository, not started yet.
pub fn command(interpreter: &Path, script: &str) -> Command {
    let mut command = Command::new(interpreter);
    command.arg("-u").arg(root().join(script));
    command
}
