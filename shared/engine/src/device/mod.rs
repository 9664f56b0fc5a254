//! How a simulated GPU behaves: one first-order thermal and power model, driven by what runs on it. Pure: the caller says what time
//! it is. What models there are is in `catalogue`; reading real GPUs is the worker's business.
//!
//! Power is idle power plus a share of the rest of the board's power that grows with the load (a sum of what
//! the load uses, as in Hong and Kim, "An Integrated GPU Power and Performance Model", ISCA 2010). Temperature
//! follows power through one thermal resistance and one time constant, the usual RC model (Skadron et al., "Temperature-Aware
//! Microarchitecture", ISCA 2003).

mod catalogue;

pub use catalogue::{
    A100_40GB, A100_80GB, CATALOGUE, DEFAULT_NODES, DefaultNode, GpuModel, H100_80GB, L4, L40S, T4, V100_32GB, default_node, find_model,
};

use crate::node::GpuTelemetry;

/// Each GPU of a node stands behind the one before it and gets its warmed air.
const WARMING_PER_GPU_K: f64 = 1.0;
/// Time constant of heat sink and die together: after this time 63 % of a temperature step is done.
const THERMAL_TIME_CONSTANT_S: f64 = 40.0;
/// With air of this temperature a GPU at full power settles exactly at its slowdown temperature; real coolers are sized so.
const DESIGN_INLET_C: f64 = 35.0;
/// A throttled GPU gets its clocks back when it has cooled this far below the slowdown temperature.
const RECOVERY_BELOW_SLOWDOWN_K: f64 = 7.0;
/// NVML's documentation of hardware thermal slowdown: core clocks are reduced by a factor of two or more.
const THROTTLED_CLOCK_RATIO: f64 = 0.5;
/// Share of the dynamic power that the memory system causes at full intensity.
const MEMORY_POWER_SHARE: f64 = 0.3;
/// A process that merely holds memory keeps the GPU out of its deepest idle state.
const CONTEXT_ACTIVITY: f64 = 0.06;
/// Memory is warmer than the core by this much, and by the second figure more at full intensity.
const MEMORY_OFFSET_K: f64 = 3.0;
const MEMORY_LOAD_K: f64 = 8.0;
/// The model advances in steps of at most this, so that throttling begins and ends inside a long one ...
const MAX_STEP_S: f64 = 1.0;
/// ... but never in more steps than this: whatever is longer has settled long since.
const MAX_STEPS: f64 = 600.0;

/// A heat sink that has lost contact: so much thermal resistance that an idle GPU settles this far below its slowdown temperature and
/// one that works at all goes above it, and the die alone to be warmed, which takes seconds.
const UNCOOLED_IDLE_BELOW_SLOWDOWN_K: f64 = 8.0;
const UNCOOLED_TIME_CONSTANT_S: f64 = 4.0;
/// Real GPUs keep lowering their clocks rather than get hotter than a few degrees above the slowdown temperature.
const HELD_ABOVE_SLOWDOWN_K: f64 = 5.0;

/// Activation energy of [`hazard_factor`], in electronvolts. JEDEC JEP122 gives 0.7 for silicon wear-out; fleets show far less:
/// El-Sayed et al., "Temperature Management in Data Centers: Why Some (Might) Like It Hot", SIGMETRICS 2012.
const ACTIVATION_ENERGY_EV: f64 = 0.2;
const BOLTZMANN_EV_PER_K: f64 = 8.617e-5;
/// Where [`hazard_factor`] is 1: a GPU at work in ordinary air.
const HAZARD_REFERENCE_C: f64 = 60.0;

/// How much more often a GPU fails at this temperature than at 60 C, by Arrhenius' law; between about 0.3 and 2.7.
pub fn hazard_factor(temperature_c: f64) -> f64 {
    const ZERO_C_IN_K: f64 = 273.15;
    let kelvin = temperature_c.clamp(10.0, 115.0) + ZERO_C_IN_K;
    (ACTIVATION_ENERGY_EV / BOLTZMANN_EV_PER_K * (1.0 / (HAZARD_REFERENCE_C + ZERO_C_IN_K) - 1.0 / kelvin)).exp()
}

/// What runs on one GPU since the last step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GpuLoad {
    /// Share of the time in which the GPU works, 0 to 1.
    pub utilisation: f64,
    pub memory_used_mib: u32,
    /// How hard the memory is used while the GPU works, 0 to 1.
    pub memory_intensity: f64,
}

impl GpuLoad {
    fn sane(self) -> Self {
        let share = |value: f64| if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 };
        Self { utilisation: share(self.utilisation), memory_used_mib: self.memory_used_mib, memory_intensity: share(self.memory_intensity) }
    }

    fn is_idle(self) -> bool {
        self.utilisation == 0.0 && self.memory_used_mib == 0
    }

    /// Share of the board's dynamic power that the load asks for at full clocks, 0 to 1.
    fn activity(self) -> f64 {
        if self.is_idle() {
            return 0.0;
        }
        let work = self.utilisation * (1.0 - MEMORY_POWER_SHARE * (1.0 - self.memory_intensity));
        work.max(CONTEXT_ACTIVITY)
    }
}

impl DefaultNode {
    pub fn devices(&self) -> Vec<GpuDevice> {
        (0..self.gpu_count).map(|slot| GpuDevice::new(self.model, self.inlet_c + slot as f64 * WARMING_PER_GPU_K)).collect()
    }
}

