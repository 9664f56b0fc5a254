//! Answers of the API as gzip for clients that take it. The page's files come compressed from their build; streams are left alone, since what
//! is compressed waits for more.

use std::io::{Read, Write};

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::error::ApiError;
use crate::page;

/// Smaller answers fit into one packet as they are.
const MIN_BYTES: u64 = 1400;
/// Larger ones would hold up other requests while they are compressed.
const MAX_BYTES_INLINE: usize = 32 * 1024;
/// Of 9: higher ones cost several times as much for a few percent.
const LEVEL: u32 = 3;

/// Middleware: compresses the answer.
pub(crate) async fn compress(request: Request, next: Next) -> Response {
    let takes_gzip = page::takes(request.headers(), "gzip");
    let mut response = next.run(request).await;
    if !is_compressible(&response) {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if !takes_gzip || response.body().size_hint().lower() < MIN_BYTES {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let compressed = match to_bytes(body, usize::MAX).await {
        Ok(plain) if plain.len() <= MAX_BYTES_INLINE => gzip(&plain, LEVEL),
        Ok(plain) => {
            tokio::task::spawn_blocking(move || gzip(&plain, LEVEL)).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
        }
        Err(error) => Err(std::io::Error::other(error)),
    };
    match compressed {
        Ok(bytes) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            Response::from_parts(parts, Body::from(bytes))
        }
        Err(error) => {
            tracing::error!(%error, "an answer was not compressed");
            ApiError::internal("the answer was not compressed").into_response()
        }
    }
}

/// Whether this is a whole JSON document, not compressed yet.
fn is_compressible(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/json")
        && response.body().size_hint().exact().is_some()
        && !response.headers().contains_key(header::CONTENT_ENCODING)
}

/// As gzip.
pub(crate) fn gzip(plain: &[u8], level: u32) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::new(level));
    encoder.write_all(plain)?;
    encoder.finish()
}

/// What was compressed so.
pub(crate) fn gunzip(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut plain)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    const JSON: [(axum::http::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

    async fn ask(path: &str, accepted: &str) -> Response {
        let stream = || Body::from_stream(futures::stream::iter([Ok::<_, std::io::Error>("x".repeat(5_000))]));
        let router = Router::new()
            .route("/small", get(|| async { (JSON, "{}") }))
            .route("/large", get(|| async { (JSON, format!("[{}1]", "1234,".repeat(20_000))) }))
            .route("/medium", get(|| async { (JSON, format!("[{}1]", "1234,".repeat(1_000))) }))
            .route("/stream", get(move || async move { (JSON, stream()) }))
            .route("/other", get(|| async { "x".repeat(5_000) }))
            .layer(from_fn(compress));
        router.oneshot(Request::builder().uri(path).header(header::ACCEPT_ENCODING, accepted).body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn whole_json_documents_are_compressed_for_those_who_take_it() {
        for (path, plain_bytes) in [("/medium", 5_003), ("/large", 100_003)] {
            let answer = ask(path, "br, gzip").await;
            assert_eq!(
                (&answer.headers()[header::CONTENT_ENCODING], &answer.headers()[header::VARY]),
                (&"gzip".parse().unwrap(), &"accept-encoding".parse().unwrap())
            );
            let bytes = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
            assert!(bytes.len() < plain_bytes / 10, "{path}: {}", bytes.len());
            let mut plain = String::new();
            GzDecoder::new(&bytes[..]).read_to_string(&mut plain).unwrap();
            assert!(plain.len() == plain_bytes && plain.starts_with("[1234,") && plain.ends_with(",1]"), "{path}");
        }
        for (path, accepted) in
            [("/large", "identity"), ("/large", "gzip;q=0"), ("/small", "gzip"), ("/stream", "gzip"), ("/other", "gzip")]
        {
            assert!(ask(path, accepted).await.headers().get(header::CONTENT_ENCODING).is_none(), "{path} {accepted}");
        }
    }
}
