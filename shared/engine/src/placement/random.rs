//! Draws: every node that could take the job is as likely as the others. The baseline that other policies must beat.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::{Candidate, Policy};
use crate::job::JobSpec;

#[derive(Debug)]
pub struct Random {
    rng: Pcg64Mcg,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { rng: Pcg64Mcg::seed_from_u64(seed) }
    }
}

impl Policy for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn score(&mut self, _job: &JobSpec, _candidate: &Candidate) -> f64 {
        self.rng.random()
    }

    fn why(&self, _candidate: &Candidate) -> String {
        "random: drawn".to_owned()
    }
}
