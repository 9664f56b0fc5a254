//! How often and how a node fails: the presets, and the published figures that they rest on.

use std::str::FromStr;

use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::FaultKind;
use super::hazard::{Hazard, Lemons, RepairTime, Surges};
use super::outage::OutageRates;

const MS_PER_MIN: f64 = 60_000.0;
const MS_PER_HOUR: f64 = 3_600_000.0;
const MS_PER_DAY: f64 = 24.0 * MS_PER_HOUR;
/// A standard normal is below this with probability 0.9: ties the p90 of a lognormal to its sigma.
const NORMAL_P90: f64 = 1.2816;
/// Shorter faults than this cannot be told from a late heartbeat.
const REPAIR_MIN_MS: f64 = 1000.0;

/// One error a GPU in 35 minutes: on the 46 GPUs of eight default nodes one every 46 s.
const CLASSROOM_GPU_ERROR_MEAN_MS: f64 = 35.0 * MS_PER_MIN;

/// At a million times the pace of life a node has a fault every twenty seconds.
const MAX_TIME_SCALE: f64 = 1e6;

/// Whether published rates can run that many times faster than life; or what is wrong with it, to stand after its name.
pub fn check_time_scale(factor: f64) -> Result<(), String> {
    if factor > 0.0 && factor <= MAX_TIME_SCALE { Ok(()) } else { Err(format!("must be above 0 and up to {MAX_TIME_SCALE}, not {factor}")) }
}

/// Which faults the simulated nodes get by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultPreset {
    /// 5 to 12 % a minute a node, and an error of one of its GPUs now and then: made to be watched.
    #[default]
    Classroom,
    /// The rates, repair times and burstiness of a published trace; raise the time scale to see any.
    Calibrated,
    /// The same with the rate of Meta's RSC-1.
    #[serde(rename = "rsc-1")]
    Rsc1,
    /// The same with the rate of Meta's RSC-2.
    #[serde(rename = "rsc-2")]
    Rsc2,
    /// One node in eight fails twelve times as often as the others.
    Lemon,
    /// Racks, power supplies and switches fail, and several nodes with them.
    Correlated,
    /// Nodes fail at a similar age, ten minutes.
    WearOut,
    Off,
}

impl FaultPreset {
    pub const ALL: [FaultPreset; 8] =
        [Self::Classroom, Self::Calibrated, Self::Rsc1, Self::Rsc2, Self::Lemon, Self::Correlated, Self::WearOut, Self::Off];

    pub fn as_str(self) -> &'static str {
        match self {
            FaultPreset::Classroom => "classroom",
            FaultPreset::Calibrated => "calibrated",
            FaultPreset::Rsc1 => "rsc-1",
            FaultPreset::Rsc2 => "rsc-2",
            FaultPreset::Lemon => "lemon",
            FaultPreset::Correlated => "correlated",
            FaultPreset::WearOut => "wear-out",
            FaultPreset::Off => "off",
        }
    }

    /// Whether its rates are published ones, which run as many times faster than life as is wanted.
    pub fn follows_time_scale(self) -> bool {
        matches!(self, FaultPreset::Calibrated | FaultPreset::Rsc1 | FaultPreset::Rsc2)
    }

    /// What it means for node `index`, counted from 1. `time_scale`: how many times faster than life the published rates run.
    pub fn profile(self, index: usize, time_scale: f64) -> FaultProfile {
        match self {
            FaultPreset::Classroom => FaultProfile::classroom(index),
            FaultPreset::Calibrated => FaultProfile::calibrated(Fleet::InfiniteHbd, time_scale),
            FaultPreset::Rsc1 => FaultProfile::calibrated(Fleet::MetaRsc1, time_scale),
            FaultPreset::Rsc2 => FaultProfile::calibrated(Fleet::MetaRsc2, time_scale),
            FaultPreset::Lemon => FaultProfile::lemon(),
            FaultPreset::Correlated => FaultProfile::correlated(),
            FaultPreset::WearOut => FaultProfile::wear_out(),
            FaultPreset::Off => FaultProfile::off(),
        }
    }
}

impl FromStr for FaultPreset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = FaultPreset::ALL.into_iter().find(|preset| preset.as_str() == text);
        known.ok_or_else(|| format!("faults: `{text}` is unknown: use {}", FaultPreset::ALL.map(FaultPreset::as_str).join(", ")))
    }
}

