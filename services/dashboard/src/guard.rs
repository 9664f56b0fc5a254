//! Who is let in: Host, Origin, and the user, the token or the session that stands for it. Asked before any route.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use tokio::time::Instant;

use crate::error::ApiError;
use crate::limits::{GUESS_BURST, GUESSES_PER_S, REQUEST_BURST, REQUESTS_PER_S};
use crate::page;
use crate::rate_limit::RateLimit;
use crate::session::{LIFETIME, Leave, Sessions};
use crate::settings::Admission;

/// Needs no token and has no rate limit.
pub(crate) const HEALTH_PATH: &str = "/healthz";
/// Where one signs in and out, so it needs no token either.
pub(crate) const SESSION_PATH: &str = "/api/v1/session";

/// What proxies say of the request that they pass on.
const FORWARDED: [HeaderName; 5] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
];
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const ASK_FOR_TOKEN: &str = "start it with --token-file to let in others who know the token";

/// What is asked of a request before it is looked at.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Whether only this machine can connect. A web page from elsewhere still can, through the browser here.
    loopback_only: bool,
    admission: Admission,
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
    pub(crate) caller: Caller,
    pub(crate) now: Instant,
}

/// Who made the connection on which a request came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) address: IpAddr,
    /// The kernel says that it is the user who runs this dashboard, or root.
    pub(crate) is_owner: bool,
}

impl Caller {
    pub(crate) const UNKNOWN: Caller = Caller { address: IpAddr::V4(Ipv4Addr::LOCALHOST), is_owner: false };

    /// Tests of the routes have no connection.
    pub(crate) fn of(request: &Request) -> Self {
        request.extensions().get::<Caller>().copied().unwrap_or(Self::UNKNOWN)
    }
}

impl Guard {
    /// For a dashboard that listens on `address`.
    pub(crate) fn new(address: SocketAddr, admission: Admission) -> Self {
        Self {
            loopback_only: address.ip().is_loopback(),
            admission,
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
        let acts = !matches!(*asked.method, Method::GET | Method::HEAD) || asked.headers.contains_key(header::UPGRADE);
        if acts {
            check_site(asked.headers)?;
        }
        let open = matches!(asked.path, HEALTH_PATH | SESSION_PATH) || page::is_page(asked.path);
        if open || self.needs_no_token(asked.caller, asked.headers) {
            return Ok(Leave::UNLIMITED);
        }
        if let Some(given) = asked.headers.get(header::AUTHORIZATION) {
            let bearer = given.as_bytes().split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
            let (_, secret) = bearer.ok_or_else(|| self.no_token())?;
            return self.check_token(secret, asked.caller.address, asked.now).map(|()| Leave::UNLIMITED);
        }
        let leave = self.session(asked.headers, asked.now).ok_or_else(|| self.no_token())?;
        // A browser sends the cookie by itself, for a request from any page; only the Origin says from which.
        if acts && !asked.headers.contains_key(header::ORIGIN) {
            return Err(ApiError::new(StatusCode::FORBIDDEN, "no_origin", "with a session the header Origin must name this dashboard")
                .remedy("programs send the token itself: Authorization: Bearer"));
        }
        Ok(leave)
    }

    /// Whether an address may send another request now.
    pub(crate) fn may_ask(&self, peer: IpAddr, now: Instant) -> bool {
        self.requests.take(peer, now)
    }

    /// Whether the user at the other end is let in as such. What came through a proxy was sent by someone else.
    pub(crate) fn needs_no_token(&self, caller: Caller, headers: &HeaderMap) -> bool {
        self.admission.owner && caller.is_owner && !FORWARDED.iter().any(|name| headers.contains_key(name))
    }

    fn no_token(&self) -> ApiError {
        if self.admission.token.is_none() {
            return unauthorized("this dashboard answers only the user who runs it", ASK_FOR_TOKEN);
        }
        unauthorized("a token is needed", "sign in on the page, or send the header Authorization: Bearer <the token>")
    }

    /// The session whose cookie the headers hold.
    pub(crate) fn session(&self, headers: &HeaderMap, now: Instant) -> Option<Leave> {
        self.sessions.find(self.cookie_of(headers)?, now)
    }

    /// Begins a session for a client with the right token: the cookie to set.
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
        let Some(token) = &self.admission.token else { return Err(self.no_token()) };
        if !self.guesses.take(peer, now) {
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_guesses", "too many wrong tokens came from this address")
                .remedy("wait ten seconds; those who are signed in are not concerned")
                .with_header(header::RETRY_AFTER, "10"));
        }
        if token.matches(secret) {
            self.guesses.give_back(peer);
            return Ok(());
        }
        Err(unauthorized("this is not the token", "ask the person who runs the dashboard for the file that holds it"))
    }
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

