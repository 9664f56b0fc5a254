//! The composed cluster on a real engine: scaled under load, a worker, the leading scheduler and NATS killed with `docker kill`, and then
//! every job that was submitted must have been committed once. Everything is done by the scripts that people use, and looked at through
//! the dashboard's port, with its token.
//!
//! Not run by default: `just test-containers` (and so `just test`) runs it where an engine and Compose are, and says so where they are not.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use faultline_tests::up::text;
use serde_json::Value;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(250);
/// So many jobs are kept in the queue while something is broken, and so many are submitted at once.
const BACKLOG: u64 = 200;
const BATCH: u64 = 100;
const LABEL: &str = "label=com.docker.compose.project";

/// A composed cluster of this test's own; dropping it takes it down.
struct Composed {
    project: String,
    port: u16,
    token: String,
    began: Instant,
    /// Every job that the dashboard took.
    submitted: BTreeSet<String>,
    /// The most commits that were ever counted: a new leader begins to count from what was stored, and says 0 before it has read that.
    committed: Cell<u64>,
}

impl Composed {
    fn up(workers: u32) -> Composed {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("a free port").port();
        let project = format!("faultline-test-{}", std::process::id());
        let mut cluster =
            Composed { project, port, token: String::new(), began: Instant::now(), submitted: BTreeSet::new(), committed: Cell::new(0) };
        cluster.script(&["up", &workers.to_string()]);
        cluster.token = cluster.script(&["token"]).trim().to_owned();
        cluster
    }

    fn say(&self, what: &str) {
        println!("{:5.1} s  {what}", self.began.elapsed().as_secs_f64());
    }

    fn script_command(&self, arguments: &[&str]) -> Command {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut command = Command::new(root.join("scripts/compose.sh"));
        command
            .args(arguments)
            .current_dir(root)
            .stdin(Stdio::null())
            .env("COMPOSE_PROJECT_NAME", &self.project)
            .env("FAULTLINE_IMAGES", "prebuilt")
            .env("FAULTLINE_DASHBOARD_PORT", self.port.to_string())
            .env("FAULTLINE_FAULTS", "off");
        command
    }