/// A published cause of interruptions, and what stands for it here: the kinds share it equally.
#[derive(Debug, Clone, Copy)]
pub struct Cause {
    pub name: &'static str,
    pub interruptions: u32,
    /// Empty where a shared part fails, which outages stand for.
    pub kinds: &'static [FaultKind],
}

/// The 419 unexpected interruptions in 54 days of training on 16,384 GPUs by root cause: Meta, "The Llama 3 Herd of Models", 2024,
/// table 5. The kinds beside them are our reading; where the paper does not tell kinds apart, they share equally.
pub const LLAMA_3_CAUSES: [Cause; 18] = {
    use FaultKind::{Crash, Hang, HeartbeatLoss, ThermalThrottle, WrongResult, Xid13, Xid31, Xid48, Xid74, Xid79, Xid94, Xid95};
    const fn cause(name: &'static str, interruptions: u32, kinds: &'static [FaultKind]) -> Cause {
        Cause { name, interruptions, kinds }
    }
    [
        cause("faulty GPU", 148, &[Xid79, Xid74]),
        cause("GPU HBM3 memory", 72, &[Xid48, Xid94, Xid95]),
        cause("software bug", 54, &[Xid13, Xid31]),
        cause("network switch or cable", 35, &[]),
        cause("host maintenance", 32, &[Crash]),
        cause("GPU SRAM memory", 19, &[Xid48, Xid95]),
        cause("GPU system processor", 17, &[Hang]),
        cause("NIC", 7, &[HeartbeatLoss]),
        cause("NCCL watchdog timeouts", 7, &[Hang]),
        cause("silent data corruption", 6, &[WrongResult]),
        cause("GPU thermal interface and sensor", 6, &[ThermalThrottle]),
        cause("SSD", 3, &[Crash]),
        cause("power supply", 3, &[]),
        cause("server chassis", 2, &[Crash]),
        cause("IO expansion board", 2, &[Crash]),
        cause("dependency", 2, &[Xid13, Xid31]),
        cause("CPU", 2, &[Crash]),
        cause("system memory", 2, &[Crash]),
    ]
};

/// How a node's own faults split by kind: relative weights.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultWeights(Vec<(FaultKind, f64)>);

impl FaultWeights {
    /// For showing recovery: crashes most often, the quieter faults equally.
    pub fn classroom() -> Self {
        Self(vec![(FaultKind::Crash, 0.4), (FaultKind::Hang, 0.2), (FaultKind::HeartbeatLoss, 0.2), (FaultKind::Slow, 0.2)])
    }

    /// Errors of GPUs that end what runs there: the three after which the GPU must be reset more often than the one that it survives.
    pub fn gpu_errors() -> Self {
        Self(vec![(FaultKind::Xid79, 0.3), (FaultKind::Xid48, 0.3), (FaultKind::Xid95, 0.2), (FaultKind::Xid94, 0.2)])
    }

    /// By [`LLAMA_3_CAUSES`].
    pub fn llama_3() -> Self {
        let shared = |cause: &Cause| {
            cause.kinds.iter().map(|kind| (*kind, f64::from(cause.interruptions) / cause.kinds.len() as f64)).collect::<Vec<_>>()
        };
        let rows: Vec<(FaultKind, f64)> = LLAMA_3_CAUSES.iter().flat_map(shared).collect();
        let sum = |kind: FaultKind| rows.iter().filter(|(other, _)| *other == kind).map(|(_, weight)| weight).sum::<f64>();
        Self(FaultKind::ALL.map(|kind| (kind, sum(kind))).into_iter().filter(|(_, weight)| *weight > 0.0).collect())
    }

    /// The share of a kind in all of them, 0 to 1.
    pub fn share(&self, kind: FaultKind) -> f64 {
        let of = |wanted: Option<FaultKind>| {
            self.0.iter().filter(|(other, _)| wanted.is_none_or(|kind| kind == *other)).map(|(_, weight)| weight).sum::<f64>()
        };
        of(Some(kind)) / of(None)
    }

    pub(super) fn pick(&self, rng: &mut Pcg64Mcg) -> FaultKind {
        let mut left = rng.random::<f64>() * self.0.iter().map(|(_, weight)| weight).sum::<f64>();
        for (kind, weight) in &self.0 {
            if left < *weight {
                return *kind;
            }
            left -= weight;
        }
        FaultKind::Crash
    }
}

