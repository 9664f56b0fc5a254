//! What a source of GPUs is, and why there may be none.

use faultline_engine::device::GpuLoad;
use faultline_engine::fault::GpuNews;
use faultline_engine::node::{GpuDescriptor, GpuTelemetry};
use nvml_wrapper::error::NvmlError;

use crate::dcgm::GpuIdentity;

/// The GPUs of one node.
pub trait DeviceSource: Send {
    /// What they are, in the order of their indexes.
    fn descriptors(&self) -> Vec<GpuDescriptor>;

    /// `simulated` or `nvml`, as in `NodeSpec::telemetry_source`.
    fn kind(&self) -> &'static str;

    /// Why the machine's real GPUs cannot be used, if they cannot.
    fn problem(&self) -> Option<&str> {
        None
    }

    /// What each GPU reports now, in the order of their indexes. `loads` says what runs on each (missing ones are idle); real GPUs know
    /// better and ignore it. May take some milliseconds on real GPUs. `xid` is 0 where XIDs come as news, else absent.
    fn sample(&mut self, now_ms: u64, loads: &[GpuLoad]) -> Vec<GpuTelemetry>;

    /// What happened to real GPUs since the last call, by index. A GPU that is lost is named at each call until it is back.
    fn news(&mut self) -> Vec<(u8, GpuNews)> {
        Vec::new()
    }

    /// What each GPU is called, in the order of their indexes. `node` is the name of theirs.
    fn identities(&self, node: &str) -> Vec<GpuIdentity> {
        self.descriptors().iter().enumerate().map(|(gpu, descriptor)| GpuIdentity::simulated(node, gpu, &descriptor.model)).collect()
    }

    /// How many times longer the attempts on this GPU shall take since the last sample; 1 where real GPUs are slow by themselves.
    fn slowdown(&self, gpu: usize) -> f64;

    /// Lets a simulated GPU lose its heat sink, or get it back. Does nothing to a real one.
    fn set_cooled(&mut self, _gpu: usize, _cooled: bool) {}
}

/// Why a node has no devices.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("NVML failed: {error}; {}", remedy(.error))]
    Nvml {
        #[from]
        error: NvmlError,
    },
    #[error("NVML found no GPU; check `nvidia-smi`, or set telemetry to `simulated`")]
    NoGpu,
    #[error("invalid telemetry; use auto, nvml or simulated")]
    UnknownMode,
}

fn remedy(error: &NvmlError) -> &'static str {
    match error {
        NvmlError::LibRmVersionMismatch => "reload the NVIDIA kernel module or reboot, so that driver and library have one version",
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => "install NVIDIA's driver, or set telemetry to `simulated`",
        NvmlError::DriverNotLoaded => "load the NVIDIA kernel module (`modprobe nvidia`), or set telemetry to `simulated`",
        NvmlError::NoPermission => "let this user open /dev/nvidia*, or set telemetry to `simulated`",
        _ => "check `nvidia-smi` and the kernel's log, or set telemetry to `simulated`",
    }
}

impl TelemetryError {
    /// Whether it says that the machine has no real GPU to read, as opposed to one that cannot be read. `has_gpu`: whether the PCI bus
    /// shows one. Without NVIDIA's library the GPU has never been used for computing here: a laptop with the free driver is such a machine.
    pub(super) fn means_nothing_real(&self, has_gpu: bool) -> bool {
        match self {
            Self::Nvml { error: NvmlError::LibloadingError(error) } => is_missing_library(&error.to_string()),
            Self::Nvml { error: NvmlError::LibraryNotFound } => true,
            Self::Nvml { error: NvmlError::DriverNotLoaded } | Self::NoGpu => !has_gpu,
            Self::Nvml { .. } | Self::UnknownMode => false,
        }
    }
}

/// The dynamic linker tells a missing library from one that it cannot load by its words only.
pub(super) fn is_missing_library(error: &str) -> bool {
    error.contains("No such file") || !cfg!(target_os = "linux")
}
