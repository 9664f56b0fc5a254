//! The NATS server: reachable, new enough, with JetStream, on time, and with streams as `setup` makes them.

use async_nats::jetstream::account::Account;
use faultline_protocol::streams;
use faultline_runtime::clock;
use faultline_runtime::config::without_secrets;
use faultline_runtime::connect::{ConnectError, Nats, connect_once};
use serde::Deserialize;
use tokio::time::Instant;

use super::Finding;
use super::local::bytes;
use crate::nats_server::find::{OLDEST, Version};
use crate::session::Session;
use crate::setup;

const USER: &str = "cli";
/// The shortest round trip says most about the clocks.
const CLOCK_SAMPLES: u32 = 5;
/// Ages in tables are wrong by as much.
const CLOCK_DOUBTFUL_MS: f64 = 1_000.0;
/// Half of what makes a fresh job too old to be taken.
const CLOCK_WRONG_MS: f64 = 30_000.0;

pub(super) async fn connect(session: &Session) -> (Option<Nats>, Finding) {
    let common = session.common_for(USER);
    let url = without_secrets(&common.nats_url);
    let key = common.nkey_file.as_ref().map_or_else(|| "without a key".to_owned(), |path| format!("with the key {}", path.display()));
    match connect_once(&common, USER, "faultline-doctor").await {
        Ok(nats) => {
            let began = Instant::now();
            let round_trip = match nats.client.flush().await {
                Ok(()) => format!(", {:.1} ms there and back", began.elapsed().as_secs_f64() * 1000.0),
                Err(_) => String::new(),
            };
            let name = nats.client.server_info().server_name;
            (Some(nats), Finding::ok("nats", format!("{url} {key}: {name} answers{round_trip}")))
        }
        Err(error) => {
            let (reason, remedy) = match error {
                ConnectError::Unreachable { reason, .. } => {
                    (reason, "start one with `faultline up`, or name it with --nats-url or FAULTLINE_NATS_URL".to_owned())
                }
                ConnectError::Refused { reason, .. } => {
                    let remedy = "name the key that this server knows with --nkey-file, or --data-dir of the `faultline up` that runs it";
                    (reason, remedy.to_owned())
                }
                ConnectError::Credentials(error) => (error.to_string(), "mend the file, or name another one".to_owned()),
                ConnectError::Tls { reason, .. } => (reason, "look at --tls-ca-file, --tls-cert-file and --tls-key-file".to_owned()),
                ConnectError::Otlp(error) => (error.to_string(), "correct otlp_endpoint".to_owned()),
                ConnectError::BadUrl { reason, .. } => {
                    (reason, "it is nats://HOST:PORT, or several with commas between for a cluster".to_owned())
                }
            };
            (None, Finding::fail("nats", format!("{url} {key}: {reason}"), remedy))
        }
    }
}

pub(super) fn version(nats: &Nats) -> Finding {
    let said = nats.client.server_info().version;
    match Version::parse(&said) {
        Some(version) if version >= OLDEST => Finding::ok("server version", said),
        Some(_) => Finding::fail("server version", format!("{said}, needed is {OLDEST} or newer"), "upgrade nats-server"),
        None => Finding::warn("server version", format!("`{said}` is no version"), format!("make sure that it is {OLDEST} or newer")),
    }
}

/// Whether JetStream is on, and how full.
pub(super) async fn jetstream(nats: &Nats) -> (bool, Finding) {
    match setup::account(nats).await {
        Ok(account) => (true, account_finding(&account)),
        Err(failure) => {
            let text = failure.to_string();
            let (found, remedy) = text.split_once(": ").unwrap_or((&text, "start it with `nats-server -js`"));
            (false, Finding::fail("jetstream", found, remedy))
        }
    }
}

fn account_finding(account: &Account) -> Finding {
    let limit = account.limits.max_storage.and_then(|most| u64::try_from(most).ok()).filter(|&most| most > 0);
    let used = format!("on, {} on disk in {} streams", bytes(account.storage), account.streams);
    match limit {
        None => Finding::ok("jetstream", format!("{used}, no limit for this account")),
        Some(most) => {
            let found = format!("{used} of at most {}", bytes(most));
            if account.storage > most - most / 10 {
                Finding::fail("jetstream", found, "it is nearly full: raise the account's limit, or lower what streams may hold")
            } else {
                Finding::ok("jetstream", found)
            }
        }
    }
}

