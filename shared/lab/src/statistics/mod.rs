//! What may be said of a handful of runs: intervals, comparisons, distributions. Every function says where its formula comes from.

mod distribution;
mod interval;
mod slowdown;
mod survival;

pub use distribution::{Ecdf, quantile};
pub use interval::{CONFIDENCE, Difference, Interval, holm, mean, mean_interval, paired, sd, unpaired};
pub use slowdown::bounded_slowdown;
pub use survival::{KaplanMeier, Observation, Step};
