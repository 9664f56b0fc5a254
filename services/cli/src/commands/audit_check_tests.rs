//! Audits of small clusters, sound and broken.

use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_000_000;

fn job(number: u128) -> JobId {
    JobId::new(1, number)
}

fn open(seq: u64, number: u128) -> Record {
    Record { job: job(number), seq, stored_at_ms: NOW - 300_000, state: RecordState::Open }
}

fn ended(seq: u64, number: u128, open_seq: u64) -> Record {
    let state = RecordState::Ended { state: JobState::Committed, open_seq: Some(open_seq) };
    Record { job: job(number), seq, stored_at_ms: NOW - 60_000, state }
}

fn results(ledger: LedgerSnapshot, records: &[Record]) -> Results {
    let mut results = Results::new(ledger, 0);
    records.iter().for_each(|&record| results.add(record));
    results
}

fn queue(numbers: &[u128]) -> Queue {
    Queue { jobs: numbers.iter().map(|&number| job(number)).collect(), strange: BTreeSet::new() }
}

fn problems(results: &Results, queue: &Queue) -> Vec<Problem> {
    look(results, queue, NOW).problems.into_iter().collect()
}

#[test]
fn a_sound_cluster_without_a_ledger() {
    // 1 and 2 opened, 3 ended job 1 (so sequence 1 is gone), 4 opened.
    let results = results(LedgerSnapshot::default(), &[open(2, 2), ended(3, 1, 1), open(4, 3)]);
    let found = look(&results, &queue(&[2, 3]), NOW);
    assert_eq!(found.problems, BTreeSet::new());
    let figures = found.figures;
    assert_eq!((figures.submitted, figures.committed, figures.open, figures.queued, figures.gaps), (3, 1, 2, 2, 0));
}

#[test]
fn the_ledger_counts_what_expired() {
    let ledger = LedgerSnapshot { through_seq: 100, submitted: 51, committed: 45, dead: 3, cancelled: 1, ..LedgerSnapshot::default() };
    // Two jobs are open at the snapshot: one of them ends afterwards, one more is submitted.
    let results = results(ledger, &[open(99, 1), ended(101, 2, 90), open(102, 3)]);
    let found = look(&results, &queue(&[1, 3]), NOW);
    assert_eq!(found.problems, BTreeSet::new());
    assert_eq!((found.figures.submitted, found.figures.committed, found.figures.open), (52, 46, 2));
}

#[test]
fn an_end_that_vanished_is_a_gap() {
    // Sequence 2 (an end) and 1 (its opening) are gone.
    let results = results(LedgerSnapshot::default(), &[open(3, 2)]);
    assert_eq!(problems(&results, &queue(&[2])), [Problem::Gap]);
    assert_eq!(look(&results, &queue(&[2]), NOW).figures.gaps, 2);
    // Also when it was the last one.
    assert_eq!(problems(&Results::new(LedgerSnapshot::default(), 2), &queue(&[])), [Problem::Gap]);
}

#[test]
fn a_second_end_is_found_in_one_look_and_across_looks() {
    let twice = results(LedgerSnapshot::default(), &[ended(2, 1, 1), ended(3, 1, 1)]);
    assert!(problems(&twice, &queue(&[])).contains(&Problem::EndedTwice(job(1))));
    let mut verdict = Verdict::default();
    for seq in [2, 3] {
        let results =
            results(LedgerSnapshot { through_seq: 5, submitted: 1, committed: 1, ..LedgerSnapshot::default() }, &[ended(seq, 1, 1)]);
        let found = look(&results, &queue(&[]), NOW);
        verdict.add(&results, found);
    }
    let report = verdict.report();
    assert!(!report.ok && !report.checks[1].ok);
    assert_eq!(report.checks[1].wrong, [job(1).to_string()]);
}

#[test]
fn open_jobs_must_be_queued_unless_they_are_young() {
    let mut young = open(1, 1);
    young.stored_at_ms = NOW - 1_000;
    let found = look(&results(LedgerSnapshot::default(), &[young]), &queue(&[]), NOW);
    assert_eq!((found.problems.len(), found.figures.young), (0, 1));
    assert_eq!(problems(&results(LedgerSnapshot::default(), &[open(1, 1)]), &queue(&[])), [Problem::Orphan(job(1))]);
}

#[test]
fn queued_jobs_must_be_open_or_just_ended() {
    assert_eq!(problems(&Results::default(), &queue(&[1])), [Problem::NoRecord(job(1))]);
    let late = results(LedgerSnapshot::default(), &[ended(2, 1, 1)]);
    assert_eq!(problems(&late, &queue(&[1])), [Problem::NotAcknowledged(job(1))]);
    let found = look(&late, &queue(&[1]), NOW - 40_000);
    assert_eq!((found.problems.len(), found.figures.waiting_for_ack), (0, 1));
}

