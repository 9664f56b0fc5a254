//! The NATS server: reachable, new enough, with JetStream, on time, and with streams as `setup` makes them.

use std::time::Duration;

use async_nats::jetstream::account::Account;
use faultline_cluster::nats_server::accounts::account_of;
use faultline_cluster::nats_server::find::{OLDEST, Version};
use faultline_cluster::nats_server::permissions::ADMIN;
use faultline_cluster::provision::{self, Asking};
use faultline_protocol::streams;
use faultline_runtime::clock;
use faultline_runtime::config::without_secrets;
use faultline_runtime::connect::{ConnectError, Nats, connect_once};
use faultline_runtime::room::{FULL_PERCENT, promised_bytes, promised_percent};
use faultline_runtime::sight::{Look, look_at};
use serde::Deserialize;
use tokio::time::Instant;

use super::finding::Finding;
use super::local::bytes;
use crate::output::{plural, span};
use crate::session::Session;

const USER: &str = "cli";
/// The shortest round trip says most about the clocks.
const CLOCK_SAMPLES: u32 = 5;
/// The times that this machine's own programs show differ from those of the cluster by as much.
const CLOCK_DOUBTFUL_MS: f64 = clock::WRONG_FROM_MS as f64;
/// The server answers within milliseconds, and not at all to a key that may not ask.
const ACCOUNT_LIMIT: Duration = Duration::from_secs(1);
/// JOBS refuses what does not fit.
const NEARLY_FULL_PERCENT: u64 = 90;

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
                    let start = || "start one with `faultline up`, or name it with --nats-url or FAULTLINE_NATS_URL".to_owned();
                    (reason, session.remedy_of_up(&url).await.unwrap_or_else(start))
                }
                ConnectError::Refused { reason, .. } => {
                    let remedy = "name the key that this server knows with --nkey-file, or --data-dir of the `faultline up` that runs it";
                    (reason, remedy.to_owned())
                }
                ConnectError::Credentials(error) => (error.to_string(), "correct the file, or name another one".to_owned()),
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
        None => Finding::warn("server version", format!("unknown version `{said}`"), format!("make sure that it is {OLDEST} or newer")),
    }
}

/// Whether JetStream is on, and how full.
pub(super) async fn jetstream(nats: &Nats) -> (bool, Finding) {
    let info = nats.client.server_info();
    if info.cluster.is_some() && !info.jetstream {
        let remedy = "a member of a cluster switches it off when its disk is full, until it is restarted: free space there and restart it; \
                      `faultline up` restarts its own servers by itself";
        return (false, Finding::fail("jetstream", format!("off on {}", info.server_name), remedy));
    }
    match provision::account(&Asking::of(nats, provision::LOOK_LIMIT)).await {
        Ok(account) => (true, account_finding(&account, &on_disk(nats).await)),
        Err(failure) => {
            let text = failure.to_string();
            let (found, remedy) = text.split_once(": ").unwrap_or((&text, "start it with `nats-server -js`"));
            (false, Finding::fail("jetstream", found, remedy))
        }
    }
}

/// The streams that are there, of both accounts that hold some: what JetStream says of an account is about one of them.
async fn on_disk(nats: &Nats) -> Vec<u64> {
    let mut sizes = Vec::new();
    for name in streams::names() {
        if let Ok(stream) = nats.jetstream.get_stream(name).await {
            sizes.push(stream.cached_info().state.bytes);
        }
    }
    sizes
}

