//! What a hosted node is made of: its condition, its devices, its faults and the tasks on it. What it takes and what it says of
//! itself is decided by [`AgentNode`]; the worker's loop sends.

use std::collections::BTreeMap;
use std::sync::Arc;

use faultline_engine::agent::{AgentNode, Hosted};
use faultline_engine::device::{GpuLoad, hazard_factor};
use faultline_engine::fault::{
    AttemptEnd, Fault, FaultInjector, FaultKind, FaultTransition, FaultTruth, GpuNews, Injection, ObservedFaults, Toll, interruption_words,
};
use faultline_engine::job::{AttemptId, GPU_MILLI};
use faultline_engine::node::GpuTelemetry;
use faultline_engine::words::{limit, plural};
use faultline_protocol::messages::{FaultOrder, FaultOrderKind, Heartbeat, RunningBrief};
use faultline_runtime::clock::random_u128;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::attempt::Interruption;
use crate::dcgm::{GpuIdentity, GpuReading, Profile};
use crate::executor::{NodeConditions, Progress};
use crate::telemetry::DeviceSource;

/// The task of an attempt that runs here.
pub(crate) struct Task {
    pub(crate) progress: Progress,
    pub(crate) stop: CancellationToken,
    pub(crate) interruption: Arc<Interruption>,
    /// None in tests of the node alone.
    pub(crate) handle: Option<AbortHandle>,
}

pub(crate) struct HostedNode {
    pub(crate) conditions: Arc<NodeConditions>,
    tasks: BTreeMap<AttemptId, Task>,
    devices: Box<dyn DeviceSource>,
    injector: FaultInjector,
    /// Faults of real GPUs.
    observed: ObservedFaults,
    telemetry: Vec<GpuTelemetry>,
    /// How busy the tensor cores of each GPU are, 0 to 1.
    tensor_active: Vec<f64>,
    /// The last XID of each GPU since its reset; 0 for none.
    last_xid: Vec<u32>,
}

/// What a tick of the fault injector did to the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FaultNews {
    pub(crate) began: bool,
    pub(crate) detail: String,
    pub(crate) truth: FaultTruth,
    /// The node came back: it must register under its new incarnation.
    pub(crate) reborn: bool,
    /// A GPU went out of service, or came back.
    pub(crate) changes_service: bool,
}

/// How hard a kind drives a GPU, 0 to 1, and how hard its memory: a stand-in for a profile of real kernels.
fn intensity(kind: &str) -> (f64, f64) {
    match kind {
        "sleep" => (0.05, 0.02),
        "compute" => (0.6, 0.3),
        "matrix" => (0.95, 0.6),
        _ => (0.7, 0.4),
    }
}

/// How hard a kind drives the tensor cores, 0 to 1: dense products of matrices do, nothing else here does. As [`intensity`] it stands
/// in for a profile, and is not measured.
fn tensor_intensity(kind: &str) -> f64 {
    if kind == "matrix" { 0.6 } else { 0.0 }
}

impl HostedNode {
    pub(crate) fn new(gpus: usize, devices: Box<dyn DeviceSource>, injector: FaultInjector) -> Self {
        Self {
            conditions: Arc::new(NodeConditions::new(gpus)),
            tasks: BTreeMap::new(),
            devices,
            injector,
            observed: ObservedFaults::default(),
            telemetry: vec![GpuTelemetry::default(); gpus],
            tensor_active: vec![0.0; gpus],
            last_xid: vec![0; gpus],
        }
    }

    pub(crate) fn start(&mut self, attempt: AttemptId, task: Task) {
        self.tasks.insert(attempt, task);
    }

    pub(crate) fn finish(&mut self, attempt: AttemptId) {
        self.tasks.remove(&attempt);
    }

    /// Lets the attempt end without a word to JetStream.
    pub(crate) fn stop(&self, attempt: AttemptId) {
        if let Some(task) = self.tasks.get(&attempt) {
            task.stop.cancel();
        }
    }

