//! What one seed stands for: the cluster, the jobs, the weather on the network, and when what breaks. All of it is drawn before the
//! run begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use faultline_engine::fault::FaultKind as NodeFault;
use faultline_engine::job::{Demand, GPU_MILLI, JobId, JobSpec, Params, Priority};
use faultline_engine::node::{GpuDescriptor, NodeSpec};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::message::EPOCH_MS;
use super::net::Weather;
use super::shadow::Script;
use super::stats::FaultKind;

/// Attempts that a node runs at once.
pub(crate) const SLOTS: u32 = 8;

/// Something that is done to the cluster.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Crash(usize),
    Start(usize),
    Freeze(usize),
    Thaw(usize),
    Cut {
        of: usize,
        out: bool,
        inwards: bool,
    },
    Mend(usize),
    ServerCrash,
    ServerRestart,
    NodeFault {
        node: String,
        kind: NodeFault,
        for_ms: u64,
    },
    WrongVerdict {
        node: String,
    },
    Drain(usize),
    Cancel {
        job: JobId,
    },
    /// The wall clock of a process is set.
    SetClock {
        of: usize,
        by_ms: i64,
    },
    /// The bucket LEASE is made anew or is an older copy of itself: revisions go on from this one.
    LeaseAnew {
        revision: u64,
    },
    NodesAnew,
    /// The time after which nothing breaks any more.
    Healthy,
}

pub(crate) struct Scenario {
    pub(crate) schedulers: usize,
    /// The nodes of every worker.
    pub(crate) workers: Vec<Vec<NodeSpec>>,
    pub(crate) submitters: Vec<BTreeMap<JobId, (u64, Arc<JobSpec>)>>,
    pub(crate) scripts: Vec<Script>,
    pub(crate) weather: Weather,
    pub(crate) deeds: Vec<(u64, Deed)>,
    pub(crate) healthy_at: u64,
    pub(crate) faults: BTreeMap<FaultKind, u64>,
    /// Whether a user's program chooses the nodes.
    pub(crate) asks_program: bool,
}

/// Processes in the order of their numbers: schedulers, workers, detector, submitters.
pub(crate) struct Layout {
    pub(crate) schedulers: usize,
    pub(crate) workers: usize,
    pub(crate) submitters: usize,
}

impl Layout {
    pub(crate) fn worker(&self, index: usize) -> usize {
        self.schedulers + index
    }

    pub(crate) fn detector(&self) -> usize {
        self.schedulers + self.workers
    }

    pub(crate) fn procs(&self) -> usize {
        self.detector() + 1 + self.submitters
    }
}

const MODEL: &str = "L4";
/// Work that outlasts the time after which a worker without an answer stops it.
const LONG_MS: u64 = 13_000;

pub(crate) fn draw(seed: u64) -> Scenario {
    let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x5ce7_a210);
    let layout = Layout { schedulers: 2, workers: rng.random_range(2..=3), submitters: rng.random_range(1..=2) };
    let workers: Vec<Vec<NodeSpec>> = (0..layout.workers).map(|worker| draw_nodes(worker, &mut rng)).collect();
    let biggest = workers.iter().flatten().map(|node| node.gpus.len()).max().unwrap_or(0);
    let until_ms = rng.random_range(8_000..40_000);
    let scripts: Vec<(u64, Script)> = (0..rng.random_range(4..=16)).map(|n| draw_job(n, until_ms, biggest, &mut rng)).collect();
    let mut submitters = vec![BTreeMap::new(); layout.submitters];
    for (at, script) in &scripts {
        let submitter = rng.random_range(0..submitters.len());
        submitters[submitter].insert(script.spec.id, (*at, Arc::clone(&script.spec)));
    }
    let rough = rng.random_bool(0.7);
    let weather = Weather {
        loss: if rough { rng.random_range(0.0..0.03) } else { 0.0 },
        duplicates: if rough { rng.random_range(0.0..0.03) } else { 0.0 },
        late: if rough { rng.random_range(0.0..0.05) } else { 0.0 },
        late_ms: rng.random_range(20..3_000),
    };
    let mut plan = Plan { rng, layout, until_ms, deeds: Vec::new(), faults: BTreeMap::new(), healthy_at: until_ms };
    plan.draw(&workers, &scripts);
    let asks_program = plan.rng.random_bool(0.4);
    Scenario {
        asks_program,
        schedulers: plan.layout.schedulers,
        workers,
        submitters,
        scripts: scripts.into_iter().map(|(_, script)| script).collect(),
        weather,
        deeds: plan.deeds,
        healthy_at: plan.healthy_at,
        faults: plan.faults,
    }
}

