//! A machine whose real GPUs cannot be read. Its node has no GPU, so that no job is placed on GPUs that cannot be read.

use faultline_engine::device::GpuLoad;
use faultline_engine::node::{GpuDescriptor, GpuTelemetry};

use super::DeviceSource;

/// No GPUs, and the reason.
#[derive(Debug, Clone)]
pub struct BlindDevices {
    problem: String,
}

impl BlindDevices {
    /// `problem` says what failed, why, and what to do.
    pub fn new(problem: String) -> Self {
        Self { problem }
    }
}

impl DeviceSource for BlindDevices {
    fn descriptors(&self) -> Vec<GpuDescriptor> {
        Vec::new()
    }

    fn kind(&self) -> &'static str {
        "nvml"
    }

    fn problem(&self) -> Option<&str> {
        Some(&self.problem)
    }

    fn sample(&mut self, _now_ms: u64, _loads: &[GpuLoad]) -> Vec<GpuTelemetry> {
        Vec::new()
    }

    fn slowdown(&self, _gpu: usize) -> f64 {
        1.0
    }
}
