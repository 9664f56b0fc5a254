//! How a broken node comes back.

use faultline_engine::fault::RepairTime;
use rand::RngExt;

use crate::streams::{Purpose, stream};

/// How long a node is broken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Repair {
    /// Always as long, from the fault on.
    After(u64),
    /// Drawn, from the fault on.
    Drawn(RepairTime),
    /// Automatic first, then by people; begins when the fault is detected.
    Pipeline(Pipeline),
}

/// A repair in two stages: the model of AIReSim (arXiv 2603.07041).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pipeline {
    pub automatic_ms: u64,
    /// The share of faults that go on to people, 0 to 1.
    pub escalated: f64,
    pub manual_ms: u64,
    /// How likely the node is declared repaired although its defect is still there, after each of the stages.
    pub automatic_in_vain: f64,
    pub manual_in_vain: f64,
}

/// How one repair goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Course {
    /// From the fault on, or from its detection.
    pub(crate) for_ms: u64,
    pub(crate) from_detection: bool,
    /// Whether a defect is gone afterwards.
    pub(crate) cures: bool,
}

impl Repair {
    /// The course of a node's `count`-th repair.
    pub(crate) fn course(&self, seed: u64, node: u64, count: u64) -> Course {
        let mut rng = stream(seed, Purpose::Repair, node, count);
        match self {
            Repair::After(for_ms) => Course { for_ms: *for_ms, from_detection: false, cures: true },
            Repair::Drawn(time) => Course { for_ms: time.draw(&mut rng), from_detection: false, cures: true },
            Repair::Pipeline(pipeline) => {
                let is_escalated = rng.random::<f64>() < pipeline.escalated;
                let in_vain = if is_escalated { pipeline.manual_in_vain } else { pipeline.automatic_in_vain };
                let for_ms = pipeline.automatic_ms + if is_escalated { pipeline.manual_ms } else { 0 };
                Course { for_ms, from_detection: true, cures: rng.random::<f64>() >= in_vain }
            }
        }
    }
}
