//! Why a job waits or runs where it does, and what would become of jobs that are not submitted.

use axum::Json;
use axum::extract::State;
use faultline_engine::scheduler::WouldFit;
use faultline_protocol::explanation::Explanation;
use faultline_protocol::messages::{Query, QueryReply};

use super::extract::JobPath;
use super::jobs::find;
use super::params::{Pairs, WouldFitParams};
use crate::app::App;
use crate::cluster::ClusterError;
use crate::error::{ApiError, ErrorBody};

/// Why a job waits, or runs where it does: the nodes that refuse it, its place in the order, what was second best
#[utoipa::path(get, path = "/api/v1/jobs/{id}/explain", tag = "jobs", params(("id" = String, Path, description = "the job's id, or at least 8 characters from its beginning or end")),
    responses((status = 200, body = Explanation), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn explain(State(app): State<App>, JobPath(job): JobPath) -> Result<Json<Explanation>, ApiError> {
    let (view, _, _) = find(&app, job).await?;
    Ok(Json(Explanation::of(&view, app.now_ms())))
}

/// Whether jobs would start now, where, and what is in the way; none is submitted
#[utoipa::path(get, path = "/api/v1/would-fit", tag = "jobs",
    params(
        ("gpus" = Option<f64>, Query, description = "a share below 1, or a whole number up to 8; 0.1 when absent"),
        ("gpu_memory_mib" = Option<u32>, Query, description = "on each of those GPUs; 0 when absent"),
        ("models" = Option<String>, Query, description = "acceptable GPU models, with commas; any when absent"),
        ("kind" = Option<String>, Query, description = "such as matrix; one that every node runs when absent"),
        ("count" = Option<u32>, Query, description = "how many such jobs, 1 to 1000; 1 when absent")),
    responses((status = 200, body = WouldFit), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn would_fit(State(app): State<App>, pairs: Pairs) -> Result<Json<WouldFit>, ApiError> {
    let query = WouldFitParams::decode(pairs)?.query;
    match app.cluster.query(Query::WouldFit(query)).await? {
        QueryReply::WouldFit(answer) => Ok(Json(*answer)),
        QueryReply::Error(reason) => Err(ClusterError::Failed(reason).into()),
        QueryReply::Stats(_) | QueryReply::Nodes(_) | QueryReply::Jobs(_) | QueryReply::Goodput(_) => {
            Err(ClusterError::Failed("the scheduler answered another question".into()).into())
        }
    }
}
