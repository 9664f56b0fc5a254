//! The routes. Handlers read the view and speak to the cluster through its trait; none of them keeps state.

mod cancel;
mod chaos;
mod control;
mod events;
mod explain;
pub(crate) mod extract;
mod faults;
mod goodput;
mod incidents;
mod jobs;
mod kept;
mod layers;
mod messaging;
mod nodes;
mod params;
mod past;
mod processes;
mod recording;
mod resubmit;
mod session;
mod submit;

use std::sync::LazyLock;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::limits::MAX_BODY_BYTES;
use crate::{compress, error, page, socket};

/// What the document says beside the routes; `State` comes over the WebSocket only.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Faultline dashboard",
        description = "Watch and steer a Faultline cluster. Every error has the shape of ErrorBody.",
        version = "1"
    ),
    components(schemas(crate::push::State))
)]
struct Document;

/// Every route, with its path and method as its handler declares them, and the document of all as JSON. Made once.
static ROUTES: LazyLock<(Router<App>, String)> = LazyLock::new(|| {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(jobs::list, submit::submit))
        .routes(routes!(jobs::one))
        .routes(routes!(explain::explain))
        .routes(routes!(explain::would_fit))
        .routes(routes!(cancel::matching))
        .routes(routes!(cancel::one))
        .routes(routes!(resubmit::resubmit))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::index))
        .routes(routes!(nodes::one))
        .routes(routes!(past::history))
        .routes(routes!(nodes::drain))
        .routes(routes!(nodes::undrain))
        .routes(routes!(faults::fault))
        .routes(routes!(faults::restore))
        .routes(routes!(chaos::kill))
        .routes(routes!(chaos::overview))
        .routes(routes!(chaos::run))
        .routes(routes!(chaos::abort))
        .routes(routes!(messaging::messaging))
        .routes(routes!(processes::processes))
        .routes(routes!(control::stats))
        .routes(routes!(control::rate, control::set_rate))
        .routes(routes!(events::events))
        .routes(routes!(goodput::goodput))
        .routes(routes!(incidents::list))
        .routes(routes!(incidents::one))
        .routes(routes!(kept::list))
        .routes(routes!(kept::one))
        .routes(routes!(recording::recording))
        .routes(routes!(past::series))
        .routes(routes!(past::timeline))
        .routes(routes!(past::trace_file))
        .routes(routes!(openapi))
        .routes(routes!(socket::connect))
        .routes(routes!(session::current, session::sign_in, session::sign_out))
        .routes(routes!(control::health))
        .routes(routes!(page::index))
        .routes(routes!(page::asset))
        .split_for_parts();
    (router, document.to_json().unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")))
});

/// The whole service as a router: routes, then who is let in, then limits, then headers around everything.
pub(crate) fn router(app: App) -> Router {
    let (router, _) = &*ROUTES;
    router
        .clone()
        .method_not_allowed_fallback(error::no_such_method)
        .fallback(page::anywhere)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(app.clone(), layers::admit))
        .layer(from_fn_with_state(app.clone(), layers::limit))
        .layer(from_fn(compress::compress))
        .layer(from_fn(layers::harden))
        .with_state(app)
}

/// This description
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "dashboard", responses((status = 200, description = "an OpenAPI 3.1 document")))]
async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi_json()).into_response()
}

fn openapi_json() -> &'static str {
    &ROUTES.1
}

#[cfg(test)]
mod document_tests;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod route_tests;
#[cfg(test)]
mod wire_types;
