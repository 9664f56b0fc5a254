//! What is kept of the last hour, for the time machine.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::compress::gunzip;
use crate::error::{ApiError, ErrorBody};
use crate::page::takes;
use crate::past::{Body, Kept};

const KIND: &str = "application/octet-stream";

/// What is kept of the last hour: segments, each read from its keyframe on
///
/// Each second of the last ten minutes, and every ten seconds of the hour, since this process started; less where the bound of memory is
/// reached first.
#[utoipa::path(get, path = "/api/v1/past", tag = "cluster", responses((status = 200, body = Kept)))]
pub(crate) async fn list(State(app): State<App>) -> Json<Kept> {
    Json(app.past.read(|past| past.kept()))
}

/// One segment: records from a keyframe on
///
/// Each record has a byte for its kind, four bytes for its length, little endian, and its bytes. Kind 0: the time of the instant that
/// begins here, eight bytes, Unix milliseconds. 1: a text message as the WebSocket has it, a `hello` first, then each a `delta`. 2: a binary
/// message as the WebSocket has it. 3: the difference to the binary message before: its header, then what is added to the first byte of
/// each node, modulo 256, then to the second, and so on. 4: the order of the nodes in the binary messages that follow, as
/// `/api/v1/nodes/index` tells it.
#[utoipa::path(get, path = "/api/v1/past/{id}", tag = "cluster", params(("id" = String, Path, description = "as the list has it")),
    responses((status = 200, content_type = "application/octet-stream", description = "records"), (status = 404, body = ErrorBody)))]
pub(crate) async fn one(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let gone = || ApiError::not_found("this part of the past is not kept any more").remedy("/api/v1/past lists what is kept");
    let body = app.past.read(|past| past.segment(&id)).ok_or_else(gone)?;
    let about = [(header::CONTENT_TYPE, KIND), (header::VARY, "accept-encoding")];
    Ok(match body {
        Body::Packed(bytes) if takes(&headers, "gzip") => (about, [(header::CONTENT_ENCODING, "gzip")], bytes.to_vec()).into_response(),
        Body::Packed(bytes) => {
            let plain = tokio::task::spawn_blocking(move || gunzip(&bytes)).await.map_err(std::io::Error::other).flatten();
            let plain = plain.map_err(|error| {
                tracing::error!(%error, "a segment of the past cannot be read");
                ApiError::internal("this part of the past cannot be read")
            })?;
            (about, plain).into_response()
        }
        Body::Plain(bytes) => (about, bytes.to_vec()).into_response(),
    })
}
