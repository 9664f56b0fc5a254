//! Figures of the cluster, the job rate, the state of this process, the API's own description.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use faultline_protocol::messages::{ClusterStats, MAX_RATE_PER_MINUTE, MIN_RATE_PER_MINUTE, RATE_PRESETS, RateSetting, preset_rate};
use faultline_protocol::views::RateView;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody};
use super::extract::JsonBody;
use crate::app::{App, MAX_STREAMS};
use crate::view::{Derived, View};

/// Figures of the cluster and of this dashboard.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct StatsReply {
    #[serde(flatten)]
    pub(crate) cluster: ClusterStats,
    /// Present while no scheduler answers: since when, in Unix milliseconds. The figures are then counted here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale_since_ms: Option<u64>,
    pub(crate) nats_connected: bool,
    #[serde(flatten)]
    pub(crate) derived: Derived,
    /// Jobs and events in memory here.
    pub(crate) jobs_in_memory: usize,
    pub(crate) nodes_known: usize,
    /// The number of the newest event.
    pub(crate) last_event_seq: u64,
    /// Messages that this dashboard could not read, since its start.
    pub(crate) undecodable_messages: u64,
    /// WebSockets and event streams that are open.
    pub(crate) streams_open: usize,
}

impl StatsReply {
    pub(crate) fn new(view: &View, now_ms: u64, nats_connected: bool, streams_open: usize) -> Self {
        let cluster = view.stats(now_ms);
        Self {
            derived: view.derived(&cluster, now_ms),
            cluster,
            stale_since_ms: view.stale_since_ms(),
            nats_connected,
            jobs_in_memory: view.jobs.len(),
            nodes_known: view.nodes.len(),
            last_event_seq: view.events.last_seq(),
            undecodable_messages: view.undecodable(),
            streams_open,
        }
    }
}

/// Exactly one of the two.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateRequest {
    /// 0.1 to 50.
    pub(crate) jobs_per_minute: Option<f64>,
    /// `Light Load`, `Normal`, `High Load`, `Extreme` or `MAXIMUM`.
    pub(crate) preset: Option<String>,
}

impl RateRequest {
    fn rate(&self) -> Result<f64, ApiError> {
        match (self.jobs_per_minute, &self.preset) {
            (Some(rate), None) if (MIN_RATE_PER_MINUTE..=MAX_RATE_PER_MINUTE).contains(&rate) => Ok(rate),
            (Some(rate), None) => Err(ApiError::invalid(
                "jobs_per_minute",
                format!("{rate} is outside {MIN_RATE_PER_MINUTE} to {MAX_RATE_PER_MINUTE} jobs a minute"),
            )),
            (None, Some(name)) => preset_rate(name).map(|(_, rate)| rate).ok_or_else(|| {
                let name: String = name.chars().take(40).collect();
                let known: Vec<&str> = RATE_PRESETS.iter().map(|(name, _)| *name).collect();
                ApiError::invalid("preset", format!("there is no preset `{name}`: use {}", known.join(", ")))
            }),
            (Some(_), Some(_)) => Err(ApiError::invalid("preset", "give either jobs_per_minute or preset, not both")),
            (None, None) => Err(ApiError::invalid("jobs_per_minute", "give jobs_per_minute or preset")),
        }
    }
}

/// The state of this process.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthReply {
    /// `ok`, or `degraded` while NATS or the scheduler does not answer.
    pub(crate) status: &'static str,
    pub(crate) nats_connected: bool,
    pub(crate) scheduler_answers: bool,
}

/// Figures of the cluster
#[utoipa::path(get, path = "/api/v1/stats", tag = "cluster", responses((status = 200, body = StatsReply)))]
pub(crate) async fn stats(State(app): State<App>) -> Json<StatsReply> {
    let open = MAX_STREAMS - app.streams.available_permits();
    Json(StatsReply::new(&app.view.read(), app.now_ms(), app.cluster.is_connected(), open))
}

/// The job rate
#[utoipa::path(get, path = "/api/v1/rate", tag = "cluster", responses((status = 200, body = RateView)))]
pub(crate) async fn rate(State(app): State<App>) -> Json<RateView> {
    Json(RateView::new(app.view.read().rate()))
}

/// Set the job rate
#[utoipa::path(put, path = "/api/v1/rate", tag = "cluster", request_body = RateRequest,
    responses((status = 200, body = RateView), (status = 400, body = ErrorBody), (status = 415, body = ErrorBody), (status = 422, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn set_rate(State(app): State<App>, JsonBody(request): JsonBody<RateRequest>) -> Result<Json<RateView>, ApiError> {
    let setting = RateSetting { jobs_per_minute: request.rate()?, set_by: "dashboard".into(), at_ms: app.now_ms() };
    app.cluster.set_rate(setting.clone()).await?;
    let reply = RateView::new(Some(&setting));
    app.view.write().on_rate(Some(setting));
    Ok(Json(reply))
}

/// Whether this process works; answers 200 as long as it does, and needs no token
#[utoipa::path(get, path = "/healthz", tag = "dashboard", responses((status = 200, body = HealthReply)))]
pub(crate) async fn health(State(app): State<App>) -> Json<HealthReply> {
    let nats_connected = app.cluster.is_connected();
    let scheduler_answers = app.view.read().stale_since_ms().is_none();
    let status = if nats_connected && scheduler_answers { "ok" } else { "degraded" };
    Json(HealthReply { status, nats_connected, scheduler_answers })
}

/// This description
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "dashboard", responses((status = 200, description = "an OpenAPI 3.1 document")))]
pub(crate) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], super::openapi_json()).into_response()
}
