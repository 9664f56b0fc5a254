//! A whole cluster as a person starts it: `faultline up` in a folder and on a port of its own, with all its processes. It ends with
//! the value.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use faultline_cluster::up::own::OwnUp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::cluster::{PATIENCE, program};
use crate::nats::free_port;
use crate::proc;
use crate::small_disk::SmallDisk;

const POLL: Duration = Duration::from_millis(100);

/// `faultline up` and its folder.
pub struct Up {
    own: OwnUp,
    data_dir: PathBuf,
    port: u16,
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

    /// The same with its data on a small disk.
    pub async fn start_on(disk: &SmallDisk, workers: usize, more: &[&str]) -> Up {
        let data_dir = disk.path().join("data");
        let config = format!("[up]\ndata_dir = \"{}\"\n", data_dir.display());
        let mut up = Self::spawned(workers, &[&["--no-generator", "--no-dashboard"], more].concat(), &config);
        up.data_dir = data_dir;
        up.wait_until_whole().await;
        up
    }

    /// Starts it with all five services, without faults of its own and with few jobs, and waits until all nodes are alive.
    pub async fn start_all(workers: usize, more: &[&str]) -> Up {
        Self::start_all_configured(workers, more, "").await
    }

    /// The same with a `faultline.toml` of its own.
    pub async fn start_all_configured(workers: usize, more: &[&str], config: &str) -> Up {
        Self::start_with(workers, more, config).await
    }

    async fn start_with(workers: usize, more: &[&str], config: &str) -> Up {
        let mut up = Self::spawned(workers, more, config);
        up.wait_until_whole().await;
        up
    }

    fn spawned(workers: usize, more: &[&str], config: &str) -> Up {
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::write(folder.path().join("faultline.toml"), config).expect("a configuration file");
        let port = free_port();
        let (port_text, page, workers_text) = (port.to_string(), free_port().to_string(), workers.to_string());
        let fixed = ["--faults", "off", "--workers", &workers_text, "--nats-port", &port_text, "--dashboard-port", &page];
        let quiet: &[&str] = if more.iter().any(|arg| ["--rate", "--load"].contains(arg)) { &[] } else { &["--rate", "2"] };
        let args: Vec<String> = fixed.iter().chain(quiet).chain(more).map(|&arg| arg.to_owned()).collect();
        let data_dir = folder.path().join(".data");
        let own = OwnUp::start(program("faultline"), folder, args, None).expect("faultline starts");
        Up { own, data_dir, port, workers }
    }

    /// Where its NATS server listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port of its dashboard, once that listens.
    pub async fn dashboard_port(&self) -> u16 {
        let status = self.json(&["status"]).expect("it runs");
        let port: u16 = status["dashboard_url"].as_str().and_then(|url| url.rsplit(':').next()?.parse().ok()).expect("a port");
        self.wait_until("the dashboard listens", async || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
        port
    }

    /// The file with the key of one of its NATS users.
    pub fn nkey(&self, user: &str) -> PathBuf {
        self.data_dir.join("nkeys").join(format!("{user}.nk"))
    }

    /// Once it has ended: the same again on the same data.
    pub async fn start_again(&mut self) {
        self.own.start_again().expect("faultline starts");
        self.wait_until_whole().await;
    }

    async fn wait_until_whole(&mut self) {
        let workers = self.workers;
        let whole = self.own.until(PATIENCE, async |own| (nodes_alive(own) == workers).then_some(())).await;
        whole.unwrap_or_else(|error| panic!("{error}\n{}", self.log_tail()));
    }

    /// A signal to `up` alone, as a terminal or an operator sends it, and waits until it has ended.
    pub async fn signal(&mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_raw(self.own.pid() as i32).expect("a process"), signal).expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.own.ended() {
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
        self.own.folder()
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
        let mut command = self.own.command();
        command.args(args).stdin(Stdio::null());
        command
    }

    /// `faultline ARGS` on this cluster, to its end.
    pub fn faultline(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("faultline starts")
    }

    /// What `faultline ARGS -o json` prints; `None` when it fails.
    pub fn json(&self, args: &[&str]) -> Option<Value> {
        json(&self.own, args)
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
        self.data_dir.clone()
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
        self.own.log()
    }

    /// The last lines of the log, for a failing test's message.
    pub fn log_tail(&self) -> String {
        self.own.log_tail(60)
    }
}

/// Both outputs of a command.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn json(own: &OwnUp, args: &[&str]) -> Option<Value> {
    let output = own.command().args(args).args(["-o", "json"]).stdin(Stdio::null()).output().expect("faultline starts");
    if output.status.success() { serde_json::from_slice(&output.stdout).ok() } else { None }
}

fn nodes_alive(own: &OwnUp) -> usize {
    let nodes = json(own, &["nodes"]);
    let rows = nodes.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let fresh = |node: &&Value| node["health"] == "alive" && node["heartbeat_age_ms"].as_u64().is_some_and(|age| age < 3_000);
    rows.iter().filter(fresh).count()
}
