//! `record`: a stretch of the last hour as one HTML file, which the dashboard makes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use faultline_cluster::up::services::dashboard_token;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::commands::parse;
use crate::exit::Failure;
use crate::session::Session;
use crate::whole_file;

const LIMIT: Duration = Duration::from_secs(60);
/// The dashboard keeps at most 64 MiB, which base64 makes a third larger.
const MAX_BYTES: usize = 128 << 20;
const LONGEST: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RecordFlags {
    /// How far back it reaches, at most an hour
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse::positive_duration)]
    last: Duration,
    /// The file that is written
    #[arg(long, value_name = "FILE", default_value = "faultline-recording.html")]
    out: PathBuf,
    /// The dashboard that is asked; by default that of the running `up`
    #[arg(long, value_name = "URL")]
    dashboard: Option<String>,
    /// File with the token that this dashboard asks for
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub(crate) async fn run(session: &Session, flags: &RecordFlags) -> Result<(), Failure> {
    if flags.last > LONGEST || flags.last < Duration::from_secs(1) {
        return Err(Failure::Usage("--last is out of range: the dashboard keeps an hour; give 1s to 60m".to_owned()));
    }
    let url = match &flags.dashboard {
        Some(url) => url.clone(),
        None => session
            .running()?
            .dashboard_url
            .ok_or_else(|| Failure::NotFound("no dashboard to ask: `up` runs without one; name another with --dashboard URL".to_owned()))?,
    };
    let token = token(session, flags)?;
    let path = format!("/api/v1/recording?last_ms={}", flags.last.as_millis());
    let asking = tokio::time::timeout(LIMIT, get(&url, &path, token.as_deref()));
    let file = asking.await.unwrap_or_else(|_| Err(unreachable(&url, &format!("no answer within {} s", LIMIT.as_secs()))))?;
    whole_file::write(&flags.out, &file)?;
    note!("written to {}: {:.1} MB, opens in any browser without a network", flags.out.display(), file.len() as f64 / 1e6);
    Ok(())
}

/// The token of a named file, else that of the data folder, which is only for the dashboard that `up` runs.
fn token(session: &Session, flags: &RecordFlags) -> Result<Option<String>, Failure> {
    let read = |path: &Path| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
    if let Some(path) = &flags.token_file {
        let unreadable =
            |error| Failure::Usage(format!("the token file {} cannot be read: {error}; name another with --token-file", path.display()));
        return read(path).map(Some).map_err(unreadable);
    }
    Ok(if flags.dashboard.is_none() { read(&dashboard_token(&session.data_dir)).ok() } else { None })
}

fn unreachable(url: &str, reason: &str) -> Failure {
    Failure::Failed(anyhow::anyhow!(
        "the dashboard at {url} cannot be reached: {reason}; start it with `faultline up`, or name another with --dashboard URL"
    ))
}

/// Host and port of `http://HOST[:PORT]`.
fn authority(url: &str) -> Result<String, Failure> {
    let invalid = || Failure::Usage(format!("invalid URL {url}: --dashboard takes http://HOST:PORT; for TLS forward a local port"));
    let rest = url.strip_prefix("http://").ok_or_else(invalid)?;
    let authority = rest.split('/').next().filter(|authority| !authority.is_empty() && !authority.contains('@')).ok_or_else(invalid)?;
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok(if has_port { authority.to_owned() } else { format!("{authority}:80") })
}

async fn get(url: &str, path: &str, token: Option<&str>) -> Result<Bytes, Failure> {
    let authority = authority(url)?;
    let stream = TcpStream::connect(&authority).await.map_err(|error| unreachable(url, &error.to_string()))?;
    let broken = |error: hyper::Error| unreachable(url, &error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let driving = tokio::spawn(connection);
    let mut request = Request::get(path).header(header::HOST, &authority);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request =
        request.body(Empty::<Bytes>::new()).map_err(|error| Failure::Usage(format!("invalid token: {error}; check the token file")))?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
    driving.abort();
    let body = body.map_err(|error| unreachable(url, &format!("the answer broke off: {error}")))?.to_bytes();
    if status == StatusCode::OK { Ok(body) } else { Err(refusal(url, status, &body)) }
}

/// What the dashboard said in the place of a file.
fn refusal(url: &str, status: StatusCode, body: &[u8]) -> Failure {
    let error = serde_json::from_slice::<Value>(body).unwrap_or_default()["error"].take();
    let text = |name: &str| error[name].as_str().map(str::to_owned);
    let Some(message) = text("message") else {
        return unreachable(url, &format!("unexpected answer {status}, not from a Faultline dashboard"));
    };
    let remedy = match status {
        StatusCode::UNAUTHORIZED => "name the file that holds the token with --token-file".to_owned(),
        _ => text("remedy").unwrap_or_else(|| "try again".to_owned()),
    };
    let said = format!("recording failed: {message}; {remedy}");
    if status == StatusCode::NOT_FOUND { Failure::NotFound(said) } else { Failure::Failed(anyhow::anyhow!(said)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_and_port_and_nothing_secret() {
        assert_eq!(authority("http://127.0.0.1:8080/").unwrap(), "127.0.0.1:8080");
        assert_eq!(authority("http://[::1]:8080").unwrap(), "[::1]:8080");
        assert_eq!(authority("http://example.org").unwrap(), "example.org:80");
        for wrong in ["https://example.org", "example.org:8080", "http://", "http://user:secret@example.org"] {
            assert!(matches!(authority(wrong), Err(Failure::Usage(text)) if text.contains("http://HOST:PORT")), "{wrong}");
        }
    }

    #[test]
    fn what_the_dashboard_refuses_is_said_with_what_to_do() {
        let said = |status: u16, body: &str| refusal("http://x", StatusCode::from_u16(status).unwrap(), body.as_bytes());
        let body = r#"{"error":{"code":"x","message":"nothing of this stretch is kept","remedy":"/api/v1/past lists what is kept"}}"#;
        let gone = said(404, body);
        assert_eq!(
            (gone.code(), gone.to_string()),
            (4, "recording failed: nothing of this stretch is kept; /api/v1/past lists what is kept".into())
        );
        assert!(said(401, body).to_string().ends_with("--token-file"));
        assert!(said(200, "<html>").to_string().contains("not from a Faultline dashboard"));
    }
}
