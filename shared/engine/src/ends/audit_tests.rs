use std::collections::BTreeMap;

use super::audit::{CountDifference, Evidence, Hole, JobsSight, Ledgers, Regression, Report, audit};
use super::build::{COMMITTED, Log, entry, pack, ticket};
use super::changes::Counts;
use super::entry::{Entry, WentBack};
use super::fold::Fold;
use super::id::Gen;
use super::snapshot::Seen;

fn jobs(first_seq: u64, last_seq: u64, deleted: &[u64]) -> JobsSight {
    JobsSight { r#gen: Gen(1), first_seq, last_seq, deleted: deleted.iter().copied().collect(), last_seq_after: last_seq }
}

fn report(jobs: &JobsSight, fold: &Fold, seen: &[(u64, u64)]) -> Report {
    let seen: BTreeMap<Gen, Seen> = seen.iter().map(|(r#gen, last_seq)| (Gen(*r#gen), Seen { last_seq: *last_seq, last_ts: 1 })).collect();
    audit(Evidence { jobs, fold, seen: &seen, ledgers: None })
}

fn closed(seqs: &[u64]) -> Log {
    let mut log = Log::new();
    for seq in seqs {
        log.worker(&[entry(COMMITTED, ticket(1, *seq), (pack(*seq), 1), 0)]);
    }
    log
}

fn hole(r#gen: u64, first_seq: u64, last_seq: u64) -> Hole {
    Hole { r#gen: Gen(r#gen), first_seq, last_seq }
}

#[test]
fn what_waits_in_jobs_and_what_has_ended_is_everything() {
    let log = closed(&[1, 2, 4]);
    let found = report(&jobs(3, 7, &[4]), &log.fold, &[(1, 7)]);
    assert!(found.is_clean(), "{found:?}");
    assert_eq!((found.lost(), found.counts.committed), (0, 3));
    assert!(report(&jobs(0, 0, &[]), &Fold::new(), &[]).is_clean(), "nothing was ever submitted");
    assert!(report(&jobs(5, 4, &[]), &closed(&[1, 2, 3, 4]).fold, &[(1, 4)]).is_clean(), "an empty queue");
}

#[test]
fn each_hole_is_named_wherever_it_is() {
    let log = closed(&[2, 6, 7]);
    // 1 and 3 are before the first message, 5, 8, 9, and 11 were deleted, 4 and 10 are there.
    let found = report(&jobs(4, 11, &[5, 6, 7, 8, 9, 11]), &log.fold, &[]);
    assert_eq!(found.holes, [hole(1, 1, 1), hole(1, 3, 3), hole(1, 5, 5), hole(1, 8, 9), hole(1, 11, 11)]);
    assert_eq!((found.lost(), found.is_clean()), (6, false));
}

#[test]
fn a_pack_with_one_unended_task_is_a_hole() {
    let mut log = closed(&[1]);
    log.worker(&[entry(COMMITTED, ticket(1, 2), (pack(2), 2), 0)]);
    assert_eq!(report(&jobs(3, 2, &[]), &log.fold, &[]).holes, [hole(1, 2, 2)]);
}

#[test]
fn a_running_cluster_gives_no_false_alarm() {
    // JOBS was seen with 3 messages; then 2 and 3 ended, and 4 was submitted and ended, before the log was read.
    let log = closed(&[1, 2, 3, 4]);
    let sight = JobsSight { last_seq_after: 5, ..jobs(2, 3, &[]) };
    assert!(report(&sight, &log.fold, &[(1, 3)]).is_clean());
}

#[test]
fn ends_beyond_the_last_message_mean_that_jobs_went_back() {
    let log = closed(&[1, 2, 3]);
    let found = report(&jobs(3, 2, &[]), &log.fold, &[]);
    assert_eq!(found.regressions, [Regression { r#gen: Gen(1), known_seq: 3, last_seq: 2 }]);
    let found = report(&jobs(4, 3, &[]), &log.fold, &[(1, 8)]);
    assert_eq!(found.regressions, [Regression { r#gen: Gen(1), known_seq: 8, last_seq: 3 }], "the leader has seen more");
}

#[test]
fn a_setback_that_was_written_down_stays_known_for_good() {
    let mut log = closed(&[1, 2, 3]);
    let setback = WentBack { epoch: 1, r#gen: Gen(1), from_seq: 8, from_ts: 8, to_seq: 3 };
    log.leader(&[Entry::WentBack(setback)]);
    let found = report(&jobs(4, 3, &[]), &log.fold, &[(1, 8)]);
    assert!(found.regressions.is_empty() && found.went_back == [setback] && !found.is_clean());
}

#[test]
fn former_generations_must_have_ended_as_far_as_the_leader_saw_them() {
    let mut log = closed(&[1, 2, 3]);
    log.worker(&[entry(COMMITTED, ticket(0, 1), (pack(71), 1), 0), entry(COMMITTED, ticket(0, 3), (pack(73), 1), 0)]);
    let found = report(&jobs(4, 3, &[]), &log.fold, &[(0, 4), (7, 2), (1, 3)]);
    assert_eq!(found.holes, [hole(0, 2, 2), hole(0, 4, 4), hole(7, 1, 2)]);
}

#[test]
fn doubles_conflicts_and_counts_that_differ_are_findings() {
    let mut log = closed(&[1]);
    log.worker(&[entry(COMMITTED, ticket(1, 2), (pack(1), 1), 0)]);
    let found = report(&jobs(3, 2, &[]), &log.fold, &[]);
    assert!(!found.is_clean() && found.counts.double == 1 && found.holes.is_empty());
    let log = closed(&[1]);
    let (own, leaders) = (*log.fold.counts(), Counts { late: 3, ..Counts::default() });
    let seen = BTreeMap::new();
    let evidence = Evidence { jobs: &jobs(2, 1, &[]), fold: &log.fold, seen: &seen, ledgers: Some(Ledgers { leaders, own }) };
    let differences = audit(evidence).differences;
    let named = |name, leaders, own| CountDifference { name, leaders, own };
    assert_eq!(differences, [named("committed", 0, 1), named("late", 3, 0)]);
}
