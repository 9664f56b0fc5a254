//! The test server as a child process: found on PATH or in `.tools/`, files in a folder of its own under the system's temporary one.
//! A small watcher process ends both when the test process dies without its destructors. Not here: ports and readiness.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::error::TestNatsError;

/// The oldest server with the message schedules that we use.
const OLDEST: (u32, u32) = (2, 12);

/// A nats-server program that can be started.
#[derive(Debug, Clone)]
pub(super) struct Program {
    path: PathBuf,
    version: String,
}

impl Program {
    pub(super) fn description(&self) -> String {
        format!("local process, nats-server {} at {}", self.version, self.path.display())
    }
}

/// The pinned server first, since the tests were written against it; then one on PATH.
pub(super) fn find_program() -> Result<Program, TestNatsError> {
    let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/nats/bin/nats-server");
    let mut tried = Vec::new();
    for path in [pinned.canonicalize().unwrap_or(pinned), PathBuf::from("nats-server")] {
        match version_of(&path) {
            Ok(version) if is_fit(&version) => return Ok(Program { path, version }),
            Ok(version) => tried.push(format!("{} is {version}, older than {}.{}", path.display(), OLDEST.0, OLDEST.1)),
            Err(error) => tried.push(format!("{}: {error}", path.display())),
        }
    }
    Err(TestNatsError::Process(format!("{}; `just nats-server pinned` installs one", tried.join("; "))))
}

fn version_of(path: &Path) -> std::io::Result<String> {
    let output = Command::new(path).arg("--version").stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.trim().rsplit_once(": v").map_or("of unknown version", |(_, version)| version).to_owned())
}

fn is_fit(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    matches!((numbers.next(), numbers.next()), (Some(major), Some(minor)) if (major, minor) >= OLDEST)
}

/// One server on one folder. The folder lives as long as this value, the process may come and go.
#[derive(Debug)]
pub(super) struct ProcessServer {
    program: PathBuf,
    arguments: Vec<String>,
    running: Option<Running>,
    folder: TempDir,
}

#[derive(Debug)]
struct Running {
    server: Child,
    watcher: Child,
}

impl ProcessServer {
    pub(super) fn run(program: &Program, config: &str, port: u16, name: &str) -> Result<ProcessServer, TestNatsError> {
        let failed = |what: &str, error: std::io::Error| TestNatsError::Process(format!("{what}: {error}"));
        let folder = tempfile::Builder::new().prefix("faultline-nats-").tempdir().map_err(|error| failed("temporary folder", error))?;
        let data = quoted(&folder.path().join("data"));
        let config_path = folder.path().join("nats.conf");
        std::fs::write(&config_path, config.replace("\"/data\"", &data)).map_err(|error| failed("configuration", error))?;
        let arguments = vec![
            "-c".to_owned(),
            config_path.to_string_lossy().into_owned(),
            "-a".to_owned(),
            "127.0.0.1".to_owned(),
            "-p".to_owned(),
            port.to_string(),
            "-n".to_owned(),
            name.to_owned(),
        ];
        let mut server = ProcessServer { program: program.path.clone(), arguments, running: None, folder };
        server.start().map_err(|error| failed("start", error))?;
        Ok(server)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.server.id())
    }

    pub(super) fn start(&mut self) -> std::io::Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let mut server =
            Command::new(&self.program).args(&self.arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        // `read` returns when the last holder of the pipe's other end is gone, and that is this process, however it ended.
        let watcher = Command::new("sh")
            .args(["-c", "read _; kill -9 \"$1\" 2>/dev/null; rm -rf -- \"$2\"", "faultline-nats-watcher"])
            .arg(server.id().to_string())
            .arg(self.folder.path())
            // A group of its own: a test runner that kills the test's whole group leaves it alive to tidy up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match watcher {
            Ok(watcher) => {
                self.running = Some(Running { server, watcher });
                Ok(())
            }
            Err(error) => {
                server.kill()?;
                server.wait()?;
                Err(error)
            }
        }
    }

    pub(super) fn kill9(&mut self) -> std::io::Result<()> {
        let Some(Running { mut server, mut watcher }) = self.running.take() else { return Ok(()) };
        // The watcher first: afterwards the server's process id may belong to another process.
        watcher.kill()?;
        watcher.wait()?;
        server.kill()?;
        server.wait()?;
        Ok(())
    }

    pub(super) fn signal(&self, signal: Signal) -> std::io::Result<()> {
        let running = self.running.as_ref().ok_or_else(|| std::io::Error::other("it is not running"))?;
        Ok(kill_process(Pid::from_child(&running.server), signal)?)
    }

    /// The server's last words when it ended by itself.
    pub(super) fn why_ended(&mut self) -> Option<String> {
        let status = match &mut self.running {
            Some(running) => running.server.try_wait().ok()??.to_string(),
            None => "it is not running".to_owned(),
        };
        let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        Some(format!("{status}: {}", log.lines().last().unwrap_or("no output")))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("nats.log")
    }
}

impl Drop for ProcessServer {
    fn drop(&mut self) {
        if let Err(error) = self.kill9() {
            eprintln!("test NATS: the local server could not be ended: {error}");
        }
    }
}

/// A path as a quoted string of the server's configuration language.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\""))
}
