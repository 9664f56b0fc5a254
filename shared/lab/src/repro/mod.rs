//! Results that others published, computed again: each module has one of them, with its setup, its source, and its tolerance.

pub mod airesim;
pub mod ettr;
pub mod hbd;
pub mod llama3;
pub mod philly;
pub mod rls;

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
