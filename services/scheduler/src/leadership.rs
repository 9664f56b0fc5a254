//! From the lease to its end: one term, and the epoch that it acts under. Everything ends with the term.

use std::time::Duration;

use faultline_runtime::admin::Readiness;
use faultline_runtime::connection::Connection;
use faultline_runtime::events::EventSink;
use faultline_runtime::lease::{Lease, RENEW_EVERY};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::memory::SharedMemory;
use crate::metrics::SchedulerMetrics;
use crate::service;
use crate::settings::Settings;
use crate::term::Term;

/// Between two tries to get a higher epoch.
const RAISE_AGAIN: Duration = Duration::from_millis(200);
const END_LIMIT: Duration = Duration::from_secs(1);
/// Epochs that are named or raised and not dealt with yet.
const BUFFERED_EPOCHS: usize = 1024;

/// Leads until the lease is lost or `stop` is cancelled; gives the lease back in the second case.
pub(crate) async fn lead(
    settings: &Settings,
    nats: &Connection,
    events: &EventSink,
    metrics: &SchedulerMetrics,
    (memory, readiness): (&SharedMemory, &Readiness),
    lease: Lease,
    (stop, tick): (&CancellationToken, Duration),
) -> anyhow::Result<()> {
    let (epoch, validity) = (lease.epoch, lease.validity());
    let (raises, raise) = mpsc::channel(BUFFERED_EPOCHS);
    let (raised, epochs) = mpsc::channel(BUFFERED_EPOCHS);
    let over = stop.child_token();
    let renewing = nats.spawner().spawn(keep_lease(lease, raise, raised, over.clone()));
    let term = Term { settings, nats, events, metrics, memory, readiness, epoch, raises, validity, over, tick, tasks: TaskTracker::new() };
    let outcome = service::run(&term, epochs).await;
    term.over.cancel();
    term.tasks.close();
    if tokio::time::timeout(END_LIMIT, term.tasks.wait()).await.is_err() {
        tracing::debug!(left = term.tasks.len(), "tasks of the ended term are still busy");
    }
    // Given back last: the successor must not lead while this term still acts.
    if let Ok(Some(lease)) = renewing.await {
        lease.release().await;
    }
    outcome
}

/// Renews until the term ends or the lease is lost, which ends the term; gets the epoch above those that are named meanwhile. Returns
/// the lease while it is still ours.
async fn keep_lease(mut lease: Lease, mut raise: mpsc::Receiver<u64>, raised: mpsc::Sender<u64>, term: CancellationToken) -> Option<Lease> {
    let mut above: Option<u64> = None;
    loop {
        let pause = if above.is_some() { RAISE_AGAIN } else { RENEW_EVERY };
        tokio::select! {
            biased;
            () = term.cancelled() => return Some(lease),
            Some(newest) = raise.recv() => above = above.max(Some(newest)),
            () = tokio::time::sleep(pause) => {}
        }
        if let Some(newest) = above
            && let Some(epoch) = lease.raise(newest).await
        {
            tracing::warn!(epoch, above = newest, "epoch raised above the highest one that workers know");
            above = None;
            let _ = raised.send(epoch).await;
            continue;
        }
        if !lease.renew().await {
            term.cancel();
            return None;
        }
    }
}