/// A browser says whose page made it ask. One of another site, or of another port of this host, must not give orders, and not every
/// request of such a page has an Origin. Programs do not send this header.
fn check_site(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.get_all(SEC_FETCH_SITE).iter().all(|site| matches!(site.as_bytes(), b"same-origin" | b"none")) {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::FORBIDDEN, "foreign_site", "changes that pages of another site ask for are refused"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::HeaderValue;

    use super::*;
    use crate::settings::Token;

    const TOKEN: &str = "0123456789abcdef";

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn refusal(guard: &Guard, method: Method, path: &str, pairs: &[(HeaderName, &str)]) -> Option<&'static str> {
        refusal_of(guard, method, path, pairs, Caller { is_owner: true, ..Caller::UNKNOWN })
    }

    fn refusal_of(guard: &Guard, method: Method, path: &str, pairs: &[(HeaderName, &str)], caller: Caller) -> Option<&'static str> {
        let (headers, now) = (headers(pairs), Instant::now());
        guard.check(&Asked { method: &method, path, headers: &headers, caller, now }).err().map(|error| error.detail.code)
    }

    fn local() -> Guard {
        Guard::new("127.0.0.1:8080".parse().unwrap(), Admission { owner: true, token: Some(Token::new(TOKEN).unwrap()) })
    }

    fn guarded() -> Guard {
        Guard::new("0.0.0.0:8080".parse().unwrap(), Admission { owner: false, token: Some(Token::new(TOKEN).unwrap()) })
    }

    #[test]
    fn another_user_of_this_machine_needs_the_token_and_the_one_who_runs_it_does_not() {
        let host = (header::HOST, "127.0.0.1:8080");
        let bearer = (header::AUTHORIZATION, "Bearer 0123456789abcdef");
        let owner = Caller { is_owner: true, ..Caller::UNKNOWN };
        for (method, path) in [(Method::GET, "/api/v1/stats"), (Method::POST, "/api/v1/jobs"), (Method::PUT, "/api/v1/rate")] {
            let by = |caller, more: &[(HeaderName, &str)]| {
                refusal_of(&local(), method.clone(), path, &[std::slice::from_ref(&host), more].concat(), caller)
            };
            assert_eq!(by(owner, &[]), None, "{path}");
            assert_eq!(by(Caller::UNKNOWN, &[]), Some("unauthorized"), "{path}");
            assert_eq!(by(Caller::UNKNOWN, std::slice::from_ref(&bearer)), None, "{path}");
            for header in ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"] {
                let forwarded = (HeaderName::from_static(header), "127.0.0.1");
                assert_eq!(by(owner, std::slice::from_ref(&forwarded)), Some("unauthorized"), "{path}: {header}");
                assert_eq!(by(Caller::UNKNOWN, &[forwarded]), Some("unauthorized"), "{path}: {header}");
            }
        }
        let alone = Guard::new("127.0.0.1:8080".parse().unwrap(), Admission { owner: true, token: None });
        let refused = alone.check_token(b"", Caller::UNKNOWN.address, Instant::now()).unwrap_err();
        assert!(refused.detail.message.contains("only the user who runs it"), "no token: none is right");
    }

    #[test]
    fn changes_that_pages_of_other_sites_ask_for_are_refused_without_an_origin_too() {
        let from =
            |method: Method, site| refusal(&local(), method, "/api/v1/jobs", &[(header::HOST, "127.0.0.1:8080"), (SEC_FETCH_SITE, site)]);
        for site in ["cross-site", "same-site", "", "Same-Origin"] {
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
                assert_eq!(from(method.clone(), site), Some("foreign_site"), "{method} {site}");
            }
            assert_eq!(from(Method::GET, site), None, "a link from elsewhere opens the page");
        }
        assert_eq!((from(Method::POST, "same-origin"), from(Method::POST, "none")), (None, None));
        let twice = [(header::HOST, "localhost"), (SEC_FETCH_SITE, "same-origin"), (header::UPGRADE, "websocket")];
        let mut headers = headers(&twice);
        headers.append(SEC_FETCH_SITE, HeaderValue::from_static("cross-site"));
        let asked = Asked { method: &Method::GET, path: "/api/v1/ws", headers: &headers, caller: Caller::UNKNOWN, now: Instant::now() };
        assert_eq!(local().check(&asked).unwrap_err().detail.code, "foreign_site");
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
