//! Stores that go back while some scheduler knew better, in every order in which schedulers may lead and look.

use super::super::{LedgerRecord, LedgerSnapshot, Took};
use super::*;
use crate::job::{JobId, JobState};

fn sight(made_at_ms: u64, last_seq: u64) -> Sight {
    Sight { made_at_ms, last_seq, messages: last_seq / 2 }
}

fn glance(last_seq: u64, steady_ms: u64) -> Glance {
    Glance { sight: sight(5, last_seq), replicas: 1, at_ms: 1_000_000 + steady_ms, steady_ms }
}

/// A stored ledger that has counted this far.
fn stored(version: u64, jobs_seq: u64, results_seq: u64) -> LedgerState {
    let jobs = results_seq / 2;
    let counts = LedgerSnapshot { through_seq: results_seq, submitted: jobs, committed: jobs, ..LedgerSnapshot::default() };
    let anchor = Some(Anchor { seq: results_seq, stored_at_ms: 7 });
    let mut state = LedgerState { counts, version, results: Some(sight(5, results_seq)), anchor, ..LedgerState::default() };
    state.queue.sight = Some(sight(5, jobs_seq));
    state
}

/// A process that has looked at 20 jobs more than the older copy holds: JOBS at 40, RESULTS at 80.
fn witness() -> Memory {
    let mut memory = Memory::default();
    memory.saw(Stream::Jobs, glance(40, 0));
    memory.saw(Stream::Results, glance(80, 0));
    memory
}

/// It looks at the older copy.
fn look_back(memory: &mut Memory, steady_ms: u64) {
    memory.saw(Stream::Jobs, glance(20, steady_ms));
    memory.saw(Stream::Results, glance(40, steady_ms));
}

fn setbacks(ledger: &Ledger) -> Vec<(&str, u64, u64)> {
    ledger.state().setbacks.iter().map(|setback| (setback.store.as_str(), setback.from_seq, setback.to_seq)).collect()
}

/// As a leader does at the beginning of a run, with the streams as they are by then.
fn begin(base: LedgerState, memory: &Memory, (jobs, results): (u64, u64)) -> Ledger {
    let mut ledger = Ledger::new(base);
    memory.falls().iter().for_each(|fall| ledger.on_fall(fall));
    ledger.on_results(sight(5, results), 1, false, 9);
    memory.falls().iter().for_each(|fall| ledger.keep(fall.setback()));
    ledger.on_jobs(sight(5, jobs), 1, 9);
    ledger
}

const WENT_BACK: [(&str, u64, u64); 2] = [("JOBS", 40, 20), ("RESULTS", 80, 40)];

#[test]
fn what_was_seen_and_never_counted_is_noticed_although_the_stored_ledger_agrees_with_the_older_copy() {
    let mut memory = witness();
    memory.saw_ledger(&stored(3, 20, 40));
    look_back(&mut memory, 1_000);
    // The older copy holds the same number 3.
    memory.saw_ledger(&stored(3, 20, 40));
    let mut ledger = begin(stored(3, 20, 40), &memory, (20, 40));
    assert_eq!(setbacks(&ledger), WENT_BACK);
    ledger.on_caught_up(false);
    assert_eq!(
        (ledger.counts().committed, ledger.state().restated, ledger.state().imbalance(0)),
        (20, 0, 0),
        "nothing was counted that is gone"
    );
    memory.adopt(&ledger.to_store(10));
    assert!(memory.falls().is_empty(), "now the ledger tells");
}

#[test]
fn a_leader_that_leads_when_the_streams_have_outgrown_what_they_were_goes_on_from_where_they_went_back_to() {
    let mut memory = witness();
    memory.saw_ledger(&stored(4, 40, 80));
    look_back(&mut memory, 1_000);
    memory.saw(Stream::Jobs, glance(70, 2_000));
    memory.saw(Stream::Results, glance(140, 2_000));
    let mut ledger = begin(stored(4, 40, 80), &memory, (70, 140));
    assert_eq!(setbacks(&ledger), WENT_BACK);
    for seq in 41..=140 {
        let (job, state) = if seq <= 90 { (seq, JobState::Queued) } else { (seq - 50, JobState::Committed) };
        ledger.fold(LedgerRecord { seq, job: JobId::new(1, u128::from(job)), state, stored_at_ms: seq, took: Took::Message });
    }
    ledger.on_caught_up(false);
    assert_eq!((ledger.counts().submitted, ledger.counts().committed, ledger.state().imbalance(0)), (90, 90, 0));
}

#[test]
fn a_standby_is_content_with_what_the_leader_tells_although_their_looks_differ() {
    let mut memory = witness();
    memory.saw_ledger(&stored(4, 40, 80));
    look_back(&mut memory, 1_000);
    memory.saw_ledger(&stored(3, 20, 40));
    assert_eq!(memory.falls().len(), 2);
    let mut told = stored(5, 20, 40);
    for (store, from_seq, to_seq) in [("RESULTS", 78, 41), ("JOBS", 40, 20)] {
        let setback = Setback {
            store: store.into(),
            change: Change::WentBack,
            from_seq,
            to_seq,
            messages: 3,
            at_ms: 1_000_900,
            whole_at_ms: 999_900,
        };
        told.setbacks.push(setback);
    }
    memory.saw_ledger(&told);
    assert!(memory.falls().is_empty() && memory.overdue(60_000).is_empty());
}

