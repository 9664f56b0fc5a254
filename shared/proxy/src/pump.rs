//! One direction of one connection: reads chunks, holds each until it arrives, writes it. Ends when the end of the stream has
//! arrived, or a side fails.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::conditions::{Direction, LinkConditions, LinkState};
use crate::shaper::Shaper;

const LARGEST_CHUNK: usize = 64 * 1024;
const SMALLEST_ROOM: usize = 4 * 1024;
/// What a direction holds before it stops reading.
const MOST_HELD: usize = 1024 * 1024;

/// Counts of both directions, and of connections.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) up: Counters,
    pub(crate) down: Counters,
    pub(crate) open: AtomicU64,
    pub(crate) accepted: AtomicU64,
}

/// Counts of one direction, over all connections of a proxy.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    bytes: AtomicU64,
    chunks: AtomicU64,
    held: AtomicU64,
}

/// What went one way since the proxy started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flow {
    /// Bytes that arrived.
    pub bytes: u64,
    /// Chunks that came in: what one read returned.
    pub chunks: u64,
    /// Bytes that wait in the proxy now.
    pub held_bytes: u64,
}

impl Counters {
    pub(crate) fn read(&self) -> Flow {
        Flow {
            bytes: self.bytes.load(Ordering::Relaxed),
            chunks: self.chunks.load(Ordering::Relaxed),
            held_bytes: self.held.load(Ordering::Relaxed),
        }
    }
}

/// What waits; no bytes are the end of the stream.
struct Chunk {
    arrival: Instant,
    bytes: Bytes,
}

/// The chunks under way. What is left when the connection ends is no longer held.
struct Held<'a> {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    counters: &'a Counters,
}

impl Held<'_> {
    fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.bytes.len();
        self.counters.held.fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
        self.counters.chunks.fetch_add(u64::from(!chunk.bytes.is_empty()), Ordering::Relaxed);
        self.chunks.push_back(chunk);
    }

    fn sent(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.counters.held.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some(front) = self.chunks.front_mut() {
            front.bytes.advance(bytes);
            if front.bytes.is_empty() {
                self.chunks.pop_front();
            }
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.counters.held.fetch_sub(self.bytes as u64, Ordering::Relaxed);
    }
}

/// Everything that one direction needs.
pub(crate) struct Pump<'a, R, W> {
    pub(crate) reader: R,
    pub(crate) writer: W,
    /// `Up` or `Down`.
    pub(crate) way: Direction,
    pub(crate) conditions: watch::Receiver<LinkConditions>,
    pub(crate) shaper: Shaper,
    pub(crate) counters: &'a Counters,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Pump<'_, R, W> {
    /// Until the end of the stream has been handed on, or the writing side fails. A reading side that fails has ended.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        let mut held = Held { chunks: VecDeque::new(), bytes: 0, counters: self.counters };
        let mut buffer = BytesMut::new();
        let mut ended = false;
        loop {
            let now_is = self.conditions.borrow_and_update().one_way(self.way);
            // `None` while nothing may go out.
            let departure = match held.chunks.front() {
                Some(front) if now_is.state == LinkState::Open => Some(self.shaper.departure(&now_is, front.arrival)),
                _ => None,
            };
            // Small chunks share one block, else a few bytes that wait would each hold a whole one.
            if buffer.capacity() - buffer.len() < SMALLEST_ROOM {
                buffer.reserve(LARGEST_CHUNK);
            }
            tokio::select! {
                biased;
                changed = self.conditions.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                done = write_front(&mut self.writer, &self.shaper, &now_is, departure, &held.chunks), if departure.is_some() => match done? {
                    0 => return self.writer.shutdown().await,
                    bytes => {
                        held.sent(bytes);
                        self.shaper.sent(&now_is, bytes, Instant::now());
                    }
                },
                read = self.reader.read_buf(&mut buffer), if !ended && held.bytes < MOST_HELD => {
                    ended = !matches!(read, Ok(bytes) if bytes > 0);
                    let bytes = if ended { Bytes::new() } else { buffer.split().freeze() };
                    held.push(Chunk { arrival: self.shaper.arrival(&now_is, Instant::now()), bytes });
                }
            }
        }
    }
}

