//! The proof that nothing was lost and nothing committed twice: RESULTS folded, message by message, into counts
//! that outlive the records. Reading the streams and storing the state is the caller's.
//!
//! Every message that RESULTS ever accepted is either the opening of a job or its end, so the number of openings is
//! the sequence reached less the ends seen. That count does not come from the submitters, so it can disagree with them.
//! Whether a job was queued does not depend on a submitter's word either: `queue` counts what left JOBS, `survey` finds out whose it was.

pub mod memory;
pub mod queue;
pub mod stores;
pub mod survey;
pub mod watch;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::job::{JobId, JobState};
use queue::QueueBook;
use stores::{Change, Setback, Sight, Stream};

/// Ids of lost jobs that are kept; all are counted.
const NAMED: usize = 1_000;

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
    /// Jobs whose end expired before it was counted: the ledger was away for longer than the records live. They have ended; how, nothing
    /// tells any more.
    pub missed: u64,
    /// By the server's clock.
    pub at_ms: u64,
    /// Jobs that were queued and whose message left JOBS before they had ended: each is a broken promise.
    #[serde(default, skip_serializing_if = "crate::unset::is_default")]
    pub vanished: u64,
}

impl LedgerSnapshot {
    /// Jobs that have ended, in any way that is known.
    pub fn ended(&self) -> u64 {
        self.committed + self.dead + self.cancelled + self.abandoned
    }

    /// Jobs that have not.
    pub fn open(&self) -> u64 {
        self.submitted.saturating_sub(self.ended() + self.missed)
    }
}

/// The message that the ledger has counted last of all ends, by which the stream is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    pub seq: u64,
    pub stored_at_ms: u64,
}

/// All that the ledger knows, as it is stored. A reader of the counts alone reads it as a [`LedgerSnapshot`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerState {
    #[serde(flatten)]
    pub counts: LedgerSnapshot,
    /// One more with each time that it is stored; 0 in what was stored before there were versions.
    #[serde(default)]
    pub version: u64,
    /// Whether every message that RESULTS ever had was counted.
    #[serde(default)]
    pub is_whole: bool,
    /// Ends that took no message out of JOBS, among those counted.
    #[serde(default)]
    pub unqueued: u64,
    /// What a setback of RESULTS has done to the equation: jobs that are open again although their end was counted, less those whose
    /// marker is gone.
    #[serde(default)]
    pub restated: i64,
    /// Messages of RESULTS that a setback took before they were counted: openings and ends of jobs of which nothing else tells.
    #[serde(default, skip_serializing_if = "crate::unset::is_default")]
    pub forgotten: u64,
    /// RESULTS as it was last seen.
    #[serde(default)]
    pub results: Option<Sight>,
    #[serde(default)]
    pub anchor: Option<Anchor>,
    #[serde(default)]
    pub queue: QueueBook,
    /// Jobs that ended as abandoned although they had been queued.
    #[serde(default)]
    pub lost: u64,
    /// The first of them.
    #[serde(default)]
    pub lost_jobs: Vec<JobId>,
    /// Messages that left JOBS for no reason, and no open job misses one.
    #[serde(default)]
    pub unnamed: u64,
    /// Abandoned jobs of which some may be lost.
    #[serde(default)]
    pub suspects: Vec<JobId>,
    #[serde(default)]
    pub setbacks: Vec<Setback>,
}

impl LedgerState {
    /// Jobs that had a message in JOBS and have ended.
    pub fn ended_with_message(&self) -> u64 {
        (self.counts.ended() + self.counts.missed).saturating_sub(self.unqueued + self.counts.duplicates)
    }

    /// When the streams were like this, by the server's clock; it may have been later. 0 if that is not known.
    fn seen_at_ms(&self) -> u64 {
        self.counts.at_ms.saturating_sub(stores::SEEN_TOGETHER_MS)
    }

    /// Whether both sides of the equation are the same, given how many jobs are open.
    pub fn imbalance(&self, open: u64) -> i64 {
        let right = self.counts.ended() + self.counts.missed + open;
        self.restated.saturating_add_unsigned(self.counts.submitted).saturating_sub_unsigned(right)
    }

    /// What happened to RESULTS, if anything, since it was folded this far.
    pub fn change_of_results(&self, now: Sight, replicas: usize) -> Option<Change> {
        let counted = self.counts.through_seq;
        let known = self.results.map(|known| Sight { last_seq: known.last_seq.max(counted), ..known });
        known.unwrap_or(Sight { last_seq: counted, ..now }).change_to(now, replicas)
    }

