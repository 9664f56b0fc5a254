//! Reading RESULTS and EVENTS with ordered consumers. Records come live as republished plain messages, which may be
//! lost; the stream is read at the start, after a reconnect, and wherever a gap in the sequences shows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use faultline_protocol::codec;
use faultline_protocol::messages::EventBatch;
use faultline_protocol::streams;
use faultline_runtime::connect::Nats;
use futures::StreamExt;
use tokio::sync::Notify;

use super::{PAUSE, Sink};
use crate::cluster::Record;
use crate::view::{MAX_EVENTS, MAX_JOBS, event_seq};

/// A record read this long after the last one: the rest has expired meanwhile.
const SILENCE: Duration = Duration::from_secs(3);
/// Under a load that overruns this process gaps never end: the stream is read again at most so often.
const BETWEEN_READS: Duration = Duration::from_secs(5);
/// Each job writes two records of which the stream keeps one, so this reaches back further than the view does.
const REACH_BACK: u64 = 2 * MAX_JOBS as u64;

/// Which part of RESULTS was missed.
#[derive(Debug, Default)]
pub(crate) struct ResultsGap {
    /// The sequence after the newest that was seen; 0 before the first.
    next: AtomicU64,
    from: Mutex<Option<u64>>,
    noticed: Notify,
}

impl ResultsGap {
    /// A republished record with this sequence arrived. They come in the order of the stream.
    pub(crate) fn saw(&self, sequence: Option<u64>) {
        let Some(sequence) = sequence else { return };
        let next = self.next.fetch_max(sequence + 1, Ordering::Relaxed);
        if next != 0 && sequence > next {
            self.missed(next);
        }
    }

    /// Whatever came from here on may have been missed.
    fn missed(&self, from: u64) {
        let mut gap = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        *gap = Some(gap.map_or(from, |known| known.min(from)));
        drop(gap);
        self.noticed.notify_one();
    }

    /// After a reconnect.
    fn missed_since_last(&self) {
        self.missed(self.next.load(Ordering::Relaxed));
    }

    fn take(&self) -> Option<u64> {
        self.from.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Reads what RESULTS holds, at the start and after every gap.
pub(crate) async fn run_results(nats: Nats, sink: Sink, gap: Arc<ResultsGap>) {
    gap.missed(0);
    let mut connections = nats.connections();
    loop {
        tokio::select! {
            () = gap.noticed.notified() => {}
            changed = connections.changed() => {
                if changed.is_ok() {
                    gap.missed_since_last();
                } else {
                    // The connection is gone for good; only the stop signal is still to come.
                    std::future::pending::<()>().await;
                }
            }
        }
        let Some(from) = gap.take() else { continue };
        match read_results(&nats, &sink, from).await {
            Ok(records) => tracing::debug!(records, from, "read RESULTS"),
            Err(reason) => {
                tracing::warn!(reason, "RESULTS could not be read: trying again");
                gap.missed(from);
            }
        }
        tokio::time::sleep(BETWEEN_READS).await;
    }
}

async fn read_results(nats: &Nats, sink: &Sink, from: u64) -> Result<u64, String> {
    let mut stream = nats.jetstream.get_stream(streams::RESULTS).await.map_err(|error| error.to_string())?;
    let last = stream.info().await.map_err(|error| error.to_string())?.state.last_sequence;
    let start = from.max(last.saturating_sub(REACH_BACK)).max(1);
    if start > last {
        return Ok(0);
    }
    let config =
        pull::OrderedConfig { deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: start }, ..pull::OrderedConfig::default() };
    let consumer = stream.create_consumer(config).await.map_err(|error| error.to_string())?;
    let mut messages = consumer.messages().await.map_err(|error| error.to_string())?;
    let mut records = 0;
    while let Ok(Some(message)) = tokio::time::timeout(SILENCE, messages.next()).await {
        let message = message.map_err(|error| error.to_string())?;
        let (pending, sequence) = message.info().map(|info| (info.pending, info.stream_sequence)).map_err(|error| error.to_string())?;
        match Record::decode(message.headers.as_ref(), &message.payload) {
            Ok(Record::Open(marker)) => sink.view.write().jobs.on_open(marker),
            Ok(Record::Ended(record)) => sink.view.write().on_end(*record),
            Err(error) => sink.undecodable(&message.subject, &error),
        }
        records += 1;
        if pending == 0 || sequence >= last {
            break;
        }
    }
    Ok(records)
}

/// Follows EVENTS for ever, the newest of the past first.
pub(crate) async fn run_events(nats: Nats, sink: Sink) {
    let mut next = None;
    loop {
        if let Err(reason) = follow_events(&nats, &sink, &mut next).await {
            tracing::debug!(reason, "reading EVENTS ended: starting again");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow_events(nats: &Nats, sink: &Sink, next: &mut Option<u64>) -> Result<(), String> {
    let mut stream = nats.jetstream.get_stream(streams::EVENTS).await.map_err(|error| error.to_string())?;
    let last = stream.info().await.map_err(|error| error.to_string())?.state.last_sequence;
    let start = next.unwrap_or_else(|| last.saturating_sub(MAX_EVENTS as u64)).max(1);
    if next.is_none() && start > 1 {
        sink.view.write().events.begins_at(event_seq(start, 0));
    }
    let config =
        pull::OrderedConfig { deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: start }, ..pull::OrderedConfig::default() };
    let consumer = stream.create_consumer(config).await.map_err(|error| error.to_string())?;
    let mut messages = consumer.messages().await.map_err(|error| error.to_string())?;
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| error.to_string())?;
        let sequence = message.info().map(|info| info.stream_sequence).map_err(|error| error.to_string())?;
        *next = Some(sequence + 1);
        match codec::decode::<EventBatch>(message.headers.as_ref(), &message.payload) {
            Ok(batch) => {
                let mut view = sink.view.write();
                for (place, event) in batch.events.into_iter().enumerate() {
                    view.on_event(event_seq(sequence, place), event);
                }
            }
            Err(error) => sink.undecodable(&message.subject, &error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_the_sequences_is_noticed_once() {
        let gap = ResultsGap::default();
        gap.saw(Some(7));
        gap.saw(Some(8));
        gap.saw(None);
        assert_eq!(gap.take(), None, "the first one is no gap, nor is the next");
        gap.saw(Some(12));
        gap.saw(Some(20));
        assert_eq!(gap.take(), Some(9));
        assert_eq!(gap.take(), None);
        gap.missed_since_last();
        assert_eq!(gap.take(), Some(21));
    }
}
