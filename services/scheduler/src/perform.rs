//! Does what the engine decided: assignments are batched by worker, notes into one event, the rest sent one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::header;
use async_nats::jetstream::AckKind;
use faultline_engine::job::{Assignment, AttemptId, JobId, JobSpec, JobState, Params};
use faultline_engine::scheduler::{Action, Held, Note, Violation};
use faultline_protocol::messages::{AssignBatch, ClusterEvent, DeadLetter, EventKind, KillAttempts, Level, SyncOrder, TerminalRecord};
use faultline_protocol::streams;
use faultline_protocol::subjects::{self, ControlVerb};
use faultline_protocol::{batch, codec};
use faultline_runtime::connect::PublishError;
use faultline_runtime::connection::{Connection, nak};
use faultline_runtime::events::EventSink;
use faultline_runtime::record::{self, Commit, read_record};
use faultline_runtime::seldom::Seldom;
use faultline_runtime::wire::Delivered;
use futures::future::join_all;
use prometheus::IntCounter;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::intake::{Input, Poison};
use crate::ledger::{Extra, terminate};
use crate::metrics::DeadLetters;
use crate::term::Term;
use crate::{pending, program, records, trace};

/// What an answer to a sync has around an assignment: one that is sent with so much to spare can be told of, too.
const SYNC_BYTES: usize = 1024;
/// Groups of read-backs, and deaths, under way at once.
const SIDE_TASKS: usize = 64;
/// Records that are read together at most.
const READ_TOGETHER: usize = 16;
const MAX_BODY_START: usize = 1024;
const TRIES: usize = 5;
const LOG_EVERY: Duration = Duration::from_secs(5);
const LIST_PAUSE: Duration = Duration::from_millis(250);
const REPORT_LIMIT: Duration = Duration::from_secs(60);

/// An assignment that no message can carry.
#[derive(Debug)]
pub(crate) struct Unsendable {
    pub(crate) job: JobId,
    pub(crate) attempt: AttemptId,
    pub(crate) reason: String,
}

/// Performs actions for one term of leadership.
pub(crate) struct Performer {
    pub(crate) nats: Connection,
    pub(crate) events: EventSink,
    pub(crate) epoch: u64,
    /// Which JOBS this term deals with. In another one the ack subjects that it holds mean other jobs.
    jobs_generation: u64,
    /// Epochs that workers have heard of, for the task that has the lease.
    raises: mpsc::Sender<u64>,
    pub(crate) terminal_ttl_s: u64,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) tasks: TaskTracker,
    extras: mpsc::UnboundedSender<Extra>,
    /// Sequences of jobs of which JOBS has more than one message.
    doubles: Mutex<BTreeSet<u64>>,
    side_tasks: Arc<Semaphore>,
    dead_letters: DeadLetters,
    /// Log lines about messages that are not jobs.
    poison: Seldom,
}

impl Performer {
    pub(crate) fn new(
        term: &Term<'_>,
        inputs: mpsc::Sender<Input>,
        extras: mpsc::UnboundedSender<Extra>,
        dead_letters: DeadLetters,
    ) -> Self {
        let side_tasks = Arc::new(Semaphore::new(SIDE_TASKS));
        Self {
            nats: term.nats.clone(),
            events: term.events.clone(),
            epoch: term.epoch,
            jobs_generation: term.nats.generation(streams::JOBS).number,
            raises: term.raises.clone(),
            terminal_ttl_s: term.settings.terminal_ttl_s,
            inputs,
            tasks: term.tasks.clone(),
            extras,
            doubles: Mutex::new(BTreeSet::new()),
            side_tasks,
            dead_letters,
            poison: Seldom::new(LOG_EVERY),
        }
    }

    pub(crate) fn jobs_generation(&self) -> u64 {
        self.jobs_generation
    }

