//! Why something that was asked or ordered did not come about.

use faultline_engine::fault::InvalidFault;
use faultline_runtime::connect::BucketError;
use faultline_runtime::read::ReadError;

/// Why the cluster gave no answer, or not the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// NATS works, and no scheduler leads; `reason` is what the last question came to.
    #[error("no scheduler answers: `faultline status` shows what runs, `faultline up` starts it")]
    NoLeader { reason: String },
    #[error("the link to NATS is down")]
    Disconnected,
    #[error("NATS does not answer: it may be frozen or overloaded; run `faultline doctor`")]
    Silent,
    #[error("the scheduler refused: {0}")]
    Refused(String),
    #[error("unexpected answer from the scheduler: {0}")]
    Unexpected(String),
    #[error("{0}; if it does not exist yet, run `faultline setup`")]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("unknown node {0}: `faultline nodes` lists them")]
    UnknownNode(String),
    #[error("{worker}, which hosts {node}, does not answer: `faultline status` shows what runs")]
    WorkerSilent { worker: String, node: String },
    #[error("{field} {0}", field = .0.field.as_str())]
    InvalidFault(#[from] InvalidFault),
    /// `reason` is what the question came to.
    #[error("no `faultline up` answers on this NATS: experiments run inside it")]
    NoUp { reason: String },
    /// It is there, and did not answer in time.
    #[error("no `faultline up` answers on this NATS: experiments run inside it")]
    UpSilent { reason: String },
    #[error("{0}")]
    RefusedByUp(String),
    #[error("unexpected reply from `faultline up` (different version?)")]
    UnexpectedFromUp,
    /// Something that JetStream was asked for.
    #[error("{0}")]
    Failed(String),
}
