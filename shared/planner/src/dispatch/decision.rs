//! What a dispatcher decides. Its owner carries the list out from front to back.

use crate::decision::Placed;
use crate::node::{NodeId, Placement};

use super::request::JobNumber;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dispatch {
    /// Start the job with these tasks. They are booked already.
    Start { job: JobNumber, tasks: Vec<Placed> },
    /// Stop the job so that another one starts; that follows behind. The job waits again already, with what is left of its estimate since its
    /// last checkpoint; [`Dispatcher::interrupted`](super::Dispatcher::interrupted) says so more exactly.
    Preempt { job: JobNumber, for_job: JobNumber },
    /// The running job has these tasks from now on: fewer, so that another one starts, which follows behind, or more, where nothing else could
    /// use what was free. Tasks that it had before and has still are on the same GPUs.
    Resize { job: JobNumber, tasks: Vec<Placement>, for_job: Option<JobNumber> },
    /// Nothing to do: nodes are kept free for the job, which is expected to start then. `None`: some that run there have no estimate. A later
    /// one for the same job replaces it.
    Reserve { job: JobNumber, at_ms: Option<u64>, nodes: Vec<NodeId> },
}

/// What one pass came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DispatchPass {
    pub decisions: Vec<Dispatch>,
    /// It stopped at its limits: there may be more to decide.
    pub unfinished: bool,
}
