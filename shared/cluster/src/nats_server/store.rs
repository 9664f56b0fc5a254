//! Whether a NATS server can write its streams. A server whose disk was full keeps the error of each stream until it is restarted, also
//! when there is room again. It answers no publish then, and a single server says nothing about it in a stream's state: only a purge is
//! answered with the error. So a purge of a subject that no message has is the write that is tried here: it removes nothing.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use faultline_protocol::streams;
use faultline_runtime::connect::Nats;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No stream of Faultline takes it.
const NO_SUBJECT: &str = "faultline.no.such.subject";
/// A server on this machine greets within milliseconds; a busy machine gets more.
const GREETING_LIMIT: Duration = Duration::from_secs(2);

/// A stream that the server cannot write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteError {
    pub stream: String,
    /// The server's own words, such as `write /data/jetstream/.../1.blk: no space left on device`.
    pub reason: String,
}

impl WriteError {
    pub fn is_disk_full(&self) -> bool {
        ["no space left on device", "disk quota exceeded"].iter().any(|words| self.reason.contains(words))
    }

    /// The file that could not be written, on the server's machine.
    pub fn path(&self) -> Option<&Path> {
        let (_, rest) = self.reason.split_once(' ')?;
        let (path, _) = rest.rsplit_once(": ")?;
        path.starts_with('/').then(|| Path::new(path))
    }
}

/// Tries to write every stream, as a user who may purge them. `None` when the server does not answer in time. Streams that are missing are
/// not its business.
pub async fn write_errors(nats: &Nats) -> Option<Vec<WriteError>> {
    let mut errors = Vec::new();
    for stream in streams::names() {
        let request = json!({ "filter": NO_SUBJECT });
        match nats.jetstream.request::<_, _, Value>(format!("STREAM.PURGE.{stream}"), &request).await {
            Ok(answer) => errors.extend(write_error(&stream, &answer)),
            Err(error) => {
                tracing::debug!(stream, %error, "whether it can be written is not known");
                return None;
            }
        }
    }
    Some(errors)
}

fn write_error(stream: &str, answer: &Value) -> Option<WriteError> {
    let reason = answer["error"]["description"].as_str()?;
    // The operating system's words name the file; everything else is a refusal of another kind.
    let error = WriteError { stream: stream.to_owned(), reason: reason.to_owned() };
    error.path().is_some().then_some(error)
}

/// Whether the server on this loopback port says that JetStream is on; `None` when it does not greet. A member of a cluster switches it off
/// when its disk is full, until it is restarted.
pub async fn has_jetstream(port: u16) -> Option<bool> {
    let greeting = async {
        let mut line = String::new();
        BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?).read_line(&mut line).await?;
        std::io::Result::Ok(line)
    };
    let line = timeout(GREETING_LIMIT, greeting).await.ok()?.ok()?;
    let info: Value = serde_json::from_str(line.strip_prefix("INFO ")?).ok()?;
    Some(info["jetstream"].as_bool().unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_that_could_not_be_written_names_the_file() {
        let answer = json!({ "error": { "code": 500, "err_code": 10051,
            "description": "write /a b/jetstream/APP/streams/JOBS/msgs/1.blk: no space left on device" } });
        let error = write_error("JOBS", &answer).unwrap();
        assert!(error.is_disk_full());
        assert_eq!(error.path(), Some(Path::new("/a b/jetstream/APP/streams/JOBS/msgs/1.blk")));
        assert_eq!(write_error("JOBS", &json!({ "success": true, "purged": 0 })), None);
        assert_eq!(write_error("JOBS", &json!({ "error": { "err_code": 10059, "description": "stream not found" } })), None);
        let broken = json!({ "error": { "description": "write /d/1.blk: input/output error" } });
        assert!(!write_error("JOBS", &broken).unwrap().is_disk_full());
    }
}
