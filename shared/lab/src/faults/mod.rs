//! What breaks, for how long, and when it is noticed. The truth about a node depends on the seed and the node, not on what runs there, unless
//! the profile says that only working nodes wear out.

mod clock;
mod detector;
mod repair;
mod replay;

pub use detector::Detector;
pub use repair::{Pipeline, Repair};
pub use replay::{InvalidRecord, RecordedFault, read_recorded};

pub(crate) use clock::{Clock, Weather};
pub(crate) use repair::Course;

use faultline_engine::fault::{FaultPreset, Hazard, Lemons, OutageRates, Surges};
use rand::RngExt;

use crate::outcome::FaultExtent;
use crate::streams::{Purpose, stream};

/// Everything about faults that a run is made with.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// A node's own faults.
    pub hazard: Hazard,
    /// A few nodes that fail more often, and always will.
    pub lemons: Option<Lemons>,
    /// Nodes that fail more often until a repair finds out why.
    pub defects: Option<Defects>,
    /// Bad days of all nodes together.
    pub surges: Option<Surges>,
    /// Failures of what several racks share.
    pub outages: Option<OutageRates>,
    /// The share of a node's own faults that break one of its GPUs and leave the others, 0 to 1.
    pub one_gpu: f64,
    /// Own faults that only slow their node down.
    pub slow: Option<Slow>,
    pub exposure: Exposure,
    pub repair: Repair,
    pub detector: Detector,
    pub retirement: Option<Retirement>,
    /// How likely another node of the gang is blamed, and repaired instead.
    pub misdiagnosis: f64,
    /// Faults that were recorded somewhere: they come beside the others.
    pub recorded: Vec<RecordedFault>,
}

/// When a node wears out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exposure {
    /// Always while it is up.
    #[default]
    Always,
    /// Only while a job makes progress on it.
    Working,
}

/// Nodes with a defect, such as a bad cable, that makes them fail more often until a repair succeeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defects {
    /// The share of nodes that have one at the beginning, 0 to 1.
    pub share: f64,
    /// How many times the usual hazard comes on top.
    pub extra: f64,
}

/// Faults that only slow a node down until they are repaired. Nothing is placed elsewhere because of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slow {
    /// Their share in a node's own faults, 0 to 1.
    pub share: f64,
    /// In thousandths of the full speed, at least 1.
    pub speed_milli: u16,
}

/// A node that failed so often within this time is taken out of service for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retirement {
    pub faults: usize,
    pub within_ms: u64,
}

impl Faults {
    /// Nothing breaks.
    pub fn off() -> Self {
        Self {
            hazard: Hazard::Never,
            lemons: None,
            defects: None,
            surges: None,
            outages: None,
            one_gpu: 0.0,
            slow: None,
            exposure: Exposure::Always,
            repair: Repair::After(0),
            detector: Detector::Instant,
            retirement: None,
            misdiagnosis: 0.0,
            recorded: Vec::new(),
        }
    }

    /// So many faults a day of each node, as likely at any age, each repaired after this time.
    pub fn constant(per_node_day: f64, repair_ms: u64) -> Self {
        Self { hazard: Hazard::Constant { mean_ms: 86_400_000.0 / per_node_day }, repair: Repair::After(repair_ms), ..Self::off() }
    }

    /// A preset of the live cluster's fault models. All nodes are alike: presets that count nodes up use the first.
    pub fn preset(preset: FaultPreset, time_scale: f64) -> Self {
        let profile = preset.profile(1, time_scale);
        Self {
            hazard: profile.hazard,
            lemons: profile.lemons,
            surges: profile.surges,
            outages: profile.outages,
            repair: Repair::Drawn(profile.repair),
            detector: Detector::PhiAccrual,
            ..Self::off()
        }
    }

    /// What a node's own fault does: the so-manieth, from 0.
    pub(crate) fn extent(&self, seed: u64, node: usize, count: u32, gpus: usize) -> FaultExtent {
        let slow = self.slow.map_or(0.0, |slow| slow.share);
        if self.one_gpu + slow <= 0.0 {
            return FaultExtent::Node;
        }
        let mut rng = stream(seed, Purpose::Extent, node as u64, count.into());
        let drawn = rng.random::<f64>();
        if drawn < slow {
            FaultExtent::Slow
        } else if drawn < slow + self.one_gpu && gpus > 0 {
            FaultExtent::Gpu(rng.random_range(0..gpus) as u8)
        } else {
            FaultExtent::Node
        }
    }

    /// The mean time between two faults of one node that end what runs there, infinite when none ever comes. What is recorded does not count.
    pub fn mean_between_faults_ms(&self) -> f64 {
        let own = (1.0 - self.slow.map_or(0.0, |slow| slow.share)) / self.hazard.mean_ms();
        let defects = self.defects.map_or(0.0, |defects| defects.share * defects.extra * own);
        let shared = self
            .outages
            .map_or(0.0, |rates| [rates.rack_mean_ms, rates.power_mean_ms, rates.switch_mean_ms].map(|mean_ms| 1.0 / mean_ms).iter().sum());
        1.0 / (own + defects + shared)
    }
}
