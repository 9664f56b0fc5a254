//! Reading requests so that every refusal is an [`ApiError`]: axum's own refusals are plain text.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use faultline_engine::job::{JobId, JobRef, is_token};
use serde::de::DeserializeOwned;

use super::params::Pairs;
use crate::app::App;
use crate::error::ApiError;
use crate::limits::MAX_BODY_BYTES;

/// How many further candidates of an ambiguous id are named.
const MOST_NAMED: usize = 4;

/// A JSON body.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        require_json(&request)?;
        let body = Bytes::from_request(request, state).await.map_err(|rejection| body_error(&rejection))?;
        decode_json(&body).map(JsonBody)
    }
}

/// A JSON body that may be left out.
#[derive(Debug)]
pub(crate) struct OptionalJsonBody<T>(pub(crate) Option<T>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let declared = require_json(&request);
        let body = Bytes::from_request(request, state).await.map_err(|rejection| body_error(&rejection))?;
        if body.is_empty() {
            return Ok(OptionalJsonBody(None));
        }
        declared?;
        decode_json(&body).map(|value| OptionalJsonBody(Some(value)))
    }
}

fn require_json(request: &Request) -> Result<(), ApiError> {
    let declared = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "the body must be JSON")
        .remedy("send the header Content-Type: application/json"))
}

fn body_error(rejection: &BytesRejection) -> ApiError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return ApiError::new(rejection.status(), "too_large", format!("the body is larger than {MAX_BODY_BYTES} bytes"));
    }
    ApiError::new(StatusCode::BAD_REQUEST, "bad_body", "the body could not be read to its end")
}

/// 400 for invalid JSON, 422 with the field for JSON of another shape than expected.
pub(crate) fn decode_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value: T = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| if error.inner().is_data() { misfit(error) } else { not_json_or_misfit::<T>(body, &error.into_inner()) })?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

/// JSON that says something else than expected.
fn misfit(error: serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let field = error.path().to_string();
    ApiError::invalid(if field == "." { "body".to_owned() } else { field }, clip(&in_words(&error.into_inner().to_string())))
}

/// Where a word is wanted and something else stands, the reader takes good JSON for none: a second look tells the two apart.
fn not_json_or_misfit<T: DeserializeOwned>(body: &[u8], error: &serde_json::Error) -> ApiError {
    match serde_json::from_slice::<serde_json::Value>(body).map(serde_path_to_error::deserialize::<_, T>) {
        Ok(Err(found)) => misfit(found),
        Ok(Ok(_)) | Err(_) => not_json(error),
    }
}

/// What serde says of a value, without the names of Rust's types; where it stands is told by the field.
fn in_words(error: &str) -> String {
    let said = error.rsplit_once(" at line ").map_or(error, |(said, _place)| said);
    if let Some(unknown) = said.strip_prefix("unknown variant ") {
        return unknown.replacen(", expected", " is not known here, expected", 1);
    }
    let mismatch = ["invalid type: ", "invalid value: ", "invalid length "].into_iter().find_map(|begin| said.strip_prefix(begin));
    let Some((found, expected)) = mismatch.and_then(|rest| rest.rsplit_once(", expected ")) else { return said.to_owned() };
    let wanted = match expected {
        "f64" | "f32" => "a number",
        "u64" | "u32" | "u16" | "u8" | "usize" => "a whole number from 0 up, within bounds",
        "a string" | "string or map" => "text",
        "a sequence" => "a list",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other => other,
    };
    let found = match found.split_once(' ') {
        Some(("integer", value)) => value.to_owned(),
        Some(("floating", value)) => value.trim_start_matches("point ").to_owned(),
        Some(("string", value)) => format!("the text {value}"),
        _ if found == "sequence" || found.bytes().all(|byte| byte.is_ascii_digit()) => "a list".to_owned(),
        _ if found == "map" => "an object".to_owned(),
        _ => found.to_owned(),
    };
    format!("must be {wanted}, not {found}")
}

fn not_json(error: &serde_json::Error) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad_json", format!("invalid JSON: {}", clip(&error.to_string())))
}

fn clip(text: &str) -> String {
    text.chars().take(300).collect()
}

/// The parameters after the `?`.
impl<S: Send + Sync> FromRequestParts<S> for Pairs {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::<Vec<(String, String)>>::from_request_parts(parts, state).await {
            Ok(Query(pairs)) => Ok(Pairs::new(pairs)),
            Err(_) => Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_query", "the text after the `?` cannot be read")),
        }
    }
}

