//! Where a node's GPUs and their telemetry come from: a real machine through NVML, or the simulated devices of the engine, behind
//! one trait. When to sample, and what to do with the figures, is the agent's business.

use std::fmt;
use std::str::FromStr;

use faultline_engine::device::{GpuDevice, GpuLoad, default_node};
use faultline_engine::node::{GpuDescriptor, GpuTelemetry};
use serde::{Deserialize, Serialize};

use crate::dcgm::GpuIdentity;

mod nvml;

pub use nvml::NvmlDevices;

/// The GPUs of one node.
pub trait DeviceSource: Send {
    /// What they are, in the order of their indexes.
    fn descriptors(&self) -> Vec<GpuDescriptor>;

    /// `simulated` or `nvml`, as in `NodeSpec::telemetry`.
    fn kind(&self) -> &'static str;

    /// What each GPU reports now, in the order of their indexes. `loads` says what runs on each (missing ones are idle); real GPUs know
    /// better and ignore it. May take some milliseconds on real GPUs.
    fn sample(&mut self, now_ms: u64, loads: &[GpuLoad]) -> Vec<GpuTelemetry>;

    /// What each GPU is called, in the order of their indexes. `node` is the name of theirs.
    fn identities(&self, node: &str) -> Vec<GpuIdentity> {
        self.descriptors().iter().enumerate().map(|(gpu, descriptor)| GpuIdentity::simulated(node, gpu, &descriptor.model)).collect()
    }

    /// How many times longer the attempts on this GPU shall take since the last sample; 1 where real GPUs are slow by themselves.
    fn slowdown(&self, gpu: usize) -> f64;

    /// Lets a simulated GPU lose its heat sink, or get it back. Nobody takes that of a real one.
    fn set_cooled(&mut self, _gpu: usize, _cooled: bool) {}
}

/// The GPUs that a default node would have, simulated.
#[derive(Debug, Clone)]
pub struct SimulatedDevices {
    devices: Vec<GpuDevice>,
}

impl SimulatedDevices {
    /// Those of the node number `node_index`, counted from 1.
    pub fn of_default_node(node_index: usize) -> Self {
        Self { devices: default_node(node_index).devices() }
    }
}

impl DeviceSource for SimulatedDevices {
    fn descriptors(&self) -> Vec<GpuDescriptor> {
        let describe = |device: &GpuDevice| GpuDescriptor { model: device.model().name.to_owned(), memory_mib: device.model().memory_mib };
        self.devices.iter().map(describe).collect()
    }

    fn kind(&self) -> &'static str {
        "simulated"
    }

    fn sample(&mut self, now_ms: u64, loads: &[GpuLoad]) -> Vec<GpuTelemetry> {
        let loads = loads.iter().copied().chain(std::iter::repeat(GpuLoad::default()));
        self.devices.iter_mut().zip(loads).map(|(device, load)| device.step(now_ms, load)).collect()
    }

    fn slowdown(&self, gpu: usize) -> f64 {
        self.devices.get(gpu).map_or(1.0, GpuDevice::slowdown_factor)
    }

    fn set_cooled(&mut self, gpu: usize, cooled: bool) {
        if let Some(device) = self.devices.get_mut(gpu) {
            device.set_cooled(cooled);
        }
    }
}

/// Which GPUs a worker uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TelemetryMode {
    /// The real ones for the first node of the host, if there are any; else simulated ones.
    #[default]
    Auto,
    /// The real ones, or an error.
    Nvml,
    Simulated,
}

impl fmt::Display for TelemetryMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TelemetryMode::Auto => "auto",
            TelemetryMode::Nvml => "nvml",
            TelemetryMode::Simulated => "simulated",
        })
    }
}

impl FromStr for TelemetryMode {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        match text {
            "auto" => Ok(Self::Auto),
            "nvml" => Ok(Self::Nvml),
            "simulated" => Ok(Self::Simulated),
            _ => Err(TelemetryError::UnknownMode),
        }
    }
}

/// Why a node has no devices.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("NVML cannot be used: {0}. Install NVIDIA's driver, or use simulated devices")]
    Nvml(#[from] nvml_wrapper::error::NvmlError),
    #[error("NVML answers, but there is no GPU: use simulated devices")]
    NoGpu,
    #[error("telemetry: use auto, nvml or simulated")]
    UnknownMode,
}

/// The GPUs of the node number `node_index` (counted from 1) of this host. In `auto` only number 1 takes the real ones: a machine is
/// one node, and its GPUs must not be counted twice.
pub fn open_devices(mode: TelemetryMode, node_index: usize) -> Result<Box<dyn DeviceSource>, TelemetryError> {
    let simulated = || Box::new(SimulatedDevices::of_default_node(node_index));
    match mode {
        TelemetryMode::Simulated => Ok(simulated()),
        TelemetryMode::Nvml => Ok(Box::new(NvmlDevices::open()?)),
        TelemetryMode::Auto if node_index != 1 => Ok(simulated()),
        TelemetryMode::Auto => match NvmlDevices::open() {
            Ok(devices) => Ok(Box::new(devices)),
            Err(error) => {
                tracing::debug!(%error, "no real GPUs, simulating them");
                Ok(simulated())
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_devices_report_their_loads() {
        let mut devices = open_devices(TelemetryMode::Simulated, 1).unwrap();
        assert_eq!((devices.kind(), devices.descriptors().len()), ("simulated", 8));
        devices.sample(0, &[]);
        let busy = GpuLoad { utilisation: 1.0, memory_used_mib: 100, memory_intensity: 0.5 };
        let reports = devices.sample(60_000, &[busy]);
        assert_eq!((reports.len(), reports[0].utilisation_percent, reports[0].memory_used_mib), (8, 100.0, 100));
        assert!(reports[1].utilisation_percent == 0.0 && reports[1].power_w == 70.0);
        assert!(reports[0].temperature_c > reports[1].temperature_c);
        assert_eq!((devices.slowdown(0), devices.slowdown(99)), (1.0, 1.0));
    }

    #[test]
    fn auto_takes_real_gpus_for_the_first_node_only() {
        let expected = if NvmlDevices::open().is_ok() { "nvml" } else { "simulated" };
        assert_eq!(open_devices(TelemetryMode::Auto, 1).unwrap().kind(), expected);
        assert_eq!(open_devices(TelemetryMode::Auto, 2).unwrap().kind(), "simulated");
    }

    #[test]
    fn nvml_gives_gpus_or_a_clear_error() {
        match open_devices(TelemetryMode::Nvml, 1) {
            Ok(mut devices) => {
                let reports = devices.sample(0, &[]);
                assert_eq!(reports.len(), devices.descriptors().len());
                assert!(reports.iter().all(|report| report.memory_total_mib > 0));
            }
            Err(error) => assert!(error.to_string().contains("simulated devices"), "{error}"),
        }
    }

    #[test]
    fn modes_round_trip_as_text() {
        for mode in [TelemetryMode::Auto, TelemetryMode::Nvml, TelemetryMode::Simulated] {
            assert_eq!(mode.to_string().parse::<TelemetryMode>().unwrap(), mode);
        }
        assert!("real".parse::<TelemetryMode>().is_err());
    }
}
