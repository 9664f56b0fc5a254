use super::build::{COMMITTED, FAILED, Log, MS, SECOND, T0, entry, pack, task, ticket};
use super::changes::{AlarmKind, Closed, Counts, Term};
use super::entry::{Entry, Looked, Republished, TaskKind, WentBack};
use super::fold::{Fold, Gap, LogMessage, Malformed};
use super::id::{Gen, PackTicket};
use super::packs::EndKind;
use super::snapshot::Snapshot;
use crate::job::AttemptId;

const DEAD: TaskKind = TaskKind::Dead;

#[test]
fn the_first_end_counts_and_the_last_one_closes_the_pack() {
    let (mut log, t, p) = (Log::new(), ticket(1, 1), (pack(1), 2));
    let first = log.worker(&[entry(COMMITTED, t, p, 1)]);
    assert_eq!((first.ended.len(), first.closed.len()), (1, 0));
    assert_eq!(log.fold.end_of(t.task(1)), Some(EndKind::Committed));
    let late = log.worker(&[entry(COMMITTED, t, p, 1)]);
    assert!(late.ended.is_empty() && !log.fold.is_closed(t));
    let last = log.leader(&[entry(DEAD, t, p, 0)]);
    assert_eq!(last.closed, [Closed { ticket: t, pack: pack(1) }]);
    assert_eq!(last.ended[0].job.to_string(), format!("{}-0", pack(1)));
    assert!(log.fold.is_closed(t));
    assert_eq!(*log.fold.counts(), Counts { committed: 1, dead: 1, late: 1, ..Counts::default() });
}

#[test]
fn ends_in_one_message_count_in_their_order() {
    let (mut log, t, p) = (Log::new(), ticket(1, 1), (pack(1), 1));
    let changes = log.leader(&[entry(TaskKind::Cancelled, t, p, 0), entry(DEAD, t, p, 0)]);
    assert_eq!((changes.ended.len(), changes.ended[0].entry, changes.ended[0].kind), (1, 0, EndKind::Cancelled));
    assert_eq!((log.fold.counts().cancelled, log.fold.counts().late), (1, 1));
}

#[test]
fn a_failure_counts_once_for_each_attempt_and_never_after_the_end() {
    let (mut log, t, p) = (Log::new(), ticket(1, 1), (pack(1), 2));
    let failure = |attempt, kind| Entry::Task(super::entry::TaskEntry { attempt: Some(AttemptId::new(0, attempt)), ..task(kind, t, p, 0) });
    assert_eq!(log.worker(&[failure(1, FAILED), failure(1, FAILED)]).failed.len(), 1);
    let second = log.worker(&[failure(2, TaskKind::Failed { is_final: true })]);
    assert_eq!((second.failed[0].failures, second.failed[0].is_final), (2, true));
    let known = log.fold.failures_of(t.task(0)).to_vec();
    assert_eq!(known.iter().map(|failure| (failure.pos, failure.is_final)).collect::<Vec<_>>(), [(1, false), (2, true)]);
    log.worker(&[entry(COMMITTED, t, p, 0), failure(3, FAILED)]);
    assert!(log.fold.failures_of(t.task(0)).is_empty());
    assert_eq!(*log.fold.counts(), Counts { committed: 1, failed: 2, late: 2, ..Counts::default() });
}

#[test]
fn a_worker_that_never_stops_failing_fills_no_memory() {
    let (mut log, t, p) = (Log::new(), ticket(1, 1), (pack(1), 1));
    for attempt in 0..1_000 {
        log.worker(&[Entry::Task(super::entry::TaskEntry { attempt: Some(AttemptId::new(0, attempt)), ..task(FAILED, t, p, 0) })]);
    }
    assert_eq!(log.fold.failures_of(t.task(0)).len(), 128);
}

#[test]
fn what_a_deposed_leader_decides_counts_for_nothing() {
    let (mut log, p) = (Log::new(), (pack(1), 4));
    let t = ticket(1, 1);
    let of = |epoch, kind, idx| Entry::Task(super::entry::TaskEntry { epoch, ..task(kind, t, p, idx) });
    assert_eq!(log.leader(&[Entry::Term { epoch: 5 }]).terms, [Term { epoch: 5, is_new: true }]);
    log.leader(&[of(5, DEAD, 0)]);
    assert_eq!(log.leader(&[Entry::Term { epoch: 7 }]).terms, [Term { epoch: 7, is_new: true }]);
    // The zombie decides, says that a job failed at its time limit, and repeats its term.
    assert_eq!(log.leader(&[of(7, DEAD, 3), of(5, TaskKind::Cancelled, 1), of(6, FAILED, 1)]).fenced, [1, 2]);
    assert_eq!(log.leader(&[Entry::Term { epoch: 5 }]).terms, [Term { epoch: 5, is_new: false }]);
    assert_eq!(
        log.leader(&[Entry::Term { epoch: 7 }]).terms,
        [Term { epoch: 7, is_new: false }],
        "two leaders with one epoch: one steps down"
    );
    // A worker's end keeps counting, whichever leader placed the attempt.
    log.worker(&[of(5, COMMITTED, 2)]);
    assert_eq!(log.fold.term(), 7);
    assert_eq!(*log.fold.counts(), Counts { dead: 2, committed: 1, fenced: 2, ..Counts::default() });
}

