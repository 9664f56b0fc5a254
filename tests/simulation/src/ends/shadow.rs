//! What really happened, as no process of the cluster knows it, and the promises that are held against it after every event.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use faultline_engine::ends::{Gen, PackTicket, Snapshot, TaskEntry, TaskKind, Ticket};
use faultline_engine::job::{AttemptId, JobId, PackId};

use super::EndsBug;
use super::message::{Assignment, Logged, Pack, Queued, retry_delay_ms};
use super::proc::{EPOCH_MS, Proc};
use super::truth::{Effect, Truth};

/// A leader may believe for so long that an attempt still runs.
const STALE_MS: u64 = 8_000;
const ID_AGE_MS: u64 = 60_000;
const REMEMBERED_MS: u64 = 130_000;
/// Planted: the time of all messages, near enough to all ids.
const SAME_TS: u64 = (EPOCH_MS + 20_000) * 1_000_000;

/// Why a message is no longer in JOBS without having been acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    Tail,
    Anew,
    Purged,
    Older,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    Here,
    Acknowledged,
    Gone(Gone),
}

/// A message that JOBS has or had.
pub(crate) struct Message {
    /// Its ticket, as readers see it.
    read: PackTicket,
    /// Its id is too far from the time at which it was stored first.
    is_too_old: bool,
    pub(crate) queued: Rc<Queued>,
    pub(crate) whereabouts: Whereabouts,
    /// Since when LEDGER says that a leader has seen it.
    pub(crate) seen_ms: Option<u64>,
}

impl Message {
    /// How many jobs it brings; one that cannot be read brings one of another name.
    pub(crate) fn count(&self) -> u16 {
        self.queued.pack.tasks()
    }

    /// Its jobs may end under another name than their own.
    pub(crate) fn has_stand_in(&self) -> bool {
        !self.queued.pack.is_readable() || self.is_too_old
    }

    pub(crate) fn job(&self, idx: u16) -> JobId {
        JobId::of(self.queued.pack.id, idx, self.count())
    }

    pub(crate) fn is_named(&self, pack: PackId) -> bool {
        self.queued.pack.id == pack || self.read.stand_in() == pack
    }

    /// The jobs that have ended under no name.
    pub(crate) fn unended(&self, truth: &Truth) -> Vec<JobId> {
        let stand_in = |idx| JobId::of(self.read.stand_in(), idx, self.count());
        let has_ended = |idx| truth.jobs.contains_key(&self.job(idx)) || (self.has_stand_in() && truth.jobs.contains_key(&stand_in(idx)));
        (0..self.count()).filter(|idx| !has_ended(*idx)).map(|idx| self.job(idx)).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    Working,
    Committed,
    Failed,
    /// Its worker died or was told to stop.
    Stopped(u64),
}

pub(crate) struct Attempt {
    worker: Proc,
    began_ms: u64,
    script_timeout_ms: u64,
    run: Run,
}

pub(crate) struct Shadow {
    bug: Option<EndsBug>,
    broken: Option<String>,
    pub(crate) messages: BTreeMap<PackTicket, Message>,
    /// Packs that were submitted, in their order: id and count.
    pub(crate) submitted: BTreeMap<usize, (PackId, u16)>,
    pub(crate) confirmed: BTreeMap<PackId, Rc<Pack>>,
    pub(crate) cancelled: BTreeSet<JobId>,
    /// Attempts that a worker has invented, with the ticket that it named, and when.
    pub(crate) lies: BTreeMap<AttemptId, (PackTicket, u64)>,
    /// When the log stored a failure first.
    failed_ms: HashMap<(Ticket, AttemptId), u64>,
    /// A clock jumped, which may shorten a delay, or the log lost failures that a leader knows.
    pub(crate) has_no_delays: bool,
    log: Vec<Logged>,
    pub(crate) truth: Truth,
    attempts: HashMap<(Ticket, AttemptId), Attempt>,
    /// What was in ENDS and is not, although it was durable.
    pub(crate) is_log_lost: bool,
    pub(crate) is_jobs_older: bool,
    /// Packs that somebody published twice.
    pub(crate) twins: BTreeSet<PackId>,
    /// The log lost its tail, and with it what had been decided between two messages of one pack.
    is_log_cut: bool,
    /// Packs of which a message was lost by JOBS, at some time.
    were_gone: BTreeSet<PackId>,
    pub(crate) last_end_ms: u64,
    pub(crate) overlaps: u64,
    pub(crate) ran: u64,
}

impl Shadow {
    pub(crate) fn new(bug: Option<EndsBug>) -> Self {
        Self {
            bug,
            broken: None,
            messages: BTreeMap::new(),
            submitted: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            lies: BTreeMap::new(),
            failed_ms: HashMap::new(),
            has_no_delays: false,
            log: Vec::new(),
            truth: Truth::default(),
            attempts: HashMap::new(),
            is_log_lost: false,
            is_jobs_older: false,
            twins: BTreeSet::new(),
            is_log_cut: false,
            were_gone: BTreeSet::new(),
            last_end_ms: 0,
            overlaps: 0,
            ran: 0,
        }
    }

    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    pub(crate) fn broke(&mut self, promise: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(promise());
        }
    }

