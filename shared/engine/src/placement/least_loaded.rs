//! Spreads: the node with the largest free part of its GPUs (or of its slots, where that is less) gets the job.

use super::{Candidate, Policy};
use crate::job::JobSpec;

#[derive(Debug)]
pub struct LeastLoaded;

fn free_part(candidate: &Candidate) -> f64 {
    let part = |free: u32, total: u32| if total == 0 { 1.0 } else { f64::from(free) / f64::from(total) };
    part(candidate.free_milli, candidate.total_milli).min(part(candidate.free_slots, candidate.total_slots))
}

impl Policy for LeastLoaded {
    fn name(&self) -> &'static str {
        "least-loaded"
    }

    fn score(&mut self, _job: &JobSpec, candidate: &Candidate) -> f64 {
        free_part(candidate)
    }

    fn why(&self, candidate: &Candidate) -> String {
        format!("least-loaded: {:.0} % free", free_part(candidate) * 100.0)
    }
}
