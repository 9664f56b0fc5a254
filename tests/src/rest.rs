//! Asks a dashboard's REST API.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// Status and body of one answer.
///
/// # Panics
/// When there is none, or it is not JSON.
pub fn rest(port: u16, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the dashboard listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let request =
        format!("{method} /api/v1/{path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n{kind}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).expect("the dashboard reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the dashboard answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split_whitespace().nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).expect("JSON"))
}
