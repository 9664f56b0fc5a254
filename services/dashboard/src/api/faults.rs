//! Breaking a node on purpose and putting it right. What a fault does is the worker's business; killing the process is
//! that of `faultline up`, which started it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use faultline_engine::fault::{MAX_ORDERED_MS, MAX_SLOW_FACTOR, MIN_SLOW_FACTOR};
use faultline_protocol::messages::{FaultOrder, FaultOrderKind};
use faultline_protocol::views::FaultView;
use serde::Deserialize;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody};
use super::extract::{JsonBody, NodePath};
use super::nodes::unknown_node;
use crate::app::App;

/// How long a fault lasts when nobody says, in milliseconds.
const DEFAULT_FOR_MS: u64 = 10_000;
const DEFAULT_FACTOR: f64 = 4.0;

/// Which fault.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultRequest {
    /// Such as `crash`, `hang`, `heartbeat_loss`, `slow` or `xid_79`; an unknown one is refused with the names of all.
    #[schema(value_type = String)]
    pub(crate) kind: FaultOrderKind,
    /// How long it lasts, 1 ms to a day; 10 s when absent.
    pub(crate) for_ms: Option<u64>,
    /// For `slow`: how many times slower, 2 to 10; 4 when absent.
    pub(crate) factor: Option<f64>,
    /// For faults of one GPU: its index; the one that works most when absent.
    pub(crate) gpu: Option<u8>,
}

impl FaultRequest {
    fn order(self, node: &str, gpus: u32) -> Result<FaultOrder, ApiError> {
        let for_ms = self.for_ms.unwrap_or(DEFAULT_FOR_MS);
        if !(1..=MAX_ORDERED_MS).contains(&for_ms) {
            return Err(ApiError::invalid("for_ms", format!("{for_ms} is outside 1 to {MAX_ORDERED_MS}")));
        }
        let factor = self.factor.unwrap_or(DEFAULT_FACTOR);
        if !(MIN_SLOW_FACTOR..=MAX_SLOW_FACTOR).contains(&factor) {
            return Err(ApiError::invalid("factor", format!("{factor} is outside {MIN_SLOW_FACTOR} to {MAX_SLOW_FACTOR}")));
        }
        if self.gpu.is_some_and(|gpu| u32::from(gpu) >= gpus) {
            return Err(ApiError::invalid("gpu", format!("{node} has {gpus} GPUs, and the first is 0")));
        }
        Ok(FaultOrder { node: node.to_owned(), kind: self.kind, for_ms, factor, gpu: self.gpu })
    }
}

/// Put a fault upon a node
#[utoipa::path(post, path = "/api/v1/nodes/{id}/fault", tag = "faults", params(("id" = String, Path, description = "the node's name")),
    request_body = FaultRequest,
    responses((status = 202, body = FaultView), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn fault(
    State(app): State<App>,
    NodePath(node): NodePath,
    JsonBody(request): JsonBody<FaultRequest>,
) -> Result<(StatusCode, Json<FaultView>), ApiError> {
    let gpus = app.view.read().nodes.gpus_of(&node).ok_or_else(|| unknown_node(&node))?;
    order(&app, request.order(&node, gpus)?).await
}

/// End all faults of a node
#[utoipa::path(post, path = "/api/v1/nodes/{id}/restore", tag = "faults", params(("id" = String, Path, description = "the node's name")),
    responses((status = 202, body = FaultView), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn restore(State(app): State<App>, NodePath(node): NodePath) -> Result<(StatusCode, Json<FaultView>), ApiError> {
    order(&app, FaultOrder { node, kind: FaultOrderKind::Restore, for_ms: 0, factor: DEFAULT_FACTOR, gpu: None }).await
}

async fn order(app: &App, order: FaultOrder) -> Result<(StatusCode, Json<FaultView>), ApiError> {
    let worker = worker_of(app, &order.node)?;
    let reply = FaultView::new(&order, &worker);
    app.cluster.order_fault(worker, order).await?;
    Ok((StatusCode::ACCEPTED, Json(reply)))
}

/// The process that a node lives in.
pub(super) fn worker_of(app: &App, node: &str) -> Result<String, ApiError> {
    app.view.read().nodes.worker_of(node).ok_or_else(|| unknown_node(node))
}
