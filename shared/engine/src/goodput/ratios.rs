//! Ratios of totals and of one job, each with its formula: a number without it can mean several things.

use super::class::{Class, Group};
use super::totals::Totals;

/// A ratio as it is printed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    pub name: &'static str,
    pub formula: &'static str,
    /// `None` where nothing was there to divide by.
    pub value: Option<f64>,
}

/// The ratios of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratios {
    pub availability: Ratio,
    pub occupancy: Ratio,
    pub goodput: Ratio,
    pub runtime_goodput: Ratio,
    /// Google, "ML Productivity Goodput", arXiv 2502.06982, with a program goodput of 1: it would come from outside.
    pub ml_productivity: Ratio,
}

fn quotient(part: u128, whole: u128) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Ratios {
    pub fn of(totals: &Totals) -> Self {
        let (unusable, booked) = (totals.group(Group::Unusable), totals.group(Group::Booked));
        let (productive, all) = (totals.of(Class::Productive), totals.sum());
        let scheduled = quotient(booked.saturating_sub(totals.of(Class::GangWait)), all);
        let runtime = quotient(productive, booked);
        Self {
            availability: Ratio { name: "availability", formula: "1 - A/total", value: quotient(all - unusable, all) },
            occupancy: Ratio { name: "occupancy", formula: "B/(total - A)", value: quotient(booked, all - unusable) },
            goodput: Ratio { name: "goodput", formula: "B1/total", value: quotient(productive, all) },
            runtime_goodput: Ratio { name: "runtime goodput", formula: "B1/B", value: runtime },
            ml_productivity: Ratio {
                name: "ML productivity goodput",
                formula: "(B - B8)/total * B1/B * program goodput (1)",
                value: scheduled.zip(runtime).map(|(scheduled, runtime)| scheduled * runtime),
            },
        }
    }

    pub fn all(&self) -> [Ratio; 5] {
        [self.availability, self.occupancy, self.goodput, self.runtime_goodput, self.ml_productivity]
    }
}

/// `max(1, (wait + run) / max(run, 10 s))`: Feitelson et al., "Theory and Practice in Parallel Job Scheduling", 1997.
pub fn bounded_slowdown(wait_ms: u64, run_ms: u64) -> f64 {
    ((wait_ms + run_ms) as f64 / run_ms.max(10_000) as f64).max(1.0)
}

/// `sqrt(2 * write time * mean time between failures)`: Young, "A First Order Approximation to the Optimum Checkpoint Interval", CACM 17(9),
/// 1974. `None` when it never fails: then no checkpoint is worth its time.
pub fn young_interval_ms(write_ms: u64, mean_between_failures_ms: f64) -> Option<u64> {
    let interval_ms = (2.0 * write_ms as f64 * mean_between_failures_ms).sqrt();
    interval_ms.is_finite().then_some((interval_ms.round() as u64).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slowdowns_and_intervals_by_hand() {
        assert_eq!(bounded_slowdown(90_000, 10_000), 10.0);
        // A job of a second that waits as long counts as one of ten.
        assert_eq!(bounded_slowdown(1_000, 1_000), 1.0);
        // 10 s to write and a failure every 3.09 h: 7.9 minutes.
        assert_eq!(young_interval_ms(10_000, 3.09 * 3_600_000.0), Some(471_678));
        assert_eq!(young_interval_ms(10_000, f64::INFINITY), None);
    }
}
