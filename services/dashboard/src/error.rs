//! The one shape of every error: `{"error": {"code", "message", "field"?, "remedy"?}}`.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use faultline_engine::job::InvalidJob;
use serde::Serialize;
use utoipa::ToSchema;

use crate::cluster::ClusterError;

/// What went wrong, for programs (`code`, `field`) and for people (`message`, `remedy`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ErrorDetail {
    /// Stable, in snake case, such as `not_found`.
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// The parameter or the field of the body that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    pub(crate) error: ErrorDetail,
}

/// An error on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// Boxed: errors travel through many results.
    pub(crate) detail: Box<ErrorDetail>,
    header: Option<(HeaderName, &'static str)>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, detail: Box::new(ErrorDetail { code, message: message.into(), field: None, remedy: None }), header: None }
    }

    /// 422: a value that cannot be meant.
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message);
        error.detail.field = Some(field.into());
        error
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 500: a fault of this process.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message).remedy("try again; the dashboard's log has the details")
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.detail.remedy = Some(remedy.into());
        self
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    pub(crate) fn body(self) -> ErrorBody {
        ErrorBody { error: *self.detail }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, header) = (self.status, self.header.clone());
        let mut response = (status, Json(self.body())).into_response();
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl From<InvalidJob> for ApiError {
    fn from(error: InvalidJob) -> Self {
        Self::invalid(error.field, error.problem)
    }
}

impl From<ClusterError> for ApiError {
    fn from(error: ClusterError) -> Self {
        let message = error.to_string();
        let unavailable = |code, remedy: &str| {
            Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message.clone()).remedy(remedy).with_header(header::RETRY_AFTER, "2")
        };
        match error {
            ClusterError::NoScheduler(_) => {
                unavailable("no_scheduler", "a standby takes over within a few seconds: try again; otherwise start a scheduler")
            }
            ClusterError::Unreachable(_) => {
                unavailable("nats_unreachable", "the dashboard reconnects by itself: see that the NATS server runs")
            }
            ClusterError::NoExperiments(_) => Self::new(StatusCode::NOT_IMPLEMENTED, "no_experiments", message)
                .remedy("start the cluster with `faultline up`: it starts the processes, so it can kill and freeze them; kill a container with `docker kill`"),
            ClusterError::RefusedByUp(_) => Self::new(StatusCode::CONFLICT, "refused", message),
            ClusterError::NoWorker(_) => Self::new(StatusCode::CONFLICT, "worker_silent", message)
                .remedy("`faultline status` shows what runs; a node whose worker is gone cannot be broken or mended"),
            ClusterError::QueueFull(_) => unavailable("queue_full", "wait for jobs to finish, or submit fewer"),
            ClusterError::Failed(_) => unavailable("cluster_failed", "try again; the dashboard's log has the details"),
            ClusterError::Invalid(invalid) => invalid.into(),
        }
    }
}

/// Any path that leads nowhere.
pub(crate) async fn no_such_route(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::not_found(format!("there is nothing at {path}")).remedy("GET /api/v1/openapi.json lists what there is")
}

/// A path that exists, with a method that it does not take.
pub(crate) async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    let method: String = method.as_str().chars().take(20).collect();
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("{path} does not take {method}"))
        .remedy("the header Allow of this answer lists the methods that it takes")
}
