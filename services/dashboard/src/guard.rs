//! Who is let in: Host, Origin, and the token or the session that stands for it are checked before any route; limits and security
//! headers surround them all.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::api::error::ApiError;
use crate::app::{App, MAX_REQUESTS};
use crate::page;
use crate::rate_limit::RateLimit;
use crate::session::{LIFETIME, Leave, Sessions};
use crate::settings::Token;

/// Needs no token and has no rate limit.
pub(crate) const HEALTH_PATH: &str = "/healthz";
/// Where one signs in and out, so it needs no token either.
pub(crate) const SESSION_PATH: &str = "/api/v1/session";
/// A request that takes longer is given up; submitting 10,000 jobs takes a few seconds.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// Requests of one address at once and a second. A page asks about five times a second.
const REQUEST_BURST: u32 = 600;
const REQUESTS_PER_S: f64 = 100.0;
/// Wrong tokens of one address at once and a second.
const GUESS_BURST: u32 = 5;
const GUESSES_PER_S: f64 = 0.1;

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
    loopback_only: bool,
    token: Option<Token>,
    sessions: Sessions,
    /// Browsers send a cookie to all ports of a host, so two dashboards on one need two names.
    cookie: String,
    requests: RateLimit,
    guesses: RateLimit,
}

/// What of a request decides whether it is let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) peer: IpAddr,
    pub(crate) now: Instant,
}

impl Guard {
    /// For a dashboard that listens on `address`.
    pub(crate) fn new(address: SocketAddr, token: Option<Token>) -> Self {
        Self {
            loopback_only: address.ip().is_loopback(),
            token,
            sessions: Sessions::default(),
            cookie: format!("faultline_session_{}", address.port()),
            requests: RateLimit::new(REQUEST_BURST, REQUESTS_PER_S),
            guesses: RateLimit::new(GUESS_BURST, GUESSES_PER_S),
        }
    }

    pub(crate) fn check(&self, asked: &Asked<'_>) -> Result<Leave, ApiError> {
        let host = asked.headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if self.loopback_only && !is_loopback_name(host) {
            return Err(ApiError::new(StatusCode::FORBIDDEN, "wrong_host", "the header Host must name localhost or a loopback address")
                .remedy("open the page as http://127.0.0.1:<port>/"));
        }
        check_origin(asked.headers, host)?;
        if self.token.is_none() || matches!(asked.path, HEALTH_PATH | SESSION_PATH) || page::is_page(asked.path) {
            return Ok(Leave::UNLIMITED);
        }
        if let Some(given) = asked.headers.get(header::AUTHORIZATION) {
            let bearer = given.as_bytes().split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
            let (_, secret) = bearer.ok_or_else(no_token)?;
            return self.check_token(secret, asked.peer, asked.now).map(|()| Leave::UNLIMITED);
        }
        let leave = self.session(asked.headers, asked.now).ok_or_else(no_token)?;
        // A browser sends the cookie by itself, whoever made it ask; only the Origin says who did.
        let acts = !matches!(*asked.method, Method::GET | Method::HEAD) || asked.headers.contains_key(header::UPGRADE);
        if acts && !asked.headers.contains_key(header::ORIGIN) {
            return Err(ApiError::new(StatusCode::FORBIDDEN, "no_origin", "with a session the header Origin must name this dashboard")
                .remedy("programs send the token itself: Authorization: Bearer"));
        }
        Ok(leave)
    }

    pub(crate) fn needs_token(&self) -> bool {
        self.token.is_some()
    }

    /// The session whose cookie the headers hold.
    pub(crate) fn session(&self, headers: &HeaderMap, now: Instant) -> Option<Leave> {
        self.sessions.find(self.cookie_of(headers)?, now)
    }

    /// Begins a session for whoever knows the token: the cookie to set.
    pub(crate) fn sign_in(&self, secret: &str, headers: &HeaderMap, peer: IpAddr, now: Instant) -> Result<String, ApiError> {
        self.check_token(secret.trim().as_bytes(), peer, now)?;
        let id = self.sessions.begin(now);
        // A proxy in front may speak TLS with the browser: then the cookie must never leave it unencrypted.
        let over_tls = headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
        let secure = if over_tls { "; Secure" } else { "" };
        Ok(format!("{}={id}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{secure}", self.cookie, LIFETIME.as_secs()))
    }

    /// Ends the session of these headers: the cookie to set.
    pub(crate) fn sign_out(&self, headers: &HeaderMap) -> String {
        if let Some(id) = self.cookie_of(headers) {
            self.sessions.end(id);
        }
        format!("{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict", self.cookie)
    }