/// One simulated GPU.
#[derive(Debug, Clone)]
pub struct GpuDevice {
    model: &'static GpuModel,
    inlet_c: f64,
    stepped_at_ms: Option<u64>,
    temperature_c: f64,
    energy_j: f64,
    throttled: bool,
    cooled: bool,
}

impl GpuDevice {
    /// A GPU that has been idle for long, in air of `inlet_c`.
    pub fn new(model: &'static GpuModel, inlet_c: f64) -> Self {
        let mut device =
            Self { model, inlet_c, stepped_at_ms: None, temperature_c: inlet_c, energy_j: 0.0, throttled: false, cooled: true };
        device.temperature_c = device.settled_c(model.idle_w);
        device
    }

    pub fn model(&self) -> &'static GpuModel {
        self.model
    }

    pub fn temperature_c(&self) -> f64 {
        self.temperature_c
    }

    /// Whether the heat sink does its work; without it the GPU gets hot under load within seconds, and throttles.
    pub fn set_cooled(&mut self, cooled: bool) {
        self.cooled = cooled;
    }

    /// How many times longer work takes than at full clocks; 1 unless throttled.
    pub fn slowdown_factor(&self) -> f64 {
        1.0 / self.clock_ratio()
    }

    /// Lives through the time since the last step with `load` on it, and reports. The first step only starts the time;
    /// a clock that goes backwards is taken for one that stands still.
    pub fn step(&mut self, now_ms: u64, load: GpuLoad) -> GpuTelemetry {
        let load = load.sane();
        let elapsed_s = now_ms.saturating_sub(self.stepped_at_ms.unwrap_or(now_ms)) as f64 / 1000.0;
        self.stepped_at_ms = Some(now_ms.max(self.stepped_at_ms.unwrap_or(0)));
        if elapsed_s > 0.0 {
            let steps = (elapsed_s / MAX_STEP_S).ceil().clamp(1.0, MAX_STEPS);
            for _ in 0..steps as u32 {
                self.advance(elapsed_s / steps, load);
            }
        }
        self.report(load)
    }

    fn advance(&mut self, seconds: f64, load: GpuLoad) {
        let power_w = self.power_w(load);
        let settled_c = self.settled_c(power_w);
        let time_constant_s = if self.cooled { THERMAL_TIME_CONSTANT_S } else { UNCOOLED_TIME_CONSTANT_S };
        self.temperature_c = settled_c + (self.temperature_c - settled_c) * (-seconds / time_constant_s).exp();
        if !self.cooled {
            self.temperature_c = self.temperature_c.min(self.model.slowdown_c + HELD_ABOVE_SLOWDOWN_K);
        }
        self.energy_j += power_w * seconds;
        if self.throttled {
            self.throttled = self.temperature_c > self.model.slowdown_c - RECOVERY_BELOW_SLOWDOWN_K;
        } else {
            self.throttled = self.temperature_c >= self.model.slowdown_c;
        }
    }

    /// Where the temperature goes if this power is drawn for ever.
    fn settled_c(&self, power_w: f64) -> f64 {
        let kelvin_per_w = if self.cooled {
            (self.model.slowdown_c - DESIGN_INLET_C) / self.model.tdp_w
        } else {
            (self.model.slowdown_c - UNCOOLED_IDLE_BELOW_SLOWDOWN_K - self.inlet_c) / self.model.idle_w
        };
        self.inlet_c + kelvin_per_w * power_w
    }

    fn clock_ratio(&self) -> f64 {
        if self.throttled { THROTTLED_CLOCK_RATIO } else { 1.0 }
    }

    /// Dynamic power goes with frequency times voltage squared, and voltage with frequency: the cube of the clock.
    fn power_w(&self, load: GpuLoad) -> f64 {
        self.model.idle_w + (self.model.tdp_w - self.model.idle_w) * load.activity() * self.clock_ratio().powi(3)
    }

    fn report(&self, load: GpuLoad) -> GpuTelemetry {
        let busy_with_memory = load.utilisation * load.memory_intensity;
        let (sm_clock_mhz, memory_clock_mhz) = if load.is_idle() {
            (self.model.idle_sm_clock_mhz, self.model.idle_memory_clock_mhz)
        } else {
            ((f64::from(self.model.max_sm_clock_mhz) * self.clock_ratio()).round() as u32, self.model.memory_clock_mhz)
        };
        GpuTelemetry {
            utilisation_percent: Some((load.utilisation * 100.0) as f32),
            memory_utilisation_percent: Some((busy_with_memory * 100.0) as f32),
            memory_used_mib: Some(load.memory_used_mib.min(self.model.memory_mib)),
            memory_total_mib: Some(self.model.memory_mib),
            temperature_c: Some(self.temperature_c as f32),
            memory_temperature_c: Some((self.temperature_c + MEMORY_OFFSET_K + MEMORY_LOAD_K * busy_with_memory) as f32),
            power_w: Some(self.power_w(load) as f32),
            energy_j: Some(self.energy_j),
            sm_clock_mhz: Some(sm_clock_mhz),
            memory_clock_mhz: Some(memory_clock_mhz),
            throttled: Some(self.throttled),
            xid: Some(0),
            out_of_service: false,
        }
    }
}

#[cfg(test)]
mod tests;
