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
mod sensitivity;
mod values;

pub(crate) use file::read_as;
pub(crate) use jobs::gpu_milli;
pub(crate) use problem::Lines;

pub use expect::Expect;
pub use file::{
    Choice, ClusterTable, Estimate, ExpectTable, FaultsTable, File, Generator, JobTable, JobsTable, NodesTable, PolicyTable, RepairTable,
    Resample, RetirementTable, Rows, RunTable, Scale, SensitivityTable, WorkloadTable,
};
pub use load::{Experiment, ReadFile, Variant};
pub use problem::Problem;
pub use queues::{AmountsTable, Preempt, QueueTable};
pub use values::{CheckpointEvery, DetectorName, Placement, Seeds, Span, Word};

/// Reads a file's text: all that is wrong with it, in the order of its lines, or the experiment.
pub fn parse(text: &str) -> Result<File, Vec<Problem>> {
    let file::Read { file, mut problems, replaced } = file::read(text);
    if let Some(file) = &file {
        // What was taken out is not wrong for a second reason.
        let is_within = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let is_told = |field: &str| replaced.iter().any(|path| is_within(path, field) || is_within(field, path));
        problems.extend(check::check(file, text).into_iter().filter(|problem| !is_told(&problem.field)));
    }
    problems.sort_by_key(|problem| problem.line);
    match file {
        Some(file) if problems.is_empty() => Ok(file),
        _ => Err(problems),
    }
}

#[cfg(test)]
mod tests;
