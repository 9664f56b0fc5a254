//! One HTTP/1.1 request over a connection of its own: all that a probe and an export of spans need.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// Sends one request to `host:port` and returns the status and the body as it came. Fails after `limit`.
pub(crate) async fn request(authority: &str, head: &str, body: &[u8], limit: Duration) -> std::io::Result<(u16, String)> {
    let asking = async {
        let mut stream = TcpStream::connect(authority).await?;
        let length = body.len();
        let head = format!(
            "{head} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await?;
        parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| Error::new(ErrorKind::InvalidData, "invalid HTTP answer"))
    };
    tokio::time::timeout(limit, asking)
        .await
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::TimedOut, format!("nothing within {} s", limit.as_secs()))))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        assert_eq!(parse("HTTP/1.1 503 Service Unavailable\r\nx: y\r\n\r\n{}"), Some((503, "{}".into())));
        assert_eq!(parse("SSH-2.0-OpenSSH\r\n\r\n"), None);
        assert_eq!(parse(""), None);
    }
}
