//! A cluster for one test: the release binaries as processes of their own on a NATS of the test's own. Processes can be
//! killed, frozen, thawed, started, and cut off from NATS; all of them end with the value. What a test asserts is the test's business.

mod history;
mod links;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use faultline_client::Leader;
use faultline_engine::job::{Demand, JobId, JobSpec, JobState, Param, Params, Priority};
use faultline_protocol::codec;
use faultline_protocol::messages::{CancelReply, ClusterStats, JobView, NodeView, TerminalRecord};
use faultline_proxy::LinkConditions;
use faultline_runtime::clock::{OFFSET_FILE_VARIABLE, random_u128, unix_ms};
use faultline_runtime::config::Common;
use faultline_runtime::connect::{Nats, connect_once};
use faultline_runtime::record::read_record;
use faultline_runtime::submit::Submitter;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::nats::TestNats;
pub use crate::programs::program;
use links::Links;

/// How long anything in a test may take before it counts as never.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// The processes of one test.
pub struct Cluster {
    pub server: TestNats,
    /// The other servers of a cluster of NATS; mostly there are none.
    pub peers: Vec<TestNats>,
    pub nats: Nats,
    links: Option<Links>,
    processes: BTreeMap<String, Child>,
    /// Commands that run beside the test; the test waits for them only at the end.
    beside: Vec<Child>,
    logs: TempDir,
    log_level: &'static str,
}

fn urls(server: &TestNats, peers: &[TestNats]) -> String {
    std::iter::once(server).chain(peers).map(TestNats::url).collect::<Vec<_>>().join(",")
}

impl Cluster {
    /// NATS, its streams, one scheduler, a detector and so many workers of one node each, without simulated failures.
    pub async fn start(workers: usize) -> Cluster {
        Self::bare(TestNats::start().await).await.populated(workers).await
    }

    /// The same on this server, with each process behind a link of its own.
    pub async fn start_linked(server: TestNats, workers: usize) -> Cluster {
        let mut cluster = Self::bare(server).await;
        cluster.with_links();
        cluster.populated(workers).await
    }

    async fn populated(mut self, workers: usize) -> Cluster {
        self.scheduler("scheduler-1");
        self.detector();
        for index in 1..=workers {
            self.worker(index);
        }
        self.wait_for_nodes(workers).await;
        self
    }

    /// NATS with its streams, and no process yet.
    pub async fn bare(server: TestNats) -> Cluster {
        Self::prepare(server, Vec::new(), &["setup"]).await
    }

    /// The same on three servers, with three copies of everything.
    pub async fn bare_on_three() -> Cluster {
        let [server, second, third] = TestNats::start_cluster().await;
        Self::prepare(server, vec![second, third], &["setup", "--replicas", "3"]).await
    }

    async fn prepare(server: TestNats, peers: Vec<TestNats>, setup: &[&str]) -> Cluster {
        let common = Common { nats_url: urls(&server, &peers), ..Common::default() };
        let nats = connect_once(&common, "admin", "test").await.expect("the test's own NATS answers");
        let logs = TempDir::new().expect("a temporary folder");
        let cluster =
            Cluster { server, peers, nats, links: None, processes: BTreeMap::new(), beside: Vec::new(), logs, log_level: "debug" };
        let setup = cluster.faultline(setup);
        assert!(setup.status.success(), "setup failed: {}", String::from_utf8_lossy(&setup.stderr));
        cluster
    }

    /// Where clients connect: all servers, with commas between.
    pub fn url(&self) -> String {
        urls(&self.server, &self.peers)
    }

    /// From now on every process is started behind a proxy of its own, so that its network can be broken. A process that is started
    /// again keeps its proxy, and whatever is wrong with it. The test's own connection and `faultline` commands go straight.
    pub fn with_links(&mut self) {
        let servers: Vec<String> =
            std::iter::once(&self.server).chain(&self.peers).map(|server| format!("127.0.0.1:{}", server.port())).collect();
        self.links = Some(Links::new(servers.join(",")));
    }

