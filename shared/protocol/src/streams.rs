//! The only place with stream, consumer and bucket definitions. `faultline setup` creates them; nobody else does.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::kv;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Republish, RetentionPolicy, StorageType};
use faultline_engine::job::Priority;

use crate::subjects;

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
pub const KEY_LEDGER: &str = "snapshot";

/// Without an acknowledgement or a sign of progress for this long, JetStream delivers a job again.
pub const ACK_WAIT: Duration = Duration::from_secs(15);
/// How long a terminal record is kept. Under load tests 2 minutes: a subject costs the server about 250 B of memory.
pub const TERMINAL_TTL: Duration = Duration::from_secs(600);
/// Nobody resubmits an id that is older than this: its terminal record may have expired, so it could run again.
pub const MAX_SUBMIT_AGE: Duration = Duration::from_secs(60);
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
}

impl Default for Provision {
    fn default() -> Self {
        Self { replicas: 1, jobs_max_bytes: 1 << 30, results_max_bytes: 2 << 30 }
    }
}

/// How long the scheduler's lease lives without a renewal.
pub fn lease_max_age(replicas: usize) -> Duration {
    if replicas > 1 { LEASE_MAX_AGE_REPLICATED } else { LEASE_MAX_AGE }
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

/// The durable consumer's name for one priority.
pub fn queue_consumer_name(priority: Priority) -> String {
    format!("sched-{priority}")
}

/// The consumers on JOBS, one a priority. No `backoff`: it would replace `ack_wait`.
pub fn queue_consumers(replicas: usize, ack_wait: Duration) -> Vec<pull::Config> {
    Priority::ALL
        .into_iter()
        .map(|priority| pull::Config {
            durable_name: Some(queue_consumer_name(priority)),
            filter_subject: subjects::queue_filter(priority),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait,
            max_deliver: -1,
            max_ack_pending: 200_000,
            max_waiting: 512,
            num_replicas: replicas,
            ..pull::Config::default()
        })
        .collect()
}