async fn last_segment<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, ApiError> {
    match Path::<String>::from_request_parts(parts, state).await {
        Ok(Path(text)) => Ok(text),
        Err(_) => Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_path", "the path cannot be read: it must be UTF-8")),
    }
}

/// The job that a path names.
#[derive(Debug)]
pub(crate) struct JobPath(pub(crate) JobId);

impl FromRequestParts<App> for JobPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let job = last_segment(parts, app).await?.parse::<JobRef>()?;
        match only_one(&job, app.view.read().jobs.ids()) {
            Ok(Some(id)) => Ok(JobPath(id)),
            Ok(None) => Err(ApiError::not_found(format!("no job that is known here has an id that begins or ends with {job}"))
                .remedy("write the whole id: records of ended jobs are kept for 10 minutes")),
            Err(error) => Err(error),
        }
    }
}

/// The job that is meant, of those that are known; `None` when a part fits none of them. A whole id is taken as it is.
pub(super) fn only_one(job: &JobRef, mut known: impl Iterator<Item = JobId>) -> Result<Option<JobId>, ApiError> {
    if let JobRef::Whole(id) = job {
        return Ok(Some(*id));
    }
    let Some(first) = known.find(|id| job.is_of(*id)) else { return Ok(None) };
    let others: Vec<String> = known.filter(|id| job.is_of(*id)).take(MOST_NAMED).map(|id| id.to_string()).collect();
    if others.is_empty() {
        return Ok(Some(first));
    }
    Err(ApiError::invalid("id", format!("{job} is ambiguous: it fits {first}, {}", others.join(", "))).remedy("write more of the id"))
}

/// The node that a path names.
#[derive(Debug)]
pub(crate) struct NodePath(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for NodePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let node = last_segment(parts, state).await?;
        if is_token(&node) {
            return Ok(NodePath(node));
        }
        Err(ApiError::invalid("id", "a node's name has 1 to 64 letters, digits, `-` and `_`"))
    }
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::{Params, Priority};
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        name: String,
        #[serde(default)]
        share: f64,
        #[serde(default)]
        count: u32,
        #[serde(default)]
        models: Vec<String>,
        #[serde(default)]
        priority: Option<Priority>,
        #[serde(default)]
        params: Params,
    }

    #[test]
    fn a_wrong_value_is_told_in_words_and_by_its_field() {
        let good: Wanted = decode_json(br#"{"name":"a","share":0.5,"count":2,"models":["T4"]}"#).unwrap();
        assert_eq!((good.name.as_str(), good.share, good.count, &good.models[..]), ("a", 0.5, 2, &["T4".to_owned()][..]));
        assert_eq!((good.priority, good.params.len()), (None, 0));
        for (body, field, message) in [
            (r#"{"name":5}"#, "name", "must be text, not `5`"),
            (r#"{"name":"a","share":"x, expected y"}"#, "share", r#"must be a number, not the text "x, expected y""#),
            (r#"{"name":"a","count":-1}"#, "count", "must be a whole number from 0 up, within bounds, not `-1`"),
            (r#"{"name":"a","count":1.5}"#, "count", "must be a whole number from 0 up, within bounds, not `1.5`"),
            (r#"{"name":"a","models":{}}"#, "models", "must be a list, not an object"),
            (r#"{"name":null}"#, "name", "must be text, not null"),
            (r#"{"name":"a","priority":7}"#, "priority", "must be text, not `7`"),
            (r#"{"name":"a","priority":"x"}"#, "priority", "`x` is not known here, expected one of `urgent`, `high`, `normal`, `low`"),
            (r#"{"name":"a","params":{"a":[1]}}"#, "params.a", "must be true or false, a number or text, not a list"),
            ("[]", "body", "must be an object, not a list"),
            ("{}", "body", "missing field `name`"),
            (
                r#"{"name":"a","bogus":1}"#,
                "bogus",
                "unknown field `bogus`, expected one of `name`, `share`, `count`, `models`, `priority`, `params`",
            ),
        ] {
            let refused = decode_json::<Wanted>(body.as_bytes()).unwrap_err().detail;
            assert_eq!((refused.field.as_deref(), refused.message.as_str()), (Some(field), message), "{body}");
        }
    }
}
