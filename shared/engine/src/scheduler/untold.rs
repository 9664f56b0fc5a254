//! Ends of attempts that the leader of their time may not have heard of: NATS stood still, or the worker was cut off, and another leader
//! was elected meanwhile. Workers repeat them to a new leader, which puts them into the path of the job once it has the job. An end that
//! is in the path already changes nothing, so that they can be repeated as often as one likes.

use std::collections::BTreeMap;

use crate::job::{AttemptSummary, EndedAttempt, JobId, MAX_HISTORY};

/// The most jobs that are waited for. One that is dropped is over long since, or loses a row of its path.
const MAX_WAITING: usize = 8192;

/// Rows that wait for their jobs.
#[derive(Debug, Clone, Default)]
pub(super) struct Untold(BTreeMap<JobId, Vec<AttemptSummary>>);

impl Untold {
    /// Keeps an end whose worker says that the history may not have it.
    pub(super) fn keep(&mut self, ended: &EndedAttempt) {
        let Some(row) = &ended.row else { return };
        // Ids begin with a time: the first job is the oldest.
        if self.0.len() >= MAX_WAITING && !self.0.contains_key(&ended.job) {
            self.0.pop_first();
        }
        let rows = self.0.entry(ended.job).or_default();
        if rows.len() < MAX_HISTORY && rows.iter().all(|known| known.attempt != row.attempt) {
            rows.push((**row).clone());
        }
    }

    /// What was kept for a job, which is here now.
    pub(super) fn take(&mut self, job: JobId) -> Vec<AttemptSummary> {
        self.0.remove(&job).unwrap_or_default()
    }
}
