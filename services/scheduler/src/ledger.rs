//! Folds RESULTS into the ledger while this process leads, keeps the snapshot that `faultline audit` reads, and sweeps
//! up jobs that were opened but never queued.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use faultline_engine::job::{JobId, JobState};
use faultline_engine::ledger::{Ledger, LedgerRecord, LedgerSnapshot};
use faultline_protocol::codec::{self, HEADER_JOB_STATE};
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock::{ms, unix_ms};
use faultline_runtime::connect::Nats;
use faultline_runtime::events::EventSink;
use faultline_runtime::record::{OPEN, each_queued};
use futures::StreamExt;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cancel::abandon_if_orphan;

const SAVE_EVERY: Duration = Duration::from_secs(1);
const SWEEP_EVERY: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);
/// Listing a long queue costs the server something: so many times as long as that took it is left alone.
const SWEEP_REST: u32 = 20;
/// Markers without a message that are looked at closely in one sweep.
const SWEEP_BATCH: usize = 1000;

pub(crate) struct LedgerTask {
    pub(crate) nats: Nats,
    pub(crate) events: EventSink,
    pub(crate) terminal_ttl_s: u64,
    pub(crate) snapshot: watch::Sender<LedgerSnapshot>,
    pub(crate) cancel: CancellationToken,
}

impl LedgerTask {
    /// Goes on until cancelled; whatever fails is begun again from the last snapshot.
    pub(crate) async fn run(self) {
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => return,
                outcome = self.fold_until_error() => {
                    if let Err(reason) = outcome {
                        tracing::debug!(reason, "the ledger begins again from its snapshot");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn fold_until_error(&self) -> Result<(), String> {
        let store = self.nats.bucket(streams::KV_LEDGER).await.map_err(|error| error.to_string())?;
        let entry = store.entry(streams::KEY_LEDGER).await.map_err(|error| error.to_string())?;
        let mut revision = entry.as_ref().map_or(0, |entry| entry.revision);
        let read = entry.filter(|entry| !entry.value.is_empty()).map(|entry| codec::decode_body::<LedgerSnapshot>(&entry.value));
        let unreadable = matches!(read, Some(Err(_)));
        if unreadable {
            tracing::error!("the ledger's snapshot cannot be read: counting anew from what RESULTS still holds");
        }
        let saved = read.and_then(Result::ok).unwrap_or_default();
        let absent_ms = unix_ms().saturating_sub(saved.at_ms);
        let may_have_missed = unreadable || (saved.at_ms > 0 && absent_ms > self.terminal_ttl_s * 1000);
        let mut ledger = Ledger::new(saved.clone());
        let mut last_saved = saved;
        let mut messages = self.consume().await?;
        let mut behind = self.pending().await?;
        if behind == 0 && may_have_missed {
            ledger.settle_absence();
        }
        let mut save = tokio::time::interval(SAVE_EVERY);
        let mut next_sweep = Instant::now();
        let mut strange = 0_u64;
        loop {
            tokio::select! {
                message = messages.next() => {
                    let message = message.ok_or("the consumer ended")?.map_err(|error| error.to_string())?;
                    let pending = fold(&mut ledger, &message, &mut strange)?;
                    if behind > 0 && pending == 0 {
                        behind = 0;
                        if may_have_missed {
                            ledger.settle_absence();
                        }
                    }
                }
                _ = save.tick() => {
                    let changed = LedgerSnapshot { at_ms: last_saved.at_ms, ..ledger.counts().clone() } != last_saved;
                    // While it runs the date is kept fresh too: it tells how long the ledger was away.
                    let stale = unix_ms().saturating_sub(last_saved.at_ms) > self.terminal_ttl_s * 100;
                    if behind == 0 && (changed || stale) {
                        last_saved = ledger.snapshot(unix_ms());
                        revision = store.update(streams::KEY_LEDGER, codec::encode(&last_saved), revision).await.map_err(|error| error.to_string())?;
                        self.snapshot.send_replace(last_saved.clone());
                    }
                }
                () = tokio::time::sleep_until(next_sweep) => {
                    let began = Instant::now();
                    self.sweep(&ledger).await;
                    next_sweep = Instant::now() + SWEEP_EVERY.max(began.elapsed() * SWEEP_REST);
                }
            }
        }
    }

    async fn consume(&self) -> Result<pull::Ordered, String> {
        let stream = self.nats.jetstream.get_stream(streams::RESULTS).await.map_err(|error| error.to_string())?;
        let config = pull::OrderedConfig { deliver_policy: DeliverPolicy::All, headers_only: true, ..pull::OrderedConfig::default() };
        let consumer = stream.create_consumer(config).await.map_err(|error| error.to_string())?;
        consumer.messages().await.map_err(|error| error.to_string())
    }

    async fn pending(&self) -> Result<u64, String> {
        let stream = self.nats.jetstream.get_stream(streams::RESULTS).await.map_err(|error| error.to_string())?;
        Ok(stream.cached_info().state.messages)
    }

    /// Finds old markers whose message is missing, and abandons those of which that is true still.
    async fn sweep(&self, ledger: &Ledger) {
        let now_ms = unix_ms();
        let old_ms = ms(streams::ORPHAN_AFTER);
        let is_old = |job: JobId| now_ms.saturating_sub(job.unix_ms()) > old_ms;
        let mut old = ledger.open_jobs().take_while(|(job, _)| is_old(*job)).peekable();
        if old.peek().is_none() {
            return;
        }
        let mut queued = HashSet::new();
        if let Err(error) = each_queued(&self.nats, |subject| queued.extend(subjects::queued_job_id(&subject))).await {
            return tracing::debug!("the sweep comes later: {error:#}");
        }
        for (job, open_seq) in old.filter(|(job, _)| !queued.contains(job)).take(SWEEP_BATCH) {
            abandon_if_orphan(&self.nats, &self.events, job, open_seq, self.terminal_ttl_s).await;
        }
    }
}

/// Folds one message and returns how many are still to come.
fn fold(ledger: &mut Ledger, message: &async_nats::jetstream::Message, strange: &mut u64) -> Result<u64, String> {
    let info = message.info().map_err(|error| error.to_string())?;
    let state = message.headers.as_ref().and_then(|headers| headers.get(HEADER_JOB_STATE)).map(|value| value.as_str());
    let state = match state {
        Some(OPEN) => Some(JobState::Queued),
        Some(text) => JobState::terminal(text),
        None => None,
    };
    match (subjects::result_job_id(&message.subject), state) {
        (Some(job), Some(state)) => ledger.fold(LedgerRecord { seq: info.stream_sequence, job, state }),
        // Its sequence then counts as an opening without an end: the audit shows it.
        _ => {
            *strange += 1;
            if strange.is_power_of_two() {
                tracing::warn!(subject = %message.subject, so_far = *strange, "a message in RESULTS is no record");
            }
        }
    }
    Ok(info.pending)
}
