//! Does what the engine decided: assignments are batched by worker, notes into one event, the rest sent one by one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::header;
use faultline_engine::job::{Assignment, AttemptId, JobState};
use faultline_engine::scheduler::{Action, Held, Note, Violation};
use faultline_protocol::codec;
use faultline_protocol::messages::{AssignBatch, ClusterEvent, DeadLetter, EventKind, KillAttempts, Level, SyncOrder, TerminalRecord};
use faultline_protocol::subjects::{self, ControlVerb};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::Nats;
use faultline_runtime::events::EventSink;
use faultline_runtime::record::{self, Commit, read_record};
use prometheus::IntCounter;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use crate::intake::{Input, Poison};
use crate::metrics::DeadLetters;
use crate::{pending, records, trace};

/// Assignments in one message: keeps it far below the server's 1 MiB.
const ASSIGN_BATCH: usize = 400;
/// Events in one message.
const NOTE_BATCH: usize = 500;
/// Read-backs and deaths under way at once.
const SIDE_TASKS: usize = 256;
const MAX_BODY_START: usize = 1024;
const TRIES: usize = 5;
const LIST_PAUSE: Duration = Duration::from_millis(250);
const REPORT_LIMIT: Duration = Duration::from_secs(60);

/// Performs actions for one term of leadership.
pub(crate) struct Performer {
    pub(crate) nats: Nats,
    pub(crate) events: EventSink,
    pub(crate) epoch: u64,
    pub(crate) terminal_ttl_s: u64,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) tasks: TaskTracker,
    side_tasks: Arc<Semaphore>,
    dead_letters: DeadLetters,
    poison: AtomicU64,
}

impl Performer {
    pub(crate) fn new(
        nats: &Nats,
        events: &EventSink,
        epoch: u64,
        terminal_ttl_s: u64,
        inputs: mpsc::Sender<Input>,
        tasks: TaskTracker,
        dead_letters: DeadLetters,
    ) -> Self {
        let side_tasks = Arc::new(Semaphore::new(SIDE_TASKS));
        Self {
            nats: nats.clone(),
            events: events.clone(),
            epoch,
            terminal_ttl_s,
            inputs,
            tasks,
            side_tasks,
            dead_letters,
            poison: AtomicU64::new(0),
        }
    }

    pub(crate) async fn perform(&self, actions: Vec<Action>) {
        let mut assignments: BTreeMap<String, Vec<Assignment>> = BTreeMap::new();
        let mut kills: BTreeMap<(String, String), Vec<AttemptId>> = BTreeMap::new();
        let mut notes = Vec::new();
        for action in actions {
            match action {
                Action::Assign { worker, assignment } => {
                    trace::tell_placement(self.nats.tracer(), &assignment);
                    assignments.entry(worker).or_default().push(*assignment);
                }
                Action::Kill { worker, attempt, reason } => kills.entry((worker, reason)).or_default().push(attempt),
                Action::Ack { ack_subject } => self.tell_jetstream(ack_subject, "+ACK".into()).await,
                Action::InProgress { ack_subject } => self.tell_jetstream(ack_subject, "+WPI".into()).await,
                Action::Nak { ack_subject, delay_ms: 0 } => self.tell_jetstream(ack_subject, "-NAK".into()).await,
                Action::Nak { ack_subject, delay_ms } => {
                    self.tell_jetstream(ack_subject, format!("-NAK {{\"delay\": {}}}", u128::from(delay_ms) * 1_000_000)).await;
                }
                Action::ReadBack { job } => {
                    let (nats, inputs) = (self.nats.clone(), self.inputs.clone());
                    self.aside(async move {
                        let read = records::read_back(&nats, job).await;
                        let _ = inputs.send(Input::RecordRead { job, read }).await;
                    });
                }
                Action::Die { job, reason, last_error } => self.bury(*job, reason, last_error),
                Action::AskSync { worker } => self.ask_for_sync(subjects::ctl(&worker, ControlVerb::Sync)).await,
                Action::ListPending => self.list_pending(),
                Action::Report(violation) => self.report(violation),
                Action::Note(note) => notes.push(note),
            }
        }
        let (read_back, others): (Vec<Note>, Vec<Note>) = notes.into_iter().partition(Note::is_read_back);
        // First, and on the same connection: what the worker writes of the attempt comes after its placement.
        for note in read_back {
            self.events.send(self.event_of(note)).await;
        }
        self.send_assignments(assignments).await;
        for ((worker, reason), attempts) in kills {
            tracing::warn!(worker, attempts = attempts.len(), reason, "killing attempts");
            let order = KillAttempts { epoch: self.epoch, attempts, reason };
            if let Err(error) = self.nats.publish(subjects::ctl(&worker, ControlVerb::Kill), &order).await {
                tracing::debug!(worker, %error, "the order to kill was not sent: heartbeats will show it");
            }
        }
        self.send_together(others).await;
    }