    /// Returns what could never be sent, for the engine to give up.
    pub(crate) async fn perform(&self, actions: Vec<Action>) -> Vec<Unsendable> {
        let mut assignments: BTreeMap<String, Vec<Assignment>> = BTreeMap::new();
        let mut kills: BTreeMap<(String, String), Vec<AttemptId>> = BTreeMap::new();
        let (mut notes, mut read_backs) = (Vec::new(), Vec::new());
        for action in actions {
            match action {
                Action::Assign { worker, assignment } => {
                    trace::tell_placement(self.nats.tracer(), &assignment);
                    assignments.entry(worker).or_default().push(*assignment);
                }
                Action::Kill { worker, attempt, reason } => kills.entry((worker, reason)).or_default().push(attempt),
                Action::Ack { ack_subject } => self.acknowledge(ack_subject).await,
                Action::InProgress { ack_subject } => self.tell_jetstream(ack_subject, AckKind::Progress).await,
                Action::Nak { ack_subject, delay_ms } => self.tell_jetstream(ack_subject, nak(delay_ms)).await,
                Action::ReadBack { job } => read_backs.push(job),
                Action::Die { job, reason, last_error } => self.bury(*job, reason, last_error),
                Action::AskSync { worker } => self.ask_for_sync(subjects::ctl(&worker, ControlVerb::Sync)).await,
                Action::ListPending => self.list_pending(),
                Action::RaiseEpoch { above } => self.raise_epoch(above),
                Action::Report(violation) => self.report(violation),
                Action::Note(note) => notes.push(note),
                Action::Ask(question) => self.spawn(program::ask(self.nats.clone(), question, self.inputs.clone())),
                Action::Tell(news) => program::tell(&self.events, &news).await,
            }
        }
        read_backs.chunks(READ_TOGETHER).for_each(|jobs| self.read_back(jobs.to_vec()));
        let (read_back, others): (Vec<Note>, Vec<Note>) = notes.into_iter().partition(Note::is_read_back);
        let (interrupted, others): (Vec<Note>, Vec<Note>) = others.into_iter().partition(|note| matches!(note, Note::Lost { .. }));
        // First, and on the same connection: what the worker writes of the attempt comes after its placement.
        for note in read_back {
            self.events.send(self.event_of(note)).await;
        }
        let unsendable = self.send_assignments(assignments).await;
        for ((worker, reason), attempts) in kills {
            tracing::warn!(worker, attempts = attempts.len(), reason, "killing attempts");
            let parts = self.nats.parts(attempts, |attempts| KillAttempts { epoch: self.epoch, attempts, reason: reason.clone() });
            for order in &parts.messages {
                if let Err(error) = self.nats.publish(subjects::ctl(&worker, ControlVerb::Kill), order).await {
                    tracing::debug!(worker, %error, "kill order not sent: heartbeats will show the attempt");
                }
            }
        }
        let never_placed: BTreeSet<AttemptId> = unsendable.iter().map(|one| one.attempt).collect();
        let is_true = |note: &Note| !matches!(note, Note::Placed { attempt, .. } if never_placed.contains(attempt));
        for note in interrupted {
            self.events.send_interrupted(self.event_of(note)).await;
        }
        self.events.send_many(others.into_iter().filter(is_true).map(|note| self.event_of(note)).collect()).await;
        unsendable
    }

    /// Asks the workers that hear `subject` what they run, and tells them under which epoch.
    pub(crate) async fn ask_for_sync(&self, subject: String) {
        let order = SyncOrder { epoch: self.epoch };
        if let Err(error) = self.nats.publish(subject, &order).await {
            tracing::debug!(%error, "the workers were not asked what they run");
        }
    }

