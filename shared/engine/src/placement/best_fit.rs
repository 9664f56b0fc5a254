//! Packs: the node that has the least left over afterwards gets the job, so that large holes stay for large jobs.

use super::{Candidate, Policy};
use crate::job::JobSpec;

#[derive(Debug)]
pub struct BestFit;

impl Policy for BestFit {
    fn name(&self) -> &'static str {
        "best-fit"
    }

    fn score(&mut self, job: &JobSpec, candidate: &Candidate) -> f64 {
        -f64::from(candidate.free_milli.saturating_sub(job.demand.gpu_milli))
    }

    fn why(&self, candidate: &Candidate) -> String {
        format!("best-fit: {:.2} GPUs were free", f64::from(candidate.free_milli) / 1000.0)
    }
}
