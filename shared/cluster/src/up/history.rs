//! What `up` has to say of its cluster's history. NATS may be what was broken, so events wait here until they can be written, in their
//! order, and no order waits for that.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use faultline_protocol::messages::ClusterEvent;
use faultline_runtime::connect::Nats;
use faultline_runtime::events::EventSink;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// As what `up` signs its events.
pub(crate) const OWN_NAME: &str = "up";
/// The name under which the NATS server runs; its lines look different.
pub(crate) const NATS: &str = "nats";
/// The history holds an hour: what could not be written for so long would be dropped there too.
const WRITE_LIMIT: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(crate) struct History {
    queue: mpsc::UnboundedSender<ClusterEvent>,
    /// Until the writer starts.
    waiting: Mutex<Option<mpsc::UnboundedReceiver<ClusterEvent>>>,
    is_last: CancellationToken,
    writer: TaskTracker,
}

impl History {
    pub(crate) fn new() -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        Self { queue, waiting: Mutex::new(Some(waiting)), is_last: CancellationToken::new(), writer: TaskTracker::new() }
    }

    /// Whether an event can be written later does not concern its sender.
    pub(crate) fn tell(&self, event: ClusterEvent) {
        // The receiver lives as long as this does, or its task has ended because `up` stops.
        let _ = self.queue.send(event);
    }

    /// Writes over this connection from now on. Does nothing the second time.
    pub(crate) fn write_to(&self, nats: &Nats) {
        let Some(mut queue) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let (sink, is_last) = (EventSink::new(nats, OWN_NAME), self.is_last.clone());
        self.writer.spawn(async move {
            loop {
                // What waits comes first, so that nothing is left when it ends.
                let event = tokio::select! {
                    biased;
                    Some(event) = queue.recv() => event,
                    () = is_last.cancelled() => return,
                };
                sink.send_durably(event, WRITE_LIMIT).await;
            }
        });
    }

    /// Waits until everything is written; false when that takes longer than `limit`.
    pub(crate) async fn conclude(&self, limit: Duration) -> bool {
        self.is_last.cancel();
        self.writer.close();
        tokio::time::timeout(limit, self.writer.wait()).await.is_ok()
    }
}