    /// What the network between a process and NATS is like from now on. The default is a clean one.
    pub fn link(&self, name: &str, conditions: LinkConditions) {
        self.links.as_ref().expect("Cluster::with_links comes first").set(name, conditions);
    }

    /// A process sees no network: connections stay, nothing passes. [`Cluster::heal`] ends it.
    pub fn partition(&self, name: &str) {
        self.link(name, LinkConditions::stalled());
    }

    pub fn heal(&self, name: &str) {
        self.link(name, LinkConditions::default());
    }

    /// How much the processes that are started from now on write into their logs.
    pub fn log_level(&mut self, level: &'static str) {
        self.log_level = level;
    }

    pub fn scheduler(&mut self, name: &str) {
        self.spawn(name, "faultline-scheduler", &["--name", name]);
    }

    pub fn detector(&mut self) {
        self.spawn("fault-detector", "faultline-fault-detector", &[]);
    }

    /// `worker-NN` with `gpu-node-NN`.
    pub fn worker(&mut self, index: usize) {
        let name = format!("worker-{index:02}");
        self.spawn(&name, "faultline-worker", &["--name", &name, "--first-node", &index.to_string(), "--faults", "off"]);
    }

    /// From now on the wall clock of this process, and of those that are started under its name, is ahead by so much, or behind.
    pub fn set_clock(&self, name: &str, ahead_ms: i64) {
        let path = self.clock_file(name);
        // In one step: the process may read it at any moment.
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, ahead_ms.to_string())
            .and_then(|()| std::fs::rename(&fresh, &path))
            .expect("the folder of the logs is there");
    }

    fn clock_file(&self, name: &str) -> PathBuf {
        self.logs.path().join(format!("{name}.clock"))
    }

    /// Starts a process under a name; a former one of that name must have ended.
    pub fn spawn(&mut self, name: &str, binary: &str, args: &[&str]) {
        self.spawn_with(name, binary, args, &[]);
    }

    /// The same with these variables in its environment.
    pub fn spawn_with(&mut self, name: &str, binary: &str, args: &[&str], environment: &[(&str, &str)]) {
        assert!(!self.processes.contains_key(name), "{name} runs already");
        let log = std::fs::File::create(self.logs.path().join(format!("{name}-{}.log", unix_ms()))).expect("a log file");
        let url = self.links.as_mut().map_or_else(|| urls(&self.server, &self.peers), |links| links.url(name));
        let child = Command::new(program(binary))
            .args(["--nats-url", &url, "--log-level", self.log_level, "--color", "never", "--stop-with-parent"])
            .args(self.server.key_args(binary))
            .args(args)
            .env(OFFSET_FILE_VARIABLE, self.clock_file(name))
            .envs(environment.iter().copied())
            .current_dir(self.logs.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{binary} does not start: {error}"));
        self.processes.insert(name.to_owned(), child);
    }

    /// `faultline ARGS` against this cluster, to its end.
    pub fn faultline(&self, args: &[&str]) -> Output {
        self.faultline_command(args).output().expect("faultline starts")
    }

    /// The same, not started yet.
    pub fn faultline_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("faultline"));
        command.args(args).env("FAULTLINE_NATS_URL", self.url()).env("NO_COLOR", "1").current_dir(self.logs.path()).stdin(Stdio::null());
        if let Some(installation) = self.server.installation() {
            command.env("FAULTLINE_UP_DATA_DIR", installation.data_dir());
        }
        command
    }

    /// `faultline audit` must find nothing.
    pub fn assert_audit_clean(&self) {
        let audit = self.faultline(&["audit"]);
        let text = format!("{}{}", String::from_utf8_lossy(&audit.stdout), String::from_utf8_lossy(&audit.stderr));
        assert!(audit.status.success(), "audit exits with {:?}:\n{text}\n{}", audit.status.code(), self.log_tails());
    }

    fn signal(&self, name: &str, signal: Signal) {
        let child = self.processes.get(name).unwrap_or_else(|| panic!("{name} was not started"));
        let pid = Pid::from_child(child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("signalling {name}: {error}"));
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill9(&mut self, name: &str) {
        self.signal(name, Signal::KILL);
        let mut child = self.processes.remove(name).expect("it was just signalled");
        child.wait().expect("a killed child can be waited for");
    }

    /// SIGTERM, and waits until it has ended; returns whether it ended well.
    pub async fn terminate(&mut self, name: &str) -> bool {
        self.signal(name, Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let child = self.processes.get_mut(name).expect("it was just signalled");
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                self.processes.remove(name);
                return status.success();
            }
            sleep(POLL).await;
        }
        panic!("{name} does not end on SIGTERM\n{}", self.log_tails());
    }

    /// SIGTERM, and goes on: it finishes what it does and is then found by [`Cluster::ended`].
    pub fn ask_to_stop(&self, name: &str) {
        self.signal(name, Signal::TERM);
    }

    /// Processes that have ended since the last look, by themselves or because they were told to.
    pub fn ended(&mut self) -> Vec<(String, ExitStatus)> {
        let look = |(name, child): (&String, &mut Child)| child.try_wait().ok().flatten().map(|status| (name.clone(), status));
        let ended: Vec<(String, ExitStatus)> = self.processes.iter_mut().filter_map(look).collect();
        self.processes.retain(|name, _| ended.iter().all(|(gone, _)| gone != name));
        self.beside.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        ended
    }

    /// The processes that run, as far as is known.
    pub fn pids(&self) -> Vec<(String, u32)> {
        self.processes.iter().map(|(name, child)| (name.clone(), child.id())).collect()
    }

    /// Takes a command along without waiting for its end.
    pub fn reap_later(&mut self, child: Child) {
        self.beside.push(child);
    }

    /// Lines of all logs that contain `text`, with the name of the log.
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.logs.path()).into_iter().flatten().flatten() {
            let log = std::fs::read_to_string(entry.path()).unwrap_or_default();
            found.extend(
                log.lines().filter(|line| line.contains(text)).map(|line| format!("{}: {line}", entry.file_name().to_string_lossy())),
            );
        }
        found
    }

    /// SIGSTOP: what a machine without power or network looks like.
    pub fn freeze(&self, name: &str) {
        self.signal(name, Signal::STOP);
    }

    pub fn thaw(&self, name: &str) {
        self.signal(name, Signal::CONT);
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self, name: &str) -> bool {
        self.processes.get_mut(name).is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The leading scheduler, asked once.
    pub fn leader(&self) -> Leader<'_> {
        Leader::once(&self.nats, Duration::from_secs(2))
    }

    /// Its figures; `None` when no scheduler answers.
    pub async fn stats(&self) -> Option<ClusterStats> {
        self.leader().stats().await.ok()
    }

    pub async fn nodes(&self) -> Vec<NodeView> {
        self.leader().nodes().await.unwrap_or_default()
    }

    /// What the leader holds of one job.
    pub async fn job(&self, job: JobId) -> Option<JobView> {
        self.leader().active_job(job).await.ok().flatten()
    }

    /// Waits until so many nodes are alive and have been heard of.
    pub async fn wait_for_nodes(&self, count: usize) {
        self.wait_until(&format!("{count} nodes are alive"), async || {
            self.nodes().await.iter().filter(|node| node.heartbeat_age_ms.is_some_and(|age| age < 2_000)).count() == count
        })
        .await;
    }

    /// Waits until the leader shows the job running, and returns the node.
    pub async fn wait_running(&self, job: JobId) -> String {
        let mut node = String::new();
        self.wait_until(&format!("{job} runs"), async || match self.job(job).await {
            Some(view) if view.state == JobState::Running => {
                node = view.node.unwrap_or_default();
                true
            }
            _ => false,
        })
        .await;
        node
    }

    /// Polls until `done` says so.
    pub async fn wait_until(&self, what: &str, mut done: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done().await {
            assert!(Instant::now() < deadline, "never happened: {what}\n{}", self.log_tails());
            sleep(POLL).await;
        }
    }

    /// Submits jobs through the protocol that every submitter uses.
    pub async fn submit(&self, specs: &[JobSpec]) -> Vec<JobId> {
        let submitter = Submitter::new(&self.nats);
        let mut ids = Vec::new();
        for spec in specs {
            submitter.submit(spec).await.unwrap_or_else(|error| panic!("submitting {}: {error}", spec.name));
            ids.push(spec.id);
        }
        ids
    }

    /// Waits until all have ended and returns their records.
    pub async fn wait_ended(&self, ids: &[JobId]) -> BTreeMap<JobId, TerminalRecord> {
        let mut open: BTreeSet<JobId> = ids.iter().copied().collect();
        let mut ended = BTreeMap::new();
        self.wait_until(&format!("{} jobs end", ids.len()), async || {
            for job in open.clone() {
                if let Ok(Some(found)) = read_record(&self.nats, job).await
                    && !found.is_open
                {
                    let record = codec::decode::<TerminalRecord>(Some(&found.headers), &found.body).expect("a terminal record can be read");
                    ended.insert(job, record);
                    open.remove(&job);
                }
            }
            open.is_empty()
        })
        .await;
        ended
    }

    /// `faultline drain` or `undrain`, and waits until the leader knows.
    pub async fn set_draining(&self, node: &str, draining: bool) {
        let verb = if draining { "drain" } else { "undrain" };
        assert!(self.faultline(&[verb, node]).status.success());
        let is_so = async || self.nodes().await.iter().any(|view| view.spec.node == node && view.draining == draining);
        self.wait_until(&format!("the leader knows: {verb} {node}"), is_so).await;
    }

    pub async fn cancel(&self, job: JobId) -> CancelReply {
        Leader::once(&self.nats, Duration::from_secs(5)).cancel(&[job], "test").await.expect("the leader answers")
    }

    /// The last lines of every process' log, for a failing test's message.
    pub fn log_tails(&self) -> String {
        let mut text = String::new();
        let mut files: Vec<_> = std::fs::read_dir(self.logs.path()).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        files.sort();
        for path in files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "log")) {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(25)..].join("\n");
            text.push_str(&format!("--- {}\n{tail}\n", path.display()));
        }
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.processes.values_mut().chain(&mut self.beside) {
            // SIGKILL ends a frozen process too. Nothing can be done about one that is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A job that sleeps for so long on a tenth of a GPU.
pub fn sleep_job(duration_ms: i64) -> JobSpec {
    let now_ms = unix_ms();
    JobSpec {
        id: JobId::new(now_ms, random_u128()),
        name: format!("wait-normal-{}", now_ms % 10_000),
        kind: "sleep".into(),
        params: Params::from([("duration_ms".into(), Param::Int(duration_ms))]),
        priority: Priority::Normal,
        demand: Demand { gpu_milli: 100, gpu_memory_mib: 64, models: vec![] },
        expected_ms: u64::try_from(duration_ms).unwrap_or(0),
        timeout_ms: 60_000,
        max_retries: 3,
        submitted_at_ms: now_ms,
        origin: Default::default(),
    }
}

/// A job of kind `fault` with these odds, 0 to 1.
pub fn fault_job(param: &str, odds: f64) -> JobSpec {
    let mut job = sleep_job(10);
    job.kind = "fault".into();
    job.name = "inject-test-0001".into();
    job.params = Params::from([("duration_ms".into(), Param::Int(10)), (param.into(), Param::Float(odds))]);
    job
}
