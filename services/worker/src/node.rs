//! One hosted node: its condition, its devices, its faults and the attempts on it. Decides; the worker's loop sends.

use std::collections::BTreeMap;
use std::sync::Arc;

use faultline_engine::device::{GpuLoad, hazard_factor};
use faultline_engine::fault::{AttemptEnd, Fault, FaultInjector, FaultKind, FaultTransition, FaultTruth, Order, Toll};
use faultline_engine::job::{Assignment, AttemptId, GPU_MILLI, RunningAttempt};
use faultline_engine::node::{GpuTelemetry, NodeSpec};
use faultline_protocol::messages::{FaultOrder, FaultOrderKind, Heartbeat, NodeSync, RunningBrief};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::attempt::Interruption;
use crate::executor::{NodeConditions, Progress};
use crate::telemetry::DeviceSource;

/// An attempt that runs here.
pub(crate) struct LocalAttempt {
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) started_at_ms: u64,
    pub(crate) progress: Progress,
    pub(crate) stop: CancellationToken,
    pub(crate) interruption: Arc<Interruption>,
    /// Set once the attempt's task runs.
    pub(crate) task: Option<AbortHandle>,
}

/// Why an assignment is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The node is down: it says nothing, as a dead machine would.
    Down,
    /// The same attempt runs already.
    Duplicate,
    /// It was meant for a former life of the node.
    OtherIncarnation,
    /// Its GPUs are taken, or not there.
    NoRoom,
    /// One of its GPUs must not be used until it has been reset.
    OutOfService,
    Leaving,
}

impl Refusal {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Refusal::Down => "the node is down",
            Refusal::Duplicate => "it runs already",
            Refusal::OtherIncarnation => "it was meant for another incarnation",
            Refusal::NoRoom => "its GPUs are taken",
            Refusal::OutOfService => "a GPU is out of service",
            Refusal::Leaving => "the worker is stopping",
        }
    }
}

pub(crate) struct HostedNode {
    pub(crate) spec: NodeSpec,
    pub(crate) conditions: Arc<NodeConditions>,
    pub(crate) attempts: BTreeMap<AttemptId, LocalAttempt>,
    devices: Box<dyn DeviceSource>,
    injector: FaultInjector,
    telemetry: Vec<GpuTelemetry>,
    booked_milli: Vec<u32>,
    /// The last XID of each GPU since its reset; 0 for none.
    last_xid: Vec<u32>,
    is_down: bool,
    is_mute: bool,
    pub(crate) leaving: bool,
    heartbeat_seq: u64,
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

impl HostedNode {
    pub(crate) fn new(spec: NodeSpec, devices: Box<dyn DeviceSource>, injector: FaultInjector) -> Self {
        let gpus = spec.gpus.len();
        Self {
            conditions: Arc::new(NodeConditions::new(gpus)),
            attempts: BTreeMap::new(),
            devices,
            injector,
            telemetry: vec![GpuTelemetry::default(); gpus],
            booked_milli: vec![0; gpus],
            last_xid: vec![0; gpus],
            is_down: false,
            is_mute: false,
            leaving: false,
            heartbeat_seq: 0,
            spec,
        }
    }

    /// Whether an assignment can start here.
    pub(crate) fn check(&self, assignment: &Assignment) -> Result<(), Refusal> {
        if self.is_down || self.conditions.is_cut_off() {
            return Err(Refusal::Down);
        }
        if self.attempts.contains_key(&assignment.attempt) {
            return Err(Refusal::Duplicate);
        }
        if assignment.incarnation != self.spec.incarnation {
            return Err(Refusal::OtherIncarnation);
        }
        if self.leaving {
            return Err(Refusal::Leaving);
        }
        let share = assignment.spec.demand.milli_per_gpu();
        let fits = |gpu: &u8| self.booked_milli.get(usize::from(*gpu)).is_some_and(|booked| booked + share <= GPU_MILLI);
        if !assignment.gpus.iter().all(fits) {
            return Err(Refusal::NoRoom);
        }
        if assignment.gpus.iter().any(|gpu| self.is_out_of_service(*gpu)) { Err(Refusal::OutOfService) } else { Ok(()) }
    }

    fn is_out_of_service(&self, gpu: u8) -> bool {
        self.injector.active().any(|fault| fault.gpu == Some(gpu) && fault.kind.takes_gpu_out())
    }

    pub(crate) fn start(&mut self, attempt: LocalAttempt) {
        for gpu in &attempt.assignment.gpus {
            self.booked_milli[usize::from(*gpu)] += attempt.assignment.spec.demand.milli_per_gpu();
        }
        self.attempts.insert(attempt.assignment.attempt, attempt);
    }

