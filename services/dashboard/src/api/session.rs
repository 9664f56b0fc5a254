//! Signing in and out on the page: the token is exchanged for a cookie.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderName, header};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::extract::JsonBody;
use crate::app::App;
use crate::error::{ApiError, ErrorBody};
use crate::guard::Caller;

/// Whether one has to sign in, and has.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionReply {
    /// Whether the client must sign in. On Linux the user who runs the dashboard, and root, need not, unless it was started with a token for all.
    pub(crate) token_needed: bool,
    /// The request came with the cookie of a session that has not ended.
    pub(crate) signed_in: bool,
}

/// The token, as it is in the file of `--token-file`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    pub(crate) token: String,
}

type Answer = ([(HeaderName, String); 1], Json<SessionReply>);

/// Whether one has to sign in; needs no token
#[utoipa::path(get, path = "/api/v1/session", tag = "dashboard", responses((status = 200, body = SessionReply)))]
pub(crate) async fn current(State(app): State<App>, request: Request) -> Json<SessionReply> {
    let signed_in = app.guard.session(request.headers(), Instant::now()).is_some();
    Json(SessionReply { token_needed: needs_token(&app, &request), signed_in })
}

/// Sign in: sets a cookie that opens everything for 12 hours
///
/// The cookie holds a random id, is out of reach of scripts and goes to no other site. With it, requests that change something and
/// WebSockets must carry an `Origin` that names this dashboard. 64 sessions are kept; of more the oldest ends.
#[utoipa::path(post, path = "/api/v1/session", tag = "dashboard", request_body = SignIn,
    responses((status = 200, body = SessionReply), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 429, body = ErrorBody, description = "5 wrong tokens came from this address, or more than one in 10 s")))]
pub(crate) async fn sign_in(State(app): State<App>, request: Request) -> Result<Answer, ApiError> {
    let (caller, headers) = (Caller::of(&request), request.headers().clone());
    let JsonBody(SignIn { token }) = JsonBody::<SignIn>::from_request(request, &app).await?;
    let cookie = app.guard.sign_in(&token, &headers, caller.address, Instant::now())?;
    let token_needed = !app.guard.needs_no_token(caller, &headers);
    Ok(([(header::SET_COOKIE, cookie)], Json(SessionReply { token_needed, signed_in: true })))
}

/// Sign out: the session ends, and the WebSockets that it opened; needs no token
#[utoipa::path(delete, path = "/api/v1/session", tag = "dashboard", responses((status = 200, body = SessionReply)))]
pub(crate) async fn sign_out(State(app): State<App>, request: Request) -> Answer {
    let cookie = app.guard.sign_out(request.headers());
    ([(header::SET_COOKIE, cookie)], Json(SessionReply { token_needed: needs_token(&app, &request), signed_in: false }))
}

fn needs_token(app: &App, request: &Request) -> bool {
    !app.guard.needs_no_token(Caller::of(request), request.headers())
}
