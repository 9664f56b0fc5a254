//! The fold: the first end of a ticket in the order of the log is its end, for every reader.
//!
//! A job is a task of a pack, whatever ticket the pack came under. A pack can come under two: its submitter repeats it, and the server has
//! forgotten that it had it. The first end that is not void is then the job's end as well. A second one ends its ticket and no job, and is
//! counted apart: it should not have run.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::changes::{Alarm, AlarmKind, Changes, Closed, Counts, Ended, Failed, Term};
use super::entry::{Entry, Looked, Republished, TaskEntry, TaskKind, WentBack};
use super::id::{Gen, PackTicket, Ticket};
use super::packs::{EndKind, Failure, Generation, Known, OpenPack, RecentPack, Tickets};
use super::tasks::Tasks;
use crate::job::{AttemptId, JobId, MAX_TASKS, PackId};

/// How long a pack is remembered after it closed. Its id may be repeated until it is 60 s old and may be 60 s ahead of the server's clock, and a
/// message that was sent by then may take a moment.
pub(super) const REMEMBERED_NS: u64 = 130_000_000_000;

/// The body of a message that could not be read, or its sender may not write there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// One message of the log.
#[derive(Debug, Clone, Copy)]
pub struct LogMessage<'a> {
    pub pos: u64,
    /// When the log stored it.
    pub ts: u64,
    /// It came on the subject that only leaders write.
    pub is_leaders: bool,
    /// A client had the server send it there: it has the headers of a stored message.
    pub is_copy: bool,
    pub body: Result<&'a [Entry], Malformed>,
}

/// Messages of the log were not told to the fold. What they say would be missing for ever, so the fold refuses to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log of ends cannot be followed: message {expected} is missing, and {found} comes next; begin again with the newest snapshot")]
pub struct Gap {
    pub expected: u64,
    pub found: u64,
}

/// A pack that closed, in the order of closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Closing {
    pub(super) r#gen: Gen,
    pub(super) seq: u64,
}

/// The log folded up to `pos`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fold {
    pub(super) pos: u64,
    /// When the log stored the message at `pos`, by which the log is recognised.
    pub(super) pos_ts: u64,
    /// The latest time of any message: the log's own clock, which never goes back.
    pub(super) clock_ts: u64,
    /// All that JOBS stored before has been looked at; none in a log without such entries, of which nothing is forgotten then.
    pub(super) looked_ts: Option<u64>,
    /// Packs that closed before were never told to this fold; 0 for one that began with the log.
    pub(super) known_from_ts: u64,
    pub(super) term: u64,
    pub(super) counts: Counts,
    pub(super) gens: BTreeMap<Gen, Generation>,
    pub(super) packs: BTreeMap<PackId, Tickets>,
    pub(super) closings: VecDeque<Closing>,
    /// Packs that the leader published again, with the time at which they came first.
    pub(super) republished: BTreeMap<PackId, u64>,
}

impl Fold {
    /// A fold of the whole log.
    pub fn new() -> Self {
        Self::default()
    }

    /// A fold of what is left of the log, which begins at `first_pos`. It does not know of packs that ended before.
    pub fn from_remains(first_pos: u64) -> Self {
        Self { pos: first_pos.saturating_sub(1), known_from_ts: if first_pos > 1 { u64::MAX } else { 0 }, ..Self::default() }
    }

    /// The position of the last message.
    pub fn pos(&self) -> u64 {
        self.pos
    }

    /// When the log stored that message.
    pub fn pos_ts(&self) -> u64 {
        self.pos_ts
    }

