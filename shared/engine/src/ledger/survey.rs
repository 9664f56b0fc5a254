//! Whose message left JOBS. The sum says how many are missing (`queue`); a list of what JOBS holds, compared with the open jobs, says whose.
//!
//! An open job without a message is one of two things: its submitter died between its two writes, so it was never queued and no client was
//! told that it was accepted; or it was queued, and its message was taken away. The first is abandoned, the second is lost. A message that was
//! seen, or that the scheduler holds, proves the second; so does the sum, as far as it reaches.

use std::collections::BTreeSet;

use super::stores::{Setback, Sight};
use super::{Ledger, LedgerState, Marker, Took, returned};
use crate::job::JobId;

/// A list of a long queue comes in pages, and what moves meanwhile may be on none of them: one list does not prove an absence.
const BELIEVED_AFTER: u32 = 2;
/// Streams that were made within this time were made together, so that RESULTS tells of all that JOBS ever had.
const MADE_TOGETHER_MS: u64 = 60_000;

/// What JOBS holds. To be folded once all that RESULTS held after the list was made has been.
#[derive(Debug, Clone, Copy)]
pub struct Survey<'a> {
    /// JOBS before the list was begun.
    pub sight: Sight,
    /// The server's clock then.
    pub began_at_ms: u64,
    pub replicas: usize,
    /// The jobs that have a message.
    pub queued: &'a BTreeSet<JobId>,
    /// Those that the scheduler holds: whatever became of their message, it was delivered.
    pub held: &'a BTreeSet<JobId>,
}

/// An open job without a message, old enough that it will never get one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orphan {
    pub job: JobId,
    pub open_seq: u64,
    pub stored_at_ms: u64,
    /// What its end is to say of its message.
    pub took: Took,
}

impl Ledger {
    /// JOBS as it is, seen before the newest records that were folded. Says whether more is missing than is explained.
    pub fn on_jobs(&mut self, sight: Sight, replicas: usize, at_ms: u64) -> bool {
        let whole_at_ms = std::mem::replace(&mut self.jobs_seen_at_ms, at_ms);
        if let Some(setback) = self.state.queue.on_sight(sight, replicas, at_ms) {
            self.keep(Setback { whole_at_ms, ..setback });
        }
        self.unexplained() > 0
    }

    fn unexplained_at(&self, sight: Sight) -> u64 {
        let state = &self.state;
        state.queue.excess_at(sight, state.ended_with_message()).saturating_sub(state.lost + state.unnamed + self.gone)
    }

    /// Messages that are missing, beyond those of which it is known whose they were.
    pub(super) fn unexplained(&self) -> u64 {
        self.state.queue.sight.map_or(0, |sight| self.unexplained_at(sight))
    }

    /// Compares the open jobs with what JOBS holds.
    pub fn on_survey(&mut self, survey: &Survey<'_>) {
        // JOBS may have been seen since the list was begun. What is missing must be counted by the list's own sight, which knows nothing of what
        // vanished later.
        let is_older =
            self.state.queue.sight.is_some_and(|known| survey.sight.last_seq < known.last_seq && survey.began_at_ms < self.jobs_seen_at_ms);
        match self.state.queue.sight {
            Some(known) if is_older && survey.sight.change_to(known, survey.replicas).is_some() => return,
            Some(_) if is_older => {}
            _ => {
                self.on_jobs(survey.sight, survey.replicas, survey.began_at_ms);
            }
        }
        self.look_for_messages(survey);
        if !self.state.queue.is_measured {
            self.measure(survey);
        }
        let unexplained = self.unexplained_at(survey.sight);
        let (mut candidates, mut is_settled) = (Vec::new(), true);
        for (job, marker) in &self.open {
            if !marker.is_gone && marker.missing > 0 {
                candidates.push(*job);
                is_settled &= marker.missing >= BELIEVED_AFTER;
            }
        }
        if unexplained > 0 && is_settled {
            let count = candidates.len() as u64;
            if unexplained >= count {
                self.state.unnamed += unexplained - count;
                for job in candidates {
                    self.set_gone(job, true);
                }
            }
        }
        self.sum_up();
    }

    fn look_for_messages(&mut self, survey: &Survey<'_>) {
        let mut gone = self.gone;
        for (job, marker) in &mut self.open {
            if survey.queued.contains(job) {
                gone -= u64::from(marker.is_gone);
                (marker.was_queued, marker.missing, marker.is_gone) = (true, 0, false);
            } else if marker.stored_at_ms < survey.began_at_ms {
                marker.missing += 1;
                marker.was_queued |= survey.held.contains(job);
                let is_gone = marker.is_gone || (marker.was_queued && marker.missing >= BELIEVED_AFTER);
                gone += u64::from(is_gone && !marker.is_gone);
                marker.is_gone = is_gone;
            }
        }
        self.gone = gone;
    }