    pub(crate) fn log_from_beginning(&self) -> &[Logged] {
        &self.log
    }

    pub(crate) fn on_submitted(&mut self, pack: &Pack) {
        let nth = self.submitted.len();
        if !self.submitted.values().any(|(id, _)| *id == pack.id) {
            self.submitted.insert(nth, (pack.id, pack.tasks()));
        }
    }

    pub(crate) fn on_confirmed(&mut self, pack: &Rc<Pack>) {
        self.confirmed.insert(pack.id, Rc::clone(pack));
    }

    pub(crate) fn on_stored(&mut self, message: &Rc<Queued>) {
        let is_far = message.pack.id.unix_ms().abs_diff(message.ticket.ts / 1_000_000) > ID_AGE_MS;
        let first = message.id.again.and_then(|first| self.messages.get(&first));
        let is_too_old = first.map_or(is_far, |first| first.is_too_old);
        let (read, queued) = (as_read(self.bug, message.ticket), Rc::clone(message));
        self.messages.insert(message.ticket, Message { read, is_too_old, queued, whereabouts: Whereabouts::Here, seen_ms: None });
    }

    pub(crate) fn on_acknowledged(&mut self, message: &Rc<Queued>, now: u64) {
        // No leader has looked at JOBS since a worker said that it had ended, and by now the log's readers have forgotten under which name.
        let is_forgotten = self.lies.values().any(|(ticket, at)| *ticket == message.ticket && at + REMEMBERED_MS < now);
        if is_forgotten {
            self.were_gone.insert(message.pack.id);
        }
        let Some(known) = self.messages.get_mut(&message.ticket) else { return };
        known.whereabouts = Whereabouts::Acknowledged;
        let has_stand_in = known.has_stand_in();
        let has_ended = known.unended(&self.truth).is_empty() || (has_stand_in && self.has_ended_elsewhere(message.pack.id));
        if !has_ended && !is_forgotten && !self.is_elsewhere(message) && !self.is_log_lost {
            let (ticket, pack) = (message.ticket, message.pack.id);
            self.broke(|| format!("{ticket}, pack {pack}, was acknowledged before all its jobs had ended"));
        }
    }

    /// A message that cannot be read, or is too old, has another name under each ticket.
    pub(crate) fn has_ended_elsewhere(&self, pack: PackId) -> bool {
        let mut copies = self.messages.values().filter(|message| message.queued.pack.id == pack);
        copies.any(|message| message.unended(&self.truth).is_empty())
    }

    /// Whether JOBS has the same pack under another ticket, or had it until an older copy of JOBS was put back: then the loss is to be named.
    fn is_elsewhere(&self, message: &Queued) -> bool {
        let mut others =
            self.messages.values().filter(|other| other.queued.ticket != message.ticket && other.queued.pack.id == message.pack.id);
        others.any(|other| matches!(other.whereabouts, Whereabouts::Here | Whereabouts::Gone(Gone::Older)))
    }

