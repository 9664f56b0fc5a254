//! Results that others published, computed again: each module has one of them, with its setup, its source, and its tolerance.

pub mod airesim;
pub mod ettr;
pub mod fgd;
pub mod hbd;
pub mod llama3;
pub mod philly;
pub mod rls;
mod targets;

pub use targets::{Effort, Failed, ReadTrace, TARGETS, Target};

use std::ops::Range;

use crate::in_parallel;
use crate::setup::InvalidSetup;
use crate::statistics::{mean, sd};

/// One figure beside the published one.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub name: String,
    pub unit: &'static str,
    pub published: f64,
    pub here: f64,
    /// The largest difference that still counts as the same.
    pub tolerance: f64,
}

impl Row {
    pub fn agrees(&self) -> bool {
        (self.here - self.published).abs() <= self.tolerance
    }
}

/// Mean and standard error of the mean.
pub(crate) fn mean_and_error(values: &[f64]) -> (f64, f64) {
    (mean(values), sd(values).map_or(0.0, |sd| sd / (values.len() as f64).sqrt()))
}

/// What each seed gives, in the order of seeds.
pub(crate) fn over_seeds<T: Send>(seeds: Range<u64>, one: impl Fn(u64) -> Result<T, InvalidSetup> + Sync) -> Result<Vec<T>, InvalidSetup> {
    in_parallel(&seeds.collect::<Vec<_>>(), |seed| one(*seed))
}