/// A fleet whose failures were published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fleet {
    /// 400 GPU servers that trained language models, days 0 to 174 of stepfun-ai/InfiniteHBD-Trace, published with "InfiniteHBD",
    /// SIGCOMM 2025. `just fault-statistics FILE` recomputes this figure and those below from the trace.
    InfiniteHbd,
    /// Meta's RSC-1, general research: Kokolis et al., "Revisiting Reliability in Large-Scale Machine Learning Research
    /// Clusters", HPCA 2025.
    MetaRsc1,
    /// Meta's RSC-2, vision research; same source.
    MetaRsc2,
}

impl Fleet {
    /// Faults in 1,000 days of one node.
    pub fn faults_per_1000_node_days(self) -> f64 {
        match self {
            // 312 faults in 69,600 node-days.
            Fleet::InfiniteHbd => 4.48,
            Fleet::MetaRsc1 => 6.50,
            Fleet::MetaRsc2 => 2.34,
        }
    }
}

/// The median and the 90th percentile of the time from a fault's start to its end in InfiniteHBD-Trace, in hours. The papers on
/// the other fleets give no such figures, so these serve for all.
const REPAIR_P50_H: f64 = 32.6;
const REPAIR_P90_H: f64 = 482.0;
/// Nothing in that trace was broken for longer, in hours.
const REPAIR_MAX_H: f64 = 2124.0;
/// The coefficient of variation of the time between two faults of the fleet in that trace; a Poisson process has 1.
pub const TRACE_INTER_ARRIVAL_CV: f64 = 2.18;

/// Schroeder and Gibson (see [`RepairTime`]) found a node's times between failures to be Weibull with shapes of 0.7 to 0.8.
const WEIBULL_SHAPE: f64 = 0.7;
/// Of that trace's nodes 60 % had no fault, and some had eight: the variance between nodes is 1.87 at a mean of 0.78 faults.
/// Fitted: as outages hit lemons and others alike, one node in ten must fail 15 times as often by itself.
const TRACE_LEMONS: Lemons = Lemons { one_in: 10, times: 15.0 };
/// What share of a node's faults are outages of its switch: of 419 interruptions of Llama 3, 35 were switches or cables.
const SWITCH_SHARE: f64 = 35.0 / 419.0;
/// Of its power supply: 21 of the 312 faults in that trace.
const POWER_SHARE: f64 = 21.0 / 312.0;
/// Of its rack: so that 16 % of all faults begin at the same moment as the one before, as in that trace. An outage of m
/// nodes gives m - 1 such faults of m.
const RACK_SHARE: f64 = (0.16 - 0.75 * SWITCH_SHARE - 0.75 * POWER_SHARE) / 0.5;
/// Bad days: fitted, so that together with the outages the time between two faults of the fleet varies as in the trace.
const SURGE_VARIANCE: f64 = 4.0;

/// Errors of single GPUs of a node that is up: each as likely at any age, whatever else the node's profile says.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuErrors {
    /// The mean time between two errors of one GPU.
    pub mean_ms: f64,
    pub weights: FaultWeights,
}

/// How often and how a node fails.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultProfile {
    /// The hazard of an average node at its own faults.
    pub hazard: Hazard,
    pub lemons: Option<Lemons>,
    pub surges: Option<Surges>,
    pub outages: Option<OutageRates>,
    /// Errors of single GPUs beside the node's own faults.
    pub gpu_errors: Option<GpuErrors>,
    pub weights: FaultWeights,
    pub repair: RepairTime,
    /// The hazard is multiplied by the node's heat factor to this power: 0 makes heat irrelevant, 1 lets it count in full.
    pub heat_sensitivity: f64,
}

/// The constant hazard under which a node fails within a minute with this probability.
fn constant(percent_per_min: f64) -> Hazard {
    Hazard::Constant { mean_ms: MS_PER_MIN / -(-percent_per_min / 100.0).ln_1p() }
}

impl FaultProfile {
    const CLASSROOM_REPAIR: RepairTime = RepairTime { median_ms: 10_000.0, sigma: 0.6, min_ms: 3_000.0, max_ms: 60_000.0 };

