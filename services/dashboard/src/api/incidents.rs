//! Incidents: the history folded by cause.

use axum::Json;
use axum::extract::{Path, State};
use faultline_client::incidents::IncidentView;
use serde::Serialize;
use utoipa::ToSchema;

use super::params::{IncidentsParams, Pairs};
use crate::app::App;
use crate::error::{ApiError, ErrorBody};

/// The newest incidents.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IncidentsPage {
    pub(crate) items: Vec<IncidentView>,
    /// How many are known: of the last hour, at most 1,000.
    pub(crate) total: usize,
}

/// What failed, by cause, newest first: how it was noticed, where the work went, and how it ended
#[utoipa::path(get, path = "/api/v1/incidents", tag = "cluster",
    params(("limit" = Option<u32>, Query, description = "1 to 1000, default 20")),
    responses((status = 200, body = IncidentsPage), (status = 422, body = ErrorBody)))]
pub(crate) async fn list(State(app): State<App>, pairs: Pairs) -> Result<Json<IncidentsPage>, ApiError> {
    let IncidentsParams { limit } = IncidentsParams::decode(pairs)?;
    let now_ms = app.now_ms();
    let view = app.view.read();
    let items = view.incidents.newest(now_ms).take(limit).collect();
    Ok(Json(IncidentsPage { items, total: view.incidents.len() }))
}

/// One incident
#[utoipa::path(get, path = "/api/v1/incidents/{id}", tag = "cluster", params(("id" = String, Path, description = "as the list shows it")),
    responses((status = 200, body = IncidentView), (status = 404, body = ErrorBody)))]
pub(crate) async fn one(State(app): State<App>, Path(id): Path<String>) -> Result<Json<IncidentView>, ApiError> {
    let found = app.view.read().incidents.find(&id.to_ascii_uppercase(), app.now_ms());
    let unknown = || ApiError::not_found(format!("no incident {id} in the last hour")).remedy("/api/v1/incidents lists them");
    found.map(Json).ok_or_else(unknown)
}