    /// Asks the workers that hear `subject` what they run, and tells them under which epoch.
    pub(crate) async fn ask_for_sync(&self, subject: String) {
        let order = SyncOrder { epoch: self.epoch };
        if let Err(error) = self.nats.publish(subject, &order).await {
            tracing::debug!(%error, "the workers were not asked what they run");
        }
    }

    /// Until it works: a search for messages that nobody holds waits for the answer.
    fn list_pending(&self) {
        let (nats, inputs) = (self.nats.clone(), self.inputs.clone());
        self.tasks.spawn(async move {
            loop {
                match pending::list(&nats).await {
                    Ok(pending) => {
                        let _ = inputs.send(Input::Pending(pending)).await;
                        return;
                    }
                    Err(reason) => tracing::debug!(reason, "the pending messages could not be listed yet"),
                }
                if inputs.is_closed() {
                    return;
                }
                tokio::time::sleep(LIST_PAUSE).await;
            }
        });
    }

    /// A broken invariant stops nothing; it must be seen, by people and by `audit`.
    fn report(&self, violation: Violation) {
        tracing::error!(node = violation.node(), %violation, "an invariant is broken");
        let mut event = self.events.event(Level::Error, EventKind::InvariantViolated, violation.to_string());
        (event.node, event.job) = (Some(violation.node().to_owned()), violation.job());
        let events = self.events.clone();
        self.tasks.spawn(async move { events.send_durably(event, REPORT_LIMIT).await });
    }

    async fn send_assignments(&self, assignments: BTreeMap<String, Vec<Assignment>>) {
        for (worker, mut list) in assignments {
            while !list.is_empty() {
                let rest = list.split_off(list.len().min(ASSIGN_BATCH));
                let batch = AssignBatch { epoch: self.epoch, assignments: std::mem::replace(&mut list, rest) };
                if let Err(error) = self.nats.publish(subjects::assign(&worker), &batch).await {
                    tracing::debug!(worker, %error, "assignments were not sent: heartbeats will show it");
                }
            }
        }
    }

    async fn send_together(&self, notes: Vec<Note>) {
        let mut events: Vec<ClusterEvent> = notes.into_iter().map(|note| self.event_of(note)).collect();
        while !events.is_empty() {
            let rest = events.split_off(events.len().min(NOTE_BATCH));
            self.events.send_many(std::mem::replace(&mut events, rest)).await;
        }
    }

    fn event_of(&self, note: Note) -> ClusterEvent {
        match note {
            Note::Placed { job, attempt, node, why, requeues, failures, history } => {
                tracing::debug!(%job, %attempt, node, why, "placed");
                let mut event = self.events.event(Level::Info, EventKind::JobPlaced, why);
                (event.job, event.attempt, event.node, event.requeues, event.failures) =
                    (Some(job), Some(attempt), Some(node), requeues, failures);
                event.history = history;
                event
            }
            Note::Lost { job, attempt, node, reason, requeues, failures, history } => {
                tracing::warn!(%job, %attempt, node, reason, "attempt lost: the job comes back");
                let mut event = self.events.event(Level::Warn, EventKind::AttemptLost, reason);
                (event.job, event.attempt, event.node, event.requeues, event.failures) =
                    (Some(job), Some(attempt), Some(node), requeues, failures);
                event.history = history;
                event
            }
        }
    }

    async fn tell_jetstream(&self, ack_subject: String, words: String) {
        if let Err(error) = self.nats.client.publish(ack_subject, words.into()).await {
            tracing::debug!(%error, "JetStream was not told: it delivers the job again");
        }
    }

    fn aside(&self, task: impl Future<Output = ()> + Send + 'static) {
        let permits = Arc::clone(&self.side_tasks);
        self.tasks.spawn(async move {
            if let Ok(_permit) = permits.acquire().await {
                task.await;
            }
        });
    }