    fn watchable(hazard: Hazard) -> Self {
        Self {
            hazard,
            lemons: None,
            surges: None,
            outages: None,
            gpu_errors: None,
            weights: FaultWeights::classroom(),
            repair: Self::CLASSROOM_REPAIR,
            heat_sensitivity: 0.0,
        }
    }

    /// Node `index`, counted from 1, of the original simulator: 5.0 % a minute, 6.0, ... 12.0, then from the start. Heat does not
    /// count, so that the rates are what they say. The eight default nodes so fail every 84 s, together; with the errors of their 46
    /// GPUs something fails every half minute.
    pub fn classroom(index: usize) -> Self {
        let gpu_errors = GpuErrors { mean_ms: CLASSROOM_GPU_ERROR_MEAN_MS, weights: FaultWeights::gpu_errors() };
        Self { gpu_errors: Some(gpu_errors), ..Self::watchable(constant(5.0 + (index.saturating_sub(1) % 8) as f64)) }
    }

    /// 4 % a minute on average, very unevenly.
    pub fn lemon() -> Self {
        Self { lemons: Some(Lemons { one_in: 8, times: 12.0 }), ..Self::watchable(constant(4.0)) }
    }

    /// A rack fails every 20 minutes, a power supply and a switch every 30; nodes by themselves at 1 % a minute.
    pub fn correlated() -> Self {
        let outages = OutageRates {
            rack_mean_ms: 20.0 * MS_PER_MIN,
            power_mean_ms: 30.0 * MS_PER_MIN,
            switch_mean_ms: 30.0 * MS_PER_MIN,
            repair: RepairTime { median_ms: 15_000.0, sigma: 0.5, min_ms: 8_000.0, max_ms: 45_000.0 },
        };
        Self { outages: Some(outages), ..Self::watchable(constant(1.0)) }
    }

    /// Weibull with shape 4: a node fails about ten minutes after it was last repaired.
    pub fn wear_out() -> Self {
        Self::watchable(Hazard::Weibull { shape: 4.0, mean_ms: 10.0 * MS_PER_MIN })
    }

    /// Never fails by itself; faults can still be ordered.
    pub fn off() -> Self {
        Self::watchable(Hazard::Never)
    }

    /// Published production rates with time running `time_scale` times as fast: 1 is the truth, where eight nodes see a fault
    /// a month; 10,000 shows one every four minutes or so.
    pub fn calibrated(fleet: Fleet, time_scale: f64) -> Self {
        let time_scale = if time_scale.is_finite() && time_scale > 0.0 { time_scale } else { 1.0 };
        let mean_ms = 1000.0 * MS_PER_DAY / fleet.faults_per_1000_node_days() / time_scale;
        let repair = RepairTime {
            median_ms: REPAIR_P50_H * MS_PER_HOUR / time_scale,
            sigma: (REPAIR_P90_H / REPAIR_P50_H).ln() / NORMAL_P90,
            min_ms: REPAIR_MIN_MS,
            max_ms: (REPAIR_MAX_H * MS_PER_HOUR / time_scale).max(REPAIR_MIN_MS),
        };
        Self {
            hazard: Hazard::Weibull { shape: WEIBULL_SHAPE, mean_ms: mean_ms / (1.0 - RACK_SHARE - POWER_SHARE - SWITCH_SHARE) },
            lemons: Some(TRACE_LEMONS),
            surges: Some(Surges { window_ms: MS_PER_DAY / time_scale, variance: SURGE_VARIANCE }),
            outages: Some(OutageRates {
                rack_mean_ms: mean_ms / RACK_SHARE,
                power_mean_ms: mean_ms / POWER_SHARE,
                switch_mean_ms: mean_ms / SWITCH_SHARE,
                repair,
            }),
            gpu_errors: None,
            weights: FaultWeights::llama_3(),
            repair,
            heat_sensitivity: 1.0,
        }
    }

    /// The probability, in percent, that a healthy node fails within a minute, at the mean of its hazard. Lemons depend on the seed.
    pub fn percent_per_min(&self, seed: u64, index: usize) -> f64 {
        let factor = self.lemons.map_or(1.0, |lemons| lemons.factor(seed, index));
        let rate_per_ms = factor / self.hazard.mean_ms() + self.outages.map_or(0.0, |outages| outages.rate_per_ms());
        -100.0 * (-rate_per_ms * MS_PER_MIN).exp_m1()
    }
}

