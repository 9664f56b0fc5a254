//! Streams, consumers and buckets.

use axum::Json;
use axum::extract::State;

use crate::app::App;
use crate::cluster::Messaging;
use crate::error::{ApiError, ErrorBody};

/// Streams with their consumers, and buckets, as the NATS server counts them
///
/// While the server does not answer, the last figures come for a minute, with `stale_reason`.
#[utoipa::path(get, path = "/api/v1/messaging", tag = "cluster",
    responses((status = 200, body = Messaging), (status = 503, body = ErrorBody)))]
pub(crate) async fn messaging(State(app): State<App>) -> Result<Json<Messaging>, ApiError> {
    Ok(Json(app.messaging.read(app.cluster.as_ref()).await?))
}
