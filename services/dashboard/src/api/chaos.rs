//! Experiments: handed on to `faultline up`, which carries them out. The kinds and their bounds are its business; what it
//! refuses comes back in its own words.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use faultline_client::observe::hypothesis::Hypothesis;
use faultline_engine::job::is_token;
use faultline_protocol::messages::{
    ChaosAbort, ChaosKind, ChaosKindInfo, ChaosProgress, ChaosReport, ChaosRequest, KillReply, KillRequest, ProcessSignalled,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{JsonBody, NodePath, OptionalJsonBody};
use super::faults::worker_of;
use crate::app::App;
use crate::cluster::{ClusterError, OPERATOR, Started};
use crate::error::{ApiError, ErrorBody};

/// Runs that are shown.
const MAX_RUNS: u32 = 20;
const MAX_HYPOTHESIS_CHARS: usize = 500;
const MAX_FOR_MS: u64 = 24 * 3600 * 1000;

/// Experiments: what there is, what runs, what came of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChaosOverview {
    /// False when no `faultline up` answers.
    pub(crate) available: bool,
    /// Why not, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) kinds: Vec<ChaosKindInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) running: Option<ChaosProgress>,
    /// The newest 20 that have ended, newest first.
    pub(crate) runs: Vec<ChaosReport>,
}

/// An experiment. What is left out is the default of the kind.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunRequest {
    pub(crate) kind: ChaosKind,
    /// A node, a worker or a service by name; drawn when absent.
    pub(crate) target: Option<String>,
    /// How long the fault lasts, at most a day.
    pub(crate) for_ms: Option<u64>,
    /// How many targets are drawn.
    pub(crate) count: Option<u32>,
    /// For `kill-percent`: the share of the workers, above 0 and up to 100.
    pub(crate) percent: Option<f64>,
    /// For `slow`: how many times slower.
    pub(crate) factor: Option<f64>,
    /// For `gpu-error`: the XID.
    pub(crate) xid: Option<u32>,
    /// Clauses such as `lost=0,recovery_p99<5s`.
    pub(crate) hypothesis: Option<String>,
    pub(crate) before_ms: Option<u64>,
    pub(crate) after_ms: Option<u64>,
    pub(crate) seed: Option<u64>,
    /// Whether all of the cluster must be whole before the fault and after it, not only the targets; false when absent.
    pub(crate) wait_whole: Option<bool>,
}

impl RunRequest {
    fn decode(self) -> Result<ChaosRequest, ApiError> {
        let target = self.target.unwrap_or_default();
        if !target.is_empty() && !is_token(&target) {
            return Err(ApiError::invalid("target", "a name has 1 to 64 letters, digits, `-` and `_`"));
        }
        for (field, value) in [("for_ms", self.for_ms), ("before_ms", self.before_ms), ("after_ms", self.after_ms)] {
            if value.is_some_and(|ms| ms > MAX_FOR_MS) {
                return Err(ApiError::invalid(field, format!("at most {MAX_FOR_MS}")));
            }
        }
        if self.for_ms == Some(0) {
            return Err(ApiError::invalid("for_ms", "at least 1; left out, it is as the kind has it"));
        }
        if self.percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
            return Err(ApiError::invalid("percent", "must be above 0 and up to 100"));
        }
        let hypothesis = self.hypothesis.unwrap_or_default();
        if hypothesis.chars().count() > MAX_HYPOTHESIS_CHARS || hypothesis.chars().any(char::is_control) {
            return Err(ApiError::invalid("hypothesis", format!("at most {MAX_HYPOTHESIS_CHARS} printable characters")));
        }
        Hypothesis::parse(&hypothesis).map_err(|error| ApiError::invalid("hypothesis", error.to_string()))?;
        Ok(ChaosRequest {
            kind: self.kind,
            target,
            for_ms: self.for_ms.unwrap_or(0),
            count: self.count.unwrap_or(0),
            percent: self.percent.unwrap_or(0.0),
            factor: self.factor.unwrap_or(0.0),
            xid: self.xid.unwrap_or(0),
            hypothesis,
            before_ms: self.before_ms,
            after_ms: self.after_ms,
            seed: self.seed,
            wait_whole: self.wait_whole.unwrap_or(false),
            by: OPERATOR.into(),
        })
    }
}