    /// Standard output of `compose.sh ARGUMENTS`, which must succeed.
    fn script(&self, arguments: &[&str]) -> String {
        let output = self.script_command(arguments).output().expect("the script starts");
        assert!(output.status.success(), "compose.sh {arguments:?}: {}\n{}", output.status, text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The containers of a service, and whether they run.
    fn containers(&self, service: &str) -> Vec<String> {
        let service = format!("label=com.docker.compose.service={service}");
        let project = format!("{LABEL}={}", self.project);
        lines(&["ps", "--quiet", "--filter", &project, "--filter", &service])
    }

    fn container(&self, service: &str) -> String {
        self.containers(service).into_iter().next().unwrap_or_else(|| panic!("no container of {service} runs"))
    }

    /// One request to the dashboard; status and body.
    fn request(&self, method: &str, path: &str, token: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut head = format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\n", self.port);
        if !token.is_empty() {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        write!(stream, "{head}\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
        Ok((status, body))
    }

    /// The status of a request that asks for something.
    fn status(&self, path: &str, token: &str) -> u16 {
        self.request("GET", path, token, "").map_or(0, |(status, _)| status)
    }

    /// What the dashboard answers, if it does.
    fn ask(&self, path: &str) -> Option<Value> {
        match self.request("GET", path, &self.token, "") {
            Ok((200, body)) => serde_json::from_str(&body).ok(),
            _ => None,
        }
    }

    /// Keeps the queue filled. While NATS is away nothing is taken, which the dashboard says.
    fn feed(&mut self) {
        let Some(stats) = self.stats() else { return };
        let open: u64 = ["queued_in_stream", "queued_held", "running"].iter().filter_map(|key| stats[key].as_u64()).sum();
        if open >= BACKLOG {
            return;
        }
        let job = format!(r#"{{"kind":"sleep","duration_ms":2000,"gpus":1,"count":{BATCH}}}"#);
        // A failure, too, says which of them were taken.
        if let Ok((_, body)) = self.request("POST", "/api/v1/jobs", &self.token, &job)
            && let Ok(reply) = serde_json::from_str::<Value>(&body)
        {
            let ids = reply["ids"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
            self.submitted.extend(ids);
        }
    }

    /// Names of the workers whose nodes are alive. Each node appears once, so two that share a name would be one too few.
    fn alive(&self) -> Vec<String> {
        let page = self.ask("/api/v1/nodes?health=alive&per_page=100").unwrap_or_default();
        let items = page["items"].as_array().cloned().unwrap_or_default();
        let fresh = |node: &&Value| node["heartbeat_age_ms"].as_u64().is_some_and(|age| age < 3_000);
        items.iter().filter(fresh).map(|node| node["worker"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn stats(&self) -> Option<Value> {
        self.ask("/api/v1/stats")
    }

    fn committed(&self) -> u64 {
        let counted = self.stats().and_then(|stats| stats["ledger"]["committed"].as_u64()).unwrap_or(0);
        self.committed.set(self.committed.get().max(counted));
        self.committed.get()
    }

    fn leader(&self) -> Option<String> {
        let stats = self.stats()?;
        // Older figures are shown while no scheduler answers.
        if stats["stale_since_ms"].is_u64() {
            return None;
        }
        stats["leader"].as_str().map(str::to_owned)
    }

    fn wait_until(&self, what: &str, mut done: impl FnMut(&Composed) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "never happened: {what}\n{}", self.logs());
            std::thread::sleep(POLL);
        }
        self.say(what);
    }

    /// The same under load: jobs are submitted all the while.
    fn wait_under_load(&mut self, what: &str, mut done: impl FnMut(&Composed) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        self.feed();
        while !done(self) {
            assert!(Instant::now() < deadline, "never happened: {what}\n{}", self.logs());
            std::thread::sleep(POLL);
            self.feed();
        }
        self.say(&format!("{what} ({} committed, {} submitted)", self.committed(), self.submitted.len()));
    }

    /// Whether so many workers are alive and at work, and none is counted twice.
    fn has_workers(&self, count: usize) -> bool {
        let names: BTreeSet<String> = self.alive().into_iter().collect();
        names.len() == count && self.containers("worker").len() == count
    }

    fn scale(&mut self, count: usize) {
        self.script(&["scale", &count.to_string()]);
        self.wait_under_load(&format!("{count} workers are alive"), |cluster| cluster.has_workers(count));
    }

    /// Waits until so many more jobs are committed: the work goes on.
    fn wait_for_work(&mut self, more: u64) {
        let wanted = self.committed() + more;
        self.wait_under_load(&format!("{more} more jobs are committed"), |cluster| cluster.committed() >= wanted);
    }

    /// Kills a container of a service, which has work to do.
    fn kill(&self, service: &str) -> String {
        let running = self.stats().and_then(|stats| stats["running"].as_u64()).unwrap_or(0);
        assert!(running > 0, "nothing runs when {service} is to be killed");
        let container = self.container(service);
        lines(&["kill", &container]);
        self.say(&format!("{service} is killed, with {running} jobs running"));
        container
    }

    fn logs(&self) -> String {
        let project = format!("{LABEL}={}", self.project);
        let mut all = String::new();
        for container in lines(&["ps", "--all", "--filter", &project, "--format", "{{.Names}} ({{.Status}})"]) {
            let name = container.split(' ').next().unwrap_or_default();
            let log = text(&docker(&["logs", "--tail", "8", name]));
            all.push_str(&format!("--- {container}\n{log}"));
        }
        all
    }

    /// What is left of the cluster on the engine.
    fn remains(&self) -> Vec<String> {
        let project = format!("{LABEL}={}", self.project);
        let mut left = lines(&["ps", "--all", "--quiet", "--filter", &project]);
        left.extend(lines(&["volume", "ls", "--quiet", "--filter", &project]));
        left.extend(lines(&["network", "ls", "--quiet", "--filter", &project]));
        left
    }
}

impl Drop for Composed {
    fn drop(&mut self) {
        if !self.remains().is_empty() {
            // A failing test says why; what this says too is for the reader of a hanging engine.
            let _ = self.script_command(&["down"]).status();
        }
    }
}

fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).output().expect("docker is on PATH")
}

fn lines(arguments: &[&str]) -> Vec<String> {
    let output = docker(arguments);
    assert!(output.status.success(), "docker {arguments:?}: {}", text(&output));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Every service has its own key and no other, in a file that only it can read, and runs as an unprivileged user.
fn check_keys(cluster: &Composed) {
    for (service, files) in [
        ("worker", &["worker.nk"][..]),
        ("scheduler-1", &["scheduler.nk"]),
        ("fault-detector", &["fault-detector.nk"]),
        ("dashboard", &["dashboard.nk", "dashboard.token"]),
        ("generator", &["generator.nk"]),
    ] {
        let container = cluster.container(service);
        let user = lines(&["inspect", "--format", "{{.Config.User}}", &container]);
        assert_eq!(user, ["10001:10001"], "{service}");
        let script = "docker cp \"$0\":/keys - | tar -tv --numeric-owner";
        let listing = Command::new("sh").args(["-c", script, &container]).output().expect("sh starts");
        let listing = text(&listing);
        let mut found: Vec<&str> = listing.lines().filter(|line| line.starts_with('-')).collect();
        found.sort_by_key(|line| line.rsplit('/').next().map(str::to_owned));
        let names: Vec<&str> = found.iter().filter_map(|line| line.rsplit('/').next()).collect();
        assert_eq!(names, files, "{service}: {listing}");
        assert!(found.iter().all(|line| line.starts_with("-rw-------") && line.contains("10001/10001")), "{service}: {listing}");
    }
}

/// The dashboard accepts clients with the token, and carries its page.
fn check_door(cluster: &Composed) {
    assert_eq!(cluster.token.len(), 64, "64 hexadecimal digits");
    cluster.wait_until("the dashboard answers", |cluster| cluster.status("/healthz", "") == 200);
    assert_eq!(cluster.status("/api/v1/stats", ""), 401);
    assert_eq!(cluster.status("/api/v1/stats", "0123456789abcdef0123456789abcdef"), 401);
    let (status, page) = cluster.request("GET", "/", &cluster.token, "").expect("an answer");
    assert!(status == 200 && page.contains("<script"), "the page: {status}\n{page}");
}

/// Those of the submitted jobs that are not committed by their records. The generator's jobs run on, some of them for minutes.
fn uncommitted(cluster: &Composed) -> Vec<String> {
    let mut missing = cluster.submitted.clone();
    for page in 1.. {
        let jobs = cluster.ask(&format!("/api/v1/jobs?kind=sleep&state=committed&per_page=200&page={page}")).unwrap_or_default();
        let ids: Vec<&str> = jobs["items"].as_array().into_iter().flatten().filter_map(|job| job["id"].as_str()).collect();
        if ids.is_empty() {
            break;
        }
        ids.iter().for_each(|id| _ = missing.remove(*id));
    }
    missing.into_iter().collect()
}

/// All that were submitted end well.
fn check_records(cluster: &Composed) {
    let total = cluster.submitted.len();
    assert!(total > 500, "only {total} jobs were submitted");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let missing = uncommitted(cluster);
        let Some(first) = missing.first() else { break };
        if Instant::now() >= deadline {
            let job = cluster.ask(&format!("/api/v1/jobs/{first}")).unwrap_or_default();
            panic!("{} jobs are not committed; the first one: {job:#}\n{}", missing.len(), cluster.logs());
        }
        std::thread::sleep(POLL);
    }
    cluster.say(&format!("all {total} jobs are committed"));
}

/// Docker asks the services themselves.
fn check_health(cluster: &Composed) {
    for service in ["generator", "scheduler-1", "scheduler-2", "worker", "fault-detector", "dashboard"] {
        cluster.wait_until(&format!("{service} is healthy"), |cluster| {
            let health = |container: &String| lines(&["inspect", "--format", "{{.State.Health.Status}}", container]);
            cluster.containers(service).iter().all(|container| health(container) == ["healthy"])
        });
    }
}

#[test]
#[ignore = "needs a container engine and Compose: just test-containers"]
fn a_composed_cluster_is_scaled_and_killed_under_load_and_every_job_is_committed() {
    let mut cluster = Composed::up(4);
    cluster.say("compose-up has returned");
    check_door(&cluster);
    cluster.wait_until("4 workers are alive", |cluster| cluster.has_workers(4));
    check_keys(&cluster);

    cluster.wait_for_work(30);
    cluster.scale(16);
    let names: BTreeSet<String> = cluster.alive().into_iter().collect();
    assert_eq!(names, (1..=16).map(|number| format!("worker-{number:02}")).collect());
    cluster.wait_for_work(100);

    // A worker dies; its jobs run elsewhere, and a new replica takes a free name.
    cluster.kill("worker");
    cluster.wait_under_load("the worker is missed", |cluster| cluster.alive().len() == 15);
    cluster.wait_for_work(100);
    cluster.scale(16);

    // The leading scheduler dies; the other one leads.
    let dead = cluster.leader().expect("a scheduler leads");
    let container = cluster.kill(&dead);
    cluster.wait_under_load("the other scheduler leads", |cluster| cluster.leader().is_some_and(|leader| leader != dead));
    cluster.wait_for_work(100);
    lines(&["start", &container]);

    // NATS dies, and comes back with what it had stored.
    let nats = cluster.kill("nats");
    lines(&["start", &nats]);
    cluster.wait_for_work(100);
    cluster.wait_under_load("16 workers are alive", |cluster| cluster.has_workers(16));

    cluster.scale(4);
    check_records(&cluster);
    println!("{}", cluster.script(&["cli", "audit"]));
    cluster.say("the audit is clean");
    check_health(&cluster);

    cluster.script(&["down"]);
    assert_eq!(cluster.remains(), Vec::<String>::new());
    cluster.say("nothing is left");
}
