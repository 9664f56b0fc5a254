//! What the messages about one node add up to.

use faultline_engine::node::{GpuDescriptor, GpuTelemetry, Health, NodeSpec};
use faultline_protocol::messages::{Heartbeat, NodeRegistration, NodeView, RunningBrief, Verdict};
use serde::Serialize;
use utoipa::ToSchema;

/// What a node reported so long ago says nothing of now: a heartbeat is due every second, and some get lost.
const HEARD_MS: u64 = 5_000;

/// All that was heard of one node.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) registration: Option<NodeRegistration>,
    /// The newest one and when it came.
    pub(super) heartbeat: Option<(Heartbeat, u64)>,
    pub(super) verdict: Option<Verdict>,
    pub(super) leader: Option<NodeView>,
    /// Its place in the index; meaningless before the index was made with it.
    pub(super) place: Option<u32>,
}

/// What a node's GPUs report together. A figure is null where none of them gives it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, ToSchema)]
pub(crate) struct Load {
    /// Mean over the GPUs that report it, 0 to 100.
    pub(crate) utilisation_percent: Option<f32>,
    /// Used memory by all memory of the GPUs that report both, 0 to 100.
    pub(crate) memory_percent: Option<f32>,
    /// Of the hottest GPU.
    pub(crate) temperature_c: Option<f32>,
    /// Of all GPUs that report it together.
    pub(crate) power_w: Option<f32>,
    /// Whether one of its GPUs has its clocks lowered.
    pub(crate) throttled: bool,
}

/// The mean of the readings that there are.
pub(super) fn mean(readings: impl Iterator<Item = f32>) -> Option<f32> {
    let (sum, count) = readings.fold((0.0_f64, 0_u32), |(sum, count), reading| (sum + f64::from(reading), count + 1));
    (count > 0).then(|| (sum / f64::from(count)) as f32)
}

impl Load {
    pub(super) fn of(gpus: &[GpuTelemetry]) -> Self {
        let memory = gpus.iter().filter_map(|gpu| gpu.memory_used_mib.zip(gpu.memory_total_mib));
        let (used, total) = memory.fold((0_u64, 0_u64), |sums, (used, total)| (sums.0 + u64::from(used), sums.1 + u64::from(total)));
        Load {
            utilisation_percent: mean(gpus.iter().filter_map(|gpu| gpu.utilisation_percent)),
            memory_percent: (total > 0).then(|| (used as f64 * 100.0 / total as f64) as f32),
            temperature_c: gpus.iter().filter_map(|gpu| gpu.temperature_c).reduce(f32::max),
            power_w: gpus.iter().filter_map(|gpu| gpu.power_w).reduce(|sum, power_w| sum + power_w),
            throttled: gpus.iter().any(|gpu| gpu.throttled == Some(true)),
        }
    }
}

impl Entry {
    /// A verdict alone makes no node: verdicts outlive nodes that were scaled away.
    pub(super) fn is_known(&self) -> bool {
        self.registration.is_some() || self.heartbeat.is_some() || self.leader.is_some()
    }

    /// The verdict on this life of the node, else what the leader says; before the first, a node counts as alive, as it
    /// does for the scheduler.
    pub(super) fn health(&self) -> Health {
        match self.verdict_on_this_life() {
            Some(verdict) => verdict.health,
            None => self.leader.as_ref().filter(|row| row.spec.incarnation >= self.incarnation()).map_or(Health::Alive, |row| row.health),
        }
    }

    pub(super) fn verdict_on_this_life(&self) -> Option<&Verdict> {
        let incarnation = self.incarnation();
        self.verdict.as_ref().filter(|verdict| verdict.incarnation >= incarnation)
    }

    pub(super) fn incarnation(&self) -> u64 {
        let registered = self.registration.as_ref().map_or(0, |registration| registration.spec.incarnation);
        self.heartbeat.as_ref().map_or(0, |(heartbeat, _)| heartbeat.incarnation).max(registered)
    }

    pub(super) fn rack(&self) -> &str {
        self.known_spec().map_or("", |spec| &spec.rack)
    }

