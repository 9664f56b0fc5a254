//! What only one process may be, by a key that expires: create it to be that one, update it to go on, lose it and stop. So schedulers
//! agree on who leads, and workers on who has which name.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv;
use faultline_engine::scheduler::raised_epoch;
use faultline_protocol::codec;
use faultline_protocol::messages::LeaseRecord;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::wire::{Bucket, Over, WriteError};

/// How often the leader renews: a third of the shortest `max_age` of its bucket.
pub const RENEW_EVERY: Duration = Duration::from_secs(1);
const RENEW_LIMIT: Duration = Duration::from_millis(800);

/// A lease that is held.
#[derive(Debug)]
pub struct Lease {
    connection: Connection,
    store: Arc<dyn Bucket>,
    key: String,
    holder: String,
    /// Fences former holders off: the key's revision when it was created, which grows with every holder, or the time then, which also
    /// grows when the bucket is made anew or an older copy of it is put back. Clocks can be wrong: when workers have heard of a higher
    /// epoch all the same, [`Lease::raise`] gets above it.
    pub epoch: u64,
    /// The epoch that the last one was raised above; 0 when it never was.
    floor: u64,
    revision: u64,
    renewed: watch::Sender<Instant>,
    give_up_after: Duration,
}

/// What came of writing the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Ours,
    /// The key has another revision than the one that was expected.
    Conflict,
    Unanswered,
}

/// What reading the key back says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Ours,
    /// The key does not exist.
    Vanished,
    Lost,
}

/// Tells whether a lease may still be believed in, without a question to the server.
#[derive(Debug, Clone)]
pub struct Validity {
    renewed: watch::Receiver<Instant>,
    give_up_after: Duration,
}

impl Validity {
    /// False when the last renewal is so old that another process may lead: also for a process that was frozen, before it does anything.
    pub fn is_valid(&self) -> bool {
        self.renewed.borrow().elapsed() < self.give_up_after
    }
}

/// A holder that could not renew for this long stops by itself, before the key expires for the others. A leader: 2.4 s of the 3 s on one
/// server, 9.6 s of the 12 s on a cluster, whose streams need some seconds to agree on a new leader of their own.
fn give_up_after(store: &dyn Bucket) -> Duration {
    store.max_age() * 4 / 5
}

/// Why a lease was not acquired.
#[derive(Debug, thiserror::Error)]
pub enum NotAcquired {
    #[error("another process holds it")]
    Held,
    #[error("no confirmation from the server: {0}")]
    Unanswered(String),
}

/// Tries once to become the holder of a key.
pub async fn try_acquire(connection: &Connection, store: &Arc<dyn Bucket>, key: &str, holder: &str) -> Result<Lease, NotAcquired> {
    let record = LeaseRecord { holder: holder.to_owned(), at_ms: connection.unix_ms(), floor: 0 };
    let asked = tokio::time::Instant::now();
    match tokio::time::timeout(RENEW_LIMIT, store.write(key, codec::encode(&record), Over::Nothing)).await {
        Ok(Ok(revision)) => Ok(Lease {
            connection: connection.clone(),
            store: Arc::clone(store),
            key: key.to_owned(),
            holder: holder.to_owned(),
            epoch: revision.max(record.at_ms),
            floor: 0,
            revision,
            renewed: watch::Sender::new(asked),
            give_up_after: give_up_after(&**store),
        }),
        Ok(Err(WriteError::Conflict)) => Err(NotAcquired::Held),
        Ok(Err(error)) => Err(NotAcquired::Unanswered(error.to_string())),
        Err(_) => Err(NotAcquired::Unanswered("no answer in time".into())),
    }
}

/// Who holds a key, and at which revision; `None` without a holder.
pub async fn holder_of(store: &dyn Bucket, key: &str) -> Result<Option<(String, u64)>, NotAcquired> {
    let unanswered = |reason: String| NotAcquired::Unanswered(reason);
    let read = tokio::time::timeout(RENEW_LIMIT, store.entry(key)).await.map_err(|_| unanswered("no answer in time".into()))?;
    let entry = read.map_err(unanswered)?.filter(|entry| entry.operation == kv::Operation::Put);
    let holder = |entry: kv::Entry| codec::decode_body::<LeaseRecord>(&entry.value).map_or(String::new(), |record| record.holder);
    Ok(entry.map(|entry| (entry.revision, entry)).map(|(revision, entry)| (holder(entry), revision)))
}

