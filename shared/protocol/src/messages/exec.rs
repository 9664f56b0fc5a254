//! What a worker and the executor of a `service:NAME` job say to each other. Bodies are JSON, unlike everywhere else: an executor is
//! written in any language, by people who need nothing but a NATS client. docs/executors.md describes all of it.
//!
//! New fields are optional, and unknown ones are ignored on both sides. An unknown `type` is an error: a misspelt one would
//! otherwise look like an executor that never answers.

use async_nats::HeaderMap;
use bytes::Bytes;
use faultline_engine::job::{AttemptId, JobId, Params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::codec::{HEADER_KIND, HEADER_TRACEPARENT, HEADER_VERSION};

/// Which version of this protocol a request speaks.
pub const EXEC_VERSION: u32 = 1;
/// Which attempt a request is about.
pub const HEADER_ATTEMPT: &str = "Faultline-Attempt";
/// When the attempt's time is over, in Unix milliseconds.
pub const HEADER_DEADLINE: &str = "Faultline-Deadline";
/// Set by the NATS services API when a handler fails or `respond_error` is called.
const HEADER_SERVICE_ERROR: &str = "Nats-Service-Error";
const HEADER_SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";
/// The largest answer that is read.
pub const MAX_REPLY_BYTES: usize = 64 * 1024;
/// Longer words of an executor are cut off before they are kept.
const MAX_WORDS_CHARS: usize = 1000;

/// `exec.<NAME>`: run this. Answers go to the message's reply subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecRequest {
    pub job: JobId,
    pub attempt: AttemptId,
    /// Which try of the job, counted from 1.
    pub number: u32,
    /// The job's name, for people.
    pub name: String,
    /// `service:NAME`.
    pub kind: String,
    pub params: Params,
    /// The node that was booked for it, and the indexes of its GPUs there.
    pub node: String,
    pub gpus: Vec<u8>,
    /// On each of those GPUs.
    pub gpu_memory_mib: u32,
    /// How long the attempt may take.
    pub timeout_ms: u64,
    /// When that is over, in Unix milliseconds.
    pub deadline_ms: u64,
    /// After so long without an answer the executor counts as dead.
    pub silence_ms: u64,
    /// Where [`ExecReply`]s go: the request's reply subject once more, for libraries that hide it.
    pub reply: String,
    /// Where an [`ExecCancel`] comes when the attempt shall stop.
    pub cancel: String,
}

impl ExecRequest {
    pub fn headers(&self, traceparent: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_KIND, "exec-request");
        headers.insert(HEADER_VERSION, EXEC_VERSION.to_string());
        headers.insert(HEADER_ATTEMPT, self.attempt.to_string());
        headers.insert(HEADER_DEADLINE, self.deadline_ms.to_string());
        headers.insert(HEADER_TRACEPARENT, traceparent);
        headers
    }
}

/// `exec.cancel.<attempt>`: stop, the worker no longer waits for the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecCancel {
    pub job: JobId,
    pub attempt: AttemptId,
    pub reason: String,
}

/// What an executor says of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ExecReply {
    /// It is taken; work begins now or when there is room.
    Accepted,
    /// How far it is, 0 to 1; also a sign of life.
    Progress {
        #[serde(default)]
        progress: Option<f64>,
        #[serde(default)]
        text: String,
    },
    /// Done. Text is kept as it is, anything else as JSON.
    Result {
        #[serde(default)]
        result: Value,
    },
    Error {
        message: String,
        /// Whether another try may help.
        #[serde(default = "yes")]
        retry: bool,
    },
}

fn yes() -> bool {
    true
}

impl ExecReply {
    /// Reads an answer. What cannot be read is an error in words.
    pub fn read(headers: Option<&HeaderMap>, body: &[u8]) -> Result<Self, String> {
        let header = |name| headers.and_then(|headers| headers.get(name)).map(|value| value.as_str());
        if let Some(error) = header(HEADER_SERVICE_ERROR) {
            let code = header(HEADER_SERVICE_ERROR_CODE).unwrap_or("no code");
            return Ok(Self::Error { message: words(&format!("{error} (service error, {code})")), retry: true });
        }
        if body.len() > MAX_REPLY_BYTES {
            return Err(format!("it has {} bytes; the limit is {MAX_REPLY_BYTES}", body.len()));
        }
        match serde_json::from_slice(body) {
            Ok(Self::Progress { progress, text }) => Ok(Self::Progress { progress, text: words(&text) }),
            Ok(Self::Error { message, retry }) => Ok(Self::Error { message: words(&message), retry }),
            Ok(reply @ (Self::Accepted | Self::Result { .. })) => Ok(reply),
            Err(error) => Err(words(&error.to_string())),
        }
    }
}