    /// Forgets an attempt; `None` when it is not here (any more).
    pub(crate) fn finish(&mut self, attempt: AttemptId) -> Option<LocalAttempt> {
        let local = self.attempts.remove(&attempt)?;
        for gpu in &local.assignment.gpus {
            self.booked_milli[usize::from(*gpu)] -= local.assignment.spec.demand.milli_per_gpu();
        }
        Some(local)
    }

    /// Stops all attempts without a word to anybody, and returns them.
    pub(crate) fn drop_attempts(&mut self) -> Vec<LocalAttempt> {
        let dropped: Vec<LocalAttempt> = std::mem::take(&mut self.attempts).into_values().collect();
        for attempt in &dropped {
            attempt.stop.cancel();
            if let Some(task) = &attempt.task {
                task.abort();
            }
        }
        self.booked_milli.fill(0);
        dropped
    }

    /// The next heartbeat; none while the node is down or its heartbeats are lost.
    pub(crate) fn heartbeat(&mut self, now_ms: u64) -> Option<Heartbeat> {
        if !self.answers() || self.is_mute {
            return None;
        }
        self.heartbeat_seq += 1;
        Some(Heartbeat {
            node: self.spec.node.clone(),
            worker: self.spec.worker.clone(),
            incarnation: self.spec.incarnation,
            seq: self.heartbeat_seq,
            sent_at_ms: now_ms,
            running: self
                .attempts
                .iter()
                .map(|(attempt, local)| RunningBrief {
                    attempt: *attempt,
                    job: local.assignment.spec.id,
                    progress_permille: local.progress.permille(),
                    epoch: local.assignment.epoch,
                })
                .collect(),
            gpus: self.telemetry.clone(),
            leaving: self.leaving,
        })
    }

    /// Whether the node answers when it is asked. One whose heartbeats are lost does: that is how it is told from one that is down.
    pub(crate) fn answers(&self) -> bool {
        !self.is_down && !self.conditions.is_cut_off()
    }

    pub(crate) fn is_down(&self) -> bool {
        self.is_down
    }

    pub(crate) fn sync(&self) -> NodeSync {
        let running = self
            .attempts
            .values()
            .map(|local| RunningAttempt { assignment: (*local.assignment).clone(), started_at_ms: local.started_at_ms })
            .collect();
        NodeSync { node: self.spec.node.clone(), incarnation: self.spec.incarnation, running }
    }

    /// Reads the devices under the load of what runs, and lets throttled GPUs slow their attempts.
    pub(crate) fn sample(&mut self, now_ms: u64) {
        let mut loads = vec![GpuLoad::default(); self.spec.gpus.len()];
        if !self.is_down && !self.conditions.is_hung() {
            for local in self.attempts.values() {
                let demand = &local.assignment.spec.demand;
                let share = f64::from(demand.milli_per_gpu()) / f64::from(GPU_MILLI);
                let (work, memory) = intensity(local.assignment.spec.class());
                for gpu in &local.assignment.gpus {
                    let load = &mut loads[usize::from(*gpu)];
                    load.utilisation = (load.utilisation + share * work).min(1.0);
                    load.memory_intensity = (load.memory_intensity + share * memory).min(1.0);
                    load.memory_used_mib += demand.gpu_memory_mib;
                }
            }
        }
        self.telemetry = self.devices.sample(now_ms, &loads);
        for gpu in 0..self.spec.gpus.len() {
            self.conditions.set_gpu_slowdown(gpu, self.devices.slowdown(gpu));
        }
        for (telemetry, xid) in self.telemetry.iter_mut().zip(&self.last_xid) {
            telemetry.xid = *xid;
        }
        for fault in self.injector.active() {
            let Some(telemetry) = fault.gpu.and_then(|gpu| self.telemetry.get_mut(usize::from(gpu))) else { continue };
            if fault.kind == FaultKind::Xid79 {
                // Nobody can ask it any more.
                *telemetry = GpuTelemetry { memory_total_mib: telemetry.memory_total_mib, xid: telemetry.xid, ..GpuTelemetry::default() };
            }
            telemetry.out_of_service |= fault.kind.takes_gpu_out();
        }
    }

    /// Lets time work on the node: heat makes faults likelier.
    pub(crate) fn age(&mut self, now_ms: u64) -> Vec<FaultNews> {
        let hottest = self.telemetry.iter().map(|gpu| f64::from(gpu.temperature_c)).fold(0.0, f64::max);
        let transitions = self.injector.tick(now_ms, hazard_factor(hottest));
        self.apply(transitions)
    }

