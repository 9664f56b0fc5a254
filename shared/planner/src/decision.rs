//! What a pass decides, and within which bounds. Whoever asked carries the list out from front to back.

use crate::gpus::GpuSet;
use crate::node::{NodeId, Placement};
use crate::waiting::Turn;

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Start this job there. It is booked already.
    Place { turn: Turn, placed: Placed },
}

/// Where a task was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    pub placement: Placement,
    pub why: Why,
}

impl Placed {
    pub fn node(&self) -> NodeId {
        self.placement.node
    }

    pub fn gpus(&self) -> GpuSet {
        self.placement.gpus
    }
}

/// Why there, as numbers. Scores are in units of the policy: only their order means something across classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Why {
    pub score: u32,
    /// The node that would have got it otherwise, with its score.
    pub runner_up: Option<(NodeId, u32)>,
    /// How many nodes could have taken it.
    pub fitting: u32,
    pub nodes: u32,
}

/// How much one pass may do: the caller's loop goes on in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub decisions: usize,
    /// How many times a node is scored for a class, or looked at for one.
    pub scores: usize,
}

impl Default for Limits {
    /// A pass of a few milliseconds at most, whatever the policy.
    fn default() -> Self {
        Self { decisions: 1024, scores: 1 << 13 }
    }
}

/// What one pass came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    pub decisions: Vec<Decision>,
    /// It stopped at its limits: there may be more to decide.
    pub unfinished: bool,
}