    pub(super) fn gpus(&self) -> u32 {
        let registered = self.registration.as_ref().map(|registration| registration.spec.gpus.len());
        u32::try_from(registered.unwrap_or_else(|| self.telemetry().len())).unwrap_or(u32::MAX)
    }

    pub(super) fn telemetry(&self) -> &[GpuTelemetry] {
        self.heartbeat.as_ref().map_or(&[], |(heartbeat, _)| &heartbeat.gpus)
    }

    /// What is known of it without heartbeats.
    pub(super) fn known_spec(&self) -> Option<&NodeSpec> {
        self.registration.as_ref().map(|registration| &registration.spec).or(self.leader.as_ref().map(|row| &row.spec))
    }

    pub(super) fn worker(&self) -> &str {
        let heartbeat = self.heartbeat.as_ref().map(|(heartbeat, _)| &heartbeat.worker);
        heartbeat.or(self.known_spec().map(|spec| &spec.worker)).map_or("", String::as_str)
    }

    pub(super) fn first_gpu(&self) -> Option<&GpuDescriptor> {
        self.known_spec().and_then(|spec| spec.gpus.first())
    }

    pub(super) fn fail_percent_per_min(&self) -> f64 {
        self.known_spec().map_or(0.0, |spec| spec.fault_percent_per_min)
    }

    pub(super) fn running(&self) -> &[RunningBrief] {
        self.heartbeat.as_ref().map_or(&[], |(heartbeat, _)| &heartbeat.running)
    }

    pub(super) fn load(&self) -> Load {
        Load::of(self.telemetry())
    }

    /// Whether what it reported is of now.
    pub(super) fn is_heard(&self, now_ms: u64) -> bool {
        self.heartbeat_age_ms(now_ms).is_some_and(|age_ms| age_ms <= HEARD_MS)
    }

    pub(super) fn heartbeat_age_ms(&self, now_ms: u64) -> Option<u64> {
        self.heartbeat.as_ref().map(|(_, at_ms)| now_ms.saturating_sub(*at_ms))
    }

    pub(super) fn spec(&self, node: &str) -> NodeSpec {
        if let Some(registration) = &self.registration {
            return registration.spec.clone();
        }
        let heartbeat = self.heartbeat.as_ref().map(|(heartbeat, _)| heartbeat);
        let gpus = heartbeat.map_or(&[][..], |heartbeat| &heartbeat.gpus);
        NodeSpec {
            node: node.to_owned(),
            worker: heartbeat.map(|h| h.worker.clone()).or_else(|| self.verdict.as_ref().map(|v| v.worker.clone())).unwrap_or_default(),
            incarnation: self.incarnation(),
            gpus: gpus
                .iter()
                .map(|gpu| GpuDescriptor { model: "unknown".into(), memory_mib: gpu.memory_total_mib.unwrap_or_default() })
                .collect(),
            rack: String::new(),
            slots: 0,
            fault_percent_per_min: 0.0,
            telemetry_source: String::new(),
            gpu_problem: None,
            kinds: Default::default(),
        }
    }

    /// The node in full. What is booked on its GPUs is the leader's word, the rest comes straight from the node and the
    /// detector, so it is fresher than what the leader tells of them.
    pub(super) fn view(&self, node: &str, is_draining: bool, now_ms: u64) -> NodeView {
        let mut view = self.leader.clone().unwrap_or_else(|| NodeView {
            spec: self.spec(node),
            health: Health::Alive,
            draining: false,
            gpu_used_milli: Vec::new(),
            gpu_reserved_mib: Vec::new(),
            running: Vec::new(),
            telemetry: Vec::new(),
            heartbeat_age_ms: None,
            verdict: None,
        });
        view.health = self.health();
        view.draining = is_draining;
        view.verdict.clone_from(&self.verdict);
        if let Some((heartbeat, _)) = &self.heartbeat {
            view.running.clone_from(&heartbeat.running);
            view.telemetry.clone_from(&heartbeat.gpus);
            view.heartbeat_age_ms = self.heartbeat_age_ms(now_ms);
        }
        view
    }
}
