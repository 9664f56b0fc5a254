//! Audits of small clusters, sound and broken.

use std::collections::{BTreeMap, BTreeSet};

use faultline_engine::job::JobId;
use faultline_engine::ledger::stores::{Change, Setback, Sight};
use faultline_engine::ledger::{LedgerState, Took};
use faultline_protocol::messages::{JobState, LedgerSnapshot};
use faultline_runtime::sight::Look as StreamLook;
use proptest::prelude::*;

use super::check::{Entry, EntryState, Problem, Queue, Results, Verdict, look};
use super::report::{AuditReport, Check, NAMED};

const NOW: u64 = 1_000_000;

fn job(number: u128) -> JobId {
    JobId::new(1, number)
}

fn open(seq: u64, number: u128) -> Entry {
    Entry { job: job(number), seq, stored_at_ms: NOW - 300_000, state: EntryState::Open }
}

fn ended(seq: u64, number: u128, open_seq: u64) -> Entry {
    let state = EntryState::Ended { state: JobState::Committed, open_seq: Some(open_seq), took: Took::Message };
    Entry { job: job(number), seq, stored_at_ms: NOW - 60_000, state }
}

/// What is stored of a ledger that is a minute old, has counted this and knows RESULTS as it is.
fn stored(counts: LedgerSnapshot) -> LedgerState {
    LedgerState { version: 1, ..LedgerState::from(LedgerSnapshot { at_ms: NOW - 60_000, ..counts }) }
}

fn stream(last_seq: u64, messages: u64) -> StreamLook {
    StreamLook { sight: Sight { made_at_ms: 1, last_seq, messages }, now_ms: NOW, replicas: 1, ..StreamLook::default() }
}

fn results_of(ledger: LedgerState, records: &[Entry]) -> Results {
    let last_seq = records.last().map_or(ledger.counts.through_seq, |record| record.seq);
    let mut results = Results::new(ledger, stream(last_seq, records.len() as u64), false);
    records.iter().for_each(|&record| results.add(record));
    results
}

fn results(counts: LedgerSnapshot, records: &[Entry]) -> Results {
    results_of(stored(counts), records)
}

/// No leader has ever led.
fn without_ledger(records: &[Entry]) -> Results {
    results_of(LedgerState { counts: LedgerSnapshot { at_ms: NOW, ..LedgerSnapshot::default() }, ..LedgerState::default() }, records)
}

/// JOBS holds these, and has accepted so many.
fn queue_of(last_seq: u64, numbers: &[u128]) -> Queue {
    let jobs = numbers.iter().map(|&number| job(number)).collect();
    let look = stream(last_seq, numbers.len() as u64);
    Queue { began: look, ended: look, jobs, strange: BTreeSet::new(), led_since_ms: Some(NOW - 500_000) }
}

fn queue(numbers: &[u128]) -> Queue {
    queue_of(numbers.len() as u64, numbers)
}

fn problems(results: &Results, queue: &Queue) -> Vec<Problem> {
    let found = look(results, queue, NOW);
    found.problems.union(&found.facts).cloned().collect()
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
    assert_eq!(problems(&Results::new(stored(LedgerSnapshot::default()), stream(2, 0), false), &queue(&[])), [Problem::Gap]);
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
    let report = AuditReport::of(&verdict);
    assert!(!report.ok && !report.checks[1].ok);
    assert_eq!(report.checks[1].wrong, [job(1).to_string()]);
}

#[test]
fn a_job_that_was_opened_and_never_queued_is_no_loss_at_any_age() {
    let mut young = open(2, 2);
    young.stored_at_ms = NOW - 1_000;
    let found = look(&without_ledger(&[open(1, 1), young]), &queue(&[]), NOW);
    assert_eq!((found.problems.len(), found.figures.young, found.figures.never_queued, found.figures.vanished), (0, 1, 1, 0));
    let mut verdict = Verdict::default();
    verdict.add(&without_ledger(&[open(1, 1)]), look(&without_ledger(&[open(1, 1)]), &queue(&[]), NOW));
    assert_eq!(AuditReport::of(&verdict).checks[5].figures, "1 open, 1 never queued: a leader will abandon them");
}