#[cfg(test)]
mod tests {
    use super::super::hazard::stream;
    use super::*;

    #[test]
    fn presets_read_back() {
        for preset in FaultPreset::ALL {
            assert_eq!(preset.as_str().parse(), Ok(preset));
        }
        assert!("chaos".parse::<FaultPreset>().unwrap_err().contains("use classroom, calibrated, rsc-1"));
    }

    #[test]
    fn the_time_scale_changes_what_it_says_it_changes() {
        for preset in FaultPreset::ALL {
            assert_eq!(preset.profile(3, 1.0) != preset.profile(3, 1000.0), preset.follows_time_scale(), "{preset:?}");
        }
        assert!(check_time_scale(1e-3).is_ok() && check_time_scale(MAX_TIME_SCALE).is_ok());
        for factor in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e7] {
            assert!(check_time_scale(factor).unwrap_err().starts_with("must be above 0 and up to 1000000"), "{factor}");
        }
    }

    #[test]
    fn the_rates_are_the_published_ones() {
        for (fleet, expected) in [(Fleet::InfiniteHbd, 4.48), (Fleet::MetaRsc1, 6.50), (Fleet::MetaRsc2, 2.34)] {
            for time_scale in [1.0, 1000.0] {
                let profile = FaultProfile::calibrated(fleet, time_scale);
                let outages = profile.outages.map_or(0.0, |outages| outages.rate_per_ms());
                let per_day = (1.0 / profile.hazard.mean_ms() + outages) * MS_PER_DAY / time_scale;
                assert!((per_day * 1000.0 - expected).abs() < 1e-6, "{fleet:?}: {per_day}");
            }
        }
        for index in 1..=9 {
            let percent = FaultProfile::classroom(index).percent_per_min(0, index);
            assert!((percent - (5.0 + ((index - 1) % 8) as f64)).abs() < 1e-9, "{percent}");
        }
        assert_eq!(FaultProfile::off().percent_per_min(0, 1), 0.0);
        let (lemon, other): (Vec<f64>, Vec<f64>) =
            (1..=8).map(|index| FaultProfile::lemon().percent_per_min(3, index)).partition(|percent| *percent > 10.0);
        assert_eq!((lemon.len(), other.len()), (1, 7));
    }

    #[test]
    fn repairs_are_as_long_as_in_the_trace() {
        let repair = FaultProfile::calibrated(Fleet::InfiniteHbd, 1000.0).repair;
        let mut rng = stream(5, "test", 0);
        let mut hours: Vec<f64> = (0..20_000).map(|_| repair.draw(&mut rng) as f64 * 1000.0 / MS_PER_HOUR).collect();
        hours.sort_by(f64::total_cmp);
        assert!((hours[10_000] / REPAIR_P50_H - 1.0).abs() < 0.1, "{}", hours[10_000]);
        assert!((hours[18_000] / REPAIR_P90_H - 1.0).abs() < 0.1, "{}", hours[18_000]);
        let classroom = FaultProfile::CLASSROOM_REPAIR;
        let mut repairs: Vec<u64> = (0..9_999).map(|_| classroom.draw(&mut rng)).collect();
        repairs.sort_unstable();
        assert!(repairs[0] >= 3_000 && repairs[9_998] <= 60_000);
        assert!(repairs[5_000].abs_diff(10_000) < 500, "{}", repairs[5_000]);
    }

    #[test]
    fn the_mix_is_that_of_llama_3() {
        assert_eq!(LLAMA_3_CAUSES.iter().map(|cause| cause.interruptions).sum::<u32>(), 419);
        let weights = FaultWeights::llama_3();
        // Without the 38 that outages stand for.
        assert!((weights.share(FaultKind::Xid79) - 74.0 / 381.0).abs() < 1e-9);
        assert!((weights.share(FaultKind::Crash) - 43.0 / 381.0).abs() < 1e-9);
        assert_eq!(weights.share(FaultKind::Zombie), 0.0);
        let mut rng = stream(5, "test", 1);
        let drawn: Vec<FaultKind> = (0..50_000).map(|_| weights.pick(&mut rng)).collect();
        for kind in FaultKind::ALL {
            let share = drawn.iter().filter(|other| **other == kind).count() as f64 / drawn.len() as f64;
            assert!((share - weights.share(kind)).abs() < 0.01, "{kind}: {share}");
        }
    }
}
