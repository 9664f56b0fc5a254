//! A count that many tasks wait for. They hear of a change in the order in which they began to wait; with tokio's `watch` that order is a
//! matter of chance, and the simulation could not repeat a history.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Shared {
    count: AtomicU64,
    is_over: AtomicBool,
    changed: Notify,
}

/// The counter is gone: the count will not change any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the count does not change any more")]
pub struct Over;

/// Counts.
#[derive(Debug, Default)]
pub struct Counter(Arc<Shared>);

impl Counter {
    pub fn increment(&self) {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }

    /// The count, with what it is now as seen.
    pub fn subscribe(&self) -> Count {
        Count { seen: self.0.count.load(Ordering::SeqCst), shared: Arc::clone(&self.0) }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

/// The reading end of a [`Counter`]. A copy has seen what this one has.
#[derive(Debug, Clone)]
pub struct Count {
    shared: Arc<Shared>,
    seen: u64,
}

impl Count {
    pub fn get(&self) -> u64 {
        self.shared.count.load(Ordering::SeqCst)
    }

    /// Reads it, and takes it as seen.
    pub fn see(&mut self) -> u64 {
        self.seen = self.get();
        self.seen
    }

    /// The present count does not count as a change.
    pub fn mark_unchanged(&mut self) {
        self.see();
    }

    pub fn has_changed(&self) -> bool {
        self.get() != self.seen
    }

    /// Waits until it is not what was seen last, and takes that as seen.
    pub async fn changed(&mut self) -> Result<(), Over> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.shared.count.load(Ordering::SeqCst) != self.seen {
                self.seen = self.shared.count.load(Ordering::SeqCst);
                return Ok(());
            }
            if self.shared.is_over.load(Ordering::SeqCst) {
                return Err(Over);
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_heard_once_and_the_end_as_well() {
        let counter = Counter::default();
        let mut count = counter.subscribe();
        counter.increment();
        assert_eq!((count.has_changed(), count.changed().await, count.has_changed()), (true, Ok(()), false));
        drop(counter);
        assert_eq!((count.changed().await, count.get()), (Err(Over), 1));
    }
}