#[test]
fn a_message_that_left_jobs_before_its_job_had_ended_is_a_loss_at_once_and_has_a_name() {
    let mut young = open(2, 2);
    young.stored_at_ms = NOW - 1_000;
    // Two were queued, and one is there.
    let found = look(&without_ledger(&[open(1, 1), young]), &queue_of(2, &[1]), NOW);
    assert_eq!(found.problems, BTreeSet::from([Problem::Lost(job(2)), Problem::Vanished]));
    assert_eq!(found.figures.vanished, 1);
    // With a job beside it that never was queued, one of the two is lost.
    let found = look(&without_ledger(&[open(1, 1), young, open(3, 3)]), &queue_of(2, &[1]), NOW);
    assert_eq!(found.problems, BTreeSet::from([Problem::MaybeLost(job(2)), Problem::MaybeLost(job(3)), Problem::Vanished]));
}

#[test]
fn a_row_that_says_ok_is_true_and_a_lost_job_is_told_once() {
    let row = |results: &Results, queue: &Queue, index: usize| {
        let mut verdict = Verdict::default();
        verdict.add(results, look(results, queue, NOW));
        AuditReport::of(&verdict).checks[index].clone()
    };
    // Two jobs are open, and their messages were removed.
    let open_lost = row(&without_ledger(&[open(1, 1), open(2, 2)]), &queue_of(2, &[]), 5);
    assert_eq!((open_lost.ok, open_lost.wrong), (false, vec!["2 open jobs have no message in JOBS".to_owned()]));
    // One was lost and has been ended by the leader, another one never was queued.
    let end = |seq, n, took| Entry {
        state: EntryState::Ended { state: JobState::Abandoned, open_seq: Some(n), took },
        ..ended(seq, n.into(), n)
    };
    let ended_lost = without_ledger(&[end(3, 1, Took::Vanished), end(4, 2, Took::Nothing)]);
    assert!(row(&ended_lost, &queue_of(1, &[]), 5).ok, "no job is open");
    assert_eq!(
        row(&ended_lost, &queue_of(1, &[]), 0).figures,
        "2 = 0 committed + 0 given up + 0 cancelled + 1 abandoned + 1 lost + 0 open"
    );
}

#[test]
fn an_acknowledged_end_and_one_that_waits_for_its_acknowledgement_are_no_loss() {
    let records = [ended(3, 1, 1), ended(4, 2, 2), open(5, 3)];
    assert_eq!(problems(&without_ledger(&records), &queue_of(3, &[3])), []);
    let mut recent = ended(4, 2, 2);
    recent.stored_at_ms = NOW;
    assert_eq!(problems(&without_ledger(&[ended(3, 1, 1), recent, open(5, 3)]), &queue_of(3, &[2, 3])), []);
    // Job 3's message is gone while 2 still waits for its acknowledgement.
    let found = problems(&without_ledger(&[ended(3, 1, 1), recent, open(5, 3)]), &queue_of(3, &[2]));
    assert_eq!(found, [Problem::Lost(job(3)), Problem::Vanished]);
}

#[test]
fn a_leader_that_has_seen_more_of_jobs_than_the_list_does_not_make_it_go_back() {
    let mut ledger = stored(LedgerSnapshot::default());
    (ledger.queue.is_measured, ledger.queue.sight) = (true, Some(stream(2, 2).sight));
    let both = results_of(ledger, &[open(1, 1), open(2, 2)]);
    let queue = Queue { ended: stream(2, 2), ..queue_of(1, &[1]) };
    let found = look(&both, &queue, NOW);
    assert!(!found.problems.iter().any(|problem| matches!(problem, Problem::StoreWentBack(_) | Problem::Vanished)), "{found:?}");
}

#[test]
fn a_loss_that_the_sweeper_has_abandoned_stays_a_loss() {
    let state = EntryState::Ended { state: JobState::Abandoned, open_seq: Some(1), took: Took::Vanished };
    let abandoned = Entry { state, ..ended(2, 1, 1) };
    let found = look(&without_ledger(&[abandoned]), &queue_of(1, &[]), NOW);
    assert_eq!((found.problems, found.figures.vanished), (BTreeSet::from([Problem::Vanished]), 1));
    // And when the leader has stored it, and the record has expired.
    let mut ledger = stored(LedgerSnapshot { through_seq: 2, submitted: 1, abandoned: 1, ..LedgerSnapshot::default() });
    (ledger.lost, ledger.lost_jobs) = (1, vec![job(1)]);
    assert_eq!(problems(&results_of(ledger, &[]), &queue_of(1, &[])), [Problem::Lost(job(1)), Problem::Vanished]);
}

