//! Each finding planted, what looks like one and is none, and everything legal at random.

use std::ops::Range;

use proptest::prelude::*;

use super::super::LedgerSnapshot;
use super::super::stores::{Change, Setback, Sight};
use super::*;

fn id(n: u128) -> JobId {
    JobId::new(0, n)
}

fn record(seq: u64, job: u128, state: JobState) -> LedgerRecord {
    LedgerRecord { seq, job: id(job), state, stored_at_ms: seq, took: Took::read(None, state) }
}

/// JOBS is looked at: it has accepted so many messages, and holds these.
fn survey(watch: &mut Watch, last_seq: u64, queued: &[u128], began_at_ms: u64) {
    let jobs: BTreeSet<JobId> = queued.iter().map(|&job| id(job)).collect();
    let sight = Sight { made_at_ms: 1, last_seq, messages: jobs.len() as u64 };
    watch.on_survey(&Survey { sight, began_at_ms, replicas: 1, queued: &jobs, held: &BTreeSet::new() });
}

fn watch() -> Watch {
    Watch::new(LedgerSnapshot::default(), 0)
}

/// Job 1 was opened at 1,000 ms.
fn opened() -> Watch {
    let mut watch = watch();
    watch.on_record(record(1, 1, JobState::Queued), 1_000);
    watch
}

fn ended() -> Watch {
    let mut watch = opened();
    watch.on_record(record(2, 1, JobState::Committed), 2_000);
    watch
}

#[test]
fn a_life_as_it_should_be() {
    let mut watch = opened();
    survey(&mut watch, 1, &[1], 1_100);
    watch.on_placed(id(1), 1_200);
    assert_eq!((watch.totals(3_000).open, watch.totals(3_000).oldest_open_ms), (1, 2_000));
    watch.on_record(record(2, 1, JobState::Committed), 2_000);
    survey(&mut watch, 1, &[], 2_100);
    watch.on_placed(id(1), 2_500);
    let totals = watch.totals(3_000);
    assert_eq!((totals.submitted, totals.committed, totals.open, totals.findings, totals.oldest_open_ms), (1, 1, 0, 0, 0));
}

#[test]
fn a_second_end_and_an_end_that_changes_are_found() {
    let mut watch = ended();
    watch.on_record(record(3, 1, JobState::Committed), 3_000);
    assert_eq!(watch.take_news(), [Finding::EndedTwice { job: id(1), state: JobState::Committed, first_seq: 2, second_seq: 3 }]);
    watch.on_record(record(4, 1, JobState::Dead), 4_000);
    let changed = Finding::EndChanged { job: id(1), from: JobState::Committed, to: JobState::Dead, first_seq: 3, second_seq: 4 };
    assert_eq!(watch.take_news(), [changed]);
    assert_eq!(watch.totals(5_000).duplicates, 2);
    watch.on_record(record(4, 1, JobState::Dead), 4_000);
    assert!(watch.take_news().is_empty(), "the same message once more changes nothing");
}

#[test]
fn a_job_that_is_opened_again_is_found() {
    let mut watch = ended();
    watch.on_record(record(3, 1, JobState::Queued), 3_000);
    assert_eq!(watch.take_news(), [Finding::OpenedAgain { job: id(1), seq: 3 }]);
}

#[test]
fn a_marker_that_two_looks_do_not_find_has_vanished() {
    let mut watch = opened();
    assert!(watch.to_reread(10, 1_500).is_empty(), "too young");
    assert_eq!(watch.to_reread(10, 7_000), [id(1)]);
    watch.on_reread(id(1), false);
    watch.on_reread(id(1), true);
    watch.on_reread(id(1), false);
    assert!(watch.take_news().is_empty());
    watch.on_reread(id(1), false);
    assert_eq!(watch.take_news(), [Finding::MarkerVanished { job: id(1), seq: 1 }]);
}

#[test]
fn a_job_whose_message_vanished_is_lost_at_once_and_well_again_when_it_ends_all_the_same() {
    let mut watch = opened();
    survey(&mut watch, 1, &[1], 2_000);
    survey(&mut watch, 1, &[], 3_000);
    assert!(watch.wants_survey() && watch.take_news().is_empty(), "one list does not prove an absence");
    survey(&mut watch, 1, &[], 4_000);
    assert_eq!(watch.take_news(), [Finding::Lost { job: id(1) }]);
    assert_eq!(watch.totals(4_000).lost, 1);
    watch.on_record(record(2, 1, JobState::Committed), 5_000);
    assert_eq!((watch.totals(5_000).lost, watch.findings().count()), (0, 0));
}

