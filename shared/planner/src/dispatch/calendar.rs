//! When and where waiting jobs are going to run, for conservative backfilling.

use crate::node::Placement;

use super::request::JobNumber;

/// When and where a job is going to run.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) job: JobNumber,
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
    pub(super) placements: Vec<Placement>,
}

/// All that is planned.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    pub(super) planned: Vec<Planned>,
    pub(super) is_stale: bool,
}

impl Calendar {
    /// The nodes changed: no plan holds any more.
    pub(super) fn forget(&mut self) {
        *self = Self { planned: Vec::new(), is_stale: true };
    }

    /// Something changed.
    pub(super) fn touch(&mut self) {
        self.is_stale = true;
    }

    pub(super) fn starts_ms(&self) -> impl Iterator<Item = u64> + '_ {
        self.planned.iter().map(|planned| planned.from_ms)
    }

    pub(super) fn start_of(&self, job: JobNumber) -> Option<u64> {
        self.planned.iter().find(|planned| planned.job == job).map(|planned| planned.from_ms)
    }
}
