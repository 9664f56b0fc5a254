//! What this process has seen of the ledger and of its streams, as their leader and while it stands by: `engine::ledger::memory`, fed by looks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use faultline_engine::ledger::LedgerState;
use faultline_engine::ledger::memory::{Fall, Glance, Memory};
use faultline_engine::ledger::stores::{self, Stream};
use faultline_protocol::codec;
use faultline_protocol::streams;
use faultline_runtime::connection::Connection;
use faultline_runtime::count::Count;
use faultline_runtime::sight::{Look, is_rewritten, look_at};
use faultline_runtime::wire::{Bucket, Over};
use tokio::time::Instant;

/// How often a standby looks at the streams and at what the leader has counted. When a store is put back to an older copy, the leader may lose
/// the lease with it: its successor must know, too, how far everything had come.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A standby must ask for the lease in time, whatever the server answers.
const LOOK_LIMIT: Duration = Duration::from_millis(800);
/// After so long without a look a stream may have gone back, and have grown past what it was.
const ABSENCE: Duration = Duration::from_secs(2);

/// Lasts as long as the process, over all its terms.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedMemory(Arc<Mutex<Memory>>);

impl SharedMemory {
    pub(crate) fn get(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// JOBS and RESULTS at one moment.
pub(crate) struct Looks {
    pub(crate) jobs: Look,
    pub(crate) results: Look,
}

/// Looks at JOBS, and at RESULTS after it: what was acknowledged by then had ended. `was_away`: also whether RESULTS was written anew meanwhile.
pub(crate) async fn look_around(nats: &Connection, memory: &SharedMemory, was_away: bool) -> Result<Looks, String> {
    let jobs = look_at(nats, streams::JOBS).await?;
    tell(memory.get().saw(Stream::Jobs, glance(nats, &jobs)));
    let results = look_at(nats, streams::RESULTS).await?;
    let anchor = memory.get().anchor().filter(|_| was_away);
    if is_rewritten(nats, anchor, streams::RESULTS, &results).await? {
        tell(memory.get().saw_rewritten(glance(nats, &results)));
    }
    tell(memory.get().saw(Stream::Results, glance(nats, &results)));
    Ok(Looks { jobs, results })
}

fn glance(nats: &Connection, look: &Look) -> Glance {
    Glance { sight: look.sight, replicas: look.replicas, at_ms: look.now_ms, steady_ms: nats.steady_ms() }
}

fn tell(fall: Option<Fall>) {
    if let Some(fall) = fall {
        tracing::error!(setback = %fall.setback(), "a stream lost messages");
    }
}

/// The stored ledger, its revision, and whether it can be read; what cannot is as good as nothing.
pub(crate) async fn read_stored(store: &dyn Bucket) -> Result<(LedgerState, u64, bool), String> {
    let entry = store.entry(streams::KEY_LEDGER).await?;
    let revision = entry.as_ref().map_or(0, |entry| entry.revision);
    match entry.filter(|entry| !entry.value.is_empty()).map(|entry| codec::decode_body::<LedgerState>(&entry.value)) {
        None => Ok((LedgerState::default(), revision, true)),
        Some(Ok(mut state)) => {
            if state.version == 0 {
                state = LedgerState::from(state.counts);
            }
            Ok((state, revision, true))
        }
        Some(Err(error)) => {
            tracing::error!(%error, "the stored ledger cannot be read: counting again from what RESULTS still holds");
            Ok((LedgerState::default(), revision, false))
        }
    }
}

/// A scheduler that does not lead.
pub(crate) struct Standby {
    nats: Connection,
    store: Arc<dyn Bucket>,
    memory: SharedMemory,
    connections: Count,
    looked_at: Option<Instant>,
}

impl Standby {
    pub(crate) fn new(nats: &Connection, store: Arc<dyn Bucket>, memory: &SharedMemory) -> Self {
        Self { nats: nats.clone(), store, memory: memory.clone(), connections: nats.connections(), looked_at: None }
    }

    /// Looks, if it is time. What cannot be read now is read the next time.
    pub(crate) async fn look(&mut self) {
        let since = self.looked_at.map(|at| at.elapsed());
        let was_away = self.connections.has_changed() || since.is_none_or(|since| since > ABSENCE);
        if !was_away && since.is_some_and(|since| since < LOOK_EVERY) {
            return;
        }
        self.connections.mark_unchanged();
        let looked = tokio::time::timeout(LOOK_LIMIT, self.look_now(was_away)).await;
        self.looked_at = matches!(looked, Ok(Ok(()))).then(Instant::now);
    }

    async fn look_now(&self, was_away: bool) -> Result<(), String> {
        look_around(&self.nats, &self.memory, was_away).await?;
        let (mut state, revision, is_readable) = read_stored(&*self.store).await?;
        if !is_readable || state.version == 0 {
            return Ok(());
        }
        self.memory.get().saw_ledger(&state);
        let mut overdue = self.memory.get().overdue(self.nats.steady_ms());
        if overdue.is_empty() {
            return Ok(());
        }
        // The leader has begun to lead after the stream went back, and counts what is left of it.
        overdue.retain(|setback| !stores::tells(&state.setbacks, setback));
        if !overdue.is_empty() {
            overdue.into_iter().for_each(|setback| stores::keep(&mut state.setbacks, setback));
            state.version += 1;
            let written = self.store.write(streams::KEY_LEDGER, codec::encode(&state), Over::Revision(revision)).await;
            written.map_err(|error| error.to_string())?;
            tracing::warn!("the leader did not know that a stream lost messages: written into the stored ledger");
        }
        self.memory.get().adopt(&state);
        Ok(())
    }
}
