//! The equation: every message that JOBS ever stored is still there, or all of its tasks have ended. A hole is a lost pack, whatever any other
//! component says.
//!
//! The order of reading makes it safe to ask a running cluster: JOBS first, then the log to its end, then the last sequence of JOBS once more. A
//! pack that is gone from JOBS has ended before, so its ends are in what is read afterwards; and no end may be of a message that comes after
//! the second look.

use std::collections::{BTreeMap, BTreeSet};

use super::changes::Counts;
use super::entry::WentBack;
use super::fold::Fold;
use super::id::Gen;
use super::seq_set::SeqSet;
use super::snapshot::Seen;

/// JOBS as its leader showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobsSight {
    /// The generation that it gives to what it stores now.
    pub r#gen: Gen,
    pub first_seq: u64,
    pub last_seq: u64,
    /// The sequences between these two that it has no more.
    pub deleted: BTreeSet<u64>,
    /// Its last sequence after the log was read.
    pub last_seq_after: u64,
}

/// Two countings of the log up to the same position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ledgers {
    /// By the leader, as its snapshot has it.
    pub leaders: Counts,
    pub own: Counts,
}

/// What an audit has read.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    pub jobs: &'a JobsSight,
    /// The log, folded to where it ended after JOBS was looked at.
    pub fold: &'a Fold,
    /// From the leader's snapshot.
    pub seen: &'a BTreeMap<Gen, Seen>,
    /// None where the log was trimmed, so that no other reader can count from the beginning.
    pub ledgers: Option<Ledgers>,
}

/// Messages that are gone from JOBS without an end: each is a lost pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hole {
    pub r#gen: Gen,
    pub first_seq: u64,
    pub last_seq: u64,
}

/// JOBS had more than it has: the messages in between are lost, or their sequences come a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Regression {
    pub r#gen: Gen,
    /// The highest sequence that the leader has seen or the log has ended.
    pub known_seq: u64,
    pub last_seq: u64,
}

/// The leader counted otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountDifference {
    pub name: &'static str,
    pub leaders: u64,
    pub own: u64,
}

/// What an audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub holes: Vec<Hole>,
    /// Setbacks of JOBS that the leader wrote into the log.
    pub went_back: Vec<WentBack>,
    /// Setbacks that the log does not tell of yet.
    pub regressions: Vec<Regression>,
    pub differences: Vec<CountDifference>,
    pub counts: Counts,
}

impl Report {
    /// Packs that are lost.
    pub fn lost(&self) -> u64 {
        self.holes.iter().map(|hole| hole.last_seq - hole.first_seq + 1).sum()
    }

    /// Whether every promise was kept, as far as the streams tell.
    pub fn is_clean(&self) -> bool {
        let Counts { double, conflict, .. } = self.counts;
        self.holes.is_empty()
            && self.went_back.is_empty()
            && self.regressions.is_empty()
            && self.differences.is_empty()
            && double + conflict == 0
    }
}

/// Compares JOBS with the log.
pub fn audit(evidence: Evidence<'_>) -> Report {
    let Evidence { jobs, fold, seen, ledgers } = evidence;
    let mut report = Report { went_back: fold.setbacks().copied().collect(), counts: *fold.counts(), ..Report::default() };
    let gens: BTreeSet<Gen> = fold.gens.keys().chain(seen.keys()).copied().chain([jobs.r#gen]).collect();
    for r#gen in gens {
        let highest_ended = fold.gens.get(&r#gen).map_or(0, |generation| generation.top.seq);
        let known_seq = highest_ended.max(seen.get(&r#gen).map_or(0, |seen| seen.last_seq));
        let is_current = r#gen == jobs.r#gen;
        let is_written = fold.setbacks().any(|setback| setback.r#gen == r#gen && setback.from_seq >= known_seq);
        if is_current && known_seq > jobs.last_seq_after && !is_written {
            report.regressions.push(Regression { r#gen, known_seq, last_seq: jobs.last_seq_after });
        }
        // Of a former generation nothing is left in JOBS.
        let last_seq = if is_current { jobs.last_seq } else { known_seq };
        let gaps = match fold.gens.get(&r#gen) {
            Some(generation) => generation.closed.gaps(last_seq),
            None => SeqSet::default().gaps(last_seq),
        };
        for (first_seq, last_seq) in gaps {
            find_holes(&mut report.holes, Hole { r#gen, first_seq, last_seq }, is_current.then_some(jobs));
        }
    }
    if let Some(Ledgers { leaders, own }) = ledgers {
        let pairs = leaders.named().into_iter().zip(own.named()).filter(|(leaders, own)| leaders != own);
        report.differences = pairs.map(|((name, leaders), (_, own))| CountDifference { name, leaders, own }).collect();
    }
    report
}

/// What JOBS does not have of a stretch that has not ended.
fn find_holes(holes: &mut Vec<Hole>, unended: Hole, jobs: Option<&JobsSight>) {
    let Some(jobs) = jobs else { return holes.push(unended) };
    if unended.first_seq < jobs.first_seq {
        holes.push(Hole { last_seq: unended.last_seq.min(jobs.first_seq - 1), ..unended });
    }
    let present_from = unended.first_seq.max(jobs.first_seq);
    if present_from > unended.last_seq {
        return;
    }
    let mut run: Option<Hole> = None;
    for &seq in jobs.deleted.range(present_from..=unended.last_seq) {
        match &mut run {
            Some(hole) if hole.last_seq + 1 == seq => hole.last_seq = seq,
            _ => holes.extend(run.replace(Hole { first_seq: seq, last_seq: seq, ..unended })),
        }
    }
    holes.extend(run);
}
