use super::build::{COMMITTED, FAILED, Log, MS, SECOND, T0, entry, pack, ticket};
use super::duties::{Custody, Standing, Sync, ack_delay_ns};
use super::fold::Fold;
use super::id::PackTicket;
use super::position::{LogCheck, LogSight};

#[test]
fn an_acknowledgement_waits_for_more_than_two_sync_intervals() {
    assert_eq!(ack_delay_ns(Sync::Always), 0);
    assert_eq!(ack_delay_ns(Sync::EveryNs(SECOND)), 2_500_000_000);
    assert_eq!(ack_delay_ns(Sync::EveryNs(u64::MAX)), u64::MAX / 2);
}

#[test]
fn a_pack_is_kept_only_while_each_task_is_vouched_for() {
    let (mut log, t) = (Log::new(), ticket(1, 1));
    let custody = |log: &Log, standings: [Option<Standing>; 3]| {
        log.fold.custody((t, (pack(1), 3)), |idx| standings[usize::from(idx)], (10_000, 3_000))
    };
    let waits = Some(Standing::Waiting);
    let heard = |heard_ms| Some(Standing::Placed { heard_ms });
    assert_eq!(custody(&log, [waits, heard(7_000), heard(10_500)]), Custody::Keep);
    assert_eq!(custody(&log, [waits, heard(6_999), heard(9_000)]), Custody::LetGo { idx: 1 }, "a silent member: all of it comes back");
    assert_eq!(custody(&log, [waits, waits, None]), Custody::LetGo { idx: 2 }, "a task that no one has in their books");
    log.worker(&[entry(COMMITTED, t, (pack(1), 3), 1)]);
    assert_eq!(custody(&log, [waits, None, waits]), Custody::Keep, "what has ended needs no attempt");
    assert_eq!(custody(&log, [heard(0), None, waits]), Custody::LetGo { idx: 0 });
    log.worker(&[entry(COMMITTED, t, (pack(1), 3), 0), entry(COMMITTED, t, (pack(1), 3), 2)]);
    assert_eq!(custody(&log, [None; 3]), Custody::Keep, "closed, until its acknowledgement is due");
    let foreign = PackTicket { ts: t.ts + 1, ..t };
    assert_eq!(log.fold.custody((foreign, (pack(1), 3)), |_| waits, (0, 0)), Custody::Foreign);
}

/// Its true ends count no more, so that nothing that runs helps it.
#[test]
fn a_pack_that_the_log_knows_by_another_name_is_not_kept() {
    let (mut log, t) = (Log::new(), ticket(1, 1));
    let custody = |log: &Log, name| log.fold.custody((t, name), |_| Some(Standing::Waiting), (0, 0));
    log.worker(&[entry(FAILED, t, (pack(66), 1), 0)]);
    assert_eq!([custody(&log, (pack(1), 1)), custody(&log, (pack(66), 2))], [Custody::Foreign; 2]);
    assert_eq!(custody(&log, (pack(66), 1)), Custody::Keep);
    log.worker(&[entry(COMMITTED, t, (pack(66), 1), 0)]);
    assert_eq!([custody(&log, (pack(1), 1)), custody(&log, (pack(66), 1))], [Custody::Foreign, Custody::Keep]);
}

#[test]
fn a_worker_does_not_drive_a_leader_to_the_end_of_all_epochs() {
    assert_eq!([Fold::epoch_above(6, 7), Fold::epoch_above(7, 7)], [None; 2]);
    assert_eq!([Fold::epoch_above(8, 7), Fold::epoch_above(1 << 52, 7)], [Some(9), Some((1 << 52) + 1)]);
    assert_eq!([Fold::epoch_above((1 << 52) + 1, 7), Fold::epoch_above(u64::MAX, 7)], [None; 2]);
}

#[test]
fn the_delay_of_a_retry_counts_from_the_failure_whoever_leads() {
    let (mut log, t) = (Log::new(), ticket(1, 1));
    let rest = |log: &Log| log.fold.rest_of_delay_ns(t.task(0), |failures| 10 * SECOND * failures as u64);
    assert_eq!(rest(&log), 0);
    log.worker(&[entry(FAILED, t, (pack(1), 1), 0)]);
    assert_eq!(rest(&log), 10 * SECOND);
    log.wait(4);
    assert_eq!(rest(&log), 6 * SECOND - 2 * MS);
    log.wait(60);
    assert_eq!(rest(&log), 0);
}

#[test]
fn a_log_is_known_by_the_time_of_its_message_at_the_folds_position() {
    let mut log = Log::new();
    log.worker(&[]);
    log.worker(&[]);
    let (fold, at) = (&log.fold, log.ts);
    let sight = |first_pos, last_pos, ts_at_pos| fold.check(LogSight { first_pos, last_pos, ts_at_pos });
    assert_eq!(sight(1, 2, Some(at)), LogCheck::Fits);
    assert_eq!(sight(2, 9, Some(at)), LogCheck::Fits, "the message at the position is never trimmed");
    assert_eq!(sight(1, 2, Some(at + 1)), LogCheck::WentBack, "it lost its tail and took the position again");
    assert_eq!(sight(1, 1, None), LogCheck::WentBack, "it lost its tail");
    assert_eq!(sight(1, 0, None), LogCheck::WentBack, "it was made anew");
    assert_eq!(sight(4, 9, None), LogCheck::Trimmed, "what lies between was never read");
    assert_eq!(sight(3, 9, None), LogCheck::WentBack, "nothing tells whether it is the same one");
    let empty = |first_pos| Fold::new().check(LogSight { first_pos, last_pos: 9, ts_at_pos: None });
    assert_eq!((empty(0), empty(1), empty(2)), (LogCheck::Fits, LogCheck::Fits, LogCheck::Trimmed));
    assert!(at > T0);
}
