//! Real GPUs, read through NVIDIA's NVML. Nothing is ever set. The library is opened when a worker starts, not when it is linked, so
//! that one binary runs with and without it. Each reading stands for itself: what a board does not give is absent and hides nothing else.

use std::path::Path;

use faultline_engine::device::{CATALOGUE, GpuLoad};
use faultline_engine::fault::GpuNews;
use faultline_engine::node::{GpuDescriptor, GpuTelemetry};
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::event::EventSet;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::NVML_FI_DEV_MEMORY_TEMP;
use nvml_wrapper::{Device, Nvml};

use crate::dcgm::GpuIdentity;

use super::{DeviceSource, TelemetryError};

const BYTES_PER_MIB: u64 = 1 << 20;
/// Boards report up to a tenth less than their data sheet says: ECC and the driver take their part.
const MEMORY_TOLERANCE: f64 = 0.12;
/// XIDs of one GPU taken in one call: a storm of them must not hold up the heartbeats.
const MAX_XIDS: usize = 64;

/// One GPU that NVML shows.
struct Gpu {
    /// None if it could not be opened.
    device: Option<Device<'static>>,
    descriptor: GpuDescriptor,
    identity: GpuIdentity,
    /// None where the driver does not report XIDs, as of virtual GPUs.
    xids: Option<EventSet<'static>>,
    is_lost: bool,
    /// The energy counter at the last reading: it starts anew when the GPU is reset.
    energy_mj: Option<u64>,
}

/// All GPUs that NVML shows.
pub struct NvmlDevices {
    gpus: Vec<Gpu>,
    came_back: Vec<u8>,
}

impl NvmlDevices {
    /// Fails without the library, without the driver, and without a GPU. A GPU that alone cannot be read is out of service.
    pub fn open() -> Result<Self, TelemetryError> {
        Self::with(Nvml::init()?)
    }

    /// The same with the library in this file.
    pub fn open_library(path: &Path) -> Result<Self, TelemetryError> {
        Self::with(Nvml::builder().lib_path(path.as_os_str()).init()?)
    }

    fn with(nvml: Nvml) -> Result<Self, TelemetryError> {
        // The devices of a process are opened once and used until it ends.
        let nvml: &'static Nvml = Box::leak(Box::new(nvml));
        let count = nvml.device_count()?;
        // NVML counts the GPUs that a container's control group keeps from this process, too: those are not this node's.
        let ours = (0..count)
            .map(|index| (index, nvml.device_by_index(index)))
            .filter(|(_, device)| !matches!(device, Err(NvmlError::NoPermission)));
        let gpus: Vec<Gpu> = ours.map(|(index, device)| Gpu::new(nvml, index, device)).collect();
        match (gpus.is_empty(), count) {
            (true, 0) => Err(TelemetryError::NoGpu),
            (true, _) => Err(NvmlError::NoPermission.into()),
            (false, _) => Ok(Self { gpus, came_back: Vec::new() }),
        }
    }
}

/// XIDs arrive as events. One set for each GPU: a refused registration takes its set with it.
fn listen_for_xids(nvml: &'static Nvml, device: &Device<'static>) -> Result<EventSet<'static>, NvmlError> {
    if !device.supported_event_types()?.contains(EventTypes::CRITICAL_XID_ERROR) {
        return Err(NvmlError::NotSupported);
    }
    device.register_events(EventTypes::CRITICAL_XID_ERROR, nvml.create_event_set()?).map_err(|refused| refused.error)
}