#[test]
fn without_a_term_entry_a_zombie_would_decide() {
    let (mut log, t) = (Log::new(), ticket(1, 1));
    let of = |epoch| Entry::Task(super::entry::TaskEntry { epoch, ..task(DEAD, t, (pack(1), 1), 0) });
    // The planted bug: the leader with epoch 7 has not said so in the log.
    assert_eq!(log.leader(&[of(5)]).ended.len(), 1);
}

#[test]
fn an_epoch_is_above_the_logs_term_whatever_the_lease_says() {
    let mut log = Log::new();
    log.leader(&[Entry::Term { epoch: 1_000 }]);
    assert_eq!((log.fold.epoch_for(1_234), log.fold.epoch_for(1)), (1_234, 1_001));
    // The planted bug: the revision of a bucket that was made anew, as it is.
    let changes = log.leader(&[Entry::Term { epoch: 1 }, Entry::Task(task(DEAD, ticket(1, 1), (pack(1), 1), 0))]);
    assert!(changes.ended.is_empty() && log.fold.counts().fenced == 1);
}

#[test]
fn only_leaders_decide_and_only_from_their_subject() {
    let (mut log, t, p) = (Log::new(), ticket(1, 1), (pack(1), 1));
    let first = ticket(1, 9);
    let leaders = [
        entry(DEAD, t, p, 0),
        entry(TaskKind::Cancelled, t, p, 0),
        entry(TaskKind::Void { first }, t, p, 0),
        Entry::Term { epoch: 9 },
        Entry::WentBack(WentBack { epoch: 9, r#gen: Gen(1), from_seq: 9, from_ts: 9, to_seq: 1 }),
        Entry::Republished(Republished { epoch: 9, ticket: t, pack: pack(1), is_stored: false }),
        Entry::Looked(Looked { epoch: 9, ts: 9 }),
    ];
    let changes = log.worker(&leaders);
    assert!(changes.ended.is_empty() && changes.terms.is_empty() && changes.went_back.is_empty());
    assert!(changes.alarms.iter().all(|alarm| alarm.kind == AlarmKind::Forged));
    assert_eq!((changes.alarms.len(), log.fold.term()), (7, 0));
    assert_eq!(*log.fold.counts(), Counts { forged: 7, ..Counts::default() });
}

#[test]
fn copies_and_nonsense_are_counted_and_passed_over() {
    let mut fold = Fold::new();
    let entries = [entry(COMMITTED, ticket(1, 1), (pack(1), 1), 0)];
    let message = |pos, is_copy, body| LogMessage { pos, ts: T0, is_leaders: false, is_copy, body };
    assert!(fold.on_message(message(1, true, Ok(&entries))).unwrap().ended.is_empty());
    assert!(fold.on_message(message(2, false, Err(Malformed))).unwrap().ended.is_empty());
    assert_eq!((fold.counts().malformed, fold.pos()), (2, 2));
}

#[test]
fn a_message_that_was_told_before_changes_nothing_and_a_missing_one_is_refused() {
    let mut log = Log::new();
    let entries = [entry(COMMITTED, ticket(1, 1), (pack(1), 1), 0)];
    log.worker(&entries);
    let before = log.fold.clone();
    let message = |pos| LogMessage { pos, ts: log.ts, is_leaders: false, is_copy: false, body: Ok(&entries) };
    let mut fold = log.fold.clone();
    assert!(fold.on_message(message(1)).unwrap().ended.is_empty());
    assert_eq!(fold.on_message(message(3)), Err(Gap { expected: 2, found: 3 }));
    assert_eq!(fold, before);
}

#[test]
fn an_end_for_another_message_by_the_same_ticket_is_a_conflict() {
    let (mut log, t, p) = (Log::new(), ticket(1, 1), (pack(1), 2));
    log.worker(&[entry(COMMITTED, t, p, 0)]);
    let other = PackTicket { ts: t.ts + 1, ..t };
    let conflicts = [
        entry(COMMITTED, other, p, 1),
        entry(COMMITTED, t, (pack(2), 2), 1),
        entry(COMMITTED, t, (pack(1), 3), 1),
        entry(COMMITTED, t, p, 2),
        entry(COMMITTED, ticket(1, 2), (pack(3), 0), 0),
        entry(COMMITTED, ticket(1, 2), (pack(3), 257), 0),
    ];
    let changes = log.worker(&conflicts);
    assert!(changes.ended.is_empty() && changes.alarms.iter().all(|alarm| alarm.kind == AlarmKind::Conflict));
    assert_eq!(log.fold.counts().conflict, 6);
    // Also when the pack has closed, as long as its identity is remembered.
    log.worker(&[entry(COMMITTED, t, p, 1)]);
    log.worker(&[entry(COMMITTED, other, p, 1), entry(COMMITTED, t, (pack(2), 2), 0), entry(COMMITTED, t, p, 1)]);
    assert_eq!((log.fold.counts().conflict, log.fold.counts().late, log.fold.counts().committed), (8, 1, 2));
}

#[test]
fn without_a_generation_the_packs_of_a_stream_made_anew_look_ended() {
    let mut log = Log::new();
    log.worker(&[entry(COMMITTED, ticket(1, 1), (pack(1), 1), 0)]);
    assert!(!log.fold.is_closed(ticket(2, 1)), "another generation is another stream");
    log.worker(&[entry(COMMITTED, ticket(2, 1), (pack(2), 1), 0)]);
    assert_eq!(log.fold.counts().committed, 2);
    // The planted bugs: one generation for both, and then also without the time.
    let mut log = Log::new();
    log.worker(&[entry(COMMITTED, ticket(1, 1), (pack(1), 1), 0)]);
    let anew = PackTicket { ts: T0 + 500 * SECOND, ..ticket(1, 1) };
    log.worker(&[entry(COMMITTED, anew, (pack(2), 1), 0)]);
    assert_eq!((log.fold.counts().committed, log.fold.counts().conflict), (1, 1), "the time closes it a second time");
    log.wait(200);
    log.worker(&[entry(COMMITTED, ticket(1, 1), (pack(2), 1), 0)]);
    assert_eq!((log.fold.counts().committed, log.fold.counts().late), (1, 1), "with neither, an end is lost in silence");
}

#[test]
fn a_second_end_of_a_job_under_another_ticket_is_double_and_does_not_count() {
    let (mut log, p) = (Log::new(), (pack(1), 2));
    let (first, second) = (ticket(1, 1), ticket(1, 9));
    log.worker(&[entry(COMMITTED, first, p, 0), entry(COMMITTED, first, p, 1)]);
    let changes = log.worker(&[entry(COMMITTED, second, p, 0)]);
    assert_eq!(changes.alarms[0].kind, AlarmKind::Double { first });
    assert_eq!(changes.ended[0].kind, EndKind::Void, "it ends its ticket");
    log.leader(&[entry(TaskKind::Void { first }, second, p, 1)]);
    assert!(log.fold.is_closed(second));
    assert_eq!(*log.fold.counts(), Counts { committed: 2, double: 1, void: 1, ..Counts::default() });
}

#[test]
fn a_double_end_is_seen_while_the_first_pack_is_still_open() {
    let (mut log, p) = (Log::new(), (pack(1), 2));
    log.worker(&[entry(COMMITTED, ticket(1, 1), p, 0)]);
    log.worker(&[entry(COMMITTED, ticket(2, 1), p, 0), entry(COMMITTED, ticket(2, 1), p, 1)]);
    assert_eq!((log.fold.counts().committed, log.fold.counts().double), (2, 1));
    log.worker(&[entry(COMMITTED, ticket(1, 1), p, 1)]);
    assert_eq!((log.fold.counts().committed, log.fold.counts().double), (2, 2));
}

#[test]
fn a_task_that_was_void_under_one_ticket_counts_under_the_other() {
    let (mut log, p) = (Log::new(), (pack(1), 2));
    let (first, second) = (ticket(1, 1), ticket(2, 1));
    log.worker(&[entry(COMMITTED, first, p, 0)]);
    log.leader(&[entry(TaskKind::Void { first: second }, first, p, 1), entry(TaskKind::Void { first }, second, p, 0)]);
    log.worker(&[entry(COMMITTED, second, p, 1)]);
    assert_eq!(*log.fold.counts(), Counts { committed: 2, void: 2, ..Counts::default() });
    assert!(log.fold.is_closed(first) && log.fold.is_closed(second));
}

#[test]
fn a_closed_pack_is_forgotten_after_130_s_of_the_log_and_stays_closed() {
    let (mut log, t) = (Log::new(), ticket(1, 1));
    log.worker(&[entry(COMMITTED, t, (pack(1), 1), 0)]);
    log.wait(129);
    assert_eq!(log.fold.recent_packs(), 1);
    log.wait(1);
    assert_eq!(log.fold.recent_packs(), 0);
    assert!(log.fold.is_closed(t) && log.fold.packs.is_empty());
    log.worker(&[entry(COMMITTED, t, (pack(1), 1), 0)]);
    assert_eq!((log.fold.counts().committed, log.fold.counts().late), (1, 1));
}

#[test]
fn a_clock_of_the_log_that_steps_back_forgets_nothing_and_a_later_position_is_later() {
    let mut fold = Fold::new();
    let entries = |seq| [entry(COMMITTED, ticket(1, seq), (pack(seq), 1), 0), Entry::Looked(Looked { epoch: 1, ts: u64::MAX })];
    let mut tell = |pos, ts, seq| {
        fold.on_message(LogMessage { pos, ts, is_leaders: true, is_copy: false, body: Ok(&entries(seq)) }).unwrap();
        (fold.recent_packs(), fold.pos_ts(), fold.clock_ts)
    };
    assert_eq!(tell(1, T0, 1), (1, T0, T0));
    assert_eq!(tell(2, T0 - 3_600 * SECOND, 2), (2, T0 - 3_600 * SECOND, T0));
    assert_eq!(tell(3, T0 + 130 * SECOND, 3), (1, T0 + 130 * SECOND, T0 + 130 * SECOND));
}

#[test]
fn one_pack_under_two_tickets_is_forgotten_one_ticket_at_a_time() {
    let (mut log, p) = (Log::new(), (pack(1), 1));
    log.worker(&[entry(COMMITTED, ticket(1, 1), p, 0)]);
    log.wait(100);
    log.leader(&[entry(TaskKind::Void { first: ticket(1, 1) }, ticket(1, 2), p, 0)]);
    log.wait(40);
    assert_eq!((log.fold.recent_packs(), log.fold.packs.len()), (1, 1));
    log.wait(100);
    assert_eq!((log.fold.recent_packs(), log.fold.packs.len()), (0, 0));
}

#[test]
fn a_repeated_republication_counts_once() {
    let mut log = Log::new();
    let again = Entry::Republished(Republished { epoch: 1, ticket: ticket(1, 1), pack: pack(1), is_stored: false });
    log.leader(&[again.clone(), again]);
    assert_eq!(log.fold.counts().republished, 1);
    log.worker(&[entry(COMMITTED, ticket(1, 3), (pack(1), 1), 0)]);
    log.wait(131);
    assert!(log.fold.republished.is_empty());
}

#[test]
fn what_is_left_of_a_trimmed_log_is_followed_from_its_first_message() {
    let mut fold = Fold::from_remains(8);
    assert!(fold.on_message(LogMessage { pos: 9, ts: T0, is_leaders: false, is_copy: false, body: Ok(&[]) }).is_err());
    let end = [entry(COMMITTED, ticket(1, 1), (pack(1), 1), 0)];
    fold.on_message(LogMessage { pos: 8, ts: T0 + 5 * MS, is_leaders: false, is_copy: false, body: Ok(&end) }).unwrap();
    assert_eq!((fold.known_from_ts, fold.counts().committed, fold.has_read(8), fold.has_read(9)), (T0 + 5 * MS, 1, true, false));
    assert_eq!(Fold::from_remains(1), Fold::new());
}

#[test]
fn open_packs_are_listed_with_what_has_ended() {
    let (mut log, t) = (Log::new(), ticket(1, 1));
    log.worker(&[entry(COMMITTED, t, (pack(1), 3), 2)]);
    assert_eq!(log.fold.open_packs().collect::<Vec<_>>(), [(t, pack(1), 3)]);
    assert_eq!(log.fold.ended_tasks(t).iter().collect::<Vec<_>>(), [2]);
    assert!(log.fold.ended_tasks(ticket(1, 2)).is_empty());
}

#[test]
fn a_successor_knows_whose_dead_letters_are_owed() {
    let (mut log, t, p) = (Log::new(), ticket(1, 1), (pack(1), 3));
    log.leader(&[entry(TaskKind::Dead, t, p, 1)]);
    let owed = Some((pack(1), [1].into_iter().collect()));
    assert_eq!(log.fold.dead_tasks(t), owed);
    log.worker(&[entry(COMMITTED, t, p, 0), entry(COMMITTED, t, p, 2)]);
    log.worker(&[entry(COMMITTED, ticket(1, 2), (pack(2), 1), 0)]);
    let restored = Snapshot::of(&log.fold, Default::default()).restore().unwrap();
    assert_eq!(restored, log.fold);
    assert_eq!((restored.dead_tasks(t), restored.dead_tasks(ticket(1, 2))), (owed, None));
}
