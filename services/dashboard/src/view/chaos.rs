//! What `faultline up` tells of experiments. Whether it can be asked at all is part of it: without `up` there are none.

use faultline_protocol::messages::{ChaosList, ChaosPhase, ChaosProgress};
use serde::Serialize;
use utoipa::ToSchema;

/// Where experiments stand, as it is pushed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ChaosState {
    /// Whether a `faultline up` runs experiments.
    pub(crate) available: bool,
    /// Why not, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The newest word on the run under way, or on the one that was just over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) running: Option<ChaosProgress>,
    /// Runs that have ended since `up` started, as far as it keeps them: another number means that there is another report.
    pub(crate) runs_ended: usize,
}

/// Experiments as far as they are known here.
#[derive(Debug)]
pub(crate) struct Chaos {
    state: ChaosState,
}

impl Default for Chaos {
    fn default() -> Self {
        let reason = Some("not asked yet".into());
        Self { state: ChaosState { available: false, reason, running: None, runs_ended: 0 } }
    }
}

impl Chaos {
    pub(crate) fn state(&self) -> &ChaosState {
        &self.state
    }

    /// Progress, as it is published. What comes late of an earlier moment of the same run changes nothing.
    pub(crate) fn on_progress(&mut self, progress: ChaosProgress) {
        let is_late = self.state.running.as_ref().is_some_and(|known| known.run == progress.run && known.at_ms > progress.at_ms);
        if !is_late {
            (self.state.available, self.state.reason) = (true, None);
            self.state.running = Some(progress);
        }
    }

    /// What `up` answered, or why it did not.
    pub(crate) fn on_list(&mut self, answer: Result<&ChaosList, String>) {
        match answer {
            Ok(list) => {
                (self.state.available, self.state.reason) = (true, None);
                self.state.runs_ended = list.runs.len();
                match &list.running {
                    Some(progress) => self.on_progress(progress.clone()),
                    // Its last word is kept; any other was overtaken by its end.
                    None if self.state.running.as_ref().is_some_and(|known| known.phase != ChaosPhase::Done) => self.state.running = None,
                    None => {}
                }
            }
            Err(reason) => self.state = ChaosState { available: false, reason: Some(reason), running: None, runs_ended: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use faultline_protocol::messages::ChaosKind;

    use super::*;

    fn progress(run: &str, at_ms: u64, phase: ChaosPhase) -> ChaosProgress {
        let kind = ChaosKind::Freeze;
        ChaosProgress { run: run.into(), kind, phase, at_ms, left_ms: 5, detail: String::new(), sample: None, report: None }
    }

    #[test]
    fn the_newest_word_stands_until_the_run_is_over() {
        let mut chaos = Chaos::default();
        assert!(!chaos.state().available && chaos.state().reason.is_some());
        chaos.on_progress(progress("1", 20, ChaosPhase::During));
        chaos.on_progress(progress("1", 10, ChaosPhase::Before));
        assert_eq!(chaos.state().running.as_ref().unwrap().phase, ChaosPhase::During);
        chaos.on_list(Ok(&ChaosList { kinds: vec![], running: None, runs: vec![] }));
        assert_eq!(chaos.state().running, None, "its end was missed");
        chaos.on_progress(progress("2", 30, ChaosPhase::Done));
        chaos.on_list(Ok(&ChaosList { kinds: vec![], running: None, runs: vec![] }));
        assert_eq!(chaos.state().running.as_ref().unwrap().run, "2", "its last word carries the report");
        chaos.on_list(Err("silence".into()));
        assert_eq!((chaos.state().available, chaos.state().reason.as_deref(), &chaos.state().running), (false, Some("silence"), &None));
    }
}
