//! Reads the streams into the fold: what happened since the last look. Also one look at the scheduler's view.

use std::ops::ControlFlow;
use std::time::Duration;

use faultline_protocol::codec;
use faultline_protocol::messages::{
    ClusterEvent, ClusterStats, EventBatch, LedgerSnapshot, NodeView, OpenMarker, Record, is_returned, possible_time,
};
use faultline_protocol::streams::{self, KEY_LEDGER, KV_LEDGER};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::{Nats, kv_get};
use faultline_runtime::read::{From, ReadError, Reader, Row};

use super::Observer;
use crate::audit::jobs_in_queue;
use crate::{ClientError, Leader};

/// The scheduler answers in milliseconds or not at all.
const STATS_LIMIT: Duration = Duration::from_millis(800);

/// A place in each stream, and what was read so far.
pub struct Watch<'a> {
    nats: &'a Nats,
    events: Reader,
    results: Reader,
    dead: Reader,
    pub observer: Observer,
}

impl<'a> Watch<'a> {
    /// Reads what was stored from `from_ms` on.
    pub fn new(nats: &'a Nats, from_ms: u64) -> Self {
        let reader = |stream| Reader::new(nats, stream, From::Time(from_ms));
        Self {
            nats,
            events: reader(streams::EVENTS),
            results: reader(streams::RESULTS),
            dead: reader(streams::DEAD).headers_only(),
            observer: Observer::default(),
        }
    }

    /// The nodes, their hosts, and who leads.
    pub fn know(&mut self, nodes: &[NodeView], leader: &str) {
        for node in nodes {
            self.observer.on_node(&node.spec.node, &node.spec.worker);
        }
        if !leader.is_empty() {
            self.observer.on_leader(leader, unix_ms());
        }
    }

    /// What the history says since the last call. Repeats its reads through a short absence of the server.
    pub async fn catch_up(&mut self) -> Result<(), ReadError> {
        let Self { events, results, dead, observer, .. } = self;
        events
            .read_to_end(|row| {
                each_event(&row, |event| observer.on_event(event));
                ControlFlow::Continue(())
            })
            .await?;
        results
            .read_to_end(|row| {
                on_record(observer, &row);
                ControlFlow::Continue(())
            })
            .await?;
        dead.read_to_end(|row| {
            observer.on_dead_letter(row.seq, row.stored_at_ms);
            ControlFlow::Continue(())
        })
        .await
    }

    /// The same, with a look at the queue before it and at the ledger after it: for the final figures.
    pub async fn conclude(&mut self) -> Result<(), ClientError> {
        let looked_at_ms = unix_ms();
        // The queue first: what is not in it any more has an end, and the records that are read afterwards have it.
        let queue = jobs_in_queue(self.nats).await?;
        self.catch_up().await?;
        self.observer.on_queue(queue.jobs, looked_at_ms);
        self.look_at_ledger().await;
        Ok(())
    }

    /// The ledger's count of second ends, now. Without it our own reading has to do.
    pub async fn look_at_ledger(&mut self) {
        if let Ok(store) = self.nats.bucket(KV_LEDGER).await
            && let Ok(Some(snapshot)) = kv_get::<LedgerSnapshot>(&store, KEY_LEDGER).await
        {
            self.observer.on_ledger(&snapshot);
        }
    }
}

/// Tells the events of a message of EVENTS, with times that can be true.
pub fn each_event(row: &Row, tell: impl FnMut(&ClusterEvent)) {
    match codec::decode::<EventBatch>(Some(&row.headers), &row.body) {
        Ok(batch) => batch.anchored(row.stored_at_ms).iter().for_each(tell),
        Err(error) => tracing::debug!(subject = row.subject, %error, "unreadable event"),
    }
}

fn on_record(observer: &mut Observer, row: &Row) {
    if is_returned(Some(&row.headers)) {
        return;
    }
    let read = Record::decode(Some(&row.headers), &row.body).map(|record| match record {
        Record::Open(marker) => {
            let submitted_at_ms = possible_time(marker.submitted_at_ms, row.stored_at_ms);
            observer.on_opened(&OpenMarker { submitted_at_ms, ..marker });
        }
        Record::Ended(record) => observer.on_ended(&record, row.seq, row.stored_at_ms),
    });
    if let Err(error) = read {
        tracing::debug!(subject = row.subject, %error, "unreadable record");
    }
}

/// The leading scheduler's figures; none while no scheduler answers.
pub async fn stats(nats: &Nats) -> Option<ClusterStats> {
    Leader::once(nats, STATS_LIMIT).stats().await.ok()
}

/// All nodes as the leader sees them, and the leader; none while no scheduler answers.
pub async fn nodes_and_leader(nats: &Nats) -> Option<(Vec<NodeView>, String)> {
    let leader = stats(nats).await?.leader;
    let nodes = tokio::time::timeout(Duration::from_secs(2), Leader::of(nats).nodes()).await.ok()?.ok()?;
    Some((nodes, leader))
}
