//! Streams, consumers and buckets.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::error::{ApiError, ErrorBody};
use crate::app::App;
use crate::cluster::{ClusterError, Messaging};

/// The same answer serves all who ask within this time, so that many pages ask the server no more often than one.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// While the server does not answer, older figures are shown for so long.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// How long one waits for the server.
const ASK_LIMIT: Duration = Duration::from_secs(8);

/// The newest answer, and when it came. Locked while the server is asked: whoever asks meanwhile waits for the same answer.
#[derive(Debug, Default)]
pub(crate) struct LastMessaging(Mutex<Option<(Messaging, Instant)>>);

/// Streams with their consumers, and buckets, as the NATS server counts them
///
/// While the server does not answer, the last figures come for a minute, with `stale_reason`.
#[utoipa::path(get, path = "/api/v1/messaging", tag = "cluster",
    responses((status = 200, body = Messaging), (status = 503, body = ErrorBody)))]
pub(crate) async fn messaging(State(app): State<App>) -> Result<Json<Messaging>, ApiError> {
    let mut last = app.messaging.0.lock().await;
    if let Some((answer, _)) = last.as_ref().filter(|(_, at)| at.elapsed() < FRESH_FOR) {
        return Ok(Json(answer.clone()));
    }
    let late = || ClusterError::Failed(format!("JetStream did not answer within {} s", ASK_LIMIT.as_secs()));
    let asked = timeout(ASK_LIMIT, app.cluster.messaging()).await.unwrap_or_else(|_| Err(late()));
    match (asked, last.as_ref().filter(|(_, at)| at.elapsed() < KEPT_FOR)) {
        (Ok(answer), _) => {
            *last = Some((answer.clone(), Instant::now()));
            Ok(Json(answer))
        }
        (Err(error), Some((answer, _))) => Ok(Json(Messaging { stale_reason: Some(error.to_string()), ..answer.clone() })),
        (Err(error), None) => Err(error.into()),
    }
}
