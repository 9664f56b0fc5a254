//! A whole cluster as a person starts it: `faultline up` in a folder and on a port of its own, with all its processes. It ends with
//! the value.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::cluster::{PATIENCE, program};
use crate::nats::free_port;
use crate::proc;

const POLL: Duration = Duration::from_millis(100);

/// `faultline up` and its folder.
pub struct Up {
    folder: TempDir,
    child: Child,
    log: PathBuf,
    port: u16,
    args: Vec<String>,
    workers: usize,
}

impl Up {
    /// Starts it without generator, page and faults of its own, and waits until all nodes are alive.
    pub async fn start(workers: usize, more: &[&str]) -> Up {
        Self::start_configured(workers, more, "").await
    }

    /// The same with a `faultline.toml` of its own.
    pub async fn start_configured(workers: usize, more: &[&str], config: &str) -> Up {
        Self::start_with(workers, &[&["--no-generator", "--no-dashboard"], more].concat(), config).await
    }

    /// Starts it with all five services, without faults of its own, and waits until all nodes are alive.
    pub async fn start_all(workers: usize, more: &[&str]) -> Up {
        Self::start_with(workers, more, "").await
    }

    async fn start_with(workers: usize, more: &[&str], config: &str) -> Up {
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::write(folder.path().join("faultline.toml"), config).expect("a configuration file");
        let log = folder.path().join("up.log");
        let port = free_port();
        let (port_text, page, workers_text) = (port.to_string(), free_port().to_string(), workers.to_string());
        let fixed = ["--faults", "off", "--workers", &workers_text, "--nats-port", &port_text, "--dashboard-port", &page];
        let args: Vec<String> = fixed.iter().chain(more).map(|&arg| arg.to_owned()).collect();
        let child = spawn(&folder, &log, &args);
        let up = Up { folder, child, log, port, args, workers };
        up.wait_until_whole().await;
        up
    }

    /// Where its NATS server listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The file with the key of one of its NATS users.
    pub fn nkey(&self, user: &str) -> PathBuf {
        self.folder.path().join(".data/nkeys").join(format!("{user}.nk"))
    }

    /// Once it has ended: the same again on the same data.
    pub async fn start_again(&mut self) {
        self.child = spawn(&self.folder, &self.log, &self.args);
        self.wait_until_whole().await;
    }

    async fn wait_until_whole(&self) {
        self.wait_until("all nodes are alive", async || self.nodes_alive() == self.workers).await;
    }

    /// A signal to `up` alone, as a terminal or an operator sends it, and waits until it has ended.
    pub async fn signal(&mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end\n{}", self.log_tail());
            sleep(POLL).await;
        }
    }

    /// The history's events of these kinds.
    pub fn events(&self, kinds: &[&str]) -> Vec<Value> {
        let mut args = vec!["events", "--limit", "1000"];
        args.extend(kinds.iter().flat_map(|&kind| ["--kind", kind]));
        self.json(&args).and_then(|events| events.as_array().cloned()).unwrap_or_default()
    }

    /// The processes' ids by name, of those that run.
    pub fn pids(&self) -> Vec<(String, u64)> {
        let status = self.json(&["status"]).unwrap_or_default();
        let services = status["services"].as_array().map_or(&[][..], Vec::as_slice).iter();
        services.filter_map(|service| Some((service["name"].as_str()?.to_owned(), service["pid"].as_u64()?))).collect()
    }

    /// Its folder: settings, and `.data` with the keys.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A connection to its NATS as the user who may do everything.
    ///
    /// # Panics
    /// When there is none to be had.
    pub async fn admin(&self) -> async_nats::Client {
        let seed = std::fs::read_to_string(self.nkey("admin")).expect("the administrator's key");
        let options = async_nats::ConnectOptions::with_nkey(seed.trim().to_owned()).custom_inbox_prefix("_INBOX_admin");
        options.connect(self.url()).await.expect("NATS takes the administrator")
    }

    /// `faultline ARGS` on this cluster, not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = faultline(&self.folder);
        command.args(args).stdin(Stdio::null());
        command
    }

    /// `faultline ARGS` on this cluster, to its end.
    pub fn faultline(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("faultline starts")
    }

    /// What `faultline ARGS -o json` prints; `None` when it fails.
    pub fn json(&self, args: &[&str]) -> Option<Value> {
        let output = self.command(args).args(["-o", "json"]).output().expect("faultline starts");
        if output.status.success() { serde_json::from_slice(&output.stdout).ok() } else { None }
    }

    fn nodes_alive(&self) -> usize {
        let nodes = self.json(&["nodes"]);
        let rows = nodes.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let fresh = |node: &&Value| node["health"] == "alive" && node["heartbeat_age_ms"].as_u64().is_some_and(|age| age < 3_000);
        rows.iter().filter(fresh).count()
    }

    /// One process of `faultline status`.
    pub fn service(&self, name: &str) -> Option<Value> {
        let status = self.json(&["status"])?;
        status["services"].as_array()?.iter().find(|service| service["name"] == name).cloned()
    }

    /// The services that answer about themselves: name and admin address.
    pub fn admin_addresses(&self) -> Vec<(String, SocketAddr)> {
        let status = self.json(&["status"]).unwrap_or_default();
        let address = |service: &Value| Some((service["name"].as_str()?.to_owned(), service["admin"].as_str()?.parse().ok()?));
        status["services"].as_array().map(|services| services.iter().filter_map(address).collect()).unwrap_or_default()
    }

    /// Where its data is.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join(".data")
    }

    /// The letter that Linux has for the state of a process, such as `T` for a stopped one.
    pub fn process_state(&self, name: &str) -> Option<char> {
        proc::state(self.service(name)?["pid"].as_u64()?)
    }

    /// `faultline audit` must find nothing.
    pub fn assert_audit_clean(&self) {
        let audit = self.faultline(&["audit"]);
        assert!(audit.status.success(), "audit: {}\n{}", text(&audit), self.log_tail());
    }

    /// Polls until `done` says so.
    pub async fn wait_until(&self, what: &str, mut done: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done().await {
            assert!(Instant::now() < deadline, "never happened: {what}\n{}", self.log_tail());
            sleep(POLL).await;
        }
    }

    /// All that it and its processes have said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last lines of the log, for a failing test's message.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // The end of its standard input tells it to stop in order, its children with it.
        drop(self.child.stdin.take());
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both outputs of a command.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn spawn(folder: &TempDir, log: &Path, args: &[String]) -> Child {
    let file = std::fs::File::options().create(true).append(true).open(log).expect("a log file");
    let mut command = faultline(folder);
    command.args(["--stop-with-parent", "up"]).args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(file);
    command.spawn().expect("faultline starts")
}

fn faultline(folder: &TempDir) -> Command {
    let mut command = Command::new(program("faultline"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FAULTLINE_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1").current_dir(folder.path());
    command
}