/// Words of a stranger as they may stand in a log and in a record.
fn words(text: &str) -> String {
    text.chars().take(MAX_WORDS_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What the worker answers when an answer itself asks for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecReceipt {
    /// Whether the attempt goes on.
    pub running: bool,
}

/// The JSON text of one of these messages.
pub fn to_json(message: &impl Serialize) -> Bytes {
    // Maps with text keys and finite numbers only: this cannot fail, and a reader would refuse an empty body.
    serde_json::to_vec(message).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::Param;

    use super::*;

    fn read(body: &str) -> Result<ExecReply, String> {
        ExecReply::read(None, body.as_bytes())
    }

    #[test]
    fn a_request_is_this_text() {
        let (job, attempt) = (JobId::new(1, 2), AttemptId::new(3, 4));
        let request = ExecRequest {
            job,
            attempt,
            number: 2,
            name: "hello".into(),
            kind: "service:greet".into(),
            params: Params::from([("name".into(), Param::Text("World".into())), ("times".into(), Param::Int(3))]),
            node: "gpu-node-01".into(),
            gpus: vec![0, 1],
            gpu_memory_mib: 512,
            timeout_ms: 30_000,
            deadline_ms: 1_700_000_030_000,
            silence_ms: 10_000,
            reply: "exec.reply.x".into(),
            cancel: "exec.cancel.x".into(),
        };
        let text = format!(
            concat!(
                r#"{{"job":"{job}","attempt":"{attempt}","number":2,"name":"hello","kind":"service:greet","#,
                r#""params":{{"name":"World","times":3}},"node":"gpu-node-01","gpus":[0,1],"gpu_memory_mib":512,"#,
                r#""timeout_ms":30000,"deadline_ms":1700000030000,"silence_ms":10000,"reply":"exec.reply.x","cancel":"exec.cancel.x"}}"#
            ),
            job = job,
            attempt = attempt
        );
        assert_eq!(to_json(&request), text.as_bytes());
        let headers = request.headers("00-1-2-01");
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        assert_eq!((header("Faultline-Kind"), header("Faultline-Version")), (Some("exec-request".into()), Some("1".into())));
        assert_eq!((header("Faultline-Attempt"), header("Faultline-Deadline")), (Some(attempt.to_string()), Some("1700000030000".into())));
        assert_eq!(header("traceparent"), Some("00-1-2-01".into()));
    }

    #[test]
    fn answers_are_read_and_what_is_unknown_in_them_is_ignored() {
        assert_eq!(read(r#"{"type":"accepted","queue":3}"#), Ok(ExecReply::Accepted));
        assert_eq!(
            read(r#"{"type":"progress","progress":0.5,"text":"half","eta":1}"#),
            Ok(ExecReply::Progress { progress: Some(0.5), text: "half".into() })
        );
        assert_eq!(read(r#"{"type":"progress"}"#), Ok(ExecReply::Progress { progress: None, text: String::new() }));
        assert_eq!(read(r#"{"result":[1],"type":"result"}"#), Ok(ExecReply::Result { result: serde_json::json!([1]) }));
        assert_eq!(read(r#"{"type":"error","message":"no"}"#), Ok(ExecReply::Error { message: "no".into(), retry: true }));
        assert_eq!(
            read(r#"{"type":"error","message":"a\nb","retry":false}"#),
            Ok(ExecReply::Error { message: "a b".into(), retry: false })
        );
    }

    #[test]
    fn what_is_no_answer_says_why() {
        assert!(read(r#"{"type":"finished"}"#).unwrap_err().contains("finished"));
        assert!(read(r#"{"progress":1}"#).unwrap_err().contains("type"));
        assert!(read(r#"{"type":"error"}"#).unwrap_err().contains("message"));
        assert!(read(r#"{"type":"progress","progress":NaN}"#).is_err());
        assert!(read("").is_err());
        assert!(ExecReply::read(None, &[0xff; 10]).is_err());
        assert!(ExecReply::read(None, &vec![b' '; MAX_REPLY_BYTES + 1]).unwrap_err().contains("65537 bytes"));
        assert!(read(&"[".repeat(10_000)).is_err());
    }

    #[test]
    fn an_error_of_the_services_api_is_an_error_of_the_attempt() {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_SERVICE_ERROR, "ValueError('x')");
        headers.insert(HEADER_SERVICE_ERROR_CODE, "500");
        let reply = ExecReply::read(Some(&headers), b"");
        assert_eq!(reply, Ok(ExecReply::Error { message: "ValueError('x') (service error, 500)".into(), retry: true }));
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = ExecReply::read(None, &body);
        }
    }
}