    /// Ends all tasks silently.
    pub(crate) fn abort_all(&mut self) {
        for task in std::mem::take(&mut self.tasks).into_values() {
            // First the task, or it would still tell that it was stopped.
            if let Some(handle) = task.handle {
                handle.abort();
            }
            task.stop.cancel();
        }
    }

    /// The next heartbeat; none while nothing is heard of the node.
    pub(crate) fn heartbeat(&self, agent: &mut AgentNode, sent_at_ms: u64) -> Option<Heartbeat> {
        let seq = agent.next_heartbeat()?;
        let brief = |(attempt, hosted): (&AttemptId, &Hosted)| RunningBrief {
            attempt: *attempt,
            job: hosted.assignment.spec.id,
            progress_permille: self.tasks.get(attempt).map_or(0, |task| task.progress.permille()),
            epoch: hosted.assignment.epoch,
        };
        Some(Heartbeat {
            node: agent.spec().node.clone(),
            worker: agent.spec().worker.clone(),
            incarnation: agent.spec().incarnation,
            seq,
            sent_at_ms,
            running: agent.running().iter().map(brief).collect(),
            gpus: self.telemetry.clone(),
            leaving: agent.is_leaving(),
        })
    }

    /// Reads the devices under the load of what runs, and lets throttled GPUs slow their attempts.
    pub(crate) fn sample(&mut self, agent: &AgentNode, now_ms: u64) {
        let mut loads = vec![GpuLoad::default(); self.telemetry.len()];
        self.tensor_active.fill(0.0);
        if !self.conditions.is_hung() {
            for hosted in agent.running().values() {
                let demand = &hosted.assignment.spec.demand;
                let share = f64::from(demand.milli_per_gpu()) / f64::from(GPU_MILLI);
                let (work, memory) = intensity(hosted.assignment.spec.class());
                for gpu in &hosted.assignment.gpus {
                    let load = &mut loads[usize::from(*gpu)];
                    let tensor = &mut self.tensor_active[usize::from(*gpu)];
                    *tensor = (*tensor + share * tensor_intensity(hosted.assignment.spec.class())).min(1.0);
                    load.utilisation = (load.utilisation + share * work).min(1.0);
                    load.memory_intensity = (load.memory_intensity + share * memory).min(1.0);
                    load.memory_used_mib += demand.gpu_memory_mib;
                }
            }
        }
        self.telemetry = self.devices.sample(now_ms, &loads);
        for gpu in 0..self.telemetry.len() {
            self.conditions.set_gpu_slowdown(gpu, self.devices.slowdown(gpu));
        }
        for (telemetry, xid) in self.telemetry.iter_mut().zip(&self.last_xid) {
            // A GPU without XIDs of its own has one when a fault was simulated there, or when it was found lost.
            telemetry.xid = if *xid > 0 { Some(*xid) } else { telemetry.xid };
        }
        for fault in self.injector.active().chain(self.observed.active()) {
            let Some(telemetry) = fault.gpu.and_then(|gpu| self.telemetry.get_mut(usize::from(gpu))) else { continue };
            if fault.kind == FaultKind::Xid79 {
                *telemetry = telemetry.of_unreachable();
            }
            telemetry.out_of_service |= fault.kind.takes_gpu_out();
        }
    }

    /// What each GPU is called.
    pub(crate) fn identities(&self, node: &str) -> Vec<GpuIdentity> {
        self.devices.identities(node)
    }

    /// What the last sample found, for those who read it as DCGM's figures.
    pub(crate) fn readings(&self) -> Vec<GpuReading> {
        let is_simulated = self.devices.kind() == "simulated";
        let reading = |(telemetry, tensor_active): (&GpuTelemetry, &f64)| GpuReading {
            telemetry: *telemetry,
            profile: telemetry
                .utilisation_percent
                .filter(|_| is_simulated)
                .map(|percent| Profile { engine_active: f64::from(percent) / 100.0, tensor_active: *tensor_active }),
        };
        self.telemetry.iter().zip(&self.tensor_active).map(reading).collect()
    }