#[test]
fn an_older_copy_is_noticed_by_what_the_ledger_knew_and_what_a_leader_noticed_stays() {
    let mut ledger = stored(LedgerSnapshot { through_seq: 4, submitted: 2, committed: 2, ..LedgerSnapshot::default() });
    ledger.results = Some(stream(4, 2).sight);
    ledger.queue.sight = Some(stream(2, 0).sight);
    let results = Results::new(ledger.clone(), stream(2, 2), false);
    let found = look(&results, &queue_of(1, &[]), NOW);
    let told: Vec<String> = found.problems.iter().map(|problem| format!("{problem:?}")).collect();
    assert!(
        told[0].contains("JOBS went back from message 2 to 1") && told[1].contains("RESULTS went back from message 4 to 2"),
        "{told:?}"
    );
    assert_eq!(told.len(), 2, "and nothing is compared that cannot be: {told:?}");
    ledger.setbacks = vec![Setback {
        store: "RESULTS".into(),
        change: Change::WentBack,
        from_seq: 9,
        to_seq: 4,
        messages: 2,
        at_ms: NOW - 9_000,
        whole_at_ms: 0,
    }];
    let noticed = look(&Results::new(ledger, stream(4, 2), false), &queue_of(2, &[]), NOW);
    assert_eq!((noticed.problems.len(), noticed.facts.len()), (0, 1));
}

/// The row of the sum, and those that fail.
fn rows(results: &Results, queue: &Queue) -> (Check, Vec<&'static str>) {
    let mut verdict = Verdict::default();
    verdict.add(results, look(results, queue, NOW));
    let checks = AuditReport::of(&verdict).checks;
    let failed = checks.iter().filter(|check| !check.ok).map(|check| check.check).collect();
    (checks[0].clone(), failed)
}

#[test]
fn a_sum_is_ok_only_when_its_sides_are_equal_also_when_a_store_went_back() {
    let known = |counts: LedgerSnapshot, last_seq| {
        let mut ledger = stored(counts);
        ledger.results = Some(stream(last_seq, 0).sight);
        ledger
    };
    // Five jobs were open, and five ends were not counted yet, when RESULTS went back to where it was before them.
    let counts = LedgerSnapshot { through_seq: 5_005, submitted: 2_505, committed: 2_500, ..LedgerSnapshot::default() };
    let lost = Results::new(known(counts.clone(), 5_010), stream(5_000, 0), false);
    let (sum, failed) = rows(&lost, &queue_of(0, &[]));
    let figures = "2,505 = 2,500 committed + 0 given up + 0 cancelled + 0 abandoned + 0 open + 5 lost with the store";
    assert_eq!((sum.ok, sum.figures.as_str()), (false, figures));
    assert_eq!(failed, ["submitted = ended + open", "every end was counted", "no queued job is lost", "no stream went back"]);
    // The leader counts the same, and no later look makes it undone.
    let mut noticed = known(counts, 5_010);
    let setback = noticed.on_results(stream(5_000, 0).sight, 1, false, NOW).expect("it went back");
    noticed.restate(0);
    noticed.setbacks.push(setback);
    let later = Results::new(noticed, stream(5_000, 0), false);
    assert_eq!(rows(&later, &queue_of(0, &[])), (sum, failed));
    assert!(look(&later, &queue_of(0, &[]), NOW).problems.is_empty(), "those are facts");
    // The end of job 2 is lost: it is open again.
    let counts = LedgerSnapshot { through_seq: 4, submitted: 2, committed: 2, ..LedgerSnapshot::default() };
    let mut again = Results::new(known(counts, 4), stream(3, 2), false);
    [ended(3, 1, 1), open(2, 2)].into_iter().for_each(|record| again.add(record));
    let (sum, _) = rows(&again, &queue_of(2, &[2]));
    let figures = "2 + 1 brought back = 2 committed + 0 given up + 0 cancelled + 0 abandoned + 1 open";
    assert_eq!((sum.ok, sum.figures.as_str()), (false, figures));
    // RESULTS is made anew while it was empty, and no leader has noticed.
    let counts = LedgerSnapshot { through_seq: 4, submitted: 2, committed: 2, ..LedgerSnapshot::default() };
    let anew = StreamLook { sight: Sight { made_at_ms: 9, last_seq: 1, messages: 1 }, ..stream(1, 1) };
    let mut anew = Results::new(known(counts, 4), anew, false);
    anew.add(open(1, 3));
    let (sum, failed) = rows(&anew, &queue_of(3, &[3]));
    assert_eq!(sum.figures, "3 = 2 committed + 0 given up + 0 cancelled + 0 abandoned + 1 open");
    assert_eq!(failed, Vec::<&str>::new());
}