/// Takes the key away from a holder that is known to be dead, unless the key has another revision by now.
pub async fn take_from_dead(store: &dyn Bucket, key: &str, revision: u64) {
    let _ = tokio::time::timeout(RENEW_LIMIT, store.remove(key, Some(revision))).await;
}

impl Lease {
    /// Goes on over another connection, whose handle of the same bucket is given.
    pub fn moved_to(self, connection: &Connection, store: Arc<dyn Bucket>) -> Self {
        Self { connection: connection.clone(), store, ..self }
    }

    fn record(&self) -> bytes::Bytes {
        codec::encode(&LeaseRecord { holder: self.holder.clone(), at_ms: self.connection.unix_ms(), floor: self.floor })
    }

    /// Writes the key, expecting this revision of it.
    async fn write(&mut self, expected: u64) -> Written {
        let asked = Instant::now();
        match tokio::time::timeout(RENEW_LIMIT, self.store.write(&self.key, self.record(), Over::Revision(expected))).await {
            Ok(Ok(revision)) => {
                self.revision = revision;
                self.renewed.send_replace(asked);
                Written::Ours
            }
            Ok(Err(WriteError::Conflict)) => Written::Conflict,
            Ok(Err(_)) | Err(_) => Written::Unanswered,
        }
    }

    /// Renews. False when the lease is lost: another holder, no key any more, or no answer for too long.
    pub async fn renew(&mut self) -> bool {
        match self.write(self.revision).await {
            Written::Ours => true,
            Written::Conflict => self.look().await == Standing::Ours,
            Written::Unanswered => self.validity().is_valid(),
        }
    }

    /// Gets an epoch above `newest`, of which workers have heard. The key is written with its expected revision, so no other process can
    /// have led in between. `None` when that did not succeed: try again while the lease is valid.
    pub async fn raise(&mut self, newest: u64) -> Option<u64> {
        let first_revision = tokio::time::timeout(RENEW_LIMIT, self.store.first_revision()).await.ok()?.ok()?;
        let before = std::mem::replace(&mut self.floor, newest);
        let written = self.write(self.revision).await;
        if written != Written::Ours {
            self.floor = before;
            if written == Written::Conflict {
                // Perhaps the answer to a renewal was lost: the next try expects the right revision.
                self.look().await;
            }
            return None;
        }
        self.epoch = self.epoch.max(raised_epoch(newest, self.revision, first_revision));
        Some(self.epoch)
    }

    /// A renewal whose answer was lost looks like a conflict: read back. On a cluster any server may answer, also one that lags: what is
    /// no newer than our last renewal contradicts the conflict, and proves nothing.
    async fn look(&mut self) -> Standing {
        let while_valid = |lease: &Self| if lease.validity().is_valid() { Standing::Ours } else { Standing::Lost };
        let entry = match tokio::time::timeout(RENEW_LIMIT, self.store.entry(&self.key)).await {
            Ok(Ok(Some(entry))) if entry.operation == kv::Operation::Put => entry,
            Ok(Ok(_)) => return Standing::Vanished,
            Ok(Err(_)) | Err(_) => return while_valid(self),
        };
        if !codec::decode_body::<LeaseRecord>(&entry.value).is_ok_and(|record| record.holder == self.holder) {
            return Standing::Lost;
        }
        if entry.revision > self.revision {
            self.revision = entry.revision;
            self.renewed.send_replace(Instant::now());
        } else if entry.revision < self.revision && self.write(entry.revision).await == Written::Ours {
            // The bucket is an older copy of itself: the server confirms that this is the newest revision there is.
            return Standing::Ours;
        }
        while_valid(self)
    }

    /// Whether this process may still act as the holder, for the tasks that do so.
    pub fn validity(&self) -> Validity {
        Validity { renewed: self.renewed.subscribe(), give_up_after: self.give_up_after }
    }

    /// Gives the lease back, so that the next one need not wait for its end.
    pub async fn release(self) {
        let _ = tokio::time::timeout(RENEW_LIMIT, self.store.remove(&self.key, Some(self.revision))).await;
    }
}
