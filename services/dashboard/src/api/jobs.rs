//! Listing jobs, one job with its path, cancelling.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use faultline_engine::job::JobId;
use faultline_protocol::messages::{CancelAnswer, CancelOutcome, JobView, Query, QueryReply};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody};
use super::extract::JobPath;
use super::params::{JobsParams, Pairs};
use crate::app::App;
use crate::cluster::{ClusterError, Record};

/// A page of jobs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobsPage {
    pub(crate) items: Vec<JobView>,
    /// Ask with `cursor` set to this for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<JobId>,
    /// Present while no scheduler answers: since when, in Unix milliseconds. The rows then come from memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale_since_ms: Option<u64>,
}

/// Where the details of a job come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobSource {
    /// The leading scheduler, asked just now.
    Scheduler,
    /// The job's terminal record.
    Record,
    /// What this dashboard has heard of it.
    Memory,
}

/// A job with its path.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobDetail {
    #[serde(flatten)]
    pub(crate) job: JobView,
    pub(crate) source: JobSource,
    /// Present while no scheduler answers: since when, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale_since_ms: Option<u64>,
}

/// Jobs, newest first
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs",
    params(
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("limit" = Option<u32>, Query, description = "1 to 200, default 50"),
        ("state" = Option<String>, Query, description = "one or more of queued, running, committed, dead, cancelled, abandoned, with commas"),
        ("kind" = Option<String>, Query, description = "such as matrix"),
        ("node" = Option<String>, Query, description = "a node that it runs or ran on"),
        ("priority" = Option<String>, Query, description = "urgent, high, normal or low"),
        ("min_attempts" = Option<u32>, Query, description = "tried at least so often"),
        ("q" = Option<String>, Query, description = "part of the name, id or reason; case does not matter")),
    responses((status = 200, body = JobsPage), (status = 422, body = ErrorBody)))]
pub(crate) async fn list(State(app): State<App>, pairs: Pairs) -> Result<Json<JobsPage>, ApiError> {
    let params = JobsParams::decode(pairs)?;
    let view = app.view.read();
    let (items, next_cursor) = view.jobs.page(&params.filter, params.before, params.limit);
    Ok(Json(JobsPage { items, next_cursor, stale_since_ms: view.stale_since_ms() }))
}

/// One job with its path: every attempt with node, times and outcome, and why it waits
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path, description = "the job's ULID")),
    responses((status = 200, body = JobDetail), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn one(State(app): State<App>, JobPath(job): JobPath) -> Result<Json<JobDetail>, ApiError> {
    let known = app.view.read().jobs.get(job);
    if let Some(ended) = known.as_ref().filter(|job| job.state.is_terminal()) {
        return Ok(Json(JobDetail { job: ended.clone(), source: JobSource::Record, stale_since_ms: None }));
    }
    let answer = ask_leader(&app, job).await;
    if let Ok(Some(mut row)) = answer {
        app.view.read().jobs.overlay(&mut row);
        return Ok(Json(JobDetail { job: row, source: JobSource::Scheduler, stale_since_ms: None }));
    }
    // The leader does not hold it: it waits in the queue, has ended since, or never was.
    let record = app.cluster.record(job).await;
    if let Ok(Some(ended)) = record.as_ref().map(|record| record.as_ref().and_then(Record::ended)) {
        return Ok(Json(JobDetail { job: ended, source: JobSource::Record, stale_since_ms: None }));
    }
    let stale_since_ms = answer.is_err().then(|| app.view.read().stale_since_ms().unwrap_or_else(|| app.now_ms()));
    match (known, record) {
        (Some(job), _) => Ok(Json(JobDetail { job, source: JobSource::Memory, stale_since_ms })),
        (None, Ok(Some(Record::Open(marker)))) => {
            let waiting = app.view.write().jobs.on_open_and_get(marker);
            Ok(Json(JobDetail { job: waiting, source: JobSource::Memory, stale_since_ms }))
        }
        (None, Ok(_)) => Err(unknown_job(job)),
        (None, Err(error)) => Err(error.into()),
    }
}

fn unknown_job(job: JobId) -> ApiError {
    ApiError::not_found(format!("job {job} is not known")).remedy("records of ended jobs are kept for 10 minutes")
}

async fn ask_leader(app: &App, job: JobId) -> Result<Option<JobView>, ClusterError> {
    match app.cluster.query(Query::Job { job }).await? {
        QueryReply::Jobs(rows) => Ok(rows.into_iter().find(|row| row.id == job)),
        QueryReply::Error(reason) => Err(ClusterError::Failed(reason)),
        QueryReply::Stats(_) | QueryReply::Nodes(_) => Err(ClusterError::Failed("the scheduler answered another question".into())),
    }
}

/// Cancel a job
#[utoipa::path(post, path = "/api/v1/jobs/{id}/cancel", tag = "jobs", params(("id" = String, Path, description = "the job's ULID")),
    responses((status = 200, body = CancelAnswer), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "it had already ended"),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn cancel(State(app): State<App>, JobPath(job): JobPath) -> Result<Json<CancelAnswer>, ApiError> {
    let reply = app.cluster.cancel(job).await?;
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
