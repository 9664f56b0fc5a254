//! The proof that nothing was lost and nothing committed twice: RESULTS folded, message by message, into counts
//! that outlive the records. Reading the stream and storing the snapshot is the caller's.
//!
//! Every message that RESULTS ever accepted is either the opening of a job or its end, so the number of openings is
//! the sequence reached less the ends seen. That count does not come from the submitters, so it can disagree with them.

pub mod watch;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::job::{JobId, JobState};

/// RESULTS folded up to `through_seq`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerSnapshot {
    pub through_seq: u64,
    pub submitted: u64,
    pub committed: u64,
    pub dead: u64,
    pub cancelled: u64,
    pub abandoned: u64,
    /// Ends of a job that had already ended: each is a broken promise.
    pub duplicates: u64,
    /// Ends that expired before they were counted: the ledger was away for longer than the records live.
    pub missed: u64,
    pub at_ms: u64,
}

impl LedgerSnapshot {
    /// Jobs that have ended, in any way.
    pub fn ended(&self) -> u64 {
        self.committed + self.dead + self.cancelled + self.abandoned
    }

    /// Jobs that have not.
    pub fn open(&self) -> u64 {
        self.submitted.saturating_sub(self.ended() + self.missed)
    }
}

/// One message of RESULTS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerRecord {
    pub seq: u64,
    pub job: JobId,
    /// `Queued` for an open marker, else how the job ended.
    pub state: JobState,
}

/// The fold.
#[derive(Debug, Clone)]
pub struct Ledger {
    counts: LedgerSnapshot,
    /// Jobs known to have ended, with the sequence: an end for any of them is a duplicate. Forgotten with the records.
    ended: BTreeMap<JobId, u64>,
    /// Open jobs by id, with the sequence of the marker.
    open: BTreeMap<JobId, u64>,
    /// Ended jobs in the order of their sequence, for forgetting.
    by_seq: BTreeMap<u64, JobId>,
}

/// How many ended jobs are remembered for finding a second end.
const REMEMBERED: usize = 2_000_000;

impl Ledger {
    /// Goes on from a snapshot. Records up to its sequence are remembered when they come again, but not counted.
    pub fn new(snapshot: LedgerSnapshot) -> Self {
        Self { counts: snapshot, ended: BTreeMap::new(), open: BTreeMap::new(), by_seq: BTreeMap::new() }
    }

    /// Takes the records in the order of their sequences.
    pub fn fold(&mut self, record: LedgerRecord) {
        let is_new = record.seq > self.counts.through_seq;
        if is_new {
            // Sequences that are passed over were openings whose end came before we looked, or ends that expired.
            self.counts.submitted += record.seq - self.counts.through_seq - 1;
            self.counts.through_seq = record.seq;
        }
        if !record.state.is_terminal() {
            self.open.insert(record.job, record.seq);
            self.counts.submitted += u64::from(is_new);
            return;
        }
        self.open.remove(&record.job);
        let ended_before = self.ended.insert(record.job, record.seq);
        if ended_before != Some(record.seq) {
            self.by_seq.insert(record.seq, record.job);
        }
        if !is_new {
            return;
        }
        self.counts.duplicates += u64::from(ended_before.is_some());
        match record.state {
            JobState::Committed => self.counts.committed += 1,
            JobState::Dead => self.counts.dead += 1,
            JobState::Cancelled => self.counts.cancelled += 1,
            JobState::Abandoned => self.counts.abandoned += 1,
            JobState::Queued | JobState::Running => {}
        }
        if self.by_seq.len() > REMEMBERED
            && let Some((_, oldest)) = self.by_seq.pop_first()
        {
            self.ended.remove(&oldest);
        }
    }

    /// To be called once the fold has caught up with the stream after it was away for longer than records live. Ends
    /// that expired unread were taken for openings, as were their openings: two for each. They become `missed`.
    pub fn settle_absence(&mut self) {
        let accounted = self.counts.ended() + self.counts.missed + self.open.len() as u64;
        let missed = self.counts.submitted.saturating_sub(accounted) / 2;
        self.counts.missed += missed;
        self.counts.submitted -= missed;
    }

