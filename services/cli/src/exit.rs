//! How a command ends badly: the exit codes that scripts may rely on. No command prints its own failure; `main` does, once.

use std::process::ExitCode;

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
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Unreachable(_) => 3,
            Failure::NotFound(_) => 4,
            Failure::CheckFailed(_) => 5,
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
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::Failed(error)
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
        ];
        assert_eq!(all.map(|failure| failure.code()), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_failure_prints_its_causes() {
        let error = anyhow::anyhow!("inner").context("outer");
        assert_eq!(Failure::from(error).to_string(), "outer: inner");
    }
}
