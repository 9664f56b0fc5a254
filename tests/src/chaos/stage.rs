//! Carries out the plan on a real cluster, and keeps an eye on its processes: no process may end that the plan did not end, and
//! no process's memory may grow without bound.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use faultline_proxy::LinkConditions;
use tempfile::TempDir;
use tokio::time::sleep;

use super::Settings;
use super::load::Journal;
use super::plan::{LinkFault, Op, SUBMITTERS, Service, WORKERS};
use super::stores::SmallDisk;
use super::witness::Witness;
use crate::cluster::Cluster;
use crate::proc;

/// More than a run of an hour records.
const MOST_DECISIONS_MIB: &str = "8192";
/// Jobs a minute that the generator makes: no person's rate, so it is started with `--unbounded-rate`.
const GENERATOR_RATE: &str = "240";

/// No faults among its jobs: some of them hang until their time limit, which may be ten minutes. The own jobs fail enough.
const GENERATOR_MIX: &str = "sleep=4,compute=3,matrix=2";
const FIRST_STEPS: Duration = Duration::from_secs(3);

/// The cluster, and what has been done to it.
pub struct Stage {
    pub cluster: Cluster,
    /// On which NATS keeps its files, where one could be had.
    pub disk: Option<SmallDisk>,
    journals: TempDir,
    rate: u32,
    seed: u64,
    down: BTreeSet<Service>,
    frozen: BTreeSet<Service>,
    broken_links: BTreeSet<Service>,
    /// Told to stop for good.
    leaving: BTreeSet<Service>,
    /// What was done, by words such as `kill worker`.
    pub done: BTreeMap<String, u64>,
    /// The most resident memory of each process, in KiB.
    pub memory_kib: BTreeMap<String, u64>,
    /// Processes that ended although the plan had not killed them.
    pub ended: BTreeSet<String>,
}

impl Stage {
    /// Starts everything and waits until all nodes are there.
    pub async fn raise(cluster: Cluster, disk: Option<SmallDisk>, settings: &Settings) -> anyhow::Result<Stage> {
        let mut stage = Stage {
            cluster,
            disk,
            journals: TempDir::new()?,
            rate: settings.rate,
            seed: settings.seed,
            down: BTreeSet::new(),
            frozen: BTreeSet::new(),
            broken_links: BTreeSet::new(),
            leaving: BTreeSet::new(),
            done: BTreeMap::new(),
            memory_kib: BTreeMap::new(),
            ended: BTreeSet::new(),
        };
        for service in [Service::Scheduler(1), Service::Scheduler(2), Service::Detector, Service::Dashboard] {
            stage.start(service);
        }
        for index in 1..=WORKERS {
            stage.start(Service::Worker(index));
        }
        stage.cluster.wait_for_nodes(WORKERS).await;
        stage.start(Service::Generator);
        for index in 1..=SUBMITTERS {
            stage.start(Service::Submitter(index));
        }
        Ok(stage)
    }

    pub fn journal(&self, index: usize) -> PathBuf {
        self.journals.path().join(format!("submitter-{index}"))
    }

    /// Where the leaders' decisions are recorded.
    pub fn decisions(&self) -> PathBuf {
        self.journals.path().join("decisions")
    }

    fn start(&mut self, service: Service) {
        let name = service.to_string();
        match service {
            Service::Nats => {}
            Service::Scheduler(_) => {
                let folder = self.decisions().to_string_lossy().into_owned();
                let recorded =
                    [("FAULTLINE_SCHEDULER_RECORD_DECISIONS", &*folder), ("FAULTLINE_SCHEDULER_RECORD_DECISIONS_MIB", MOST_DECISIONS_MIB)];
                self.cluster.spawn_with(&name, "faultline-scheduler", &["--name", &name], &recorded);
            }
            Service::Detector => self.cluster.detector(),
            Service::Worker(index) => self.cluster.worker(index),
            Service::Dashboard => self.cluster.spawn(&name, "faultline-dashboard", &["--port", "0"]),
            Service::Generator => {
                let seed = self.seed.to_string();
                let args = ["--rate", GENERATOR_RATE, "--unbounded-rate", "--mix", GENERATOR_MIX, "--first-jobs", "0", "--seed", &seed];
                self.cluster.spawn(&name, "faultline-generator", &args);
            }
            Service::Submitter(index) => {
                let (journal, rate) = (self.journal(index), self.rate.to_string());
                self.cluster.spawn(&name, "chaos-submitter", &["--journal", &journal.to_string_lossy(), "--rate", &rate]);
            }
        }
    }

