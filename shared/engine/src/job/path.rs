//! What a job has been through.

use serde::{Deserialize, Serialize};

use super::attempt::{Assignment, AttemptSummary, push_history};

/// How often a job has failed and been requeued, and the attempts that ended. Messages and records have the same as three fields of their
/// own: a nested struct would be another format, and a flattened one is read through a buffer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Path {
    /// How often the job itself has failed.
    pub failures: u32,
    /// How often it was requeued because a node went away.
    pub requeues: u32,
    /// The newest attempts, oldest first.
    pub history: Vec<AttemptSummary>,
}

impl Path {
    /// The attempt of this row failed by the job's own fault.
    pub fn fail(&mut self, row: AttemptSummary) {
        self.failures += 1;
        push_history(&mut self.history, row);
    }

    /// The attempt of this row ended by no fault of the job's.
    pub fn requeue(&mut self, row: AttemptSummary) {
        self.requeues += 1;
        push_history(&mut self.history, row);
    }

    /// Takes in what another source knows of the same job: the counts that are higher, the history that is longer, or goes on for longer
    /// where both are full.
    pub fn merge(&mut self, other: Path) {
        self.failures = self.failures.max(other.failures);
        self.requeues = self.requeues.max(other.requeues);
        let reach = |path: &Path| (path.history.len(), path.history.last().map(|row| row.placed_at_ms));
        if reach(&other) > reach(self) {
            self.history = other.history;
        }
    }
}

impl Assignment {
    /// What the job had been through before.
    pub fn path(&self) -> Path {
        Path { failures: self.failures, requeues: self.requeues, history: self.history.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{AttemptId, AttemptOutcome, MAX_HISTORY};

    fn row(placed_at_ms: u64, detail: &str) -> AttemptSummary {
        AttemptSummary {
            attempt: AttemptId::new(placed_at_ms, 1),
            node: "gpu-node-01".into(),
            incarnation: 1,
            gpus: vec![0],
            gpu_milli: 1_000,
            placed_at_ms,
            started_at_ms: None,
            ended_at_ms: None,
            outcome: AttemptOutcome::Lost,
            detail: detail.into(),
            why: String::new(),
            choice: None,
        }
    }

    #[test]
    fn the_history_that_tells_more_is_kept() {
        let path = |rows: std::ops::Range<u64>, detail: &str| {
            let mut path = Path::default();
            rows.for_each(|placed_at_ms| path.requeue(row(placed_at_ms, detail)));
            path
        };
        let merged = |mut one: Path, other: Path| {
            one.merge(other);
            (one.requeues, one.history.last().map(|row| (row.placed_at_ms, row.detail.clone())))
        };
        assert_eq!(merged(Path::default(), path(1..2, "lost")), (1, Some((1, "lost".into()))), "a new leader reads back an interruption");
        assert_eq!(merged(path(1..2, "failed"), path(1..2, "lost")).1, Some((1, "failed".into())), "the same attempts: the own word");
        let full = MAX_HISTORY as u64 + 1;
        assert_eq!(merged(path(1..full, "a"), path(1..full + 1, "b")), (full as u32, Some((full, "b".into()))));
    }
}
