//! The only place with stream, consumer and bucket definitions. only `faultline setup` and `up` create them.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::kv;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Republish, RetentionPolicy, StorageType};
use faultline_engine::job::Priority;

use crate::subjects;

pub mod packs;

pub const JOBS: &str = "JOBS";
pub const RESULTS: &str = "RESULTS";
pub const EVENTS: &str = "EVENTS";
pub const DEAD: &str = "DEAD";
pub const ADVISORY: &str = "ADVISORY";

pub const KV_LEASE: &str = "LEASE";
pub const KV_NODES: &str = "NODES";
pub const KV_HEALTH: &str = "HEALTH";
pub const KV_CONTROL: &str = "CONTROL";
pub const KV_LEDGER: &str = "LEDGER";
pub const KV_CLAIMS: &str = "CLAIMS";

pub const KEY_LEASE: &str = "scheduler";
pub const KEY_RATE: &str = "rate";
pub const KEY_MIX: &str = "mix";
/// Where the generator says what it made of these two.
pub const KEY_IN_FORCE: &str = "in-force";
/// Where `faultline demo` says what it shows.
pub const KEY_DEMO: &str = "demo";
pub const KEY_LEDGER: &str = "snapshot";
/// Where GPU time went in the last hour.
pub const KEY_GOODPUT: &str = "goodput";

/// Without an acknowledgement or a sign of progress for this long, JetStream delivers a job again.
pub const ACK_WAIT: Duration = Duration::from_secs(15);
/// How long a terminal record is kept. Under load tests 2 minutes: a subject costs the server about 250 B of memory.
pub const TERMINAL_TTL: Duration = Duration::from_secs(600);
/// No submitter repeats an id that is older than this: its terminal record may have expired, so it could run again.
pub const MAX_SUBMIT_AGE: Duration = Duration::from_secs(60);
/// A shorter life of terminal records than this is refused: for so long the same id may come once more, from a submitter that repeats it or
/// as a message that the server takes for a new one, and only the record says that the job has ended.
pub const MIN_TERMINAL_TTL: Duration = Duration::from_secs(MAX_SUBMIT_AGE.as_secs() + DEDUPE_WINDOW.as_secs());
/// An open marker this old without a message in JOBS will never get one, and is swept up.
pub const ORPHAN_AFTER: Duration = Duration::from_secs(120);
/// A job message whose id was already seen within this window is dropped by the server.
pub const DEDUPE_WINDOW: Duration = Duration::from_secs(120);
const LEASE_MAX_AGE: Duration = Duration::from_secs(3);
const LEASE_MAX_AGE_REPLICATED: Duration = Duration::from_secs(12);
/// How long the name that a worker has claimed lives without a renewal: as long as JetStream waits for the worker's acknowledgements, so
/// that the jobs of a frozen holder are on their way elsewhere when another process gets its name.
pub const CLAIM_MAX_AGE: Duration = ACK_WAIT;
/// How long the server keeps its note that a key has expired.
const MARKER_AGE: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What differs between installations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provision {
    /// 1, or 3 on a cluster of three servers.
    pub replicas: usize,
    /// The most bytes that JOBS holds before submissions are refused.
    pub jobs_max_bytes: i64,
    /// The most bytes that RESULTS holds.
    pub results_max_bytes: i64,
    /// When it is created, in milliseconds since 1970; 0 when that is not said. The buckets' revisions begin there, so those of a bucket
    /// that is made anew are above all former ones. Streams of which sequences are counted begin at 1.
    pub created_ms: u64,
}

impl Default for Provision {
    fn default() -> Self {
        Self { replicas: 1, jobs_max_bytes: 1 << 30, results_max_bytes: 2 << 30, created_ms: 0 }
    }
}

/// How long the scheduler's lease lives without a renewal.
pub fn lease_max_age(replicas: usize) -> Duration {
    if replicas > 1 { LEASE_MAX_AGE_REPLICATED } else { LEASE_MAX_AGE }
}

/// Says why terminal records cannot be kept for so long, if they cannot.
pub fn check_terminal_ttl(ttl_s: u64) -> Result<(), String> {
    const LONGEST: Duration = Duration::from_secs(7 * 86_400);
    if ttl_s < MIN_TERMINAL_TTL.as_secs() {
        return Err(format!(
            "{ttl_s} s is too short: an id is accepted again until it is {} s old, and JOBS forgets ids after {} s, so a record that is kept \
             for less than {} s lets a job run and end twice; use {} or more",
            MAX_SUBMIT_AGE.as_secs(),
            DEDUPE_WINDOW.as_secs(),
            MIN_TERMINAL_TTL.as_secs(),
            MIN_TERMINAL_TTL.as_secs()
        ));
    }
    if ttl_s > LONGEST.as_secs() {
        return Err(format!("{ttl_s} s is too long: use {} or less", LONGEST.as_secs()));
    }
    Ok(())
}

