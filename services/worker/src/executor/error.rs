//! Why an attempt did not succeed.

use faultline_engine::job::InvalidJob;

/// Why the attempt must stop: a cancelled job, a lost node, a time limit, a worker that shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// Why an attempt did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecutorError {
    /// The job itself failed; a retry may help.
    #[error("{0}")]
    Failed(String),
    /// The job itself failed, and would again: no retry helps.
    #[error("{0}")]
    Final(String),
    /// The executor panicked; a retry may help.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The job wanted more GPU memory than it had demanded; a retry may help.
    #[error("out of GPU memory: {wanted_mib} MiB on top of {used_mib} MiB, of {limit_mib} MiB that the job demanded")]
    OutOfMemory { wanted_mib: u32, used_mib: u32, limit_mib: u32 },
    /// Stopped on request.
    #[error("cancelled")]
    Cancelled,
    /// The job can never run like this: no retry helps.
    #[error(transparent)]
    Invalid(#[from] InvalidJob),
}

impl From<Cancelled> for ExecutorError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}
