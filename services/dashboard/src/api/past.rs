//! The past: the cluster second by second, the GPUs of a node, the timeline and its export.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::NodePath;
use super::nodes::unknown_node;
use super::params::{Pairs, SeriesParams, TimelineParams};
use crate::app::App;
use crate::error::{ApiError, ErrorBody};
use crate::view::{Columns, GpuColumns, HISTORY_EVERY_MS, Trace, Window, trace};

/// What the GPUs of a node reported.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeHistory {
    pub(crate) node: String,
    /// Between two points, in milliseconds.
    pub(crate) every_ms: u64,
    /// When each point was taken, oldest first; at most ten minutes. Empty when nothing was kept: of clusters with more than
    /// 24,576 GPUs the past of a node is kept from the first time on that it is asked for.
    pub(crate) t_ms: Vec<u64>,
    pub(crate) gpus: Vec<GpuColumns>,
}

/// The cluster second by second, as columns
#[utoipa::path(get, path = "/api/v1/series", tag = "cluster",
    params(("window_s" = Option<u32>, Query, description = "how far back, 1 to 3600 s, default 900")),
    responses((status = 200, body = Columns), (status = 422, body = ErrorBody)))]
pub(crate) async fn series(State(app): State<App>, pairs: Pairs) -> Result<Json<Columns>, ApiError> {
    let SeriesParams { window_s } = SeriesParams::decode(pairs)?;
    let from_ms = app.now_ms().saturating_sub(window_s as u64 * 1000);
    Ok(Json(app.view.read().series.since(from_ms)))
}

/// What the GPUs of a node reported in the last ten minutes, every 2 s
#[utoipa::path(get, path = "/api/v1/nodes/{id}/history", tag = "nodes", params(("id" = String, Path, description = "the node's name")),
    responses((status = 200, body = NodeHistory), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn history(State(app): State<App>, NodePath(node): NodePath) -> Result<Json<NodeHistory>, ApiError> {
    let mut view = app.view.write();
    if !view.nodes.contains(&node) {
        return Err(unknown_node(&node));
    }
    view.history.ask(&node);
    let (t_ms, gpus) = view.history.of(&node);
    Ok(Json(NodeHistory { node, every_ms: HISTORY_EVERY_MS, t_ms, gpus }))
}

/// Attempts, faults and verdicts on a line of time
#[utoipa::path(get, path = "/api/v1/timeline", tag = "cluster",
    params(
        ("from_ms" = Option<u64>, Query, description = "Unix milliseconds, default 15 minutes before `to_ms`"),
        ("to_ms" = Option<u64>, Query, description = "Unix milliseconds, default now"),
        ("nodes" = Option<String>, Query, description = "names with commas, at most 1,000; default all"),
        ("affected" = Option<bool>, Query, description = "only nodes that had a fault, a verdict or an attempt that was not committed")),
    responses((status = 200, body = Window), (status = 422, body = ErrorBody)))]
pub(crate) async fn timeline(State(app): State<App>, pairs: Pairs) -> Result<Json<Window>, ApiError> {
    let now_ms = app.now_ms();
    let TimelineParams { filter } = TimelineParams::decode(pairs, now_ms)?;
    Ok(Json(app.view.read().window(&filter, now_ms)))
}

/// The same as a file for Perfetto (<https://ui.perfetto.dev>) and chrome://tracing
#[utoipa::path(get, path = "/api/v1/timeline/trace.json", tag = "cluster",
    params(
        ("from_ms" = Option<u64>, Query, description = "Unix milliseconds, default 15 minutes before `to_ms`"),
        ("to_ms" = Option<u64>, Query, description = "Unix milliseconds, default now"),
        ("nodes" = Option<String>, Query, description = "names with commas, at most 1,000; default all"),
        ("affected" = Option<bool>, Query, description = "only nodes that had a fault, a verdict or an attempt that was not committed")),
    responses((status = 200, body = Trace), (status = 422, body = ErrorBody)))]
pub(crate) async fn trace_file(State(app): State<App>, pairs: Pairs) -> Result<Response, ApiError> {
    let now_ms = app.now_ms();
    let TimelineParams { filter } = TimelineParams::decode(pairs, now_ms)?;
    let file = {
        let view = app.view.read();
        trace(&view.window(&filter, now_ms), now_ms, |node| view.nodes.worker_of(node))
    };
    Ok(([(header::CONTENT_DISPOSITION, "attachment; filename=\"faultline-trace.json\"")], Json(file)).into_response())
}
