//! What is to be written to KV HEALTH: the newest of each node, until it is there. The loop must not wait for a disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use faultline_protocol::messages::Verdict;
use faultline_runtime::connection::put;
use faultline_runtime::wire::Bucket;
use futures::StreamExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const PAUSE: Duration = Duration::from_millis(300);
const WRITES_AT_ONCE: usize = 32;

/// A node's verdict, or none to remove it.
type Write = (String, Option<Verdict>);

/// Holds one write a node at most, however long the server is away.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pending: Mutex<BTreeMap<String, Option<Verdict>>>,
    filled: Notify,
}

impl Outbox {
    pub(crate) fn put(&self, verdict: Verdict) {
        self.pending().insert(verdict.node.clone(), Some(verdict));
        self.filled.notify_one();
    }

    pub(crate) fn remove(&self, node: &str) {
        self.pending().insert(node.to_owned(), None);
        self.filled.notify_one();
    }

    fn take(&self) -> Vec<Write> {
        std::mem::take(&mut *self.pending()).into_iter().collect()
    }

    /// Failed: again later, unless something newer is there by now.
    fn put_back(&self, failed: Vec<Write>) {
        let mut pending = self.pending();
        for (node, write) in failed {
            pending.entry(node).or_insert(write);
        }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Option<Verdict>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes until cancelled, and then once more.
pub(crate) async fn run(outbox: Arc<Outbox>, store: Arc<dyn Bucket>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                write_all(&outbox, &*store).await;
                return;
            }
            () = outbox.filled.notified() => {}
        }
        while !write_all(&outbox, &*store).await && !stop.is_cancelled() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// False when something is left.
async fn write_all(outbox: &Outbox, store: &dyn Bucket) -> bool {
    let failed: Vec<Write> = futures::stream::iter(outbox.take())
        .map(|(node, write)| async {
            let outcome = match &write {
                Some(verdict) => put(store, &node, verdict).await.map(drop).map_err(|error| error.to_string()),
                None => store.remove(&node, None).await,
            };
            let error = outcome.err()?;
            tracing::debug!(node, error, "a verdict was not kept yet");
            Some((node, write))
        })
        .buffer_unordered(WRITES_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    let is_done = failed.is_empty();
    outbox.put_back(failed);
    is_done
}

#[cfg(test)]
mod tests {
    use faultline_engine::node::Health;

    use super::*;

    fn verdict(health: Health) -> Verdict {
        Verdict {
            node: "n".into(),
            worker: "w".into(),
            incarnation: 1,
            health,
            detector: "phi-accrual".into(),
            phi: 0.0,
            silence_ms: 0,
            evidence: String::new(),
            at_ms: 0,
        }
    }

    #[test]
    fn only_the_newest_is_written() {
        let outbox = Outbox::default();
        outbox.put(verdict(Health::Suspect));
        outbox.put(verdict(Health::Dead));
        let taken = outbox.take();
        assert!(matches!(&taken[..], [(_, Some(verdict))] if verdict.health == Health::Dead));
        outbox.put(verdict(Health::Alive));
        outbox.put_back(taken);
        assert!(matches!(&outbox.take()[..], [(_, Some(verdict))] if verdict.health == Health::Alive));
        outbox.put_back(vec![("n".into(), None)]);
        assert_eq!(outbox.take().len(), 1);
    }
}
