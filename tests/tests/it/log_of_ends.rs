//! The parts of the next protocol that talk to NATS, on a real server that is killed: packs, the log of ends, snapshots in pieces. No service uses
//! them yet.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::{Config, Stream};
use faultline_engine::ends::{Entry, Fold, Gen, PackTicket, Snapshot, TaskEntry, TaskKind};
use faultline_engine::job::{AttemptId, JobId, JobSpec, PackId};
use faultline_protocol::ends::{decode_pack, encode};
use faultline_protocol::streams::{self, ACK_WAIT, JOBS, KV_LEDGER, Provision, packs as next};
use faultline_protocol::subjects::packs;
use faultline_runtime::clock::{random_u128, unix_ms};
use faultline_runtime::config::Common;
use faultline_runtime::connect::{Nats, connect_once};
use faultline_runtime::ends::{
    JobsError, LogError, LogReader, LogRow, PackError, Snapshots, SnapshotsError, Stored, create_jobs, publish_pack,
};
use faultline_tests::cluster::sleep_job;
use faultline_tests::nats::TestNats;
use futures::StreamExt as _;

const LIMIT: Duration = Duration::from_secs(30);

async fn connect(server: &TestNats) -> Nats {
    connect_once(&Common { nats_url: server.url(), ..Common::default() }, "test", "test").await.expect("the server answers")
}