    /// Until it works: the search for unclaimed messages waits for the answer.
    fn list_pending(&self) {
        let (nats, inputs) = (self.nats.clone(), self.inputs.clone());
        self.spawn(async move {
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

    /// The one epoch that waits to be heard of is the highest: another one is asked for only when a worker names a higher one.
    fn raise_epoch(&self, above: u64) {
        tracing::warn!(
            epoch = self.epoch,
            above,
            "workers know a higher epoch: the bucket LEASE was recreated, or restored from an older copy"
        );
        let raises = self.raises.clone();
        self.spawn(async move {
            // The receiver is gone when the term is over.
            let _ = raises.send(above).await;
        });
    }

    /// A broken invariant stops nothing; it must be seen, by people and by `audit`.
    fn report(&self, violation: Violation) {
        tracing::error!(node = violation.node(), %violation, "an invariant is broken");
        let mut event = self.events.event(Level::Error, EventKind::InvariantViolated, violation.to_string());
        (event.node, event.job) = (Some(violation.node().to_owned()), violation.job());
        let events = self.events.clone();
        self.spawn(async move {
            let _ = events.send_durably(event, REPORT_LIMIT).await;
        });
    }

    async fn send_assignments(&self, assignments: BTreeMap<String, Vec<Assignment>>) -> Vec<Unsendable> {
        let mut unsendable = Vec::new();
        let most = self.nats.most_bytes().saturating_sub(SYNC_BYTES);
        for (worker, list) in assignments {
            let parts = batch::parts(list, most, |assignments| AssignBatch { epoch: self.epoch, assignments });
            for batch in &parts.messages {
                if let Err(error) = self.nats.publish(subjects::assign(&worker), batch).await {
                    tracing::debug!(worker, %error, "assignments not sent: heartbeats will show it");
                }
            }
            for (assignment, bytes) in parts.too_large {
                let reason = format!(
                    "its assignment takes {bytes} bytes, more than the {most} that the NATS server allows: shorten its parameters, or raise \
                     the server's max_payload"
                );
                self.nats.note_unsent("an assignment", &reason);
                unsendable.push(Unsendable { job: assignment.spec.id, attempt: assignment.attempt, reason });
            }
        }
        unsendable
    }

    fn event_of(&self, note: Note) -> ClusterEvent {
        match note {
            Note::Placed { job, attempt, node, choice, path } => {
                let why = choice.words();
                tracing::debug!(%job, %attempt, node, why, "placed");
                let mut event = self.events.event(Level::Info, EventKind::JobPlaced, why);
                // When it was placed, as its path says, not when that is told.
                event.at_ms = attempt.unix_ms();
                (event.job, event.attempt, event.node) = (Some(job), Some(attempt), Some(node));
                event.with_path(path)
            }
            Note::Lost { job, attempt, node, reason, path } => {
                tracing::warn!(%job, %attempt, node, reason, "attempt interrupted: the job comes back");
                let mut event = self.events.event(Level::Warn, EventKind::AttemptLost, reason);
                (event.job, event.attempt, event.node) = (Some(job), Some(attempt), Some(node));
                event.with_path(path)
            }
        }
    }

    /// The job was delivered under another sequence than it is held with: JOBS has more than one message of it.
    pub(crate) fn note_double(&self, held: &str, delivered: &str) {
        let (Some(held), Some(delivered)) = (subjects::ack_seq(held), subjects::ack_seq(delivered)) else { return };
        if held != delivered {
            tracing::warn!(held, delivered, "a job was queued twice: it runs once");
            self.doubles.lock().unwrap_or_else(PoisonError::into_inner).extend([held, delivered]);
        }
    }

    /// The job has ended: its message is a leftover. A further message of a job is none that its end accounts for.
    async fn acknowledge(&self, ack_subject: String) {
        let double = subjects::ack_seq(&ack_subject).filter(|seq| self.doubles.lock().unwrap_or_else(PoisonError::into_inner).remove(seq));
        match double {
            Some(seq) => self.remove_extra(Extra { seq, ack_subject, refused: None }),
            None => acknowledge(&self.nats, self.jobs_generation, ack_subject).await,
        }
    }

    fn remove_extra(&self, extra: Extra) {
        // The ledger ends with the term: then the message is delivered again.
        let _ = self.extras.send(extra);
    }

    async fn tell_jetstream(&self, ack_subject: String, verb: AckKind) {
        if let Err(error) = self.nats.tell(ack_subject, verb).await {
            tracing::debug!(%error, "acknowledgement not sent: JetStream delivers the job again");
        }
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.nats.spawner().spawn_tracked(&self.tasks, task);
    }

    /// Tells of records that were asked for together when all are there: their jobs go into one placement pass, in which the oldest goes first.
    fn read_back(&self, jobs: Vec<JobId>) {
        let (nats, inputs) = (self.nats.clone(), self.inputs.clone());
        self.aside(async move {
            let reads = join_all(jobs.iter().map(|job| records::read_back(&nats, *job))).await;
            let _ = inputs.send(Input::RecordsRead(jobs.into_iter().zip(reads).collect())).await;
        });
    }

    fn aside(&self, task: impl Future<Output = ()> + Send + 'static) {
        let permits = Arc::clone(&self.side_tasks);
        self.spawn(async move {
            if let Ok(_permit) = permits.acquire().await {
                task.await;
            }
        });
    }

    /// Writes the dead letter, commits the job as dead, acknowledges: in this order, so that no step is lost with us.
    fn bury(&self, held: Held, reason: String, last_error: String) {
        tracing::error!(job = %held.spec.id, name = held.spec.name, reason, last_error, "job given up");
        let (nats, events, ttl_s) = (self.nats.clone(), self.events.clone(), self.terminal_ttl_s);
        let (counter, extras) = (self.dead_letters.jobs.clone(), self.extras.clone());
        let jobs_generation = self.jobs_generation;
        self.aside(async move {
            let now_ms = nats.unix_ms();
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
                reason: if last_error.is_empty() { reason.clone() } else { format!("{reason}: {last_error}") },
                ..TerminalRecord::of(&held.spec, held.open_seq, JobState::Dead, now_ms, held.path.clone())
            };
            if !write_letter(&nats, &letter, &counter).await {
                return;
            }
            let Some(committed) = commit_surely(&nats, &record, ttl_s).await else { return };
            match (committed, subjects::ack_seq(&held.ack_subject)) {
                (Commit::TooLate(None) | Commit::NoRecord, Some(seq)) => {
                    let _ = extras.send(Extra { seq, ack_subject: held.ack_subject.clone(), refused: None });
                }
                _ => acknowledge(&nats, jobs_generation, held.ack_subject.clone()).await,
            }
            let mut event = events.event(Level::Error, EventKind::JobDead, record.reason.clone());
            event.job = Some(record.job);
            events.send(event.with_path(held.path)).await;
        });
    }

    /// An unreadable message: dead letter with its first bytes, terminated, and its record closed if it had one.
    pub(crate) fn bury_poison(&self, message: Delivered, poison: Poison) {
        // All of them are in DEAD; a flood must not become one of log lines.
        if let Some(kept_back) = self.poison.admit(Instant::now()) {
            tracing::error!(subject = %message.subject, reason = poison.reason, kept_back, "unreadable message in the queue: sent to DEAD");
        }
        let (nats, ttl_s, counter) = (self.nats.clone(), self.terminal_ttl_s, self.dead_letters.poison.clone());
        let extras = self.extras.clone();
        self.aside(async move {
            let job = subjects::queued_job_id(&message.subject);
            let fallback = || message.info.as_ref().map_or_else(|_| "unknown".to_owned(), |info| format!("seq-{}", info.seq));
            let letter = DeadLetter {
                id: job.map_or_else(fallback, |job| job.to_string()),
                subject: message.subject.to_string(),
                reason: poison.reason.clone(),
                last_error: String::new(),
                at_ms: nats.unix_ms(),
                spec: None,
                body_start: message.payload[..message.payload.len().min(MAX_BODY_START)].to_vec(),
            };
            if !write_letter(&nats, &letter, &counter).await {
                return;
            }
            // Without a job whose end accounts for it, the ledger counts it before it is removed.
            let mut is_end = false;
            if let Some(job) = job
                && let Ok(Some(found)) = read_record(&nats, job).await
                && !found.is_open
            {
                is_end = found.terminal_state() == Some(JobState::Dead);
            } else if let Some(job) = job
                && let Ok(Some(found)) = read_record(&nats, job).await
                && poison.open_seq.is_none_or(|seq| seq == found.seq)
            {
                let record = records::dead_from_marker(job, &found, &poison.reason, nats.unix_ms());
                is_end = commit_surely(&nats, &record, ttl_s).await == Some(Commit::Committed);
            }
            let Some(reply) = message.reply.clone().map(|reply| reply.to_string()) else { return };
            match subjects::ack_seq(&reply) {
                Some(seq) if !is_end => drop(extras.send(Extra { seq, ack_subject: reply, refused: Some(poison.reason) })),
                _ => drop(nats.tell(reply, terminate(&poison.reason)).await),
            }
        });
    }
}

/// Says that a message of JOBS is done with. In a JOBS that was made anew, or went back, the same sequence is another job's: there
/// nothing is said. What is not acknowledged comes again, and is found ended.
async fn acknowledge(nats: &Connection, jobs_generation: u64, ack_subject: String) {
    if !nats.is_current(streams::JOBS, jobs_generation) {
        return tracing::debug!(ack_subject, "not acknowledged: the message may be from an earlier JOBS");
    }
    if let Err(error) = nats.tell(ack_subject, AckKind::Ack).await {
        tracing::debug!(%error, "acknowledgement not sent: JetStream delivers the job again");
    }
}

/// False when the letter could not be written: the message stays, comes again, and is tried again.
async fn write_letter(nats: &Connection, letter: &DeadLetter, counter: &IntCounter) -> bool {
    let mut headers = codec::headers_for::<DeadLetter>();
    headers.insert(header::NATS_MESSAGE_ID, format!("dead-{}", letter.id));
    let mut written = nats.publish_durable_with(subjects::dead(&letter.id), headers.clone(), letter).await;
    if let Err(PublishError::TooLarge(_)) = &written
        && let Some(spec) = &letter.spec
    {
        // The parameters are what can be so large; the reason must be kept.
        let spec = Some(JobSpec { params: Params::new(), ..spec.clone() });
        let last_error = format!("{} (the parameters are too large for this letter)", letter.last_error).trim_start().to_owned();
        let shorter = DeadLetter { spec, last_error, ..letter.clone() };
        written = nats.publish_durable_with(subjects::dead(&letter.id), headers, &shorter).await;
    }
    match &written {
        Ok(_) => counter.inc(),
        Err(error) => tracing::warn!(id = letter.id, %error, "the dead letter could not be written yet"),
    }
    written.is_ok()
}

async fn commit_surely(nats: &Connection, record: &TerminalRecord, ttl_s: u64) -> Option<Commit> {
    for _ in 0..TRIES {
        match record::commit(nats, record, ttl_s).await {
            Ok(Commit::Committed) => return Some(Commit::Committed),
            Ok(Commit::TooLate(state)) => {
                tracing::warn!(job = %record.job, ?state, "the job had already ended");
                return Some(Commit::TooLate(state));
            }
            Ok(Commit::NoRecord) => {
                tracing::warn!(job = %record.job, "the job has no record in RESULTS: its end is in DEAD alone");
                return Some(Commit::NoRecord);
            }
            Err(error) => tracing::warn!(job = %record.job, %error, "its end could not be committed yet"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    None
}
