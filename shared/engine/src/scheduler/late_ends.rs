//! What a job's path misses, put into it once the job is here; `untold` keeps it until then.

use super::{Action, HeldState, Note, Scheduler};
use crate::job::{AttemptOutcome, AttemptSummary, JobId, MAX_HISTORY};

impl Scheduler {
    /// A job is here: what was kept for it becomes part of its path, and counts as it would have counted in time.
    pub(super) fn put_untold_into_path(&mut self, job: JobId, now_ms: u64, actions: &mut Vec<Action>) {
        for row in self.untold.take(job) {
            let Some(held) = self.jobs.get_mut(&job) else { return };
            let runs = matches!(&held.state, HeldState::Running(running) if running.attempt == row.attempt);
            if runs || is_known(&held.path.history, &row) {
                continue;
            }
            let (attempt, node, reason, outcome) = (row.attempt, row.node.clone(), row.detail.clone(), row.outcome);
            let is_failure = matches!(outcome, AttemptOutcome::Failed | AttemptOutcome::TimedOut);
            if is_failure {
                held.path.fail(row)
            } else {
                held.path.requeue(row)
            }
            held.path.history.sort_by_key(|row| row.placed_at_ms);
            if is_failure {
                self.counters.retried += 1;
                continue;
            }
            held.lost_at_ms.get_or_insert(now_ms);
            self.counters.requeued += 1;
            actions.push(Action::Note(Note::Lost { job, attempt, node, reason, path: held.path.clone() }));
        }
    }
}

/// Whether the path has this row, or had it among those that it dropped.
fn is_known(history: &[AttemptSummary], row: &AttemptSummary) -> bool {
    let is_dropped = history.len() >= MAX_HISTORY && history.first().is_some_and(|oldest| row.placed_at_ms <= oldest.placed_at_ms);
    is_dropped || history.iter().any(|known| known.attempt == row.attempt)
}
