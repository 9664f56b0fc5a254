//! What surrounds every route: who is let in, how many requests at once and a second, and the headers of every answer.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::app::App;
use crate::error::ApiError;
use crate::guard::{Asked, Caller, HEALTH_PATH};
use crate::limits::{MAX_HEAD_BYTES, MAX_REQUESTS, REQUEST_LIMIT, REQUESTS_PER_S};

const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";
const SECURITY_HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Bytes of a request's line and headers, as HTTP/1.1 writes them.
fn head_bytes(request: &Request) -> usize {
    let target = request.uri().path_and_query().map_or(1, |target| target.as_str().len());
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    request.method().as_str().len() + target + "  HTTP/1.1\r\n\r\n".len() + headers
}

/// Middleware: lets a request in or refuses it.
pub(crate) async fn admit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let (method, path, headers) = (request.method(), request.uri().path(), request.headers());
    let asked = Asked { method, path, headers, caller: Caller::of(&request), now: Instant::now() };
    match app.guard.check(&asked) {
        Ok(leave) => {
            request.extensions_mut().insert(leave);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

/// Middleware: so many requests a second from one address, so many at once, and each not for ever.
pub(crate) async fn limit(State(app): State<App>, request: Request, next: Next) -> Response {
    if head_bytes(&request) > MAX_HEAD_BYTES {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return ApiError::new(
            status,
            "head_too_large",
            format!("the request's line and headers are larger than {} KiB", MAX_HEAD_BYTES / 1024),
        )
        .remedy("send fewer or shorter headers, and a shorter path")
        .into_response();
    }
    // A supervisor must not take a flood for the death of this process.
    let counts = request.uri().path() != HEALTH_PATH;
    if counts && !app.guard.may_ask(Caller::of(&request).address, Instant::now()) {
        return ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "this address asks too often")
            .remedy(format!("stay below {REQUESTS_PER_S} requests a second"))
            .with_header(header::RETRY_AFTER, "1")
            .into_response();
    }
    let Ok(_permit) = app.requests.try_acquire() else {
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", format!("{MAX_REQUESTS} requests are being answered already"))
            .remedy("try again in a moment")
            .with_header(header::RETRY_AFTER, "1")
            .into_response();
    };
    match tokio::time::timeout(REQUEST_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "the request took too long and was given up").into_response(),
    }
}

/// Middleware: the headers that every answer carries.
pub(crate) async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
