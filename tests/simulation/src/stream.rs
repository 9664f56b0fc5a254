//! A stream of the simulated JetStream, which a bucket is too.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use faultline_engine::ledger::stores;
use faultline_protocol::streams::{DEAD, EVENTS, JOBS, RESULTS};
use faultline_runtime::generation::Sight;
use faultline_runtime::sight::Look;

use super::message::{EPOCH_MS, Stored};

/// On an entry of a bucket that says that the key is gone.
pub(crate) const KV_OPERATION: &str = "KV-Operation";

pub(crate) struct Stream {
    created_ms: u64,
    pub(crate) last_seq: u64,
    by_seq: BTreeMap<u64, Arc<Stored>>,
    last: BTreeMap<String, u64>,
    /// One message a subject: the older one goes.
    keeps_one: bool,
}

impl Stream {
    pub(crate) fn all_by_name() -> BTreeMap<&'static str, Self> {
        STREAMS.into_iter().map(|name| (name, Self::new(name != JOBS))).collect()
    }

    fn new(keeps_one: bool) -> Self {
        Self { created_ms: EPOCH_MS, last_seq: 0, by_seq: BTreeMap::new(), last: BTreeMap::new(), keeps_one }
    }

    /// It is made anew, or an older copy is put back: sequences go on from this one.
    pub(crate) fn begins_again(&mut self, last_seq: u64, now_ms: u64) {
        *self = Self { created_ms: now_ms, last_seq: self.last_seq.min(last_seq), ..Self::new(self.keeps_one) };
    }

    pub(crate) fn write(&mut self, subject: Subject, headers: HeaderMap, body: Bytes, at_ms: u64) -> u64 {
        self.last_seq += 1;
        let seq = self.last_seq;
        if let Some(older) = self.last.insert(subject.to_string(), seq)
            && self.keeps_one
        {
            self.by_seq.remove(&older);
        }
        self.by_seq.insert(seq, Arc::new(Stored { seq, subject, headers, body, at_ms }));
        seq
    }

    pub(crate) fn remove(&mut self, seq: u64) -> Option<Arc<Stored>> {
        let removed = self.by_seq.remove(&seq)?;
        if self.last.get(removed.subject.as_str()) == Some(&seq) {
            self.last.remove(removed.subject.as_str());
        }
        Some(removed)
    }

    pub(crate) fn at(&self, seq: u64) -> Option<&Arc<Stored>> {
        self.by_seq.get(&seq)
    }

    pub(crate) fn last_of(&self, subject: &str) -> Option<&Arc<Stored>> {
        self.by_seq.get(self.last.get(subject)?)
    }

    pub(crate) fn after(&self, seq: u64) -> impl Iterator<Item = &Arc<Stored>> {
        self.by_seq.range(seq + 1..).map(|(_, stored)| stored)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.by_seq.values()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_seq.is_empty()
    }

    pub(crate) fn sight(&self) -> Sight {
        let first_seq = self.by_seq.first_key_value().map_or(self.last_seq + 1, |(seq, _)| *seq);
        Sight { created_ns: i128::from(self.created_ms) * 1_000_000, first_seq, last_seq: self.last_seq }
    }

    pub(crate) fn look(&self, now_ms: u64) -> Look {
        let sight = stores::Sight { made_at_ms: self.created_ms, last_seq: self.last_seq, messages: self.by_seq.len() as u64 };
        Look { sight, now_ms, bytes: 0, max_bytes: 0, replicas: 1 }
    }
}

impl Stored {
    /// Of a bucket: the key has a value.
    pub(crate) fn is_present(&self) -> bool {
        self.headers.get(KV_OPERATION).is_none()
    }
}

/// The streams and buckets that the services read or write here.
const STREAMS: [&str; 9] = [JOBS, RESULTS, EVENTS, DEAD, "KV_NODES", "KV_LEASE", "KV_HEALTH", "KV_CONTROL", "KV_LEDGER"];

pub(crate) fn static_name(stream: &str) -> &'static str {
    STREAMS.into_iter().find(|name| *name == stream).unwrap_or_else(|| unreachable!("no service reads {stream}"))
}

/// The bucket that a stream is.
pub(crate) fn bucket_of(stream: &'static str) -> &'static str {
    stream.strip_prefix("KV_").unwrap_or(stream)
}

/// The stream that a bucket is.
pub(crate) fn bucket_stream(bucket: &str) -> &'static str {
    let is_it = |name: &&'static str| name.starts_with("KV_") && bucket_of(name) == bucket;
    STREAMS.into_iter().find(is_it).unwrap_or_else(|| unreachable!("no service opens {bucket}"))
}

pub(crate) fn bucket_subject(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

/// The key of an entry of a bucket.
pub(crate) fn key_of(stored: &Stored) -> &str {
    stored.subject.splitn(3, '.').nth(2).unwrap_or_default()
}
