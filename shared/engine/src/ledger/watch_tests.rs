//! Each finding planted, what looks like one and is none, and everything legal at random.

use proptest::prelude::*;

use super::*;

fn id(n: u128) -> JobId {
    JobId::new(0, n)
}

fn record(seq: u64, job: u128, state: JobState) -> LedgerRecord {
    LedgerRecord { seq, job: id(job), state }
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
    watch.on_queue(&BTreeSet::from([id(1)]), 1_100);
    watch.on_placed(id(1), 1_200);
    assert_eq!((watch.totals(3_000).open, watch.totals(3_000).oldest_open_ms), (1, 2_000));
    watch.on_record(record(2, 1, JobState::Committed), 2_000);
    watch.on_queue(&BTreeSet::new(), 2_100);
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
    assert!(watch.take_news().is_empty(), "the same message once more is no news");
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
fn an_open_job_in_no_queue_is_lost_after_a_while_and_found_again_by_its_end() {
    let mut watch = opened();
    watch.on_queue(&BTreeSet::from([id(1)]), 2_000);
    watch.on_queue(&BTreeSet::new(), 10_000);
    watch.on_queue(&BTreeSet::new(), 39_000);
    assert!(watch.take_news().is_empty());
    watch.on_queue(&BTreeSet::new(), 40_000);
    assert_eq!(watch.take_news(), [Finding::Lost { job: id(1) }]);
    assert_eq!(watch.totals(40_000).lost, 1);
    watch.on_record(record(2, 1, JobState::Committed), 41_000);
    assert_eq!((watch.totals(41_000).lost, watch.findings().count()), (0, 0));
}

#[test]
fn a_job_that_was_never_queued_is_left_to_the_sweeper_first() {
    let mut watch = opened();
    for at_ms in [2_000, 60_000, 150_000] {
        watch.on_queue(&BTreeSet::new(), at_ms);
    }
    assert!(watch.take_news().is_empty());
    watch.on_queue(&BTreeSet::new(), 190_000);
    assert_eq!(watch.take_news(), [Finding::Lost { job: id(1) }]);
}

#[test]
fn an_interruption_starts_the_patience_anew() {
    let mut watch = opened();
    watch.on_placed(id(1), 1_500);
    watch.on_queue(&BTreeSet::new(), 2_000);
    watch.on_interruption(50_000);
    watch.on_queue(&BTreeSet::new(), 50_100);
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
                watch.on_queue(&stream[..=told].iter().map(|record| record.job).collect(), now_ms);
            }
        }
        prop_assert_eq!(watch.findings().count(), 0);
        let totals = watch.totals(10_000);
        prop_assert_eq!(totals.submitted, 30);
        prop_assert_eq!(totals.open, open.len() as u64);
        prop_assert_eq!(totals.committed + totals.dead + totals.cancelled + totals.abandoned + totals.open, 30);
        if let Some(job) = forged {
            watch.on_record(LedgerRecord { seq: stream.len() as u64 + 1, job, state: JobState::Committed }, 10_000);
            prop_assert_eq!(watch.findings().count(), 1);
            prop_assert_eq!(watch.totals(10_000).duplicates, 1);
        }
    }
}
