//! How many jobs waited and ran over time, from the attempts of a run.

use std::collections::HashMap;

use faultline_planner::JobNumber;

use crate::outcome::{AttemptRow, End, JobRow};

/// Of one run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Waiting {
    /// Time in which at least one job waited, after the warm-up.
    pub queue_ms: u64,
    /// Rows of equal length, the last one to the end of the run.
    pub rows: Vec<WaitingRow>,
}

/// Means over a stretch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WaitingRow {
    pub from_ms: u64,
    pub to_ms: u64,
    pub waiting: f64,
    pub running: f64,
}

/// Something that changes at an instant.
#[derive(Debug, Clone, Copy)]
struct Step {
    at_ms: u64,
    waiting: i64,
    running: i64,
}

impl Waiting {
    /// `attempts`: all of them, those of a job in their order. A job that is placed at the instant of its submission never waits.
    pub fn of(jobs: &[JobRow], attempts: &[AttemptRow], row_ms: u64, warm_up_ms: u64, end_ms: u64) -> Self {
        let mut steps = steps(jobs, attempts, end_ms);
        steps.sort_unstable_by_key(|step| step.at_ms);
        let row_ms = row_ms.max(1);
        let rows = end_ms.div_ceil(row_ms) as usize;
        let mut sums = vec![(0.0f64, 0.0f64); rows];
        let (mut at_ms, mut waiting, mut running, mut queue_ms) = (0, 0i64, 0i64, 0);
        let last = Step { at_ms: end_ms, waiting: 0, running: 0 };
        for step in steps.into_iter().chain([last]) {
            if waiting > 0 && step.at_ms > warm_up_ms {
                queue_ms += step.at_ms - at_ms.max(warm_up_ms);
            }
            while at_ms < step.at_ms {
                let row = (at_ms / row_ms) as usize;
                let until_ms = step.at_ms.min((row as u64 + 1) * row_ms);
                if let Some((waited, ran)) = sums.get_mut(row) {
                    *waited += waiting as f64 * (until_ms - at_ms) as f64;
                    *ran += running as f64 * (until_ms - at_ms) as f64;
                }
                at_ms = until_ms;
            }
            waiting += step.waiting;
            running += step.running;
        }
        let row = |(at, (waited, ran)): (usize, (f64, f64))| {
            let (from_ms, to_ms) = (at as u64 * row_ms, end_ms.min((at as u64 + 1) * row_ms));
            let length = (to_ms - from_ms) as f64;
            WaitingRow { from_ms, to_ms, waiting: waited / length, running: ran / length }
        };
        Self { queue_ms, rows: sums.into_iter().enumerate().map(row).collect() }
    }
}

fn steps(jobs: &[JobRow], attempts: &[AttemptRow], end_ms: u64) -> Vec<Step> {
    let mut steps = Vec::with_capacity(jobs.len() + 2 * attempts.len());
    let mut free_since: HashMap<JobNumber, Option<u64>> = jobs.iter().map(|job| (job.job, Some(job.submit_ms))).collect();
    let mut wait = |from_ms: u64, to_ms: u64| {
        if from_ms < to_ms {
            steps.push(Step { at_ms: from_ms, waiting: 1, running: 0 });
            steps.push(Step { at_ms: to_ms, waiting: -1, running: 0 });
        }
    };
    for attempt in attempts {
        if let Some(Some(since_ms)) = free_since.insert(attempt.job, attempt.end_ms) {
            wait(since_ms, attempt.start_ms);
        }
    }
    for job in jobs.iter().filter(|job| job.end == End::Open) {
        if let Some(Some(since_ms)) = free_since.get(&job.job) {
            wait(*since_ms, end_ms);
        }
    }
    for attempt in attempts {
        steps.push(Step { at_ms: attempt.start_ms, waiting: 0, running: 1 });
        steps.push(Step { at_ms: attempt.end_ms.unwrap_or(end_ms), waiting: 0, running: -1 });
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::AttemptEnd;

    fn job(job: u64, submit_ms: u64, end: End) -> JobRow {
        JobRow { end, ..JobRow::new(job, submit_ms) }
    }

    fn attempt(job: u64, start_ms: u64, end_ms: Option<u64>) -> AttemptRow {
        AttemptRow { job, attempt: 1, start_ms, end_ms, end: AttemptEnd::Done, tasks: 1, nodes: vec![0], culprit: None }
    }

    /// Job 0 runs 0 to 40; job 1 waits 10 to 40, runs to 60, waits again to 80, runs on; job 2 waits from 90; job 3 is impossible.
    #[test]
    fn jobs_wait_between_attempts_too() {
        let jobs = [job(0, 0, End::Committed), job(1, 10, End::Open), job(2, 90, End::Open), job(3, 5, End::Impossible)];
        let attempts = [attempt(0, 0, Some(40)), attempt(1, 40, Some(60)), attempt(1, 80, None)];
        let waiting = Waiting::of(&jobs, &attempts, 40, 0, 100);
        assert_eq!(waiting.queue_ms, 30 + 20 + 10);
        let row = |from_ms, to_ms, waiting, running| WaitingRow { from_ms, to_ms, waiting, running };
        assert_eq!(waiting.rows, [row(0, 40, 0.75, 1.0), row(40, 80, 0.5, 0.5), row(80, 100, 0.5, 1.0)]);
        assert_eq!(Waiting::of(&jobs, &attempts, 40, 20, 100).queue_ms, 20 + 20 + 10, "a warm-up of 20");
    }
}
