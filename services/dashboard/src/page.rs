//! The page and what belongs to it, built into the program: nothing is loaded from elsewhere. The files come compressed from the
//! build of `web/`; here it is only decided which form a browser gets, and how long it may keep it.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::error::{ApiError, ErrorBody, no_such_route};

/// One file of the page.
struct File {
    /// Below the root, such as `assets/app-ABC.js`.
    path: &'static str,
    kind: &'static str,
    /// Changes with the contents.
    tag: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

mod built {
    use super::File;

    include!(concat!(env!("OUT_DIR"), "/page_files.rs"));
}

/// What is served when the program was built without the page.
const UNBUILT: File = File {
    path: "index.html",
    kind: "text/html; charset=utf-8",
    tag: "unbuilt",
    plain: include_bytes!("../assets/unbuilt.html"),
    brotli: None,
    gzip: None,
};

/// The page as one file with a place for what it shows; none when the program was built without it.
pub(crate) fn recording() -> Option<&'static str> {
    find("recording.html").and_then(|file| std::str::from_utf8(file.plain).ok())
}

const REVALIDATE: &str = "no-cache";
/// Names below `assets/` carry the hash of the contents.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

fn find(path: &str) -> Option<&'static File> {
    built::FILES.iter().find(|file| file.path == path)
}

/// Whether the browser takes an encoding. `q=0` refuses it; other weights do not matter with two encodings to choose from.
pub(crate) fn takes(headers: &HeaderMap, encoding: &str) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|part| {
        let mut parameters = part.split(';').map(str::trim);
        parameters.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding))
            && !parameters.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

fn knows(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|value| value.split(',')).map(str::trim).any(|given| given == "*" || given.trim_start_matches("W/") == tag)
}

fn answer(file: &File, headers: &HeaderMap, keep: &'static str) -> Response {
    let (encoding, body) = match (file.brotli, file.gzip) {
        (Some(body), _) if takes(headers, "br") => (Some("br"), body),
        (_, Some(body)) if takes(headers, "gzip") => (Some("gzip"), body),
        _ => (None, file.plain),
    };
    let tag = format!("\"{}-{}\"", file.tag, encoding.unwrap_or("plain"));
    let about = [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, keep), (header::VARY, "accept-encoding")];
    if knows(headers, &tag) {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    let coding: Option<[(HeaderName, &str); 1]> = encoding.map(|encoding| [(header::CONTENT_ENCODING, encoding)]);
    (about, [(header::CONTENT_TYPE, file.kind)], coding.map(axum::response::AppendHeaders), body).into_response()
}

/// The page
#[utoipa::path(get, path = "/", tag = "dashboard", responses((status = 200, description = "HTML")))]
pub(crate) async fn index(headers: HeaderMap) -> Response {
    answer(find("index.html").unwrap_or(&UNBUILT), &headers, REVALIDATE)
}

/// What the page loads: scripts, style sheet, font, icon
#[utoipa::path(get, path = "/assets/{name}", tag = "dashboard", params(("name" = String, Path, description = "as the page names it")),
    responses((status = 200, description = "the file"), (status = 304, description = "the browser has it"), (status = 404, body = ErrorBody)))]
