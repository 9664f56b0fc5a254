//! Where each job was placed last, as long as nothing else was told of that attempt.

use std::collections::{HashMap, VecDeque};

use faultline_engine::job::{AttemptId, JobId};

/// The newest that are kept. Readers that are told no ends keep this many; what was placed before those is then not missed when it dies untold.
const MAX_PLACED: usize = 50_000;

#[derive(Debug, Default)]
pub(super) struct LastPlaced {
    jobs: HashMap<JobId, (AttemptId, String)>,
    /// In the order in which they were placed; some have been removed, or placed again, since.
    order: VecDeque<(JobId, AttemptId)>,
}

impl LastPlaced {
    /// The attempt that the job had until now, and its node; `None` if it had none, or this one.
    pub(super) fn replace(&mut self, job: JobId, attempt: AttemptId, node: &str) -> Option<(AttemptId, String)> {
        let before = self.jobs.insert(job, (attempt, node.to_owned()));
        if before.as_ref().is_some_and(|(known, _)| *known == attempt) {
            return None;
        }
        self.order.push_back((job, attempt));
        if self.order.len() > MAX_PLACED
            && let Some((oldest, of)) = self.order.pop_front()
        {
            self.forget(oldest, of);
        }
        before
    }

    /// That attempt has ended, or its end was told.
    pub(super) fn forget(&mut self, job: JobId, attempt: AttemptId) {
        if self.jobs.get(&job).is_some_and(|(known, _)| *known == attempt) {
            self.jobs.remove(&job);
        }
    }

    /// The job has ended.
    pub(super) fn remove(&mut self, job: JobId) {
        self.jobs.remove(&job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_told_of_once_and_the_oldest_go_first() {
        let (job, attempt) = (|n: u64| JobId::new(n, 1), |n: u64| AttemptId::new(n, 1));
        let mut placed = LastPlaced::default();
        assert_eq!(placed.replace(job(1), attempt(1), "a"), None);
        assert_eq!(placed.replace(job(1), attempt(1), "a"), None);
        assert_eq!(placed.replace(job(1), attempt(2), "b"), Some((attempt(1), "a".to_owned())));
        placed.forget(job(1), attempt(1));
        assert_eq!(placed.replace(job(1), attempt(3), "c"), Some((attempt(2), "b".to_owned())));
        placed.remove(job(1));
        assert_eq!(placed.replace(job(1), attempt(4), "d"), None);
        for n in 2..=MAX_PLACED as u64 + 1 {
            placed.replace(job(n), attempt(n), "e");
        }
        assert_eq!((placed.order.len(), placed.replace(job(1), attempt(5), "f")), (MAX_PLACED, None));
    }
}
