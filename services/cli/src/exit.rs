//! How a command ends badly: the exit codes that scripts may rely on. No command prints its own failure; `main` does, once.

use std::process::ExitCode;

use faultline_client::ClientError;
use faultline_runtime::connect::BucketError;
use faultline_runtime::read::ReadError;

pub(crate) const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failed, 2 usage, 3 NATS unreachable, 4 not found, 5 a check failed";

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit code 1: anything that has no code of its own.
    Failed(anyhow::Error),
    /// Exit code 2: the request itself makes no sense; says what to change.
    Usage(String),
    /// Exit code 3: NATS does not answer.
    Unreachable(String),
    /// Exit code 4: the thing named does not exist.
    NotFound(String),
    /// Exit code 5: everything worked, and a check came out wrong.
    CheckFailed(String),
    /// Exit code 0: what would go on for ever ends with the reader of its output.
    ReaderGone,
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Unreachable(_) => 3,
            Failure::NotFound(_) => 4,
            Failure::CheckFailed(_) => 5,
            Failure::ReaderGone => 0,
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Failed(error) => write!(f, "{error:#}"),
            Failure::Usage(text) | Failure::Unreachable(text) | Failure::NotFound(text) | Failure::CheckFailed(text) => f.write_str(text),
            Failure::ReaderGone => f.write_str("the reader of the output has gone"),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::Failed(error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Disconnected | ClientError::Silent => Failure::Unreachable(error.to_string()),
            ClientError::UnknownNode(_) | ClientError::NoUp { .. } | ClientError::UpSilent { .. } => Failure::NotFound(error.to_string()),
            ClientError::InvalidFault(invalid) => Failure::Usage(format!("--{} {invalid}", invalid.field.as_str())),
            ClientError::NoLeader { .. }
            | ClientError::Refused(_)
            | ClientError::Unexpected(_)
            | ClientError::Bucket(_)
            | ClientError::Read(_)
            | ClientError::WorkerSilent { .. }
            | ClientError::RefusedByUp(_)
            | ClientError::UnexpectedFromUp
            | ClientError::Failed(_) => Failure::Failed(error.into()),
        }
    }
}

impl From<faultline_cluster::error::Error> for Failure {
    fn from(error: faultline_cluster::error::Error) -> Self {
        use faultline_cluster::error::Error;
        match error {
            Error::Invalid(text) => Failure::Usage(text),
            Error::Unreachable(text) => Failure::Unreachable(text),
            Error::NotFound(text) => Failure::NotFound(text),
            Error::Failed(error) => Failure::Failed(error),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Failure::Failed(error.into())
    }
}

impl From<BucketError> for Failure {
    fn from(error: BucketError) -> Self {
        ClientError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_ones() {
        let text = String::new;
        let all = [
            Failure::Failed(anyhow::anyhow!("x")),
            Failure::Usage(text()),
            Failure::Unreachable(text()),
            Failure::NotFound(text()),
            Failure::CheckFailed(text()),
            Failure::ReaderGone,
        ];
        assert_eq!(all.map(|failure| failure.code()), [1, 2, 3, 4, 5, 0]);
    }

    #[test]
    fn a_failure_prints_its_causes() {
        let error = anyhow::anyhow!("inner").context("outer");
        assert_eq!(Failure::from(error).to_string(), "outer: inner");
    }
}
