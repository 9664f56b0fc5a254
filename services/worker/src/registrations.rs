//! The nodes' registrations in KV NODES: written at their birth and after each reboot, and again when the bucket has lost them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::jetstream::kv::{Entry, Operation};
use faultline_protocol::codec;
use faultline_protocol::messages::{EventKind, Level, NodeRegistration};
use faultline_runtime::admin::Readiness;
use faultline_runtime::connection::{Connection, put};
use faultline_runtime::events::EventSink;
use faultline_runtime::generation::Sight;
use faultline_runtime::shutdown::Shutdown;
use faultline_runtime::wire::Bucket;
use tokio_util::sync::CancellationToken;

use crate::birth::REGISTER_PAUSE;

/// What of a bucket proves that a worker's own keys are in it still.
#[derive(Debug, Clone, Copy)]
struct Held {
    created_ns: i128,
    oldest: u64,
    newest: u64,
}

impl Held {
    /// Whether the bucket, seen like this, may lack something that was written here.
    fn may_be_missing(&self, now: &Sight) -> bool {
        now.created_ns != self.created_ns || now.first_seq > self.oldest || now.last_seq < self.newest
    }
}

/// What this worker has written of each of its nodes.
#[derive(Debug, Clone)]
pub(crate) struct Registrations {
    nats: Connection,
    store: Arc<dyn Bucket>,
    events: EventSink,
    readiness: Readiness,
    shutdown: Shutdown,
    /// The newest registration of each node, and what ends the task that writes it, when a newer life of it registers.
    registering: Arc<Mutex<BTreeMap<String, (NodeRegistration, CancellationToken)>>>,
    written: Arc<Mutex<BTreeMap<String, Written>>>,
}

#[derive(Debug, Clone)]
struct Written {
    registration: NodeRegistration,
    revision: u64,
    created_ns: i128,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registrations {
    pub(crate) fn new(nats: &Connection, store: Arc<dyn Bucket>, events: &EventSink, readiness: &Readiness, shutdown: &Shutdown) -> Self {
        Self {
            nats: nats.clone(),
            store,
            events: events.clone(),
            readiness: readiness.clone(),
            shutdown: shutdown.clone(),
            registering: Arc::default(),
            written: Arc::default(),
        }
    }

    pub(crate) fn store(&self) -> &dyn Bucket {
        &*self.store
    }

    /// Writes a registration, again and again until it is there, without holding up the loop.
    pub(crate) fn register(&self, registration: NodeRegistration) {
        let node = registration.spec.node.clone();
        let superseded = self.shutdown.token().child_token();
        if let Some((_, older)) = lock(&self.registering).insert(node, (registration.clone(), superseded.clone())) {
            older.cancel();
        }
        let registrations = self.clone();
        self.shutdown.spawn("registration", async move {
            tokio::select! {
                biased;
                () = superseded.cancelled() => {}
                () = registrations.write(registration) => {}
            }
        });
    }

    async fn write(&self, registration: NodeRegistration) {
        let node = registration.spec.node.clone();
        let revision = loop {
            match put(&*self.store, &node, &registration).await {
                Ok(revision) => break revision,
                Err(error) => tracing::warn!(node, %error, "the node could not be registered yet"),
            }
            tokio::time::sleep(REGISTER_PAUSE).await;
        };
        self.readiness.met(&node);
        let mut event = self.events.event(Level::Info, EventKind::NodeJoined, format!("incarnation {}", registration.spec.incarnation));
        event.node = Some(node.clone());
        let created_ns = self.nats.last_sight(self.store.stream()).map_or(0, |sight| sight.created_ns);
        let incarnation = registration.spec.incarnation;
        let before = lock(&self.written).insert(node, Written { registration, revision, created_ns });
        // A life joins once, however often it has to register.
        if before.is_none_or(|before| before.registration.spec.incarnation != incarnation) {
            self.events.send(event).await;
        }
    }

    /// The nodes leave: nothing is written of them any more.
    pub(crate) fn stop(&self) {
        lock(&self.written).clear();
        std::mem::take(&mut *lock(&self.registering)).into_values().for_each(|(_, task)| task.cancel());
    }

    /// Looks whether the registrations are there still, and writes those again that are not, until cancelled. One look at the bucket's
    /// own figures for all nodes; the keys are read only where that or a reconnect gives a reason.
    pub(crate) async fn keep(self) {
        let cancel = self.shutdown.token();
        let mut looks = self.nats.looks();
        let mut connection = self.nats.connections().get();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                looked = looks.changed() => if looked.is_err() { return },
            }
            let now = self.nats.connections().get();
            let is_reconnected = std::mem::replace(&mut connection, now) != now;
            let Some(sight) = self.nats.last_sight(self.store.stream()) else { continue };
            if is_reconnected || self.held().is_some_and(|held| held.may_be_missing(&sight)) {
                self.write_missing(&sight).await;
            }
        }
    }

    fn held(&self) -> Option<Held> {
        let written = lock(&self.written);
        Some(Held {
            created_ns: written.values().next()?.created_ns,
            oldest: written.values().map(|one| one.revision).min()?,
            newest: written.values().map(|one| one.revision).max()?,
        })
    }

    async fn write_missing(&self, sight: &Sight) {
        let written: Vec<(String, Written)> = lock(&self.written).iter().map(|(node, one)| (node.clone(), one.clone())).collect();
        for (node, one) in written {
            match self.store.entry(&node).await {
                // What another process has written there in a later life is its own.
                Ok(Some(entry)) if entry.operation == Operation::Put && is_kept(&entry, &one.registration) => {
                    if let Some(known) = lock(&self.written).get_mut(&node) {
                        (known.revision, known.created_ns) = (entry.revision, sight.created_ns);
                    }
                }
                Ok(_) => {
                    let newest = lock(&self.registering).get(&node).map(|(newest, _)| newest.clone());
                    if let Some(newest) = newest {
                        tracing::warn!(node, "the bucket NODES has lost the node's registration: registering again");
                        self.register(newest);
                    }
                }
                Err(error) => tracing::debug!(node, %error, "its registration could not be looked for"),
            }
        }
    }
}

/// Whether what stands in the bucket is this registration, or one that came after it.
fn is_kept(entry: &Entry, own: &NodeRegistration) -> bool {
    codec::decode_body::<NodeRegistration>(&entry.value).is_ok_and(|found| found.spec.incarnation > own.spec.incarnation || found == *own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bucket_that_lost_something_is_read() {
        let held = Held { created_ns: 1, oldest: 7, newest: 9 };
        let sight = |created_ns, first_seq, last_seq| Sight { created_ns, first_seq, last_seq };
        assert!(!held.may_be_missing(&sight(1, 3, 12)));
        assert!(held.may_be_missing(&sight(2, 3, 12)), "made anew");
        assert!(held.may_be_missing(&sight(1, 13, 12)), "purged");
        assert!(held.may_be_missing(&sight(1, 3, 8)), "an older copy");
    }
}
