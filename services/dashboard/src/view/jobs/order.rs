//! The orders in which jobs are listed.

use std::cmp::Ordering;

use faultline_engine::job::Priority;
use faultline_protocol::messages::JobState;
use serde::Deserialize;

/// What jobs are sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobKey {
    #[default]
    Submitted,
    Name,
    Kind,
    /// The most urgent first.
    Priority,
    State,
    Gpus,
    Attempts,
    Wait,
    Took,
}

/// A key, and which way; by default the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JobOrder {
    pub(crate) key: JobKey,
    pub(crate) is_descending: bool,
}

impl Default for JobOrder {
    fn default() -> Self {
        Self { key: JobKey::Submitted, is_descending: true }
    }
}

/// What the order of a job depends on, beside when it was submitted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sortable<'a> {
    pub(super) name: &'a str,
    pub(super) kind: &'a str,
    pub(super) priority: Option<Priority>,
    pub(super) state: JobState,
    pub(super) gpu_milli: u32,
    pub(super) attempts: u32,
    /// From the submission to the first placement; of a job that was never placed, until its end or now.
    pub(super) wait_ms: u64,
    /// From the submission to the end, or until now.
    pub(super) took_ms: u64,
}

impl JobOrder {
    /// Of equal jobs, the one that was given first stays first.
    pub(super) fn compare(self, one: &Sortable<'_>, other: &Sortable<'_>) -> Ordering {
        let order = match self.key {
            JobKey::Submitted => Ordering::Equal,
            JobKey::Name => one.name.cmp(other.name),
            JobKey::Kind => one.kind.cmp(other.kind),
            JobKey::Priority => one.priority.cmp(&other.priority),
            JobKey::State => one.state.cmp(&other.state),
            JobKey::Gpus => one.gpu_milli.cmp(&other.gpu_milli),
            JobKey::Attempts => one.attempts.cmp(&other.attempts),
            JobKey::Wait => one.wait_ms.cmp(&other.wait_ms),
            JobKey::Took => one.took_ms.cmp(&other.took_ms),
        };
        if self.is_descending { order.reverse() } else { order }
    }
}