#[test]
fn a_lost_job_stays_lost_when_the_sweeper_has_abandoned_it() {
    let mut watch = opened();
    survey(&mut watch, 1, &[], 2_000);
    survey(&mut watch, 1, &[], 3_000);
    assert_eq!(watch.take_news(), [Finding::Lost { job: id(1) }], "the sum says so, though it was never seen");
    watch.on_record(LedgerRecord { took: Took::Vanished, ..record(2, 1, JobState::Abandoned) }, 200_000);
    survey(&mut watch, 1, &[], 201_000);
    assert_eq!((watch.totals(201_000).lost, watch.findings().count()), (1, 1));
}

#[test]
fn a_job_that_was_never_queued_is_no_loss_however_long_nobody_sweeps() {
    let mut watch = opened();
    for at_ms in [2_000, 60_000, 150_000, 900_000] {
        survey(&mut watch, 0, &[], at_ms);
    }
    watch.on_record(record(2, 1, JobState::Abandoned), 901_000);
    survey(&mut watch, 0, &[], 902_000);
    assert!(watch.take_news().is_empty());
}

#[test]
fn what_the_leader_has_stored_is_told() {
    let lost = LedgerState { lost: 1, lost_jobs: vec![id(7)], unnamed: 2, ..LedgerState::default() };
    let mut watch = Watch::new(lost, 0);
    assert_eq!(watch.take_news(), [Finding::Lost { job: id(7) }]);
    survey(&mut watch, 3, &[], 1_000);
    assert_eq!(watch.take_news(), [Finding::Vanished { messages: 2 }]);
}

#[test]
fn an_interruption_starts_the_patience_anew() {
    let mut watch = opened();
    watch.on_placed(id(1), 1_500);
    survey(&mut watch, 1, &[1], 2_000);
    survey(&mut watch, 1, &[], 3_000);
    watch.on_interruption(50_000);
    survey(&mut watch, 1, &[], 50_100);
    assert!(watch.take_news().is_empty());
    let mut over = ended();
    over.on_interruption(300_000);
    over.on_placed(id(1), 350_000);
    assert!(over.take_news().is_empty(), "the server was away when it should have forgotten the message");
}

#[test]
fn a_placement_long_after_the_end_is_found() {
    let mut watch = ended();
    watch.on_placed(id(1), 61_000);
    assert!(watch.take_news().is_empty());
    watch.on_placed(id(1), 63_000);
    assert_eq!(watch.take_news(), [Finding::PlacedAfterEnd { job: id(1), state: JobState::Committed, after_ms: 61_000 }]);
}

#[test]
fn a_setback_is_found_when_it_is_seen_and_what_is_left_is_told_again() {
    let sight = |last_seq| Sight { made_at_ms: 1, last_seq, messages: last_seq };
    let mut watch = watch();
    assert_eq!(watch.on_results(sight(0), 1, false, 0), None);
    let whole = [record(1, 1, JobState::Queued), record(2, 2, JobState::Queued), record(3, 1, JobState::Committed)];
    whole.into_iter().for_each(|record| watch.on_record(record, 1_000));
    watch.on_caught_up();
    assert!(watch.still_reads(sight(3), 1, 1_500) && !watch.still_reads(sight(1), 1, 1_500));
    for at_ms in [2_000, 3_000] {
        let setback = watch.on_results(sight(1), 1, false, at_ms).expect("it went back");
        assert_eq!((setback.from_seq, setback.to_seq), (3, 1));
        watch.on_record(record(1, 1, JobState::Queued), 1_000);
        watch.on_caught_up();
        // Job 2 is gone, and the end of job 1: the one less the other.
        let totals = watch.totals(4_000);
        assert_eq!((totals.open, totals.lost_with_store, totals.brought_back), (1, 0, 0), "{totals:?}");
        let news = watch.take_news();
        let [Finding::StoreWentBack { what }] = news.as_slice() else { panic!("{news:?}") };
        assert!(what.contains("from message 3 to 1") && what.ends_with("(time 2)") == (at_ms == 3_000), "{what}");
        if at_ms == 2_000 {
            watch.on_record(record(2, 3, JobState::Queued), 2_500);
            watch.on_record(record(3, 3, JobState::Committed), 2_600);
            assert!(watch.take_news().is_empty(), "another job has the sequences now");
        }
    }
    // What the leader saw of the same event, a little later.
    watch.on_ledger(&LedgerState { setbacks: vec![went_back("RESULTS", 2, 1, 2_800..3_500)], ..LedgerState::default() });
    assert!(watch.take_news().is_empty(), "one event is told once");
}

fn went_back(store: &str, from_seq: u64, to_seq: u64, seen: Range<u64>) -> Setback {
    let Range { start: whole_at_ms, end: at_ms } = seen;
    Setback { store: store.to_owned(), change: Change::WentBack, from_seq, to_seq, messages: 2, at_ms, whole_at_ms }
}