    /// Open jobs with the sequence of their marker, oldest id first.
    pub fn open_jobs(&self) -> impl Iterator<Item = (JobId, u64)> + '_ {
        self.open.iter().map(|(job, seq)| (*job, *seq))
    }

    pub fn is_open(&self, job: JobId) -> bool {
        self.open.contains_key(&job)
    }

    /// The counts so far, dated.
    pub fn snapshot(&self, now_ms: u64) -> LedgerSnapshot {
        LedgerSnapshot { at_ms: now_ms, ..self.counts.clone() }
    }

    pub fn counts(&self) -> &LedgerSnapshot {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(seq: u64, job: u128, state: JobState) -> LedgerRecord {
        LedgerRecord { seq, job: JobId::new(0, job), state }
    }

    #[test]
    fn counts_openings_and_ends() {
        let mut ledger = Ledger::new(LedgerSnapshot::default());
        ledger.fold(record(1, 1, JobState::Queued));
        ledger.fold(record(2, 2, JobState::Queued));
        ledger.fold(record(3, 1, JobState::Committed));
        let counts = ledger.counts();
        assert_eq!((counts.submitted, counts.committed, counts.open(), counts.duplicates), (2, 1, 1, 0));
        assert!(ledger.is_open(JobId::new(0, 2)) && !ledger.is_open(JobId::new(0, 1)));
    }

    #[test]
    fn an_opening_that_was_overwritten_before_we_looked_is_still_counted() {
        let mut ledger = Ledger::new(LedgerSnapshot::default());
        ledger.fold(record(4, 1, JobState::Committed));
        ledger.fold(record(5, 2, JobState::Dead));
        ledger.fold(record(6, 3, JobState::Cancelled));
        let counts = ledger.counts();
        assert_eq!((counts.submitted, counts.ended(), counts.open()), (3, 3, 0));
    }

    #[test]
    fn a_second_end_is_a_duplicate_also_after_a_restart() {
        let mut ledger = Ledger::new(LedgerSnapshot::default());
        ledger.fold(record(1, 1, JobState::Queued));
        ledger.fold(record(2, 1, JobState::Committed));
        let mut restarted = Ledger::new(ledger.snapshot(9));
        restarted.fold(record(2, 1, JobState::Committed));
        assert_eq!(restarted.counts().committed, 1);
        restarted.fold(record(3, 1, JobState::Committed));
        assert_eq!(restarted.counts().duplicates, 1);
    }

    #[test]
    fn ends_that_expired_unread_are_missed_not_forgotten() {
        let mut ledger = Ledger::new(LedgerSnapshot::default());
        // Jobs 1 to 3 took the sequences 1 to 6 and expired; 7 and 8 are there.
        ledger.fold(record(7, 4, JobState::Queued));
        ledger.fold(record(8, 5, JobState::Queued));
        ledger.settle_absence();
        let counts = ledger.counts();
        assert_eq!((counts.submitted, counts.missed, counts.open()), (5, 3, 2));
        ledger.settle_absence();
        assert_eq!(ledger.counts().missed, 3);
    }

    proptest! {
        /// However far behind the fold is when it looks (it then sees only the last message of a subject), the equation holds.
        #[test]
        fn the_equation_holds_whatever_was_overwritten(ends in proptest::collection::vec((0_usize..40, any::<bool>()), 0..40), lag in 0_usize..60) {
            let mut stream: Vec<LedgerRecord> = (0..40).map(|n| record(n as u64 + 1, n as u128, JobState::Queued)).collect();
            let mut gone = std::collections::BTreeSet::new();
            for (job, committed) in ends {
                if gone.insert(job) {
                    let state = if committed { JobState::Committed } else { JobState::Dead };
                    stream.push(record(stream.len() as u64 + 1, job as u128, state));
                }
            }
            let looked = stream.len().min(lag);
            let mut ledger = Ledger::new(LedgerSnapshot::default());
            for entry in &stream[..looked] {
                ledger.fold(*entry);
            }
            let rest: Vec<_> = stream[looked..].iter().enumerate().filter(|(index, entry)| !stream[looked + index + 1..].iter().any(|later| later.job == entry.job)).map(|(_, entry)| *entry).collect();
            for entry in rest {
                ledger.fold(entry);
            }
            let counts = ledger.counts();
            prop_assert_eq!(counts.submitted, 40);
            prop_assert_eq!(counts.ended(), gone.len() as u64);
            prop_assert_eq!(counts.open(), ledger.open_jobs().count() as u64);
            prop_assert_eq!(counts.duplicates, 0);
        }
    }
}
