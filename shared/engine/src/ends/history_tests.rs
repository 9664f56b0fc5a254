//! Whole histories: every promise holds without a planted bug, and each planted bug breaks one in some of them. And arbitrary logs, of which every
//! reader must make the same.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::build::{MS, SECOND, T0};
use super::entry::{Entry, Looked, Republished, TaskEntry, TaskKind, WentBack};
use super::fold::{Fold, LogMessage, Malformed};
use super::id::{Gen, PackTicket};
use super::snapshot::Snapshot;
use super::world::{Plant, World};
use crate::job::{AttemptId, PackId};

const SEEDS: u64 = 16;

#[test]
fn each_job_ends_exactly_once_in_every_history() {
    let mut happened = BTreeMap::<&str, u64>::new();
    for seed in 0..SEEDS {
        let outcome = World::play(seed, Plant::Nothing);
        assert!(outcome.broken.is_empty(), "seed {seed}: {:#?}", outcome.broken);
        for (name, number) in outcome.happened.into_iter().chain(outcome.counts.named()) {
            *happened.entry(name).or_default() += number;
        }
    }
    // What no history has is not tested by any.
    for name in ["terms", "restarts", "power cuts", "made anew", "log went back", "jobs went back", "second uses", "resubmitted"] {
        assert!(happened[name] > 0, "{name}: {happened:#?}");
    }
    for name in ["open under another", "closed again", "committed", "cancelled", "void", "failed", "late", "fenced", "republished"] {
        assert!(happened[name] > 0, "{name}: {happened:#?}");
    }
}

#[test]
fn each_planted_bug_breaks_a_promise() {
    // With the first seed that shows it, so that the test is short.
    let plants = [
        (Plant::NoTs, 0),
        (Plant::SequenceAlone, 0),
        (Plant::NoTerm, 0),
        (Plant::LowEpoch, 2),
        (Plant::TornSnapshot, 0),
        (Plant::AckAtOnce, 0),
        (Plant::NoResubmissionCheck, 0),
        (Plant::KeepsTheDead, 0),
        (Plant::AcksAcrossReconnects, 5),
        (Plant::DecidesAcrossReconnects, 5),
        (Plant::NoPositionCheck, 0),
        (Plant::NeverLooks, 0),
    ];
    for (plant, from) in plants {
        let mut outcomes = (from..from + 60).map(|seed| World::play(seed, plant));
        assert!(outcomes.any(|outcome| !outcome.broken.is_empty()), "{plant:?} breaks no promise");
    }
}