#[test]
fn what_expired_in_a_night_without_a_leader_is_told_and_is_no_failure() {
    // Job 1 was open when the ledger was stored. It and two more have come and gone, and RESULTS is empty at 6.
    let counts = LedgerSnapshot { through_seq: 1, submitted: 1, ..LedgerSnapshot::default() };
    let night = LedgerState { version: 7, ..LedgerState::from(LedgerSnapshot { at_ms: NOW - 900_000, ..counts }) };
    let results = Results::new(night, stream(6, 0), false);
    let found = look(&results, &queue_of(3, &[]), NOW);
    assert_eq!((found.problems.clone(), found.figures.submitted, found.figures.missed), (BTreeSet::new(), 3, 3));
    let mut verdict = Verdict::default();
    verdict.add(&results, found);
    let report = AuditReport::of(&verdict);
    assert!(report.ok && report.checks[2].figures.contains("the records of 3 ended jobs expired"), "{report:?}");
}

#[test]
fn queued_jobs_must_be_open_or_just_ended() {
    assert_eq!(problems(&without_ledger(&[]), &queue(&[1])), [Problem::NoRecord(job(1))]);
    let late = results(LedgerSnapshot::default(), &[ended(2, 1, 1)]);
    assert_eq!(problems(&late, &queue(&[1])), [Problem::NotAcknowledged(job(1))]);
    let found = look(&late, &queue(&[1]), NOW - 40_000);
    assert_eq!((found.problems.len(), found.figures.waiting_for_ack), (0, 1));
}

#[test]
fn an_ended_job_waits_for_a_scheduler_to_acknowledge_it_and_is_well_until_one_could() {
    let late = results(LedgerSnapshot::default(), &[ended(2, 1, 1)]);
    let audit = |led_since_ms| {
        let queue = Queue { led_since_ms, ..queue(&[1]) };
        let mut verdict = Verdict::default();
        verdict.add(&late, look(&late, &queue, NOW));
        AuditReport::of(&verdict).checks[6].clone()
    };
    let (alone, new, old) = (audit(None), audit(Some(NOW - 30_000)), audit(Some(NOW - 50_000)));
    assert!(alone.ok && new.ok && !old.ok, "{alone:?} {new:?} {old:?}");
    let words = "1 in JOBS, 1 ended and not yet acknowledged: no scheduler answers now, and the next one acknowledges them";
    assert_eq!((alone.figures.as_str(), new.figures.as_str()), (words, "1 in JOBS, 1 ended and not yet acknowledged"));
}

#[test]
fn that_no_scheduler_answers_is_said_with_what_waits_for_one_and_fails_nothing() {
    let report = |entries: &[Entry], queued: &[u128], led_since_ms| {
        let results = without_ledger(entries);
        let mut verdict = Verdict::default();
        verdict.add(&results, look(&results, &Queue { led_since_ms, ..queue(queued) }, NOW));
        AuditReport::of(&verdict)
    };
    let alone = report(&[open(1, 1), open(2, 2)], &[1, 2], None);
    assert!(alone.ok && !alone.figures.scheduler_answers);
    assert_eq!(alone.absence().as_deref(), Some("no scheduler answers: 2 open jobs wait until one leads"));
    assert_eq!(report(&[], &[], None).absence().as_deref(), Some("no scheduler answers: new jobs wait until one leads"));
    assert_eq!(report(&[open(1, 1)], &[1], Some(NOW)).absence(), None);
}

#[test]
fn what_the_ledger_says_is_believed() {
    let broken = LedgerSnapshot { through_seq: 3, submitted: 1, committed: 2, duplicates: 1, ..LedgerSnapshot::default() };
    let found = problems(&Results::new(stored(broken), stream(3, 0), false), &queue(&[]));
    assert_eq!(found, [Problem::Equation, Problem::Duplicates]);
    let missed = LedgerSnapshot { through_seq: 2, submitted: 1, missed: 1, ..LedgerSnapshot::default() };
    assert_eq!(problems(&Results::new(stored(missed), stream(2, 0), false), &queue(&[])), []);
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
    assert!(AuditReport::of(&verdict).ok);
    assert_eq!(AuditReport::of(&verdict).looks, 2);
}