    pub(crate) fn on_gone(&mut self, gone: &[Rc<Queued>], how: Gone) {
        for message in gone {
            if let Some(known) = self.messages.get_mut(&message.ticket) {
                known.whereabouts = Whereabouts::Gone(how);
                self.were_gone.insert(message.pack.id);
            }
        }
    }

    pub(crate) fn has_gone(&self, pack: PackId) -> bool {
        self.were_gone.contains(&pack)
    }

    /// These are in JOBS, whatever was before.
    pub(crate) fn on_back(&mut self, present: &[Rc<Queued>]) {
        for message in present {
            if let Some(known) = self.messages.get_mut(&message.ticket) {
                known.whereabouts = Whereabouts::Here;
            }
        }
    }

    pub(crate) fn on_saved(&mut self, snapshot: &Snapshot, now: u64) {
        for (ticket, message) in &mut self.messages {
            let is_seen = snapshot.seen().get(&ticket.r#gen).is_some_and(|seen| seen.last_seq >= ticket.seq);
            if is_seen && !matches!(message.whereabouts, Whereabouts::Gone(_)) {
                message.seen_ms.get_or_insert(now);
            }
        }
    }

    /// LEDGER has nothing that was stored since.
    pub(crate) fn on_ledger_lost(&mut self, since: u64) {
        for message in self.messages.values_mut() {
            message.seen_ms = message.seen_ms.filter(|seen_ms| *seen_ms < since);
        }
    }

    pub(crate) fn on_appended(&mut self, message: Logged, now: u64) {
        let mut truth = std::mem::take(&mut self.truth);
        let doubles = truth.double.len();
        truth.apply(&message, |truth, effect| self.on_effect(truth, &effect, now));
        // JOBS lost the message of a pack that a worker still ran, and no process could know: the second end is an alarm, and the first one counts.
        if let Some(job) = truth.double.get(doubles)
            && !self.is_log_lost
            && !self.has_gone(job.pack())
            && !(self.is_log_cut && self.twins.contains(&job.pack()))
        {
            self.broke(|| format!("job {job} ended twice"));
        }
        self.truth = truth;
        self.log.push(message);
    }

    pub(crate) fn on_log_cut(&mut self, last_pos: u64) {
        self.has_no_delays = true;
        self.is_log_cut = true;
        self.log.retain(|message| message.pos <= last_pos);
        self.fold_again();
    }

    pub(crate) fn on_log_replaced(&mut self, log: Vec<Logged>) {
        self.has_no_delays = true;
        self.is_log_lost |= log.len() != self.log.len();
        self.log = log;
        self.fold_again();
    }

    fn fold_again(&mut self) {
        self.truth = Truth::default();
        for message in &self.log {
            self.truth.apply(message, |_, _| {});
        }
    }

    fn on_effect(&mut self, truth: &Truth, effect: &Effect<'_>, now: u64) {
        let entry = effect.entry;
        self.last_end_ms = now;
        if matches!(entry.kind, TaskKind::Failed { .. }) {
            let attempt = entry.attempt.unwrap_or(AttemptId::from_u128(0));
            self.failed_ms.entry((entry.ticket, attempt)).or_insert(now);
        }
        if entry.attempt.is_some_and(|attempt| self.lies.contains_key(&attempt)) {
            return;
        }
        let job = JobId::of(entry.pack, entry.ticket.idx, entry.count);
        let run = entry.attempt.and_then(|attempt| self.attempts.get(&(entry.ticket, attempt)));
        match entry.kind {
            TaskKind::Committed => {
                if run.is_none_or(|attempt| attempt.run != Run::Committed) {
                    self.broke(|| format!("job {job} was committed without having been done"));
                }
            }
            TaskKind::Failed { .. } if effect.is_leaders => {
                let was_late = run.is_some_and(|attempt| attempt.may_be_late(now));
                if !was_late {
                    self.broke(|| format!("job {job} failed for its time limit, and had not run so long"));
                }
            }
            TaskKind::Failed { .. } => {
                if run.is_none_or(|attempt| attempt.run != Run::Failed) {
                    self.broke(|| format!("job {job} failed, and had not"));
                }
            }
            TaskKind::Dead => self.check_dead(truth, entry, job),
            TaskKind::Cancelled => {
                if !self.cancelled.contains(&job) {
                    self.broke(|| format!("job {job} was cancelled without an order"));
                }
            }
            TaskKind::Void { .. } => {}
        }
    }

    fn check_dead(&mut self, truth: &Truth, entry: &TaskEntry, job: JobId) {
        let is_it = |message: &&Message| message.read == entry.ticket.of_pack() && message.is_named(entry.pack);
        let Some(message) = self.messages.values().find(is_it) else {
            return self.broke(|| format!("job {job} was given up under a ticket that JOBS never gave"));
        };
        let pack = &message.queued.pack;
        if message.has_stand_in() || pack.is_poison {
            return;
        }
        let (failures, script) = (truth.failures_of(entry.ticket), pack.jobs[usize::from(entry.ticket.idx)]);
        if !self.is_log_lost && failures <= script.max_retries && !truth.has_failed_for_good(entry.ticket) {
            self.broke(|| format!("job {job} was given up after {failures} failures, and {} retries are allowed", script.max_retries));
        }
    }

    pub(crate) fn on_began(&mut self, worker: Proc, assignment: &Assignment, now: u64) {
        let ticket = assignment.ticket;
        self.ran += 1;
        if self.attempts.iter().any(|((other, _), attempt)| *other == ticket && attempt.run == Run::Working) {
            self.overlaps += 1;
        }
        let attempt = Attempt { worker, began_ms: now, script_timeout_ms: assignment.script.timeout_ms, run: Run::Working };
        self.attempts.insert((ticket, assignment.attempt), attempt);
        // Of those that its leader knew.
        let known = self.truth.failures.get(&ticket).filter(|known| known.len() == assignment.failures as usize);
        let last_ms = known.and_then(|known| known.iter().filter_map(|attempt| self.failed_ms.get(&(ticket, *attempt))).max());
        if last_ms.is_some_and(|last_ms| now < last_ms + retry_delay_ms(assignment.failures)) && !self.has_no_delays {
            self.broke(|| format!("a job of {} was placed before its delay was over", ticket.of_pack()));
        }
        if assignment.failures > assignment.script.max_retries {
            self.broke(|| format!("a job of {} was placed after {} failures", ticket.of_pack(), assignment.failures));
        }
    }

    pub(crate) fn on_ran(&mut self, ticket: Ticket, attempt: AttemptId, run: Run) {
        if let Some(attempt) = self.attempts.get_mut(&(ticket, attempt))
            && attempt.run == Run::Working
        {
            attempt.run = run;
        }
    }

    pub(crate) fn on_died(&mut self, of: Proc, now: u64) {
        for attempt in self.attempts.values_mut().filter(|attempt| attempt.worker == of && attempt.run == Run::Working) {
            attempt.run = Run::Stopped(now);
        }
    }
}

impl Attempt {
    /// Whether a leader may say that it was past its time limit.
    fn may_be_late(&self, now: u64) -> bool {
        let until_ms = match self.run {
            Run::Working => now,
            Run::Committed | Run::Failed => now,
            Run::Stopped(at_ms) => at_ms + STALE_MS,
        };
        until_ms.min(now) >= self.began_ms + self.script_timeout_ms
    }
}

/// A ticket as readers see it. With some bugs that is only a part of it.
pub(crate) fn as_read(bug: Option<EndsBug>, ticket: PackTicket) -> PackTicket {
    match bug {
        Some(EndsBug::FoldWithoutGen) => PackTicket { r#gen: Gen(0), ..ticket },
        Some(EndsBug::NoTimeInTicket) => PackTicket { ts: SAME_TS, ..ticket },
        Some(EndsBug::SequenceOnly) => PackTicket { r#gen: Gen(0), ts: SAME_TS, ..ticket },
        _ => ticket,
    }
}
