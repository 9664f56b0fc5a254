//! What is remembered about stopping jobs for others.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::request::{JobNumber, Request};

#[derive(Debug, Default)]
pub(super) struct Stops {
    /// For whom none was found that could be stopped, and when to look again though nothing changes.
    in_vain: HashMap<JobNumber, Option<u64>>,
    /// Stopped, and not yet known what is left of them.
    stopped: HashSet<JobNumber>,
    /// How many jobs run that can be stopped, by queue and priority.
    running: BTreeMap<(u32, u8), u32>,
}

impl Stops {
    /// All that may help a job for which none was found.
    pub(super) fn something_changed(&mut self) {
        self.in_vain.clear();
    }

    pub(super) fn started(&mut self, request: &Request) {
        if request.preemptible {
            *self.running.entry((request.queue, request.priority)).or_default() += 1;
        }
        self.something_changed();
    }

    pub(super) fn ended(&mut self, request: &Request) {
        if let Some(running) = self.running.get_mut(&(request.queue, request.priority)).filter(|_| request.preemptible) {
            *running -= 1;
        }
        self.something_changed();
    }

    /// Whether jobs of the queue run that have a lower priority.
    pub(super) fn has_lower(&self, queue: u32, priority: u8) -> bool {
        self.running.range((queue, 0)..(queue, priority)).any(|(_, running)| *running > 0)
    }

    pub(super) fn set_in_vain(&mut self, job: JobNumber, again_ms: Option<u64>) {
        self.in_vain.insert(job, again_ms);
    }

    pub(super) fn is_in_vain(&self, job: JobNumber, now_ms: u64) -> bool {
        self.in_vain.get(&job).is_some_and(|again_ms| again_ms.is_none_or(|again_ms| again_ms > now_ms))
    }

    /// When a job has run for long enough to be stopped for one that waits.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.in_vain.values().filter_map(|again_ms| *again_ms).min()
    }

    pub(super) fn stopped(&mut self, job: JobNumber) {
        self.stopped.insert(job);
    }

    /// Whether it was stopped and its owner has not said yet what is left of it; not any more from now on.
    pub(super) fn take(&mut self, job: JobNumber) -> bool {
        self.stopped.remove(&job)
    }

    /// The job waits no longer.
    pub(super) fn forget(&mut self, job: JobNumber) {
        self.stopped.remove(&job);
        self.in_vain.remove(&job);
    }
}
