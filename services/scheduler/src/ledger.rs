//! Folds RESULTS into the ledger while this process leads, keeps what `faultline audit` reads, and ends jobs that were opened and have no
//! message. What it concludes from what it reads is `engine::ledger`'s business.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use faultline_engine::job::JobId;
use faultline_engine::ledger::memory::{self, Fall};
use faultline_engine::ledger::stores::{Change, Setback};
use faultline_engine::ledger::survey::Survey;
use faultline_engine::ledger::{Ledger, LedgerSnapshot, LedgerState};
use faultline_protocol::codec;
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock::ms;
use faultline_runtime::connection::Connection;
use faultline_runtime::events::EventSink;
use faultline_runtime::record::{each_queued, read_for_ledger};
use faultline_runtime::seldom::Seldom;
use faultline_runtime::sight::{Look, is_rewritten, look_at};
use faultline_runtime::wire::{Bucket, Delivered, Followed, Incoming, Over};
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cancel::end_orphan;
use crate::intake::Input;
use crate::memory::{Looks, SharedMemory, look_around, read_stored};

const LOG_EVERY: Duration = Duration::from_secs(5);
const SAVE_EVERY: Duration = Duration::from_secs(1);
const SURVEY_EVERY: Duration = Duration::from_secs(10);
/// When something is missing.
const SURVEY_SOON: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(500);
/// Listing a long queue costs the server something: so many times as long as that took it is left alone.
const SURVEY_REST: u32 = 20;
/// Jobs without a message that are ended in one sweep.
const SWEEP_BATCH: usize = 1000;
/// Open jobs without a message of which the leader's loop is asked whether it holds them.
const ASKED_AT_ONCE: usize = 10_000;
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// A replica that has just begun to lead a stream may not have applied everything yet: it is asked again after this before a store is
/// said to have gone back.
const DOUBT: Duration = Duration::from_millis(memory::DOUBT_MS);

/// A message of JOBS that no job's end accounts for. It is removed once the ledger that counts it has been stored.
#[derive(Debug)]
pub(crate) struct Extra {
    pub(crate) seq: u64,
    pub(crate) ack_subject: String,
    /// Why it is not a job; none for one that is acknowledged.
    pub(crate) refused: Option<String>,
}

/// JetStream's verb for what must never be delivered again, with the reason: `AckKind` has none for it.
pub(crate) fn terminate(reason: &str) -> String {
    format!("+TERM {reason}")
}

pub(crate) struct LedgerTask {
    pub(crate) nats: Connection,
    pub(crate) events: EventSink,
    pub(crate) terminal_ttl_s: u64,
    pub(crate) snapshot: watch::Sender<LedgerSnapshot>,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) extras: mpsc::UnboundedReceiver<Extra>,
    pub(crate) memory: SharedMemory,
    pub(crate) cancel: CancellationToken,
}

