//! When a simulated node fails, how, and for how long. Pure: time is an argument and the randomness is seeded.
//! What a fault does to the attempts on the node is the worker's business; noticing it is the detector's.

use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp1, LogNormal};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

mod truth;

pub use truth::{FaultCause, FaultDepth, FaultTruth, fault_id};

/// The slow-down of a slow node lies between these, whoever asks for it.
pub const MIN_SLOW_FACTOR: f64 = 2.0;
pub const MAX_SLOW_FACTOR: f64 = 10.0;
/// The longest fault that can be ordered: a day.
pub const MAX_ORDERED_MS: u64 = 24 * 3600 * 1000;

const MS_PER_MIN: f64 = 60_000.0;
const MS_PER_HOUR: f64 = 3_600_000.0;
const MIN_PER_DAY: f64 = 1440.0;
/// A standard normal is below this with probability 0.9: ties the p90 of a lognormal to its sigma.
const NORMAL_P90: f64 = 1.2816;

/// What can be wrong with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Its attempts are gone without a word; it comes back as a new incarnation.
    Crash,
    /// Its heartbeats go on, but its work stands still, and goes on where it stood.
    Hang,
    /// It works, but its heartbeats are lost.
    HeartbeatLoss,
    /// It works, but everything takes several times as long.
    Slow,
}

impl FaultKind {
    pub const ALL: [FaultKind; 4] = [Self::Crash, Self::Hang, Self::HeartbeatLoss, Self::Slow];

    pub fn as_str(self) -> &'static str {
        match self {
            FaultKind::Crash => "crash",
            FaultKind::Hang => "hang",
            FaultKind::HeartbeatLoss => "heartbeat_loss",
            FaultKind::Slow => "slow",
        }
    }
}

/// How the faults split by kind: relative weights, in the order of [`FaultKind::ALL`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultWeights(pub [f64; 4]);

impl FaultWeights {
    /// For showing recovery: crashes most often, the quieter faults equally.
    pub const CLASSROOM: Self = Self([0.4, 0.2, 0.2, 0.2]);
    /// Our reading of the 322 hardware and software faults in `fault_statistics.json` of stepfun-ai/InfiniteHBD-Trace:
    /// a hang where the device or the host stopped answering (59: unknown device errors 40, nvidia-smi timeouts 9, kubelet 7, file
    /// system 3), lost heartbeats where the network broke (59: cable 40, network card 8 and GID 11), slow where it works below its
    /// speed (71: link width and speed 36, fan 33, heat 2), a crash for the rest (133: ECC, XID, power supply, board, ...).
    pub const CALIBRATED: Self = Self([133.0, 59.0, 59.0, 71.0]);

    fn pick(&self, uniform: f64) -> FaultKind {
        let total: f64 = self.0.iter().sum();
        let mut left = uniform * total;
        for (kind, weight) in FaultKind::ALL.into_iter().zip(self.0) {
            if left < weight {
                return kind;
            }
            left -= weight;
        }
        FaultKind::Crash
    }
}

/// How long a fault lasts: lognormal, which Schroeder and Gibson, "A Large-Scale Study of Failures in High-Performance
/// Computing Systems", DSN 2006, found to fit repair times best; cut off at both ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RepairTime {
    pub median_ms: f64,
    /// Standard deviation of the logarithm.
    pub sigma: f64,
    pub min_ms: f64,
    pub max_ms: f64,
}

impl RepairTime {
    fn draw(&self, rng: &mut Pcg64Mcg) -> u64 {
        let drawn = LogNormal::new(self.median_ms.max(1.0).ln(), self.sigma).map_or(self.median_ms, |repair| repair.sample(rng));
        drawn.max(self.min_ms).min(self.max_ms) as u64
    }
}

/// A fleet whose failures were published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fleet {
    /// 400 GPU servers that trained language models: 584 faults in 348 days. stepfun-ai/InfiniteHBD-Trace, published with
    /// "InfiniteHBD", SIGCOMM 2025.
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
            Fleet::InfiniteHbd => 4.2,
            Fleet::MetaRsc1 => 6.50,
            Fleet::MetaRsc2 => 2.34,
        }
    }
}

