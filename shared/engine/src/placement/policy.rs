//! What a policy is: it scores the nodes that could take a job.

use crate::job::JobSpec;

/// A node that could take the job, as a policy sees it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Position among all nodes, stable while they live.
    pub index: usize,
    /// Thousandths of a GPU that are free on the node, and in all.
    pub free_milli: u32,
    pub total_milli: u32,
    pub free_slots: u32,
    pub total_slots: u32,
}

/// Chooses among the nodes that could take a job. The node with the highest score gets it; of equals, the first.
pub trait Policy: Send {
    fn name(&self) -> &'static str;

    /// How good this node is for this job. Only the order of scores matters.
    fn score(&mut self, job: &JobSpec, candidate: &Candidate) -> f64;

    /// The job went to this node.
    fn placed(&mut self, _index: usize) {}

    /// The reason in words, for the job's path.
    fn why(&self, candidate: &Candidate) -> String;
}
