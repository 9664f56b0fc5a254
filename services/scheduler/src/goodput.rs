//! The last hour of GPU time across leaders: read from the one before, and stored for the one after.

use faultline_engine::goodput::history::{self, Row};
use faultline_engine::scheduler::{Goodput, Scheduler};
use faultline_protocol::messages::GoodputHistory;
use faultline_protocol::streams::{KEY_GOODPUT, KV_LEDGER};
use faultline_runtime::connection::{Connection, get, put};

/// So many seconds lie between two stored states: what a leader that dies takes with it.
pub(crate) const STORE_EVERY_S: u64 = 5;

/// What earlier leaders stored.
#[derive(Debug, Default)]
pub(crate) struct Earlier(Vec<Row>);

impl Earlier {
    /// Without it only the hour is shorter.
    pub(crate) async fn read(nats: &Connection) -> Self {
        let read = match nats.open_bucket(KV_LEDGER).await {
            Ok(store) => get::<GoodputHistory>(&*store, KEY_GOODPUT).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(stored) => Self(stored.unwrap_or_default().rows),
            Err(error) => {
                tracing::warn!(error, "the GPU time of earlier leaders cannot be read: the last hour begins with this term");
                Self::default()
            }
        }
    }

    /// The last hour until now.
    pub(crate) fn until_now(&self, scheduler: &Scheduler, leader: &str, now_ms: u64) -> GoodputHistory {
        let Goodput { term, overbooked, rows, carried } = scheduler.goodput(now_ms);
        let at_ms = scheduler.cluster_time(now_ms);
        GoodputHistory {
            leader: leader.to_owned(),
            epoch: scheduler.epoch(),
            at_ms,
            rows: history::joined(&self.0, &carried, rows, term.from_ms, at_ms),
            term,
            overbooked,
        }
    }
}

/// Stores it for the next leader and for those who ask while none leads.
pub(crate) async fn store(nats: Connection, history: GoodputHistory) {
    let stored = match nats.open_bucket(KV_LEDGER).await {
        Ok(store) => put(&*store, KEY_GOODPUT, &history).await.map(drop).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = stored {
        tracing::debug!(error, "the GPU time of this term is not stored");
    }
}
