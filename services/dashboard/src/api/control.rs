//! Figures of the cluster, the job rate, the state of this process.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use faultline_engine::workload::check_load;
use faultline_protocol::messages::{Asked, MAX_RATE_PER_MINUTE, MIN_RATE_PER_MINUTE, RATE_PRESETS, RateSetting, preset_rate};
use faultline_protocol::views::RateView;
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};
use utoipa::ToSchema;

use super::extract::JsonBody;
use crate::app::App;
use crate::error::{ApiError, ErrorBody};
use crate::limits::MAX_STREAMS;
use crate::view::StatsReply;

/// How long the generator may take to answer a setting.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Exactly one of the three.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateRequest {
    /// 0.1 to 50.
    pub(crate) jobs_per_minute: Option<f64>,
    /// A share of the cluster's GPU time, 1 to 200 %: as many jobs as take it, however many nodes there are.
    pub(crate) load_percent: Option<f64>,
    /// `Light Load`, `Normal`, `High Load`, `Extreme` or `MAXIMUM`.
    pub(crate) preset: Option<String>,
}

impl RateRequest {
    fn asked(&self) -> Result<Asked, ApiError> {
        match (self.jobs_per_minute, self.load_percent, &self.preset) {
            (Some(rate), None, None) if (MIN_RATE_PER_MINUTE..=MAX_RATE_PER_MINUTE).contains(&rate) => Ok(Asked::Rate(rate)),
            (Some(rate), None, None) => Err(ApiError::invalid(
                "jobs_per_minute",
                format!("{rate} is outside {MIN_RATE_PER_MINUTE} to {MAX_RATE_PER_MINUTE} jobs a minute"),
            )),
            (None, Some(percent), None) => match check_load(percent) {
                Ok(()) => Ok(Asked::Load(percent)),
                Err(problem) => Err(ApiError::invalid("load_percent", problem)),
            },
            (None, None, Some(name)) => preset_rate(name).map(|(_, rate)| Asked::Rate(rate)).ok_or_else(|| {
                let name: String = name.chars().take(40).collect();
                let known: Vec<&str> = RATE_PRESETS.iter().map(|(name, _)| *name).collect();
                ApiError::invalid("preset", format!("unknown preset `{name}`: use {}", known.join(", ")))
            }),
            (None, None, None) => Err(ApiError::invalid("jobs_per_minute", "give jobs_per_minute, load_percent, or preset")),
            (_, _, preset) => {
                let field = if preset.is_some() { "preset" } else { "load_percent" };
                Err(ApiError::invalid(field, "give only one of jobs_per_minute, load_percent, and preset"))
            }
        }
    }
}

/// The state of this process.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthReply {
    /// `ok`, or `degraded` while NATS or the scheduler does not answer.
    pub(crate) status: &'static str,
    /// The connection stands and NATS answers.
    pub(crate) nats_connected: bool,
    pub(crate) scheduler_answers: bool,
}

/// Figures of the cluster
#[utoipa::path(get, path = "/api/v1/stats", tag = "cluster", responses((status = 200, body = StatsReply)))]
pub(crate) async fn stats(State(app): State<App>) -> Json<StatsReply> {
    let open = MAX_STREAMS - app.streams.available_permits();
    Json(StatsReply::new(&app.view.read(), app.now_ms(), app.cluster.nats(), open))
}

/// The job rate
#[utoipa::path(get, path = "/api/v1/rate", tag = "cluster", responses((status = 200, body = RateView)))]
pub(crate) async fn rate(State(app): State<App>) -> Json<RateView> {
    Json(app.view.read().rate(app.now_ms()))
}

/// Set the job rate, or the load that it follows
///
/// Waits up to 2 s for the generator's answer: `in_force_per_minute` is then the new rate, or `refused` says why not.
#[utoipa::path(put, path = "/api/v1/rate", tag = "cluster", request_body = RateRequest,
    responses((status = 200, body = RateView), (status = 202, body = RateView, description = "stored; no generator has answered yet"), (status = 400, body = ErrorBody), (status = 415, body = ErrorBody), (status = 422, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn set_rate(
    State(app): State<App>,
    JsonBody(request): JsonBody<RateRequest>,
) -> Result<(StatusCode, Json<RateView>), ApiError> {
    let setting = RateSetting { asked: request.asked()?, set_by: "dashboard".into(), at_ms: app.now_ms() };
    let revision = app.cluster.set_rate(setting.clone()).await?;
    app.view.write().on_rate(Some(setting));
    let give_up = Instant::now() + ANSWER_LIMIT;
    loop {
        let (answered, reply) = {
            let view = app.view.read();
            (view.rate_is_answered(revision), view.rate(app.now_ms()))
        };
        if answered {
            return Ok((StatusCode::OK, Json(reply)));
        }
        if Instant::now() >= give_up {
            return Ok((StatusCode::ACCEPTED, Json(reply)));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Whether this process works; answers 200 as long as it does, and needs no token
#[utoipa::path(get, path = "/healthz", tag = "dashboard", responses((status = 200, body = HealthReply)))]
pub(crate) async fn health(State(app): State<App>) -> Json<HealthReply> {
    let nats = app.cluster.nats();
    let nats_connected = nats.connected && nats.silent_for.is_none();
    let scheduler_answers = app.view.read().stale_since_ms().is_none();
    let status = if nats_connected && scheduler_answers { "ok" } else { "degraded" };
    Json(HealthReply { status, nats_connected, scheduler_answers })
}