#[test]
fn what_the_ledger_says_is_believed() {
    let broken = LedgerSnapshot { through_seq: 3, submitted: 1, committed: 2, duplicates: 1, ..LedgerSnapshot::default() };
    let found = problems(&Results::new(broken, 3), &queue(&[]));
    assert_eq!(found, [Problem::Equation, Problem::Duplicates]);
    let missed = LedgerSnapshot { through_seq: 2, submitted: 1, missed: 1, ..LedgerSnapshot::default() };
    assert_eq!(problems(&Results::new(missed, 2), &queue(&[])), [Problem::Missed]);
    let ahead = LedgerSnapshot { through_seq: 2, submitted: 1, committed: 1, ..LedgerSnapshot::default() };
    assert_eq!(problems(&Results::new(ahead, 1), &queue(&[])), [Problem::LedgerAhead]);
}

#[test]
fn only_what_lasts_counts() {
    let mut verdict = Verdict::default();
    let moving = |number| (results(LedgerSnapshot::default(), &[]), queue(&[number]));
    for number in [1, 2] {
        let (results, queue) = moving(number);
        let found = look(&results, &queue, NOW);
        verdict.add(&results, found);
        assert_eq!(verdict.may_change(), number == 1);
    }
    assert!(verdict.report().ok);
    assert_eq!(verdict.report().looks, 2);
}

#[test]
fn the_report_names_a_few() {
    let results = results(LedgerSnapshot::default(), &[]);
    let many: Vec<u128> = (0..15).collect();
    let mut verdict = Verdict::default();
    verdict.add(&results, look(&results, &queue(&many), NOW));
    let report = verdict.report();
    let check = &report.checks[4];
    assert!(!report.ok && !check.ok && report.checks[..4].iter().all(|check| check.ok));
    assert_eq!(check.wrong.len(), NAMED + 1);
    assert_eq!(check.wrong[NAMED], "and 5 more");
    assert_eq!(check.figures, "15 in JOBS");
    assert_eq!(report.checks[0].figures, "0 = 0 committed + 0 dead + 0 cancelled + 0 abandoned + 0 open");
}

proptest! {
    /// Any honest history is sound, wherever the ledger stood when its snapshot was written.
    #[test]
    fn an_honest_history_is_sound(ends in proptest::collection::vec(proptest::option::of(0..4_u8), 1..60), cut in 0..200_u64) {
        let states = [JobState::Committed, JobState::Dead, JobState::Cancelled, JobState::Abandoned];
        // Each job opens, then those with an end get it after all have opened.
        let mut log: Vec<(u64, Record)> = Vec::new();
        let mut alive: BTreeMap<u128, Record> = BTreeMap::new();
        let mut seq = 0;
        for number in 0..ends.len() as u128 {
            seq += 1;
            log.push((seq, open(seq, number)));
            alive.insert(number, open(seq, number));
        }
        for (number, end) in ends.iter().enumerate() {
            if let Some(end) = end {
                seq += 1;
                let state = RecordState::Ended { state: states[usize::from(*end)], open_seq: Some(number as u64 + 1) };
                let record = Record { state, ..ended(seq, number as u128, 0) };
                log.push((seq, record));
                alive.insert(number as u128, record);
            }
        }
        let mut ledger = LedgerSnapshot::default();
        for (at, record) in log.iter().filter(|(at, _)| *at <= cut) {
            ledger.through_seq = *at;
            match record.state {
                RecordState::Open => ledger.submitted += 1,
                RecordState::Ended { state: JobState::Committed, .. } => ledger.committed += 1,
                RecordState::Ended { state: JobState::Dead, .. } => ledger.dead += 1,
                RecordState::Ended { state: JobState::Cancelled, .. } => ledger.cancelled += 1,
                RecordState::Ended { .. } => ledger.abandoned += 1,
            }
        }
        let mut present: Vec<Record> = alive.values().copied().collect();
        present.sort_by_key(|record| record.seq);
        let still_open: Vec<u128> = ends.iter().enumerate().filter(|(_, end)| end.is_none()).map(|(number, _)| number as u128).collect();
        let results = results(ledger, &present);
        let found = look(&results, &queue(&still_open), NOW);
        prop_assert_eq!(found.problems, BTreeSet::new());
        prop_assert_eq!(found.figures.submitted, ends.len() as u64);
    }
}

#[test]
fn a_broken_invariant_fails_the_audit_on_its_own() {
    let results = results(LedgerSnapshot::default(), &[open(1, 1)]);
    let mut verdict = Verdict::default();
    verdict.add(&results, look(&results, &queue(&[1]), NOW));
    verdict.add_violations(["GPU 0 is over its capacity".to_owned()]);
    let report = verdict.report();
    let failed: Vec<_> = report.checks.iter().filter(|check| !check.ok).collect();
    assert!(!report.ok && failed.len() == 1 && report.figures.violations == 1);
    assert_eq!(failed[0].wrong, ["GPU 0 is over its capacity"]);
}
