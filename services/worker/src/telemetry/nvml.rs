//! Real GPUs, read through NVIDIA's NVML. Nothing is ever set. The library is opened when a worker starts, not when it is linked, so
//! that one binary runs with and without it.

use faultline_engine::device::{CATALOGUE, GpuLoad};
use faultline_engine::node::{GpuDescriptor, GpuTelemetry};
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::NVML_FI_DEV_MEMORY_TEMP;
use nvml_wrapper::{Device, Nvml};

use crate::dcgm::GpuIdentity;

use super::{DeviceSource, TelemetryError};

const BYTES_PER_MIB: u64 = 1 << 20;
/// "GPU has fallen off the bus", which is what NVML's error of a lost GPU means.
const XID_GPU_LOST: u32 = 79;
/// Boards report up to a tenth less than their data sheet says: ECC and the driver take their part.
const MEMORY_TOLERANCE: f64 = 0.12;

/// All GPUs that NVML shows.
pub struct NvmlDevices {
    nvml: Nvml,
    descriptors: Vec<GpuDescriptor>,
    identities: Vec<GpuIdentity>,
}

impl NvmlDevices {
    /// Fails without the library, without the driver, and without a GPU.
    pub fn open() -> Result<Self, TelemetryError> {
        let nvml = Nvml::init()?;
        let (mut descriptors, mut identities) = (Vec::new(), Vec::new());
        for index in 0..nvml.device_count()? {
            let device = nvml.device_by_index(index)?;
            let memory_mib = (device.memory_info()?.total / BYTES_PER_MIB) as u32;
            identities.push(GpuIdentity { uuid: device.uuid()?, product: device.name()? });
            descriptors.push(GpuDescriptor { model: model_token(&device.name()?, memory_mib), memory_mib });
        }
        if descriptors.is_empty() {
            return Err(TelemetryError::NoGpu);
        }
        Ok(Self { nvml, descriptors, identities })
    }
}

impl DeviceSource for NvmlDevices {
    fn descriptors(&self) -> Vec<GpuDescriptor> {
        self.descriptors.clone()
    }

    fn identities(&self, _node: &str) -> Vec<GpuIdentity> {
        self.identities.clone()
    }

    fn kind(&self) -> &'static str {
        "nvml"
    }

    fn sample(&mut self, _now_ms: u64, _loads: &[GpuLoad]) -> Vec<GpuTelemetry> {
        let read = |(index, descriptor): (usize, &GpuDescriptor)| {
            let report = self.nvml.device_by_index(index as u32).and_then(|device| read(&device));
            report.unwrap_or_else(|error| {
                tracing::warn!(gpu = index, %error, "cannot read a GPU");
                let xid = if matches!(error, NvmlError::GpuLost) { XID_GPU_LOST } else { 0 };
                GpuTelemetry { memory_total_mib: descriptor.memory_mib, xid, ..GpuTelemetry::default() }
            })
        };
        self.descriptors.iter().enumerate().map(read).collect()
    }

    fn slowdown(&self, _gpu: usize) -> f64 {
        1.0
    }
}

/// What every GPU can tell must be there; what some boards do not support reads 0.
fn read(device: &Device<'_>) -> Result<GpuTelemetry, NvmlError> {
    let memory = device.memory_info()?;
    let utilisation = device.utilization_rates().unwrap_or(nvml_wrapper::struct_wrappers::device::Utilization { gpu: 0, memory: 0 });
    let lowered = ThrottleReasons::SW_POWER_CAP
        | ThrottleReasons::HW_SLOWDOWN
        | ThrottleReasons::SW_THERMAL_SLOWDOWN
        | ThrottleReasons::HW_THERMAL_SLOWDOWN
        | ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN;
    Ok(GpuTelemetry {
        utilisation_percent: utilisation.gpu as f32,
        memory_utilisation_percent: utilisation.memory as f32,
        memory_used_mib: (memory.used / BYTES_PER_MIB) as u32,
        memory_total_mib: (memory.total / BYTES_PER_MIB) as u32,
        temperature_c: device.temperature(TemperatureSensor::Gpu)? as f32,
        memory_temperature_c: memory_temperature_c(device).unwrap_or_default(),
        power_w: device.power_usage().unwrap_or_default() as f32 / 1000.0,
        energy_j: device.total_energy_consumption().unwrap_or_default() as f64 / 1000.0,
        sm_clock_mhz: device.clock_info(Clock::SM).unwrap_or_default(),
        memory_clock_mhz: device.clock_info(Clock::Memory).unwrap_or_default(),
        throttled: device.current_throttle_reasons().is_ok_and(|reasons| reasons.intersects(lowered)),
        // XIDs arrive as NVML events, which nothing waits for here; only a lost GPU shows itself, see `sample`.
        xid: 0,
        out_of_service: false,
    })
}

fn memory_temperature_c(device: &Device<'_>) -> Option<f32> {
    let samples = device.field_values_for(&[FieldId(NVML_FI_DEV_MEMORY_TEMP)]).ok()?;
    match samples.into_iter().next()?.ok()?.value.ok()? {
        SampleValue::F64(celsius) => Some(celsius as f32),
        SampleValue::U32(celsius) => Some(celsius as f32),
        SampleValue::U64(celsius) => Some(celsius as f32),
        SampleValue::I64(celsius) => Some(celsius as f32),
    }
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
