//! Folds of small streams, whole and set back.

use proptest::prelude::*;

use super::*;

fn record(seq: u64, job: u128, state: JobState) -> LedgerRecord {
    LedgerRecord { seq, job: JobId::new(0, job), state, stored_at_ms: seq, took: Took::read(None, state) }
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
    ledger.on_caught_up(true);
    let counts = ledger.counts();
    assert_eq!((counts.submitted, counts.missed, counts.open()), (5, 3, 2));
    ledger.on_caught_up(true);
    assert_eq!(ledger.counts().missed, 3);
}

#[test]
fn after_a_night_in_which_everything_expired_the_counts_are_right_at_once_and_stay_so() {
    let mut ledger = Ledger::new(LedgerSnapshot::default());
    ledger.fold(record(1, 1, JobState::Queued));
    ledger.fold(record(2, 2, JobState::Queued));
    let stored = ledger.to_store(1);
    // The power went; both jobs had ended and one more had come and gone. In the morning RESULTS is empty, at sequence 6.
    let mut morning = Ledger::new(stored);
    morning.pass_over(6);
    morning.on_caught_up(true);
    let counts = morning.counts().clone();
    assert_eq!((counts.submitted, counts.missed, counts.ended(), counts.open()), (3, 3, 0, 0));
    morning.fold(record(7, 4, JobState::Queued));
    morning.fold(record(8, 4, JobState::Committed));
    let counts = morning.counts();
    assert_eq!((counts.submitted, counts.missed, counts.committed, counts.open()), (4, 3, 1, 0));
    assert_eq!(morning.state().imbalance(0), 0);
}

#[test]
fn a_marker_that_was_deleted_is_no_end_that_expired() {
    let mut ledger = Ledger::new(LedgerSnapshot::default());
    ledger.fold(record(1, 1, JobState::Queued));
    let mut next = Ledger::new(ledger.to_store(1));
    next.on_caught_up(true);
    assert_eq!((next.counts().missed, next.state().imbalance(0)), (0, 1));
}

#[test]
fn an_older_copy_of_results_is_noticed_and_counting_goes_on_from_what_it_holds() {
    let sight = |last_seq| Sight { made_at_ms: 5, last_seq, messages: 2 };
    let mut ledger = Ledger::new(LedgerState::default());
    ledger.on_results(sight(0), 1, false, 1);
    for (seq, job, state) in [(1, 1, JobState::Queued), (2, 2, JobState::Queued), (3, 1, JobState::Committed), (4, 2, JobState::Committed)]
    {
        ledger.fold(record(seq, job, state));
    }
    let mut next = Ledger::new(ledger.to_store(9));
    next.on_results(sight(2), 1, false, 10);
    next.fold(record(1, 1, JobState::Queued));
    next.fold(record(2, 2, JobState::Queued));
    next.on_caught_up(false);
    let setback = &next.state().setbacks[0];
    assert_eq!((setback.store.as_str(), setback.from_seq, setback.to_seq, setback.is_loss()), ("RESULTS", 4, 2, true));
    assert_eq!((next.counts().committed, next.state().imbalance(2)), (2, 0), "what was counted stays counted");
    next.fold(record(3, 3, JobState::Queued));
    assert_eq!((next.counts().submitted, next.state().imbalance(3)), (3, 0));
    // And the leader after it sees nothing new.
    let mut third = Ledger::new(next.to_store(11));
    third.on_results(sight(3), 1, false, 12);
    assert_eq!(third.state().setbacks.len(), 1);
}

