//! All jobs, running and waiting, in one order: those go whose GPUs together are no more than there are, the others are stopped or wait.
//!
//! The rule of shortest remaining time first in Helios (Hu et al., SC'21). Whether the GPUs lie where a job needs them is looked at only when it is
//! placed, so a job may be stopped for one that then does not fit.

use super::Dispatcher;
use super::job::{Job, State};
use super::pass::{Attempt, Passing};
use super::request::JobNumber;

/// A job's place in the order.
struct Candidate {
    job: JobNumber,
    gpu_milli: u64,
    is_running: bool,
}

impl Dispatcher {
    pub(super) fn pass_by_count(&mut self, passing: &mut Passing) {
        let mut left_milli = self.planner.amounts().gpu_milli;
        let (mut goes, mut stops) = (Vec::new(), Vec::new());
        for Candidate { job, gpu_milli, is_running } in self.in_one_order(passing.now_ms) {
            match left_milli.checked_sub(gpu_milli) {
                Some(rest_milli) => {
                    left_milli = rest_milli;
                    goes.extend((!is_running).then_some(job));
                }
                None => stops.extend(is_running.then_some(job)),
            }
        }
        let Some(first) = goes.first().copied() else { return };
        stops.into_iter().for_each(|job| self.stop(job, first, passing));
        for job in goes {
            let Some((key, line)) = self.place_in_line(job) else { continue };
            self.lines.step_forward(line);
            if self.attempt(key, line, passing) == Attempt::OutOfBudget {
                return;
            }
        }
    }

    /// By priority, then by what is left of the estimate, then as submitted.
    fn in_one_order(&self, now_ms: u64) -> Vec<Candidate> {
        let of = |(number, job): (&JobNumber, &Job)| {
            let (left_ms, is_running, tasks) = match &job.state {
                State::Running(run) => (run.ends_ms.saturating_sub(now_ms), true, run.placements.len() as u32),
                State::Waiting { .. } => (job.expected_ms.unwrap_or(u64::MAX), false, job.request.tasks),
            };
            let gpu_milli = self.amounts_of(job.request.class, tasks).gpu_milli;
            let step = u8::MAX - job.request.priority;
            ((step, left_ms, job.request.submitted_ms, *number), Candidate { job: *number, gpu_milli, is_running })
        };
        let mut all: Vec<_> = self.jobs.iter().map(of).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all.into_iter().map(|(_, candidate)| candidate).collect()
    }
}
