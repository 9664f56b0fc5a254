//! The proof as it goes on: records, placements and looks at the queue folded, one by one, into what has been found wrong.
//! It keeps each job's standing, so that it can tell a second end, an end that changed, a marker that vanished, a job that
//! is open and in no queue, and a placement after the end. Reading the streams is the caller's; time is told, never read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;

use serde::Serialize;

use super::stores::{Setback, Sight, losses};
use super::survey::Survey;
use super::{Anchor, Ledger, LedgerRecord, LedgerState, Took};
use crate::job::{JobId, JobState};
use crate::words::span;

/// A placement may follow the end within this time: the leader had not heard of it, or the server had forgotten the
/// acknowledgement when it was killed, and delivered once more.
const PLACED_LATE_MS: u64 = 60_000;
/// Markers that are younger are not read again: their end is on its way more often than not.
const REREAD_AFTER_MS: u64 = 5_000;
/// How many ended jobs are remembered.
const REMEMBERED: usize = 1_000_000;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    EndedTwice {
        job: JobId,
        state: JobState,
        first_seq: u64,
        second_seq: u64,
    },
    EndChanged {
        job: JobId,
        from: JobState,
        to: JobState,
        first_seq: u64,
        second_seq: u64,
    },
    /// An open marker after the end, or a second one.
    OpenedAgain {
        job: JobId,
        seq: u64,
    },
    MarkerVanished {
        job: JobId,
        seq: u64,
    },
    /// It was queued, its message left JOBS, and no end came.
    Lost {
        job: JobId,
    },
    /// It was abandoned; of those that were, some had been queued.
    MaybeLost {
        job: JobId,
    },
    /// Messages left JOBS, and no open job misses one.
    Vanished {
        messages: u64,
    },
    /// A store lost what had been counted.
    StoreWentBack {
        what: String,
    },
    PlacedAfterEnd {
        job: JobId,
        state: JobState,
        after_ms: u64,
    },
    NoRecord {
        seq: u64,
        what: String,
    },
    InvariantBroken {
        what: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::EndedTwice { job, state, first_seq, second_seq } => {
                write!(f, "{job} ended twice: {} at {first_seq} and again at {second_seq}", state.words())
            }
            Finding::EndChanged { job, from, to, first_seq, second_seq } => {
                write!(f, "the end of {job} changed: {} at {first_seq}, {} at {second_seq}", from.words(), to.words())
            }
            Finding::OpenedAgain { job, seq } => write!(f, "{job} was opened again at {seq}"),
            Finding::MarkerVanished { job, seq } => write!(f, "the open marker of {job}, at {seq}, vanished without an end"),
            Finding::Lost { job } => write!(f, "{job} is lost: it was queued, and its message left JOBS before it had ended"),
            Finding::MaybeLost { job } => {
                write!(f, "{job} was abandoned and may be lost: jobs that had been queued are among the abandoned ones")
            }
            Finding::Vanished { messages: 1 } => write!(f, "1 message left JOBS before its job had ended: whose it was is not known"),
            Finding::Vanished { messages } => {
                write!(f, "{messages} messages left JOBS before their jobs had ended: whose they were is not known")
            }
            Finding::StoreWentBack { what } => f.write_str(what),
            Finding::PlacedAfterEnd { job, state, after_ms } => {
                write!(f, "{job} was placed {} after it was {}", span(*after_ms), state.words())
            }
            Finding::NoRecord { seq, what } => write!(f, "unreadable message {seq} in RESULTS: {what}"),
            Finding::InvariantBroken { what } => write!(f, "an invariant was broken: {what}"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Standing {
    Open { seq: u64, since_ms: u64, vanished_once: bool },
    Ended { seq: u64, at_ms: u64, state: JobState },
}

/// The running totals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub submitted: u64,
    pub open: u64,
    pub committed: u64,
    pub dead: u64,
    pub cancelled: u64,
    pub abandoned: u64,
    pub missed: u64,
    pub duplicates: u64,
    pub lost: u64,
    /// Of those, the ones that have ended; `abandoned` has them too.
    #[serde(skip)]
    pub ended_lost: u64,
    /// As the audit has them: what a setback did to the sums.
    #[serde(skip_serializing_if = "crate::unset::is_default")]
    pub lost_with_store: u64,
    #[serde(skip_serializing_if = "crate::unset::is_default")]
    pub brought_back: u64,
    #[serde(skip_serializing_if = "crate::unset::is_default")]
    pub forgotten: u64,
    pub violations: u64,
    /// Everything found so far, those of the three before among them.
    pub findings: u64,
    pub oldest_open_ms: u64,
}

/// The fold.
#[derive(Debug, Clone)]
pub struct Watch {
    ledger: Ledger,
    jobs: BTreeMap<JobId, Standing>,
    /// Ended jobs by the sequence of their end, for forgetting.
    ended_by_seq: BTreeMap<u64, JobId>,
    findings: BTreeSet<Finding>,
    /// Those that have not been told yet.
    news: Vec<Finding>,
    /// Reading was interrupted until then: what happened meanwhile is judged from then on.
    calm_from_ms: u64,
    reread_after: Option<JobId>,
}

impl Watch {
    /// Goes on from what the ledger has stored; RESULTS is then told from its first message on.
    pub fn new(state: impl Into<LedgerState>, now_ms: u64) -> Self {
        let state = state.into();
        let mut watch = Self {
            ledger: Ledger::new(state.clone()),
            jobs: BTreeMap::new(),
            ended_by_seq: BTreeMap::new(),
            findings: BTreeSet::new(),
            news: Vec::new(),
            calm_from_ms: now_ms,
            reread_after: None,
        };
        watch.on_ledger(&state);
        watch
    }

    /// What the leader has stored meanwhile.
    pub fn on_ledger(&mut self, state: &LedgerState) {
        self.ledger.learn(state);
        for job in &state.lost_jobs {
            self.find(Finding::Lost { job: *job });
        }
        for job in &state.suspects {
            self.find(Finding::MaybeLost { job: *job });
        }
        self.tell_setbacks();
    }

    /// RESULTS as it is now: before its first message is told, and whenever it may have lost what was told. What it returns did: RESULTS is then
    /// told again, from its first message on.
    pub fn on_results(&mut self, now: Sight, replicas: usize, is_rewritten: bool, at_ms: u64) -> Option<Setback> {
        let setback = self.ledger.on_results(now, replicas, is_rewritten, at_ms)?;
        (self.jobs, self.ended_by_seq, self.reread_after) = (BTreeMap::new(), BTreeMap::new(), None);
        self.tell_setbacks();
        Some(setback)
    }

    /// RESULTS as it is now. True when it is what was told; otherwise its reader has yet to notice.
    pub fn still_reads(&mut self, now: Sight, replicas: usize, at_ms: u64) -> bool {
        let is_same = self.ledger.change_of_results(now, replicas).is_none();
        if is_same {
            self.ledger.saw_results(now, at_ms);
        }
        is_same
    }

    /// All of RESULTS has been told.
    pub fn on_caught_up(&mut self) {
        self.ledger.on_caught_up(false);
    }

    /// By which RESULTS is recognised.
    pub fn anchor(&self) -> Option<Anchor> {
        self.ledger.state().anchor
    }

    fn tell_setbacks(&mut self) {
        for what in losses(&self.ledger.state().setbacks) {
            self.find(Finding::StoreWentBack { what });
        }
    }

    fn find(&mut self, finding: Finding) {
        if self.findings.insert(finding.clone()) {
            self.news.push(finding);
        }
    }

    /// A message of RESULTS, in the order of the sequences; one that comes again is ignored.
    pub fn on_record(&mut self, record: LedgerRecord, stored_at_ms: u64) {
        let LedgerRecord { seq, job, state, took, .. } = record;
        let before = self.jobs.get(&job).copied();
        if matches!(before, Some(Standing::Open { seq: known, .. } | Standing::Ended { seq: known, .. }) if known >= seq) {
            return;
        }
        self.ledger.fold(record);
        if took == Took::Returned {
            if let Some(Standing::Open { .. }) = before {
                self.jobs.remove(&job);
            }
            return;
        }
        if !state.is_terminal() {
            if before.is_some() {
                self.find(Finding::OpenedAgain { job, seq });
            }
            let standing = Standing::Open { seq, since_ms: stored_at_ms, vanished_once: false };
            self.jobs.insert(job, standing);
            return;
        }
        if let Some(Standing::Ended { seq: first_seq, state: from, .. }) = before {
            self.find(if from == state {
                Finding::EndedTwice { job, state, first_seq, second_seq: seq }
            } else {
                Finding::EndChanged { job, from, to: state, first_seq, second_seq: seq }
            });
        }
        match took {
            Took::Vanished => self.find(Finding::Lost { job }),
            Took::Unclear => self.find(Finding::MaybeLost { job }),
            // It ran although its message was gone.
            Took::Message => drop(self.findings.remove(&Finding::Lost { job })),
            Took::Nothing | Took::Returned => {}
        }
        self.jobs.insert(job, Standing::Ended { seq, at_ms: stored_at_ms, state });
        self.ended_by_seq.insert(seq, job);
        if self.ended_by_seq.len() > REMEMBERED
            && let Some((oldest_seq, oldest)) = self.ended_by_seq.pop_first()
            && matches!(self.jobs.get(&oldest), Some(Standing::Ended { seq, .. }) if *seq == oldest_seq)
        {
            self.jobs.remove(&oldest);
        }
    }

    /// A message of RESULTS that says nothing.
    pub fn on_no_record(&mut self, seq: u64, what: &str) {
        self.find(Finding::NoRecord { seq, what: what.to_owned() });
    }

    /// The scheduler reports a broken invariant.
    pub fn on_violation(&mut self, what: &str) {
        self.find(Finding::InvariantBroken { what: what.to_owned() });
    }

    /// The history says that a job was placed.
    pub fn on_placed(&mut self, job: JobId, placed_at_ms: u64) {
        match self.jobs.get_mut(&job) {
            Some(Standing::Open { .. }) => self.ledger.on_seen(job),
            Some(Standing::Ended { at_ms, state, .. }) => {
                let (since_ms, state) = ((*at_ms).max(self.calm_from_ms), *state);
                if placed_at_ms.saturating_sub(since_ms) > PLACED_LATE_MS {
                    let after_ms = placed_at_ms.saturating_sub(*at_ms);
                    self.find(Finding::PlacedAfterEnd { job, state, after_ms });
                }
            }
            None => {}
        }
    }

    /// What JOBS held. All records that RESULTS had afterwards have been told.
    pub fn on_survey(&mut self, survey: &Survey<'_>) {
        self.ledger.on_survey(survey);
        // Lists that missed it twice were wrong.
        self.findings.retain(|finding| !matches!(finding, Finding::Lost { job } if survey.queued.contains(job)));
        let gone: Vec<JobId> = self.ledger.gone_jobs().collect();
        for job in gone {
            self.find(Finding::Lost { job });
        }
        let messages = self.ledger.state().unnamed;
        if messages > 0 {
            self.findings.retain(|finding| !matches!(finding, Finding::Vanished { .. }));
            self.find(Finding::Vanished { messages });
        }
        self.tell_setbacks();
    }

    /// Whether something is missing, and another survey would tell more.
    pub fn wants_survey(&self) -> bool {
        self.ledger.wants_survey()
    }

    /// Open jobs whose record should be read again, the next `limit` in turn.
    pub fn to_reread(&mut self, limit: usize, now_ms: u64) -> Vec<JobId> {
        let start = self.reread_after.map_or(Bound::Unbounded, Bound::Excluded);
        let due = |standing: &Standing| matches!(standing, Standing::Open { since_ms, .. } if now_ms.saturating_sub(*since_ms) >= REREAD_AFTER_MS);
        let jobs: Vec<JobId> =
            self.jobs.range((start, Bound::Unbounded)).filter(|(_, standing)| due(standing)).map(|(job, _)| *job).take(limit).collect();
        self.reread_after = if jobs.len() < limit { None } else { jobs.last().copied() };
        jobs
    }

    /// The record of an open job was read again: whether there was one. One look may be mistaken, two are believed.
    pub fn on_reread(&mut self, job: JobId, is_there: bool) {
        let Some(Standing::Open { seq, vanished_once, .. }) = self.jobs.get_mut(&job) else { return };
        let (seq, before) = (*seq, std::mem::replace(vanished_once, !is_there));
        if before && !is_there {
            self.find(Finding::MarkerVanished { job, seq });
        }
    }

    /// Reading goes on after an interruption: all waiting jobs for a time limit waits anew.
    pub fn on_interruption(&mut self, now_ms: u64) {
        self.calm_from_ms = now_ms;
        self.ledger.on_interruption();
        for standing in self.jobs.values_mut() {
            if let Standing::Open { vanished_once, .. } = standing {
                *vanished_once = false;
            }
        }
    }

    /// The sequence that has been reached.
    pub fn through_seq(&self) -> u64 {
        self.ledger.counts().through_seq
    }

    /// What was found since the last call.
    pub fn take_news(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.news)
    }

    /// Everything found, but for jobs whose message vanished and that ended well all the same.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter()
    }

    pub fn totals(&self, now_ms: u64) -> Totals {
        let counts = self.ledger.counts();
        let of = |wanted: fn(&Finding) -> bool| self.findings.iter().filter(|finding| wanted(finding)).count() as u64;
        let mut open = 0;
        let mut oldest_ms = now_ms;
        for standing in self.jobs.values() {
            if let Standing::Open { since_ms, .. } = standing {
                open += 1;
                oldest_ms = oldest_ms.min(*since_ms);
            }
        }
        let here = of(|finding| matches!(finding, Finding::EndedTwice { .. } | Finding::EndChanged { .. }));
        Totals {
            submitted: counts.submitted,
            open,
            committed: counts.committed,
            dead: counts.dead,
            cancelled: counts.cancelled,
            abandoned: counts.abandoned,
            missed: counts.missed,
            duplicates: counts.duplicates.max(here),
            lost: counts.vanished.max(of(|finding| matches!(finding, Finding::Lost { .. }))),
            ended_lost: self.ledger.state().lost.min(counts.abandoned),
            lost_with_store: self.ledger.state().lost_with_store(),
            brought_back: self.ledger.state().brought_back(),
            forgotten: self.ledger.state().forgotten,
            violations: of(|finding| matches!(finding, Finding::InvariantBroken { .. })),
            findings: self.findings.len() as u64,
            oldest_open_ms: now_ms - oldest_ms,
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
