//! What a list of faults says about a fleet: rate, repair times, burstiness. The same arithmetic reads a published trace and checks
//! that the calibrated profile behaves like it.

use std::collections::BTreeMap;

/// One fault of a fleet, times in days from the start of the observation.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultRecord {
    pub start_day: f64,
    pub end_day: f64,
    pub node: String,
    pub class: String,
}

/// What the records say.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultStatistics {
    pub faults: usize,
    /// Nodes of the fleet times days of observation, whether a node was up or not.
    pub node_days: f64,
    pub per_1000_node_days: f64,
    /// Median, 90th percentile and maximum of the time from start to end, in hours; interpolated linearly between ranks.
    pub repair_p50_h: f64,
    pub repair_p90_h: f64,
    pub repair_max_h: f64,
    /// Standard deviation of the times between two starts, over the whole fleet, divided by their mean: 1 for a Poisson process.
    pub inter_arrival_cv: f64,
    /// The share of faults that start at the very moment of the one before.
    pub simultaneous: f64,
    /// Mean and variance of the number of faults of a node.
    pub per_node_mean: f64,
    pub per_node_variance: f64,
    /// The share of each class, the largest first.
    pub classes: Vec<(String, f64)>,
}

/// Why there are no statistics.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoStatistics {
    #[error("{0} faults are too few: three are needed for the spread of the times between them")]
    TooFew(usize),
    #[error("fault {number} ({node}) runs from day {start_day} to day {end_day}: numbers in this order are expected")]
    BadTimes { number: usize, node: String, start_day: f64, end_day: f64 },
    #[error("a fleet of {nodes} nodes over {days} days cannot have had these faults: they name {named} nodes and reach day {last_day}")]
    BadFleet { nodes: usize, days: f64, named: usize, last_day: f64 },
}

impl FaultStatistics {
    /// Of a fleet of `nodes` that was watched for `days`; nodes without a fault are not in the records.
    pub fn of(records: &[FaultRecord], nodes: usize, days: f64) -> Result<Self, NoStatistics> {
        for (index, record) in records.iter().enumerate() {
            let FaultRecord { start_day, end_day, node, .. } = record.clone();
            if !(start_day.is_finite() && end_day.is_finite() && end_day >= start_day) {
                return Err(NoStatistics::BadTimes { number: index + 1, node, start_day, end_day });
            }
        }
        let mut per_node: BTreeMap<&str, usize> = BTreeMap::new();
        let mut per_class: BTreeMap<&str, usize> = BTreeMap::new();
        for record in records {
            *per_node.entry(&record.node).or_default() += 1;
            *per_class.entry(&record.class).or_default() += 1;
        }
        let last_day = records.iter().map(|record| record.start_day).fold(0.0, f64::max);
        if !days.is_finite() || days < last_day || nodes < per_node.len() {
            return Err(NoStatistics::BadFleet { nodes, days, named: per_node.len(), last_day });
        }
        if records.len() < 3 {
            return Err(NoStatistics::TooFew(records.len()));
        }
        let faults = records.len() as f64;
        let repairs_h = sorted(records.iter().map(|record| (record.end_day - record.start_day) * 24.0));
        let starts = sorted(records.iter().map(|record| record.start_day));
        let gaps: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let silent_nodes = std::iter::repeat_n(0.0, nodes - per_node.len());
        let counts: Vec<f64> = per_node.values().map(|count| *count as f64).chain(silent_nodes).collect();
        let (gap_mean, gap_variance) = moments(&gaps);
        let (per_node_mean, per_node_variance) = moments(&counts);
        let mut classes: Vec<(String, f64)> =
            per_class.iter().map(|(class, count)| ((*class).to_owned(), *count as f64 / faults)).collect();
        classes.sort_by(|left, right| right.1.total_cmp(&left.1));
        Ok(Self {
            faults: records.len(),
            node_days: nodes as f64 * days,
            per_1000_node_days: faults / (nodes as f64 * days) * 1000.0,
            repair_p50_h: percentile(&repairs_h, 0.5),
            repair_p90_h: percentile(&repairs_h, 0.9),
            repair_max_h: percentile(&repairs_h, 1.0),
            inter_arrival_cv: gap_variance.sqrt() / gap_mean,
            simultaneous: gaps.iter().filter(|gap| **gap == 0.0).count() as f64 / faults,
            per_node_mean,
            per_node_variance,
            classes,
        })
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Mean and variance (of the population) of at least one value.
fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64)
}

/// Of at least one value, sorted.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() - 1) as f64 * share;
    let (below, above) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    below + (above - below) * rank.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(start_day: f64, hours: f64, node: &str, class: &str) -> FaultRecord {
        FaultRecord { start_day, end_day: start_day + hours / 24.0, node: node.into(), class: class.into() }
    }

    #[test]
    fn a_small_fleet_by_hand() {
        let records =
            [record(6.0, 48.0, "b", "NIC"), record(1.0, 12.0, "a", "GPU"), record(2.0, 24.0, "a", "GPU"), record(2.0, 36.0, "c", "GPU")];
        let statistics = FaultStatistics::of(&records, 4, 10.0).unwrap();
        assert_eq!((statistics.faults, statistics.node_days, statistics.per_1000_node_days), (4, 40.0, 100.0));
        assert!((statistics.repair_p50_h - 30.0).abs() < 1e-9 && (statistics.repair_p90_h - 44.4).abs() < 1e-9);
        assert!((statistics.repair_max_h - 48.0).abs() < 1e-9);
        // Gaps of 1, 0 and 4 days: mean 5/3, variance 26/9.
        assert!((statistics.inter_arrival_cv - (26.0_f64 / 9.0).sqrt() / (5.0 / 3.0)).abs() < 1e-9);
        assert_eq!((statistics.simultaneous, statistics.per_node_mean, statistics.per_node_variance), (0.25, 1.0, 0.5));
        assert_eq!(statistics.classes, [("GPU".to_owned(), 0.75), ("NIC".to_owned(), 0.25)]);
    }

    #[test]
    fn nonsense_is_refused() {
        let good = [record(1.0, 1.0, "a", "GPU"), record(2.0, 1.0, "b", "GPU"), record(3.0, 1.0, "c", "GPU")];
        assert_eq!(FaultStatistics::of(&good[..2], 3, 10.0), Err(NoStatistics::TooFew(2)));
        let few = FaultStatistics::of(&good, 2, 10.0).unwrap_err().to_string();
        assert!(few.contains("name 3 nodes"), "{few}");
        assert!(matches!(FaultStatistics::of(&good, 3, 2.5), Err(NoStatistics::BadFleet { .. })));
        let backwards = [record(1.0, -5.0, "a", "GPU"), good[1].clone(), good[2].clone()];
        assert!(matches!(FaultStatistics::of(&backwards, 3, 10.0), Err(NoStatistics::BadTimes { number: 1, .. })));
        let nan = [record(f64::NAN, 1.0, "a", "GPU"), good[1].clone(), good[2].clone()];
        assert!(matches!(FaultStatistics::of(&nan, 3, 10.0), Err(NoStatistics::BadTimes { .. })));
    }
}