#[test]
fn a_setback_that_the_leader_alone_saw_is_found_although_one_of_a_moment_ago_is_known() {
    let told = |watch: &mut Watch| {
        let setback = |finding| if let Finding::StoreWentBack { what } = finding { Some(what) } else { None };
        watch.take_news().into_iter().filter_map(setback).collect::<Vec<_>>()
    };
    let mut watch = watch();
    survey(&mut watch, 50, &[], 91_000);
    survey(&mut watch, 30, &[], 100_200);
    let mut leaders = vec![went_back("JOBS", 50, 30, 99_000..100_000)];
    watch.on_ledger(&LedgerState { setbacks: leaders.clone(), ..LedgerState::default() });
    assert_eq!(told(&mut watch), [leaders[0].to_string()]);
    // The watch looks every 10 s: of what came and went in between it sees nothing.
    leaders.push(went_back("JOBS", 55, 30, 109_000..109_500));
    for began_at_ms in [110_000, 111_000] {
        watch.on_ledger(&LedgerState { setbacks: leaders.clone(), ..LedgerState::default() });
        survey(&mut watch, 30, &[], began_at_ms);
        let is_first = began_at_ms == 110_000;
        assert_eq!(told(&mut watch), if is_first { vec![leaders[1].to_string()] } else { vec![] });
    }
    // Seen by both, and by the leader first.
    survey(&mut watch, 60, &[], 115_000);
    leaders.push(went_back("JOBS", 61, 30, 119_000..119_500));
    watch.on_ledger(&LedgerState { setbacks: leaders.clone(), ..LedgerState::default() });
    survey(&mut watch, 30, &[], 120_000);
    assert_eq!(told(&mut watch), [leaders[2].to_string()]);
}

#[test]
fn rereading_goes_round() {
    let mut watch = watch();
    for job in 1..=5 {
        watch.on_record(record(job as u64, job, JobState::Queued), 0);
    }
    assert_eq!(watch.to_reread(2, 9_000), [id(1), id(2)]);
    assert_eq!(watch.to_reread(2, 9_000), [id(3), id(4)]);
    assert_eq!(watch.to_reread(2, 9_000), [id(5)]);
    assert_eq!(watch.to_reread(2, 9_000), [id(1), id(2)]);
}

proptest! {
    /// Whatever is legal, in any order and told as often as one likes, is never found; one forged end always is.
    #[test]
    fn nothing_legal_is_found_and_one_forged_end_is(
        ends in proptest::collection::vec((0_u128..30, 0_usize..4, any::<bool>()), 0..60),
        forged in proptest::option::of(0_u128..30),
    ) {
        let states = [JobState::Committed, JobState::Dead, JobState::Cancelled, JobState::Abandoned];
        let mut stream: Vec<LedgerRecord> = (0..30).map(|job| record(job as u64 + 1, job, JobState::Queued)).collect();
        let mut open: BTreeSet<JobId> = stream.iter().map(|record| record.job).collect();
        for (job, state, _) in &ends {
            if open.remove(&id(*job)) {
                stream.push(record(stream.len() as u64 + 1, *job, states[*state]));
            }
        }
        let forged = forged.map(id).filter(|job| !open.contains(job));
        let mut watch = watch();
        for (told, entry) in stream.iter().enumerate() {
            let now_ms = told as u64 * 100;
            watch.on_record(*entry, now_ms);
            if ends.get(told).is_some_and(|(_, _, again)| *again) {
                watch.on_record(stream[told / 2], now_ms);
                watch.on_placed(stream[told / 2].job, now_ms);
                let jobs: BTreeSet<JobId> = stream[..=told].iter().map(|record| record.job).collect();
                let sight = Sight { made_at_ms: 1, last_seq: jobs.len() as u64, messages: jobs.len() as u64 };
                watch.on_survey(&Survey { sight, began_at_ms: now_ms, replicas: 1, queued: &jobs, held: &BTreeSet::new() });
            }
        }
        prop_assert_eq!(watch.findings().count(), 0);
        let totals = watch.totals(10_000);
        prop_assert_eq!(totals.submitted, 30);
        prop_assert_eq!(totals.open, open.len() as u64);
        prop_assert_eq!(totals.committed + totals.dead + totals.cancelled + totals.abandoned + totals.open, 30);
        if let Some(job) = forged {
            watch.on_record(LedgerRecord { job, ..record(stream.len() as u64 + 1, 0, JobState::Committed) }, 10_000);
            prop_assert_eq!(watch.findings().count(), 1);
            prop_assert_eq!(watch.totals(10_000).duplicates, 1);
        }
    }
}
