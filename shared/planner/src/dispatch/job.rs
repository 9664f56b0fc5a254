//! A job as the dispatcher knows it, from its submission to its end.

use crate::node::Placement;

use super::lines::{Key, LineId};
use super::request::Request;

/// How long an interrupted job is expected to run when it starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remaining {
    pub estimate_ms: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) request: Request,
    /// How long it is expected to run from its next or last start.
    pub(super) expected_ms: Option<u64>,
    /// Milliseconds of whole GPUs, in thousandths, over the attempts that have ended.
    pub(super) attained_gpu_milli_ms: u128,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    Waiting { line: LineId, key: Key },
    Running(Run),
}

/// An attempt.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) started_ms: u64,
    /// `u64::MAX` when nothing is known about it.
    pub(super) ends_ms: u64,
    pub(super) placements: Vec<Placement>,
    /// When it got the tasks that it has.
    pub(super) resized_ms: u64,
    /// Until then what it attained has been counted.
    pub(super) counted_ms: u64,
    /// Work up to here is safe.
    pub(super) checkpointed_ms: Option<u64>,
}

impl Job {
    pub(super) fn run(&self) -> Option<&Run> {
        match &self.state {
            State::Running(run) => Some(run),
            State::Waiting { .. } => None,
        }
    }
}
