//! Who talks to the dashboard: a client that reads and checks every message, clients that read nothing, and plain requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use faultline_tests::http;
use futures::StreamExt;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Ends [`watch`].
pub(crate) static STOP: Notify = Notify::const_new();

const MAX_BAD: usize = 10;
/// Nothing for so long is an error: a round is due twice a second.
const SILENCE: Duration = Duration::from_secs(20);
/// Bit 6 of a node's state: its last heartbeat is older than 2 s.
const LATE: u8 = 1 << 6;
const HEADER_BYTES: usize = 16;
const NODE_BYTES: usize = 5;

/// What the reading client saw.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) hello_bytes: usize,
    pub(crate) hellos: usize,
    pub(crate) rounds: usize,
    pub(crate) largest_text: usize,
    pub(crate) largest_binary: usize,
    intervals_ms: Vec<u64>,
    /// Share of the nodes whose heartbeat was fresh in the last telemetry, 0 to 1.
    pub(crate) heard_last: f64,
    /// What was wrong with messages; the first few.
    pub(crate) bad: Vec<String>,
    seq: u64,
    index: u64,
}

impl Watched {
    /// Milliseconds between two rounds.
    pub(crate) fn interval_ms(&self, percent: usize) -> u64 {
        let mut sorted = self.intervals_ms.clone();
        sorted.sort_unstable();
        sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied().unwrap_or(0)
    }

    fn complain(&mut self, what: String) {
        if self.bad.len() < MAX_BAD {
            self.bad.push(what);
        }
    }

    fn text(&mut self, text: &str) {
        self.largest_text = self.largest_text.max(text.len());
        let Ok(told) = serde_json::from_str::<Value>(text) else { return self.complain("invalid JSON".into()) };
        let seq = told["seq"].as_u64().unwrap_or(0);
        match told["type"].as_str() {
            Some("hello") => {
                (self.hellos, self.hello_bytes) = (self.hellos + 1, text.len());
                self.index = told["state"]["node_index"].as_u64().unwrap_or(0);
            }
            Some("delta") if seq == self.seq + 1 => self.index = told["node_index"].as_u64().unwrap_or(self.index),
            _ => self.complain(format!("after {}: {}", self.seq, text.chars().take(80).collect::<String>())),
        }
        self.seq = seq;
        self.rounds += 1;
    }

    fn binary(&mut self, frame: &[u8], nodes: usize) {
        self.largest_binary = self.largest_binary.max(frame.len());
        let number = |at: usize| {
            frame.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(u64::MAX, |bytes| u64::from(u32::from_le_bytes(bytes)))
        };
        let count = number(12) as usize;
        if frame.first() != Some(&1) || number(4) != self.seq || number(8) != self.index || frame.len() != HEADER_BYTES + count * NODE_BYTES
        {
            return self.complain(format!("telemetry {:?} does not belong to round {}", &frame[..frame.len().min(HEADER_BYTES)], self.seq));
        }
        let fresh = frame[HEADER_BYTES..].chunks_exact(NODE_BYTES).filter(|cell| cell[3] & LATE == 0).count();
        self.heard_last = fresh as f64 / nodes as f64;
    }
}

/// Reads until it is told to stop.
pub(crate) async fn watch(port: u16, nodes: usize) -> anyhow::Result<Watched> {
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://127.0.0.1:{port}/api/v1/ws")).await?;
    let mut watched = Watched::default();
    let mut last = None;
    loop {
        let message = tokio::select! {
            () = STOP.notified() => return Ok(watched),
            message = tokio::time::timeout(SILENCE, socket.next()) => message.context("the WebSocket fell silent")?,
        };
        match message.context("the WebSocket ended")?? {
            Message::Text(text) => {
                let now = Instant::now();
                if let Some(before) = last.replace(now) {
                    watched.intervals_ms.push(u64::try_from((now - before).as_millis()).unwrap_or(u64::MAX));
                }
                watched.text(&text);
            }
            Message::Binary(frame) => watched.binary(&frame, nodes),
            Message::Close(frame) => bail!("the dashboard closed the WebSocket: {frame:?}"),
            _ => {}
        }
    }
}

/// A client that connects and never reads.
pub(crate) async fn deaf(port: u16) -> anyhow::Result<WebSocketStream<MaybeTlsStream<TcpStream>>> {
    Ok(tokio_tungstenite::connect_async(format!("ws://127.0.0.1:{port}/api/v1/ws")).await?.0)
}

async fn get(port: u16, path: &str) -> anyhow::Result<Value> {
    let answer = http::get(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), path).await;
    let (status, body) = answer.with_context(|| format!("{path} is not answered"))?;
    ensure!(status == 200, "{path}: {status}");
    // One piece, since the dashboard knows its length before it answers.
    serde_json::from_str(&body).with_context(|| format!("{path} answers no JSON"))
}

/// The median time of a request, in milliseconds.
pub(crate) async fn time_query(port: u16, path: &str, times: usize) -> anyhow::Result<f64> {
    let mut took = Vec::new();
    for _ in 0..times {
        let begin = Instant::now();
        get(port, path).await?;
        took.push(begin.elapsed().as_secs_f64() * 1_000.0);
    }
    took.sort_by(f64::total_cmp);
    Ok(took.get(took.len() / 2).copied().unwrap_or(0.0))
}

/// What the dashboard keeps of the past, in KiB.
pub(crate) async fn kept_kib(port: u16) -> anyhow::Result<i64> {
    let bytes = get(port, "/api/v1/past").await?["bytes"].as_u64().context("bytes are missing")?;
    Ok(i64::try_from(bytes / 1024)?)
}

/// How many WebSockets and event streams are open.
pub(crate) async fn streams_open(port: u16) -> anyhow::Result<u64> {
    get(port, "/api/v1/stats").await?["streams_open"].as_u64().context("streams_open is missing")
}
