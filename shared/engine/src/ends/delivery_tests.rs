use super::build::{COMMITTED, Log, MS, SECOND, T0, entry, pack, ticket};
use super::delivery::{Books, Delivery, Judgement};
use super::entry::{Entry, Looked, Republished, TaskKind, WentBack};
use super::fold::{Fold, LogMessage};
use super::id::{Gen, PackTicket};
use super::tasks::Tasks;
use crate::job::PackId;

const CLOSED: Judgement = Judgement::Closed { last_end_ts: None };
const NEW: Judgement = Judgement::New { is_checked: true };

fn of(ticket: PackTicket, pack: PackId, count: u16) -> Delivery {
    Delivery { ticket, named: Some((pack, count)) }
}

fn held(ticket: PackTicket) -> Books {
    Books { at_sequence: Some(ticket), of_pack: None }
}

fn judge(fold: &Fold, delivery: Delivery) -> Judgement {
    fold.judge(delivery, Books::default())
}

/// A log in which messages 1 to 9 of generation 1 have closed, with packs of one job.
fn nine_closed() -> Log {
    let mut log = Log::new();
    for seq in 1..10 {
        log.worker(&[entry(COMMITTED, ticket(1, seq), (pack(seq), 1), 0)]);
    }
    log
}

#[test]
fn new_open_held_and_closed_packs_are_told_apart() {
    let (mut log, t) = (Log::new(), ticket(1, 1));
    assert_eq!(judge(&log.fold, of(t, pack(1), 2)), NEW);
    assert_eq!(log.fold.judge(of(t, pack(1), 2), held(t)), Judgement::InBooks);
    log.worker(&[entry(COMMITTED, t, (pack(1), 2), 0)]);
    assert_eq!(judge(&log.fold, of(t, pack(1), 2)), NEW, "a new leader continues with what has not ended");
    assert_eq!(log.fold.judge(of(t, pack(1), 2), held(t)), Judgement::InBooks);
    log.worker(&[entry(COMMITTED, t, (pack(1), 2), 1)]);
    for books in [Books::default(), held(t)] {
        assert_eq!(log.fold.judge(of(t, pack(1), 2), books), Judgement::Closed { last_end_ts: Some(log.ts) });
    }
    log.wait(1_000);
    assert_eq!(judge(&log.fold, of(t, pack(1), 2)), CLOSED);
    assert_eq!(log.fold.judge(Delivery { ticket: t, named: None }, Books::default()), CLOSED);
}

#[test]
fn a_message_on_a_sequence_that_another_one_had_means_that_jobs_went_back() {
    let (mut log, t) = (Log::new(), ticket(1, 1));
    let again = PackTicket { ts: t.ts + SECOND, ..t };
    assert_eq!(log.fold.judge(of(again, pack(2), 1), held(t)), Judgement::WentBack, "the books know");
    log.worker(&[entry(COMMITTED, t, (pack(1), 2), 0)]);
    assert_eq!(judge(&log.fold, of(again, pack(2), 1)), Judgement::WentBack, "an open pack");
    assert_eq!(log.fold.judge(of(again, pack(2), 1), held(again)), Judgement::WentBack, "also when it was placed before the log said so");
    assert_eq!(log.fold.judge(of(t, pack(1), 2), held(again)), NEW, "what the log knows is what it is, whatever else a worker still runs");
    log.worker(&[entry(COMMITTED, t, (pack(1), 2), 1)]);
    assert_eq!(judge(&log.fold, of(again, pack(2), 1)), Judgement::WentBack, "a pack that closed");
    log.wait(1_000);
    assert_eq!(judge(&log.fold, of(again, pack(2), 1)), Judgement::WentBack, "a pack that is forgotten: later than all that closed");
    // The planted bug: without the time they are one, and the confirmed pack is acknowledged unread.
    assert_eq!(judge(&log.fold, of(PackTicket { ts: t.ts, ..again }, pack(2), 1)), CLOSED);
}