fn draw_nodes(worker: usize, rng: &mut Pcg64Mcg) -> Vec<NodeSpec> {
    let node = |index: usize, rng: &mut Pcg64Mcg| NodeSpec {
        node: format!("gpu-node-{:02}", 2 * worker + index + 1),
        worker: format!("worker-{}", worker + 1),
        incarnation: 0,
        gpus: vec![GpuDescriptor { model: MODEL.into(), memory_mib: 24_000 }; rng.random_range(1..=2)],
        rack: "r1".into(),
        slots: SLOTS,
        kinds: vec!["sleep".into()],
        fault_percent_per_min: 0.0,
        telemetry_source: "simulated".into(),
        gpu_problem: None,
    };
    (0..rng.random_range(1..=2)).map(|index| node(index, rng)).collect()
}

fn draw_job(n: u128, until_ms: u64, biggest: usize, rng: &mut Pcg64Mcg) -> (u64, Script) {
    let at = rng.random_range(10..until_ms);
    let id = JobId::new(EPOCH_MS + at, n);
    let is_impossible = rng.random_bool(0.02);
    let gpu_milli = match rng.random_range(0..10) {
        _ if is_impossible && rng.random_bool(0.5) => 8 * GPU_MILLI,
        0 => 0,
        1..=3 => 250,
        4..=5 => 500,
        6 if biggest > 1 => 2 * GPU_MILLI,
        _ => GPU_MILLI,
    };
    let work_ms = match rng.random_range(0..10) {
        0..=3 => rng.random_range(5..300),
        4..=7 => rng.random_range(300..4_000),
        _ => rng.random_range(4_000..22_000),
    };
    let spec = JobSpec {
        id,
        name: format!("job-{n}"),
        kind: if is_impossible && gpu_milli <= 2 * GPU_MILLI { "unknown".into() } else { "sleep".into() },
        params: Params::new(),
        priority: Priority::ALL[rng.random_range(0..Priority::ALL.len())],
        demand: Demand { gpu_milli, gpu_memory_mib: 1_000, models: Vec::new() },
        expected_ms: work_ms,
        timeout_ms: if rng.random_bool(0.1) { work_ms } else { 60_000 },
        max_retries: rng.random_range(0..=3),
        submitted_at_ms: EPOCH_MS + at,
        origin: Default::default(),
    };
    let script = Script {
        spec: Arc::new(spec),
        work_ms,
        fails: if rng.random_bool(0.3) { rng.random_range(0.2..0.9) } else { 0.0 },
        is_hopeless: rng.random_bool(0.02),
        is_possible: !is_impossible,
    };
    (at, script)
}

struct Plan {
    rng: Pcg64Mcg,
    layout: Layout,
    until_ms: u64,
    deeds: Vec<(u64, Deed)>,
    faults: BTreeMap<FaultKind, u64>,
    healthy_at: u64,
}

impl Plan {
    fn draw(&mut self, workers: &[Vec<NodeSpec>], scripts: &[(u64, Script)]) {
        for _ in 0..self.rng.random_range(0..=9) {
            let at = self.rng.random_range(500..self.until_ms);
            match self.rng.random_range(0..22) {
                0..=2 => self.server(at),
                3..=4 => self.node(at, workers),
                5 => self.wrong_verdict(at, workers),
                6 => self.drain(at),
                7..=8 => self.cancel(scripts),
                9..=11 => self.crash(at),
                12..=15 => self.freeze(at),
                20 => self.lease_anew(at),
                21 => self.add(FaultKind::NodesAnew, at, Deed::NodesAnew, at, None),
                _ => self.cut(at),
            }
        }
        // Drawn last: the other faults of a seed stay as they are.
        for _ in 0..self.rng.random_range(0..=4) {
            self.set_clock();
        }
        self.cut_for_long(scripts);
        self.deeds.push((self.healthy_at, Deed::Healthy));
        self.deeds.sort_by_key(|(at, _)| *at);
    }

    fn add(&mut self, kind: FaultKind, at: u64, deed: Deed, end: u64, undo: Option<Deed>) {
        *self.faults.entry(kind).or_default() += 1;
        self.deeds.push((at, deed));
        self.deeds.extend(undo.map(|undo| (end, undo)));
        self.healthy_at = self.healthy_at.max(end);
    }