/// Writes of the front chunk what may go out at `departure`, and says how many bytes that were; 0 for the end of the stream.
/// May be dropped at any moment: nothing is lost then.
async fn write_front(
    writer: &mut (impl AsyncWrite + Unpin),
    shaper: &Shaper,
    conditions: &LinkConditions,
    departure: Option<Instant>,
    chunks: &VecDeque<Chunk>,
) -> io::Result<usize> {
    let (Some(departure), Some(front)) = (departure, chunks.front()) else { return std::future::pending().await };
    if departure > Instant::now() {
        sleep_until(departure).await;
    }
    if front.bytes.is_empty() {
        return Ok(0);
    }
    let piece = shaper.piece(conditions, front.bytes.len());
    match writer.write(&front.bytes[..piece]).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::DuplexStream;
    use tokio::time::{sleep, timeout};

    use super::*;

    /// A pump between two pipes in virtual time. `from` is written to, `to` is read from.
    struct Bench {
        from: DuplexStream,
        to: DuplexStream,
        link: watch::Sender<LinkConditions>,
        counters: &'static Counters,
        start: Instant,
    }

    impl Bench {
        fn new(conditions: LinkConditions, way: Direction) -> Self {
            let (from, reader) = tokio::io::duplex(4096);
            let (writer, to) = tokio::io::duplex(4096);
            let (link, conditions) = watch::channel(conditions);
            let counters: &Counters = Box::leak(Box::default());
            tokio::spawn(Pump { reader, writer, way, conditions, shaper: Shaper::new(1), counters }.run());
            Self { from, to, link, counters, start: Instant::now() }
        }

        fn up(conditions: LinkConditions) -> Self {
            Self::new(conditions, Direction::Up)
        }

        async fn receive(&mut self, bytes: usize) -> String {
            let mut buffer = vec![0; bytes];
            self.to.read_exact(&mut buffer).await.unwrap();
            String::from_utf8(buffer).unwrap()
        }

        fn elapsed_ms(&self) -> u128 {
            self.start.elapsed().as_millis()
        }
    }

    fn with(change: impl FnOnce(&mut LinkConditions)) -> LinkConditions {
        let mut conditions = LinkConditions::default();
        change(&mut conditions);
        conditions
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_and_then_the_end_pass_at_once() {
        let mut bench = Bench::up(LinkConditions::default());
        bench.from.write_all(b"hello").await.unwrap();
        assert_eq!(bench.receive(5).await, "hello");
        drop(bench.from);
        assert_eq!(bench.to.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(bench.counters.read(), Flow { bytes: 5, chunks: 1, held_bytes: 0 });
        assert_eq!(bench.start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_is_a_longer_way_and_no_smaller_pipe() {
        let mut bench = Bench::up(with(|link| link.delay_ms = 100));
        for word in ["one", "two", "six"] {
            bench.from.write_all(word.as_bytes()).await.unwrap();
            sleep(Duration::from_millis(30)).await;
        }
        let mut arrivals = Vec::new();
        for _ in 0..3 {
            let word = bench.receive(3).await;
            arrivals.push((word, bench.elapsed_ms()));
        }
        assert_eq!(arrivals, [("one".to_owned(), 100), ("two".to_owned(), 130), ("six".to_owned(), 160)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_keeps_its_time_when_the_delay_ends() {
        let mut bench = Bench::up(with(|link| link.delay_ms = 1000));
        bench.from.write_all(b"slow").await.unwrap();
        sleep(Duration::from_millis(10)).await;
        bench.link.send_replace(LinkConditions::default());
        bench.from.write_all(b"fast").await.unwrap();
        assert_eq!((bench.receive(8).await.as_str(), bench.elapsed_ms()), ("slowfast", 1000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_holds_bytes_and_the_end_and_healing_delivers_them_in_order() {
        let mut bench = Bench::up(LinkConditions::stalled());
        bench.from.write_all(b"first ").await.unwrap();
        sleep(Duration::from_secs(5)).await;
        bench.from.write_all(b"second").await.unwrap();
        drop(bench.from);
        assert!(timeout(Duration::from_secs(3600), bench.to.read(&mut [0; 8])).await.is_err(), "nothing passes, not even the end");
        assert_eq!(bench.counters.read().held_bytes, 12);
        bench.link.send_replace(LinkConditions::default());
        let mut all = String::new();
        bench.to.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "first second");
        assert_eq!(bench.counters.read().held_bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_stops_the_sender_when_the_buffers_are_full_and_loses_nothing() {
        let bench = Bench::up(LinkConditions::stalled());
        let sent = vec![b'x'; 3 * MOST_HELD];
        let (mut from, mut to) = (bench.from, bench.to);
        let sender = tokio::spawn(async move { from.write_all(&sent).await });
        sleep(Duration::from_secs(60)).await;
        assert!(!sender.is_finished());
        let held = bench.counters.read().held_bytes as usize;
        assert!((MOST_HELD..MOST_HELD + LARGEST_CHUNK).contains(&held), "{held} B are held");
        bench.link.send_replace(LinkConditions::default());
        let mut received = Vec::new();
        to.read_to_end(&mut received).await.unwrap();
        assert_eq!((received.len(), sender.await.unwrap().is_ok()), (3 * MOST_HELD, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_lets_so_many_bytes_pass_and_its_end_frees_the_rest() {
        let mut bench = Bench::up(with(|link| link.bytes_per_s = Some(1000)));
        bench.from.write_all(&[b'x'; 4000]).await.unwrap();
        bench.receive(1000).await;
        let first = bench.elapsed_ms();
        assert!((900..=1000).contains(&first), "1000 B at 1000 B/s took {first} ms");
        bench.link.send_replace(LinkConditions::default());
        bench.receive(3000).await;
        assert_eq!(bench.elapsed_ms(), first);
    }

    #[tokio::test(start_paused = true)]
    async fn conditions_of_one_way_leave_the_other_alone() {
        let only_up = LinkConditions { direction: Direction::Up, ..LinkConditions::stalled() };
        let mut down = Bench::new(only_up, Direction::Down);
        down.from.write_all(b"heard").await.unwrap();
        assert_eq!(down.receive(5).await, "heard");
        let mut up = Bench::up(only_up);
        up.from.write_all(b"not heard").await.unwrap();
        assert!(timeout(Duration::from_secs(60), up.to.read(&mut [0; 8])).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_reader_ends_it_and_nothing_stays_held() {
        let mut bench = Bench::up(with(|link| link.delay_ms = 10));
        drop(bench.to);
        bench.from.write_all(b"into the void").await.unwrap();
        sleep(Duration::from_millis(20)).await;
        assert!(bench.from.write_all(b"more").await.is_err());
        assert_eq!(bench.counters.read(), Flow { bytes: 0, chunks: 1, held_bytes: 0 });
    }
}
