//! Named-field MessagePack bodies; kind, version, job state and trace travel in headers.

use async_nats::{HeaderMap, header};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::subjects;

/// Which message a body is, one token.
pub const HEADER_KIND: &str = "Faultline-Kind";
/// The version of that message's shape.
pub const HEADER_VERSION: &str = "Faultline-Version";
/// On `job.res.*`: `open`, `committed`, `dead`, `cancelled` or `abandoned`.
pub const HEADER_JOB_STATE: &str = "Job-State";
/// On `job.q.*`: the sequence of the job's open marker in RESULTS; every commit expects it.
pub const HEADER_JOB_OPEN_SEQ: &str = "Job-Open-Seq";
/// W3C Trace Context, <https://www.w3.org/TR/trace-context/>.
pub const HEADER_TRACEPARENT: &str = "traceparent";

/// The largest body that is decoded; the server's `max_payload` is the same.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// A message with a name and a version.
pub trait Message: Serialize + DeserializeOwned {
    const KIND: &'static str;
    const VERSION: u32 = 1;
}

/// Why a message could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the header {HEADER_KIND} is missing; expected `{expected}`")]
    NoKind { expected: &'static str },
    #[error("the message is of kind `{found}`, expected `{expected}`")]
    Kind { found: String, expected: &'static str },
    #[error("version `{found}` of `{kind}` is unknown: this build reads up to {known}")]
    Version { kind: &'static str, found: String, known: u32 },
    #[error("it was stored, and came from the server as `{subject}`: plain messages come straight from their sender")]
    Relayed { subject: String },
    #[error("the body has {bytes} bytes, more than the {MAX_BODY_BYTES} allowed")]
    TooLarge { bytes: usize },
    #[error("the body of `{kind}` cannot be decoded: {reason}")]
    Body { kind: &'static str, reason: String },
}

/// The headers that say what a body is.
pub fn headers_for<M: Message>() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HEADER_KIND, M::KIND);
    headers.insert(HEADER_VERSION, M::VERSION.to_string());
    headers
}

/// Encodes a message's body.
///
/// # Panics
/// When a type cannot be expressed in MessagePack, which is a bug in its definition.
pub fn encode<M: Message>(message: &M) -> Bytes {
    Bytes::from(rmp_serde::to_vec_named(message).expect("message types are plain data"))
}

/// Decodes a body after checking kind, version and size.
pub fn decode<M: Message>(headers: Option<&HeaderMap>, body: &[u8]) -> Result<M, DecodeError> {
    let header = |name| headers.and_then(|h| h.get(name)).map(|value| value.as_str());
    let kind = header(HEADER_KIND).ok_or(DecodeError::NoKind { expected: M::KIND })?;
    if kind != M::KIND {
        return Err(DecodeError::Kind { found: shown(kind, 64), expected: M::KIND });
    }
    let version = header(HEADER_VERSION).unwrap_or("missing");
    match version.parse::<u32>() {
        Ok(number) if (1..=M::VERSION).contains(&number) => {}
        Ok(_) | Err(_) => {
            return Err(DecodeError::Version { kind: M::KIND, found: shown(version, 20), known: M::VERSION });
        }
    }
    decode_body(body)
}

/// Decodes a plain message that was heard on `filter`, after checking that it is one. Whoever may read a stream can have JetStream deliver
/// what is stored there to any subject, past the allow-lists: the answer to a direct read goes where the reader says, with headers that tell.
pub fn decode_plain<M: Message>(filter: &str, message: &async_nats::Message) -> Result<M, DecodeError> {
    let is_read = message.headers.as_ref().is_some_and(|headers| headers.get(header::NATS_STREAM).is_some());
    if is_read || !subjects::matches(filter, &message.subject) {
        return Err(DecodeError::Relayed { subject: shown(&message.subject, 128) });
    }
    decode(message.headers.as_ref(), &message.payload)
}

/// Decodes a body that carries no headers, such as a value in a bucket.
pub fn decode_body<M: Message>(body: &[u8]) -> Result<M, DecodeError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(DecodeError::TooLarge { bytes: body.len() });
    }
    rmp_serde::from_slice(body).map_err(|error| DecodeError::Body { kind: M::KIND, reason: shown(&error.to_string(), 300) })
}

/// What a message says of itself, as an error may repeat it: not for ever, and nothing that steers a terminal.
fn shown(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
