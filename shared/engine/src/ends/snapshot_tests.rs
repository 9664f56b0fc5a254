use std::collections::BTreeMap;

use super::build::{COMMITTED, FAILED, Log, T0, entry, pack, ticket};
use super::entry::{Entry, Republished, TaskKind, WentBack};
use super::fold::Fold;
use super::id::Gen;
use super::snapshot::{Seen, Snapshot};

/// A log that has some of everything.
fn log() -> Log {
    let mut log = Log::new();
    log.worker(&[entry(COMMITTED, ticket(1, 1), (pack(1), 1), 0), entry(FAILED, ticket(1, 2), (pack(2), 3), 1)]);
    log.leader(&[Entry::Term { epoch: 1 }, entry(TaskKind::Void { first: ticket(1, 1) }, ticket(2, 1), (pack(1), 1), 0)]);
    log.leader(&[Entry::Term { epoch: 4 }, entry(TaskKind::Dead, ticket(1, 3), (pack(3), 1), 0)]);
    log.worker(&[entry(COMMITTED, ticket(1, 2), (pack(2), 3), 0), entry(COMMITTED, ticket(2, 9), (pack(9), 2), 0)]);
    log.leader(&[
        Entry::WentBack(WentBack { epoch: 4, r#gen: Gen(1), from_seq: 9, from_ts: T0, to_seq: 2 }),
        Entry::Republished(Republished { epoch: 4, ticket: ticket(1, 9), pack: pack(77), is_stored: false }),
    ]);
    log
}

#[test]
fn a_restored_fold_is_the_one_that_was_stored_and_goes_on_alike() {
    let mut log = log();
    let seen: BTreeMap<Gen, Seen> = [(Gen(1), Seen { last_seq: 9, last_ts: 5 })].into();
    let snapshot = Snapshot::of(&log.fold, seen.clone());
    assert_eq!((snapshot.pos(), snapshot.pos_ts(), snapshot.term(), snapshot.seen()), (log.fold.pos(), log.fold.pos_ts(), 4, &seen));
    let restored = snapshot.restore().unwrap();
    restored.sanity_check();
    assert_eq!(restored, log.fold);
    assert_eq!(Fold::new(), Snapshot::of(&Fold::new(), BTreeMap::new()).restore().unwrap());
    let mut other = Log { fold: restored, ..log.clone() };
    for log in [&mut log, &mut other] {
        log.worker(&[entry(COMMITTED, ticket(1, 2), (pack(2), 3), 1), entry(COMMITTED, ticket(1, 2), (pack(2), 3), 2)]);
        log.wait(131);
    }
    assert_eq!(other.fold, log.fold);
}

#[test]
fn a_snapshot_that_is_older_than_its_position_loses_ends_for_ever() {
    let mut log = log();
    let old = Snapshot::of(&log.fold, BTreeMap::new());
    log.worker(&[entry(COMMITTED, ticket(1, 2), (pack(2), 3), 1)]);
    // The planted bug: the state of one moment with the position of another.
    let mut torn = Log { fold: old.with_position(log.fold.pos(), log.fold.pos_ts()).restore().unwrap(), ..log.clone() };
    for log in [&mut log, &mut torn] {
        log.worker(&[entry(COMMITTED, ticket(1, 2), (pack(2), 3), 2)]);
    }
    assert!(log.fold.is_closed(ticket(1, 2)) && !torn.fold.is_closed(ticket(1, 2)));
    assert_ne!(torn.fold.counts(), log.fold.counts(), "an audit sees it in the counts");
}

#[test]
fn a_snapshot_that_contradicts_itself_is_refused() {
    let good = serde_json::to_value(Snapshot::of(&log().fold, BTreeMap::new())).unwrap();
    let read = |value: &serde_json::Value| serde_json::from_value::<Snapshot>(value.clone()).unwrap().restore();
    assert!(read(&good).is_ok());
    let edits: [(&str, serde_json::Value); 9] = [
        ("/gens/0/closed", serde_json::json!([[1, 2]])),
        ("/gens/0/closed", serde_json::json!([[5, 1]])),
        ("/gens/0/closed", serde_json::json!([])),
        ("/gens/1/gen", serde_json::json!(1)),
        ("/gens/0/open/0/count", serde_json::json!(1)),
        ("/gens/0/open/0/count", serde_json::json!(60_000)),
        ("/gens/0/open/0/failures/0/0", serde_json::json!(0)),
        ("/repeated/0/1/1/seq", serde_json::json!(7)),
        ("/repeated", serde_json::json!([])),
    ];
    for (path, value) in edits {
        let mut bad = good.clone();
        *bad.pointer_mut(path).unwrap_or_else(|| panic!("{path} in {good}")) = value;
        assert!(read(&bad).is_err(), "{path}");
    }
}
