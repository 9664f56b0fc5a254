//! What is remembered about elastic jobs that run.

use std::collections::BTreeSet;

use super::request::JobNumber;

/// The elastic jobs that run and may be resized.
#[derive(Debug, Default)]
pub(super) struct Elastic {
    pub(super) jobs: BTreeSet<JobNumber>,
    /// Of these, the ones that started or were resized a short while ago, with when that is over.
    pub(super) settling: BTreeSet<(u64, JobNumber)>,
    /// Something became free, or one of them may grow that could not before.
    pub(super) is_stale: bool,
}

impl Elastic {
    pub(super) fn something_changed(&mut self) {
        self.is_stale = true;
    }
}

/// How long something takes with fewer tasks that takes so long with all: linear, rounded up.
pub(super) fn stretched(ms: u64, tasks: u32, of: u32) -> u64 {
    if tasks == of { ms } else { u64::try_from((u128::from(ms) * u128::from(of)).div_ceil(u128::from(tasks.max(1)))).unwrap_or(u64::MAX) }
}