    /// Breaks or mends the node on an operator's order.
    pub(crate) fn order(&mut self, order: &FaultOrder, now_ms: u64) -> Vec<FaultNews> {
        let transitions = match order.kind {
            FaultOrderKind::Break(kind) => {
                let gpu = order.gpu.unwrap_or_else(|| self.worst_hit_by(kind));
                self.injector.order(Order { kind, gpu, for_ms: order.for_ms, factor: order.factor }, now_ms)
            }
            FaultOrderKind::Restore => self.injector.restore(order.gpu, now_ms),
        };
        self.apply(transitions)
    }

    fn apply(&mut self, transitions: Vec<FaultTransition>) -> Vec<FaultNews> {
        let apply_one = |transition| match transition {
            FaultTransition::Began(fault) => self.begin(&fault),
            FaultTransition::Ended { fault, at_ms } => self.end(&fault, at_ms),
        };
        transitions.into_iter().map(apply_one).collect()
    }

    /// The GPU on which this kind would end the most attempts; of equals, the one that works most.
    fn worst_hit_by(&self, kind: FaultKind) -> u8 {
        let gpus = 0..u8::try_from(self.spec.gpus.len()).unwrap_or(u8::MAX);
        let harm = |gpu: &u8| (self.victims(kind, *gpu).len(), self.booked_milli[usize::from(*gpu)]);
        gpus.rev().max_by_key(harm).unwrap_or_default()
    }

    fn victims(&self, kind: FaultKind, gpu: u8) -> Vec<(AttemptId, AttemptEnd)> {
        kind.toll().victims(gpu, self.attempts.iter().map(|(attempt, local)| (*attempt, local.assignment.gpus.as_slice())))
    }

    fn begin(&mut self, fault: &Fault) -> FaultNews {
        let mut detail = fault.kind.to_string();
        if let Some(gpu) = fault.gpu {
            detail.push_str(&format!(" on GPU {gpu}"));
            detail.push_str(&self.break_gpu(fault.kind, gpu));
        }
        if !fault.kind.is_momentary() {
            detail.push_str(&format!(" for {:.1} s", (fault.until_ms - fault.from_ms) as f64 / 1000.0));
        }
        match fault.kind {
            FaultKind::Crash => {
                self.is_down = true;
                let dropped = self.drop_attempts().len();
                detail.push_str(&format!(", {dropped} attempts dropped"));
            }
            FaultKind::Slow => detail.push_str(&format!(", {:.1} times slower", fault.factor)),
            _ => {}
        }
        if let Some(domain) = fault.domain {
            detail.push_str(&format!(", because {domain} failed"));
        }
        self.set_condition(fault, true);
        self.news(fault, true, detail, fault.until_ms)
    }

    fn end(&mut self, fault: &Fault, at_ms: u64) -> FaultNews {
        self.set_condition(fault, false);
        if fault.kind == FaultKind::Crash {
            self.is_down = false;
            self.spec.incarnation += 1;
            self.heartbeat_seq = 0;
            self.last_xid.fill(0);
        }
        // What takes a GPU out of service ends with its reset.
        if let Some(gpu) = fault.gpu
            && fault.kind.takes_gpu_out()
        {
            self.last_xid[usize::from(gpu)] = 0;
        }
        let verb = if fault.kind.is_momentary() { "over" } else { "repaired" };
        self.news(fault, false, format!("{} {verb}", fault.kind), at_ms)
    }

    fn news(&self, fault: &Fault, began: bool, detail: String, until_ms: u64) -> FaultNews {
        FaultNews {
            began,
            detail,
            truth: fault.truth(&self.spec.node, until_ms),
            reborn: !began && fault.kind == FaultKind::Crash,
            changes_service: fault.kind.takes_gpu_out(),
        }
    }

    /// What lasts as long as the fault.
    fn set_condition(&mut self, fault: &Fault, is_broken: bool) {
        let gpu = fault.gpu.map_or(0, usize::from);
        match fault.kind {
            FaultKind::Hang => self.conditions.set_hung(is_broken),
            FaultKind::HeartbeatLoss => self.is_mute = is_broken,
            FaultKind::Slow => self.conditions.set_slow_factor(if is_broken { fault.factor } else { 1.0 }),
            FaultKind::Zombie => self.conditions.set_cut_off(is_broken),
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
    fn break_gpu(&mut self, kind: FaultKind, gpu: u8) -> String {
        let victims = self.victims(kind, gpu);
        if let Some(xid) = kind.xid() {
            self.last_xid[usize::from(gpu)] = xid;
        }
        for (attempt, end) in &victims {
            if let Some(local) = self.attempts.get(attempt) {
                // Whatever else has ended it before comes first.
                let _ = local.interruption.set((*end, format!("{kind} on GPU {gpu} of {}", self.spec.node)));
            }
        }
        if kind.toll() == Toll::None { String::new() } else { format!(", {} attempts hit", victims.len()) }
    }
}

#[cfg(test)]
mod tests;
