//! The WebSocket: tells each client the whole state, then every change, as fast as that client takes it, and reads nothing.
//! Nothing is queued for a client: one that missed a change is told the whole state again.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::error::{ApiError, ErrorBody};
use crate::limits::MAX_INCOMING_BYTES;
use crate::metrics::DashboardMetrics;
use crate::push::Round;
use crate::session::Leave;

/// A client that takes nothing for so long is gone.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// The state, then its changes every 500 ms, over a WebSocket
///
/// Text messages are JSON: a `hello` with the whole state, then a `delta` every 500 ms whose `seq` is one more than that of the
/// message before. A client that is too slow is told a new `hello` instead of what it missed. After each text message
/// comes a binary one, little endian, with 5 bytes a node in the order of `/api/v1/nodes/index`: byte 0 version (1),
/// 1 flags (0), 2-3 reserved, 4-7 seq, 8-11 revision of the index, 12-15 number of nodes; then for each node utilisation
/// in half percents, memory in half percents, temperature in degrees Celsius, state (bits 0-2: 0 alive, 1 suspect, 2 gone,
/// 3 dead, 4 never heard of; bit 3 draining, 4 throttled, 5 under a fault, 6 last heartbeat older than 2 s), and how many
/// attempts run (255: that many or more).
#[utoipa::path(get, path = "/api/v1/ws", tag = "cluster",
    responses((status = 101, body = crate::push::Told, description = "each text message"), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 503, body = ErrorBody, description = "64 WebSockets and event streams are open already")))]
pub(crate) async fn connect(
    State(app): State<App>,
    Extension(leave): Extension<Leave>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|rejection| {
        ApiError::new(rejection.status(), "no_websocket", "this path speaks WebSocket only")
            .remedy("GET /api/v1/stats and its siblings answer plain requests")
    })?;
    let permit = app.stream_permit()?;
    let upgrade = upgrade.max_message_size(MAX_INCOMING_BYTES).max_frame_size(MAX_INCOMING_BYTES);
    Ok(upgrade.on_upgrade(move |socket| push(socket, app, leave, permit)))
}

async fn push(mut socket: WebSocket, app: App, leave: Leave, _permit: OwnedSemaphorePermit) {
    let mut rounds = app.rounds.clone();
    // The first round must be younger than the connection: what the channel holds may be from the last client's time.
    rounds.mark_unchanged();
    app.arrivals.notify_one();
    let mut told = None;
    let mut over = std::pin::pin!(leave.over());
    let frame = loop {
        tokio::select! {
            biased;
            () = app.stopping.cancelled() => break CloseFrame { code: close_code::AWAY, reason: "the dashboard is stopping".into() },
            () = &mut over => break CloseFrame { code: close_code::POLICY, reason: "signed out".into() },
            incoming = socket.recv() => match incoming {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                // Pings are answered by the library; nothing else is expected, and nothing is done about it.
                Some(Ok(_)) => {}
            },
            changed = rounds.changed() => {
                if changed.is_err() {
                    return;
                }
                let Some(round) = rounds.borrow_and_update().clone() else { continue };
                match tokio::time::timeout(SEND_LIMIT, tell(&mut socket, &round, told, &app.metrics)).await {
                    Ok(Ok(())) => told = Some(round.seq),
                    Ok(Err(_)) | Err(_) => return,
                }
            }
        }
    };
    // A client that does not take this notices the end of the connection.
    let _ = tokio::time::timeout(SEND_LIMIT, socket.send(Message::Close(Some(frame)))).await;
}

/// The change, if the client knows what it is a change of, else the whole; then the telemetry.
async fn tell(socket: &mut WebSocket, round: &Round, told: Option<u64>, metrics: &DashboardMetrics) -> Result<(), axum::Error> {
    let text = if told == Some(round.seq - 1) { round.delta.clone() } else { round.hello() };
    metrics.frames.inc_by(2);
    metrics.frame_bytes.inc_by((text.len() + round.telemetry.len()) as u64);
    socket.send(Message::Text(text)).await?;
    socket.send(Message::Binary(round.telemetry.clone())).await
}
