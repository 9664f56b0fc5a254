//! Listing nodes, their order in packed frames, one node, draining.

use axum::Json;
use axum::extract::State;
use faultline_protocol::messages::{DrainSetting, Query, QueryReply};
use faultline_protocol::views::DrainView;
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};
use utoipa::ToSchema;

use super::extract::{NodePath, OptionalJsonBody};
use super::params::{NodesParams, Pairs};
use crate::app::App;
use crate::cluster::{ClusterError, OPERATOR};
use crate::error::{ApiError, ErrorBody};
use crate::view::{NodeIndex, NodeItem};

const MAX_REASON_CHARS: usize = 200;
/// How long the leading scheduler may take to hear of a setting.
const IN_FORCE_LIMIT: Duration = Duration::from_secs(2);
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A page of nodes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodesPage {
    pub(crate) items: Vec<NodeItem>,
    /// All that match, on whatever page.
    pub(crate) total: usize,
    pub(crate) page: usize,
    pub(crate) per_page: usize,
    /// Present while no scheduler answers: since when, in Unix milliseconds. What is booked on the GPUs is then old or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale_since_ms: Option<u64>,
}

/// A node.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeDetail {
    #[serde(flatten)]
    pub(crate) node: NodeItem,
    /// How many nodes its worker process hosts, this one among them.
    pub(crate) worker_nodes: usize,
    /// How many attempts run on those, by their last heartbeats.
    pub(crate) worker_attempts: usize,
    /// Present while no scheduler answers: since when, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale_since_ms: Option<u64>,
}

/// May be sent along with a drain.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrainRequest {
    /// For people, at most 200 characters.
    pub(crate) reason: Option<String>,
}

/// Nodes
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes",
    params(
        ("health" = Option<String>, Query, description = "one or more of alive, suspect, gone, dead, with commas"),
        ("rack" = Option<String>, Query), ("worker" = Option<String>, Query),
        ("q" = Option<String>, Query, description = "part of the name or of the GPU model; case does not matter"),
        ("nodes" = Option<String>, Query, description = "only these, with commas, at most 1000"),
        ("sort" = Option<String>, Query, description = "node (the default), health, rack, worker, utilisation, memory, temperature, power, running, heartbeat_age, phi or fail_percent; with `-` before it the other way round"),
        ("page" = Option<u32>, Query, description = "from 1"),
        ("per_page" = Option<u32>, Query, description = "1 to 200, default 50")),
    responses((status = 200, body = NodesPage), (status = 422, body = ErrorBody)))]
pub(crate) async fn list(State(app): State<App>, pairs: Pairs) -> Result<Json<NodesPage>, ApiError> {
    let NodesParams { filter, order, is_descending, page } = NodesParams::decode(pairs)?;
    let view = app.view.read();
    let (items, total) = view.nodes.list(&filter, (order, is_descending), page.skip(), page.per_page, app.now_ms());
    Ok(Json(NodesPage { items, total, page: page.page, per_page: page.per_page, stale_since_ms: view.stale_since_ms() }))
}

/// The order of the nodes in the WebSocket's binary messages
#[utoipa::path(get, path = "/api/v1/nodes/index", tag = "nodes", responses((status = 200, body = NodeIndex)))]
pub(crate) async fn index(State(app): State<App>) -> Json<NodeIndex> {
    let index = app.view.write().nodes.index();
    Json(NodeIndex::clone(&index))
}

