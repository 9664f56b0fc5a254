//! One hosted node: its condition, its devices, its faults and the attempts on it. Decides; the worker's loop sends.

use std::collections::BTreeMap;
use std::sync::Arc;

use faultline_engine::device::{GpuLoad, hazard_factor};
use faultline_engine::fault::{FaultInjector, FaultKind, FaultTransition};
use faultline_engine::job::{Assignment, AttemptId, GPU_MILLI, RunningAttempt};
use faultline_engine::node::{GpuTelemetry, NodeSpec};
use faultline_protocol::messages::{FaultOrder, FaultOrderKind, Heartbeat, NodeSync, RunningBrief};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::executor::{NodeConditions, Progress};
use crate::telemetry::DeviceSource;

/// An attempt that runs here.
pub(crate) struct LocalAttempt {
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) started_at_ms: u64,
    pub(crate) progress: Progress,
    pub(crate) stop: CancellationToken,
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
    Leaving,
}

impl Refusal {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Refusal::Down => "the node is down",
            Refusal::Duplicate => "it runs already",
            Refusal::OtherIncarnation => "it was meant for another incarnation",
            Refusal::NoRoom => "its GPUs are taken",
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
    is_down: bool,
    is_mute: bool,
    pub(crate) leaving: bool,
    heartbeat_seq: u64,
}

/// What a tick of the fault injector did to the node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FaultNews {
    pub(crate) began: bool,
    pub(crate) detail: String,
    /// The node came back: it must register under its new incarnation.
    pub(crate) reborn: bool,
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
            is_down: false,
            is_mute: false,
            leaving: false,
            heartbeat_seq: 0,
            spec,
        }
    }

    /// Whether an assignment can start here.
    pub(crate) fn check(&self, assignment: &Assignment) -> Result<(), Refusal> {
        if self.is_down {
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
        if assignment.gpus.iter().all(fits) { Ok(()) } else { Err(Refusal::NoRoom) }
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
        if self.is_down || self.is_mute {
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
        !self.is_down
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
    }

    /// Lets time work on the node: heat makes faults likelier.
    pub(crate) fn age(&mut self, now_ms: u64) -> Vec<FaultNews> {
        let hottest = self.telemetry.iter().map(|gpu| f64::from(gpu.temperature_c)).fold(0.0, f64::max);
        let transitions = self.injector.tick(now_ms, hazard_factor(hottest));
        self.apply(transitions, now_ms)
    }

    /// Breaks or mends the node on an operator's order.
    pub(crate) fn order(&mut self, order: &FaultOrder, now_ms: u64) -> Vec<FaultNews> {
        let kind = match order.kind {
            FaultOrderKind::Crash => FaultKind::Crash,
            FaultOrderKind::Hang => FaultKind::Hang,
            FaultOrderKind::HeartbeatLoss => FaultKind::HeartbeatLoss,
            FaultOrderKind::Slow => FaultKind::Slow,
            FaultOrderKind::Restore => {
                let transitions = self.injector.restore(now_ms);
                return self.apply(transitions, now_ms);
            }
        };
        let transitions = self.injector.order(kind, now_ms, order.for_ms, order.factor);
        self.apply(transitions, now_ms)
    }

    fn apply(&mut self, transitions: Vec<FaultTransition>, now_ms: u64) -> Vec<FaultNews> {
        transitions.into_iter().map(|transition| self.apply_one(transition, now_ms)).collect()
    }

    fn apply_one(&mut self, transition: FaultTransition, now_ms: u64) -> FaultNews {
        match transition {
            FaultTransition::Began { kind, until_ms, factor } => {
                let for_s = until_ms.saturating_sub(now_ms) as f64 / 1000.0;
                let mut detail = format!("{} for {for_s:.1} s", kind.as_str());
                match kind {
                    FaultKind::Crash => {
                        self.is_down = true;
                        let dropped = self.drop_attempts().len();
                        detail.push_str(&format!(", {dropped} attempts dropped"));
                    }
                    FaultKind::Hang => self.conditions.set_hung(true),
                    FaultKind::HeartbeatLoss => self.is_mute = true,
                    FaultKind::Slow => {
                        self.conditions.set_slow_factor(factor);
                        detail.push_str(&format!(", {factor:.1} times slower"));
                    }
                }
                FaultNews { began: true, detail, reborn: false }
            }
            FaultTransition::Ended { kind } => {
                let reborn = kind == FaultKind::Crash;
                match kind {
                    FaultKind::Crash => {
                        self.is_down = false;
                        self.spec.incarnation += 1;
                        self.heartbeat_seq = 0;
                    }
                    FaultKind::Hang => self.conditions.set_hung(false),
                    FaultKind::HeartbeatLoss => self.is_mute = false,
                    FaultKind::Slow => self.conditions.set_slow_factor(1.0),
                }
                FaultNews { began: false, detail: format!("{} repaired", kind.as_str()), reborn }
            }
        }
    }
}
