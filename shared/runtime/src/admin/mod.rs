//! The small HTTP listener beside every service: `/healthz` says that the process lives, `/readyz` whether it can do its work and why
//! not, `/metrics` what it has counted. It shows names, counts and durations, never a key or what a job carries, so it asks for no
//! password; and it takes no orders.

mod probe;
mod readiness;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;

pub use probe::{ProbeError, probe};
pub use readiness::{Readiness, ReadyReport};

use crate::metrics::{Metrics, TEXT_FORMAT};

/// Connections at once; more wait in the system's queue. Prometheus holds one while it scrapes, a probe one for a moment.
const MAX_CONNECTIONS: usize = 32;
/// A connection serves one request and is closed after this long, whatever it does.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
const HEADER_LIMIT: Duration = Duration::from_secs(3);
/// Of a request's head. Prometheus sends some hundred bytes. 8 KiB is the least that the HTTP library takes.
const MAX_HEAD_BYTES: usize = 8 * 1024;
const MAX_HEADERS: usize = 64;
const BACKLOG: u32 = 128;
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Why the listener is not there.
#[derive(Debug, thiserror::Error)]
#[error("admin_bind: cannot listen on {address}: {reason}. Choose another address with --admin-bind, or leave it out")]
pub struct AdminError {
    address: SocketAddr,
    reason: String,
}

/// What the listener tells about.
#[derive(Debug, Clone)]
pub struct Admin {
    pub readiness: Readiness,
    pub metrics: Metrics,
}

/// Opens the listener and serves until the process ends, also while it stops: then it is not ready. Returns where it listens.
/// `shared_port` takes a port that the parent process holds for this one (bound, not listening, `SO_REUSEPORT`).
pub fn start(address: SocketAddr, shared_port: bool, admin: Admin) -> Result<SocketAddr, AdminError> {
    let failed = |error: std::io::Error| AdminError {
        address,
        reason: if error.kind() == ErrorKind::AddrInUse { "another program listens there".into() } else { error.to_string() },
    };
    let listener = listen(address, shared_port).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tokio::spawn(serve(listener, router(admin)));
    Ok(address)
}

fn listen(address: SocketAddr, shared_port: bool) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    if shared_port {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn serve(listener: TcpListener, router: Router) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT).max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS).keep_alive(false);
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "the admin listener accepts nothing");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
        };
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            // A client that sends nonsense or leaves gets no further answer.
            let _ = tokio::time::timeout(CONNECTION_LIMIT, connection).await;
            drop(permit);
        });
    }
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(async || "the process lives\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let report = admin.readiness.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn admin() -> Admin {
        Admin { readiness: Readiness::new("worker", "worker-01", CancellationToken::new()), metrics: Metrics::new("worker", "worker-01") }
    }

    fn start_one(admin: Admin) -> SocketAddr {
        start("127.0.0.1:0".parse().unwrap(), false, admin).unwrap()
    }

    async fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A listener that has already refused need not have read everything.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        ask(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await
    }

    #[tokio::test]
    async fn three_paths_answer_and_nothing_else_does() {
        let admin = admin();
        let address = start_one(admin.clone());
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains(r#""ready":false"#) && answer.contains("NATS"), "{answer}");
        let answer = get(address, "/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#"faultline_build_info{process="worker-01""#), "{answer}");
        assert!(get(address, "/").await.starts_with("HTTP/1.1 404"));
        assert!(ask(address, b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await.starts_with("HTTP/1.1 405"));
    }

    #[tokio::test]
    async fn nonsense_and_endless_heads_are_refused() {
        let address = start_one(admin());
        assert!(ask(address, b"\x16\x03\x01\0\0\0\0\r\n\r\n").await.starts_with("HTTP/1.1 400"));
        let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
        let answer = ask(address, long.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"), "it goes on");
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_flag_and_a_held_one_is_shared() {
        let address = start_one(admin());
        let error = start(address, false, admin()).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("--admin-bind"), "{error}");
        let held = TcpSocket::new_v4().unwrap();
        held.set_reuseport(true).unwrap();
        held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = held.local_addr().unwrap();
        assert_eq!(start(address, true, admin()).unwrap(), address);
        for _ in 0..8 {
            assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"), "all connections reach the one that listens");
        }
    }

    #[tokio::test]
    async fn a_probe_says_what_readyz_says() {
        let admin = admin();
        let address = start_one(admin.clone());
        let refused = probe("worker", Some(address)).await.unwrap_err();
        assert!(matches!(&refused, ProbeError::NotReady(reason) if reason.contains("NATS")), "{refused}");
        let other = probe("scheduler", Some(address)).await.unwrap_err().to_string();
        assert!(other.contains("worker-01 is a worker, not a scheduler"), "{other}");
        let unset = probe("worker", None).await.unwrap_err().to_string();
        assert!(unset.contains("--admin-bind"), "{unset}");
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert!(matches!(probe("worker", Some(nobody)).await, Err(ProbeError::NoAnswer { .. })));
    }
}
