//! Breaking a node on purpose and putting it right. What a fault does is the worker's business; killing the process is
//! that of `faultline up`, which started it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use faultline_client::faults::OUTCOME_WITHIN;
use faultline_engine::fault::{FaultField, FaultOrderKind, FaultWish, USUAL_FAULT_MS, USUAL_SLOW_FACTOR};
use faultline_protocol::messages::FaultOrder;
use faultline_protocol::views::FaultView;
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::extract::{JsonBody, NodePath};
use super::nodes::unknown_node;
use crate::app::App;
use crate::cluster::OPERATOR;
use crate::error::{ApiError, ErrorBody};
use crate::view::EventFilter;

const LOOK_EVERY: Duration = Duration::from_millis(20);
const MAX_EVENTS_READ: usize = 100;

/// Which fault.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultRequest {
    /// Such as `crash`, `hang`, `heartbeat_loss`, `slow` or `xid_79`; an unknown one is refused with the names of all.
    #[schema(value_type = String)]
    pub(crate) kind: FaultOrderKind,
    /// How long it lasts. Faults that are over as soon as they have hit an attempt take none.
    #[schema(minimum = 1, maximum = 3600000, default = json!(USUAL_FAULT_MS))]
    pub(crate) for_ms: Option<u64>,
    /// For `slow` alone: how many times slower.
    #[schema(minimum = 2, maximum = 10, default = json!(USUAL_SLOW_FACTOR))]
    pub(crate) factor: Option<f64>,
    /// For faults of one GPU alone: its index; the one that works most when absent.
    pub(crate) gpu: Option<u8>,
}

impl FaultRequest {
    fn order(self, node: &str, gpus: u32) -> Result<FaultOrder, ApiError> {
        let wish = FaultWish { kind: self.kind, for_ms: self.for_ms, factor: self.factor, gpu: self.gpu };
        let order = FaultOrder::checked(node, &wish, OPERATOR);
        order.and_then(|order| wish.check_gpu(node, gpus as usize).map(|()| order)).map_err(|invalid| {
            let field = match invalid.field {
                FaultField::For => "for_ms",
                FaultField::Factor | FaultField::Gpu => invalid.field.as_str(),
            };
            ApiError::invalid(field, format!("{field} {invalid}"))
        })
    }
}

/// Put a fault upon a node
#[utoipa::path(post, path = "/api/v1/nodes/{id}/fault", tag = "faults", params(("id" = String, Path, description = "the node's name")),
    request_body = FaultRequest,
    responses((status = 202, body = FaultView), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "the worker that hosts the node does not answer"), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
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
    responses((status = 202, body = FaultView), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "the worker that hosts the node does not answer"), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn restore(State(app): State<App>, NodePath(node): NodePath) -> Result<(StatusCode, Json<FaultView>), ApiError> {
    let request = FaultRequest { kind: FaultOrderKind::Restore, for_ms: None, factor: None, gpu: None };
    order(&app, request.order(&node, 0)?).await
}

async fn order(app: &App, order: FaultOrder) -> Result<(StatusCode, Json<FaultView>), ApiError> {
    let worker = worker_of(app, &order.node)?;
    let before = app.view.read().events.last_seq();
    app.cluster.order_fault(worker.clone(), order.clone()).await?;
    let outcome = outcome(app, &order, before).await;
    Ok((StatusCode::ACCEPTED, Json(FaultView::new(&order, &worker, outcome))))
}

/// What the worker did, by the history: the order itself is not answered.
async fn outcome(app: &App, order: &FaultOrder, before: u64) -> Option<String> {
    let filter = EventFilter { node: Some(order.node.clone()), ..EventFilter::default() };
    let give_up = Instant::now() + OUTCOME_WITHIN;
    loop {
        let told = app.view.read().events.page(&filter, Some(before), MAX_EVENTS_READ);
        if let Some(done) = told.into_iter().find(|numbered| order.is_answered_by(&numbered.event)) {
            return Some(done.event.detail);
        }
        if Instant::now() >= give_up {
            return None;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The process that a node lives in.
pub(super) fn worker_of(app: &App, node: &str) -> Result<String, ApiError> {
    app.view.read().nodes.worker_of(node).ok_or_else(|| unknown_node(node))
}
