mod door;
mod formats;
mod properties;
mod real;
mod sacct;

use super::*;
use crate::workload::Job;

/// Text of a format that shows itself.
fn read(text: &str) -> Result<Reading, ReadError> {
    jobs(&Source::new("FILE", text), None, &ReadSettings::default())
}

/// Submission, work, tasks, and what each task takes of how many GPUs.
fn figures(reading: &Reading, job: usize) -> (u64, u64, u32, u16, u16) {
    let Job { submit_ms, work_ms, tasks, class, .. } = reading.workload.jobs[job];
    let class = &reading.workload.classes[class as usize];
    (submit_ms, work_ms, tasks, class.gpus, class.gpu_milli)
}

fn dropped(report: &ReadReport) -> Vec<(Dropped, u64)> {
    report.dropped.iter().map(|dropped| (dropped.reason, dropped.rows)).collect()
}

fn statuses(report: &ReadReport) -> Vec<(&str, u64, f64)> {
    report.statuses.iter().map(|share| (share.status.as_str(), share.jobs, share.gpu_hours())).collect()
}

fn error(text: &str) -> String {
    read(text).unwrap_err().to_string()
}