/// One node
#[utoipa::path(get, path = "/api/v1/nodes/{id}", tag = "nodes", params(("id" = String, Path, description = "the node's name")),
    responses((status = 200, body = NodeDetail), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn one(State(app): State<App>, NodePath(node): NodePath) -> Result<Json<NodeDetail>, ApiError> {
    let known = {
        let view = app.view.read();
        view.nodes.get(&node, app.now_ms()).map(|node| {
            let (worker_nodes, worker_attempts) = view.nodes.hosted_by(&node.node.spec.worker);
            NodeDetail { node, worker_nodes, worker_attempts, stale_since_ms: view.stale_since_ms() }
        })
    };
    match known {
        Some(detail) => Ok(Json(detail)),
        None => ask_leader(&app, node).await.map(|node| {
            let worker_attempts = node.node.running.len();
            Json(NodeDetail { node, worker_nodes: 1, worker_attempts, stale_since_ms: None })
        }),
    }
}

/// A node that is not known here.
async fn ask_leader(app: &App, node: String) -> Result<NodeItem, ApiError> {
    match app.cluster.query(Query::Node { node: node.clone() }).await? {
        QueryReply::Nodes(rows) => {
            rows.into_iter().find(|row| row.spec.node == node).map(NodeItem::from).ok_or_else(|| unknown_node(&node))
        }
        QueryReply::Error(reason) => Err(ClusterError::Failed(reason).into()),
        QueryReply::Stats(_) | QueryReply::Jobs(_) | QueryReply::WouldFit(_) | QueryReply::Goodput(_) => {
            Err(ClusterError::Failed("the scheduler answered another question".into()).into())
        }
    }
}

pub(super) fn unknown_node(node: &str) -> ApiError {
    ApiError::not_found(format!("node {node} is not known")).remedy("GET /api/v1/nodes lists those that are")
}

/// Place nothing new on a node
#[utoipa::path(post, path = "/api/v1/nodes/{id}/drain", tag = "nodes", params(("id" = String, Path, description = "the node's name")),
    request_body = Option<DrainRequest>,
    responses((status = 200, body = DrainView), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn drain(
    State(app): State<App>,
    NodePath(node): NodePath,
    OptionalJsonBody(request): OptionalJsonBody<DrainRequest>,
) -> Result<Json<DrainView>, ApiError> {
    let reason = request.and_then(|request| request.reason).unwrap_or_else(|| "drained from the dashboard".into());
    if reason.chars().count() > MAX_REASON_CHARS || reason.chars().any(char::is_control) {
        return Err(ApiError::invalid("reason", format!("at most {MAX_REASON_CHARS} printable characters")));
    }
    set_drain(app, node, Some(reason)).await
}

/// Use a drained node again
#[utoipa::path(post, path = "/api/v1/nodes/{id}/undrain", tag = "nodes", params(("id" = String, Path, description = "the node's name")),
    responses((status = 200, body = DrainView), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn undrain(State(app): State<App>, NodePath(node): NodePath) -> Result<Json<DrainView>, ApiError> {
    set_drain(app, node, None).await
}

async fn set_drain(app: App, node: String, reason: Option<String>) -> Result<Json<DrainView>, ApiError> {
    let known = app.view.read().nodes.contains(&node);
    // A node that is gone for good may still be drained, and must be freed of that some day.
    if !known && reason.is_some() {
        ask_leader(&app, node.clone()).await?;
    }
    let draining = reason.is_some();
    let setting = reason.clone().map(|reason| DrainSetting { reason, at_ms: app.now_ms(), by: OPERATOR.into() });
    app.cluster.set_drain(node.clone(), setting).await?;
    app.view.write().nodes.set_draining(&node, draining);
    let in_force = is_in_force(&app, &node, draining).await;
    Ok(Json(DrainView { node, draining, in_force, reason }))
}

/// Waits until the leading scheduler says of the node what was set.
async fn is_in_force(app: &App, node: &str, draining: bool) -> bool {
    let give_up = Instant::now() + IN_FORCE_LIMIT;
    loop {
        match app.cluster.query(Query::Node { node: node.to_owned() }).await {
            Ok(QueryReply::Nodes(rows)) => match rows.into_iter().find(|row| row.spec.node == node) {
                Some(row) if row.draining == draining => return true,
                Some(_) if Instant::now() < give_up => tokio::time::sleep(ASK_EVERY).await,
                Some(_) | None => return false,
            },
            Ok(_) | Err(_) => return false,
        }
    }
}