    /// RESULTS as it is now. When it lost what had been counted, counting goes on from what it holds, and what that does to the sums has to be
    /// restated once all of it has been read. `is_rewritten`: the message that was counted last is another one now.
    pub fn on_results(&mut self, now: Sight, replicas: usize, is_rewritten: bool, at_ms: u64) -> Option<Setback> {
        let seen = self.change_of_results(now, replicas);
        let change = seen.or(is_rewritten.then_some(Change::WentBack));
        let known = self.results.replace(now).unwrap_or(now);
        let change = change?;
        // The message at the anchor is another one now, so what is left of before ends below it.
        let left = self.anchor.filter(|_| seen.is_none()).map_or(now.last_seq, |anchor| anchor.seq.saturating_sub(1));
        let counted = self.counts.through_seq;
        let (store, from_seq, to_seq) = (Stream::Results.as_str().to_owned(), known.last_seq.max(counted), now.last_seq.min(left));
        // What a copy from before the stream was made anew holds was probably counted under other sequences.
        let is_of_before = replicas <= 1 && now.made_at_ms < known.made_at_ms;
        let kept = if change == Change::MadeAnew || is_of_before { 0 } else { to_seq };
        self.forgotten += from_seq.saturating_sub(counted.max(kept));
        self.counts.through_seq = if is_of_before { now.last_seq } else { counted.min(kept) };
        self.anchor = None;
        self.queue.is_measured = false;
        self.is_whole = false;
        Some(Setback { store, change, from_seq, to_seq, messages: known.messages, at_ms, whole_at_ms: 0 })
    }

    /// All that RESULTS holds after a setback has been counted, and so many jobs are open: what the sides still differ by, the setback did.
    /// Second ends stay a difference.
    pub fn restate(&mut self, open: u64) {
        self.restated = self.restated.saturating_sub(self.imbalance(open)).saturating_sub_unsigned(self.counts.duplicates);
    }

    /// Jobs that were opened, and whose record a setback took before they had ended; less those that it brought back.
    pub fn lost_with_store(&self) -> u64 {
        u64::try_from(-self.restated).unwrap_or(0)
    }

    /// Jobs that had ended and are open again, or ended again, because a setback took their end; less those whose record it took.
    pub fn brought_back(&self) -> u64 {
        u64::try_from(self.restated).unwrap_or(0)
    }
}

impl From<LedgerSnapshot> for LedgerState {
    fn from(counts: LedgerSnapshot) -> Self {
        Self { unqueued: counts.abandoned, counts, ..Self::default() }
    }
}

/// How many of the open jobs had ended before, by the sum. A NATS server that is killed forgets which openings were replaced once their ends
/// have expired, and brings them back.
pub fn returned(imbalance: i64, duplicates: u64) -> u64 {
    u64::try_from(-imbalance).unwrap_or(0).saturating_sub(duplicates)
}

/// What a job's end did to its message in JOBS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Took {
    /// It is acknowledged.
    #[default]
    Message,
    /// There never was one.
    Nothing,
    /// There was one, and it had vanished: the job is lost.
    Vanished,
    /// There is none, and whether there was one nothing tells.
    Unclear,
    /// The job had ended before, and its end was counted and has expired; then a NATS server that was killed brought the opening back.
    Returned,
}

impl Took {
    pub fn as_str(self) -> &'static str {
        match self {
            Took::Message => "acknowledged",
            Took::Nothing => "none",
            Took::Vanished => "vanished",
            Took::Unclear => "unclear",
            Took::Returned => "returned",
        }
    }

    /// Reads what [`Took::as_str`] wrote. An abandoned job had no message, unless its record says more.
    pub fn read(text: Option<&str>, state: JobState) -> Self {
        match text {
            Some("none") => Took::Nothing,
            Some("vanished") => Took::Vanished,
            Some("unclear") => Took::Unclear,
            Some("returned") => Took::Returned,
            _ if state == JobState::Abandoned => Took::Nothing,
            _ => Took::Message,
        }
    }
}

/// One message of RESULTS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerRecord {
    pub seq: u64,
    pub job: JobId,
    /// `Queued` for an open marker, else how the job ended.
    pub state: JobState,
    pub stored_at_ms: u64,
    pub took: Took,
}

/// An open marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marker {
    seq: u64,
    stored_at_ms: u64,
    /// Its message has been seen in JOBS.
    was_queued: bool,
    /// So many surveys in a row have not found its message.
    missing: u32,
    /// It was queued, and its message is not there any more.
    is_gone: bool,
}

