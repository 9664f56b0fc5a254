//! What may be said of a handful of runs: intervals, comparisons, distributions. Every function says where its formula comes from.

mod interval;
mod survival;

pub use interval::{CONFIDENCE, Difference, Interval, holm, mean, mean_interval, paired, sd, unpaired};
pub use survival::{KaplanMeier, Observation, Step};