impl Gpu {
    fn new(nvml: &'static Nvml, index: u32, device: Result<Device<'static>, NvmlError>) -> Self {
        if let Err(error) = &device {
            tracing::error!(gpu = index, %error, "the GPU cannot be opened: it is out of service");
        }
        let device = device.ok();
        let of = |read: fn(&Device<'static>) -> Result<String, NvmlError>| device.as_ref().and_then(|device| read(device).ok());
        let product = of(|device| device.name()).unwrap_or_default();
        let uuid = of(|device| device.uuid()).unwrap_or_else(|| format!("GPU-{index}-unknown"));
        let told_mib = device.as_ref().and_then(|device| device.memory_info().ok()).map(|memory| mib(memory.total));
        let descriptor = descriptor(&product, told_mib);
        let xids = device.as_ref().and_then(|device| {
            let listening = listen_for_xids(nvml, device);
            listening.inspect_err(|error| tracing::warn!(gpu = uuid, %error, "the driver does not report XIDs of this GPU")).ok()
        });
        let is_lost = device.is_none();
        Self { device, descriptor, identity: GpuIdentity { uuid, product }, xids, is_lost, energy_mj: None }
    }

    fn sample(&mut self) -> (GpuTelemetry, bool) {
        let xid = self.xids.is_some().then_some(0);
        let unreachable =
            GpuTelemetry { memory_total_mib: Some(self.descriptor.memory_mib).filter(|mib| *mib > 0), xid, ..GpuTelemetry::default() };
        let Some(device) = &self.device else { return (unreachable, false) };
        let mut reader = Reader::default();
        let mut telemetry = reader.read(device);
        let energy_mj = reader.told(device.total_energy_consumption());
        let was_reset = matches!((self.energy_mj, energy_mj), (Some(before), Some(now)) if now < before);
        let was_lost = std::mem::replace(&mut self.is_lost, reader.is_lost);
        if self.is_lost {
            if !was_lost {
                tracing::error!(gpu = self.identity.uuid, "a GPU fell off the bus or waits for a reset");
            }
            return (unreachable, false);
        }
        self.energy_mj = energy_mj.or(self.energy_mj);
        telemetry.energy_j = energy_mj.map(|mj| mj as f64 / 1000.0);
        telemetry.xid = xid;
        (telemetry, was_lost || was_reset)
    }
}

impl DeviceSource for NvmlDevices {
    fn descriptors(&self) -> Vec<GpuDescriptor> {
        self.gpus.iter().map(|gpu| gpu.descriptor.clone()).collect()
    }

    fn identities(&self, _node: &str) -> Vec<GpuIdentity> {
        self.gpus.iter().map(|gpu| gpu.identity.clone()).collect()
    }

    fn kind(&self) -> &'static str {
        "nvml"
    }

    fn sample(&mut self, _now_ms: u64, _loads: &[GpuLoad]) -> Vec<GpuTelemetry> {
        let mut reports = Vec::with_capacity(self.gpus.len());
        for (index, gpu) in (0_u8..).zip(&mut self.gpus) {
            let (report, came_back) = gpu.sample();
            if came_back {
                self.came_back.push(index);
            }
            reports.push(report);
        }
        reports
    }

    fn news(&mut self) -> Vec<(u8, GpuNews)> {
        let mut news: Vec<(u8, GpuNews)> = std::mem::take(&mut self.came_back).into_iter().map(|gpu| (gpu, GpuNews::Back)).collect();
        for (index, gpu) in (0_u8..).zip(&self.gpus) {
            let Some(xids) = &gpu.xids else { continue };
            let waiting = std::iter::from_fn(|| xids.wait(0).ok()).take(MAX_XIDS);
            let codes = waiting.filter_map(|event| match event.event_data {
                Some(XidError::Value(code)) => u32::try_from(code).ok(),
                Some(XidError::Unknown) | None => None,
            });
            news.extend(codes.map(|code| (index, GpuNews::Xid(code))));
        }
        news.extend((0_u8..).zip(&self.gpus).filter(|(_, gpu)| gpu.is_lost).map(|(index, _)| (index, GpuNews::Lost)));
        news
    }

    fn slowdown(&self, _gpu: usize) -> f64 {
        1.0
    }
}

fn mib(bytes: u64) -> u32 {
    u32::try_from(bytes / BYTES_PER_MIB).unwrap_or(u32::MAX)
}

/// Reads one GPU field by field, and notes whether it is there at all.
#[derive(Default)]
struct Reader {
    is_lost: bool,
}

impl Reader {
    fn told<T>(&mut self, answer: Result<T, NvmlError>) -> Option<T> {
        self.is_lost |= matches!(answer, Err(NvmlError::GpuLost | NvmlError::ResetRequired));
        answer.ok()
    }

