//! What JetStream says of a stream, with the server's own clock: comparing ages with stored times needs that one.

use async_nats::datetime::parse_rfc3339;
use async_nats::jetstream;
use async_nats::jetstream::response::Response;
use faultline_engine::ledger::stores::Sight;
use serde::Deserialize;

/// A stream at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    pub sight: Sight,
    /// The server's clock.
    pub now_ms: u64,
    pub bytes: u64,
    /// 0 or less: no limit.
    pub max_bytes: i64,
    pub replicas: usize,
}

impl Look {
    /// How much of its limit is used, in percent; `None` without a limit.
    pub fn filled_percent(&self) -> Option<u64> {
        let limit = u64::try_from(self.max_bytes).ok().filter(|&limit| limit > 0)?;
        Some(self.bytes.saturating_mul(100) / limit)
    }
}

/// The part of JetStream's answer that is of use here.
#[derive(Debug, Deserialize)]
struct Info {
    created: String,
    #[serde(default)]
    ts: Option<String>,
    config: Config,
    state: State,
}

#[derive(Debug, Deserialize)]
struct Config {
    #[serde(default)]
    max_bytes: i64,
    #[serde(default)]
    num_replicas: usize,
}

#[derive(Debug, Deserialize)]
struct State {
    messages: u64,
    bytes: u64,
    last_seq: u64,
}

/// Asks the server that leads the stream.
pub(crate) async fn ask(jetstream: &jetstream::Context, stream: &str) -> Result<Look, String> {
    let asked = jetstream.request(format!("STREAM.INFO.{stream}"), &()).await;
    match asked.map_err(|error| format!("asking for the stream {stream} failed: {error}"))? {
        Response::Err { error } => Err(format!("asking for the stream {stream} failed: {error}")),
        Response::Ok(info) => read(&info).ok_or_else(|| format!("the answer about the stream {stream} has an invalid time")),
    }
}

fn read(info: &Info) -> Option<Look> {
    let made_at_ms = unix_ms(&info.created)?;
    let now_ms = info.ts.as_deref().and_then(unix_ms).unwrap_or_else(crate::clock::unix_ms);
    let sight = Sight { made_at_ms, last_seq: info.state.last_seq, messages: info.state.messages };
    Some(Look { sight, now_ms, bytes: info.state.bytes, max_bytes: info.config.max_bytes, replicas: info.config.num_replicas.max(1) })
}

fn unix_ms(text: &str) -> Option<u64> {
    u64::try_from(parse_rfc3339(text).ok()?.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_answer_is_read_with_its_clock_and_its_limits() {
        let text = r#"{"type":"io.nats.jetstream.api.v1.stream_info_response","created":"2026-11-30T10:00:00.25Z",
            "ts":"2026-11-30T10:00:01Z","config":{"name":"JOBS","max_bytes":1000,"num_replicas":3},
            "state":{"messages":2,"bytes":950,"first_seq":4,"last_seq":5,"consumer_count":3}}"#;
        let look = read(&serde_json::from_str(text).expect("it is JSON")).expect("its times are times");
        assert_eq!((look.sight.last_seq, look.sight.messages, look.replicas, look.filled_percent()), (5, 2, 3, Some(95)));
        assert_eq!(look.now_ms - look.sight.made_at_ms, 750);
    }

    #[test]
    fn a_stream_without_a_limit_is_never_full() {
        assert_eq!(Look { bytes: 7, max_bytes: -1, ..Look::default() }.filled_percent(), None);
    }
}
