//! What is known of attempts that broke off, beyond what the cluster writes down of them: how far they had come, which fault it
//! was, and how long it took until somebody noticed.

use std::collections::BTreeMap;

use faultline_engine::job::AttemptId;
use serde::Serialize;
use utoipa::ToSchema;

use super::timeline::FaultSpan;

/// The youngest are kept.
const MAX_REMEMBERED: usize = 10_000;
/// A fault that had begun longer before is not the reason.
const MAX_BEFORE_MS: u64 = 60_000;

/// An attempt that broke off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Loss {
    pub(crate) attempt: AttemptId,
    /// What its node reported last; none when this dashboard did not hear it.
    pub(crate) progress_permille: Option<u16>,
    /// What was done to the node or its process, by the truth of injected faults; none when nothing was.
    pub(crate) fault: Option<String>,
    /// From the beginning of that fault until the attempt was given up.
    pub(crate) noticed_after_ms: Option<u64>,
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

    /// `faults` are those of the attempt's node and of its process.
    pub(crate) fn of<'a>(&self, attempt: AttemptId, ended_at_ms: u64, faults: impl Iterator<Item = &'a FaultSpan>) -> Loss {
        let before = ended_at_ms.saturating_sub(MAX_BEFORE_MS)..=ended_at_ms;
        let fault = faults.filter(|fault| before.contains(&fault.from_ms)).max_by_key(|fault| fault.from_ms);
        Loss {
            attempt,
            progress_permille: self.0.get(&attempt).copied(),
            fault: fault.map(|fault| fault.kind.clone()),
            noticed_after_ms: fault.map(|fault| ended_at_ms - fault.from_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_youngest_fault_before_the_end_is_the_reason() {
        let mut losses = Losses::default();
        let attempt = AttemptId::new(1, 1);
        losses.on_broken_off(attempt, 400);
        let fault = |kind: &str, from_ms| FaultSpan { id: "1".into(), node: "a".into(), kind: kind.into(), from_ms, until_ms: None };
        let faults = [fault("slow", 99_000), fault("kill", 100_000), fault("crash", 101_501), fault("hang", 10_000)];
        let loss = losses.of(attempt, 101_500, faults.iter());
        assert_eq!((loss.progress_permille, loss.fault.as_deref(), loss.noticed_after_ms), (Some(400), Some("kill"), Some(1_500)));
        let loss = losses.of(AttemptId::new(2, 1), 90_000, faults[3..].iter());
        assert_eq!((loss.progress_permille, loss.fault, loss.noticed_after_ms), (None, None, None), "too long ago");
    }
}