#[test]
fn a_second_fall_is_not_told_by_what_the_ledger_says_of_the_first() {
    let mut memory = witness();
    memory.saw_ledger(&stored(4, 40, 80));
    look_back(&mut memory, 1_000);
    let ledger = begin(stored(4, 40, 80), &memory, (20, 40));
    memory.adopt(&ledger.to_store(1_000_000));
    assert!(memory.falls().is_empty());
    // The same jobs again, and the same copy.
    memory.saw(Stream::Jobs, glance(40, 9_000));
    memory.saw(Stream::Results, glance(80, 9_000));
    look_back(&mut memory, 9_500);
    memory.adopt(&ledger.to_store(1_009_500));
    assert_eq!((memory.falls().len(), memory.is_told_by(&ledger.state().setbacks)), (2, false));
    // The streams have outgrown what they were, so that nothing else tells.
    let again = begin(ledger.to_store(1_009_500), &memory, (90, 180));
    assert_eq!(setbacks(&again), [WENT_BACK, WENT_BACK].concat());
}

#[test]
fn a_leader_that_does_not_know_is_told_by_the_standby_however_far_it_has_counted() {
    let mut memory = witness();
    memory.saw_ledger(&stored(4, 40, 80));
    look_back(&mut memory, 1_000);
    for version in 3..30 {
        memory.saw_ledger(&stored(version, 20 + version * 10, 40 + version * 20));
    }
    assert!(memory.overdue(TOLD_WITHIN_MS).is_empty(), "a leader may be about to");
    let overdue = memory.overdue(1_000 + TOLD_WITHIN_MS);
    assert_eq!(overdue.iter().map(|setback| setback.store.as_str()).collect::<Vec<_>>(), ["JOBS", "RESULTS"]);
    // Should it lead before it has told: what is gone is said, and what that leader has counted stays.
    let ledger = begin(stored(29, 310, 620), &memory, (310, 620));
    assert_eq!((setbacks(&ledger).as_slice(), ledger.counts().committed, ledger.state().restated), (WENT_BACK.as_slice(), 310, 0));
}

#[test]
fn a_replica_that_lags_is_doubted_and_one_that_stays_behind_is_believed() {
    let glance = |last_seq, steady_ms| Glance { replicas: 3, ..glance(last_seq, steady_ms) };
    let mut memory = Memory::default();
    memory.saw(Stream::Results, glance(80, 0));
    assert_eq!(memory.saw(Stream::Results, glance(70, 100)), None);
    assert!(memory.is_in_doubt());
    memory.saw(Stream::Results, glance(81, 200));
    assert!(!memory.is_in_doubt() && memory.falls().is_empty());
    memory.saw(Stream::Results, glance(70, 300));
    let fall = memory.saw(Stream::Results, glance(71, 300 + DOUBT_MS)).expect("it stayed behind");
    assert_eq!((fall.before.last_seq, fall.after.last_seq, memory.is_in_doubt()), (81, 71, false));
}

#[test]
fn a_process_that_was_away_while_results_outgrew_what_it_was_recognises_it_by_the_anchor_and_once() {
    let mut memory = witness();
    memory.saw_ledger(&stored(4, 40, 80));
    assert_eq!(memory.anchor().map(|anchor| anchor.seq), Some(80));
    let fall = memory.saw_rewritten(glance(500, 90_000)).expect("it is known by the anchor");
    assert_eq!((fall.before.last_seq, fall.after.last_seq), (80, 79));
    memory.saw(Stream::Results, glance(501, 90_001));
    assert_eq!((memory.falls().len(), memory.anchor(), memory.saw_rewritten(glance(502, 91_000))), (1, None, None));
}

#[test]
fn a_process_that_has_just_started_knows_what_the_ledger_says_and_no_more() {
    // Everything was put back while no scheduler ran.
    let mut memory = Memory::default();
    memory.saw_ledger(&stored(3, 20, 40));
    look_back(&mut memory, 1_000);
    assert!(memory.falls().is_empty());
    // Only the streams were.
    let mut memory = Memory::default();
    memory.saw_ledger(&stored(4, 40, 80));
    look_back(&mut memory, 1_000);
    assert_eq!(memory.falls().len(), 2);
}

#[test]
fn streams_that_were_emptied_are_told_by_what_they_held() {
    let mut memory = witness();
    let anew = Glance { sight: Sight { made_at_ms: 9, last_seq: 0, messages: 0 }, ..glance(0, 1_000) };
    memory.saw(Stream::Jobs, anew);
    let setback = memory.falls()[0].setback();
    assert_eq!((setback.change, setback.from_seq, setback.messages, setback.is_loss()), (Change::MadeAnew, 40, 20, true));
}

#[test]
fn results_made_anew_are_not_taken_for_an_older_copy_that_has_grown() {
    let mut memory = witness();
    memory.saw_ledger(&stored(4, 40, 80));
    let anew = Glance { sight: sight(9, 120), ..glance(0, 1_000) };
    assert_eq!(memory.saw_rewritten(anew), None);
    assert_eq!(memory.saw(Stream::Results, anew).map(|fall| fall.change), Some(Change::MadeAnew));
}
