//! Why something was not done. The command makes an exit code of it.

use faultline_client::ClientError;

/// What is wrong, by what helps against it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request makes no sense; says what to change.
    #[error("{0}")]
    Invalid(String),
    /// NATS does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// The thing named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// Anything else, with its causes.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Disconnected | ClientError::Silent => Error::Unreachable(error.to_string()),
            other => Error::Failed(other.into()),
        }
    }
}
