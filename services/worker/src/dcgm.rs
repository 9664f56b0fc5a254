//! The GPUs of the hosted nodes under the names, types, units and labels of NVIDIA's DCGM exporter, so that dashboards made for that
//! show them. `Hostname` is the node. A node that is down has no series, as a machine that is down has none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faultline_engine::node::GpuTelemetry;
use faultline_runtime::metrics::{Family, Kind, Metrics, Readings};

const LABELS: &[&str] = &["gpu", "UUID", "device", "modelName", "Hostname"];

const fn family(name: &'static str, kind: Kind, help: &'static str) -> Family {
    Family { name, help, kind, labels: LABELS }
}

const FAMILIES: [Family; 13] = [
    family("DCGM_FI_DEV_SM_CLOCK", Kind::Gauge, "Clock of the streaming multiprocessors, in MHz."),
    family("DCGM_FI_DEV_MEM_CLOCK", Kind::Gauge, "Clock of the memory, in MHz."),
    family("DCGM_FI_DEV_MEMORY_TEMP", Kind::Gauge, "Temperature of the memory, in degrees Celsius."),
    family("DCGM_FI_DEV_GPU_TEMP", Kind::Gauge, "Temperature of the GPU, in degrees Celsius."),
    family("DCGM_FI_DEV_POWER_USAGE", Kind::Gauge, "Power draw of the board, in W."),
    family("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", Kind::Counter, "Energy used since the device was started, in mJ."),
    family("DCGM_FI_DEV_GPU_UTIL", Kind::Gauge, "Share of the time in which the GPU worked, in percent."),
    family("DCGM_FI_DEV_MEM_COPY_UTIL", Kind::Gauge, "Share of the time in which the memory was read or written, in percent."),
    family("DCGM_FI_DEV_XID_ERRORS", Kind::Gauge, "The last XID error, 0 for none."),
    family("DCGM_FI_DEV_FB_FREE", Kind::Gauge, "Free memory, in MiB."),
    family("DCGM_FI_DEV_FB_USED", Kind::Gauge, "Used memory, in MiB."),
    family("DCGM_FI_PROF_GR_ENGINE_ACTIVE", Kind::Gauge, "Share of the time in which the graphics engine was active, 0 to 1."),
    family("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", Kind::Gauge, "Share of the cycles in which the tensor pipe was active, 0 to 1."),
];

/// What a GPU is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuIdentity {
    pub uuid: String,
    /// The product's name.
    pub product: String,
}

impl GpuIdentity {
    /// Of a simulated GPU: the same in every life of its node.
    pub fn simulated(node: &str, gpu: usize, model: &str) -> Self {
        // FNV-1a, once for each half: http://www.isthe.com/chongo/tech/comp/fnv/
        let hash =
            |basis: u64| format!("{node}/{gpu}").bytes().fold(basis, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        let (high, low) = (hash(0xcbf2_9ce4_8422_2325), hash(0x9ae1_6a3b_2f90_404f));
        let uuid = format!(
            "GPU-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        );
        Self { uuid, product: model.to_owned() }
    }
}

/// What one GPU tells.
#[derive(Debug, Clone)]
pub(crate) struct GpuReading {
    pub(crate) telemetry: GpuTelemetry,
    /// The two profiling ratios, which only a simulated GPU tells: NVML does not have them.
    pub(crate) profile: Option<Profile>,
}

/// Shares of the time, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Profile {
    pub(crate) engine_active: f64,
    pub(crate) tensor_active: f64,
}

#[derive(Debug)]
struct Node {
    identities: Arc<[GpuIdentity]>,
    readings: Vec<GpuReading>,
}

/// All GPUs of the worker. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct GpuSeries(Arc<Mutex<BTreeMap<String, Node>>>);

impl GpuSeries {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let series = Self(Arc::default());
        let told = series.clone();
        metrics.live(&FAMILIES, move |out| {
            for (name, node) in told.nodes().iter() {
                for (index, (identity, reading)) in node.identities.iter().zip(&node.readings).enumerate() {
                    tell(name, index, identity, reading, out);
                }
            }
        });
        series
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, node: &str, identities: &Arc<[GpuIdentity]>, readings: Vec<GpuReading>) {
        self.nodes().insert(node.to_owned(), Node { identities: Arc::clone(identities), readings });
    }

    /// The node is down.
    pub(crate) fn end(&self, node: &str) {
        self.nodes().remove(node);
    }
}

