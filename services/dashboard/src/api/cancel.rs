//! Cancelling: one job, or all that match.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use faultline_engine::job::{Priority, is_token};
use faultline_protocol::messages::{CancelAnswer, CancelOutcome, JobState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{JobPath, JsonBody};
use super::jobs::unknown_job;
use crate::app::App;
use crate::cluster::ClusterError;
use crate::error::{ApiError, ErrorBody, ErrorDetail};
use crate::view::JobFilter;

/// The most jobs that one request cancels.
const MAX_CANCELLED: usize = 1_000;
/// Jobs in one question to the scheduler: each of them is a write to a stream, and the answer is awaited.
const AT_ONCE: usize = 100;
const MAX_TEXT_CHARS: usize = 100;

/// Cancel a job
#[utoipa::path(post, path = "/api/v1/jobs/{id}/cancel", tag = "jobs", params(("id" = String, Path, description = "the job's id, or at least 8 characters from its beginning or end")),
    responses((status = 200, body = CancelAnswer), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "it had already ended"),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn one(State(app): State<App>, JobPath(job): JobPath) -> Result<Json<CancelAnswer>, ApiError> {
    let reply = app.cluster.cancel(vec![job]).await?;
    let Some(answer) = reply.answers.into_iter().find(|answer| answer.job == job) else {
        return Err(ClusterError::Failed("the scheduler said nothing about this job".into()).into());
    };
    match answer.outcome {
        CancelOutcome::Cancelled => Ok(Json(answer)),
        CancelOutcome::NotFound => Err(unknown_job(job)),
        CancelOutcome::AlreadyEnded => {
            let detail = if answer.detail.is_empty() { "it had already ended".into() } else { answer.detail };
            Err(ApiError::new(StatusCode::CONFLICT, "already_ended", format!("job {job} was not cancelled: {detail}")))
        }
        CancelOutcome::Failed => Err(ClusterError::Failed(format!("job {job} was not cancelled: {}", answer.detail)).into()),
    }
}

/// Which jobs are cancelled: those that match all that is given, and have not ended.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelFilter {
    /// `queued` or `running`; both when absent.
    pub(crate) state: Option<JobState>,
    pub(crate) kind: Option<String>,
    /// A node that it runs or ran on.
    pub(crate) node: Option<String>,
    pub(crate) priority: Option<Priority>,
    /// Tried at least so often.
    pub(crate) attempts_min: Option<u32>,
    /// Part of the name or id; case does not matter.
    pub(crate) q: Option<String>,
    /// Must be true when nothing else is given: then all jobs are cancelled.
    #[serde(default)]
    pub(crate) all: bool,
}

impl CancelFilter {
    fn decode(self) -> Result<JobFilter, ApiError> {
        if self.state.is_some_and(JobState::is_terminal) {
            return Err(ApiError::invalid("state", "only queued and running jobs can be cancelled"));
        }
        for (field, value) in [("kind", &self.kind), ("node", &self.node)] {
            if value.as_ref().is_some_and(|value| !value.split(':').all(is_token)) {
                return Err(ApiError::invalid(field, "only letters, digits, `-`, `_` and `:` can occur here"));
            }
        }
        if self.q.as_ref().is_some_and(|text| text.chars().count() > MAX_TEXT_CHARS) {
            return Err(ApiError::invalid("q", format!("at most {MAX_TEXT_CHARS} characters")));
        }
        let filter = JobFilter {
            states: self.state.into_iter().collect(),
            kind: self.kind,
            node: self.node,
            priority: self.priority,
            min_attempts: self.attempts_min.unwrap_or(0),
            text: self.q.map(|text| text.to_lowercase()),
        };
        match filter == JobFilter::default() {
            true if !self.all => Err(ApiError::invalid("all", "no filter is given: send {\"all\": true} to cancel every job")),
            false if self.all => Err(ApiError::invalid("all", "give either a filter or all, not both")),
            true | false => Ok(filter),
        }
    }
}

/// What became of the jobs that matched.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct BulkCancelled {
    /// Jobs that matched and were tried.
    pub(crate) matched: usize,
    pub(crate) cancelled: usize,
    /// They had ended before, or are not known any more.
    pub(crate) already_ended: usize,
    pub(crate) failed: usize,
    /// Whether more jobs match: at most 1,000 are cancelled at a time.
    pub(crate) more: bool,
    /// Present when some failed: why the last of them did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorDetail>,
}

/// Cancel all jobs that match, the newest 1,000 at a time
#[utoipa::path(post, path = "/api/v1/jobs/cancel", tag = "jobs", request_body = CancelFilter,
    responses((status = 200, body = BulkCancelled, description = "also when some failed: `error` says why"), (status = 400, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn matching(State(app): State<App>, JsonBody(filter): JsonBody<CancelFilter>) -> Result<Json<BulkCancelled>, ApiError> {
    let filter = filter.decode()?;
    let (jobs, more) = app.view.read().jobs.open_ones(&filter, MAX_CANCELLED);
    let mut done = BulkCancelled { more, ..BulkCancelled::default() };
    for some in jobs.chunks(AT_ONCE) {
        let reply = match app.cluster.cancel(some.to_vec()).await {
            Ok(reply) => reply,
            Err(error) if done.matched == 0 => return Err(error.into()),
            Err(error) => {
                done.matched += some.len();
                done.failed += some.len();
                done.error = Some(*ApiError::from(error).detail);
                continue;
            }
        };
        done.matched += some.len();
        for answer in reply.answers {
            match answer.outcome {
                CancelOutcome::Cancelled => done.cancelled += 1,
                CancelOutcome::AlreadyEnded | CancelOutcome::NotFound => done.already_ended += 1,
                CancelOutcome::Failed => {
                    done.failed += 1;
                    done.error = Some(*ApiError::from(ClusterError::Failed(answer.detail)).detail);
                }
            }
        }
    }
    Ok(Json(done))
}
