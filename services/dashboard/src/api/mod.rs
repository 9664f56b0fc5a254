//! The routes. Handlers read the view and speak to the cluster through its trait; none of them keeps state.

mod cancel;
mod chaos;
mod control;
pub(crate) mod error;
mod events;
pub(crate) mod extract;
mod faults;
mod jobs;
mod messaging;
mod nodes;
mod params;
mod past;
mod session;
mod submit;

use std::sync::OnceLock;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, delete, get, post, put};
use utoipa::OpenApi;

use crate::app::App;
use crate::{guard, page, socket};

pub(crate) use control::StatsReply;
pub(crate) use messaging::LastMessaging;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Faultline dashboard",
        description = "Watch and steer a Faultline cluster. Every error has the shape of ErrorBody.",
        version = "1"
    ),
    paths(
        jobs::list,
        jobs::one,
        cancel::one,
        cancel::matching,
        submit::submit,
        nodes::list,
        nodes::index,
        nodes::one,
        nodes::drain,
        nodes::undrain,
        faults::fault,
        faults::restore,
        chaos::kill,
        chaos::overview,
        chaos::run,
        chaos::abort,
        messaging::messaging,
        control::stats,
        control::rate,
        control::set_rate,
        events::events,
        past::series,
        past::history,
        past::timeline,
        past::trace_file,
        session::current,
        session::sign_in,
        session::sign_out,
        control::health,
        control::openapi,
        socket::connect,
        page::index,
        page::asset
    ),
    components(schemas(crate::push::State))
)]
struct Document;

/// One method of one path.
struct Route {
    /// Read by the test that compares this table with the OpenAPI document.
    #[cfg_attr(not(test), expect(dead_code, reason = "axum keeps the method inside `handler`"))]
    method: &'static str,
    path: &'static str,
    handler: MethodRouter<App>,
}

fn routes() -> Vec<Route> {
    let route = |method, path, handler| Route { method, path, handler };
    vec![
        route("get", "/api/v1/jobs", get(jobs::list)),
        route("post", "/api/v1/jobs", post(submit::submit)),
        route("get", "/api/v1/jobs/{id}", get(jobs::one)),
        route("post", "/api/v1/jobs/cancel", post(cancel::matching)),
        route("post", "/api/v1/jobs/{id}/cancel", post(cancel::one)),
        route("get", "/api/v1/nodes", get(nodes::list)),
        route("get", "/api/v1/nodes/index", get(nodes::index)),
        route("get", "/api/v1/nodes/{id}", get(nodes::one)),
        route("get", "/api/v1/nodes/{id}/history", get(past::history)),
        route("post", "/api/v1/nodes/{id}/drain", post(nodes::drain)),
        route("post", "/api/v1/nodes/{id}/undrain", post(nodes::undrain)),
        route("post", "/api/v1/nodes/{id}/fault", post(faults::fault)),
        route("post", "/api/v1/nodes/{id}/restore", post(faults::restore)),
        route("post", "/api/v1/nodes/{id}/kill", post(chaos::kill)),
        route("get", "/api/v1/chaos", get(chaos::overview)),
        route("post", "/api/v1/chaos/run", post(chaos::run)),
        route("post", "/api/v1/chaos/abort", post(chaos::abort)),
        route("get", "/api/v1/messaging", get(messaging::messaging)),
        route("get", "/api/v1/stats", get(control::stats)),
        route("get", "/api/v1/rate", get(control::rate)),
        route("put", "/api/v1/rate", put(control::set_rate)),
        route("get", "/api/v1/events", get(events::events)),
        route("get", "/api/v1/series", get(past::series)),
        route("get", "/api/v1/timeline", get(past::timeline)),
        route("get", "/api/v1/timeline/trace.json", get(past::trace_file)),
        route("get", "/api/v1/openapi.json", get(control::openapi)),
        route("get", "/api/v1/ws", get(socket::connect)),
        route("get", guard::SESSION_PATH, get(session::current)),
        route("post", guard::SESSION_PATH, post(session::sign_in)),
        route("delete", guard::SESSION_PATH, delete(session::sign_out)),
        route("get", guard::HEALTH_PATH, get(control::health)),
        route("get", "/", get(page::index)),
        route("get", "/assets/{name}", get(page::asset)),
    ]
}

/// The whole service as a router: routes, then who is let in, then limits, then headers around everything.
pub(crate) fn router(app: App) -> Router {
    let mut router = Router::new();
    for Route { path, handler, .. } in routes() {
        router = router.route(path, handler);
    }
    router
        .method_not_allowed_fallback(error::no_such_method)
        .fallback(page::anywhere)
        .layer(DefaultBodyLimit::max(extract::MAX_BODY_BYTES))
        .layer(from_fn_with_state(app.clone(), guard::admit))
        .layer(from_fn_with_state(app.clone(), guard::limit))
        .layer(from_fn(guard::harden))
        .with_state(app)
}

fn openapi_json() -> &'static str {
    static JSON: OnceLock<String> = OnceLock::new();
    JSON.get_or_init(|| Document::openapi().to_json().unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")))
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod route_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_in_the_document_and_every_entry_is_a_route() {
        let document: serde_json::Value = serde_json::from_str(openapi_json()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let routes = routes();
        for route in &routes {
            assert!(paths.get(route.path).and_then(|item| item.get(route.method)).is_some(), "{} {}", route.method, route.path);
        }
        let documented: usize = paths
            .values()
            .map(|item| item.as_object().unwrap().keys().filter(|key| ["get", "put", "post", "delete"].contains(&key.as_str())).count())
            .sum();
        assert_eq!(documented, routes.len());
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        let document: serde_json::Value = serde_json::from_str(openapi_json()).unwrap();
        let mut stack = vec![&document];
        while let Some(value) = stack.pop() {
            match value {
                serde_json::Value::Object(map) => {
                    if let Some(target) = map.get("$ref").and_then(|target| target.as_str()) {
                        let found = document.pointer(target.trim_start_matches('#'));
                        assert!(found.is_some(), "{target} is missing");
                    }
                    stack.extend(map.values());
                }
                serde_json::Value::Array(items) => stack.extend(items),
                _ => {}
            }
        }
    }
}