pub(crate) async fn asset(name: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Result<Response, ApiError> {
    let found = name.ok().and_then(|Path(name)| find(&format!("assets/{name}")));
    found.map(|file| answer(file, &headers, FOR_EVER)).ok_or_else(|| ApiError::not_found("unknown file"))
}

/// Whether a path is a place inside the page, such as `/jobs/ID`: the page itself then shows what belongs there.
fn is_place(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    path != "/api" && !path.starts_with("/api/") && !path.starts_with("/assets/") && !last.contains('.')
}

/// Whether a path is the page or belongs to it. All of that is the same for every client and holds nothing of the cluster.
pub(crate) fn is_page(path: &str) -> bool {
    is_place(path) || path.starts_with("/assets/")
}

/// Any path without a route of its own.
pub(crate) async fn anywhere(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if matches!(method, Method::GET | Method::HEAD) && is_place(uri.path()) {
        return index(headers).await;
    }
    no_such_route(uri).await.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: File = File { path: "a.js", kind: "text/javascript", tag: "0f", plain: b"plain", brotli: Some(b"br"), gzip: Some(b"gz") };

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    async fn body(response: Response) -> Vec<u8> {
        axum::body::to_bytes(response.into_body(), 100).await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn a_browser_gets_the_smallest_form_that_it_takes() {
        for (accepted, encoding, bytes) in [
            ("gzip, deflate, br, zstd", Some("br"), &b"br"[..]),
            ("BR;q=0.5", Some("br"), b"br"),
            ("gzip", Some("gzip"), b"gz"),
            ("br;q=0, gzip;q=1", Some("gzip"), b"gz"),
            ("identity", None, b"plain"),
            ("broken", None, b"plain"),
        ] {
            let response = answer(&FILE, &headers(&[(header::ACCEPT_ENCODING, accepted)]), FOR_EVER);
            let told = response.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(told.as_deref(), encoding, "{accepted}");
            assert_eq!(response.headers()[header::VARY], "accept-encoding");
            assert_eq!(response.headers()[header::CACHE_CONTROL], FOR_EVER);
            assert_eq!(body(response).await, bytes, "{accepted}");
        }
    }

    #[tokio::test]
    async fn what_a_browser_has_is_not_sent_again() {
        for (known, status) in [
            ("\"0f-br\"", StatusCode::NOT_MODIFIED),
            ("\"aa\", W/\"0f-br\"", StatusCode::NOT_MODIFIED),
            ("*", StatusCode::NOT_MODIFIED),
            ("\"0f-gzip\"", StatusCode::OK),
            ("\"aa\"", StatusCode::OK),
        ] {
            let response = answer(&FILE, &headers(&[(header::ACCEPT_ENCODING, "br"), (header::IF_NONE_MATCH, known)]), REVALIDATE);
            assert_eq!(response.status(), status, "{known}");
            assert_eq!(response.headers()[header::ETAG], "\"0f-br\"");
            assert_eq!(body(response).await.is_empty(), status == StatusCode::NOT_MODIFIED);
        }
    }

    #[test]
    fn places_inside_the_page_are_told_from_files_and_from_the_api() {
        for place in ["/nodes", "/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/timeline", "/nodes/"] {
            assert!(is_place(place), "{place}");
        }
        for other in ["/api", "/api/v1/nothing", "/favicon.ico", "/assets/missing", "/a/b.map"] {
            assert!(!is_place(other), "{other}");
        }
    }

    #[test]
    fn nothing_in_the_page_needs_more_than_the_content_security_policy_allows() {
        let pages = [find("index.html"), Some(&UNBUILT)].into_iter().flatten();
        for html in pages.map(|file| std::str::from_utf8(file.plain).unwrap()) {
            for forbidden in ["<style", "style=\"", "onclick=", "onload=", "http://", "https://", "<script>"] {
                assert!(!html.contains(forbidden), "{forbidden}");
            }
        }
        for file in built::FILES.iter().filter(|file| file.kind.starts_with("text/javascript")) {
            let text = std::str::from_utf8(file.plain).unwrap();
            for forbidden in ["eval(", "new Function(", "document.write", "insertAdjacentHTML"] {
                assert!(!text.contains(forbidden), "{}: {forbidden}", file.path);
            }
        }
    }

    #[test]
    fn a_recording_needs_no_other_file_and_may_not_ask_for_one() {
        let Some(file) = recording() else { return };
        let (head, _) = file.split_once("<body>").unwrap();
        let policy = head.split_once("http-equiv=\"Content-Security-Policy\" content=\"").unwrap().1.split('"').next().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(file.matches("{{recording}}").count(), 1);
        for forbidden in ["src=\"", "href=\"/", "url(./", "url(\"./", "{{style}}", "{{script}}"] {
            let markup = file.split("<script type=\"module\">").next().unwrap();
            assert!(!markup.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn the_page_names_only_files_that_exist() {
        let texts = built::FILES.iter().filter(|file| file.kind.starts_with("text/html"));
        for text in texts.map(|file| std::str::from_utf8(file.plain).unwrap()) {
            for part in text.split("/assets/").skip(1) {
                let name = part.split(['"', ')']).next().unwrap();
                assert!(find(&format!("assets/{name}")).is_some(), "{name}");
            }
        }
    }
}
