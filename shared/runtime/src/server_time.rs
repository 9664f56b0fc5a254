//! The NATS server's clock, as its answers show it.

use std::time::Duration;

use async_nats::datetime::DateTime;
use async_nats::jetstream;
use faultline_protocol::streams;
use serde::Deserialize;

use crate::clock;

/// An answer that takes longer says too little about the time.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// What the NATS server's clock showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTime {
    pub server_ms: u64,
    /// By [`clock::steady_ms`].
    pub asked_ms: u64,
    pub answered_ms: u64,
}

/// The part of JetStream's answer about a stream that tells the time.
#[derive(Debug, Deserialize)]
struct Timed {
    ts: Option<String>,
}

/// A time that JetStream tells, in Unix milliseconds.
pub fn stored_ms(time: DateTime) -> u64 {
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

/// Asks for the NATS server's time. None when it does not answer, or has no stream JOBS to answer about.
pub(crate) async fn ask(jetstream: &jetstream::Context) -> Option<ServerTime> {
    let asked_ms = clock::steady_ms();
    let answer: Timed = jetstream.request(format!("STREAM.INFO.{}", streams::JOBS), &()).await.ok()?;
    let answered_ms = clock::steady_ms();
    let server_ms = stored_ms(async_nats::datetime::parse_rfc3339(&answer.ts?).ok()?);
    Some(ServerTime { server_ms, asked_ms, answered_ms })
}

/// Sets the cluster's time of this process by it.
pub(crate) async fn learn(jetstream: &jetstream::Context) -> bool {
    let Ok(Some(time)) = tokio::time::timeout(ANSWER_LIMIT, ask(jetstream)).await else { return false };
    clock::compare(time.server_ms, time.asked_ms, time.answered_ms);
    true
}
