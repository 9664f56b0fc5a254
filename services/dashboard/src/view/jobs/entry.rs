//! What is known of one job, from whom: which of it wins.

use faultline_engine::job::{AttemptId, AttemptOutcome, AttemptSummary, Priority};
use faultline_protocol::messages::{JobState, JobView, OpenMarker, TerminalRecord};

#[derive(Debug, Default)]
pub(super) struct Entry {
    /// When it was submitted, as far as the time of storing its first message allows: its place in the order.
    pub(super) arrived_ms: u64,
    pub(super) marker: Option<OpenMarker>,
    pub(super) end: Option<TerminalRecord>,
    pub(super) leader: Option<JobView>,
    pub(super) failures: u32,
    pub(super) requeues: u32,
    pub(super) history: Vec<AttemptSummary>,
}

impl Entry {
    pub(super) fn name(&self) -> &str {
        match self {
            Entry { end: Some(end), .. } => &end.name,
            Entry { marker: Some(marker), .. } => &marker.name,
            Entry { leader: Some(row), .. } => &row.name,
            Entry { .. } => "",
        }
    }

    pub(super) fn kind(&self) -> &str {
        match self {
            Entry { end: Some(end), .. } => &end.kind,
            Entry { marker: Some(marker), .. } => &marker.kind,
            Entry { leader: Some(row), .. } => &row.kind,
            Entry { .. } => "",
        }
    }

    pub(super) fn priority(&self) -> Option<Priority> {
        match self {
            Entry { end: Some(end), .. } => Some(end.priority),
            Entry { marker: Some(marker), .. } => Some(marker.priority),
            Entry { leader: Some(row), .. } => Some(row.priority),
            Entry { .. } => None,
        }
    }

    /// As asked for where that is known, as got otherwise.
    pub(super) fn gpu_milli(&self) -> u32 {
        let asked = self.leader.as_ref().and_then(|row| row.demand.as_ref()).map(|demand| demand.gpu_milli);
        asked.or_else(|| self.history().last().map(|row| row.gpu_milli)).unwrap_or(0)
    }

    pub(super) fn leader_state(&self) -> Option<JobState> {
        self.leader.as_ref().map(|row| row.state)
    }

    pub(super) fn history(&self) -> &[AttemptSummary] {
        match self {
            Entry { end: Some(end), .. } => &end.history,
            Entry { leader: Some(row), .. } => &row.attempts,
            Entry { .. } => &self.history,
        }
    }

    /// Whether an event or the leader said that the attempt is over.
    pub(super) fn has_ended(&self, attempt: AttemptId) -> bool {
        let told = self.leader.iter().flat_map(|row| &row.attempts).chain(&self.history);
        told.filter(|row| row.attempt == attempt).any(|row| row.outcome != AttemptOutcome::Running)
    }

    /// How often the job was tried. The history is capped, so the counters count too.
    pub(super) fn attempts(&self, runs: bool) -> u32 {
        let rows = u32::try_from(self.history().len()).unwrap_or(u32::MAX);
        let lost = match self {
            Entry { end: Some(end), .. } => {
                end.failures.saturating_add(end.requeues).saturating_add(u32::from(end.state == JobState::Committed))
            }
            Entry { leader: Some(row), .. } => row.failures.saturating_add(row.requeues).saturating_add(u32::from(runs)),
            Entry { .. } => self.failures.saturating_add(self.requeues).saturating_add(u32::from(runs)),
        };
        rows.max(lost)
    }
}