    /// The job has been seen in JOBS, or placed.
    pub fn on_seen(&mut self, job: JobId) {
        if let Some(marker) = self.open.get_mut(&job) {
            marker.was_queued = true;
        }
    }

    /// What was seen before an interruption proves nothing together with what is seen after it.
    pub fn on_interruption(&mut self) {
        self.open.values_mut().for_each(|marker| marker.missing = 0);
    }

    /// Whether another survey would tell more.
    pub fn wants_survey(&self) -> bool {
        let in_doubt = |marker: &Marker| marker.was_queued && !marker.is_gone && (1..BELIEVED_AFTER).contains(&marker.missing);
        self.unexplained() > 0 || self.open.values().any(in_doubt)
    }

    /// Takes over what only the leader knows.
    pub fn learn(&mut self, state: &LedgerState) {
        self.state.queue.extra = self.state.queue.extra.max(state.queue.extra);
        self.state.unnamed = self.state.unnamed.max(state.unnamed);
        for setback in &state.setbacks {
            self.keep(setback.clone());
        }
        self.sum_up();
    }

    fn set_gone(&mut self, job: JobId, is_gone: bool) {
        if let Some(marker) = self.open.get_mut(&job)
            && std::mem::replace(&mut marker.is_gone, is_gone) != is_gone
        {
            self.gone = if is_gone { self.gone + 1 } else { self.gone - 1 };
        }
    }

    /// The sum is known from the beginning when this ledger has counted everything and JOBS is no older than RESULTS.
    fn measure(&mut self, survey: &Survey<'_>) {
        let together = |results: Sight| results.made_at_ms <= survey.sight.made_at_ms + MADE_TOGETHER_MS;
        if self.state.is_whole && self.state.results.is_none_or(together) {
            self.state.queue.is_measured = true;
            return;
        }
        let of_open = self.open.keys().filter(|job| survey.queued.contains(job)).count() as u64;
        let known = self.state.lost + self.state.unnamed + self.gone;
        self.state.queue.measure(self.state.ended_with_message(), of_open, known);
    }

    /// Open jobs whose marker is older than `old_ms` and which have no message, with what their end should say of it. What the scheduler
    /// holds ends by itself.
    pub fn orphans(&self, now_ms: u64, old_ms: u64, held: &BTreeSet<JobId>) -> Vec<Orphan> {
        let may_be_lost = self.unexplained() > 0;
        let undone_ms = self.state.setbacks.iter().filter(|setback| setback.is_loss()).map(|Setback { at_ms, .. }| *at_ms).max();
        let due = self.open.iter().filter(|(job, marker)| {
            marker.missing >= BELIEVED_AFTER && now_ms.saturating_sub(marker.stored_at_ms) > old_ms && !held.contains(job)
        });
        let mut orphans: Vec<Orphan> = due
            .map(|(job, marker)| {
                let was_undone = undone_ms.is_some_and(|at_ms| marker.stored_at_ms <= at_ms);
                let took = match (marker.is_gone || was_undone, may_be_lost) {
                    (true, _) => Took::Vanished,
                    (false, true) => Took::Unclear,
                    (false, false) => Took::Nothing,
                };
                Orphan { job: *job, open_seq: marker.seq, stored_at_ms: marker.stored_at_ms, took }
            })
            .collect();
        // Those that had ended are older than any that a submitter has just left behind: their ends have expired since.
        orphans.sort_by_key(|orphan| orphan.open_seq);
        let returned = returned(self.state.imbalance(self.open.len() as u64), self.state.counts.duplicates);
        let returned = usize::try_from(returned).unwrap_or(usize::MAX);
        orphans.iter_mut().take(returned).for_each(|orphan| orphan.took = Took::Returned);
        orphans
    }

    /// Open jobs that are not in this list, the first `limit` of them.
    pub fn not_among(&self, queued: &BTreeSet<JobId>, limit: usize) -> Vec<JobId> {
        self.open.keys().filter(|job| !queued.contains(job)).copied().take(limit).collect()
    }

    /// Open jobs that were queued and miss their message.
    pub fn gone_jobs(&self) -> impl Iterator<Item = JobId> + '_ {
        self.open.iter().filter(|(_, marker)| marker.is_gone).map(|(job, _)| *job)
    }
}

#[cfg(test)]
#[path = "survey_tests.rs"]
mod tests;