    /// Whether time can do anything to the node. Only real GPUs have news of their own.
    pub(crate) fn ages(&self) -> bool {
        !self.injector.is_still() || self.devices.kind() != "simulated"
    }

    /// Lets time work on the node: heat makes faults likelier, and real GPUs report what happened to them.
    pub(crate) fn age(&mut self, agent: &mut AgentNode, now_ms: u64) -> Vec<FaultNews> {
        let hottest = self.telemetry.iter().filter_map(|gpu| gpu.temperature_c).fold(0.0, f32::max);
        let mut transitions = self.injector.tick(now_ms, hazard_factor(f64::from(hottest)));
        for (gpu, news) in self.devices.news() {
            match (news, self.last_xid.get_mut(usize::from(gpu))) {
                (GpuNews::Xid(code), Some(last)) => {
                    tracing::warn!(node = agent.spec().node, gpu, xid = code, "the driver reported an XID");
                    *last = code;
                }
                (GpuNews::Back, Some(last)) => *last = 0,
                (GpuNews::Lost, _) | (_, None) => {}
            }
            transitions.extend(self.observed.on_news(gpu, news, now_ms, random_u128()));
        }
        self.apply(agent, transitions)
    }

    /// Breaks or mends the node on an operator's order.
    pub(crate) fn order(&mut self, agent: &mut AgentNode, order: &FaultOrder, now_ms: u64) -> Vec<FaultNews> {
        let transitions = match order.kind {
            FaultOrderKind::Break(kind) => {
                let gpu = order.gpu.unwrap_or_else(|| self.worst_hit_by(agent, kind));
                self.injector.order(Injection { kind, gpu, for_ms: order.for_ms, factor: order.factor }, &order.by, now_ms)
            }
            FaultOrderKind::Restore => {
                let mut transitions = self.injector.restore(order.gpu, now_ms);
                transitions.extend(self.observed.restore(order.gpu, now_ms));
                transitions
            }
        };
        self.apply(agent, transitions)
    }

    fn apply(&mut self, agent: &mut AgentNode, transitions: Vec<FaultTransition>) -> Vec<FaultNews> {
        let apply_one = |transition| match transition {
            FaultTransition::Began(fault) => self.begin(agent, &fault),
            FaultTransition::Ended { fault, at_ms } => self.end(agent, &fault, at_ms),
        };
        transitions.into_iter().map(apply_one).collect()
    }

    /// The GPU on which this kind would end the most attempts; of equals, the one that works most.
    fn worst_hit_by(&self, agent: &AgentNode, kind: FaultKind) -> u8 {
        let gpus = 0..u8::try_from(self.telemetry.len()).unwrap_or(u8::MAX);
        let harm = |gpu: &u8| (victims(agent, kind, *gpu).len(), agent.booked_milli(*gpu));
        gpus.rev().max_by_key(harm).unwrap_or_default()
    }

    fn begin(&mut self, agent: &mut AgentNode, fault: &Fault) -> FaultNews {
        let mut detail = fault.kind.to_string();
        if let Some(gpu) = fault.gpu {
            detail.push_str(&format!(" on GPU {gpu}"));
            detail.push_str(&self.break_gpu(agent, fault.kind, gpu));
        }
        match fault.planned_end_ms() {
            Some(until_ms) if !fault.kind.is_momentary() => {
                detail.push_str(&format!(" for {}", limit(until_ms - fault.from_ms)));
            }
            Some(_) => {}
            None => detail.push_str(", until the GPU is reset"),
        }
        match fault.kind {
            FaultKind::Crash => {
                self.abort_all();
                let dropped = agent.on_crash();
                detail.push_str(&format!(", {} dropped", plural(dropped as u64, "attempt")));
            }
            FaultKind::Slow => detail.push_str(&format!(", {:.1} times slower", fault.factor)),
            _ => {}
        }
        if let Some(domain) = fault.domain {
            detail.push_str(&format!(", because {domain} failed"));
        }
        if !fault.by.is_empty() {
            detail.push_str(&format!(", ordered by {}", fault.by));
        }
        self.set_condition(agent, fault, true);
        news(agent, fault, true, detail, fault.planned_end_ms())
    }