#[test]
fn a_setback_that_is_written_down_finds_second_uses_even_after_later_sequences_have_ended() {
    let mut log = nine_closed();
    log.wait(200);
    // JOBS went back to message 5 and has grown to 12 since. Message 12 was never known, runs and ends.
    let second = |seq| PackTicket { ts: T0 + 300 * SECOND + seq * MS, ..ticket(1, seq) };
    let without = {
        let mut log = log.clone();
        log.worker(&[entry(COMMITTED, second(12), (pack(12), 1), 0)]);
        judge(&log.fold, of(second(7), pack(7_000), 1))
    };
    assert_eq!(without, CLOSED, "which would lose it");
    log.leader(&[Entry::WentBack(WentBack { epoch: 1, r#gen: Gen(1), from_seq: 9, from_ts: ticket(1, 9).ts, to_seq: 5 })]);
    log.worker(&[entry(COMMITTED, second(12), (pack(12), 1), 0)]);
    assert_eq!(judge(&log.fold, of(second(7), pack(7_000), 1)), Judgement::WentBack);
    assert_eq!(judge(&log.fold, of(ticket(1, 7), pack(7), 1)), CLOSED, "the first use stays what it was");
    assert!(log.fold.is_closed(second(12)) && !log.fold.is_closed(second(7)));
}

#[test]
fn a_server_whose_clock_steps_back_makes_no_second_use() {
    let mut log = Log::new();
    let behind = PackTicket { ts: ticket(1, 1).ts - 500 * MS, ..ticket(1, 2) };
    log.worker(&[entry(COMMITTED, ticket(1, 1), (pack(1), 1), 0), entry(COMMITTED, behind, (pack(2), 1), 0)]);
    log.wait(1_000);
    assert_eq!(judge(&log.fold, of(ticket(1, 1), pack(1), 1)), CLOSED);
    assert_eq!(judge(&log.fold, of(behind, pack(2), 1)), CLOSED);
}

#[test]
fn a_pack_that_ended_under_another_ticket_is_void() {
    let mut log = Log::new();
    let (first, second) = (ticket(1, 1), ticket(2, 1));
    log.worker(&[entry(COMMITTED, first, (pack(1), 2), 0), entry(COMMITTED, first, (pack(1), 2), 1)]);
    let all: Tasks = [0, 1].into_iter().collect();
    assert_eq!(judge(&log.fold, of(second, pack(1), 2)), Judgement::ResubmittedUnder { first, tasks: all });
    log.leader(&[entry(TaskKind::Void { first }, second, (pack(1), 2), 0), entry(TaskKind::Void { first }, second, (pack(1), 2), 1)]);
    assert_eq!(judge(&log.fold, of(second, pack(1), 2)), Judgement::Closed { last_end_ts: Some(log.ts) });
    assert_eq!(judge(&log.fold, of(ticket(2, 2), pack(1), 2)), Judgement::ResubmittedUnder { first, tasks: all }, "and a third one");
}

#[test]
fn a_pack_that_is_open_under_another_ticket_is_settled_by_the_log() {
    let mut log = Log::new();
    let (first, second, p) = (ticket(1, 1), ticket(2, 1), (pack(1), 3));
    let books = Books { at_sequence: None, of_pack: Some(first) };
    assert_eq!(
        log.fold.judge(of(second, pack(1), 3), books),
        Judgement::OpenUnder { other: first },
        "it runs, and the log does not know it"
    );
    log.worker(&[entry(COMMITTED, first, p, 1)]);
    assert_eq!(judge(&log.fold, of(second, pack(1), 3)), Judgement::OpenUnder { other: first });
    // JOBS was made anew, so the first one's message is lost: what it has not ended goes on under the second ticket.
    let void = |idx| entry(TaskKind::Void { first: second }, first, p, idx);
    log.leader(&[void(0), void(2)]);
    let one: Tasks = [1].into_iter().collect();
    assert_eq!(log.fold.judge(of(second, pack(1), 3), books), Judgement::ResubmittedUnder { first, tasks: one });
    // All of it was given up in favour of the second.
    let mut log = Log::new();
    log.leader(&[void(0), void(1), void(2)]);
    assert_eq!(judge(&log.fold, of(second, pack(1), 3)), NEW);
}

#[test]
fn an_id_that_is_too_old_or_ahead_is_given_up() {
    let log = Log::new();
    let t = ticket(1, 0);
    let at = |id_ms: u64| judge(&log.fold, of(t, PackId::new(id_ms, 1), 1));
    let stored_ms = T0 / MS;
    assert_eq!([at(stored_ms - 60_000), at(stored_ms + 60_000)], [NEW; 2]);
    assert_eq!([at(stored_ms - 60_001), at(stored_ms + 60_001)], [Judgement::TooOld { pack: t.stand_in() }; 2]);
}

#[test]
fn a_pack_that_was_published_again_is_as_old_as_it_was_first() {
    let mut log = Log::new();
    let again = PackTicket { ts: T0 + 600 * SECOND, ..ticket(1, 40) };
    assert_eq!(judge(&log.fold, of(again, pack(1), 1)), Judgement::TooOld { pack: again.stand_in() });
    let republished = |ticket| Entry::Republished(Republished { epoch: 1, ticket, pack: pack(1), is_stored: false });
    log.leader(&[republished(ticket(1, 1))]);
    assert_eq!(judge(&log.fold, of(again, pack(1), 1)), NEW);
    // The copy landed on a used sequence as well.
    log.leader(&[republished(again)]);
    let third = PackTicket { ts: again.ts + 90 * SECOND, ..ticket(1, 41) };
    assert_eq!(judge(&log.fold, of(third, pack(1), 1)), NEW);
}

#[test]
fn what_cannot_be_read_is_given_up() {
    let log = Log::new();
    assert_eq!(judge(&log.fold, Delivery { ticket: ticket(1, 1), named: None }), Judgement::Unreadable);
    for count in [0, 257, u16::MAX] {
        assert_eq!(judge(&log.fold, of(ticket(1, 1), pack(1), count)), Judgement::Unreadable);
    }
}

#[test]
fn a_ticket_that_a_worker_gave_another_name_is_noticed() {
    let mut log = Log::new();
    let t = ticket(1, 1);
    log.worker(&[entry(COMMITTED, t, (pack(66), 2), 0)]);
    let misnamed = Judgement::Misnamed { known: Some((pack(66), 2)) };
    let unreadable = Delivery { ticket: t, named: None };
    for delivery in [of(t, pack(1), 1), of(t, pack(66), 3), of(t, pack(66), 0), unreadable] {
        assert_eq!(judge(&log.fold, delivery), misnamed);
        assert_eq!(log.fold.judge(delivery, held(t)), misnamed);
    }
    assert_eq!(log.fold.open_name(t), Some((pack(66), 2)));
    assert!(log.fold.can_end(t, (pack(66), 2)) && !log.fold.can_end(t, (pack(66), 1)) && !log.fold.can_end(t, (pack(1), 2)));
    // Nor is it closed when all that the wrong name has is ended, but when it is published again.
    log.leader(&[entry(TaskKind::Void { first: t }, t, (pack(66), 2), 1)]);
    assert_eq!(judge(&log.fold, of(t, pack(1), 1)), Judgement::Misnamed { known: None });
    assert_eq!(judge(&log.fold, unreadable), Judgement::Misnamed { known: None });
    log.leader(&[Entry::Republished(Republished { epoch: 1, ticket: t, pack: pack(1), is_stored: true })]);
    assert_eq!(judge(&log.fold, of(t, pack(1), 1)), CLOSED);
}

/// Every reader can work out the stand-in.
#[test]
fn a_wrong_count_by_the_stand_in_is_noticed_too() {
    let t = ticket(1, 1);
    for (count, named) in [(3, Some((pack(1), 2))), (2, None)] {
        let mut log = Log::new();
        log.worker(&[entry(COMMITTED, t, (t.stand_in(), count), 0)]);
        assert_eq!(judge(&log.fold, Delivery { ticket: t, named }), Judgement::Misnamed { known: Some((t.stand_in(), count)) });
    }
}

#[test]
fn a_late_delivery_says_that_an_earlier_ticket_may_be_forgotten() {
    let mut log = Log::new();
    let late = of(ticket(1, 5), pack(5), 1);
    for _ in 0..2 {
        log.wait_unled(60);
        assert_eq!(judge(&log.fold, late), NEW, "nothing is forgotten before a look");
    }
    log.wait(60);
    assert_eq!(judge(&log.fold, late), NEW, "nor has a look found anything");
    let mut fold = Fold::from_remains(5);
    assert_eq!(judge(&fold, late), Judgement::New { is_checked: false }, "a fold without the log's beginning knows nothing before it");
    fold.on_message(LogMessage { pos: 5, ts: T0 - 61 * SECOND, is_leaders: false, is_copy: false, body: Ok(&[]) }).unwrap();
    assert_eq!(judge(&fold, late), NEW);
}

#[test]
fn a_pack_is_remembered_until_what_could_repeat_it_has_been_looked_at() {
    let mut log = Log::new();
    let (first, second) = (ticket(1, 1), ticket(1, 9));
    log.worker(&[entry(COMMITTED, first, (pack(1), 1), 0)]);
    let looked = |ts| Entry::Looked(Looked { epoch: 1, ts });
    let resubmitted = Judgement::ResubmittedUnder { first, tasks: [0].into_iter().collect() };
    // Nothing is forgotten while no leader has looked, nor for a look at what was stored before.
    for looks in [&[][..], &[looked(second.ts)]] {
        log.leader(looks);
        log.wait_unled(3_600);
        assert_eq!(judge(&log.fold, of(second, pack(1), 1)), resubmitted, "after an hour in the queue");
    }
    // The leader comes back, looks, and finds it before the pack is forgotten.
    log.wait_unled(3_600);
    log.leader(&[entry(TaskKind::Void { first }, second, (pack(1), 1), 0), looked(log.ts)]);
    log.wait_unled(1);
    assert_eq!(
        (log.fold.recent_packs(), judge(&log.fold, of(second, pack(1), 1))),
        (1, Judgement::Closed { last_end_ts: Some(log.ts - SECOND - MS) })
    );
    assert_eq!(judge(&log.fold, of(ticket(1, 10), pack(10), 1)), NEW, "stored before, looked at, and no repetition");
}

#[test]
fn a_wrong_name_is_remembered_until_a_leader_has_looked() {
    let (mut log, t) = (Log::new(), ticket(1, 1));
    log.worker(&[entry(COMMITTED, t, (pack(7), 1), 0)]);
    log.wait_unled(3_600);
    assert_eq!(judge(&log.fold, of(t, pack(1), 1)), Judgement::Misnamed { known: None }, "acknowledged as closed, it would be lost");
    log.leader(&[Entry::Looked(Looked { epoch: 1, ts: log.ts })]);
    log.wait_unled(1);
    assert_eq!(judge(&log.fold, of(t, pack(1), 1)), CLOSED);
}

#[test]
fn of_two_messages_of_a_pack_jobs_may_lose_the_later_one_alone() {
    let (first, second) = (ticket(1, 3), ticket(1, 4));
    assert!(first.outlasts(second) && !second.outlasts(first) && !first.outlasts(first));
    assert!(!ticket(2, 3).outlasts(second) && !second.outlasts(ticket(2, 5)), "a stream that was made anew has no tail of the former one");
}

#[test]
fn a_second_use_that_is_settled_is_acknowledged_however_late_it_comes() {
    let mut log = nine_closed();
    log.leader(&[Entry::WentBack(WentBack { epoch: 1, r#gen: Gen(1), from_seq: 20, from_ts: ticket(1, 20).ts, to_seq: 5 })]);
    // Messages 10 to 20 were seen and never ended, so that the second use of 15 is the first that the log knows.
    let second = |seq| PackTicket { ts: T0 + 40 * SECOND + seq * MS, ..ticket(1, seq) };
    log.worker(&[entry(COMMITTED, second(15), (pack(40_015), 1), 0)]);
    // The second use of 7 is published again.
    let again = Republished { epoch: 1, ticket: second(7), pack: pack(40_007), is_stored: false };
    log.leader(&[Entry::Republished(again)]);
    assert_eq!(judge(&log.fold, of(second(7), pack(40_007), 1)), Judgement::WentBack, "nothing says that it was done");
    log.leader(&[Entry::Republished(Republished { is_stored: true, ..again })]);
    for _ in 0..2 {
        assert_eq!(judge(&log.fold, of(second(7), pack(40_007), 1)), CLOSED);
        assert!(log.fold.is_closed(second(15)) && !log.fold.is_closed(second(8)));
        log.wait(3_600);
    }
    assert_eq!(judge(&log.fold, of(second(15), pack(40_015), 1)), CLOSED);
}

/// Its jobs may have ended under a ticket that is forgotten, and would end twice.
#[test]
fn a_pack_that_is_too_old_does_not_end_under_its_own_name() {
    let (mut log, t, old) = (Log::new(), ticket(1, 1), PackId::new(T0 / MS - 100_000, 1));
    let too_old = Judgement::TooOld { pack: t.stand_in() };
    assert_eq!(judge(&log.fold, of(t, old, 2)), too_old);
    log.leader(&[entry(TaskKind::Dead, t, (t.stand_in(), 2), 0)]);
    assert_eq!(judge(&log.fold, of(t, old, 2)), too_old, "the next leader goes on with it");
    log.leader(&[entry(TaskKind::Dead, t, (t.stand_in(), 2), 1)]);
    assert!(matches!(judge(&log.fold, of(t, old, 2)), Judgement::Closed { .. }));
}

#[test]
fn a_ticket_that_cannot_end_any_more_holds_no_other_one_up() {
    let (mut log, lost, again) = (Log::new(), ticket(1, 1), PackTicket { ts: T0 + 50, ..ticket(1, 1) });
    log.worker(&[entry(COMMITTED, again, (pack(2), 2), 0)]);
    let books = Books { at_sequence: None, of_pack: Some(lost) };
    assert_eq!(log.fold.judge(of(ticket(1, 2), pack(1), 1), books), NEW);
}