/// The median and the 90th percentile of the time from a fault's start to its end in InfiniteHBD-Trace, in hours. The papers on
/// the other fleets give no such figures, so these serve for all.
const REPAIR_P50_H: f64 = 20.0;
const REPAIR_P90_H: f64 = 311.0;
/// Nothing in that trace was broken for longer, in hours.
const REPAIR_MAX_H: f64 = 2200.0;
/// Shorter faults than this cannot be told from a late heartbeat.
const REPAIR_MIN_MS: f64 = 1000.0;

/// How often and how a node fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultProfile {
    /// The probability, in percent, that a healthy node fails within a minute. 0 for never.
    pub percent_per_min: f64,
    pub weights: FaultWeights,
    pub repair: RepairTime,
    /// The hazard is multiplied by the node's hazard factor to this power: 0 makes heat irrelevant, 1 lets it count in full.
    pub heat_sensitivity: f64,
}

impl FaultProfile {
    const CLASSROOM_REPAIR: RepairTime = RepairTime { median_ms: 10_000.0, sigma: 0.6, min_ms: 3_000.0, max_ms: 60_000.0 };

    /// Node `index`, counted from 1, of the original simulator: 5.0 % a minute, 6.0, ... 12.0, then from the start. Heat does not
    /// count, so that the rates are what they say.
    pub fn classroom(index: usize) -> Self {
        let percent_per_min = 5.0 + (index.saturating_sub(1) % 8) as f64;
        Self { percent_per_min, weights: FaultWeights::CLASSROOM, repair: Self::CLASSROOM_REPAIR, heat_sensitivity: 0.0 }
    }

    /// Published production rates with time running `time_scale` times as fast: 1 is the truth, where eight nodes see a fault
    /// a month; 10,000 shows one every four minutes or so.
    pub fn calibrated(fleet: Fleet, time_scale: f64) -> Self {
        let time_scale = if time_scale.is_finite() && time_scale > 0.0 { time_scale } else { 1.0 };
        let hazard_per_min = fleet.faults_per_1000_node_days() / 1000.0 / MIN_PER_DAY * time_scale;
        let max_ms = (REPAIR_MAX_H * MS_PER_HOUR / time_scale).max(REPAIR_MIN_MS);
        Self {
            percent_per_min: -100.0 * (-hazard_per_min).exp_m1(),
            weights: FaultWeights::CALIBRATED,
            repair: RepairTime {
                median_ms: REPAIR_P50_H * MS_PER_HOUR / time_scale,
                sigma: (REPAIR_P90_H / REPAIR_P50_H).ln() / NORMAL_P90,
                min_ms: REPAIR_MIN_MS,
                max_ms,
            },
            heat_sensitivity: 1.0,
        }
    }

    /// Never fails by itself; faults can still be ordered.
    pub fn off() -> Self {
        Self { percent_per_min: 0.0, ..Self::classroom(1) }
    }

    /// The constant hazard under which a node fails within a minute with the profile's probability, per millisecond.
    fn hazard_per_ms(&self) -> f64 {
        let probability = if self.percent_per_min.is_finite() { (self.percent_per_min / 100.0).clamp(0.0, 0.999_999) } else { 0.0 };
        -(-probability).ln_1p() / MS_PER_MIN
    }
}

/// A change in a node's condition.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultTransition {
    Began {
        kind: FaultKind,
        /// When it will be repaired, in Unix milliseconds.
        until_ms: u64,
        /// How many times slower the node is; 1 for every kind but `Slow`.
        factor: f64,
    },
    Ended {
        kind: FaultKind,
    },
}

/// The fault that a node has now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActiveFault {
    pub kind: FaultKind,
    pub until_ms: u64,
    pub factor: f64,
}

/// Breaks one node, one fault at a time.
#[derive(Debug, Clone)]
pub struct FaultInjector {
    profile: FaultProfile,
    rng: Pcg64Mcg,
    active: Option<ActiveFault>,
    lived_until_ms: Option<u64>,
    /// The integrated hazard that the node still survives: exponential with mean 1, so that the time between two ticks does
    /// not change when it fails.
    endurance: f64,
}

