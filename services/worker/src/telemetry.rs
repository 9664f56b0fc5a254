//! Where a node's GPUs and their telemetry come from: a real machine through NVML, or the simulated devices of the engine, behind
//! one trait. When to sample, and what to do with the figures, is the agent's business.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use faultline_engine::device::{GpuDevice, GpuLoad, default_node};
use faultline_engine::node::{GpuDescriptor, GpuTelemetry};
use serde::{Deserialize, Serialize};

mod blind;
mod nvml;
mod source;

pub use blind::BlindDevices;
pub use nvml::NvmlDevices;
pub use source::{DeviceSource, TelemetryError};

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

/// Whether the PCI bus shows a display or compute device of NVIDIA's, whatever its driver. `devices` is `/sys/bus/pci/devices`.
fn has_nvidia_gpu(devices: &Path) -> bool {
    // https://pci-ids.ucw.cz: vendor 10de is NVIDIA, class 03 is a display controller, 3D controllers among them.
    let reads = |file: &Path, prefix: &str| std::fs::read_to_string(file).is_ok_and(|text| text.trim().starts_with(prefix));
    let is_gpu = |device: &Path| reads(&device.join("vendor"), "0x10de") && reads(&device.join("class"), "0x03");
    std::fs::read_dir(devices).is_ok_and(|entries| entries.flatten().any(|entry| is_gpu(&entry.path())))
}

/// The GPUs of the node number `node_index` (counted from 1) of this host. In `auto` only number 1 takes the real ones: a machine is
/// one node, and its GPUs must not be counted twice. Where there are real ones that cannot be used it has none, and says why.
pub fn open_devices(mode: TelemetryMode, node_index: usize) -> Result<Box<dyn DeviceSource>, TelemetryError> {
    match mode {
        TelemetryMode::Nvml => Ok(Box::new(NvmlDevices::open()?)),
        TelemetryMode::Auto if node_index == 1 => {
            Ok(chosen(NvmlDevices::open(), has_nvidia_gpu(Path::new("/sys/bus/pci/devices")), node_index))
        }
        TelemetryMode::Auto | TelemetryMode::Simulated => Ok(Box::new(SimulatedDevices::of_default_node(node_index))),
    }
}

fn chosen(real: Result<NvmlDevices, TelemetryError>, has_gpu: bool, node_index: usize) -> Box<dyn DeviceSource> {
    match real {
        Ok(devices) => Box::new(devices),
        Err(error) if error.means_nothing_real(has_gpu) => {
            if has_gpu {
                tracing::warn!(%error, "this machine has an NVIDIA GPU without NVIDIA's driver library: simulating GPUs");
            } else {
                tracing::debug!(%error, "no real GPUs: simulating them");
            }
            Box::new(SimulatedDevices::of_default_node(node_index))
        }
        Err(error) => {
            tracing::error!(%error, "the real GPUs of this machine cannot be used: its node takes no jobs that need a GPU");
            Box::new(BlindDevices::new(error.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use nvml_wrapper::error::NvmlError;

    use super::source::is_missing_library;
    use super::*;

    #[test]
    fn simulated_devices_report_their_loads() {
        let mut devices = open_devices(TelemetryMode::Simulated, 1).unwrap();
        assert_eq!((devices.kind(), devices.descriptors().len()), ("simulated", 8));
        devices.sample(0, &[]);
        let busy = GpuLoad { utilisation: 1.0, memory_used_mib: 100, memory_intensity: 0.5 };
        let reports = devices.sample(60_000, &[busy]);
        assert_eq!((reports.len(), reports[0].utilisation_percent, reports[0].memory_used_mib), (8, Some(100.0), Some(100)));
        assert_eq!((reports[1].utilisation_percent, reports[1].power_w), (Some(0.0), Some(70.0)));
        assert!(reports[0].temperature_c > reports[1].temperature_c);
        assert_eq!((devices.slowdown(0), devices.slowdown(99)), (1.0, 1.0));
    }

    #[test]
    fn auto_takes_real_gpus_for_the_first_node_only() {
        assert_eq!(open_devices(TelemetryMode::Auto, 2).unwrap().kind(), "simulated");
    }

    #[test]
    fn gpus_are_simulated_only_where_there_is_nothing_real() {
        let nvml = |error| TelemetryError::Nvml { error };
        let library = |words: &str| words.to_owned();
        assert!(is_missing_library(&library("libnvidia-ml.so.1: cannot open shared object file: No such file or directory")));
        assert!(!is_missing_library(&library("libnvidia-ml.so.1: invalid ELF header")));
        for (error, without_gpu, with_gpu) in [
            (nvml(NvmlError::LibraryNotFound), true, true),
            (nvml(NvmlError::DriverNotLoaded), true, false),
            (TelemetryError::NoGpu, true, false),
            (nvml(NvmlError::LibRmVersionMismatch), false, false),
            (nvml(NvmlError::NoPermission), false, false),
            (nvml(NvmlError::GpuLost), false, false),
            (nvml(NvmlError::FailedToLoadSymbol("nvmlInit_v2".into())), false, false),
            (nvml(NvmlError::Unknown), false, false),
        ] {
            let words = error.to_string();
            assert_eq!((error.means_nothing_real(false), error.means_nothing_real(true)), (without_gpu, with_gpu), "{words}");
            let devices = chosen(Err(error), true, 1);
            if with_gpu {
                assert_eq!((devices.kind(), devices.problem()), ("simulated", None), "{words}");
            } else {
                assert_eq!((devices.descriptors().len(), devices.problem()), (0, Some(words.as_str())));
            }
        }
    }

    #[test]
    fn a_gpu_is_found_on_the_pci_bus_by_vendor_and_class() {
        let bus = tempfile::tempdir().unwrap();
        let device = |name: &str, vendor: &str, class: &str| {
            let folder = bus.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("vendor"), vendor).unwrap();
            std::fs::write(folder.join("class"), class).unwrap();
        };
        device("0000:00:02.0", "0x8086\n", "0x030000\n");
        device("0000:01:00.1", "0x10de\n", "0x040300\n");
        assert!(!has_nvidia_gpu(bus.path()), "another maker's GPU and NVIDIA's sound");
        device("0000:01:00.0", "0x10de\n", "0x030200\n");
        assert!(has_nvidia_gpu(bus.path()));
        assert!(!has_nvidia_gpu(&bus.path().join("none")));
    }

    #[test]
    fn nvml_gives_gpus_or_a_clear_error() {
        match open_devices(TelemetryMode::Nvml, 1) {
            Ok(mut devices) => {
                let reports = devices.sample(0, &[]);
                assert_eq!(reports.len(), devices.descriptors().len());
            }
            Err(error) => assert!(error.to_string().contains("`simulated`"), "{error}"),
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