impl LedgerTask {
    /// Goes on until cancelled; whatever fails is begun again from what was stored last.
    pub(crate) async fn run(mut self) {
        let cancel = self.cancel.clone();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                outcome = self.fold_until_error() => {
                    if let Err(reason) = outcome {
                        tracing::debug!(reason, "the ledger begins again from what it has stored");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn fold_until_error(&mut self) -> Result<(), String> {
        let mut connections = self.nats.connections();
        connections.mark_unchanged();
        let mut fold = Fold::begin(self).await?;
        // What a new leader tells until something changes: not nothing.
        self.snapshot.send_replace(fold.ledger.counts().clone());
        let mut messages = fold.consume(&self.nats).await?;
        let mut save = tokio::time::interval(SAVE_EVERY);
        loop {
            tokio::select! {
                biased;
                // The streams may have been put back to an older state while the server was away, and grow past it before the next look. And
                // a server that has restarted does not know the consumer any more.
                Ok(()) = connections.changed() => {
                    look_around(&self.nats, &self.memory, true).await?;
                    return Err("the server was away".into());
                }
                _ = save.tick(), if fold.is_caught_up => {
                    fold.look(self).await?;
                    fold.store(self).await?;
                }
                () = tokio::time::sleep_until(fold.next_survey), if fold.is_caught_up && fold.listed.is_none() => fold.list(&self.nats).await?,
                Some(extra) = self.extras.recv() => fold.on_extra(extra),
                message = messages.next() => {
                    let message = message.ok_or("the consumer ended")??;
                    fold.on_message(&message)?;
                }
            }
            if let Some(listed) = fold.take_due_list() {
                self.survey(&mut fold, &listed).await;
            }
        }
    }

    /// Compares the open jobs with the list, and ends those that are old and have no message.
    async fn survey(&self, fold: &mut Fold, listed: &Listed) {
        let held = self.held(fold.ledger.not_among(&listed.queued, ASKED_AT_ONCE)).await;
        let Some(held) = held else { return };
        let Look { sight, now_ms, replicas, .. } = listed.jobs;
        fold.ledger.on_survey(&Survey { sight, began_at_ms: now_ms, replicas, queued: &listed.queued, held: &held });
        for orphan in fold.ledger.orphans(fold.server_ms(), ms(streams::ORPHAN_AFTER), &held).into_iter().take(SWEEP_BATCH) {
            end_orphan(&self.nats, &self.events, &orphan, self.terminal_ttl_s).await;
        }
        fold.next_survey = if fold.ledger.wants_survey() {
            Instant::now() + SURVEY_SOON.max(listed.took * SURVEY_REST)
        } else {
            Instant::now() + SURVEY_EVERY.max(listed.took * SURVEY_REST)
        };
    }

    /// Which of these jobs the leader's loop holds: whatever became of their messages, they will end.
    async fn held(&self, jobs: Vec<JobId>) -> Option<BTreeSet<JobId>> {
        if jobs.is_empty() {
            return Some(BTreeSet::new());
        }
        let (answer, answered) = oneshot::channel();
        self.inputs.send(Input::AreHeld { jobs, answer }).await.ok()?;
        tokio::time::timeout(ANSWER_LIMIT, answered).await.ok()?.ok()
    }
}

/// A list of JOBS that waits until everything that RESULTS held after it was made has been folded.
struct Listed {
    jobs: Look,
    queued: BTreeSet<JobId>,
    results_seq: u64,
    took: Duration,
}

/// What a run begins with.
struct Found {
    stored: LedgerState,
    revision: u64,
    is_readable: bool,
    /// RESULTS.
    began: Look,
    /// The ledger that this process knows, if the stored one is older.
    newer: Option<LedgerState>,
}

impl Found {
    /// Reads once more where one of several replicas may only lag.
    async fn settled(task: &LedgerTask, store: &dyn Bucket) -> Result<Self, String> {
        let found = Self::read(task, store).await?;
        if found.began.replicas > 1 && (found.newer.is_some() || task.memory.get().is_in_doubt()) {
            tokio::time::sleep(DOUBT).await;
            return Self::read(task, store).await;
        }
        Ok(found)
    }

    async fn read(task: &LedgerTask, store: &dyn Bucket) -> Result<Self, String> {
        let (stored, revision, is_readable) = read_stored(store).await?;
        if stored.version > 0 {
            task.memory.get().saw_ledger(&stored);
        }
        let began = look_around(&task.nats, &task.memory, true).await?.results;
        let newer = task.memory.get().newest().filter(|known| known.version > stored.version).cloned();
        Ok(Self { stored, revision, is_readable, began, newer })
    }
}

/// One run through RESULTS.
struct Fold {
    ledger: Ledger,
    stored: LedgerState,
    revision: u64,
    store: Arc<dyn Bucket>,
    /// Records may have expired while no leader counted.
    may_have_missed: bool,
    /// RESULTS as it was before the first message was read.
    began: Look,
    is_caught_up: bool,
    /// The newest look at the server's clock, and when that was.
    clock: (u64, Instant),
    /// JOBS, and the sequence of RESULTS that must be reached before it counts.
    looked: Option<(Look, u64)>,
    listed: Option<Listed>,
    next_survey: Instant,
    extras: Vec<Extra>,
    /// Log lines about messages that are not records.
    strange: Seldom,
}

impl Fold {
    async fn begin(task: &LedgerTask) -> Result<Self, String> {
        let store = task.nats.open_bucket(streams::KV_LEDGER).await.map_err(|error| error.to_string())?;
        let Found { stored, revision, is_readable, began, newer } = Found::settled(task, &*store).await?;
        let mut setback = None;
        let mut state = stored.clone();
        if let Some(known) = newer {
            tracing::error!(known = known.version, found = state.version, "the stored ledger went back: it is written again");
            setback = Some(Setback {
                store: streams::KV_LEDGER.to_owned(),
                change: Change::WentBack,
                from_seq: known.version,
                to_seq: state.version,
                messages: 0,
                at_ms: began.now_ms,
                whole_at_ms: known.counts.at_ms,
            });
            state = known;
        }
        let mut ledger = Ledger::new(state.clone());
        let falls = task.memory.get().falls().to_vec();
        falls.iter().for_each(|fall| ledger.on_fall(fall));
        let is_rewritten = is_rewritten(&task.nats, ledger.state().anchor, streams::RESULTS, &began).await?;
        ledger.on_results(began.sight, began.replicas, is_rewritten, began.now_ms);
        // What a standby has written into an older copy, too.
        let others = setback.into_iter().chain(stored.setbacks);
        falls.iter().map(Fall::setback).chain(others).for_each(|setback| ledger.keep(setback));
        for setback in ledger.state().setbacks.iter().filter(|setback| !state.setbacks.contains(setback)) {
            tracing::error!(%setback, "a stream lost messages that had been counted");
        }
        let absent_ms = began.now_ms.saturating_sub(state.counts.at_ms);
        let may_have_missed = !is_readable || state.version == 0 || absent_ms > ms(streams::MIN_TERMINAL_TTL);
        Ok(Self {
            ledger,
            stored: state,
            revision,
            store,
            may_have_missed,
            began,
            is_caught_up: false,
            clock: (began.now_ms, Instant::now()),
            looked: None,
            listed: None,
            next_survey: Instant::now(),
            extras: Vec::new(),
            strange: Seldom::new(LOG_EVERY),
        })
    }

    async fn consume(&mut self, nats: &Connection) -> Result<Incoming<Result<Delivered, String>>, String> {
        let Followed { pending, messages } = nats.follow(streams::RESULTS).await?;
        if pending == 0 {
            self.catch_up();
        }
        Ok(messages)
    }

    /// Everything has been read that RESULTS held when reading began.
    fn catch_up(&mut self) {
        if !std::mem::replace(&mut self.is_caught_up, true) {
            self.ledger.pass_over(self.began.sight.last_seq);
            self.ledger.on_caught_up(self.may_have_missed);
        }
    }

    fn on_message(&mut self, message: &Delivered) -> Result<(), String> {
        let info = message.info.clone()?;
        match read_for_ledger(&message.subject, message.headers.as_ref(), info.seq, info.stored_at_ms) {
            Some(record) => self.ledger.fold(record),
            // Its sequence then counts as an opening without an end: the audit shows it.
            None => {
                if let Some(kept_back) = self.strange.admit(Instant::now()) {
                    tracing::warn!(subject = %message.subject, kept_back, "unreadable record in RESULTS");
                }
            }
        }
        if info.pending == 0 {
            self.catch_up();
        }
        if self.looked.is_some_and(|(_, seq)| self.reached(seq))
            && let Some((jobs, _)) = self.looked.take()
        {
            self.on_jobs(&jobs);
        }
        Ok(())
    }

    fn reached(&self, seq: u64) -> bool {
        self.ledger.counts().through_seq >= seq
    }

    fn on_jobs(&mut self, jobs: &Look) {
        let setbacks = self.ledger.state().setbacks.len();
        if self.ledger.on_jobs(jobs.sight, jobs.replicas, jobs.now_ms) {
            self.next_survey = self.next_survey.min(Instant::now() + SURVEY_SOON);
        }
        for setback in &self.ledger.state().setbacks[setbacks..] {
            tracing::error!(%setback, "a stream lost messages that had been counted");
        }
    }

    fn on_extra(&mut self, extra: Extra) {
        self.ledger.on_extra(extra.seq);
        self.extras.push(extra);
    }

    async fn look(&mut self, task: &LedgerTask) -> Result<(), String> {
        let Looks { jobs, results } = look_around(&task.nats, &task.memory, false).await?;
        if self.ledger.change_of_results(results.sight, results.replicas).is_some() {
            return Err("RESULTS is not what it was".into());
        }
        if !task.memory.get().is_told_by(&self.ledger.state().setbacks) {
            return Err("a stream is not what it was".into());
        }
        self.ledger.saw_results(results.sight, results.now_ms);
        self.clock = (results.now_ms, Instant::now());
        if task.memory.get().is_in_doubt() {
            return Ok(());
        }
        if self.reached(results.sight.last_seq) {
            self.on_jobs(&jobs);
        } else {
            self.looked = Some((jobs, results.sight.last_seq));
        }
        Ok(())
    }

    fn server_ms(&self) -> u64 {
        self.clock.0 + ms(self.clock.1.elapsed())
    }

    async fn list(&mut self, nats: &Connection) -> Result<(), String> {
        self.next_survey = Instant::now() + SURVEY_EVERY;
        if self.ledger.open_jobs().next().is_none() && !self.ledger.wants_survey() && self.ledger.state().queue.is_measured {
            return Ok(());
        }
        let began = Instant::now();
        let jobs = look_at(nats, streams::JOBS).await?;
        let mut queued = BTreeSet::new();
        each_queued(nats, |subject| queued.extend(subjects::queued_job_id(&subject))).await.map_err(|error| format!("{error:#}"))?;
        let results_seq = look_at(nats, streams::RESULTS).await?.sight.last_seq;
        self.listed = Some(Listed { jobs, queued, results_seq, took: began.elapsed() });
        Ok(())
    }

    fn take_due_list(&mut self) -> Option<Listed> {
        let is_due = self.listed.as_ref().is_some_and(|listed| self.reached(listed.results_seq));
        self.listed.take_if(|_| is_due)
    }

    async fn store(&mut self, task: &LedgerTask) -> Result<(), String> {
        let now_ms = self.server_ms();
        let known = &self.stored;
        let is_same = |state: &LedgerState| {
            // How much RESULTS holds changes as records expire; that alone is not worth a message.
            let (results, at_ms) = (known.results, known.counts.at_ms);
            LedgerState { results, counts: LedgerSnapshot { at_ms, ..state.counts.clone() }, ..state.clone() } == *known
        };
        // While it runs the date is kept fresh too: it tells how long the ledger was away.
        let is_stale = now_ms.saturating_sub(known.counts.at_ms) > ms(streams::MIN_TERMINAL_TTL) / 10;
        if is_stale || !is_same(self.ledger.state()) {
            let state = self.ledger.to_store(now_ms);
            let stored = self.store.write(streams::KEY_LEDGER, codec::encode(&state), Over::Revision(self.revision)).await;
            self.revision = stored.map_err(|error| error.to_string())?;
            task.snapshot.send_replace(state.counts.clone());
            self.ledger.on_stored(&state);
            task.memory.get().adopt(&state);
            self.stored = state;
        }
        for extra in self.extras.drain(..) {
            let told = match extra.refused {
                Some(reason) => task.nats.tell(extra.ack_subject, terminate(&reason)).await,
                None => task.nats.tell(extra.ack_subject, AckKind::Ack).await,
            };
            if let Err(error) = told {
                tracing::debug!(%error, "acknowledgement not sent: JetStream delivers the message again");
            }
        }
        Ok(())
    }
}
