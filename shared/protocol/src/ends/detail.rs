//! What people are shown of an attempt or a job that has ended, as bytes in its entry.

use faultline_engine::ends::{Detail, EndRecord, Halves};
use faultline_engine::job::{AttemptId, AttemptOutcome, AttemptSummary, Demand, JobId, Origin, Params, Path, Priority, Submission};
use serde::{Deserialize, Serialize};

use super::error::Unreadable;
use super::wire::{Blob, read, write};

const VERSION: u8 = 1;

#[derive(Debug, Serialize, Deserialize)]
enum Wire {
    #[serde(rename = "e")]
    End(Box<End>),
    #[serde(rename = "f")]
    Failure(Box<Row>),
}

#[derive(Debug, Serialize, Deserialize)]
struct End {
    name: String,
    kind: String,
    priority: u8,
    submitted_at_ms: u64,
    ended_at_ms: u64,
    result: String,
    reason: String,
    failures: u32,
    requeues: u32,
    history: Vec<Row>,
    submission: Option<Submitted>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    attempt: Halves,
    node: String,
    incarnation: u64,
    gpus: Blob,
    gpu_milli: u32,
    placed_at_ms: u64,
    started_at_ms: Option<u64>,
    ended_at_ms: Option<u64>,
    outcome: u8,
    detail: String,
    why: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Submitted {
    gpu_milli: u32,
    gpu_memory_mib: u32,
    models: Vec<String>,
    expected_ms: u64,
    timeout_ms: u64,
    max_retries: u32,
    params: Params,
    params_left_out_bytes: u64,
    by: String,
    resubmitted_from: Option<JobId>,
}

/// The outcomes, each with its number.
const OUTCOMES: [AttemptOutcome; 7] = [
    AttemptOutcome::Running,
    AttemptOutcome::Committed,
    AttemptOutcome::Failed,
    AttemptOutcome::TimedOut,
    AttemptOutcome::Lost,
    AttemptOutcome::Cancelled,
    AttemptOutcome::Superseded,
];

/// Encodes the detail of an entry.
pub fn encode_detail(detail: &Detail) -> Vec<u8> {
    let wire = match detail {
        Detail::End(record) => Wire::End(Box::new(end(record))),
        Detail::Failure(row) => Wire::Failure(Box::new(Row::from(row.as_ref()))),
    };
    write(VERSION, &wire)
}

/// Decodes the detail of an entry; none where the entry has none.
pub fn decode_detail(bytes: &[u8]) -> Result<Option<Detail>, Unreadable> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let detail = match read(VERSION, bytes)? {
        Wire::End(end) => Detail::End(Box::new(record(*end)?)),
        Wire::Failure(row) => Detail::Failure(Box::new(summary(*row)?)),
    };
    Ok(Some(detail))
}

fn end(record: &EndRecord) -> End {
    let Path { failures, requeues, history } = &record.path;
    End {
        name: record.name.clone(),
        kind: record.kind.clone(),
        priority: record.priority as u8,
        submitted_at_ms: record.submitted_at_ms,
        ended_at_ms: record.ended_at_ms,
        result: record.result.clone(),
        reason: record.reason.clone(),
        failures: *failures,
        requeues: *requeues,
        history: history.iter().map(Row::from).collect(),
        submission: record.submission.as_ref().map(Submitted::from),
    }
}

fn record(end: End) -> Result<EndRecord, Unreadable> {
    let history = end.history.into_iter().map(summary).collect::<Result<_, _>>()?;
    Ok(EndRecord {
        name: end.name,
        kind: end.kind,
        priority: numbered(&Priority::ALL, end.priority)?,
        submitted_at_ms: end.submitted_at_ms,
        ended_at_ms: end.ended_at_ms,
        result: end.result,
        reason: end.reason,
        path: Path { failures: end.failures, requeues: end.requeues, history },
        submission: end.submission.map(Submission::from),
    })
}

fn numbered<T: Copy>(all: &[T], number: u8) -> Result<T, Unreadable> {
    let unknown = || Unreadable::Body { reason: format!("unknown number {number} of a priority or an outcome") };
    all.get(usize::from(number)).copied().ok_or_else(unknown)
}

impl From<&AttemptSummary> for Row {
    fn from(row: &AttemptSummary) -> Self {
        Self {
            attempt: row.attempt.to_u128().into(),
            node: row.node.clone(),
            incarnation: row.incarnation,
            gpus: Blob(row.gpus.clone()),
            gpu_milli: row.gpu_milli,
            placed_at_ms: row.placed_at_ms,
            started_at_ms: row.started_at_ms,
            ended_at_ms: row.ended_at_ms,
            outcome: OUTCOMES.iter().position(|outcome| *outcome == row.outcome).unwrap_or(0) as u8,
            detail: row.detail.clone(),
            why: row.why_words(),
        }
    }
}

fn summary(row: Row) -> Result<AttemptSummary, Unreadable> {
    Ok(AttemptSummary {
        attempt: AttemptId::from_u128(row.attempt.into()),
        node: row.node,
        incarnation: row.incarnation,
        gpus: row.gpus.0,
        gpu_milli: row.gpu_milli,
        placed_at_ms: row.placed_at_ms,
        started_at_ms: row.started_at_ms,
        ended_at_ms: row.ended_at_ms,
        outcome: numbered(&OUTCOMES, row.outcome)?,
        detail: row.detail,
        why: row.why,
        choice: None,
    })
}

impl From<&Submission> for Submitted {
    fn from(submission: &Submission) -> Self {
        let Submission { demand, origin, .. } = submission;
        Self {
            gpu_milli: demand.gpu_milli,
            gpu_memory_mib: demand.gpu_memory_mib,
            models: demand.models.clone(),
            expected_ms: submission.expected_ms,
            timeout_ms: submission.timeout_ms,
            max_retries: submission.max_retries,
            params: submission.params.clone(),
            params_left_out_bytes: submission.params_left_out_bytes,
            by: origin.by.clone(),
            resubmitted_from: origin.resubmitted_from,
        }
    }
}

impl From<Submitted> for Submission {
    fn from(submitted: Submitted) -> Self {
        let Submitted { gpu_milli, gpu_memory_mib, models, .. } = submitted;
        Self {
            demand: Demand { gpu_milli, gpu_memory_mib, models },
            expected_ms: submitted.expected_ms,
            timeout_ms: submitted.timeout_ms,
            max_retries: submitted.max_retries,
            params: submitted.params,
            params_left_out_bytes: submitted.params_left_out_bytes,
            origin: Origin { by: submitted.by, resubmitted_from: submitted.resubmitted_from },
        }
    }
}

#[cfg(test)]
#[path = "detail_tests.rs"]
mod tests;
