//! A bucket as a process sees it.

use std::time::Duration;

use async_nats::jetstream::kv::{Entry, Operation};
use bytes::Bytes;
use faultline_protocol::codec;
use faultline_protocol::messages::LeaseRecord;
use faultline_protocol::streams::KV_LEASE;
use faultline_runtime::wire::{Bucket, Doing, Over, Watching, WriteError};
use futures::FutureExt;
use futures::stream::StreamExt;

use super::client::{ANSWER_LIMIT, Client, datetime};
use super::message::{EPOCH_MS, Op, Reply, Stored};
use super::server::LEASE_MAX_AGE_MS;
use super::stream::{bucket_of, bucket_stream, bucket_subject, key_of};

#[derive(Debug)]
pub(crate) struct ModelBucket {
    client: Client,
    name: &'static str,
    stream: &'static str,
}

impl ModelBucket {
    pub(crate) fn new(client: Client, name: &str) -> Self {
        let stream = bucket_stream(name);
        Self { client, name: bucket_of(stream), stream }
    }
}

fn entry_of(bucket: &str, stored: &Stored, delta: u64) -> Entry {
    Entry {
        bucket: bucket.to_owned(),
        key: key_of(stored).to_owned(),
        value: stored.body.clone(),
        revision: stored.seq,
        delta,
        created: datetime(stored.at_ms),
        operation: if stored.is_present() { Operation::Put } else { Operation::Delete },
        seen_current: delta == 0,
    }
}

impl Bucket for ModelBucket {
    fn name(&self) -> &str {
        self.name
    }

    fn stream(&self) -> &str {
        self.stream
    }

    fn max_age(&self) -> Duration {
        Duration::from_millis(LEASE_MAX_AGE_MS)
    }

    fn first_revision(&self) -> Doing<'_, Result<u64, String>> {
        async move { self.client.look_at(self.stream).await.map(|_| 0) }.boxed()
    }

    fn entry<'a>(&'a self, key: &'a str) -> Doing<'a, Result<Option<Entry>, String>> {
        async move {
            let subject = bucket_subject(self.name, key);
            let forged = self.client.forge(&subject);
            let stored = match self.client.ask(Op::Last { stream: self.stream, subject }, ANSWER_LIMIT).await? {
                Reply::Stored(stored) => stored,
                other => return Err(format!("{other:?}")),
            };
            let mut entry = stored.map(|stored| entry_of(self.name, &stored, 0));
            if let Some(entry) = entry.as_mut().filter(|_| forged) {
                entry.value = codec::encode(&LeaseRecord { holder: "another".into(), at_ms: EPOCH_MS, floor: 0 });
            }
            Ok(entry)
        }
        .boxed()
    }

    fn write<'a>(&'a self, key: &'a str, value: Bytes, over: Over) -> Doing<'a, Result<u64, WriteError>> {
        async move {
            match self.client.ask(Op::Write { bucket: self.name, key: key.to_owned(), value, over }, ANSWER_LIMIT).await {
                Ok(Reply::Written { seq, .. }) => Ok(seq),
                Ok(Reply::Conflict) => {
                    if self.name == KV_LEASE && over != Over::Nothing {
                        self.client.note_conflict(&bucket_subject(self.name, key));
                    }
                    Err(WriteError::Conflict)
                }
                Ok(other) => Err(WriteError::Other(format!("{other:?}"))),
                Err(reason) => Err(WriteError::Other(reason)),
            }
        }
        .boxed()
    }

    fn remove<'a>(&'a self, key: &'a str, revision: Option<u64>) -> Doing<'a, Result<(), String>> {
        async move {
            match self.client.ask(Op::Remove { bucket: self.name, key: key.to_owned(), revision }, ANSWER_LIMIT).await? {
                Reply::Done => Ok(()),
                other => Err(format!("{other:?}")),
            }
        }
        .boxed()
    }

    fn keys(&self) -> Doing<'_, Result<Vec<String>, String>> {
        async move {
            let (_, found) = self.client.since(self.stream, 0).await?;
            Ok(found.iter().filter(|stored| stored.is_present()).map(|stored| key_of(stored).to_owned()).collect())
        }
        .boxed()
    }

    fn watch(&self) -> Doing<'_, Result<Watching, String>> {
        async move {
            let (sight, found) = self.client.since(self.stream, 0).await?;
            let (is_empty, bucket) = (found.is_empty(), self.name);
            let entries = self.client.clone().follow_from(self.stream, found);
            Ok(Watching { sight, is_empty, entries: entries.map(move |(stored, pending)| Ok(entry_of(bucket, &stored, pending))).boxed() })
        }
        .boxed()
    }
}
