//! How far attempts had come that broke off, which the cluster does not write down.

use std::collections::BTreeMap;

use faultline_engine::job::AttemptId;
use faultline_protocol::views::AttemptCause;
use serde::Serialize;
use utoipa::ToSchema;

/// The youngest are kept.
const MAX_REMEMBERED: usize = 10_000;

/// An attempt that broke off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Loss {
    pub(crate) attempt: AttemptId,
    /// What its node reported last; none when this dashboard did not hear it.
    pub(crate) progress_permille: Option<u16>,
    /// The fault that it broke off by; none when no fault explains it.
    pub(crate) cause: Option<AttemptCause>,
}

/// How far attempts had come.
#[derive(Debug, Default)]
pub(crate) struct Losses(BTreeMap<AttemptId, u16>);

impl Losses {
    pub(crate) fn on_broken_off(&mut self, attempt: AttemptId, progress_permille: u16) {
        self.0.insert(attempt, progress_permille);
        if self.0.len() > MAX_REMEMBERED {
            self.0.pop_first();
        }
    }

    pub(crate) fn progress_of(&self, attempt: AttemptId) -> Option<u16> {
        self.0.get(&attempt).copied()
    }
}
