//! A stretch of the past as a file.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::params::{Pairs, RecordingParams};
use crate::app::App;
use crate::error::{ApiError, ErrorBody};
use crate::page;
use crate::recording::{Answers, file};

/// A stretch of the last hour as one HTML file, which shows this page anywhere, without a network
///
/// It has whole segments of the past, so it begins up to a minute before the stretch, ten minutes where only each tenth second is kept.
#[utoipa::path(get, path = "/api/v1/recording", tag = "cluster",
    params(
        ("last_ms" = Option<u64>, Query, description = "how far back, at most 3600000, default 600000"),
        ("from_ms" = Option<u64>, Query, description = "Unix milliseconds; instead of `last_ms`"),
        ("to_ms" = Option<u64>, Query, description = "Unix milliseconds, default now")),
    responses((status = 200, content_type = "text/html", description = "the file"), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 501, body = ErrorBody, description = "the dashboard was built without its page")))]
pub(crate) async fn recording(State(app): State<App>, pairs: Pairs) -> Result<Response, ApiError> {
    let now_ms = app.now_ms();
    let RecordingParams { from_ms, to_ms } = RecordingParams::decode(pairs, now_ms)?;
    let template = page::recording().ok_or_else(|| {
        ApiError::new(StatusCode::NOT_IMPLEMENTED, "no_page", "this dashboard was built without its page, which a recording holds")
            .remedy("build it with Node 20 or newer")
    })?;
    let covering = app.past.read(|past| past.covering(from_ms, to_ms));
    if covering.is_empty() {
        return Err(ApiError::not_found("nothing of this stretch is kept").remedy("/api/v1/past lists what is kept"));
    }
    let (infos, bodies): (Vec<_>, Vec<_>) = covering.into_iter().unzip();
    let answers = Answers::of(&app.view.read(), infos, now_ms);
    let made = tokio::task::spawn_blocking(move || file(template, &answers, &bodies)).await.map_err(std::io::Error::other).flatten();
    let made = made.map_err(|error| {
        tracing::error!(%error, "a recording was not made");
        ApiError::internal("the recording was not made")
    })?;
    let name = format!("attachment; filename=\"faultline-recording-{to_ms}.html\"");
    Ok(([(header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)], made).into_response())
}
