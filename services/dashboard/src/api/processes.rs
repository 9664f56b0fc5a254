//! The processes of the cluster and their logs, as `faultline up` tells of them.

use axum::Json;
use axum::extract::State;
use faultline_protocol::messages::ProcessesReply;

use super::params::{Pairs, ProcessesParams};
use crate::app::App;
use crate::error::{ApiError, ErrorBody};

/// Which processes `faultline up` runs, how they are, and the last lines of their logs
///
/// `up` keeps the last 200 lines of each process, at most 32 KiB, each cut to 500 bytes.
#[utoipa::path(get, path = "/api/v1/processes", tag = "cluster",
    params(("process" = Option<String>, Query, description = "lines of this process only"),
        ("level" = Option<String>, Query, description = "lines of this level and worse: debug, info, warn, error"),
        ("lines" = Option<u32>, Query, description = "how many of the newest lines, 1 to 200, default 100")),
    responses((status = 200, body = ProcessesReply), (status = 422, body = ErrorBody),
        (status = 501, body = ErrorBody, description = "no `faultline up` answers"), (status = 503, body = ErrorBody)))]
pub(crate) async fn processes(State(app): State<App>, pairs: Pairs) -> Result<Json<ProcessesReply>, ApiError> {
    let ProcessesParams { query } = ProcessesParams::decode(pairs)?;
    Ok(Json(app.cluster.processes(query).await?))
}