fn tell(node: &str, index: usize, identity: &GpuIdentity, reading: &GpuReading, out: &mut Readings<'_>) {
    let (gpu, device) = (index.to_string(), format!("nvidia{index}"));
    let labels = [gpu.as_str(), &identity.uuid, &device, &identity.product, node];
    let told = &reading.telemetry;
    let free_mib = told.memory_total_mib.zip(told.memory_used_mib).map(|(total, used)| total.saturating_sub(used));
    for (name, value) in [
        ("DCGM_FI_DEV_XID_ERRORS", told.xid.map(f64::from)),
        ("DCGM_FI_DEV_SM_CLOCK", told.sm_clock_mhz.map(f64::from)),
        ("DCGM_FI_DEV_MEM_CLOCK", told.memory_clock_mhz.map(f64::from)),
        ("DCGM_FI_DEV_MEMORY_TEMP", told.memory_temperature_c.map(|celsius| f64::from(celsius).round())),
        ("DCGM_FI_DEV_GPU_TEMP", told.temperature_c.map(|celsius| f64::from(celsius).round())),
        ("DCGM_FI_DEV_POWER_USAGE", told.power_w.map(f64::from)),
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", told.energy_j.map(|joules| (joules * 1000.0).round())),
        ("DCGM_FI_DEV_GPU_UTIL", told.utilisation_percent.map(|percent| f64::from(percent).round())),
        ("DCGM_FI_DEV_MEM_COPY_UTIL", told.memory_utilisation_percent.map(|percent| f64::from(percent).round())),
        ("DCGM_FI_DEV_FB_FREE", free_mib.map(f64::from)),
        ("DCGM_FI_DEV_FB_USED", told.memory_used_mib.map(f64::from)),
    ] {
        // A series without a value is absent: 0 would be a reading.
        if let Some(value) = value {
            out.put(name, &labels, value);
        }
    }
    if let Some(profile) = reading.profile {
        out.put("DCGM_FI_PROF_GR_ENGINE_ACTIVE", &labels, profile.engine_active);
        out.put("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", &labels, profile.tensor_active);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telemetry() -> GpuTelemetry {
        GpuTelemetry {
            utilisation_percent: Some(95.0),
            memory_used_mib: Some(1000),
            memory_total_mib: Some(16_384),
            energy_j: Some(12.5),
            sm_clock_mhz: Some(1590),
            memory_clock_mhz: Some(0),
            ..GpuTelemetry::default()
        }
    }

    #[test]
    fn units_and_labels_are_dcgm_s_and_a_node_that_is_down_tells_nothing() {
        let metrics = Metrics::new("worker", "worker-01");
        let series = GpuSeries::new(&metrics);
        let identities: Arc<[GpuIdentity]> =
            [GpuIdentity::simulated("gpu-node-07", 0, "T4"), GpuIdentity::simulated("gpu-node-07", 1, "T4")].into();
        assert_ne!(identities[0], identities[1]);
        let uuid = &identities[0].uuid;
        assert_eq!((uuid.len(), uuid.matches('-').count()), (40, 5), "{uuid}");
        let profile = Some(Profile { engine_active: 0.95, tensor_active: 0.6 });
        let lost = GpuTelemetry { memory_total_mib: Some(16_384), xid: Some(79), ..GpuTelemetry::default() };
        let readings = vec![GpuReading { telemetry: telemetry(), profile }, GpuReading { telemetry: lost, profile: None }];
        series.set("gpu-node-07", &identities, readings);
        let text = metrics.render().unwrap();
        let of = |gpu: u8| {
            format!(
                "{{gpu=\"{gpu}\",UUID=\"{}\",device=\"nvidia{gpu}\",modelName=\"T4\",Hostname=\"gpu-node-07\"}}",
                identities[usize::from(gpu)].uuid
            )
        };
        for (name, value) in [
            ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "12500"),
            ("DCGM_FI_DEV_FB_FREE", "15384"),
            ("DCGM_FI_DEV_GPU_UTIL", "95"),
            ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "0.95"),
        ] {
            assert!(text.contains(&format!("\n{name}{} {value}\n", of(0))), "{name}: {text}");
        }
        assert!(text.contains("# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter\n"), "{text}");
        assert!(text.contains(&format!("\nDCGM_FI_DEV_XID_ERRORS{} 79\n", of(1))), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains(&of(1))).count(), 1, "a GPU off the bus tells nothing else: {text}");
        for absent in ["DCGM_FI_DEV_XID_ERRORS", "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_GPU_TEMP"] {
            assert!(!text.contains(&format!("{absent}{}", of(0))), "{absent} was not read: {text}");
        }
        assert!(text.contains(&format!("\nDCGM_FI_DEV_MEM_CLOCK{} 0\n", of(0))), "0 is a reading that hides no other: {text}");
        series.end("gpu-node-07");
        assert!(!metrics.render().unwrap().contains("DCGM_FI_DEV"));
    }
}
