//! What only one process may be, by a key that expires: create it to be that one, update it to go on, lose it and stop. So schedulers
//! agree on who leads, and workers on who has which name.

use std::time::Duration;

use async_nats::jetstream::kv;
use faultline_protocol::codec;
use faultline_protocol::messages::LeaseRecord;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often the leader renews: a third of the shortest `max_age` of its bucket.
pub const RENEW_EVERY: Duration = Duration::from_secs(1);
const RENEW_LIMIT: Duration = Duration::from_millis(800);

/// A lease that is held.
#[derive(Debug)]
pub struct Lease {
    store: kv::Store,
    key: String,
    holder: String,
    /// Revision of the key when it was created: grows with every holder, so it serves as the fencing epoch.
    pub epoch: u64,
    revision: u64,
    renewed: watch::Sender<Instant>,
    give_up_after: Duration,
}

/// Tells whether a lease may still be believed in, without asking anybody.
#[derive(Debug, Clone)]
pub struct Validity {
    renewed: watch::Receiver<Instant>,
    give_up_after: Duration,
}

impl Validity {
    /// False when the last renewal is so old that somebody else may lead: also for a process that was frozen, before it does anything.
    pub fn is_valid(&self) -> bool {
        self.renewed.borrow().elapsed() < self.give_up_after
    }
}

/// A holder that could not renew for this long stops by itself, before the key expires for the others. A leader: 2.4 s of the 3 s on one
/// server, 9.6 s of the 12 s on a cluster, whose streams need some seconds to agree on a new leader of their own.
fn give_up_after(store: &kv::Store) -> Duration {
    store.stream.cached_info().config.max_age * 4 / 5
}

/// Why a lease was not acquired.
#[derive(Debug, thiserror::Error)]
pub enum NotAcquired {
    #[error("somebody else holds it")]
    Held,
    #[error("the server did not say so: {0}")]
    Unanswered(String),
}

/// Tries once to become the holder of a key.
pub async fn try_acquire(store: &kv::Store, key: &str, holder: &str) -> Result<Lease, NotAcquired> {
    let record = LeaseRecord { holder: holder.to_owned(), at_ms: crate::clock::unix_ms() };
    let asked = tokio::time::Instant::now();
    match tokio::time::timeout(RENEW_LIMIT, store.create(key, codec::encode(&record))).await {
        Ok(Ok(revision)) => Ok(Lease {
            store: store.clone(),
            key: key.to_owned(),
            holder: holder.to_owned(),
            epoch: revision,
            revision,
            renewed: watch::Sender::new(asked),
            give_up_after: give_up_after(store),
        }),
        Ok(Err(error)) if error.kind() == kv::CreateErrorKind::AlreadyExists => Err(NotAcquired::Held),
        Ok(Err(error)) => Err(NotAcquired::Unanswered(error.to_string())),
        Err(_) => Err(NotAcquired::Unanswered("no answer in time".into())),
    }
}

impl Lease {
    /// Goes on over another connection, whose handle of the same bucket is given.
    pub fn moved_to(self, store: kv::Store) -> Self {
        Self { store, ..self }
    }

    /// Renews. False when the lease is lost: another holder, or no answer for too long.
    pub async fn renew(&mut self) -> bool {
        let record = LeaseRecord { holder: self.holder.clone(), at_ms: crate::clock::unix_ms() };
        let asked = Instant::now();
        match tokio::time::timeout(RENEW_LIMIT, self.store.update(&self.key, codec::encode(&record), self.revision)).await {
            Ok(Ok(revision)) => {
                self.revision = revision;
                self.renewed.send_replace(asked);
                true
            }
            Ok(Err(error)) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => self.still_ours().await,
            Ok(Err(_)) | Err(_) => self.validity().is_valid(),
        }
    }

    /// A renewal whose answer was lost looks like a conflict: read back. On a cluster any server may answer, also one that lags: what is
    /// no newer than our last renewal contradicts the conflict, and proves nothing.
    async fn still_ours(&mut self) -> bool {
        let Ok(Ok(Some(entry))) = tokio::time::timeout(RENEW_LIMIT, self.store.entry(&self.key)).await else {
            return self.validity().is_valid();
        };
        let ours = entry.operation == kv::Operation::Put
            && codec::decode_body::<LeaseRecord>(&entry.value).is_ok_and(|record| record.holder == self.holder);
        if ours && entry.revision > self.revision {
            self.revision = entry.revision;
            self.renewed.send_replace(Instant::now());
        }
        ours && self.validity().is_valid()
    }

    /// Whether this process may still act as the holder, for whoever does so.
    pub fn validity(&self) -> Validity {
        Validity { renewed: self.renewed.subscribe(), give_up_after: self.give_up_after }
    }

    /// Gives the lease back, so that the next one need not wait for its end.
    pub async fn release(self) {
        let _ = tokio::time::timeout(RENEW_LIMIT, self.store.delete_expect_revision(&self.key, Some(self.revision))).await;
    }
}