fn account_finding(account: &Account, sizes: &[u64]) -> Finding {
    let limit = account.limits.max_storage.and_then(|most| u64::try_from(most).ok()).filter(|&most| most > 0);
    let used = format!("on, {} on disk in {}", bytes(sizes.iter().sum()), plural(sizes.len() as u64, "stream"));
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

/// Part of the server's answer about the user that asks.
#[derive(Deserialize)]
struct UserInfo {
    data: UserData,
}

#[derive(Deserialize)]
struct UserData {
    account: String,
}

/// Whether the user's account is its own: a message that the server sends for it reaches what its account reaches, and nothing else.
pub(super) async fn account(nats: &Nats) -> Finding {
    let answer = tokio::time::timeout(ACCOUNT_LIMIT, nats.client.request("$SYS.REQ.USER.INFO", bytes::Bytes::new())).await;
    let info = answer.ok().and_then(Result::ok).and_then(|answer| serde_json::from_slice::<UserInfo>(&answer.payload).ok());
    account_finding_of(info.as_ref().map(|info| info.data.account.as_str()))
}

fn account_finding_of(account: Option<&str>) -> Finding {
    let remedy = "write the server's configuration again with `faultline nats-config`, which gives each key an account of its own, and start the \
                  server with it (docs/security.md); `faultline up` does so by itself";
    match account {
        Some(own) if [account_of(USER), account_of(ADMIN)].iter().any(|known| known == own) => {
            Finding::ok("accounts", format!("this key is in {own}, an account of its own"))
        }
        Some(other) => Finding::warn(
            "accounts",
            format!("this key is in the account {other}: whether other keys share it, and can be played by it, is not known"),
            remedy,
        ),
        None => Finding::warn(
            "accounts",
            "the server does not tell this key its account: its configuration is of an earlier version, in which all keys share one, so that \
             any key can delete streams",
            remedy,
        ),
    }
}

/// The NATS server's clock against this machine's. Also sets the cluster's time of this process.
pub(super) async fn clock(nats: &Nats) -> Finding {
    let mut best: Option<(f64, f64)> = None;
    for _ in 0..CLOCK_SAMPLES {
        let Some(time) = nats.server_time().await else { continue };
        let since_answer_ms = clock::steady_ms() - time.answered_ms;
        let round_trip_ms = (time.answered_ms - time.asked_ms) as f64;
        let now_there_ms = time.server_ms as f64 + round_trip_ms / 2.0 + since_answer_ms as f64;
        if best.is_none_or(|(_, shortest)| round_trip_ms < shortest) {
            best = Some((now_there_ms - clock::wall_ms() as f64, round_trip_ms));
        }
    }
    nats.learn_time().await;
    match best {
        Some((offset_ms, round_trip_ms)) => clock_finding(offset_ms, round_trip_ms),
        None => Finding::skip("clock", "the server does not tell its time without the stream JOBS"),
    }
}

fn clock_finding(offset_ms: f64, round_trip_ms: f64) -> Finding {
    let way = if offset_ms >= 0.0 { "ahead of" } else { "behind" };
    // Clocks are read in whole milliseconds.
    let found = {
        let [offset, doubt] = [offset_ms.abs(), round_trip_ms / 2.0 + 1.0].map(|ms| span(ms.round() as u64));
        format!("the server is {offset} {way} this machine (+/- {doubt})")
    };
    let remedy = "synchronise both clocks with NTP: `timedatectl` shows whether it is on";
    if offset_ms.abs() >= CLOCK_DOUBTFUL_MS { Finding::warn("clock", found, remedy) } else { Finding::ok("clock", found) }
}

/// Streams, buckets and consumers against what `setup` would make.
pub(super) async fn streams(nats: &Nats) -> Finding {
    match provision::inspect(nats).await {
        Err(failure) => Finding::fail("streams", failure.to_string(), "use the key of `cli` or `admin` of this server"),
        Ok(found) if !found.conflicts.is_empty() => {
            let remedy = "`nats stream edit NAME` or `nats consumer edit JOBS NAME` changes it back; `nats stream rm NAME` and `faultline setup` make it \
                          anew, without its messages";
            Finding::fail("streams", found.conflicts.join("; "), remedy)
        }
        Ok(found) if !found.missing.is_empty() => Finding::fail(
            "streams",
            format!("missing: {}", found.missing.join(", ")),
            "run `faultline setup` to create what is missing; `faultline up` does so too",
        ),
        Ok(found) => Finding::ok("streams", format!("{} streams, buckets, and consumers match `faultline setup`", found.as_wanted)),
    }
}

/// How full the streams are that refuse what does not fit.
pub(super) async fn room(nats: &Nats) -> Finding {
    match (look_at(nats, streams::JOBS).await, look_at(nats, streams::RESULTS).await) {
        (Ok(jobs), Ok(results)) => room_finding(&jobs, &results),
        (Err(reason), _) | (_, Err(reason)) => Finding::skip("room", reason),
    }
}

fn room_finding(jobs: &Look, results: &Look) -> Finding {
    let part = |name: &str, look: &Look| match look.filled_percent() {
        Some(percent) => format!("{name} holds {}, {percent} % of what it may", bytes(look.bytes)),
        None => format!("{name} holds {} and has no limit", bytes(look.bytes)),
    };
    let found = format!("{}; {}", part(streams::JOBS, jobs), part(streams::RESULTS, results));
    let promised = promised_percent(jobs, results).unwrap_or(0);
    let found = match promised {
        0 => found,
        promised => format!("{found}, {promised} % with the ends of the jobs that are open"),
    };
    let filled = jobs.filled_percent().unwrap_or(0);
    match (promised, filled) {
        (101.., _) => Finding::fail(
            "room",
            found,
            format!(
                "the jobs that are open may not all end, and continue only as records expire: raise the limit with `faultline setup \
                 --results-max-bytes {}`",
                enough_results(jobs, results)
            ),
        ),
        (FULL_PERCENT.., _) => Finding::fail(
            "room",
            found,
            format!(
                "no job is taken while RESULTS is over {FULL_PERCENT} % full, so that those that are open can end: wait for records to expire, \
                 or raise the limit with `faultline setup --results-max-bytes {}`",
                enough_results(jobs, results)
            ),
        ),
        (_, NEARLY_FULL_PERCENT..) => Finding::fail("room", found, format!("JOBS is about to refuse jobs: {}", raise_jobs(jobs, results))),
        _ => Finding::ok("room", found),
    }
}

/// A limit of RESULTS under which jobs are taken again.
fn enough_results(jobs: &Look, results: &Look) -> u64 {
    let doubled = u64::try_from(results.max_bytes).unwrap_or(0).saturating_mul(2);
    doubled.max(promised_bytes(jobs, results).saturating_mul(2))
}

/// `setup` refuses a JOBS that is large beside RESULTS.
fn raise_jobs(jobs: &Look, results: &Look) -> String {
    let more = jobs.max_bytes.saturating_mul(2);
    let with_results = match results.max_bytes {
        limit if limit > 0 && limit / 2 < more => format!(" --results-max-bytes {}", more.saturating_mul(2)),
        _ => String::new(),
    };
    format!("wait for jobs to end, or raise the limit with `faultline setup --jobs-max-bytes {more}{with_results}`")
}

#[cfg(test)]
mod tests {
    use faultline_engine::ledger::stores::Sight;

    use super::super::finding::Status;
    use super::*;

    #[test]
    fn an_account_that_keys_share_is_doubtful() {
        assert_eq!(account_finding_of(Some("CLI")).status, Status::Ok);
        for shared in [Some("APP"), Some("$G"), None] {
            let finding = account_finding_of(shared);
            assert_eq!(finding.status, Status::Warn);
            assert!(finding.remedy.unwrap().contains("nats-config"));
        }
    }

    #[test]
    fn a_stream_that_is_nearly_full_is_found_with_the_way_out() {
        let look = |bytes, messages, max_bytes| Look { sight: Sight { messages, ..Sight::default() }, bytes, max_bytes, ..Look::default() };
        let idle = look(0, 0, 1_000);
        let ended = look(799, 9, 1_000);
        let finding = room_finding(&idle, &ended);
        assert_eq!((finding.status, finding.found.contains("79 % with the ends")), (Status::Ok, true));
        // Only ended jobs: they expire.
        let full = room_finding(&idle, &look(950, 9, 1_000));
        assert_eq!(full.status, Status::Fail);
        assert!(full.remedy.is_some_and(|remedy| remedy.contains("wait for records") && remedy.contains("--results-max-bytes 2000`")));
        // Half full of open markers: their ends do not fit, so there is nothing to wait for.
        let blocked = room_finding(&look(500, 2, 1_000), &look(500, 2, 1_000));
        assert!(blocked.remedy.is_some_and(|remedy| !remedy.contains("wait") && remedy.contains("--results-max-bytes 5200`")));
        let jobs = room_finding(&look(900, 0, 1_000), &look(10, 0, 100_000));
        assert!(jobs.remedy.is_some_and(|remedy| remedy.contains("`faultline setup --jobs-max-bytes 2000`")));
        let both = room_finding(&look(900, 0, 1_000), &look(10, 0, 2_000));
        assert!(both.remedy.is_some_and(|remedy| remedy.contains("`faultline setup --jobs-max-bytes 2000 --results-max-bytes 4000`")));
        assert_eq!(room_finding(&look(900, 0, 1_000), &Look::default()).status, Status::Fail);
    }

    #[test]
    fn clocks_may_differ_a_little() {
        let close = clock_finding(-3.4, 1.0);
        assert_eq!((close.status, close.found.as_str()), (Status::Ok, "the server is 3 ms behind this machine (+/- 2 ms)"));
        assert_eq!(clock_finding(1_500.0, 1.0).status, Status::Ok);
        assert_eq!(clock_finding(2_500.0, 1.0).status, Status::Warn);
        assert_eq!(clock_finding(-31_000.0, 1.0).status, Status::Warn, "nothing is decided by it");
    }
}