/// The fold.
#[derive(Debug, Clone)]
pub struct Ledger {
    state: LedgerState,
    /// Jobs known to have ended, with the sequence: an end for any of them is a duplicate. Forgotten with the records.
    ended: BTreeMap<JobId, u64>,
    open: BTreeMap<JobId, Marker>,
    /// Ended jobs in the order of their sequence, for forgetting.
    by_seq: BTreeMap<u64, JobId>,
    /// How many open jobs miss their message.
    gone: u64,
    /// When JOBS was seen last, by the server's clock; it may have been later.
    jobs_seen_at_ms: u64,
    /// And RESULTS.
    results_seen_at_ms: u64,
    /// RESULTS lost what had been counted: what it holds now is the truth.
    restates: bool,
    /// By the server's clock: what RESULTS held until then was counted, and what it got later was not.
    counted_until_ms: u64,
    /// The copy that RESULTS went back to has nothing that was stored later than this.
    copied_until_ms: u64,
}

/// The time at which the ledger was stored is an estimate of the server's.
const CLOCK_SLACK_MS: u64 = 1_000;
/// How many ended jobs are remembered for finding a second end.
const REMEMBERED: usize = 2_000_000;

impl Ledger {
    /// Goes on from what was stored. Records up to its sequence are remembered when they come again, but not counted.
    pub fn new(state: impl Into<LedgerState>) -> Self {
        let mut state: LedgerState = state.into();
        state.is_whole |= state.version == 0 && state.counts.through_seq == 0;
        let (ended, open, by_seq) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (counted_until_ms, seen_at_ms) = (state.counts.at_ms, state.seen_at_ms());
        Self {
            state,
            ended,
            open,
            by_seq,
            gone: 0,
            jobs_seen_at_ms: seen_at_ms,
            results_seen_at_ms: seen_at_ms,
            restates: false,
            counted_until_ms,
            copied_until_ms: 0,
        }
    }

    /// To be called before the first record, see [`LedgerState::on_results`]. What it returns took what has been folded: what is left has to be
    /// told again, from the first message on.
    pub fn on_results(&mut self, now: Sight, replicas: usize, is_rewritten: bool, at_ms: u64) -> Option<Setback> {
        let whole_at_ms = std::mem::replace(&mut self.results_seen_at_ms, at_ms);
        let setback = Setback { whole_at_ms, ..self.state.on_results(now, replicas, is_rewritten, at_ms)? };
        self.keep(setback.clone());
        (self.ended, self.open, self.by_seq) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        (self.gone, self.restates) = (0, true);
        self.copied_until_ms = self.counted_until_ms.saturating_add(CLOCK_SLACK_MS);
        Some(setback)
    }

    /// RESULTS as it is now, with no more than what it was known to hold lost.
    pub fn saw_results(&mut self, now: Sight, at_ms: u64) {
        (self.state.results, self.results_seen_at_ms) = (Some(now), at_ms);
    }

    /// What happened to RESULTS, if anything, since it was folded this far.
    pub fn change_of_results(&self, now: Sight, replicas: usize) -> Option<Change> {
        self.state.change_of_results(now, replicas)
    }

    /// A store lost what it had, as this process has seen it or another one.
    pub fn keep(&mut self, setback: Setback) {
        stores::keep(&mut self.state.setbacks, setback);
    }

    /// A message of JOBS is about to be removed that no job's end accounts for.
    pub fn on_extra(&mut self, seq: u64) {
        self.state.queue.on_extra(seq);
    }

