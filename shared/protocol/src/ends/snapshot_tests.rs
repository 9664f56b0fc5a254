use std::collections::BTreeMap;

use faultline_engine::ends::{Entry, Fold, Gen, LogMessage, Looked, PackTicket, Republished, Seen, TaskEntry, TaskKind, WentBack};
use faultline_engine::job::{AttemptId, PackId};
use proptest::prelude::*;

use super::super::golden;
use super::*;

const T0: u64 = 1_700_000_000_000_000_000;

fn entry(kind: TaskKind, seq: u64, (pack, count): (u128, u16), idx: u16) -> Entry {
    let ticket = PackTicket { r#gen: Gen(7), seq, ts: T0 + seq };
    let (pack, attempt) = (PackId::new(1_700_000_000_000, pack), Some(AttemptId::new(5, 6)));
    Entry::Task(TaskEntry { ticket: ticket.task(idx), pack, count, kind, attempt, epoch: 4, detail: vec![] })
}

/// Some of everything.
fn snapshot() -> Snapshot {
    let (failed, ticket) = (TaskKind::Failed { is_final: true }, PackTicket { r#gen: Gen(7), seq: 1, ts: T0 + 1 });
    let entries = [
        Entry::Term { epoch: 4 },
        entry(TaskKind::Committed, 1, (1, 1), 0),
        entry(TaskKind::Void { first: ticket }, 5, (1, 1), 0),
        entry(TaskKind::Dead, 2, (2, 3), 0),
        entry(TaskKind::Cancelled, 2, (2, 3), 2),
        entry(failed, 2, (2, 3), 1),
        Entry::WentBack(WentBack { epoch: 4, r#gen: Gen(7), from_seq: 9, from_ts: T0 + 9, to_seq: 6 }),
        Entry::Republished(Republished { epoch: 4, ticket, pack: PackId::new(1, 2), is_stored: false }),
        Entry::Looked(Looked { epoch: 4, ts: T0 + 40 }),
    ];
    let mut fold = Fold::new();
    fold.on_message(LogMessage { pos: 1, ts: T0 + 50, is_leaders: true, is_copy: false, body: Ok(&entries) }).unwrap();
    let seen = [(Gen(7), Seen { last_seq: 9, last_ts: T0 + 9 })];
    Snapshot::of(&fold, seen.into())
}

#[test]
fn a_snapshot_is_read_as_it_was_written_by_every_build() {
    let read = decode_snapshot(&golden::same("ends-snapshot.v1.bin", &encode_snapshot(&snapshot()))).unwrap();
    assert_eq!(read, snapshot());
    assert_eq!(Snapshot::of(&read.restore().unwrap(), read.seen().clone()), snapshot());
}

#[test]
fn pieces_that_do_not_belong_together_are_noticed() {
    let (whole, other) = (encode_snapshot(&snapshot()), encode_snapshot(&Snapshot::of(&Fold::new(), BTreeMap::new())));
    assert_eq!(decode_snapshot(&[&whole[..30], &whole[60..]].concat()), Err(Unreadable::Damaged));
    assert_eq!(decode_snapshot(&[&whole[..whole.len() - 20], &other[other.len() - 20..]].concat()), Err(Unreadable::Damaged));
    assert_eq!(decode_snapshot(&[]), Err(Unreadable::Empty));
    assert!(decode_snapshot(&other).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_panic(at in any::<prop::sample::Index>(), with: u8) {
        let mut damaged = encode_snapshot(&snapshot());
        damaged.truncate(damaged.len() - CHECKSUM_BYTES);
        let at = at.index(damaged.len());
        damaged[at] = with;
        damaged.extend(checksum(&damaged).to_be_bytes());
        // Even with a checksum that fits.
        if let Ok(snapshot) = decode_snapshot(&damaged) {
            let _ = snapshot.restore();
        }
    }
}