    fn cookie_of<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        cookies.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(self.cookie.as_str())?.strip_prefix('='))
    }

    /// Without leave to guess the token is not even looked at: else the answer would tell those who guess too fast.
    fn check_token(&self, secret: &[u8], peer: IpAddr, now: Instant) -> Result<(), ApiError> {
        let Some(token) = &self.token else { return Ok(()) };
        if !self.guesses.take(peer, now) {
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_guesses", "too many wrong tokens came from this address")
                .remedy("wait ten seconds; those who are signed in are not concerned")
                .with_header(header::RETRY_AFTER, "10"));
        }
        if token.matches(secret) {
            self.guesses.give_back(peer);
            return Ok(());
        }
        Err(unauthorized("this is not the token", "it is in the file that --token-file names"))
    }
}

fn no_token() -> ApiError {
    unauthorized(
        "a token is needed",
        "sign in on the page, or send the header Authorization: Bearer <the token in the file of --token-file>",
    )
}

fn unauthorized(message: &str, remedy: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message).remedy(remedy).with_header(header::WWW_AUTHENTICATE, "Bearer")
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

/// Who asks. Tests of the routes have no connection.
pub(crate) fn peer_of(request: &Request) -> IpAddr {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |info| info.0.ip())
}

/// Middleware: lets a request in or refuses it.
pub(crate) async fn admit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let (method, path, headers) = (request.method(), request.uri().path(), request.headers());
    let asked = Asked { method, path, headers, peer: peer_of(&request), now: Instant::now() };
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
    // Whoever watches over this process must not take a flood for its death.
    let counts = request.uri().path() != HEALTH_PATH;
    if counts && !app.guard.requests.take(peer_of(&request), Instant::now()) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn refusal(guard: &Guard, method: Method, path: &str, pairs: &[(HeaderName, &str)]) -> Option<&'static str> {
        let (headers, now, peer) = (headers(pairs), Instant::now(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        guard.check(&Asked { method: &method, path, headers: &headers, peer, now }).err().map(|error| error.detail.code)
    }

    fn local() -> Guard {
        Guard::new("127.0.0.1:8080".parse().unwrap(), None)
    }

    fn guarded() -> Guard {
        Guard::new("0.0.0.0:8080".parse().unwrap(), Some(Token::new(TOKEN).unwrap()))
    }

    #[test]
    fn only_loopback_names_open_a_loopback_door() {
        for host in ["localhost:8080", "LOCALHOST", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080", "[::1]"] {
            assert_eq!(refusal(&local(), Method::GET, "/", &[(header::HOST, host)]), None, "{host}");
        }
        for host in ["", "evil.example:8080", "localhost.evil.example", "10.0.0.1", "[2001:db8::1]:8080", "127.0.0.1.evil.example:8080"] {
            assert_eq!(refusal(&local(), Method::GET, "/", &[(header::HOST, host)]), Some("wrong_host"), "{host}");
        }
        assert_eq!(refusal(&local(), Method::GET, "/", &[]), Some("wrong_host"));
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let from = |origin| refusal(&local(), Method::GET, "/", &[(header::HOST, "127.0.0.1:8080"), (header::ORIGIN, origin)]);
        assert_eq!(from("http://127.0.0.1:8080"), None);
        for origin in
            ["null", "http://127.0.0.1:9090", "http://localhost:8080", "http://evil.example", "ftp://127.0.0.1:8080", "127.0.0.1:8080", ""]
        {
            assert_eq!(from(origin), Some("foreign_origin"), "{origin}");
        }
    }

    #[test]
    fn a_token_is_asked_for_by_everything_that_knows_the_cluster() {
        let with =
            |path, value| refusal(&guarded(), Method::GET, path, &[(header::HOST, "cluster.example"), (header::AUTHORIZATION, value)]);
        assert_eq!(with("/api/v1/stats", "Bearer 0123456789abcdef"), None);
        assert_eq!(with("/api/v1/stats", "bearer 0123456789abcdef"), None);
        for wrong in ["Bearer 0123456789abcdeF", "Bearer", "", "Basic 0123456789abcdef", "Bearer  0123456789abcdef"] {
            assert_eq!(with("/api/v1/stats", wrong), Some("unauthorized"), "{wrong}");
        }
        let without = |path| refusal(&guarded(), Method::GET, path, &[(header::HOST, "cluster.example")]);
        for open in [HEALTH_PATH, SESSION_PATH, "/", "/assets/app.js", "/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
            assert_eq!(without(open), None, "{open}");
        }
        for closed in ["/api", "/api/v1/stats", "/api/v1/session/", "/api/v1/ws", "/favicon.ico"] {
            assert_eq!(without(closed), Some("unauthorized"), "{closed}");
        }
    }

    /// The cookie pair of a new session, as a browser sends it back.
    fn signed_in(guard: &Guard) -> String {
        let cookie = guard.sign_in(TOKEN, &HeaderMap::new(), IpAddr::V4(Ipv4Addr::LOCALHOST), Instant::now()).unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_session_opens_what_the_token_opens_and_acts_only_for_its_own_page() {
        let guard = guarded();
        let cookie = format!("theme=dark; {}; other=1", signed_in(&guard));
        let host = (header::HOST, "cluster.example");
        let (cookie, origin) = ((header::COOKIE, cookie.as_str()), (header::ORIGIN, "https://cluster.example"));
        assert_eq!(refusal(&guard, Method::GET, "/api/v1/stats", &[host.clone(), cookie.clone()]), None);
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            assert_eq!(refusal(&guard, method.clone(), "/api/v1/jobs", &[host.clone(), cookie.clone()]), Some("no_origin"));
            assert_eq!(refusal(&guard, method, "/api/v1/jobs", &[host.clone(), cookie.clone(), origin.clone()]), None);
        }
        let upgrade = (header::UPGRADE, "websocket");
        assert_eq!(refusal(&guard, Method::GET, "/api/v1/ws", &[host.clone(), cookie.clone(), upgrade.clone()]), Some("no_origin"));
        assert_eq!(refusal(&guard, Method::GET, "/api/v1/ws", &[host.clone(), cookie.clone(), upgrade, origin.clone()]), None);
        let wrong_token = (header::AUTHORIZATION, "Bearer wrong");
        assert_eq!(refusal(&guard, Method::GET, "/api/v1/stats", &[host.clone(), cookie.clone(), wrong_token]), Some("unauthorized"));
        guard.sign_out(&headers(std::slice::from_ref(&cookie)));
        assert_eq!(refusal(&guard, Method::GET, "/api/v1/stats", &[host.clone(), cookie]), Some("unauthorized"));
        let token_as_cookie = format!("faultline_session_8080={TOKEN}");
        assert_eq!(refusal(&guard, Method::GET, "/api/v1/stats", &[host, (header::COOKIE, &token_as_cookie)]), Some("unauthorized"));
    }

    #[test]
    fn the_cookie_is_out_of_reach_of_scripts_and_other_sites() {
        let sign_in = |origin| guarded().sign_in(TOKEN, &headers(&[(header::ORIGIN, origin)]), Ipv4Addr::LOCALHOST.into(), Instant::now());
        let cookie = sign_in("http://cluster.example").unwrap();
        assert!(cookie.starts_with("faultline_session_8080=") && !cookie.contains(TOKEN), "{cookie}");
        for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
            assert!(cookie.split("; ").any(|part| part == attribute), "{attribute}: {cookie}");
        }
        assert!(!cookie.contains("Secure") && sign_in("https://cluster.example").unwrap().ends_with("; Secure"));
    }

    #[test]
    fn who_guesses_too_fast_is_not_even_told_of_the_right_token() {
        let (guard, now) = (guarded(), Instant::now());
        let sign_in = |secret, peer: &str, seconds| {
            guard.sign_in(secret, &HeaderMap::new(), peer.parse().unwrap(), now + Duration::from_secs(seconds)).map_err(|e| e.detail.code)
        };
        for _ in 0..GUESS_BURST {
            assert_eq!(sign_in("wrong", "10.0.0.1", 0), Err("unauthorized"));
        }
        assert_eq!(sign_in(TOKEN, "10.0.0.1", 0), Err("too_many_guesses"));
        assert!(sign_in(TOKEN, "10.0.0.2", 0).is_ok(), "another address");
        assert!((0..20).all(|_| sign_in(TOKEN, "10.0.0.1", 11).is_ok()), "after a while, and right tokens cost nothing");
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_the_check_panic(host in "[ -~]{0,40}", origin in "[ -~]{0,40}", secret in "[ -~]{0,40}", cookie in "[ -~]{0,60}") {
            let pairs = [(header::HOST, host.as_str()), (header::ORIGIN, &origin), (header::AUTHORIZATION, &secret), (header::COOKIE, &cookie)];
            let _ = refusal(&guarded(), Method::POST, "/api/v1/jobs", &pairs);
            let _ = refusal(&guarded(), Method::POST, "/api/v1/jobs", &[(header::COOKIE, &cookie)]);
        }
    }
}