/// Part of JetStream's answer about a stream.
#[derive(Deserialize)]
struct Timed {
    /// The server's clock when it answered.
    ts: Option<String>,
}

/// One look at the server's clock: how far it is ahead, and how long the answer took, in milliseconds.
async fn clock_sample(nats: &Nats) -> Option<(f64, f64)> {
    let (sent_ms, began) = (clock::unix_ms(), Instant::now());
    let answer = nats.client.request(format!("$JS.API.STREAM.INFO.{}", streams::JOBS), bytes::Bytes::new()).await.ok()?;
    let round_trip_ms = began.elapsed().as_secs_f64() * 1000.0;
    let said = serde_json::from_slice::<Timed>(&answer.payload).ok()?.ts?;
    let server_ms = async_nats::datetime::parse_rfc3339(&said).ok()?.unix_timestamp_nanos() as f64 / 1e6;
    Some((server_ms - (sent_ms as f64 + round_trip_ms / 2.0), round_trip_ms))
}

pub(super) async fn clock(nats: &Nats) -> Finding {
    let mut best: Option<(f64, f64)> = None;
    for _ in 0..CLOCK_SAMPLES {
        if let Some(sample) = clock_sample(nats).await
            && best.is_none_or(|(_, shortest)| sample.1 < shortest)
        {
            best = Some(sample);
        }
    }
    match best {
        Some((offset_ms, round_trip_ms)) => clock_finding(offset_ms, round_trip_ms),
        None => Finding::skip("clock", "the server does not tell its time without the stream JOBS"),
    }
}

fn clock_finding(offset_ms: f64, round_trip_ms: f64) -> Finding {
    let way = if offset_ms >= 0.0 { "ahead of" } else { "behind" };
    // Our own clock is read in whole milliseconds.
    let found = format!("the server is {:.0} ms {way} this machine (+/- {:.0} ms)", offset_ms.abs(), round_trip_ms / 2.0 + 1.0);
    let remedy = "set both clocks by NTP: `timedatectl` says whether that is on";
    match offset_ms.abs() {
        far if far >= CLOCK_WRONG_MS => Finding::fail("clock", found, format!("jobs would be refused as too old; {remedy}")),
        far if far >= CLOCK_DOUBTFUL_MS => Finding::warn("clock", found, remedy),
        _ => Finding::ok("clock", found),
    }
}

/// Streams, buckets and consumers against what `setup` would make.
pub(super) async fn streams(nats: &Nats) -> Finding {
    match setup::inspect(nats).await {
        Err(failure) => Finding::fail("streams", failure.to_string(), "use the key of `cli` or `admin` of this server"),
        Ok(found) if !found.conflicts.is_empty() => {
            let remedy = "`nats stream edit NAME` or `nats consumer edit JOBS NAME` changes it back; `nats stream rm NAME` and `faultline setup` make it \
                          anew, without its messages";
            Finding::fail("streams", found.conflicts.join("; "), remedy)
        }
        Ok(found) if !found.missing.is_empty() => Finding::fail(
            "streams",
            format!("missing: {}", found.missing.join(", ")),
            "`faultline setup` makes what is missing; `faultline up` does so too",
        ),
        Ok(found) => {
            Finding::ok("streams", format!("{} streams, buckets and consumers are as `faultline setup` makes them", found.as_wanted))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn clocks_may_differ_a_little() {
        let close = clock_finding(-3.4, 1.0);
        assert_eq!((close.status, close.found.as_str()), (Status::Ok, "the server is 3 ms behind this machine (+/- 2 ms)"));
        assert_eq!(clock_finding(1_500.0, 1.0).status, Status::Warn);
        assert_eq!(clock_finding(-31_000.0, 1.0).status, Status::Fail);
    }
}
