//! Listing jobs, one job with its path.

use axum::Json;
use axum::extract::State;
use faultline_engine::job::{JobId, Submission, class, is_token};
use faultline_protocol::messages::{JobView, Query, QueryReply};
use faultline_protocol::subjects;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::JobPath;
use super::params::{JobsParams, Pairs};
use crate::app::App;
use crate::cluster::{ClusterError, Record, StoredMessage};
use crate::error::{ApiError, ErrorBody};
use crate::view::{Loss, ended_view};

/// A page of jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobsPage {
    pub(crate) items: Vec<JobView>,
    /// All that match, on whatever page.
    pub(crate) total: usize,
    pub(crate) page: usize,
    pub(crate) per_page: usize,
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
    /// What is known of the attempts that were interrupted or failed.
    pub(crate) losses: Vec<Loss>,
    /// What the streams JOBS, RESULTS, EVENTS and DEAD hold of it, in the order in which it was stored.
    pub(crate) messages: Vec<StoredMessage>,
    /// Present when they could not be read: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) messages_error: Option<String>,
    /// Present while no scheduler answers: since when, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale_since_ms: Option<u64>,
    /// Where its trace is looked at; absent unless `trace_url` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_url: Option<String>,
}

/// Jobs, newest first or sorted
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs",
    params(
        ("page" = Option<u32>, Query, description = "from 1"),
        ("per_page" = Option<u32>, Query, description = "1 to 200, default 50"),
        ("sort" = Option<String>, Query, description = "submitted, name, kind, priority, state, gpus, attempts, wait, or took; with a minus sign descending. Default: -submitted"),
        ("state" = Option<String>, Query, description = "one or more of queued, running, committed, dead, cancelled, abandoned, with commas"),
        ("kind" = Option<String>, Query, description = "such as matrix"),
        ("node" = Option<String>, Query, description = "a node that it runs or ran on"),
        ("priority" = Option<String>, Query, description = "urgent, high, normal or low"),
        ("attempts_min" = Option<u32>, Query, description = "tried at least so often"),
        ("q" = Option<String>, Query, description = "part of the name, id or reason; case does not matter")),
    responses((status = 200, body = JobsPage), (status = 422, body = ErrorBody)))]
pub(crate) async fn list(State(app): State<App>, pairs: Pairs) -> Result<Json<JobsPage>, ApiError> {
    let params = JobsParams::decode(pairs)?;
    let view = app.view.read();
    let JobsParams { filter, order, page } = params;
    let (mut items, total) = view.jobs.page(&filter, order, app.now_ms(), page.skip(), page.per_page);
    // A page of jobs with large parameters would be megabytes: they are shown of one job.
    items.iter_mut().for_each(|job| job.submission = None);
    Ok(Json(JobsPage { items, total, page: page.page, per_page: page.per_page, stale_since_ms: view.stale_since_ms() }))
}

/// One job with its path: every attempt with node, times and outcome, why it waits, and its messages in the streams
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path, description = "the job's id, or at least 8 characters from its beginning or end")),
    responses((status = 200, body = JobDetail), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn one(State(app): State<App>, JobPath(job): JobPath) -> Result<Json<JobDetail>, ApiError> {
    let (view, source, stale_since_ms) = find(&app, job).await?;
    let class = Some(class(&view.kind)).filter(|class| is_token(class));
    let queued_as = class.filter(|_| !view.state.is_terminal()).map(|class| subjects::queue(view.priority, class, job));
    let (messages, messages_error) = match app.cluster.messages(job, queued_as).await {
        Ok(messages) => (messages, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let losses = app.view.read().losses(&view);
    Ok(Json(JobDetail { job: view, source, losses, messages, messages_error, stale_since_ms, trace_url: app.trace_of(job) }))
}

/// The job, from whom, and since when no scheduler answers.
pub(super) async fn find(app: &App, job: JobId) -> Result<(JobView, JobSource, Option<u64>), ApiError> {
    let (view, source, stale_since_ms) = find_as_known(app, job).await?;
    if view.submission.is_some() {
        return Ok((view, source, stale_since_ms));
    }
    // Its record, or its message in the queue, says what was submitted. Where neither can be read, the rest is still worth showing.
    let submission = if view.state.is_terminal() {
        app.cluster.record(job).await.ok().flatten().and_then(|record| record.ended()?.submission.clone())
    } else {
        app.cluster.queued(job, view.priority, class(&view.kind).to_owned()).await.ok().flatten().as_ref().map(Submission::from)
    };
    Ok((view.with_submission(submission), source, stale_since_ms))
}

async fn find_as_known(app: &App, job: JobId) -> Result<(JobView, JobSource, Option<u64>), ApiError> {
    let known = app.view.read().jobs.get(job);
    if let Some(ended) = known.as_ref().filter(|job| job.state.is_terminal()) {
        return Ok((ended.clone(), JobSource::Record, None));
    }
    let answer = ask_leader(app, job).await;
    if let Ok(Some(mut row)) = answer {
        app.view.read().jobs.overlay(&mut row);
        return Ok((row, JobSource::Scheduler, None));
    }
    // The leader does not hold it: it waits in the queue, has ended since, or never was.
    let record = app.cluster.record(job).await;
    if let Ok(Some(ended)) = record.as_ref().map(|record| record.as_ref().and_then(Record::ended).map(ended_view)) {
        return Ok((ended, JobSource::Record, None));
    }
    let stale_since_ms = answer.is_err().then(|| app.view.read().stale_since_ms().unwrap_or_else(|| app.now_ms()));
    match (known, record) {
        (Some(job), _) => Ok((job, JobSource::Memory, stale_since_ms)),
        (None, Ok(Some(Record::Open(marker)))) => {
            let waiting = app.view.write().jobs.on_open_and_get(marker);
            Ok((waiting, JobSource::Memory, stale_since_ms))
        }
        (None, Ok(_)) => Err(unknown_job(job)),
        (None, Err(error)) => Err(error.into()),
    }
}

pub(super) fn unknown_job(job: JobId) -> ApiError {
    ApiError::not_found(format!("job {job} is not known")).remedy("records of ended jobs are kept for 10 minutes")
}

async fn ask_leader(app: &App, job: JobId) -> Result<Option<JobView>, ClusterError> {
    match app.cluster.query(Query::Job { job }).await? {
        QueryReply::Jobs(rows) => Ok(rows.into_iter().find(|row| row.id == job).map(JobView::said)),
        QueryReply::Error(reason) => Err(ClusterError::Failed(reason)),
        QueryReply::Stats(_) | QueryReply::Nodes(_) | QueryReply::WouldFit(_) | QueryReply::Goodput(_) => {
            Err(ClusterError::Failed("the scheduler answered another question".into()))
        }
    }
}
