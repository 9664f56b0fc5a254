//! Submitting a job once more: a new job with the same parameters, demand and limits, which names the first.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use faultline_engine::job::{JobId, NotKept, Priority};
use faultline_runtime::clock::random_u128;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{JobPath, OptionalJsonBody};
use super::jobs;
use super::submit::SUBMITTER;
use crate::app::App;
use crate::error::{ApiError, ErrorBody};

/// What differs from the original job.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResubmitRequest {
    /// That of the first job when absent.
    pub(crate) priority: Option<Priority>,
}

/// The new job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Resubmission {
    pub(crate) id: JobId,
    pub(crate) resubmitted_from: JobId,
}

/// Submit a job again, as a new one with the same parameters, demand and limits
#[utoipa::path(post, path = "/api/v1/jobs/{id}/resubmit", tag = "jobs", request_body = Option<ResubmitRequest>,
    params(("id" = String, Path, description = "the job's id, or at least 8 characters from its beginning or end")),
    responses((status = 201, body = Resubmission), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "what was submitted is not known any more"),
        (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn resubmit(
    State(app): State<App>,
    JobPath(first): JobPath,
    OptionalJsonBody(request): OptionalJsonBody<ResubmitRequest>,
) -> Result<(StatusCode, Json<Resubmission>), ApiError> {
    let refused =
        |reason: NotKept| ApiError::new(StatusCode::CONFLICT, "not_kept", format!("job {first} cannot be submitted again: {reason}"));
    let (view, ..) = jobs::find(&app, first).await?;
    let submission = view.submission.as_ref().ok_or_else(|| refused(NotKept::Unknown))?;
    let now_ms = app.now_ms();
    let id = JobId::new(now_ms, random_u128());
    let priority = request.and_then(|request| request.priority).unwrap_or(view.priority);
    let spec = submission.again(first, (&view.name, &view.kind), priority, (id, now_ms), SUBMITTER).map_err(refused)?;
    app.cluster.submit(spec).await?;
    Ok((StatusCode::CREATED, Json(Resubmission { id, resubmitted_from: first })))
}
