use proptest::prelude::*;

use super::super::{golden, told};
use super::*;

fn task(kind: TaskKind, seq: u64, idx: u16, detail: &[u8]) -> Entry {
    let ticket = PackTicket { r#gen: Gen(0xfeed_0000_0000_0001), seq, ts: 1_700_000_000_123_456_789 };
    Entry::Task(TaskEntry {
        ticket: ticket.task(idx),
        pack: PackId::new(1_700_000_000_000, u128::from(seq)),
        count: 16,
        kind,
        attempt: (!kind.is_leaders()).then(|| AttemptId::new(1_700_000_000_100, idx.into())),
        epoch: 1_699_000_000_000,
        detail: detail.to_vec(),
    })
}

/// One of each kind.
fn all() -> Vec<Entry> {
    let ticket = PackTicket { r#gen: Gen(2), seq: 3, ts: 4 };
    vec![
        Entry::Term { epoch: 1_699_000_000_000 },
        task(TaskKind::Committed, 70_000, 0, b"one"),
        task(TaskKind::Failed { is_final: false }, 70_000, 1, b"two"),
        task(TaskKind::Failed { is_final: true }, 70_000, 15, b""),
        task(TaskKind::Dead, 70_001, 2, b"three"),
        task(TaskKind::Cancelled, 70_001, 3, b""),
        task(TaskKind::Void { first: ticket }, 70_002, 4, b""),
        Entry::WentBack(WentBack { epoch: 5, r#gen: Gen(6), from_seq: 7, from_ts: 8, to_seq: 9 }),
        Entry::Republished(Republished { epoch: 5, ticket, pack: PackId::new(1, 2), is_stored: false }),
        Entry::Looked(Looked { epoch: 5, ts: 1_700_000_000_123_456_789 }),
    ]
}

#[test]
fn every_kind_is_read_as_it_was_written_by_every_build() {
    assert_eq!(decode(&golden::same("ends.v1.bin", &encode(&all()))), Ok(all()));
}

#[test]
fn tasks_of_one_pack_share_its_head() {
    let one = encode(&[task(TaskKind::Committed, 7, 0, b"")]).len();
    let sixteen: Vec<Entry> = (0..16).map(|idx| task(TaskKind::Committed, 7, idx, b"")).collect();
    let sixteen = encode(&sixteen).len();
    assert!(one < 90 && sixteen < one + 15 * 26, "{one} and {sixteen} bytes");
}

#[test]
fn what_is_no_body_is_refused_and_told_as_malformed() {
    let good = encode(&all());
    for bad in
        [&good[..good.len() - 1], &[good.as_ref(), b"\xc0"].concat(), &[], &[1], b"\x01\xc0", b"\x02\x90", b"\x01\xdd\xff\xff\xff\xff"]
    {
        let decoded = decode(bad);
        assert!(decoded.is_err(), "{decoded:?}");
        assert_eq!(told(&decoded), Err(faultline_engine::ends::Malformed));
    }
    assert_eq!(decode(&[9, 0x90]), Err(Unreadable::Version { found: 9, known: 1 }));
    assert_eq!(decode(&vec![1; MAX_BYTES + 1]), Err(Unreadable::TooLarge { bytes: MAX_BYTES + 1, most: MAX_BYTES }));
    assert_eq!(told(&decode(b"\x01\x90")), Ok([].as_slice()));
}

#[test]
fn an_unknown_kind_and_a_void_entry_without_its_first_ticket_are_refused() {
    let of = |kind, first| {
        let head = Head(Ticket(1, 2, 3), Halves::from(4), 1, 5);
        decode(&write(VERSION, &vec![Item::Pack(head, vec![Task(kind, 0, None, first, Blob::default())])]))
    };
    assert!(of(0, None).is_ok() && of(5, Some(Ticket(1, 1, 1))).is_ok());
    assert!(of(6, None).is_err() && of(5, None).is_err() && of(0, Some(Ticket(1, 1, 1))).is_err());
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let ticket = (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(r#gen, seq, ts)| PackTicket { r#gen: Gen(r#gen), seq, ts });
    let kind = prop_oneof![
        Just(TaskKind::Committed),
        any::<bool>().prop_map(|is_final| TaskKind::Failed { is_final }),
        Just(TaskKind::Dead),
        Just(TaskKind::Cancelled),
        ticket.clone().prop_map(|first| TaskKind::Void { first }),
    ];
    let attempt = any::<Option<u128>>();
    let task = (kind, ticket, any::<u128>(), any::<[u16; 2]>(), attempt, any::<u64>(), prop::collection::vec(any::<u8>(), 0..3_000));
    let task = task.prop_map(|(kind, ticket, pack, [idx, count], attempt, epoch, detail)| {
        let (pack, attempt) = (PackId::from_u128(pack), attempt.map(AttemptId::from_u128));
        Entry::Task(TaskEntry { ticket: ticket.task(idx), pack, count, kind, attempt, epoch, detail })
    });
    let same_pack = task.clone().prop_flat_map(|entry| prop::collection::vec(Just(entry), 1..5));
    prop_oneof![
        1 => prop::collection::vec(task, 0..20),
        1 => prop::collection::vec(same_pack, 0..10).prop_map(|packs| packs.into_iter().flatten().collect()),
        1 => Just(all()),
    ]
}

proptest! {
    #[test]
    fn entries_are_read_in_the_order_in_which_they_were_written(entries in entries()) {
        prop_assert_eq!(decode(&encode(&entries)), Ok(entries));
    }

    #[test]
    fn every_body_fits_and_has_all_entries_once_in_order(entries in entries(), most in 200_usize..6_000) {
        let Messages { bodies, too_large } = messages(entries.clone(), most);
        let mut read = Vec::new();
        for body in &bodies {
            prop_assert!(body.len() <= most, "{} of {most} bytes", body.len());
            read.extend(decode(body).unwrap());
        }
        prop_assert!(too_large.iter().all(|entry| encode(std::slice::from_ref(entry)).len() + HEAD_BYTES > most));
        let fit: Vec<Entry> = entries.into_iter().filter(|entry| !too_large.contains(entry)).collect();
        prop_assert_eq!(read, fit);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), with: u8) {
        let _ = decode(&bytes);
        let _ = decode(&[b"\x01".as_ref(), &bytes].concat());
        let mut damaged = encode(&all()).to_vec();
        let at = at.index(damaged.len());
        damaged[at] = with;
        let _ = decode(&damaged);
    }
}