/// The streams, in the order in which they are created.
pub fn stream_configs(provision: Provision) -> Vec<Config> {
    let base = |name: &str, filters: &[&str]| Config {
        name: name.to_owned(),
        subjects: filters.iter().map(|&filter| filter.to_owned()).collect(),
        storage: StorageType::File,
        num_replicas: provision.replicas,
        allow_direct: true,
        ..Config::default()
    };
    vec![
        Config {
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            max_bytes: provision.jobs_max_bytes,
            duplicate_window: DEDUPE_WINDOW,
            allow_message_ttl: true,
            description: Some("jobs that have not ended".into()),
            // One filter a priority, as the consumers have: what none of them would ever read is refused at the door.
            subjects: Priority::ALL.map(subjects::queue_filter).to_vec(),
            // No message schedules: the server refuses them together with discarding new messages (error 10052).
            ..base(JOBS, &[])
        },
        Config {
            discard: DiscardPolicy::New,
            max_bytes: provision.results_max_bytes,
            max_messages_per_subject: 1,
            allow_message_ttl: true,
            republish: Some(Republish {
                source: subjects::RESULT_ALL.into(),
                destination: "job.done.{{wildcard(1)}}".into(),
                headers_only: false,
            }),
            description: Some("one record a job: its open marker, then its end".into()),
            ..base(RESULTS, &[subjects::RESULT_ALL])
        },
        Config {
            max_age: Duration::from_secs(3600),
            max_bytes: 512 << 20,
            description: Some("the cluster's history of the last hour".into()),
            ..base(EVENTS, &[subjects::JOB_EVENT_ALL, subjects::NODE_EVENT_ALL, subjects::FAULT_EVENT_ALL])
        },
        Config {
            max_age: 7 * DAY,
            max_bytes: 256 << 20,
            description: Some("jobs that were given up, with the reason".into()),
            ..base(DEAD, &[subjects::DEAD_ALL])
        },
        Config {
            max_age: DAY,
            max_bytes: 64 << 20,
            description: Some("JetStream's own advisories about JOBS".into()),
            ..base(ADVISORY, &subjects::ADVISORIES)
        },
    ]
}

/// The buckets.
pub fn bucket_configs(provision: Provision) -> Vec<kv::Config> {
    let base = |bucket: &str| kv::Config {
        bucket: bucket.to_owned(),
        history: 1,
        storage: StorageType::File,
        num_replicas: provision.replicas,
        ..kv::Config::default()
    };
    vec![
        kv::Config { max_age: lease_max_age(provision.replicas), limit_markers: Some(MARKER_AGE), ..base(KV_LEASE) },
        base(KV_NODES),
        base(KV_HEALTH),
        base(KV_CONTROL),
        base(KV_LEDGER),
        kv::Config { max_age: CLAIM_MAX_AGE, limit_markers: Some(MARKER_AGE), ..base(KV_CLAIMS) },
    ]
}

/// The names of all streams, those of the buckets included.
pub fn names() -> Vec<String> {
    let streams = stream_configs(Provision::default()).into_iter().map(|config| config.name);
    streams.chain(bucket_configs(Provision::default()).into_iter().map(|config| format!("KV_{}", config.bucket))).collect()
}

fn first_sequence(wanted: u64) -> Option<u64> {
    (wanted > 0).then_some(wanted)
}

/// The stream that a bucket is.
pub fn bucket_stream(bucket: &kv::Config, created_ms: u64) -> Config {
    Config {
        name: format!("KV_{}", bucket.bucket),
        subjects: vec![format!("$KV.{}.>", bucket.bucket)],
        max_messages_per_subject: bucket.history.max(1),
        max_age: bucket.max_age,
        storage: bucket.storage,
        num_replicas: bucket.num_replicas.max(1),
        discard: DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        allow_message_ttl: bucket.limit_markers.is_some(),
        subject_delete_marker_ttl: bucket.limit_markers,
        first_sequence: first_sequence(created_ms),
        ..Config::default()
    }
}

/// The durable consumer's name for one priority.
pub fn queue_consumer_name(priority: Priority) -> String {
    format!("sched-{priority}")
}

/// The consumers on JOBS, one a priority. No `backoff`: it would replace `ack_wait`.
pub fn queue_consumers(replicas: usize, ack_wait: Duration) -> Vec<pull::Config> {
    let consumer = |priority| queue_consumer(queue_consumer_name(priority), subjects::queue_filter(priority), replicas, ack_wait);
    Priority::ALL.into_iter().map(consumer).collect()
}

fn queue_consumer(name: String, filter_subject: String, replicas: usize, ack_wait: Duration) -> pull::Config {
    pull::Config {
        durable_name: Some(name),
        filter_subject,
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait,
        max_deliver: -1,
        max_ack_pending: 200_000,
        max_waiting: 512,
        num_replicas: replicas,
        ..pull::Config::default()
    }
}
