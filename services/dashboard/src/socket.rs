//! The WebSocket: pushes the newest state to each client as fast as that client takes it, and reads nothing.

use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{StatusCode, header};
use axum::response::Response;
use tokio::sync::OwnedSemaphorePermit;

use crate::api::error::{ApiError, ErrorBody};
use crate::app::{App, MAX_WEBSOCKETS};

/// A client that takes no push for so long is gone.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// Clients have nothing to say; control frames are small.
const MAX_INCOMING_BYTES: usize = 4096;

/// The state every 500 ms as JSON, over a WebSocket; a slow client gets the newest only
#[utoipa::path(get, path = "/api/v1/ws", tag = "cluster",
    responses((status = 101, body = crate::push::State, description = "each text message is such a state"), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 503, body = ErrorBody, description = "64 are open already")))]
pub(crate) async fn connect(
    State(app): State<App>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|rejection| {
        ApiError::new(rejection.status(), "no_websocket", "this path speaks WebSocket only")
            .remedy("GET /api/v1/stats and its siblings answer plain requests")
    })?;
    let Ok(permit) = std::sync::Arc::clone(&app.sockets).try_acquire_owned() else {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", format!("{MAX_WEBSOCKETS} WebSockets are open already"))
            .remedy("close one of them")
            .with_header(header::RETRY_AFTER, "5"));
    };
    let upgrade = upgrade.max_message_size(MAX_INCOMING_BYTES).max_frame_size(MAX_INCOMING_BYTES);
    Ok(upgrade.on_upgrade(move |socket| push(socket, app, permit)))
}

async fn push(mut socket: WebSocket, app: App, _permit: OwnedSemaphorePermit) {
    let mut pushes = app.pushes.clone();
    // The first push must be younger than the connection: what the channel holds may be from the last client's time.
    pushes.mark_unchanged();
    loop {
        tokio::select! {
            biased;
            () = app.stopping.cancelled() => break,
            incoming = socket.recv() => match incoming {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                // Pings are answered by the library; nothing else is expected, and nothing is done about it.
                Some(Ok(_)) => {}
            },
            changed = pushes.changed() => {
                if changed.is_err() {
                    break;
                }
                let newest = pushes.borrow_and_update().clone();
                match tokio::time::timeout(SEND_LIMIT, socket.send(Message::Text(newest))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return,
                }
            }
        }
    }
    let frame = CloseFrame { code: close_code::AWAY, reason: "the dashboard is stopping".into() };
    // Whoever does not take this will notice the end of the connection.
    let _ = tokio::time::timeout(SEND_LIMIT, socket.send(Message::Close(Some(frame)))).await;
}