impl FaultInjector {
    /// The same profile, seed, ticks and orders give the same faults.
    pub fn new(profile: FaultProfile, seed: u64) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let endurance = Exp1.sample(&mut rng);
        Self { profile, rng, active: None, lived_until_ms: None, endurance }
    }

    pub fn profile(&self) -> &FaultProfile {
        &self.profile
    }

    pub fn active(&self) -> Option<ActiveFault> {
        self.active
    }

    /// Lives up to `now_ms` and says what began and ended on the way, in order. `hazard_factor` multiplies the rate since the
    /// last tick, see `device::hazard_factor`. The first tick only starts the time.
    pub fn tick(&mut self, now_ms: u64, hazard_factor: f64) -> Vec<FaultTransition> {
        let mut transitions = Vec::new();
        let mut at_ms = self.lived_until_ms.unwrap_or(now_ms) as f64;
        let end_ms = now_ms as f64;
        self.lived_until_ms = Some(now_ms.max(self.lived_until_ms.unwrap_or(0)));
        let factor = if hazard_factor.is_finite() { hazard_factor.max(0.0).powf(self.profile.heat_sensitivity) } else { 1.0 };
        let hazard_per_ms = self.profile.hazard_per_ms() * factor;
        loop {
            if let Some(fault) = self.active {
                if fault.until_ms as f64 > end_ms {
                    break;
                }
                // It ended at its time, or at once when time was late; never before the time already lived.
                at_ms = at_ms.max(fault.until_ms as f64);
                self.active = None;
                transitions.push(FaultTransition::Ended { kind: fault.kind });
            }
            let exposure = (end_ms - at_ms).max(0.0) * hazard_per_ms;
            if exposure <= 0.0 || exposure < self.endurance {
                self.endurance -= exposure;
                break;
            }
            at_ms += self.endurance / hazard_per_ms;
            self.endurance = Exp1.sample(&mut self.rng);
            transitions.push(self.begin_drawn(at_ms));
        }
        transitions
    }

    fn begin_drawn(&mut self, at_ms: f64) -> FaultTransition {
        let kind = self.profile.weights.pick(self.rng.random());
        let until_ms = at_ms as u64 + self.profile.repair.draw(&mut self.rng).max(1);
        // Most slow nodes are a few times slower; the full range is for orders.
        let factor = if kind == FaultKind::Slow { self.rng.random_range(MIN_SLOW_FACTOR..6.0) } else { 1.0 };
        self.begin(ActiveFault { kind, until_ms, factor })
    }

    fn begin(&mut self, fault: ActiveFault) -> FaultTransition {
        self.active = Some(fault);
        FaultTransition::Began { kind: fault.kind, until_ms: fault.until_ms, factor: fault.factor }
    }

    /// Breaks the node on purpose for `for_ms` (at most a day); a fault that it has is ended first. `factor` counts for
    /// `Slow` only and is brought into its bounds.
    pub fn order(&mut self, kind: FaultKind, now_ms: u64, for_ms: u64, factor: f64) -> Vec<FaultTransition> {
        let mut transitions = self.restore(now_ms);
        let factor = match kind {
            FaultKind::Slow if factor.is_finite() => factor.clamp(MIN_SLOW_FACTOR, MAX_SLOW_FACTOR),
            FaultKind::Slow => MIN_SLOW_FACTOR,
            FaultKind::Crash | FaultKind::Hang | FaultKind::HeartbeatLoss => 1.0,
        };
        transitions.push(self.begin(ActiveFault { kind, until_ms: now_ms.saturating_add(for_ms.clamp(1, MAX_ORDERED_MS)), factor }));
        transitions
    }

    /// Ends the fault that the node has, if any.
    pub fn restore(&mut self, now_ms: u64) -> Vec<FaultTransition> {
        // The time in which it was broken must not count as time in which it could have failed.
        self.lived_until_ms = Some(now_ms.max(self.lived_until_ms.unwrap_or(0)));
        self.active.take().map(|fault| FaultTransition::Ended { kind: fault.kind }).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY_MS: u64 = 24 * 3600 * 1000;

    /// Ticks for `duration_ms`; gives the faults that began and the time in which the node was healthy.
    fn live(injector: &mut FaultInjector, duration_ms: u64, tick_ms: u64, hazard: f64) -> (Vec<ActiveFault>, u64) {
        let (mut began, mut healthy_ms, mut now_ms) = (Vec::new(), 0, 0);
        while now_ms < duration_ms {
            for transition in injector.tick(now_ms, hazard) {
                if let FaultTransition::Began { kind, until_ms, factor } = transition {
                    began.push(ActiveFault { kind, until_ms, factor });
                }
            }
            healthy_ms += if injector.active().is_none() { tick_ms } else { 0 };
            now_ms += tick_ms;
        }
        (began, healthy_ms)
    }

    fn began_with_seed(seed: u64) -> Vec<ActiveFault> {
        live(&mut FaultInjector::new(FaultProfile::classroom(8), seed), DAY_MS, 1000, 1.0).0
    }

    #[test]
    fn the_seed_decides_everything() {
        assert_eq!(began_with_seed(7), began_with_seed(7));
        assert_ne!(began_with_seed(7), began_with_seed(8));
    }

    #[test]
    fn the_size_of_the_ticks_does_not_change_the_faults() {
        let fine = live(&mut FaultInjector::new(FaultProfile::classroom(8), 3), DAY_MS, 100, 1.0).0;
        let coarse = live(&mut FaultInjector::new(FaultProfile::classroom(8), 3), DAY_MS, 60_000, 1.0).0;
        assert!(fine.len() > 100 && fine.len().abs_diff(coarse.len()) <= 1, "{} and {}", fine.len(), coarse.len());
        for (one, other) in fine.iter().zip(&coarse) {
            assert_eq!((one.kind, one.factor), (other.kind, other.factor));
            assert!(one.until_ms.abs_diff(other.until_ms) <= 1);
        }
    }

    #[test]
    fn classroom_nodes_fail_at_the_rate_they_state() {
        for index in 1..=8 {
            let profile = FaultProfile::classroom(index);
            assert_eq!(profile.percent_per_min, 4.0 + index as f64);
            // 20,000 minutes in which the node either fails or does not, each watched from its start.
            let mut failed = 0;
            for minute in 0..20_000_u64 {
                let mut injector = FaultInjector::new(profile, minute * 8 + index as u64);
                injector.tick(0, 1.0);
                failed += u32::from(!injector.tick(60_000, 1.0).is_empty());
            }
            let percent = f64::from(failed) / 200.0;
            // Four standard deviations.
            let tolerance = 4.0 * (profile.percent_per_min * (100.0 - profile.percent_per_min) / 20_000.0).sqrt();
            assert!((percent - profile.percent_per_min).abs() < tolerance, "node {index}: {percent} %");
        }
        assert_eq!(FaultProfile::classroom(9), FaultProfile::classroom(1));
    }

    #[test]
    fn over_virtual_days_the_rate_kinds_and_repairs_are_as_documented() {
        let profile = FaultProfile::classroom(4);
        let (faults, healthy_ms) = live(&mut FaultInjector::new(profile, 11), 60 * DAY_MS, 1000, 1.0);
        let hazard_per_min = faults.len() as f64 / (healthy_ms as f64 / MS_PER_MIN);
        let expected = -(1.0_f64 - 0.08).ln();
        assert!((hazard_per_min / expected - 1.0).abs() < 0.05, "{hazard_per_min} instead of {expected}");
        for (kind, weight) in FaultKind::ALL.into_iter().zip(FaultWeights::CLASSROOM.0) {
            let share = faults.iter().filter(|fault| fault.kind == kind).count() as f64 / faults.len() as f64;
            assert!((share - weight).abs() < 0.03, "{}: {share}", kind.as_str());
        }
        let mut rng = Pcg64Mcg::seed_from_u64(5);
        let mut repairs: Vec<u64> = (0..9_999).map(|_| profile.repair.draw(&mut rng)).collect();
        repairs.sort_unstable();
        assert!(repairs[0] >= 3_000 && repairs[9_998] <= 60_000);
        assert!(repairs[5_000].abs_diff(10_000) < 500, "{}", repairs[5_000]);
    }

    #[test]
    fn calibrated_rates_and_repairs_are_the_published_ones() {
        for (fleet, per_1000_node_days) in [(Fleet::InfiniteHbd, 4.2), (Fleet::MetaRsc1, 6.50), (Fleet::MetaRsc2, 2.34)] {
            let profile = FaultProfile::calibrated(fleet, 1.0);
            let hazard_per_day = profile.hazard_per_ms() * DAY_MS as f64;
            assert!((hazard_per_day * 1000.0 - per_1000_node_days).abs() < 1e-6);
        }
        let fast = FaultProfile::calibrated(Fleet::InfiniteHbd, 1000.0);
        let hazard_per_day = fast.hazard_per_ms() * DAY_MS as f64;
        assert!((hazard_per_day - 4.2).abs() < 1e-6);
        let mut rng = Pcg64Mcg::seed_from_u64(5);
        let mut hours: Vec<f64> = (0..20_000).map(|_| fast.repair.draw(&mut rng) as f64 * 1000.0 / MS_PER_HOUR).collect();
        hours.sort_by(f64::total_cmp);
        assert!((hours[10_000] / 20.0 - 1.0).abs() < 0.1, "{}", hours[10_000]);
        assert!((hours[18_000] / 311.0 - 1.0).abs() < 0.1, "{}", hours[18_000]);
    }

    #[test]
    fn heat_counts_where_the_profile_says_so() {
        let count = |profile, hazard| live(&mut FaultInjector::new(profile, 2), 30 * DAY_MS, 10_000, hazard).0.len() as f64;
        let calibrated = FaultProfile::calibrated(Fleet::InfiniteHbd, 10_000.0);
        let ratio = count(calibrated, 2.0) / count(calibrated, 1.0);
        assert!(ratio > 1.5, "{ratio}");
        assert_eq!(count(FaultProfile::classroom(1), 2.0), count(FaultProfile::classroom(1), 1.0));
    }

    #[test]
    fn off_never_fails_but_obeys_orders() {
        let mut injector = FaultInjector::new(FaultProfile::off(), 1);
        assert!(injector.tick(0, 1.0).is_empty() && injector.tick(365 * DAY_MS, 5.0).is_empty());
        let now_ms = 365 * DAY_MS;
        let began = injector.order(FaultKind::Slow, now_ms, 5_000, 99.0);
        assert_eq!(began, [FaultTransition::Began { kind: FaultKind::Slow, until_ms: now_ms + 5_000, factor: MAX_SLOW_FACTOR }]);
        let replaced = injector.order(FaultKind::Hang, now_ms + 1_000, 5_000, 0.0);
        assert_eq!(replaced[0], FaultTransition::Ended { kind: FaultKind::Slow });
        assert_eq!(replaced[1], FaultTransition::Began { kind: FaultKind::Hang, until_ms: now_ms + 6_000, factor: 1.0 });
        assert!(injector.tick(now_ms + 5_999, 1.0).is_empty());
        assert_eq!(injector.tick(now_ms + 6_000, 1.0), [FaultTransition::Ended { kind: FaultKind::Hang }]);
        assert!(injector.restore(now_ms + 7_000).is_empty());
        injector.order(FaultKind::Crash, now_ms + 8_000, u64::MAX, f64::NAN);
        assert_eq!(injector.restore(now_ms + 9_000), [FaultTransition::Ended { kind: FaultKind::Crash }]);
        assert_eq!(injector.active(), None);
    }

    proptest! {
        #[test]
        fn faults_never_overlap(seed: u64, index in 1_usize..20, pauses in prop::collection::vec(0_u64..600_000, 1..60), hazard in 0.0..5.0_f64) {
            let mut injector = FaultInjector::new(FaultProfile::classroom(index), seed);
            let (mut now_ms, mut open) = (0, None);
            for pause_ms in pauses {
                now_ms += pause_ms;
                for transition in injector.tick(now_ms, hazard) {
                    match transition {
                        FaultTransition::Began { kind, until_ms, factor } => {
                            prop_assert_eq!(open.replace(kind), None);
                            prop_assert!(until_ms <= now_ms + 60_000);
                            prop_assert!(factor == 1.0 || kind == FaultKind::Slow);
                        }
                        FaultTransition::Ended { kind } => prop_assert_eq!(open.take(), Some(kind)),
                    }
                }
                prop_assert_eq!(injector.active().map(|fault| fault.kind), open);
            }
        }
    }
}
