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
/// What became of the job's message in JOBS, where its end was committed without acknowledging one.
pub const HEADER_JOB_MESSAGE: &str = "Job-Message";
/// W3C Trace Context, <https://www.w3.org/TR/trace-context/>.
pub const HEADER_TRACEPARENT: &str = "traceparent";

/// The largest body that is decoded; the server's `max_payload` is the same.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// A message with a name and a version. The macro `message!` implements it.
pub trait Message: Serialize + DeserializeOwned {
    const KIND: &'static str;
    const VERSION: u32;

    /// Appends the body.
    ///
    /// # Panics
    /// When a type cannot be expressed in MessagePack, which is a bug in its definition.
    fn write(&self, body: &mut Vec<u8>);

    /// # Errors
    /// What is wrong with the body.
    fn read(body: &[u8]) -> Result<Self, rmp_serde::decode::Error>;
}

/// Implements [`Message`]. The bodies of the methods are compiled where the type is defined; methods of the trait that were generic would
/// be compiled again in each crate that sends or reads the message.
macro_rules! message {
    ($message:ty, $kind:literal) => {
        impl crate::codec::Message for $message {
            const KIND: &'static str = $kind;
            const VERSION: u32 = 1;

            fn write(&self, body: &mut Vec<u8>) {
                crate::codec::encoded(body, self);
            }

            fn read(body: &[u8]) -> std::result::Result<Self, rmp_serde::decode::Error> {
                rmp_serde::from_slice(body)
            }
        }
    };
}
pub(crate) use message;

/// Why a message could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the header {HEADER_KIND} is missing; expected `{expected}`")]
    NoKind { expected: &'static str },
    #[error("the message is of kind `{found}`, expected `{expected}`")]
    Kind { found: String, expected: &'static str },
    #[error("unsupported version `{found}` of `{kind}`: this build reads up to {known}")]
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
    let mut body = Vec::with_capacity(128);
    message.write(&mut body);
    Bytes::from(body)
}

/// Writes a message's body, or a part of one, in the encoding of all of them.
pub(crate) fn encoded(out: &mut impl std::io::Write, value: &impl Serialize) {
    rmp_serde::encode::write_named(out, value).expect("message types are plain data");
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

/// Decodes a plain message that was heard on `filter`, after checking that it is one. A client that may read a stream can have JetStream deliver
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
    M::read(body).map_err(|error| DecodeError::Body { kind: M::KIND, reason: shown(&error.to_string(), 300) })
}

/// What a message says of itself, as an error may repeat it: not for ever, and nothing that steers a terminal.
pub(crate) fn shown(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
