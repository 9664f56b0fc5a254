//! `job ID`: what was submitted, how the job stands, and its attempts, one below the other so that they fit any terminal.

use std::fmt::Write as _;

use anyhow::anyhow;
use faultline_client::{ClientError, Leader};
use faultline_engine::job::{AttemptOutcome, AttemptSummary, JobId, JobRef, Params, Submission, class};
use faultline_engine::words::limit;
use faultline_protocol::messages::{JobState, JobView};
use faultline_protocol::views::AttemptCause;
use faultline_runtime::clock;
use faultline_runtime::connect::Nats;
use faultline_runtime::record::{read_queued, read_record_surely};

use super::jobs::view_of_record;
use super::link::Link;
use super::{causes, ids};
use crate::exit::Failure;
use crate::output::{Format, ago, clock as clock_words, date_and_clock, facts, plural, span};

type Fact = (&'static str, String);

pub(crate) async fn show(link: &Link, job: &JobRef) -> Result<(), Failure> {
    let job = ids::resolve(&link.nats, job).await?;
    let view = find(&link.nats, job).await?;
    let causes = if link.out.format == Format::Table { causes::of(&link.nats, &view.attempts).await } else { Vec::new() };
    let now_ms = clock::unix_ms();
    link.out.one(&view, |view| {
        let mut parts = vec![link.out.render(facts(&job_facts(view, now_ms)))];
        parts.extend(attempts_facts(&view.attempts, view.submitted_at_ms, &causes).iter().map(|attempt| link.out.render(facts(attempt))));
        parts.join("\n\n")
    })
}

/// The job as it is known now, with what was submitted wherever that can be read.
pub(super) async fn find(nats: &Nats, job: JobId) -> Result<JobView, Failure> {
    let held = match Leader::of(nats).active_job(job).await {
        Ok(held) => held,
        Err(error @ ClientError::Disconnected) => return Err(error.into()),
        Err(error) => {
            tracing::warn!("{error}; only what the streams hold is shown");
            None
        }
    };
    let record = read_record_surely(nats, job).await.map_err(|reason| Failure::Failed(anyhow!("RESULTS cannot be read: {reason}")))?;
    match (record, held) {
        (Some(record), Some(held)) if record.is_open => Ok(held),
        (Some(record), _) => {
            let view = view_of_record(&record).ok_or_else(|| Failure::Failed(anyhow!("the record of {job} cannot be read")))?;
            Ok(if record.is_open { with_what_waits(nats, view).await } else { view })
        }
        (None, Some(held)) => Ok(held),
        (None, None) => Err(ids::unknown(&JobRef::Whole(job))),
    }
}

/// A job that no scheduler has pulled yet is described by its message in JOBS.
async fn with_what_waits(nats: &Nats, view: JobView) -> JobView {
    match read_queued(nats, view.priority, class(&view.kind), view.id).await {
        Ok(spec) => view.with_submission(spec.as_ref().map(Submission::from)),
        Err(reason) => {
            tracing::warn!("what was submitted cannot be read from JOBS: {reason}");
            view
        }
    }
}

fn job_facts(job: &JobView, now_ms: u64) -> Vec<Fact> {
    let mut lines = vec![
        ("id", job.id.to_string()),
        ("name", job.name.clone()),
        ("kind", job.kind.clone()),
        ("priority", job.priority.to_string()),
        ("state", job.state_words().to_owned()),
        ("submitted", format!("{}, {}", date_and_clock(job.submitted_at_ms), ago(now_ms, job.submitted_at_ms))),
    ];
    lines.extend(job.submission.as_ref().map(submission_facts).unwrap_or_default());
    if let Some(end) = job.ended_at_ms {
        lines.push(("ended", format!("{}, after {}", date_and_clock(end), span(end.saturating_sub(job.submitted_at_ms)))));
    }
    if job.state == JobState::Running {
        lines.push(("progress", format!("{} %", job.progress_permille / 10)));
    }
    let interrupted = plural(job.requeues.into(), "attempt");
    lines.push(("failures", format!("{} of the job itself; {interrupted} interrupted by the node", job.failures)));
    if !job.result.is_empty() {
        lines.push(("result", job.result.clone()));
    }
    if !job.reason.is_empty() {
        lines.push(("reason", job.reason.clone()));
    }
    match &job.waiting {
        Some(waiting) if job.state == JobState::Queued => {
            lines.push(("waiting", format!("for {}: {}", span(now_ms.saturating_sub(waiting.since_ms)), waiting.summary)));
        }
        None if job.state == JobState::Queued => {
            lines.push(("waiting", "in the queue; no scheduler has taken it yet, or its submitter died before it queued it".to_owned()));
        }
        Some(_) | None => {}
    }
    lines
}

/// What was submitted.
fn submission_facts(submission: &Submission) -> Vec<Fact> {
    let Submission { demand, timeout_ms, max_retries, params, params_left_out_bytes, origin, .. } = submission;
    let mut wants = format!("{} GPU", f64::from(demand.gpu_milli) / 1000.0);
    if demand.gpu_memory_mib > 0 {
        let _ = write!(wants, ", {} MiB on each", demand.gpu_memory_mib);
    }
    if !demand.models.is_empty() {
        let _ = write!(wants, ", {}", demand.models.join(" or "));
    }
    let by = if origin.by.is_empty() { "not stated".to_owned() } else { format!("{} (as the submitter states)", origin.by) };
    let mut lines = vec![("submitted by", by)];
    lines.extend(origin.resubmitted_from.map(|first| ("repeats", first.to_string())));
    lines.push(("wants", wants));
    lines.push(("limits", format!("{} for an attempt, {}", limit(*timeout_ms), plural(u64::from(*max_retries), "retry"))));
    let shown = if *params_left_out_bytes > 0 {
        format!("{} bytes, too long to be kept in the record", params_left_out_bytes)
    } else {
        params_words(params)
    };
    lines.push(("parameters", shown));
    lines
}

pub(super) fn params_words(params: &Params) -> String {
    if params.is_empty() {
        return "none".to_owned();
    }
    params.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

/// Facts of each attempt, the first one first.
fn attempts_facts(attempts: &[AttemptSummary], submitted_at_ms: u64, causes: &[AttemptCause]) -> Vec<Vec<Fact>> {
    let mut free_since_ms = submitted_at_ms;
    let mut all = Vec::new();
    for attempt in attempts {
        let outcome = match attempt.outcome {
            AttemptOutcome::Running => "running",
            AttemptOutcome::Committed => "committed",
            AttemptOutcome::Failed => "failed",
            AttemptOutcome::TimedOut => "timed out",
            AttemptOutcome::Lost => "interrupted",
            AttemptOutcome::Cancelled => "cancelled",
            AttemptOutcome::Superseded => "superseded",
        };
        let gpus: Vec<String> = attempt.gpus.iter().map(u8::to_string).collect();
        let place = if gpus.is_empty() { attempt.node.clone() } else { format!("{}, GPU {}", attempt.node, gpus.join(" and ")) };
        let waited = span(attempt.placed_at_ms.saturating_sub(free_since_ms));
        let mut lines = vec![
            ("attempt", attempt.attempt.to_string()),
            ("outcome", outcome.to_owned()),
            ("node", format!("{place}, incarnation {}", attempt.incarnation)),
            ("placed", format!("{}, after waiting for {waited}", clock_words(attempt.placed_at_ms))),
        ];
        if let (Some(start), Some(end)) = (attempt.started_at_ms, attempt.ended_at_ms) {
            lines.push(("ran", span(end.saturating_sub(start))));
        }
        let cause = causes.iter().find(|cause| cause.attempt == attempt.attempt);
        lines.extend(cause.map(|cause| ("cause", format!("{}, noticed after {}", cause.headline, span(cause.noticed_after_ms)))));
        lines.extend(Some(("detail", attempt.detail.clone())).filter(|(_, detail)| !detail.is_empty()));
        lines.extend(Some(("why here", attempt.why.clone())).filter(|(_, why)| !why.is_empty()));
        all.push(lines);
        free_since_ms = attempt.ended_at_ms.unwrap_or(attempt.placed_at_ms);
    }
    all
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