/// Repeats until it works: the server has just been started.
async fn until<T, E: std::fmt::Display>(mut ask: impl AsyncFnMut() -> Result<T, E>) -> T {
    let started = tokio::time::Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(started.elapsed() < LIMIT, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn jobs(pack: PackId, count: u16) -> Vec<JobSpec> {
    (0..count).map(|idx| JobSpec { id: JobId::of(pack, idx, count), ..sleep_job(10) }).collect()
}

fn new_pack() -> PackId {
    PackId::new(unix_ms(), random_u128())
}

async fn messages(nats: &Nats, stream: &str) -> u64 {
    until(async || nats.jetstream.get_stream(stream).await).await.cached_info().state.messages
}

#[tokio::test]
async fn a_pack_is_queued_once_whoever_dies() {
    let mut server = TestNats::start_open().await;
    let nats = connect(&server).await;
    let r#gen = create_jobs(&nats.jetstream, Provision::default(), ACK_WAIT).await.expect("a JOBS");
    let (first, second) = (jobs(new_pack(), 16), jobs(new_pack(), 1));
    let confirmed = publish_pack(&nats, &first).await.expect("confirmed");
    assert_eq!((confirmed.seq, confirmed.was_there), (1, false));

    // The server is away while the second one is submitted, and knows the first one when it is back.
    server.kill9().await;
    let waiting = tokio::spawn({
        let (nats, second) = (nats.connection(), second.clone());
        async move { publish_pack(&nats, &second).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished(), "nothing confirms it");
    server.restart().await;
    let confirmed = tokio::time::timeout(LIMIT, waiting).await.expect("in time").expect("no panic").expect("confirmed at last");
    assert_eq!(confirmed.seq, 2);
    for (pack, seq) in [(&first, 1), (&second, 2)] {
        let again = publish_pack(&nats, pack).await.expect("confirmed again");
        assert_eq!((again.seq, again.was_there), (seq, true));
    }
    assert_eq!(messages(&nats, JOBS).await, 2);

    // What is delivered names its ticket and its jobs.
    let priority = first[0].priority;
    let consumer = nats.jetstream.get_consumer_from_stream::<pull::Config, _, _>(next::consumer_name(r#gen, priority), JOBS).await;
    let mut delivered = consumer.expect("created").fetch().max_messages(2).messages().await.expect("messages");
    for (expected, seq) in [(&first, 1), (&second, 2)] {
        let message = delivered.next().await.expect("a message").expect("readable");
        let subject = packs::stored_pack(&message.subject).expect("a generation");
        let name = subject.named.expect("a name");
        assert_eq!((subject.r#gen, name), (r#gen, (expected[0].id.pack(), expected.len() as u16)));
        assert_eq!(decode_pack(&message.payload, name).as_ref(), Ok(expected));
        let ticket = packs::delivered_pack(message.reply.as_deref().expect("an ack subject")).expect("a ticket").ticket(r#gen);
        let stored = nats.stored(JOBS, seq).await.expect("an answer").expect("it is there");
        assert_eq!(ticket, PackTicket { r#gen, seq, ts: stored.time.unix_timestamp_nanos() as u64 }, "to the nanosecond");
    }
}

#[tokio::test]
async fn a_pack_is_not_repeated_when_its_id_is_too_old() {
    let mut server = TestNats::start_open().await;
    let nats = connect(&server).await;
    create_jobs(&nats.jetstream, Provision::default(), ACK_WAIT).await.expect("a JOBS");
    for off_ms in [-61_000, 61_000] {
        let old = jobs(PackId::new(unix_ms().saturating_add_signed(off_ms), random_u128()), 2);
        assert!(matches!(publish_pack(&nats, &old).await, Err(PackError::TooOld)));
    }
    assert_eq!(messages(&nats, JOBS).await, 0);
    server.kill9().await;
    let aging = jobs(PackId::new(unix_ms() - 58_000, random_u128()), 2);
    let given_up = tokio::time::timeout(LIMIT, publish_pack(&nats, &aging)).await.expect("in time").expect_err("nobody confirms it");
    assert!(matches!(given_up, PackError::Unconfirmed { tries: 1.., .. }), "{given_up}");
    let mut mixed = jobs(new_pack(), 2);
    mixed[1].kind = "matrix".into();
    assert!(matches!(publish_pack(&nats, &mixed).await, Err(PackError::Mixed)), "without a word to the server");
}

#[tokio::test]
async fn each_jobs_that_is_created_has_a_generation_of_its_own() {
    let mut server = TestNats::start_open().await;
    let nats = connect(&server).await;
    let create = async || create_jobs(&nats.jetstream, Provision::default(), ACK_WAIT).await;
    let (first, same) = tokio::join!(create(), create());
    let first = first.expect("created");
    assert_eq!(same, Ok(first), "two that create it at once agree");
    server.kill9().await;
    server.restart().await;
    assert_eq!(until(create).await, first, "it outlives the server");

    let fetch = async |r#gen: Gen, job: &JobSpec| {
        let name = next::consumer_name(r#gen, job.priority);
        let consumer = nats.jetstream.get_consumer_from_stream::<pull::Config, _, _>(name, JOBS).await.expect("created");
        let mut delivered = consumer.fetch().max_messages(1).messages().await.expect("messages");
        delivered.next().await.expect("a message").expect("readable")
    };
    let pack = jobs(new_pack(), 1);
    publish_pack(&nats, &pack).await.expect("confirmed");
    let of_first = fetch(first, &pack[0]).await;
    let second = loop {
        nats.jetstream.delete_stream(JOBS).await.expect("deleted");
        match create().await {
            Ok(second) => break second,
            // Created too soon: the server has taken the former messages back, and says so.
            Err(error) => assert!(matches!(error, JobsError::Remains { messages: 1 }), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_ne!(second, first);
    // The same sequence is another message now, and an acknowledgement of the former one finds no consumer.
    let pack = jobs(new_pack(), 1);
    assert_eq!(publish_pack(&nats, &pack).await.expect("confirmed").seq, 1);
    let of_second = fetch(second, &pack[0]).await;
    // The client takes the server's word that nobody listens for an answer.
    of_first.double_ack().await.expect("an answer");
    assert_eq!(messages(&nats, JOBS).await, 1, "not acknowledged by an acknowledgement of the former message 1");
    of_second.double_ack().await.expect("an answer");
    assert_eq!(messages(&nats, JOBS).await, 0);

    nats.jetstream.delete_stream(JOBS).await.expect("deleted");
    let former = streams::stream_configs(Provision::default()).into_iter().find(|config| config.name == JOBS).expect("today's JOBS");
    nats.jetstream.create_stream(former).await.expect("created");
    assert_eq!(create().await, Err(JobsError::Former), "what an earlier version queues is not touched");
}

async fn create_log(nats: &Nats) -> Stream {
    create_empty(nats, next::ends(Provision::default(), 64 << 20)).await
}

/// nats-server 2.15.1 gives a stream that is created within milliseconds after its deletion the messages of the former one.
async fn create_empty(nats: &Nats, config: Config) -> Stream {
    loop {
        let stream = nats.jetstream.create_stream(config.clone()).await.expect("created");
        if stream.cached_info().state.messages == 0 {
            return stream;
        }
        nats.jetstream.delete_stream(&config.name).await.expect("deleted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn entry(pack: u64, kind: TaskKind) -> Entry {
    let ticket = PackTicket { r#gen: Gen(1), seq: pack, ts: 1_700_000_000_000_000_000 + pack }.task(0);
    let (pack, attempt) = (PackId::new(1_700_000_000_000, pack.into()), Some(AttemptId::from_u128(pack.into())));
    Entry::Task(TaskEntry { ticket, pack, count: 2, kind, attempt, epoch: 1, detail: Vec::new() })
}

async fn append(nats: &Nats, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let body = encode(&[entry(number, TaskKind::Committed)]);
        let ack = nats.jetstream.publish(packs::end_of("worker-01"), body).await.expect("published");
        assert_eq!(ack.await.expect("acknowledged").sequence, number);
    }
}

/// Everything to the end of the log, through whatever fails.
async fn read_all(reader: &mut LogReader) -> Result<Vec<LogRow>, LogError> {
    let (mut rows, started) = (Vec::new(), tokio::time::Instant::now());
    loop {
        match reader.read().await {
            Ok(part) if part.rows.is_empty() => return Ok(rows),
            Ok(part) => rows.extend(part.rows),
            Err(LogError::Failed(reason)) => assert!(started.elapsed() < LIMIT, "{reason}"),
            Err(error) => return Err(error),
        }
    }
}

#[tokio::test]
async fn the_log_is_read_without_a_gap_while_the_server_is_killed() {
    let mut server = TestNats::start_open().await;
    let nats = connect(&server).await;
    create_log(&nats).await;
    append(&nats, 1..=700).await;
    let mut reader = LogReader::behind(&nats, (0, 0));
    let (mut rows, mut kills) = (Vec::new(), 0);
    // Killed between two batches, each time.
    loop {
        let part = until(async || reader.read().await).await;
        rows.extend(part.rows.iter().cloned());
        if part.left == 0 && part.rows.is_empty() {
            break;
        }
        server.kill9().await;
        assert!(matches!(reader.read().await, Err(LogError::Failed(_))), "nobody answers");
        assert_eq!(reader.pos(), rows.len() as u64, "what failed does not count as read");
        server.restart().await;
        kills += 1;
    }
    assert!(kills >= 3, "{kills} batches");
    assert_eq!(rows.iter().map(|row| row.pos).collect::<Vec<_>>(), (1..=700).collect::<Vec<_>>());
    let mut fold = Fold::new();
    for row in &rows {
        fold.on_message(row.message()).expect("no gap");
    }
    assert_eq!((fold.counts().committed, fold.pos()), (700, 700));
    let last = nats.stored(next::ENDS, 700).await.expect("an answer").expect("it is there");
    assert_eq!(fold.pos_ts(), last.time.unix_timestamp_nanos() as u64, "to the nanosecond");

    // Another reader goes on where a fold ended.
    append(&nats, 701..=703).await;
    let rows = read_all(&mut LogReader::behind(&nats, (fold.pos(), fold.pos_ts()))).await.expect("the same log");
    assert_eq!(rows.iter().map(|row| row.pos).collect::<Vec<_>>(), [701, 702, 703]);
}

#[tokio::test]
async fn another_log_is_noticed_without_a_reconnect_however_long_it_is() {
    let server = TestNats::start_open().await;
    let nats = connect(&server).await;
    create_log(&nats).await;
    append(&nats, 1..=20).await;
    for length in [0, 10, 20, 30] {
        let mut reader = LogReader::behind(&nats, (0, 0));
        assert_eq!(read_all(&mut reader).await.expect("this log").len() as u64, reader.pos());
        let read = reader.pos();
        nats.jetstream.delete_stream(next::ENDS).await.expect("deleted");
        create_log(&nats).await;
        append(&nats, 1..=length).await;
        if read > 0 {
            assert_eq!(reader.read().await, Err(LogError::WentBack), "{read} were read, and it has {length}");
        }
    }
}

#[tokio::test]
async fn a_trimmed_log_is_told_and_what_is_left_can_be_read() {
    let server = TestNats::start_open().await;
    let nats = connect(&server).await;
    let log = create_log(&nats).await;
    append(&nats, 1..=20).await;
    let ts_of = async |pos| nats.stored(next::ENDS, pos).await.expect("an answer").expect("there").time.unix_timestamp_nanos() as u64;
    let (third, tenth) = (ts_of(3).await, ts_of(10).await);
    log.purge().sequence(10).await.expect("trimmed");
    let rows = read_all(&mut LogReader::behind(&nats, (10, tenth))).await.expect("the message of the snapshot is there");
    assert_eq!(rows.first().map(|row| row.pos), Some(11));
    assert_eq!(LogReader::behind(&nats, (3, third)).read().await, Err(LogError::WentBack), "nothing tells whether it is the same");
    assert_eq!(LogReader::behind(&nats, (0, 0)).read().await, Err(LogError::Trimmed { expected: 1, first_pos: 10 }));
    assert_eq!(read_all(&mut LogReader::of_remains(&nats, 10)).await.expect("the rest").len(), 11);
}

#[tokio::test]
async fn leaders_copies_and_nonsense_are_told_apart() {
    let server = TestNats::start_open().await;
    let nats = connect(&server).await;
    create_log(&nats).await;
    let body = encode(&[Entry::Term { epoch: 7 }]);
    // As a consumer would deliver a stored message to the leader's subject, or a republish: with headers that say what it was.
    let mut headers = HeaderMap::new();
    for (name, value) in [("Nats-Stream", "EVENTS"), ("Nats-Sequence", "999"), ("Nats-Subject", "job.end.w.x")] {
        headers.insert(name, value);
    }
    let publish = async |subject: &str, headers: HeaderMap, body: bytes::Bytes| {
        nats.jetstream.publish_with_headers(subject.to_owned(), headers, body).await.expect("published").await.expect("acknowledged");
    };
    publish(packs::END_LEADER, HeaderMap::new(), body.clone()).await;
    publish(packs::END_LEADER, headers, body.clone()).await;
    publish(&packs::end_of("leader"), HeaderMap::new(), body).await;
    publish(packs::END_LEADER, HeaderMap::new(), "nonsense".into()).await;
    let rows = read_all(&mut LogReader::behind(&nats, (0, 0))).await.expect("the log");
    let told: Vec<_> = rows.iter().map(|row| (row.pos, row.is_leaders, row.is_copy, row.entries.is_ok())).collect();
    assert_eq!(told, [(1, true, false, true), (2, true, true, true), (3, false, false, true), (4, true, false, false)]);
    let mut fold = Fold::new();
    for row in &rows {
        fold.on_message(row.message()).expect("no gap");
    }
    assert_eq!((fold.term(), fold.counts().forged, fold.counts().malformed), (7, 1, 2));
}

/// A fold that makes a snapshot of several pieces.
fn large_snapshot(pos: u64) -> Snapshot {
    let mut fold = Fold::new();
    let entries: Vec<Entry> = (1..=20_000).map(|pack| entry(pack, TaskKind::Failed { is_final: false })).collect();
    for pos in 1..=pos {
        let body: &[Entry] = if pos == 1 { &entries } else { &[] };
        fold.on_message(faultline_engine::ends::LogMessage { pos, ts: pos, is_leaders: false, is_copy: false, body: Ok(body) })
            .expect("no gap");
    }
    Snapshot::of(&fold, BTreeMap::new())
}

async fn create_ledger(nats: &Nats) -> Stream {
    let bucket = streams::bucket_configs(Provision::default()).into_iter().find(|bucket| bucket.bucket == KV_LEDGER).expect("LEDGER");
    create_empty(nats, streams::bucket_stream(&bucket, 0)).await
}

async fn pieces(ledger: &Stream) -> usize {
    let mut listed = ledger.info_with_subjects(next::all_snapshot_pieces()).await.expect("listed");
    let mut count = 0;
    while let Some(subject) = listed.next().await {
        subject.expect("a subject");
        count += 1;
    }
    count
}

#[tokio::test]
async fn the_last_eight_snapshots_are_kept_in_pieces_and_a_second_leader_is_refused() {
    let server = TestNats::start_open().await;
    let nats = connect(&server).await;
    let ledger = create_ledger(&nats).await;
    let snapshots = Snapshots::open(&nats).await.expect("opened");
    let mut stored = snapshots.stored().await.expect("nothing yet");
    assert_eq!(stored, Stored::default());
    for pos in 1..=10 {
        stored = snapshots.save(&stored, &large_snapshot(pos)).await.expect("saved");
    }
    assert_eq!(snapshots.stored().await.expect("listed"), stored);
    assert_eq!(stored.kept.iter().map(|kept| kept.pos).collect::<Vec<_>>(), (3..=10).collect::<Vec<_>>());
    let newest = stored.kept[7];
    assert!(newest.pieces > 3 && newest.bytes > 1 << 20, "{newest:?} would have been one message");
    let named: u32 = stored.kept.iter().map(|kept| kept.pieces).sum();
    assert_eq!(pieces(&ledger).await, named as usize, "what is not kept is gone");
    for (kept, pos) in [(newest, 10), (stored.kept[0], 3)] {
        assert_eq!(snapshots.load(kept).await.expect("whole"), large_snapshot(pos));
    }

    // Another leader has read the list at the same time.
    let after = snapshots.save(&stored, &large_snapshot(11)).await.expect("saved");
    assert!(matches!(snapshots.save(&stored, &large_snapshot(12)).await, Err(SnapshotsError::Conflict)));
    assert_eq!(snapshots.stored().await.expect("listed"), after, "nothing of the second one is there");
    assert_eq!(pieces(&ledger).await, after.kept.iter().map(|kept| kept.pieces as usize).sum::<usize>());

    // A piece is lost: the snapshot is no other one, and the older ones are whole.
    ledger.purge().filter(format!("$KV.{KV_LEDGER}.{}", next::snapshot_piece_key(after.kept[7].id, 1))).await.expect("purged");
    assert!(matches!(snapshots.load(after.kept[7]).await, Err(SnapshotsError::Torn { .. })));
    assert_eq!(snapshots.load(after.kept[6]).await.expect("whole"), large_snapshot(10));

    nats.jetstream.delete_stream(format!("KV_{KV_LEDGER}")).await.expect("deleted");
    create_ledger(&nats).await;
    assert_eq!(snapshots.stored().await.expect("a new bucket"), Stored::default());
    assert!(matches!(snapshots.save(&after, &large_snapshot(13)).await, Err(SnapshotsError::Conflict)), "it was not read");
    snapshots.save(&Stored::default(), &large_snapshot(13)).await.expect("saved");
}

#[tokio::test]
async fn a_server_that_is_killed_between_two_pieces_tears_no_snapshot_that_is_listed() {
    let mut server = TestNats::start_open().await;
    let nats = connect(&server).await;
    create_ledger(&nats).await;
    let snapshots = Snapshots::open(&nats).await.expect("opened");
    let snapshot = large_snapshot(5);
    let mut stored = snapshots.save(&Stored::default(), &snapshot).await.expect("saved");
    let (mut torn, mut saved) = (0, 0);
    // Until some were killed between two pieces, and some were not.
    for round in 0..60 {
        if round >= 8 && torn > 0 && saved > 0 {
            break;
        }
        let saving = tokio::spawn({
            let (snapshots, stored, snapshot) = (snapshots.clone(), stored.clone(), snapshot.clone());
            async move { snapshots.save(&stored, &snapshot).await }
        });
        tokio::time::sleep(Duration::from_millis(round % 8 * 5)).await;
        server.kill9().await;
        // The leader dies too, and so nothing repeats what it had begun.
        saving.abort();
        server.restart().await;
        let now = until(async || snapshots.stored().await).await;
        assert!(now == stored || now.kept.len() == (stored.kept.len() + 1).min(8), "{now:?} after {stored:?}");
        saved += usize::from(now != stored);
        for kept in &now.kept {
            assert_eq!(until(async || snapshots.load(*kept).await).await, snapshot, "round {round}");
        }
        torn += until(async || snapshots.sweep(&now).await).await;
        let ledger = until(async || nats.jetstream.get_stream(format!("KV_{KV_LEDGER}")).await).await;
        assert_eq!(pieces(&ledger).await, now.kept.iter().map(|kept| kept.pieces as usize).sum::<usize>());
        stored = now;
    }
    println!("{torn} snapshots were torn and {saved} saved");
    assert!(torn > 0 && saved > 0, "no kill came between two pieces, or each did, so that this test shows nothing");
}
