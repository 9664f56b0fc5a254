//! Compares what exists with what is wanted. Only what Faultline sets is looked at: a description, a limit on the number of
//! consumers or a size limit that an operator chose is his own affair.

use std::fmt;

use async_nats::jetstream::{consumer, kv, stream};
use faultline_engine::words::limit;
use serde::Serialize;
use serde_json::Value;

/// One field that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) field: &'static str,
    pub(crate) found: String,
    pub(crate) wanted: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, needed is {}", self.field, self.found, self.wanted)
    }
}

const STREAM_FIELDS: [&str; 14] = [
    "subjects",
    "retention",
    "discard",
    "storage",
    "num_replicas",
    "max_age",
    "max_msgs",
    "max_msgs_per_subject",
    "allow_direct",
    "allow_msg_ttl",
    "allow_msg_schedules",
    "duplicate_window",
    "republish",
    "sealed",
];

const CONSUMER_FIELDS: [&str; 9] = [
    "deliver_policy",
    "ack_policy",
    "ack_wait",
    "max_deliver",
    "filter_subject",
    "filter_subjects",
    "max_ack_pending",
    "backoff",
    "headers_only",
];

/// Durations on the wire are nanoseconds.
const DURATIONS: [&str; 4] = ["max_age", "ack_wait", "duplicate_window", "subject_delete_marker_ttl"];

pub(crate) fn stream(found: &stream::Config, wanted: &stream::Config) -> Vec<Difference> {
    compare(found, wanted, &STREAM_FIELDS)
}

pub(crate) fn consumer(found: &consumer::Config, wanted: &consumer::pull::Config) -> Vec<Difference> {
    use consumer::IntoConsumerConfig;
    compare(found, &wanted.clone().into_consumer_config(), &CONSUMER_FIELDS)
}

/// A bucket is a stream; these are the fields that its configuration decides.
pub(crate) fn bucket(found: &stream::Config, wanted: &kv::Config) -> Vec<Difference> {
    let as_stream = faultline_protocol::streams::bucket_stream(wanted, 0);
    let fields = ["subjects", "max_msgs_per_subject", "max_age", "storage", "num_replicas", "allow_msg_ttl", "subject_delete_marker_ttl"];
    compare(found, &as_stream, &fields)
}

