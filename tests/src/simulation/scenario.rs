//! What one seed stands for: the cluster, the jobs, the weather on the network, and when what breaks. All of it is drawn before the
//! run begins.

use std::collections::BTreeMap;
use std::rc::Rc;

use faultline_engine::job::{Demand, GPU_MILLI, JobId, JobSpec, Params, Priority};
use faultline_engine::node::{GpuDescriptor, NodeSpec};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::net::Weather;
use super::shadow::Script;
use super::{EPOCH_MS, FaultKind};

/// Something that is done to the cluster.
#[derive(Debug, Clone)]
pub(super) enum Deed {
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
    NodeCrash {
        worker: usize,
        node: usize,
    },
    NodeReboot {
        worker: usize,
        node: usize,
    },
    NodeMute {
        worker: usize,
        node: usize,
        is_mute: bool,
    },
    WrongVerdict {
        worker: usize,
        node: usize,
    },
    Drain(usize),
    Cancel {
        job: JobId,
    },
    /// The time after which nothing breaks any more.
    Healthy,
}

pub(super) struct Scenario {
    pub(super) schedulers: usize,
    /// The nodes of every worker.
    pub(super) workers: Vec<Vec<NodeSpec>>,
    pub(super) submitters: Vec<BTreeMap<JobId, (u64, Rc<JobSpec>)>>,
    pub(super) scripts: Vec<Script>,
    pub(super) weather: Weather,
    pub(super) deeds: Vec<(u64, Deed)>,
    pub(super) healthy_at: u64,
    pub(super) faults: BTreeMap<FaultKind, u64>,
}

/// Processes in the order of their numbers: schedulers, workers, detector, submitters.
pub(super) struct Layout {
    pub(super) schedulers: usize,
    pub(super) workers: usize,
    pub(super) submitters: usize,
}

impl Layout {
    pub(super) fn worker(&self, index: usize) -> usize {
        self.schedulers + index
    }

    pub(super) fn detector(&self) -> usize {
        self.schedulers + self.workers
    }

    pub(super) fn submitter(&self, index: usize) -> usize {
        self.detector() + 1 + index
    }

    pub(super) fn procs(&self) -> usize {
        self.detector() + 1 + self.submitters
    }
}

const MODEL: &str = "L4";

pub(super) fn draw(seed: u64) -> Scenario {
    let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x5ce7_a210);
    let layout = Layout { schedulers: 2, workers: rng.random_range(2..=3), submitters: rng.random_range(1..=2) };
    let workers: Vec<Vec<NodeSpec>> = (0..layout.workers).map(|worker| draw_nodes(worker, &mut rng)).collect();
    let biggest = workers.iter().flatten().map(|node| node.gpus.len()).max().unwrap_or(0);
    let until_ms = rng.random_range(8_000..40_000);
    let scripts: Vec<(u64, Script)> = (0..rng.random_range(4..=16)).map(|n| draw_job(n, until_ms, biggest, &mut rng)).collect();
    let mut submitters = vec![BTreeMap::new(); layout.submitters];
    for (at, script) in &scripts {
        let submitter = rng.random_range(0..submitters.len());
        submitters[submitter].insert(script.spec.id, (*at, Rc::clone(&script.spec)));
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
    Scenario {
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
        node: format!("node-{}{}", worker + 1, [b'a', b'b'][index] as char),
        worker: format!("worker-{}", worker + 1),
        incarnation: 0,
        gpus: vec![GpuDescriptor { model: MODEL.into(), memory_mib: 24_000 }; rng.random_range(1..=2)],
        rack: "r1".into(),
        slots: 8,
        kinds: vec!["sleep".into()],
        fault_percent_per_min: 0.0,
        telemetry_source: "simulated".into(),
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
    };
    let script = Script {
        spec: Rc::new(spec),
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
            match self.rng.random_range(0..20) {
                0..=2 => self.server(at),
                3..=4 => self.node(at, workers),
                5 => self.wrong_verdict(at, workers),
                6 => self.drain(at),
                7..=8 => self.cancel(scripts),
                9..=11 => self.crash(at),
                12..=15 => self.freeze(at),
                _ => self.cut(at),
            }
        }
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

    fn server(&mut self, at: u64) {
        let end = at + self.length(8_000);
        self.add(FaultKind::ServerCrash, at, Deed::ServerCrash, end, Some(Deed::ServerRestart));
    }

    fn node(&mut self, at: u64, workers: &[Vec<NodeSpec>]) {
        let (worker, node) = self.some_node(workers);
        let end = at + self.length(12_000);
        if self.rng.random_bool(0.7) {
            self.add(FaultKind::NodeCrash, at, Deed::NodeCrash { worker, node }, end, Some(Deed::NodeReboot { worker, node }));
        } else {
            let mute = |is_mute| Deed::NodeMute { worker, node, is_mute };
            self.add(FaultKind::HeartbeatLoss, at, mute(true), end, Some(mute(false)));
        }
    }

    fn some_node(&mut self, workers: &[Vec<NodeSpec>]) -> (usize, usize) {
        let worker = self.rng.random_range(0..workers.len());
        (self.layout.worker(worker), self.rng.random_range(0..workers[worker].len()))
    }

    fn wrong_verdict(&mut self, at: u64, workers: &[Vec<NodeSpec>]) {
        let (worker, node) = self.some_node(workers);
        self.add(FaultKind::WrongVerdict, at, Deed::WrongVerdict { worker, node }, at, None);
    }

    fn drain(&mut self, at: u64) {
        let of = self.layout.worker(self.rng.random_range(0..self.layout.workers));
        let end = at + self.rng.random_range(6_000..9_000);
        self.add(FaultKind::Drain, at, Deed::Drain(of), end, Some(Deed::Start(of)));
    }

    fn cancel(&mut self, scripts: &[(u64, Script)]) {
        let (at, script) = &scripts[self.rng.random_range(0..scripts.len())];
        let at = at + self.rng.random_range(1..8_000);
        self.add(FaultKind::Cancel, at, Deed::Cancel { job: script.spec.id }, at, None);
    }
}
