//! What one measurement gives.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// What one measurement gave.
pub(crate) struct Measured {
    pub(crate) jobs_per_s: f64,
    /// From the submission to the commit, of jobs one at a time.
    pub(crate) latency: Histogram<u64>,
    /// Processor time a job, in microseconds, by process.
    pub(crate) cpu_us: BTreeMap<String, f64>,
}

pub(crate) fn new_histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

pub(crate) fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