    fn count(&mut self, what: &str, service: Service) {
        *self.done.entry(format!("{what} {}", service.kind())).or_default() += 1;
    }

    /// Whether a process is there to be signalled; one that is not has ended by itself.
    fn is_there(&mut self, service: Service) -> bool {
        let there = service == Service::Nats || self.cluster.is_running(&service.to_string());
        if !there {
            self.ended.insert(format!("{service} is not there any more"));
        }
        there
    }

    pub async fn act(&mut self, op: &Op) {
        if let Op::Kill(service) | Op::Freeze(service) | Op::Thaw(service) | Op::Stop(service) = *op
            && !self.is_there(service)
        {
            return;
        }
        match *op {
            Op::Kill(service) => {
                eprintln!("chaos: kill -9 {service}");
                self.count("kill", service);
                self.frozen.remove(&service);
                self.down.insert(service);
                if service == Service::Nats {
                    self.cluster.server.kill9().await;
                } else {
                    self.cluster.kill9(&service.to_string());
                }
            }
            Op::Start(Service::Nats) => {
                self.down.remove(&Service::Nats);
                self.cluster.server.restart().await;
            }
            Op::Start(service) => {
                self.down.remove(&service);
                if matches!(service, Service::Worker(index) if index > WORKERS) {
                    self.count("scale up", service);
                }
                self.start(service);
            }
            Op::Freeze(service) => {
                eprintln!("chaos: freeze {service}");
                self.count("freeze", service);
                self.frozen.insert(service);
                match service {
                    Service::Nats => self.cluster.server.freeze().await,
                    service => self.cluster.freeze(&service.to_string()),
                }
            }
            Op::Thaw(service) => {
                self.frozen.remove(&service);
                self.thaw(service).await;
            }
            Op::Stop(service) => {
                self.count("scale down", service);
                self.leaving.insert(service);
                self.cluster.ask_to_stop(&service.to_string());
            }
            Op::Link(service, fault) => {
                eprintln!("chaos: {fault:?} the link of {service}");
                *self.done.entry(format!("link {fault:?}").to_lowercase()).or_default() += 1;
                self.broken_links.insert(service);
                self.cluster.link(&service.to_string(), conditions(fault));
            }
            Op::HealLink(service) => {
                self.broken_links.remove(&service);
                self.cluster.heal(&service.to_string());
            }
            Op::SetClock(service, ahead_ms) => {
                eprintln!("chaos: the wall clock of {service} is set to {ahead_ms} ms ahead");
                self.count("clock", service);
                self.cluster.set_clock(&service.to_string(), ahead_ms);
            }
            Op::Anew(bucket) => self.make_anew(bucket).await,
            Op::FillDisk => self.fill_disk(),
            Op::FreeDisk => self.free_disk().await,
            Op::Fault { node, kind, for_s } => {
                *self.done.entry(format!("fault {kind}")).or_default() += 1;
                let (node, length) = (format!("gpu-node-{node:02}"), format!("{for_s}s"));
                // The stage does not wait for it, and it may be refused: the leader may just be dead.
                let mut command = self.cluster.faultline_command(&["fault", &node, kind, "--for", &length]);
                if let Ok(child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
                    self.cluster.reap_later(child);
                }
            }
        }
    }

    /// A bucket is deleted, and `faultline setup` is started. Its end is not waited for.
    async fn make_anew(&mut self, bucket: &str) {
        eprintln!("chaos: delete the bucket {bucket} and set it up again");
        let deleted = self.cluster.nats.jetstream.delete_stream(format!("KV_{bucket}")).await;
        if let Err(error) = deleted {
            return eprintln!("chaos: {bucket} could not be deleted: {error}");
        }
        *self.done.entry("bucket made anew".to_owned()).or_default() += 1;
        let mut command = self.cluster.faultline_command(&["setup"]);
        if let Ok(child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            self.cluster.reap_later(child);
        }
    }