#[test]
fn the_report_names_a_few() {
    let results = results(LedgerSnapshot::default(), &[]);
    let many: Vec<u128> = (0..15).collect();
    let mut verdict = Verdict::default();
    verdict.add(&results, look(&results, &queue(&many), NOW));
    let report = AuditReport::of(&verdict);
    let check = &report.checks[6];
    assert!(!report.ok && !check.ok && report.checks[..6].iter().all(|check| check.ok));
    assert_eq!(check.wrong.len(), NAMED + 1);
    assert_eq!(check.wrong[NAMED], "and 5 more");
    assert_eq!(check.figures, "15 in JOBS");
    assert_eq!(report.checks[0].figures, "0 = 0 committed + 0 given up + 0 cancelled + 0 abandoned + 0 open");
}

proptest! {
    /// Any honest history is sound, wherever the ledger stood when its snapshot was written.
    #[test]
    fn an_honest_history_is_sound(ends in proptest::collection::vec(proptest::option::of(0..4_u8), 1..60), cut in 0..200_u64) {
        let states = [JobState::Committed, JobState::Dead, JobState::Cancelled, JobState::Abandoned];
        // Each job opens, then those with an end get it after all have opened.
        let mut log: Vec<(u64, Entry)> = Vec::new();
        let mut alive: BTreeMap<u128, Entry> = BTreeMap::new();
        let mut seq = 0;
        for number in 0..ends.len() as u128 {
            seq += 1;
            log.push((seq, open(seq, number)));
            alive.insert(number, open(seq, number));
        }
        for (number, end) in ends.iter().enumerate() {
            if let Some(end) = end {
                seq += 1;
                let state = EntryState::Ended { state: states[usize::from(*end)], open_seq: Some(number as u64 + 1), took: Took::read(None, states[usize::from(*end)]) };
                let record = Entry { state, ..ended(seq, number as u128, 0) };
                log.push((seq, record));
                alive.insert(number as u128, record);
            }
        }
        let mut ledger = LedgerSnapshot::default();
        for (at, record) in log.iter().filter(|(at, _)| *at <= cut) {
            ledger.through_seq = *at;
            match record.state {
                EntryState::Open => ledger.submitted += 1,
                EntryState::Ended { state: JobState::Committed, .. } => ledger.committed += 1,
                EntryState::Ended { state: JobState::Dead, .. } => ledger.dead += 1,
                EntryState::Ended { state: JobState::Cancelled, .. } => ledger.cancelled += 1,
                EntryState::Ended { .. } => ledger.abandoned += 1,
            }
        }
        let mut present: Vec<Entry> = alive.values().copied().collect();
        present.sort_by_key(|record| record.seq);
        let still_open: Vec<u128> = ends.iter().enumerate().filter(|(_, end)| end.is_none()).map(|(number, _)| number as u128).collect();
        // Abandoned jobs were never queued.
        let queued = ends.iter().filter(|end| **end != Some(3)).count() as u64;
        let mut ledger = stored(ledger);
        ledger.queue.is_measured = true;
        let mut results = Results::new(ledger, stream(seq, present.len() as u64), false);
        present.iter().for_each(|&record| results.add(record));
        let found = look(&results, &queue_of(queued, &still_open), NOW);
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
    let report = AuditReport::of(&verdict);
    let failed: Vec<_> = report.checks.iter().filter(|check| !check.ok).collect();
    assert!(!report.ok && failed.len() == 1 && report.figures.violations == 1);
    assert_eq!(failed[0].wrong, ["GPU 0 is over its capacity"]);
}

/// Between the kill of the server and the leader's sweep: what came back is told, and is neither open nor a failure.
#[test]
fn openings_of_ended_jobs_that_came_back_are_no_failure() {
    let counts = LedgerSnapshot { through_seq: 10, submitted: 5, committed: 4, ..LedgerSnapshot::default() };
    let before = results(counts.clone(), &[open(1, 1), open(2, 2), open(10, 5)]);
    let found = look(&before, &queue_of(5, &[5]), NOW);
    assert_eq!(found.problems, BTreeSet::new());
    assert_eq!((found.figures.open, found.figures.returned, found.figures.committed), (1, 2, 4));
    // One of them was closed since.
    let closed = Entry { state: EntryState::Ended { state: JobState::Abandoned, open_seq: Some(1), took: Took::Returned }, ..open(11, 1) };
    let after = results(counts, &[open(2, 2), open(10, 5), closed]);
    let found = look(&after, &queue_of(5, &[5]), NOW);
    assert_eq!((found.problems, found.figures.open, found.figures.returned, found.figures.gaps), (BTreeSet::new(), 1, 1, 0));
}
