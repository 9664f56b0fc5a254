//! Why something that was said to NATS did not get through.

use faultline_protocol::codec::DecodeError;

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("another message came first on this subject")]
    WrongLastSequence,
    #[error("the stream is full: {0}")]
    StreamFull(String),
    #[error("the message is larger than the server allows: {0}")]
    TooLarge(String),
    #[error("no stream listens to this subject: run `faultline setup`")]
    NoStream,
    #[error("no acknowledgement in time")]
    Timeout,
    #[error("publishing failed: {0}")]
    Other(String),
}

impl PublishError {
    /// Whether the same publish may succeed a little later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Timeout | Self::Other(_) | Self::StreamFull(_) | Self::NoStream)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("no service listens on {0}")]
    NoResponders(String),
    #[error("no answer from {0} in time")]
    Timeout(String),
    #[error("the answer from {subject} cannot be read: {source}")]
    Decode { subject: String, source: DecodeError },
    #[error("asking {subject} failed: {reason}")]
    Other { subject: String, reason: String },
}

/// Why a bucket cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bucket {bucket}: {reason}")]
pub struct BucketError {
    pub bucket: String,
    pub reason: String,
}