    /// Writes the dead letter, commits the job as dead, acknowledges: in this order, so that no step is lost with us.
    fn bury(&self, held: Held, reason: String, last_error: String) {
        tracing::error!(job = %held.spec.id, name = held.spec.name, reason, last_error, "job is dead");
        let (nats, events, ttl_s) = (self.nats.clone(), self.events.clone(), self.terminal_ttl_s);
        let counter = self.dead_letters.jobs.clone();
        self.aside(async move {
            let now_ms = unix_ms();
            let letter = DeadLetter {
                id: held.spec.id.to_string(),
                subject: subjects::queue(held.spec.priority, held.spec.class(), held.spec.id),
                reason: reason.clone(),
                last_error: last_error.clone(),
                at_ms: now_ms,
                spec: Some(held.spec.clone()),
                body_start: Vec::new(),
            };
            let record = TerminalRecord {
                job: held.spec.id,
                name: held.spec.name.clone(),
                kind: held.spec.kind.clone(),
                priority: held.spec.priority,
                state: JobState::Dead,
                attempt: None,
                open_seq: held.open_seq,
                submitted_at_ms: held.spec.submitted_at_ms,
                ended_at_ms: now_ms,
                result: String::new(),
                reason: if last_error.is_empty() { reason.clone() } else { format!("{reason}: {last_error}") },
                failures: held.failures,
                requeues: held.requeues,
                history: held.history.clone(),
            };
            if !write_letter(&nats, &letter, &counter).await || !commit_surely(&nats, &record, ttl_s, held.traceparent.as_deref()).await {
                return;
            }
            let _ = nats.client.publish(held.ack_subject.clone(), "+ACK".into()).await;
            let mut event = events.event(Level::Error, EventKind::JobDead, record.reason.clone());
            (event.job, event.failures, event.requeues, event.history) = (Some(record.job), held.failures, held.requeues, held.history);
            events.send(event).await;
        });
    }

    /// A message that is no job: dead letter with its first bytes, terminated, and its record closed if it had one.
    pub(crate) fn bury_poison(&self, message: async_nats::jetstream::Message, poison: Poison) {
        let so_far = self.poison.fetch_add(1, Ordering::Relaxed) + 1;
        // All of them are in DEAD; a flood must not become one of log lines.
        if so_far.is_power_of_two() {
            tracing::error!(subject = %message.subject, reason = poison.reason, so_far, "poison in the queue: sent to DEAD");
        }
        let (nats, ttl_s, counter) = (self.nats.clone(), self.terminal_ttl_s, self.dead_letters.poison.clone());
        self.aside(async move {
            let job = subjects::queued_job_id(&message.subject);
            let fallback = || message.info().map_or_else(|_| "unknown".to_owned(), |info| format!("seq-{}", info.stream_sequence));
            let letter = DeadLetter {
                id: job.map_or_else(fallback, |job| job.to_string()),
                subject: message.subject.to_string(),
                reason: poison.reason.clone(),
                last_error: String::new(),
                at_ms: unix_ms(),
                spec: None,
                body_start: message.payload[..message.payload.len().min(MAX_BODY_START)].to_vec(),
            };
            if !write_letter(&nats, &letter, &counter).await {
                return;
            }
            if let Some(job) = job
                && let Ok(Some(found)) = read_record(&nats, job).await
                && found.is_open
                && poison.open_seq.is_none_or(|seq| seq == found.seq)
            {
                let record = records::dead_from_marker(job, &found, &poison.reason);
                commit_surely(&nats, &record, ttl_s, None).await;
            }
            if let Some(reply) = message.reply.clone() {
                let _ = nats.client.publish(reply, format!("+TERM {}", poison.reason).into()).await;
            }
        });
    }
}

/// False when the letter could not be written: the message stays, comes again, and is tried again.
async fn write_letter(nats: &Nats, letter: &DeadLetter, counter: &IntCounter) -> bool {
    let mut headers = codec::headers_for::<DeadLetter>();
    headers.insert(header::NATS_MESSAGE_ID, format!("dead-{}", letter.id));
    let written = nats.publish_durable_with(subjects::dead(&letter.id), headers, letter).await;
    match &written {
        Ok(_) => counter.inc(),
        Err(error) => tracing::warn!(id = letter.id, %error, "the dead letter could not be written yet"),
    }
    written.is_ok()
}

async fn commit_surely(nats: &Nats, record: &TerminalRecord, ttl_s: u64, traceparent: Option<&str>) -> bool {
    for _ in 0..TRIES {
        match record::commit(nats, record, ttl_s, traceparent).await {
            Ok(Commit::Committed) => return true,
            Ok(Commit::TooLate(state)) => {
                tracing::warn!(job = %record.job, ?state, "the job had already ended");
                return true;
            }
            Err(error) => tracing::warn!(job = %record.job, %error, "its end could not be committed yet"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    false
}