    /// Schedulers and workers are hit most, the server has its own faults.
    fn victim(&mut self) -> usize {
        let procs = self.layout.procs();
        match self.rng.random_range(0..10) {
            0..=3 => self.rng.random_range(0..self.layout.schedulers),
            4..=7 => self.layout.worker(self.rng.random_range(0..self.layout.workers)),
            _ => self.rng.random_range(self.layout.detector()..procs),
        }
    }

    /// Mostly short, sometimes long enough for every timeout that there is.
    fn length(&mut self, long_ms: u64) -> u64 {
        if self.rng.random_bool(0.6) { self.rng.random_range(100..3_000) } else { self.rng.random_range(3_000..long_ms) }
    }

    fn crash(&mut self, at: u64) {
        let of = self.victim();
        let end = at + self.length(12_000);
        self.add(FaultKind::Crash, at, Deed::Crash(of), end, Some(Deed::Start(of)));
    }

    fn freeze(&mut self, at: u64) {
        let of = self.victim();
        let end = at + self.length(40_000);
        self.add(FaultKind::Freeze, at, Deed::Freeze(of), end, Some(Deed::Thaw(of)));
    }

    fn cut(&mut self, at: u64) {
        let of = self.victim();
        let (out, inwards) = [(true, true), (true, false), (false, true)][self.rng.random_range(0..3)];
        let end = at + self.length(30_000);
        self.add(FaultKind::Cut, at, Deed::Cut { of, out, inwards }, end, Some(Deed::Mend(of)));
    }

    /// A long job may find its worker cut off for longer than JetStream waits for a sign of progress.
    fn cut_for_long(&mut self, scripts: &[(u64, Script)]) {
        let Some((at, _)) = scripts.iter().find(|(_, script)| script.work_ms > LONG_MS) else { return };
        if self.rng.random_bool(0.3) {
            let of = self.layout.worker(self.rng.random_range(0..self.layout.workers));
            let at = at + self.rng.random_range(500..3_000);
            let end = at + self.rng.random_range(16_000..30_000);
            self.add(FaultKind::Cut, at, Deed::Cut { of, out: true, inwards: true }, end, Some(Deed::Mend(of)));
        }
    }

    fn server(&mut self, at: u64) {
        let end = at + self.length(8_000);
        self.add(FaultKind::ServerCrash, at, Deed::ServerCrash, end, Some(Deed::ServerRestart));
    }

    fn node(&mut self, at: u64, workers: &[Vec<NodeSpec>]) {
        let node = self.some_node(workers);
        let end = at + self.length(12_000);
        let (told, kind) = if self.rng.random_bool(0.7) {
            (FaultKind::NodeCrash, NodeFault::Crash)
        } else {
            (FaultKind::HeartbeatLoss, NodeFault::HeartbeatLoss)
        };
        self.add(told, at, Deed::NodeFault { node, kind, for_ms: end - at }, end, None);
    }

    fn some_node(&mut self, workers: &[Vec<NodeSpec>]) -> String {
        let nodes = &workers[self.rng.random_range(0..workers.len())];
        nodes[self.rng.random_range(0..nodes.len())].node.clone()
    }

    fn wrong_verdict(&mut self, at: u64, workers: &[Vec<NodeSpec>]) {
        let node = self.some_node(workers);
        self.add(FaultKind::WrongVerdict, at, Deed::WrongVerdict { node }, at, None);
    }

    fn drain(&mut self, at: u64) {
        let of = self.layout.worker(self.rng.random_range(0..self.layout.workers));
        let end = at + self.rng.random_range(6_000..9_000);
        self.add(FaultKind::Drain, at, Deed::Drain(of), end, Some(Deed::Start(of)));
    }

    /// By seconds, minutes or hours, to and fro.
    fn set_clock(&mut self) {
        let (at, of) = (self.rng.random_range(0..self.until_ms), self.victim());
        let longest_ms = [5_000, 120_000, 7_200_000][self.rng.random_range(0..3)];
        let by_ms = self.rng.random_range(-longest_ms..=longest_ms);
        self.add(FaultKind::ClockJump, at, Deed::SetClock { of, by_ms }, at, None);
    }

    fn lease_anew(&mut self, at: u64) {
        let revision = if self.rng.random_bool(0.5) { 0 } else { self.rng.random_range(0..10) };
        self.add(FaultKind::LeaseAnew, at, Deed::LeaseAnew { revision }, at, None);
    }

    fn cancel(&mut self, scripts: &[(u64, Script)]) {
        let (at, script) = &scripts[self.rng.random_range(0..scripts.len())];
        let at = at + self.rng.random_range(1..8_000);
        self.add(FaultKind::Cancel, at, Deed::Cancel { job: script.spec.id }, at, None);
    }
}
