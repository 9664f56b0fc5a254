//! One HTML file about a set of runs: no network, no script, light and dark, figures as SVG.
//!
//! It is made from the tables and the manifest alone. The verdict comes first, in words; then what may be wrong with it.

mod chart;
mod classes;
mod demand;
mod distributions;
mod gantt;
mod groups;
mod overview;
mod page;
mod repeat;
mod sample;
mod sensitivity;
mod time;
mod verdict;
mod warnings;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use crate::statistics::{Interval, mean, mean_interval};
use crate::tables::{CompareLine, Group, JobLine, Manifest, SummaryLine, UsageLine, over_shared_seeds};

pub use page::html;
pub use sample::Sample;
pub use verdict::{Verdict, verdict};
pub use warnings::warnings;
pub use words::{chance, difference_in_words, in_words};

/// What a report is made from.
#[derive(Debug, Clone)]
pub struct Tables {
    pub manifest: Manifest,
    pub summary: Vec<SummaryLine>,
    pub compare: Vec<CompareLine>,
    /// The classes of `usage`, in the order of its columns.
    pub classes: Vec<String>,
    pub usage: Vec<UsageLine>,
    pub jobs: Vec<JobLine>,
    /// What ran on a few nodes for a while.
    pub sample: Sample,
}

impl Tables {
    pub fn policies(&self) -> &[String] {
        &self.manifest.contents.policies
    }

    /// A figure of a policy, seed by seed, over the seeds that all policies have it for.
    pub(crate) fn values(&self, policy: &str, group: Group, of: &str, metric: &str) -> Vec<f64> {
        over_shared_seeds(&self.summary, group, of, metric).remove(policy).into_iter().flat_map(BTreeMap::into_values).collect()
    }

    /// The mean over the seeds, with its interval when there are several.
    pub(crate) fn figure(&self, policy: &str, group: Group, of: &str, metric: &str) -> Option<Figure> {
        let values = self.values(policy, group, of, metric);
        (!values.is_empty()).then(|| Figure { mean: mean(&values), interval: mean_interval(&values), seeds: values.len() })
    }

    /// The mean over the seeds of a figure of all jobs.
    pub fn of_all(&self, policy: &str, metric: &str) -> Option<f64> {
        self.figure(policy, Group::All, "", metric).map(|figure| figure.mean)
    }

    /// The tie rule of a policy, as its runs say.
    pub fn tie(&self, policy: &str) -> &str {
        self.summary.iter().find(|line| line.policy == policy).map_or("", |line| &line.tie)
    }

    /// The seeds that every policy with a run has run with.
    pub(crate) fn seeds(&self) -> Vec<u64> {
        let mut by_policy: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        for run in &self.manifest.contents.runs {
            by_policy.entry(&run.policy).or_default().insert(run.seed);
        }
        by_policy.into_values().reduce(|all, seeds| &all & &seeds).into_iter().flatten().collect()
    }
}

/// A mean over seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure {
    pub(crate) mean: f64,
    pub(crate) interval: Option<Interval>,
    /// How many.
    pub(crate) seeds: usize,
}

#[cfg(test)]
mod tests;