    fn end(&mut self, agent: &mut AgentNode, fault: &Fault, at_ms: u64) -> FaultNews {
        self.set_condition(agent, fault, false);
        if fault.kind == FaultKind::Crash {
            agent.on_reboot();
            self.last_xid.fill(0);
        }
        // What takes a GPU out of service ends with its reset.
        if let Some(gpu) = fault.gpu
            && fault.kind.takes_gpu_out()
        {
            self.last_xid[usize::from(gpu)] = 0;
        }
        let verb = if fault.kind.is_momentary() { "over" } else { "repaired" };
        news(agent, fault, false, format!("{} {verb}", fault.kind), Some(at_ms))
    }

    /// What lasts as long as the fault.
    fn set_condition(&mut self, agent: &mut AgentNode, fault: &Fault, is_broken: bool) {
        let gpu = fault.gpu.map_or(0, usize::from);
        if let Some(broken) = fault.gpu.filter(|_| fault.kind.takes_gpu_out()) {
            let is_out = |other: &Fault| other.gpu == Some(broken) && other.kind.takes_gpu_out();
            agent.on_gpu_service(broken, self.injector.active().chain(self.observed.active()).any(is_out));
        }
        match fault.kind {
            FaultKind::Hang => self.conditions.set_hung(is_broken),
            FaultKind::HeartbeatLoss => agent.on_mute(is_broken),
            FaultKind::Slow => self.conditions.set_slow_factor(if is_broken { fault.factor } else { 1.0 }),
            FaultKind::Zombie => {
                self.conditions.set_cut_off(is_broken);
                agent.on_cut_off(is_broken);
            }
            FaultKind::ThermalThrottle => self.devices.set_cooled(gpu, !is_broken),
            FaultKind::WrongResult => self.conditions.set_gpu_wrong(gpu, is_broken),
            FaultKind::Crash
            | FaultKind::Xid13
            | FaultKind::Xid31
            | FaultKind::Xid48
            | FaultKind::Xid74
            | FaultKind::Xid79
            | FaultKind::Xid94
            | FaultKind::Xid95 => {}
        }
    }

    /// Ends the attempts that the fault hits, each in its own way; says how many.
    fn break_gpu(&mut self, agent: &AgentNode, kind: FaultKind, gpu: u8) -> String {
        let victims = victims(agent, kind, gpu);
        if let Some(xid) = kind.xid() {
            self.last_xid[usize::from(gpu)] = xid;
        }
        for (attempt, end) in &victims {
            if let Some(task) = self.tasks.get(attempt) {
                // Whatever else has ended it before comes first.
                let _ = task.interruption.set((*end, interruption_words(kind, gpu, &agent.spec().node)));
            }
        }
        if kind.toll() == Toll::None { String::new() } else { format!(", {} hit", plural(victims.len() as u64, "attempt")) }
    }
}

fn victims(agent: &AgentNode, kind: FaultKind, gpu: u8) -> Vec<(AttemptId, AttemptEnd)> {
    kind.toll().victims(gpu, agent.running().iter().map(|(attempt, hosted)| (*attempt, hosted.assignment.gpus.as_slice())))
}

fn news(agent: &AgentNode, fault: &Fault, began: bool, detail: String, until_ms: Option<u64>) -> FaultNews {
    FaultNews {
        began,
        detail,
        truth: fault.truth(&agent.spec().node, until_ms),
        reborn: !began && fault.kind == FaultKind::Crash,
        changes_service: fault.kind.takes_gpu_out(),
    }
}

#[cfg(test)]
mod tests;
