//! Keeps the events of a plan apart, so that no decision depends on milliseconds.

use super::file::File;
use super::plan::Plan;
use super::play::outcome_of;
use crate::outcome::Outcome;
use crate::setup::{Handover, InvalidSetup};

/// What is not known before a live run, and is supposed where events are kept apart.
const SUPPOSED: Handover = Handover { start_ms: 5, end_ms: 10 };
/// A workload that is too dense for its spacing is left as it is by then.
const MAX_MOVES: usize = 20_000;

impl Plan {
    /// The same file and seed give the same plan.
    pub fn draw(file: &File, seed: u64) -> Result<Self, InvalidSetup> {
        Self::drawn(file, seed).spaced(file)
    }

    /// The same jobs without any fault.
    pub fn quiet(&self, file: &File) -> Result<Self, InvalidSetup> {
        Self { kills: Vec::new(), ..self.clone() }.spaced(file)
    }

    /// Moves submissions and lengthens jobs until every submission, end, and fault is as far from all others as the file wants. Each move concerns the
    /// first two that are too close, and changes nothing before them.
    fn spaced(mut self, file: &File) -> Result<Self, InvalidSetup> {
        let spacing_ms = file.spacing_ms();
        for _ in 0..if spacing_ms > 0 { MAX_MOVES } else { 0 } {
            let outcome = outcome_of(file, &self, &self.instants(file), SUPPOSED)?;
            let Some((what, by_ms)) = first_move(&self.happenings(&outcome), spacing_ms) else { return Ok(self) };
            match what {
                What::Submitted(job) => self.jobs[job].at_ms += by_ms,
                What::Ended(job) => self.jobs[job].duration_ms += by_ms,
                What::Fault => {}
            }
            self.jobs.sort_by_key(|job| job.at_ms);
        }
        self.is_spaced = spacing_ms == 0;
        Ok(self)
    }

    /// What the scheduler reacts to, in the order of time.
    fn happenings(&self, outcome: &Outcome) -> Vec<(u64, What)> {
        let submitted = self.jobs.iter().enumerate().map(|(job, planned)| (planned.at_ms, What::Submitted(job)));
        let ended = outcome.jobs.iter().filter_map(|row| Some((row.end_ms?, What::Ended(row.job as usize))));
        let faults = outcome
            .faults
            .iter()
            .flat_map(|row| [Some(row.from_ms), row.seen_ms, row.until_ms])
            .flatten()
            .map(|at_ms| (at_ms, What::Fault));
        let mut all: Vec<(u64, What)> = submitted.chain(ended).chain(faults).collect();
        all.sort_unstable();
        all
    }
}

/// Whose instant it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Fault,
    Submitted(usize),
    Ended(usize),
}

/// Of the first two that are too close, what is to be moved, and by how much. Faults stay where they are.
fn first_move(happenings: &[(u64, What)], spacing_ms: u64) -> Option<(What, u64)> {
    happenings.windows(2).find_map(|pair| {
        let ((before_ms, before), (after_ms, after)) = (pair[0], pair[1]);
        let gap_ms = after_ms - before_ms;
        match (before, after) {
            _ if gap_ms >= spacing_ms => None,
            (What::Fault, What::Fault) => None,
            (moved, What::Fault) => Some((moved, gap_ms + spacing_ms)),
            (_, moved) => Some((moved, spacing_ms - gap_ms)),
        }
    })
}