/// What a message of an arbitrary log says, with few packs and tickets, so that they meet.
fn entry() -> impl Strategy<Value = Entry> {
    let kinds = prop_oneof![
        6 => Just(TaskKind::Committed),
        2 => any::<bool>().prop_map(|is_final| TaskKind::Failed { is_final }),
        1 => Just(TaskKind::Dead),
        1 => Just(TaskKind::Cancelled),
        1 => Just(TaskKind::Void { first: PackTicket { r#gen: Gen(0), seq: 1, ts: 1 } }),
    ];
    let task = (kinds, 0..2_u64, 1..6_u64, 0..2_u64, 0..4_u16, 0..4_u128, 0..4_u64);
    let task = task.prop_map(|(kind, r#gen, seq, ts, idx, attempt, epoch)| {
        // A ticket has one pack but for a lie now and then; some packs have two tickets.
        let number = u128::from(seq % 4) + 10 * u128::from(r#gen * ts) + u128::from(idx == 3);
        let ticket = PackTicket { r#gen: Gen(r#gen), seq, ts: T0 + ts * 1_000 * SECOND + seq * MS };
        let (pack, count) = (PackId::new(T0 / MS, number), 1 + (number % 3) as u16);
        Entry::Task(TaskEntry {
            ticket: ticket.task(idx),
            pack,
            count,
            kind,
            attempt: Some(AttemptId::new(0, attempt)),
            epoch,
            detail: vec![],
        })
    });
    let setback = (0..4_u64, 1..6_u64).prop_map(|(epoch, from_seq)| {
        Entry::WentBack(WentBack { epoch, r#gen: Gen(0), from_seq, from_ts: T0 + from_seq * MS, to_seq: from_seq - 1 })
    });
    let again = (0..4_u64, 0..6_u128, any::<bool>()).prop_map(|(epoch, number, is_stored)| {
        let ticket = PackTicket { r#gen: Gen(0), seq: 1, ts: T0 };
        Entry::Republished(Republished { epoch, ticket, pack: PackId::new(T0 / MS, number), is_stored })
    });
    let looked = (0..4_u64, 0..500_u64).prop_map(|(epoch, seconds)| Entry::Looked(Looked { epoch, ts: T0 + seconds * SECOND }));
    prop_oneof![20 => task, 1 => looked, 1 => (0..4_u64).prop_map(|epoch| Entry::Term { epoch }), 1 => setback, 1 => again]
}

#[derive(Debug, Clone)]
struct Row {
    ts: u64,
    is_leaders: bool,
    is_copy: bool,
    body: Result<Vec<Entry>, Malformed>,
}

fn log() -> impl Strategy<Value = Vec<Row>> {
    let body = prop_oneof![20 => prop::collection::vec(entry(), 0..5).prop_map(Ok), 1 => Just(Err(Malformed))];
    let row = (0..20_u64, any::<bool>(), prop::bool::weighted(0.05), body);
    prop::collection::vec(row, 0..80).prop_map(|rows| {
        let mut now = T0;
        let mut row = |(seconds, is_leaders, is_copy, body)| {
            now += seconds * SECOND;
            Row { ts: now, is_leaders, is_copy, body }
        };
        rows.into_iter().map(&mut row).collect()
    })
}

fn tell(fold: &mut Fold, pos: u64, row: &Row) {
    let body = row.body.as_ref().map(Vec::as_slice).map_err(|malformed| *malformed);
    let message = LogMessage { pos, ts: row.ts, is_leaders: row.is_leaders, is_copy: row.is_copy, body };
    let before = fold.counts().jobs() + fold.counts().void + fold.counts().double;
    let changes = fold.on_message(message).unwrap();
    fold.sanity_check();
    let counts = fold.counts();
    assert_eq!(counts.jobs() + counts.void + counts.double, before + changes.ended.len() as u64);
    assert!(changes.closed.iter().all(|closed| fold.is_closed(closed.ticket)));
}

proptest! {
    /// Wherever a reader stops, stores what it has, and goes on from there, also with messages told twice, it comes to the same.
    #[test]
    fn every_reader_comes_to_the_same_state(log in log(), stops in prop::collection::btree_set(0_usize..80, 0..5)) {
        let (mut whole, mut restarted) = (Fold::new(), Fold::new());
        for (index, row) in log.iter().enumerate() {
            let pos = index as u64 + 1;
            tell(&mut whole, pos, row);
            if stops.contains(&index) {
                restarted = Snapshot::of(&restarted, BTreeMap::new()).restore().unwrap();
                for (index, row) in log[..index].iter().enumerate().rev().take(3) {
                    tell(&mut restarted, index as u64 + 1, row);
                }
            }
            tell(&mut restarted, pos, row);
            prop_assert_eq!(&restarted, &whole);
        }
    }

    /// As long as nothing is forgotten, no job ends twice, and none that ended is open.
    #[test]
    fn a_job_ends_once(log in log()) {
        let mut fold = Fold::new();
        let mut ended = BTreeSet::new();
        for (pos, row) in (1..).zip(&log) {
            let row = Row { ts: T0 + pos, ..row.clone() };
            let body = row.body.as_ref().map(Vec::as_slice).map_err(|malformed| *malformed);
            let message = LogMessage { pos, ts: row.ts, is_leaders: row.is_leaders, is_copy: row.is_copy, body };
            for end in fold.on_message(message).unwrap().ended {
                prop_assert!(!end.kind.counts() || ended.insert(end.job), "{} ended twice", end.job);
            }
        }
        prop_assert_eq!(fold.counts().jobs(), ended.len() as u64);
    }

    /// Workers' messages may arrive in any order: which jobs end and which packs close is the same.
    #[test]
    fn the_order_between_workers_decides_only_which_end_is_first(ends in prop::collection::vec((1..8_u64, 0..3_u16, 0..3_u128), 0..60), seed in any::<u64>()) {
        let fold_of = |ends: &[(u64, u16, u128)]| {
            let mut fold = Fold::new();
            for (pos, (seq, idx, attempt)) in (1..).zip(ends) {
                let ticket = PackTicket { r#gen: Gen(1), seq: *seq, ts: T0 + seq };
                let (pack, attempt) = (PackId::new(T0 / MS, u128::from(*seq)), Some(AttemptId::new(0, *attempt)));
                let entry = TaskEntry { ticket: ticket.task(*idx), pack, count: 3, kind: TaskKind::Committed, attempt, epoch: 1, detail: vec![] };
                let body = [Entry::Task(entry)];
                fold.on_message(LogMessage { pos, ts: T0 + pos, is_leaders: false, is_copy: false, body: Ok(&body) }).unwrap();
            }
            (*fold.counts(), fold.open_packs().collect::<Vec<_>>(), fold.recent_packs())
        };
        let mut shuffled = ends.clone();
        let mut state = seed;
        for index in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(index, (state >> 33) as usize % (index + 1));
        }
        prop_assert_eq!(fold_of(&shuffled), fold_of(&ends));
    }
}
