//! Experiments: files in TOML that say what is run, with which policies, over which seeds, and what is expected of it.
//!
//! `file` is what may stand in one, `check` what makes sense, `load` what it becomes when the files that it names are read. Everything that can
//! be wrong is found before anything runs, and told with its line, its field, and a remedy. docs/lab.md has the fields.

mod check;
mod expect;
mod file;
mod jobs;
mod load;
mod merge;
mod problem;
mod queues;
mod values;

pub use expect::Expect;
pub use file::{
    Choice, ClusterTable, Estimate, ExpectTable, FaultsTable, File, Generator, JobTable, JobsTable, NodesTable, PolicyTable, RepairTable,
    Resample, RetirementTable, Rows, RunTable, Scale, WorkloadTable,
};
pub use load::{Experiment, ReadFile, Variant};
pub use problem::Problem;
pub use queues::{AmountsTable, Preempt, QueueTable};
pub use values::{CheckpointEvery, DetectorName, Placement, Seeds, Span, Word};

/// Reads a file's text: all that is wrong with it, in the order of its lines, or the experiment.
pub fn parse(text: &str) -> Result<File, Vec<Problem>> {
    let file = file::read(text)?;
    let problems = check::check(&file, text);
    if problems.is_empty() { Ok(file) } else { Err(problems) }
}

#[cfg(test)]
mod tests;
