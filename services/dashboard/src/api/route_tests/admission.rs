//! Who is let in: tokens, sessions, and how often one may ask.

use super::*;
use crate::settings::Token;

const TOKEN: &str = "0123456789abcdef";

/// One that other machines reach, and that asks for the token.
fn guarded() -> App {
    app(Guard::new("0.0.0.0:8080".parse().unwrap(), Admission { owner: false, token: Some(Token::new(TOKEN).unwrap()) })).0
}

#[tokio::test]
async fn what_knows_the_cluster_needs_a_token_and_the_page_does_not() {
    let app = guarded();
    for path in ["/api/v1/stats", "/api/v1/ws", "/api/v1/openapi.json", "/api/nowhere", "/favicon.ico"] {
        let (status, body, headers) = send(&app, request("GET", path).body(Body::empty()).unwrap()).await;
        assert_eq!((status, code(&body)), (StatusCode::UNAUTHORIZED, "unauthorized"), "{path}");
        assert_eq!(headers[header::WWW_AUTHENTICATE], "Bearer");
    }
    for path in ["/", "/jobs", "/healthz", "/api/v1/session"] {
        assert_eq!(get(&app, path).await.0, StatusCode::OK, "{path}");
    }
    let with = request("GET", "/api/v1/stats").header(header::AUTHORIZATION, format!("Bearer {TOKEN}")).body(Body::empty()).unwrap();
    assert_eq!(send(&app, with).await.0, StatusCode::OK);
}

/// A request as a browser sends it that is on the dashboard's page.
fn from_page(method: &str, path: &str, cookie: &str, body: &str) -> Request<Body> {
    let request = request(method, path).header(header::ORIGIN, "http://127.0.0.1:8080").header(header::COOKIE, cookie);
    request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn signing_in_sets_a_cookie_that_opens_everything_until_signing_out() {
    let app = guarded();
    assert_eq!(get(&app, "/api/v1/session").await.1, json!({"token_needed": true, "signed_in": false}));
    for (body, status) in [(r#"{"token":"wrong"}"#, 401), (r#"{"token":7}"#, 422), ("{}", 422), ("x", 400)] {
        let (answered, body, headers) = send(&app, from_page("POST", "/api/v1/session", "", body)).await;
        assert!(!code(&body).is_empty() && headers.get(header::SET_COOKIE).is_none());
        assert_eq!(answered.as_u16(), status);
    }
    let (status, body, headers) = send(&app, from_page("POST", "/api/v1/session", "", &json!({"token": TOKEN}).to_string())).await;
    assert_eq!((status, &body["signed_in"]), (StatusCode::OK, &json!(true)));
    let cookie = headers[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();

    assert_eq!(send(&app, from_page("GET", "/api/v1/session", &cookie, "")).await.1["signed_in"], true);
    assert_eq!(send(&app, from_page("GET", "/api/v1/stats", &cookie, "")).await.0, StatusCode::OK);
    let rate = r#"{"jobs_per_minute":3}"#;
    assert_eq!(send(&app, from_page("PUT", "/api/v1/rate", &cookie, rate)).await.0, StatusCode::ACCEPTED);
    let elsewhere = request("PUT", "/api/v1/rate").header(header::COOKIE, &cookie).header(header::CONTENT_TYPE, "application/json");
    let (status, body, _) = send(&app, elsewhere.body(Body::from(rate)).unwrap()).await;
    assert_eq!((status, code(&body)), (StatusCode::FORBIDDEN, "no_origin"));

    let events = from_page("GET", "/api/v1/events", &cookie, "");
    let (mut parts, body) = events.into_parts();
    parts.headers.insert(header::ACCEPT, "text/event-stream".parse().unwrap());
    let stream = router(app.clone()).oneshot(Request::from_parts(parts, body)).await.unwrap();
    let (status, _, headers) = send(&app, from_page("DELETE", "/api/v1/session", &cookie, "")).await;
    assert!(status == StatusCode::OK && headers[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    assert!(to_bytes(stream.into_body(), 1 << 20).await.is_ok(), "what was open ends with the session");
    assert_eq!(send(&app, from_page("GET", "/api/v1/stats", &cookie, "")).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn wrong_tokens_are_slowed_down_in_forms_and_headers() {
    let app = guarded();
    let form = async |token: &str| send(&app, from_page("POST", "/api/v1/session", "", &json!({"token": token}).to_string())).await;
    let with_header = async |token: &str| {
        let request = request("GET", "/api/v1/stats").header(header::AUTHORIZATION, format!("Bearer {token}"));
        send(&app, request.body(Body::empty()).unwrap()).await
    };
    for _ in 0..2 {
        assert_eq!(form("wrong").await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(with_header("wrong").await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(with_header(TOKEN).await.0, StatusCode::OK);
    }
    assert_eq!(form("wrong").await.0, StatusCode::UNAUTHORIZED);
    let (status, body, headers) = form(TOKEN).await;
    assert_eq!(
        (status, code(&body), &headers[header::RETRY_AFTER]),
        (StatusCode::TOO_MANY_REQUESTS, "too_many_guesses", &"10".parse().unwrap())
    );
    assert_eq!(with_header(TOKEN).await.0, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn one_address_may_ask_only_so_often() {
    let (app, _) = local();
    let mut answered = 0;
    let (status, body, headers) = loop {
        let answer = send(&app, request("GET", "/api/v1/session").body(Body::empty()).unwrap()).await;
        if answer.0 != StatusCode::OK {
            break answer;
        }
        answered += 1;
        assert!(answered < 5_000, "there is no limit");
    };
    assert_eq!(
        (status, code(&body), &headers[header::RETRY_AFTER]),
        (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", &"1".parse().unwrap())
    );
    assert!(answered >= 600, "{answered}");
    assert_eq!(get(&app, "/healthz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn too_many_requests_at_once_are_refused() {
    let (app, _) = local();
    let _all = app.requests.acquire_many(crate::limits::MAX_REQUESTS as u32).await.unwrap();
    let (status, body) = get(&app, "/api/v1/stats").await;
    assert_eq!((status, code(&body)), (StatusCode::SERVICE_UNAVAILABLE, "busy"));
}

#[tokio::test]
async fn another_user_of_this_machine_is_told_to_sign_in() {
    let (app, _) = local();
    assert_eq!(get(&app, "/api/v1/session").await.1, json!({"token_needed": false, "signed_in": false}));
    let mut other = request("GET", "/api/v1/session").body(Body::empty()).unwrap();
    other.extensions_mut().insert(Caller::UNKNOWN);
    assert_eq!(send(&app, other).await.1, json!({"token_needed": true, "signed_in": false}));
    let mut sign_in = from_page("POST", "/api/v1/session", "", r#"{"token":"0123456789abcdef"}"#);
    sign_in.extensions_mut().insert(Caller::UNKNOWN);
    let (status, body, headers) = send(&app, sign_in).await;
    assert_eq!((status, code(&body)), (StatusCode::UNAUTHORIZED, "unauthorized"), "there is no token that could be right");
    assert!(headers.get(header::SET_COOKIE).is_none());
}

#[tokio::test]
async fn a_head_above_the_documented_limit_is_refused() {
    let (app, _) = local();
    let with = async |bytes: usize| {
        let long = request("GET", "/healthz").header("x-long", "x".repeat(bytes)).body(Body::empty()).unwrap();
        send(&app, long).await
    };
    assert_eq!(with(65_000).await.0, StatusCode::OK);
    let (status, body, _) = with(65_536).await;
    assert_eq!((status, code(&body)), (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large"));
}
