//! Who is let in: Host, Origin and token are checked before any route; limits and security headers surround them all.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::error::ApiError;
use crate::app::{App, MAX_REQUESTS};
use crate::settings::Token;

/// The one path that needs no token.
pub(crate) const HEALTH_PATH: &str = "/healthz";
/// A request that takes longer is given up; submitting 10,000 jobs takes a few seconds.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";
const SECURITY_HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What is asked of a request before it is looked at.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Whether only this machine can connect. A web page from elsewhere still can, through the browser here.
    pub(crate) loopback_only: bool,
    pub(crate) token: Option<Token>,
}

impl Guard {
    pub(crate) fn check(&self, path: &str, headers: &HeaderMap) -> Result<(), ApiError> {
        let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if self.loopback_only && !is_loopback_name(host) {
            return Err(ApiError::new(StatusCode::FORBIDDEN, "wrong_host", "the header Host must name localhost or a loopback address")
                .remedy("open the page as http://127.0.0.1:<port>/"));
        }
        check_origin(headers, host)?;
        match &self.token {
            Some(token) if path != HEALTH_PATH => check_token(token, headers),
            _ => Ok(()),
        }
    }
}

/// Against DNS rebinding: a foreign name that resolves to 127.0.0.1 must not open this door.
fn is_loopback_name(host: &str) -> bool {
    let name = host_name(host);
    name.eq_ignore_ascii_case("localhost")
        || name.trim_start_matches('[').trim_end_matches(']').parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// The name of `name:port`, `[v6]:port`, `name` or `[v6]`.
fn host_name(host: &str) -> &str {
    match (host.rfind(']'), host.rfind(':')) {
        (Some(end), _) => &host[..=end],
        (None, Some(colon)) => &host[..colon],
        (None, None) => host,
    }
}

/// Another site's page must not give orders, nor open a WebSocket, which no CORS check guards.
fn check_origin(headers: &HeaderMap, host: &str) -> Result<(), ApiError> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    let own = origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(|(scheme, authority)| {
        matches!(scheme, "http" | "https") && !authority.is_empty() && authority.eq_ignore_ascii_case(host)
    });
    if own && origins.next().is_none() {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::FORBIDDEN, "foreign_origin", "requests from pages of another origin are refused"))
}

fn check_token(token: &Token, headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let bearer = given.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
    if bearer.is_some_and(|(_, secret)| token.matches(secret)) {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "a token is needed")
        .remedy("send the header Authorization: Bearer <the token in the file of --token-file>")
        .with_header(header::WWW_AUTHENTICATE, "Bearer"))
}

/// Middleware: lets a request in or refuses it.
pub(crate) async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    match app.guard.check(request.uri().path(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Middleware: so many requests at once, and each not for ever.
pub(crate) async fn limit(State(app): State<App>, request: Request, next: Next) -> Response {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn refusal(guard: &Guard, path: &str, pairs: &[(HeaderName, &str)]) -> Option<&'static str> {
        guard.check(path, &headers(pairs)).err().map(|error| error.detail.code)
    }

    const LOCAL: Guard = Guard { loopback_only: true, token: None };

    #[test]
    fn only_loopback_names_open_a_loopback_door() {
        for host in ["localhost:8080", "LOCALHOST", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080", "[::1]"] {
            assert_eq!(refusal(&LOCAL, "/", &[(header::HOST, host)]), None, "{host}");
        }
        for host in ["", "evil.example:8080", "localhost.evil.example", "10.0.0.1", "[2001:db8::1]:8080", "127.0.0.1.evil.example:8080"] {
            assert_eq!(refusal(&LOCAL, "/", &[(header::HOST, host)]), Some("wrong_host"), "{host}");
        }
        assert_eq!(refusal(&LOCAL, "/", &[]), Some("wrong_host"));
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let from = |origin| refusal(&LOCAL, "/", &[(header::HOST, "127.0.0.1:8080"), (header::ORIGIN, origin)]);
        assert_eq!(from("http://127.0.0.1:8080"), None);
        for origin in
            ["null", "http://127.0.0.1:9090", "http://localhost:8080", "http://evil.example", "ftp://127.0.0.1:8080", "127.0.0.1:8080", ""]
        {
            assert_eq!(from(origin), Some("foreign_origin"), "{origin}");
        }
    }

    #[test]
    fn a_token_is_asked_for_everywhere_but_for_the_health_check() {
        let guard = Guard { loopback_only: false, token: Some(Token::new("0123456789abcdef").unwrap()) };
        let with = |path, value| refusal(&guard, path, &[(header::HOST, "cluster.example"), (header::AUTHORIZATION, value)]);
        assert_eq!(with("/api/v1/stats", "Bearer 0123456789abcdef"), None);
        assert_eq!(with("/", "bearer 0123456789abcdef"), None);
        for wrong in ["Bearer 0123456789abcdeF", "Bearer", "", "Basic 0123456789abcdef", "Bearer  0123456789abcdef"] {
            assert_eq!(with("/api/v1/stats", wrong), Some("unauthorized"), "{wrong}");
        }
        assert_eq!(with(HEALTH_PATH, ""), None);
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_the_check_panic(host in "[ -~]{0,40}", origin in "[ -~]{0,40}", secret in "[ -~]{0,40}") {
            let guard = Guard { loopback_only: true, token: Some(Token::new("0123456789abcdef").unwrap()) };
            let _ = guard.check("/", &headers(&[(header::HOST, &host), (header::ORIGIN, &origin), (header::AUTHORIZATION, &secret)]));
        }
    }
}
