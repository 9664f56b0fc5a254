//! Streams, consumers and buckets.

use axum::Json;
use axum::extract::State;

use super::error::{ApiError, ErrorBody};
use crate::app::App;
use crate::cluster::Messaging;

/// Streams with their consumers, and buckets, as the NATS server counts them
#[utoipa::path(get, path = "/api/v1/messaging", tag = "cluster",
    responses((status = 200, body = Messaging), (status = 503, body = ErrorBody)))]
pub(crate) async fn messaging(State(app): State<App>) -> Result<Json<Messaging>, ApiError> {
    Ok(Json(app.cluster.messaging().await?))
}
