//! The one page and what belongs to it, built into the program: nothing is loaded from elsewhere.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::api::error::{ApiError, ErrorBody};

const ASSETS: [(&str, &str, &str); 5] = [
    ("app.js", "text/javascript; charset=utf-8", include_str!("../assets/app.js")),
    ("dom.js", "text/javascript; charset=utf-8", include_str!("../assets/dom.js")),
    ("jobs.js", "text/javascript; charset=utf-8", include_str!("../assets/jobs.js")),
    ("style.css", "text/css; charset=utf-8", include_str!("../assets/style.css")),
    ("favicon.svg", "image/svg+xml", include_str!("../assets/favicon.svg")),
];

fn answer(kind: &'static str, body: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], body).into_response()
}

/// The page
#[utoipa::path(get, path = "/", tag = "dashboard", responses((status = 200, description = "HTML")))]
pub(crate) async fn index() -> Response {
    answer("text/html; charset=utf-8", include_str!("../assets/index.html"))
}

/// What the page loads: scripts, style sheet, icon
#[utoipa::path(get, path = "/assets/{name}", tag = "dashboard", params(("name" = String, Path, description = "such as app.js")),
    responses((status = 200, description = "the file"), (status = 404, body = ErrorBody)))]
pub(crate) async fn asset(name: Result<Path<String>, PathRejection>) -> Result<Response, ApiError> {
    let found = name.ok().and_then(|Path(name)| ASSETS.into_iter().find(|(known, _, _)| *known == name));
    found.map(|(_, kind, body)| answer(kind, body)).ok_or_else(|| ApiError::not_found("the page has no such file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_page_needs_more_than_the_content_security_policy_allows() {
        let html = include_str!("../assets/index.html");
        for forbidden in ["<style", "style=\"", "onclick=", "onload=", "http://", "https://", "<script>"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        for (name, _, text) in ASSETS.iter().filter(|(name, _, _)| name.ends_with(".js")) {
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://"] {
                assert!(!text.contains(forbidden), "{name}: {forbidden} would let text become markup or leave this machine");
            }
        }
    }

    #[test]
    fn the_page_names_only_files_that_exist() {
        let all = ASSETS.iter().map(|(_, _, text)| *text).chain([include_str!("../assets/index.html")]);
        for text in all {
            for part in text.split("/assets/").skip(1) {
                let name = part.split('"').next().unwrap();
                assert!(ASSETS.iter().any(|(known, _, _)| *known == name), "{name}");
            }
        }
    }
}