#[test]
fn what_a_setback_took_is_counted_by_what_it_was() {
    let sight = |last_seq| Sight { made_at_ms: 5, last_seq, messages: 2 };
    let mut ledger = Ledger::new(LedgerState::default());
    ledger.on_results(sight(0), 1, false, 1);
    for (seq, job, state) in [(1, 1, JobState::Queued), (2, 1, JobState::Committed), (3, 2, JobState::Queued), (4, 3, JobState::Queued)] {
        ledger.fold(record(seq, job, state));
    }
    // Three more messages were not counted, and the copy ends behind the first job.
    ledger.saw_results(sight(7), 8);
    let mut next = Ledger::new(ledger.to_store(9));
    next.on_results(sight(2), 1, false, 10);
    next.fold(record(2, 1, JobState::Committed));
    next.on_caught_up(false);
    let state = next.state();
    assert_eq!((state.lost_with_store(), state.brought_back(), state.forgotten), (2, 0, 3));
    assert_eq!((next.counts().submitted, next.counts().committed, state.imbalance(0)), (3, 1, 0));
}

#[test]
fn a_job_that_came_after_a_setback_and_before_the_look_at_it_was_not_brought_back() {
    let sight = |last_seq| Sight { made_at_ms: 5, last_seq, messages: 2 };
    let mut ledger = Ledger::new(LedgerState::default());
    ledger.on_results(sight(0), 1, false, 1);
    (1..=3).for_each(|job| ledger.fold(record(2 * job, job.into(), JobState::Committed)));
    // The copy ends at 4, and another job has been opened since.
    let mut next = Ledger::new(ledger.to_store(9));
    next.on_results(sight(5), 1, false, 5_000);
    next.fold(record(2, 1, JobState::Committed));
    next.fold(record(4, 2, JobState::Committed));
    next.fold(LedgerRecord { stored_at_ms: 4_000, ..record(5, 9, JobState::Queued) });
    next.on_caught_up(false);
    let (counts, state) = (next.counts(), next.state());
    assert_eq!((counts.submitted, counts.committed, state.imbalance(1)), (4, 3, 0));
    assert_eq!((state.lost_with_store(), state.brought_back()), (0, 0));
}

#[test]
fn what_a_copy_holds_and_the_ledger_has_not_counted_is_counted() {
    let sight = |last_seq| Sight { made_at_ms: 5, last_seq, messages: 2 };
    let mut ledger = Ledger::new(LedgerState::default());
    ledger.on_results(sight(0), 1, false, 1);
    ledger.fold(record(1, 1, JobState::Queued));
    ledger.saw_results(sight(6), 8);
    let mut next = Ledger::new(ledger.to_store(9));
    next.on_results(sight(4), 1, false, 10);
    next.fold(record(3, 1, JobState::Committed));
    next.fold(record(4, 2, JobState::Committed));
    next.on_caught_up(false);
    let (counts, state) = (next.counts(), next.state());
    assert_eq!((counts.submitted, counts.committed), (2, 2), "the job that came and went unseen is in the sums");
    assert_eq!((state.lost_with_store(), state.brought_back(), state.forgotten), (0, 0, 2));
}

#[test]
fn results_made_anew_and_results_that_have_outgrown_an_older_copy_are_noticed() {
    let mut ledger = Ledger::new(LedgerState::default());
    ledger.on_results(Sight { made_at_ms: 5, last_seq: 0, messages: 0 }, 1, false, 1);
    ledger.fold(record(1, 1, JobState::Queued));
    ledger.fold(record(2, 1, JobState::Committed));
    let stored = ledger.to_store(9);
    let mut anew = Ledger::new(stored.clone());
    anew.on_results(Sight { made_at_ms: 6, last_seq: 1, messages: 1 }, 1, false, 10);
    anew.fold(record(1, 2, JobState::Queued));
    anew.on_caught_up(false);
    assert_eq!((anew.counts().submitted, anew.counts().committed, anew.state().imbalance(1)), (2, 1, 0));
    let mut outgrown = Ledger::new(stored);
    outgrown.on_results(Sight { made_at_ms: 5, last_seq: 7, messages: 7 }, 1, true, 10);
    assert_eq!(outgrown.state().setbacks[0].change, Change::WentBack);
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