/// A run that has begun.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunStarted {
    pub(crate) run: String,
    pub(crate) seed: u64,
}

/// May be sent along with an abort.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AbortRequest {
    /// Only this run; whatever runs when absent.
    pub(crate) run: Option<String>,
}

/// A run that is being put right.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunAborting {
    pub(crate) run: String,
}

/// Experiments: kinds, the run under way, the runs so far
#[utoipa::path(get, path = "/api/v1/chaos", tag = "faults", responses((status = 200, body = ChaosOverview)))]
pub(crate) async fn overview(State(app): State<App>) -> Json<ChaosOverview> {
    let answer = app.cluster.chaos_list(MAX_RUNS).await;
    app.view.write().chaos.on_list(answer.as_ref().map_err(ToString::to_string));
    let state = app.view.read().chaos.state().clone();
    let (kinds, runs) = answer.map_or_else(|_| (Vec::new(), Vec::new()), |list| (list.kinds, list.runs));
    Json(ChaosOverview { available: state.available, reason: state.reason, kinds, running: state.running, runs })
}

/// Break something for a while, watch, put it right, judge
#[utoipa::path(post, path = "/api/v1/chaos/run", tag = "faults", request_body = RunRequest,
    responses((status = 202, body = RunStarted), (status = 400, body = ErrorBody), (status = 409, body = ErrorBody, description = "`up` refuses it; why, in words"),
        (status = 415, body = ErrorBody), (status = 422, body = ErrorBody), (status = 501, body = ErrorBody, description = "no `faultline up` answers"),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn run(
    State(app): State<App>,
    JsonBody(request): JsonBody<RunRequest>,
) -> Result<(StatusCode, Json<RunStarted>), ApiError> {
    let Started { run, seed } = app.cluster.chaos_run(request.decode()?).await?;
    Ok((StatusCode::ACCEPTED, Json(RunStarted { run, seed })))
}

/// Put everything right and stop
#[utoipa::path(post, path = "/api/v1/chaos/abort", tag = "faults", request_body = Option<AbortRequest>,
    responses((status = 202, body = RunAborting), (status = 409, body = ErrorBody, description = "nothing runs"), (status = 422, body = ErrorBody),
        (status = 501, body = ErrorBody, description = "no `faultline up` answers"), (status = 503, body = ErrorBody)))]
pub(crate) async fn abort(
    State(app): State<App>,
    OptionalJsonBody(request): OptionalJsonBody<AbortRequest>,
) -> Result<(StatusCode, Json<RunAborting>), ApiError> {
    let run = request.unwrap_or_default().run;
    if run.as_ref().is_some_and(|run| !is_token(run)) {
        return Err(ApiError::invalid("run", "no run has such a name"));
    }
    let run = app.cluster.chaos_abort(ChaosAbort { run, by: OPERATOR.into() }).await?;
    Ok((StatusCode::ACCEPTED, Json(RunAborting { run })))
}

/// A process that was killed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KillDone {
    #[serde(flatten)]
    pub(crate) process: ProcessSignalled,
    /// How many nodes it hosted.
    pub(crate) nodes: usize,
    /// How many attempts ran on them, by their last heartbeats.
    pub(crate) attempts: usize,
}

/// Kill the worker process that hosts a node, with all its nodes, now; `up` starts it again
#[utoipa::path(post, path = "/api/v1/nodes/{id}/kill", tag = "faults", params(("id" = String, Path, description = "the node's name")),
    responses((status = 200, body = KillDone), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "the process does not run now, or `up` did not start it"),
        (status = 422, body = ErrorBody), (status = 501, body = ErrorBody, description = "no `faultline up` answers"), (status = 503, body = ErrorBody)))]
pub(crate) async fn kill(State(app): State<App>, NodePath(node): NodePath) -> Result<Json<KillDone>, ApiError> {
    let service = worker_of(&app, &node)?;
    let (nodes, attempts) = app.view.read().nodes.hosted_by(&service);
    match app.cluster.kill(KillRequest { service, by: OPERATOR.into() }).await? {
        KillReply::Killed(process) => Ok(Json(KillDone { process, nodes, attempts })),
        KillReply::Refused { reason } => Err(ClusterError::RefusedByUp(reason).into()),
    }
}