    fn fill_disk(&mut self) {
        let Some(disk) = &self.disk else { return };
        eprintln!("chaos: fill the disk of NATS");
        match disk.fill() {
            Ok(()) => *self.done.entry("disk filled".to_owned()).or_default() += 1,
            Err(error) => eprintln!("chaos: the disk could not be filled: {error}"),
        }
    }

    /// There is room again. NATS keeps its write error until it is restarted, which `faultline up` and its operators do.
    async fn free_disk(&mut self) {
        let Some(disk) = &self.disk else { return };
        if let Err(error) = disk.free() {
            eprintln!("chaos: the disk could not be freed: {error}");
        }
        self.cluster.server.restart().await;
    }

    async fn thaw(&mut self, service: Service) {
        match service {
            Service::Nats => self.cluster.server.thaw().await,
            service => self.cluster.thaw(&service.to_string()),
        }
    }

    /// Thaws, starts and restores everything, and tells those who submit to finish.
    pub async fn heal(&mut self) {
        eprintln!("chaos: healing");
        for service in std::mem::take(&mut self.broken_links) {
            self.cluster.heal(&service.to_string());
        }
        for service in std::mem::take(&mut self.frozen) {
            self.thaw(service).await;
        }
        for service in std::mem::take(&mut self.down) {
            self.act(&Op::Start(service)).await;
        }
        // Whatever a setup did not get through to make.
        let setup = self.cluster.faultline(&["setup", "--wait", "20"]);
        if !setup.status.success() {
            eprintln!("chaos: setup: {}", String::from_utf8_lossy(&setup.stderr));
        }
        // A process that was started just now must hear signals before it gets one.
        sleep(FIRST_STEPS).await;
        for service in std::iter::once(Service::Generator).chain((1..=SUBMITTERS).map(Service::Submitter)) {
            self.leaving.insert(service);
            self.cluster.ask_to_stop(&service.to_string());
        }
    }

    /// Looks after the processes: who has ended, and how much memory each has.
    pub fn watch(&mut self) {
        for (name, how) in self.cluster.ended() {
            let was_told = self.leaving.iter().any(|service| service.to_string() == name);
            if !was_told || !how.success() {
                self.ended.insert(format!("{name}: {how}"));
            }
        }
        for (name, pid) in self.cluster.pids() {
            if let Some(kib) = proc::kib(pid, "VmRSS") {
                let most = self.memory_kib.entry(name).or_default();
                *most = kib.max(*most);
            }
        }
    }

    /// Whether all who submit have finished, which they were told to.
    pub fn submitters_are_done(&mut self) -> bool {
        let running: BTreeSet<String> = self.cluster.pids().into_iter().map(|(name, _)| name).collect();
        std::iter::once(Service::Generator)
            .chain((1..=SUBMITTERS).map(Service::Submitter))
            .all(|service| !running.contains(&service.to_string()))
    }

    /// Whether every job in RESULTS has ended, and every confirmed one is there.
    pub async fn all_jobs_ended(&self, witness: &Witness) -> bool {
        if !witness.nothing_is_open(&self.cluster.nats).await {
            return false;
        }
        let record = witness.look();
        (1..=SUBMITTERS)
            .filter_map(|index| Journal::read(&self.journal(index)).ok())
            .all(|entries| entries.confirmed.iter().all(|id| record.jobs.contains_key(id)))
    }
}

fn conditions(fault: LinkFault) -> LinkConditions {
    match fault {
        LinkFault::Cut => LinkConditions::closed(),
        LinkFault::Stall => LinkConditions::stalled(),
        LinkFault::Delay => LinkConditions { delay_ms: 20, jitter_ms: 200, ..LinkConditions::default() },
        LinkFault::Loss => LinkConditions { loss_percent: 10.0, ..LinkConditions::default() },
    }
}
