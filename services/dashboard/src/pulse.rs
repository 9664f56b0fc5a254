//! Twice a second: what is known at that moment is pushed to those who listen, and once a second it is kept for those who will ask.

use std::sync::Arc;
use std::time::Duration;

use faultline_runtime::clock::unix_ms;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::compress::gzip;
use crate::limits::MAX_STREAMS;
use crate::past::{Past, SharedPast};
use crate::push::{Newest, Rounds, Taken};
use crate::view::SharedView;

/// How often a round is made.
const EVERY: Duration = Duration::from_millis(500);
/// Of 9, for what is compressed once and kept for an hour.
const LEVEL: u32 = 6;

/// What the pulse works on.
pub(crate) struct Pulse {
    pub(crate) view: SharedView,
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) streams: Arc<Semaphore>,
    /// Told when a WebSocket was opened.
    pub(crate) arrivals: Arc<Notify>,
    pub(crate) newest: watch::Sender<Newest>,
    pub(crate) past: SharedPast,
}

impl Pulse {
    /// Makes a round every half second while a client listens, and one at once for a new client; takes down each second in any case.
    pub(crate) async fn run(self, cancel: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut rounds = Rounds::default();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.arrivals.notified() => {}
                _ = ticks.tick() => {}
            }
            self.beat(&mut rounds, unix_ms());
            self.pack().await;
        }
    }

    fn beat(&self, rounds: &mut Rounds, now_ms: u64) {
        let open = MAX_STREAMS - self.streams.available_permits();
        if open == 0 {
            rounds.pause();
        }
        let keeps = self.past.read(|past| past.is_due(now_ms));
        if open == 0 && !keeps {
            return;
        }
        let taken = Taken::of(&self.view, now_ms, self.cluster.nats(), open, rounds.next_seq());
        if keeps {
            self.past.write(|past| past.push(&taken));
        }
        if open > 0 {
            self.newest.send_replace(Some(rounds.next(taken)));
        }
    }

    /// Compresses what is complete, without holding up anybody.
    async fn pack(&self) {
        let Some((id, plain)) = self.past.read(Past::complete) else { return };
        match tokio::task::spawn_blocking(move || gzip(&plain, LEVEL)).await {
            Ok(Ok(packed)) => self.past.write(|past| past.pack(&id, packed)),
            Ok(Err(error)) => tracing::error!(%error, "a segment of the past stays uncompressed"),
            Err(error) => tracing::error!(%error, "a segment of the past stays uncompressed"),
        }
    }
}