    fn read(&mut self, device: &Device<'_>) -> GpuTelemetry {
        let lowered = ThrottleReasons::SW_POWER_CAP
            | ThrottleReasons::HW_SLOWDOWN
            | ThrottleReasons::SW_THERMAL_SLOWDOWN
            | ThrottleReasons::HW_THERMAL_SLOWDOWN
            | ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN;
        let memory = self.told(device.memory_info());
        let utilisation = self.told(device.utilization_rates());
        GpuTelemetry {
            utilisation_percent: utilisation.as_ref().map(|rates| rates.gpu as f32),
            memory_utilisation_percent: utilisation.as_ref().map(|rates| rates.memory as f32),
            memory_used_mib: memory.as_ref().map(|memory| mib(memory.used)),
            memory_total_mib: memory.as_ref().map(|memory| mib(memory.total)),
            temperature_c: self.told(device.temperature(TemperatureSensor::Gpu)).map(|celsius| celsius as f32),
            memory_temperature_c: self.memory_temperature_c(device),
            power_w: self.told(device.power_usage()).map(|milliwatts| milliwatts as f32 / 1000.0),
            energy_j: None,
            sm_clock_mhz: self.told(device.clock_info(Clock::SM)),
            memory_clock_mhz: self.told(device.clock_info(Clock::Memory)),
            throttled: self.told(device.current_throttle_reasons()).map(|reasons| reasons.intersects(lowered)),
            xid: None,
            out_of_service: false,
        }
    }

    fn memory_temperature_c(&mut self, device: &Device<'_>) -> Option<f32> {
        let samples = self.told(device.field_values_for(&[FieldId(NVML_FI_DEV_MEMORY_TEMP)]))?;
        let sample = self.told(samples.into_iter().next()?)?;
        match self.told(sample.value)? {
            SampleValue::F64(celsius) => Some(celsius as f32),
            SampleValue::U32(celsius) => Some(celsius as f32),
            SampleValue::U64(celsius) => Some(celsius as f32),
            SampleValue::I64(celsius) => Some(celsius as f32),
        }
    }
}

/// What a GPU is. One that does not say how much memory it has counts as having none, since no job may be promised any.
fn descriptor(product: &str, told_mib: Option<u32>) -> GpuDescriptor {
    let memory_mib = told_mib.unwrap_or_default();
    GpuDescriptor { model: model_token(product, memory_mib), memory_mib }
}

/// One token for a product name: the catalogue's name for a model that it has, so that jobs can ask for simulated and real ones alike.
fn model_token(product: &str, memory_mib: u32) -> String {
    let words: Vec<&str> = product.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let is_it = |series: &str, nominal_mib: u32| {
        let missing = 1.0 - f64::from(memory_mib) / f64::from(nominal_mib);
        words.contains(&series) && missing.abs() <= MEMORY_TOLERANCE
    };
    let known = CATALOGUE.into_iter().find(|model| is_it(model.name.split('-').next().unwrap_or_default(), model.memory_mib));
    if let Some(model) = known {
        return model.name.to_owned();
    }
    let own: Vec<&str> = words.into_iter().filter(|word| !matches!(*word, "NVIDIA" | "Tesla" | "GeForce")).collect();
    let mut token = own.join("-");
    token.truncate(64);
    if token.is_empty() { "unknown".to_owned() } else { token }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_names_become_the_catalogue_s_tokens() {
        for (product, memory_mib, token) in [
            ("Tesla T4", 15_360, "T4"),
            ("Tesla V100-SXM2-32GB", 32_768, "V100-32GB"),
            ("NVIDIA A100-SXM4-40GB", 40_960, "A100-40GB"),
            ("NVIDIA A100-SXM4-80GB", 81_920, "A100-80GB"),
            ("NVIDIA L4", 23_034, "L4"),
            ("NVIDIA L40S", 46_068, "L40S"),
            ("NVIDIA H100 80GB HBM3", 81_559, "H100-80GB"),
            ("NVIDIA H100 NVL", 95_830, "H100-NVL"),
            ("NVIDIA GeForce RTX 3090", 24_576, "RTX-3090"),
            ("", 0, "unknown"),
        ] {
            assert_eq!(model_token(product, memory_mib), token);
        }
    }
}