    /// The highest epoch of a term.
    pub fn term(&self) -> u64 {
        self.term
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Takes the messages in the order of their positions. One that was told before changes nothing.
    pub fn on_message(&mut self, message: LogMessage<'_>) -> Result<Changes, Gap> {
        let mut changes = Changes::default();
        if message.pos <= self.pos {
            return Ok(changes);
        }
        let expected = self.pos + 1;
        if message.pos != expected {
            return Err(Gap { expected, found: message.pos });
        }
        (self.pos, self.pos_ts) = (message.pos, message.ts);
        self.clock_ts = self.clock_ts.max(message.ts);
        if self.known_from_ts == u64::MAX {
            self.known_from_ts = message.ts;
        }
        self.forget();
        match message.body {
            Ok(entries) if !message.is_copy => {
                for (index, entry) in entries.iter().enumerate() {
                    self.on_entry(index, entry, message.is_leaders, &mut changes);
                }
            }
            Ok(_) | Err(Malformed) => self.counts.malformed += 1,
        }
        Ok(changes)
    }

    fn on_entry(&mut self, index: usize, entry: &Entry, is_leaders: bool, changes: &mut Changes) {
        if entry.is_leaders() && !is_leaders {
            self.counts.forged += 1;
            changes.alarms.push(Alarm { entry: index, kind: AlarmKind::Forged });
            return;
        }
        if let Entry::Term { epoch } = *entry {
            changes.terms.push(Term { epoch, is_new: epoch > self.term });
            self.term = self.term.max(epoch);
            return;
        }
        // A failure from a leader, for a time limit, is its decision as well.
        if is_leaders && entry.epoch() < self.term {
            self.counts.fenced += 1;
            changes.fenced.push(index);
            return;
        }
        match entry {
            Entry::Term { .. } => {}
            Entry::Task(task) => self.on_task(index, task, changes),
            Entry::WentBack(setback) => {
                self.gens.entry(setback.r#gen).or_default().went_back(*setback);
                changes.went_back.push(*setback);
            }
            Entry::Republished(Republished { ticket, is_stored: true, .. }) => {
                self.gens.entry(ticket.r#gen).or_default().settled.insert((ticket.seq, ticket.ts));
            }
            Entry::Republished(Republished { ticket, pack, .. }) => {
                // Said again when nothing told whether it was done, or when the copy landed on a used sequence as well: its age counts from
                // where it came first.
                if let Slot::Vacant(slot) = self.republished.entry(*pack) {
                    slot.insert(ticket.ts);
                    self.counts.republished += 1;
                }
            }
            Entry::Looked(Looked { ts, .. }) => self.looked_ts = self.looked_ts.max(Some(*ts)),
        }
    }

    fn on_task(&mut self, index: usize, task: &TaskEntry, changes: &mut Changes) {
        match self.judge_task(task) {
            Fit::New => {}
            Fit::Late => {
                self.counts.late += 1;
                return;
            }
            Fit::Conflict => {
                self.counts.conflict += 1;
                changes.alarms.push(Alarm { entry: index, kind: AlarmKind::Conflict });
                return;
            }
        }
        let (ticket, pack, idx) = (task.ticket.of_pack(), task.pack, task.ticket.idx);
        self.gens.entry(ticket.r#gen).or_default().saw(ticket.seq, ticket.ts);
        self.packs.entry(pack).and_modify(|tickets| tickets.add(ticket)).or_insert_with(|| Tickets::new(ticket));
        let kind = match task.kind {
            TaskKind::Failed { is_final } => return self.fail(index, task, is_final, changes),
            TaskKind::Committed => EndKind::Committed,
            TaskKind::Dead => EndKind::Dead,
            TaskKind::Cancelled => EndKind::Cancelled,
            TaskKind::Void { .. } => EndKind::Void,
        };
        let kind = match self.counted_elsewhere(ticket, pack, idx) {
            Some(first) if kind.counts() => {
                self.counts.double += 1;
                changes.alarms.push(Alarm { entry: index, kind: AlarmKind::Double { first } });
                EndKind::Void
            }
            _ => {
                self.counts.end(kind);
                kind
            }
        };
        changes.ended.push(Ended { entry: index, ticket: task.ticket, job: JobId::of(pack, idx, task.count), kind });
        if self.end(ticket, task, kind) {
            changes.closed.push(Closed { ticket, pack });
        }
    }

    fn judge_task(&self, task: &TaskEntry) -> Fit {
        if !(1..=MAX_TASKS).contains(&task.count) || task.ticket.idx >= task.count {
            return Fit::Conflict;
        }
        let Some(generation) = self.gens.get(&task.ticket.r#gen) else { return Fit::New };
        match generation.at(task.ticket.of_pack()) {
            Err(()) => Fit::Conflict,
            Ok(Known::Nothing) => Fit::New,
            Ok(Known::Forgotten) => Fit::Late,
            Ok(Known::Recent(recent)) => {
                if recent.pack() == task.pack {
                    Fit::Late
                } else {
                    Fit::Conflict
                }
            }
            Ok(Known::Open(open)) if open.name() != (task.pack, task.count) => Fit::Conflict,
            Ok(Known::Open(open)) => {
                if open.end_of(task.ticket.idx).is_some() {
                    Fit::Late
                } else {
                    Fit::New
                }
            }
        }
    }

    fn open(&mut self, ticket: PackTicket, pack: PackId, count: u16) -> &mut OpenPack {
        let generation = self.gens.entry(ticket.r#gen).or_default();
        generation.open.entry(ticket.seq).or_insert_with(|| OpenPack::new(ticket.ts, pack, count))
    }

    fn fail(&mut self, index: usize, task: &TaskEntry, is_final: bool, changes: &mut Changes) {
        // An attempt that fails has an id. A nameless one could not be told from its repetition.
        let attempt = task.attempt.unwrap_or(AttemptId::from_u128(0));
        let failure = Failure { attempt, pos: self.pos, ts: self.clock_ts, is_final };
        let open = self.open(task.ticket.of_pack(), task.pack, task.count);
        let Some(failures) = open.fail(task.ticket.idx, failure) else {
            self.counts.late += 1;
            return;
        };
        self.counts.failed += 1;
        let job = JobId::of(task.pack, task.ticket.idx, task.count);
        changes.failed.push(Failed { entry: index, ticket: task.ticket, job, failures, is_final });
    }

    /// Whether the pack is closed by this end.
    fn end(&mut self, ticket: PackTicket, task: &TaskEntry, kind: EndKind) -> bool {
        let open = self.open(ticket, task.pack, task.count);
        open.end(task.ticket.idx, kind);
        if open.unended > 0 {
            return false;
        }
        let generation = self.gens.entry(ticket.r#gen).or_default();
        if let Some(open) = generation.open.remove(&ticket.seq) {
            generation.closed.insert(ticket.seq);
            generation.recent.insert(ticket.seq, RecentPack::new(&open, self.clock_ts));
            self.closings.push_back(Closing { r#gen: ticket.r#gen, seq: ticket.seq });
        }
        true
    }

    /// The other ticket under which this task of the pack ended.
    pub(super) fn counted_elsewhere(&self, ticket: PackTicket, pack: PackId, idx: u16) -> Option<PackTicket> {
        let tickets = self.packs.get(&pack)?;
        if tickets.is_one() && tickets.iter().all(|known| known == ticket) {
            return None;
        }
        tickets.iter().find(|other| *other != ticket && self.counts_under(*other, idx))
    }

    fn counts_under(&self, ticket: PackTicket, idx: u16) -> bool {
        match self.known(ticket) {
            Some(Known::Open(open)) => open.end_of(idx).is_some_and(EndKind::counts),
            Some(Known::Recent(recent)) => recent.counts(idx),
            Some(Known::Nothing | Known::Forgotten) | None => false,
        }
    }

    /// What is known of exactly this message; none when another one is known by its sequence.
    pub(super) fn known(&self, ticket: PackTicket) -> Option<Known<'_>> {
        match self.gens.get(&ticket.r#gen) {
            Some(generation) => generation.at(ticket).ok(),
            None => Some(Known::Nothing),
        }
    }

    /// What JOBS stored later may repeat a pack, or be the true message of one that a worker gave a wrong name. Without any look that is all of it.
    pub(super) fn looked(&self) -> u64 {
        self.looked_ts.map_or(0, |looked_ts| looked_ts.min(self.clock_ts))
    }

    /// Drops packs that closed so long ago that their ids cannot come again. Their sequences stay closed.
    fn forget(&mut self) {
        let looked_ts = self.looked();
        while let Some(&Closing { r#gen, seq }) = self.closings.front() {
            let Some(generation) = self.gens.get_mut(&r#gen) else { return };
            let is_due = |recent: &RecentPack| recent.closed_ts.saturating_add(REMEMBERED_NS) <= looked_ts;
            if !generation.recent.get(&seq).is_some_and(is_due) {
                return;
            }
            self.closings.pop_front();
            let Some(recent) = generation.forget(seq) else { return };
            let (pack, ticket) = (recent.pack(), PackTicket { r#gen, seq, ts: recent.ts });
            if let Some(tickets) = self.packs.remove(&pack) {
                match tickets.without(ticket) {
                    Some(left) => drop(self.packs.insert(pack, left)),
                    None => drop(self.republished.remove(&pack)),
                }
            }
        }
    }

    /// How the task ended under this ticket; none when it has not, or that is forgotten.
    pub fn end_of(&self, ticket: Ticket) -> Option<EndKind> {
        match self.known(ticket.of_pack())? {
            Known::Open(open) => open.end_of(ticket.idx),
            Known::Nothing | Known::Recent(_) | Known::Forgotten => None,
        }
    }

    /// Whether all tasks of exactly this pack have ended.
    pub fn is_closed(&self, ticket: PackTicket) -> bool {
        matches!(self.known(ticket), Some(Known::Recent(_) | Known::Forgotten))
    }

    /// The failures of a task that has not ended.
    pub fn failures_of(&self, ticket: Ticket) -> &[Failure] {
        match self.known(ticket.of_pack()) {
            Some(Known::Open(open)) => open.failures.get(&ticket.idx).map_or(&[], Vec::as_slice),
            Some(Known::Nothing | Known::Recent(_) | Known::Forgotten) | None => &[],
        }
    }

    /// The tasks of this pack that have ended.
    pub fn ended_tasks(&self, ticket: PackTicket) -> Tasks {
        match self.known(ticket) {
            Some(Known::Open(open)) => (0..open.count()).filter(|idx| open.end_of(*idx).is_some()).collect(),
            Some(Known::Recent(_) | Known::Forgotten) => (0..MAX_TASKS).collect(),
            Some(Known::Nothing) | None => Tasks::default(),
        }
    }

    /// The tasks of this pack that were given up, with the name under which they ended; none when there are none, or it is forgotten. Each has a
    /// dead letter before the pack is acknowledged, by the leader of that moment.
    pub fn dead_tasks(&self, ticket: PackTicket) -> Option<(PackId, Tasks)> {
        let (pack, dead) = match self.known(ticket)? {
            Known::Open(open) => (open.pack, open.tasks_that(|end| end == EndKind::Dead)),
            Known::Recent(recent) => (recent.pack(), recent.dead()),
            Known::Nothing | Known::Forgotten => return None,
        };
        (!dead.is_empty()).then_some((pack, dead))
    }

    /// Packs of which some tasks have ended or failed, and others have not.
    pub fn open_packs(&self) -> impl Iterator<Item = (PackTicket, PackId, u16)> + '_ {
        self.gens.iter().flat_map(|(r#gen, generation)| {
            generation.open.iter().map(|(seq, open)| (PackTicket { r#gen: *r#gen, seq: *seq, ts: open.ts }, open.pack, open.count()))
        })
    }

    /// Packs that closed and are still remembered.
    pub fn recent_packs(&self) -> usize {
        self.closings.len()
    }

    /// The setbacks of JOBS, by generation.
    pub fn setbacks(&self) -> impl Iterator<Item = &WentBack> + '_ {
        self.gens.values().flat_map(|generation| &generation.setbacks)
    }

    /// Whether the fold has read a worker's append at this position: an attempt that the worker names no more has ended if the fold says so,
    /// and only a fold that has read that far may say that it has not.
    pub fn has_read(&self, durable: u64) -> bool {
        self.pos >= durable
    }

    /// All indexes agree with each other. For tests.
    ///
    /// # Panics
    /// When they do not.
    #[cfg(test)]
    pub(super) fn sanity_check(&self) {
        let (mut tickets, mut recent) = (0, 0);
        for (r#gen, generation) in &self.gens {
            recent += generation.recent.len();
            for (seq, open) in &generation.open {
                assert!(!generation.closed.contains(*seq), "an open pack is closed");
                let ended = open.ended.iter().filter(|end| end.is_some()).count() as u16;
                assert!(open.unended > 0 && open.unended + ended == open.count());
                assert!(open.failures.iter().all(|(idx, rows)| !rows.is_empty() && open.end_of(*idx).is_none()));
            }
            let open = generation.open.iter().map(|(seq, open)| (*seq, open.ts, open.pack));
            for (seq, ts, pack) in open.chain(generation.recent.iter().map(|(seq, recent)| (*seq, recent.ts, recent.pack()))) {
                let ticket = PackTicket { r#gen: *r#gen, seq, ts };
                assert!(self.packs[&pack].iter().any(|known| known == ticket), "a pack without its ticket");
                tickets += 1;
            }
            assert!(generation.recent.keys().all(|seq| generation.closed.contains(*seq)));
        }
        assert_eq!(self.packs.values().map(|known| known.iter().count()).sum::<usize>(), tickets);
        assert_eq!(self.closings.len(), recent);
    }
}

enum Fit {
    New,
    Late,
    Conflict,
}
