//! Where GPU time went, as the leader stored it last: it does every five seconds.

use axum::Json;
use axum::extract::State;
use faultline_engine::goodput::history::{KEPT_MS, ROW_MS};
use faultline_protocol::goodput::GoodputView;

use super::params::Pairs;
use crate::app::App;
use crate::error::{ApiError, ErrorBody};

/// Where GPU time went in the last hour or less: every GPU-instant is in one of 22 classes, and what failures cost
#[utoipa::path(get, path = "/api/v1/goodput", tag = "cluster",
    params(("last_ms" = Option<u64>, Query, description = "10000 to 3600000, in steps of ten seconds; an hour when absent")),
    responses((status = 200, body = GoodputView), (status = 422, body = ErrorBody)))]
pub(crate) async fn goodput(State(app): State<App>, pairs: Pairs) -> Result<Json<GoodputView>, ApiError> {
    let last_ms = last_ms(pairs)?;
    Ok(Json(GoodputView::of(app.view.read().goodput(), last_ms)))
}

fn last_ms(mut pairs: Pairs) -> Result<u64, ApiError> {
    let last_ms = pairs.parse::<u64>("last_ms")?.unwrap_or(KEPT_MS);
    pairs.finish()?;
    if !(ROW_MS..=KEPT_MS).contains(&last_ms) {
        return Err(ApiError::invalid("last_ms", format!("must be {ROW_MS} to {KEPT_MS}")));
    }
    Ok(last_ms)
}
