//! Reading RESULTS and EVENTS. Records come live as republished plain messages, which may be
//! lost; the stream is read at the start, after a reconnect, and wherever a gap in the sequences shows.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use faultline_protocol::codec;
use faultline_protocol::messages::{EventBatch, is_returned};
use faultline_protocol::streams;
use faultline_runtime::connect::Nats;
use faultline_runtime::generation::Sight;
use faultline_runtime::read::{From, ReadError, Reader};
use tokio::sync::Notify;

use super::sink::{PAUSE, Sink};
use crate::cluster::Record;
use crate::view::{MAX_EVENTS, MAX_JOBS};

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

    /// RESULTS was made anew, or is an older copy: its sequences count from another beginning.
    fn begin_again(&self) {
        self.next.store(0, Ordering::Relaxed);
        self.missed(0);
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
    let mut looks = nats.looks();
    let mut generation = nats.generation(streams::RESULTS).number;
    loop {
        tokio::select! {
            () = gap.noticed.notified() => {}
            Ok(()) = looks.changed() => {
                let now = nats.generation(streams::RESULTS).number;
                if std::mem::replace(&mut generation, now) != now {
                    gap.begin_again();
                }
            }
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
    let stream = nats.jetstream.get_stream(streams::RESULTS).await.map_err(|error| error.to_string())?;
    let last = stream.cached_info().state.last_sequence;
    let start = from.max(last.saturating_sub(REACH_BACK)).max(1);
    if start > last {
        return Ok(0);
    }
    let mut records = 0;
    let mut reader = Reader::new(nats, streams::RESULTS, From::Seq(start)).ends_with_stream();
    let read = reader.read_to_end(|row| {
        match Record::decode(Some(&row.headers), &row.body).map(|record| record.stored_at(row.stored_at_ms)) {
            Ok(_) if is_returned(Some(&row.headers)) => {}
            Ok(Record::Open(marker)) => sink.view.write().jobs.on_open(marker),
            Ok(Record::Ended(record)) => sink.view.write().on_end(*record),
            Err(error) => sink.undecodable(&row.subject, &error),
        }
        records += 1;
        if row.seq >= last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    read.await.map_err(|error| error.to_string())?;
    Ok(records)
}

/// Follows EVENTS for ever, the newest of the past first.
pub(crate) async fn run_events(nats: Nats, sink: Sink) {
    loop {
        match begin_events(&nats, &sink).await {
            Ok(reader) => follow_events(reader, &sink).await,
            Err(reason) => tracing::debug!(reason, "EVENTS cannot be read yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn begin_events(nats: &Nats, sink: &Sink) -> Result<Reader, String> {
    let stream = nats.jetstream.get_stream(streams::EVENTS).await.map_err(|error| error.to_string())?;
    let sight = Sight::of(stream.cached_info());
    let start = sight.last_seq.saturating_sub(MAX_EVENTS as u64).max(1);
    let mut view = sink.view.write();
    view.events.follows(sight.created_ns);
    if start > 1 {
        view.events.begins_at(start);
    }
    Ok(Reader::new(nats, streams::EVENTS, From::Seq(start)).ends_with_stream())
}

/// Until the stream begins again.
async fn follow_events(mut reader: Reader, sink: &Sink) {
    loop {
        let row = match reader.next().await {
            Ok(row) => row,
            Err(error @ ReadError::BeganAgain(_)) => {
                tracing::warn!("{error}: its history begins again");
                return sink.view.write().on_events_began_again();
            }
            Err(error) => {
                tracing::debug!(%error, "reading EVENTS goes on later");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        match codec::decode::<EventBatch>(Some(&row.headers), &row.body) {
            Ok(batch) => {
                let mut view = sink.view.write();
                for (place, event) in batch.anchored(row.stored_at_ms).into_iter().enumerate() {
                    let number = view.events.number(row.seq, place);
                    view.on_event(number, event);
                }
            }
            Err(error) => sink.undecodable(&row.subject, &error),
        }
    }
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
        assert_eq!(gap.take(), None, "no gap before the first one, nor before the next");
        gap.saw(Some(12));
        gap.saw(Some(20));
        assert_eq!(gap.take(), Some(9));
        assert_eq!(gap.take(), None);
        gap.missed_since_last();
        assert_eq!(gap.take(), Some(21));
        gap.begin_again();
        assert_eq!(gap.take(), Some(0));
        gap.saw(Some(1));
        gap.saw(Some(3));
        assert_eq!(gap.take(), Some(2), "gaps are noticed in the new RESULTS too");
    }
}