fn compare(found: &impl Serialize, wanted: &impl Serialize, fields: &[&'static str]) -> Vec<Difference> {
    // Both are plain configuration types, which always have a JSON form: the server gets them that way.
    let (found, wanted) = (serde_json::to_value(found).unwrap_or_default(), serde_json::to_value(wanted).unwrap_or_default());
    fields
        .iter()
        .filter_map(|&field| {
            let (found, wanted) = (normal(found.get(field)), normal(wanted.get(field)));
            // The server fills in a window of its own where none is wanted.
            let differs = found != wanted && !(field == "duplicate_window" && wanted.is_null());
            differs.then(|| Difference { field, found: shown(field, &found), wanted: shown(field, &wanted) })
        })
        .collect()
}

/// Absent, false, zero, empty and "-1, unlimited" all mean that a field is not set. Order among subjects means nothing.
fn normal(value: Option<&Value>) -> Value {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => Value::Null,
        Some(Value::Number(number)) if matches!(number.as_i64(), Some(0 | -1)) => Value::Null,
        Some(Value::String(text)) if text.is_empty() => Value::Null,
        Some(Value::Array(items)) if items.is_empty() => Value::Null,
        Some(Value::Array(items)) => {
            let mut items = items.clone();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Some(Value::Object(fields)) => {
            let set = fields.iter().map(|(key, value)| (key.clone(), normal(Some(value)))).filter(|(_, value)| !value.is_null());
            Value::Object(set.collect())
        }
        Some(other) => other.clone(),
    }
}

fn shown(field: &str, value: &Value) -> String {
    match value {
        Value::Null => "not set".into(),
        Value::Number(nanos) if DURATIONS.contains(&field) => limit(nanos.as_u64().unwrap_or(0) / 1_000_000),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_nats::jetstream::stream::RetentionPolicy;
    use faultline_protocol::streams::{self, Provision};

    use super::*;

    fn jobs() -> stream::Config {
        streams::stream_configs(Provision::default()).remove(0)
    }

    /// What a server makes of a configuration: it fills in what was left out.
    fn as_server_says(config: &stream::Config) -> stream::Config {
        let duplicate_window = if config.duplicate_window.is_zero() { Duration::from_secs(120) } else { config.duplicate_window };
        stream::Config { max_messages: -1, max_consumers: -1, max_message_size: -1, duplicate_window, ..config.clone() }
    }

    #[test]
    fn what_the_server_fills_in_is_no_difference() {
        for wanted in streams::stream_configs(Provision::default()) {
            assert_eq!(stream(&as_server_says(&wanted), &wanted), [], "{}", wanted.name);
        }
    }

    #[test]
    fn where_sequences_begin_is_no_difference() {
        let created = Provision { created_ms: 1_800_000_000_000, ..Provision::default() };
        for (found, wanted) in streams::stream_configs(created).iter().zip(&streams::stream_configs(Provision::default())) {
            assert_eq!(stream(&as_server_says(found), wanted), [], "{}", wanted.name);
        }
        for wanted in streams::bucket_configs(Provision::default()) {
            assert_eq!(bucket(&as_server_says(&streams::bucket_stream(&wanted, 1_800_000_000_000)), &wanted), [], "{}", wanted.bucket);
            let older = stream::Config { first_sequence: None, ..streams::bucket_stream(&wanted, 1) };
            assert_eq!(bucket(&older, &wanted), [], "{}", wanted.bucket);
        }
    }

    #[test]
    fn differing_fields_are_named() {
        let found = stream::Config {
            retention: RetentionPolicy::Limits,
            subjects: vec!["job.q.high.>".into()],
            max_age: Duration::from_secs(60),
            allow_message_ttl: false,
            ..jobs()
        };
        let differences = stream(&found, &jobs());
        let fields: Vec<_> = differences.iter().map(|difference| difference.field).collect();
        assert_eq!(fields, ["subjects", "retention", "max_age", "allow_msg_ttl"]);
        assert_eq!(differences[2].to_string(), "max_age is 1 min, needed is not set");
    }

    #[test]
    fn an_operators_own_choices_are_left_alone() {
        let mut found = stream::Config { max_bytes: 5, description: Some("mine".into()), max_consumers: 7, ..jobs() };
        assert_eq!(stream(&found, &jobs()), []);
        let events = streams::stream_configs(Provision::default()).remove(2);
        found = events.clone();
        found.subjects.reverse();
        assert_eq!(stream(&found, &events), []);
    }

    #[test]
    fn consumers_and_buckets_are_compared_too() {
        use async_nats::jetstream::consumer::IntoConsumerConfig;
        let wanted = streams::queue_consumers(1, streams::ACK_WAIT).remove(0);
        let mut found = wanted.clone().into_consumer_config();
        assert_eq!(consumer(&found, &wanted), []);
        found.ack_wait = Duration::from_secs(30);
        found.backoff = vec![Duration::from_secs(1)];
        let fields: Vec<_> = consumer(&found, &wanted).into_iter().map(|difference| difference.field).collect();
        assert_eq!(fields, ["ack_wait", "backoff"]);

        let lease = streams::bucket_configs(Provision::default()).remove(0);
        let found = stream::Config {
            subjects: vec!["$KV.LEASE.>".into()],
            max_messages_per_subject: 1,
            max_age: Duration::from_secs(60),
            num_replicas: 1,
            ..stream::Config::default()
        };
        let fields: Vec<_> = bucket(&found, &lease).into_iter().map(|difference| difference.field).collect();
        assert_eq!(fields, ["max_age", "allow_msg_ttl", "subject_delete_marker_ttl"]);
    }
}
