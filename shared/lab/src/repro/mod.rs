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
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::setup::InvalidSetup;

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

    pub fn verdict(&self) -> &'static str {
        if self.agrees() { "agrees" } else { "differs" }
    }
}

/// Mean and standard error of the mean.
pub(crate) fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    (mean, (variance / count).sqrt())
}

/// What each seed gives, in the order of seeds. As many at once as there are processors.
pub(crate) fn over_seeds<T: Send>(seeds: Range<u64>, one: impl Fn(u64) -> Result<T, InvalidSetup> + Sync) -> Result<Vec<T>, InvalidSetup> {
    let next = AtomicU64::new(seeds.start);
    let work = || -> Result<Vec<(u64, T)>, InvalidSetup> {
        let mut done = Vec::new();
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| seeds.contains(seed)) {
            done.push((seed, one(seed)?));
        }
        Ok(done)
    };
    let count = seeds.end.saturating_sub(seeds.start) as usize;
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get()).min(count.max(1));
    let mut all = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let done = running.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        done.collect::<Result<Vec<_>, _>>().map(|parts| parts.into_iter().flatten().collect::<Vec<_>>())
    })?;
    all.sort_by_key(|(seed, _)| *seed);
    Ok(all.into_iter().map(|(_, value)| value).collect())
}
