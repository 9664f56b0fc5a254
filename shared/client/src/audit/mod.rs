//! Is every job accounted for? [`run`] reads the ledger, RESULTS and JOBS and has `check` compare them, again and again while they do not
//! agree.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use async_nats::jetstream::kv::Store;
use faultline_engine::ledger::Took;
use faultline_protocol::codec::{self, HEADER_JOB_MESSAGE};
use faultline_protocol::messages::{EventBatch, LedgerState, RecordState, TerminalRecord};
use faultline_protocol::streams::{self, KEY_LEDGER, KV_LEDGER};
use faultline_protocol::subjects;
use faultline_runtime::clock;
use faultline_runtime::connect::{Nats, kv_get};
use faultline_runtime::read::{From, Reader, Row};
use faultline_runtime::record::each_queued;
use faultline_runtime::sight::{Look as StreamLook, is_rewritten, look_at};
use tokio::time::Instant;

use crate::{ClientError, Leader};

mod check;
mod report;
#[cfg(test)]
mod tests;
mod watch;

use check::{Entry, EntryState, Results, Verdict, look};
pub use check::{Figures, Queue};
pub use report::{AuditReport, Check};
pub use watch::{AuditWatch, Outcome, Seen};

const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// A server that restarts is back by then.
const READ_LIMIT: Duration = Duration::from_secs(10);
const READ_AGAIN: Duration = Duration::from_millis(250);
/// A leader that says nothing for so long acknowledges nothing either.
const LEADER_LIMIT: Duration = Duration::from_secs(2);

/// Looks until everything agrees, or until what does not has lasted for `wait`: the cluster moves while it is looked at.
pub async fn run(nats: &Nats, wait: Duration) -> Result<AuditReport, ClientError> {
    let give_up = Instant::now() + wait;
    let mut verdict = Verdict::default();
    loop {
        // JOBS first: whatever left it until then had ended, and RESULTS says so.
        let mut queue = jobs_in_queue(nats).await?;
        let results = read_results(nats).await?;
        queue.ended = stream_look(nats, streams::JOBS).await?;
        queue.led_since_ms = led_since_ms(nats).await;
        let found = look(&results, &queue, clock::unix_ms());
        verdict.add(&results, found);
        verdict.add_violations(read_violations(nats).await?);
        if !verdict.may_change() || Instant::now() >= give_up {
            return Ok(AuditReport::of(&verdict));
        }
        tracing::debug!(looks = verdict.looks, "found a difference: checking again");
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// Since when the scheduler that answers leads; none when none answers.
async fn led_since_ms(nats: &Nats) -> Option<u64> {
    Leader::once(nats, LEADER_LIMIT).stats().await.ok().map(|stats| stats.leader_since_ms)
}

/// Broken invariants that schedulers have reported within the last hour, in words.
async fn read_violations(nats: &Nats) -> Result<BTreeSet<String>, ClientError> {
    let mut violations = BTreeSet::new();
    let mut reader = Reader::new(nats, streams::EVENTS, From::Start).filters(vec![subjects::VIOLATION_EVENT.to_owned()]);
    reader
        .read_to_end(|row| {
            match codec::decode::<EventBatch>(Some(&row.headers), &row.body) {
                Ok(batch) => violations.extend(batch.events.into_iter().map(|event| event.detail)),
                Err(error) => drop(violations.insert(format!("a report that cannot be read: {error}"))),
            }
            ControlFlow::Continue(())
        })
        .await?;
    Ok(violations)
}

/// The ledger first, then every message of RESULTS: so the ledger can only be behind what is read.
async fn read_results(nats: &Nats) -> Result<Results, ClientError> {
    let ledger = stored_ledger(&nats.bucket(KV_LEDGER).await?).await?;
    let began = stream_look(nats, streams::RESULTS).await?;
    let is_rewritten = patiently(|| is_rewritten(nats, ledger.anchor, streams::RESULTS, &began)).await?;
    let mut results = Results::new(ledger, began, is_rewritten);
    let through = results.through_seq();
    // Bodies matter only behind the ledger's sequence, and may be large in number before it.
    if through > 0 {
        let mut reader = Reader::new(nats, streams::RESULTS, From::Start).headers_only();
        reader
            .read_to_end(|row| {
                if row.seq > through {
                    return ControlFlow::Break(());
                }
                add(&mut results, &row, false);
                ControlFlow::Continue(())
            })
            .await?;
    }
    let mut reader = Reader::new(nats, streams::RESULTS, From::Seq(through + 1));
    reader
        .read_to_end(|row| {
            add(&mut results, &row, true);
            ControlFlow::Continue(())
        })
        .await?;
    Ok(results)
}

/// What the leader has counted so far.
async fn stored_ledger(store: &Store) -> Result<LedgerState, ClientError> {
    let stored: LedgerState = kv_get(store, KEY_LEDGER).await?.unwrap_or_default();
    Ok(if stored.version == 0 { LedgerState::from(stored.counts) } else { stored })
}

/// A stream as its server sees it.
async fn stream_look(nats: &Nats, stream: &str) -> Result<StreamLook, ClientError> {
    patiently(|| async {
        look_at(nats, stream).await.map_err(|reason| format!("{reason}; run `faultline setup` if the stream does not exist"))
    })
    .await
}

fn add(results: &mut Results, row: &Row, with_body: bool) {
    let Some(job) = subjects::result_job_id(&row.subject) else {
        return results.add_unreadable(row.seq, "its subject names no job");
    };
    let state = match RecordState::of(Some(&row.headers)) {
        Some(RecordState::Open) => EntryState::Open,
        Some(RecordState::Ended(state)) => {
            let open_seq = if with_body {
                match codec::decode::<TerminalRecord>(Some(&row.headers), &row.body) {
                    Ok(record) => Some(record.open_seq),
                    Err(error) => return results.add_unreadable(row.seq, &error.to_string()),
                }
            } else {
                None
            };
            let message = row.headers.get(HEADER_JOB_MESSAGE).map(|value| value.as_str());
            EntryState::Ended { state, open_seq, took: Took::read(message, state) }
        }
        None => return results.add_unreadable(row.seq, "its header Job-State is missing or unknown"),
    };
    results.add(Entry { job, seq: row.seq, stored_at_ms: row.stored_at_ms, state });
}

/// The jobs that JOBS holds, waiting or being worked on.
pub async fn jobs_in_queue(nats: &Nats) -> Result<Queue, ClientError> {
    patiently(|| async {
        let began = look_at(nats, streams::JOBS).await?;
        let mut queue = Queue { began, ..Queue::default() };
        let take = |subject: String| match subjects::queued_job_id(&subject) {
            Some(job) => drop(queue.jobs.insert(job)),
            None => drop(queue.strange.insert(subject)),
        };
        each_queued(nats, take).await.map_err(|error| format!("{error:#}"))?;
        Ok(queue)
    })
    .await
}

/// Repeats a read through a short absence of the server.
async fn patiently<T, F: Future<Output = Result<T, String>>>(mut read: impl FnMut() -> F) -> Result<T, ClientError> {
    let give_up = Instant::now() + READ_LIMIT;
    loop {
        match read().await {
            Ok(value) => return Ok(value),
            Err(reason) => {
                let is_permanent = reason.contains("stream not found");
                if is_permanent || Instant::now() >= give_up {
                    return Err(ClientError::Failed(reason));
                }
                tokio::time::sleep(READ_AGAIN).await;
            }
        }
    }
}