    /// Takes the records in the order of their sequences.
    pub fn fold(&mut self, record: LedgerRecord) {
        // RESULTS had grown again before it was looked at: here its copy ends.
        if self.restates && record.seq <= self.state.counts.through_seq && record.stored_at_ms > self.copied_until_ms {
            self.state.counts.through_seq = record.seq - 1;
        }
        self.counted_until_ms = self.counted_until_ms.max(record.stored_at_ms);
        let is_new = record.seq > self.state.counts.through_seq;
        // Sequences that are passed over were openings whose end came before we looked, or ends that expired.
        self.pass_over(record.seq.saturating_sub(1));
        if is_new {
            self.state.counts.through_seq = record.seq;
        }
        if !record.state.is_terminal() {
            let marker = Marker { seq: record.seq, stored_at_ms: record.stored_at_ms, was_queued: false, missing: 0, is_gone: false };
            if self.open.insert(record.job, marker).is_some_and(|marker| marker.is_gone) {
                self.gone -= 1;
            }
            self.state.counts.submitted += u64::from(is_new);
            return;
        }
        if self.open.remove(&record.job).is_some_and(|marker| marker.is_gone) {
            self.gone -= 1;
        }
        // It closes what was counted long ago, and is neither an opening nor an end.
        if record.took == Took::Returned {
            return self.sum_up();
        }
        let ended_before = self.ended.insert(record.job, record.seq);
        if ended_before != Some(record.seq) {
            self.by_seq.insert(record.seq, record.job);
        }
        if is_new {
            self.count(record, ended_before.is_some());
        }
        self.sum_up();
        if self.by_seq.len() > REMEMBERED
            && let Some((_, oldest)) = self.by_seq.pop_first()
        {
            self.ended.remove(&oldest);
        }
    }

    fn count(&mut self, record: LedgerRecord, is_second: bool) {
        let state = &mut self.state;
        let counts = &mut state.counts;
        counts.duplicates += u64::from(is_second);
        match record.state {
            JobState::Committed => counts.committed += 1,
            JobState::Dead => counts.dead += 1,
            JobState::Cancelled => counts.cancelled += 1,
            JobState::Abandoned => counts.abandoned += 1,
            JobState::Queued | JobState::Running => {}
        }
        state.anchor = Some(Anchor { seq: record.seq, stored_at_ms: record.stored_at_ms });
        // A second end takes no message either, and is in `duplicates` already.
        state.unqueued += u64::from(record.took != Took::Message && !is_second);
        match record.took {
            Took::Message | Took::Nothing | Took::Returned => {}
            Took::Vanished => {
                state.lost += 1;
                name(&mut state.lost_jobs, record.job);
            }
            Took::Unclear => {
                name(&mut state.suspects, record.job);
                // Some of those that end like this were lost: as many as the sum misses.
                let misses_one = self.unexplained() > 0;
                self.state.unnamed += u64::from(misses_one);
            }
        }
    }

    /// Everything that RESULTS still holds up to this sequence has been folded: what is missing was replaced, or has expired.
    pub fn pass_over(&mut self, seq: u64) {
        let counts = &mut self.state.counts;
        counts.submitted += seq.saturating_sub(counts.through_seq);
        counts.through_seq = counts.through_seq.max(seq);
    }

    /// To be called once the fold has caught up with the stream. When the ledger was away for longer than records live, ends have expired
    /// unread. They were taken for openings, as were their openings: two for each. They become `missed`.
    pub fn on_caught_up(&mut self, may_have_missed: bool) {
        let open = self.open.len() as u64;
        if std::mem::take(&mut self.restates) {
            self.state.restate(open);
        } else if may_have_missed && let Ok(uncounted) = u64::try_from(self.state.imbalance(open) / 2) {
            self.state.counts.missed += uncounted;
            self.state.counts.submitted -= uncounted;
            self.state.is_whole &= uncounted == 0;
        }
    }

    fn sum_up(&mut self) {
        self.state.counts.vanished = self.state.lost + self.state.unnamed + self.gone;
    }

    pub fn is_open(&self, job: JobId) -> bool {
        self.open.contains_key(&job)
    }

    /// Open jobs with the sequence of their marker, oldest id first.
    pub fn open_jobs(&self) -> impl Iterator<Item = (JobId, u64)> + '_ {
        self.open.iter().map(|(job, marker)| (*job, marker.seq))
    }

    /// The counts so far, dated.
    pub fn snapshot(&self, now_ms: u64) -> LedgerSnapshot {
        LedgerSnapshot { at_ms: now_ms, ..self.state.counts.clone() }
    }

    /// What is to be stored.
    pub fn to_store(&self, now_ms: u64) -> LedgerState {
        LedgerState { counts: self.snapshot(now_ms), version: self.state.version + 1, ..self.state.clone() }
    }

    /// This has been stored.
    pub fn on_stored(&mut self, state: &LedgerState) {
        self.state.version = state.version;
    }

    pub fn counts(&self) -> &LedgerSnapshot {
        &self.state.counts
    }

    pub fn state(&self) -> &LedgerState {
        &self.state
    }
}

fn name(jobs: &mut Vec<JobId>, job: JobId) {
    if jobs.len() < NAMED && !jobs.contains(&job) {
        jobs.push(job);
    }
}

#[cfg(test)]
mod tests;
