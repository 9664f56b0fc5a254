//! Leaders: the rules of `ends` with books around them.

use std::collections::BTreeMap;

use rand::RngExt;

use super::super::build::{MS, SECOND};
use super::super::changes::Changes;
use super::super::delivery::{Books, Delivery, Judgement};
use super::super::duties::{Custody, Standing, Sync, ack_delay_ns};
use super::super::entry::{Entry, Looked, Republished, TaskEntry, TaskKind, WentBack};
use super::super::fold::{Fold, LogMessage};
use super::super::id::{Gen, PackTicket};
use super::super::position::LogCheck;
use super::super::snapshot::{Seen, Snapshot};
use super::people::Run;
use super::{Plant, World};
use crate::job::{AttemptId, PackId};

const SILENCE: u64 = 3 * SECOND;
const ACK_WAIT: u64 = 15 * SECOND;
/// An attempt that was placed so long ago should be in the heartbeats.
const NAMED_AFTER: u64 = 2 * SECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Ended,
    Waiting,
    Placed { attempt: AttemptId, worker: usize, placed: u64, heard: u64 },
}

#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) ticket: PackTicket,
    pub(super) pack: (PackId, u16),
    pub(super) tasks: Vec<Task>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Leader {
    pub(super) fold: Fold,
    epoch: u64,
    books: BTreeMap<(Gen, u64), Held>,
    /// Closed packs, with when their acknowledgement is due.
    acks: Vec<(u64, PackTicket)>,
    /// What each sequence was when it was delivered last on this connection.
    delivered: BTreeMap<u64, PackTicket>,
    /// When it decides once more after it was deposed.
    haunts_at: u64,
}

impl World {
    /// The next leader begins with the newest snapshot that fits the log.
    pub(super) fn take_over(&mut self) {
        let haunts_at = self.now + self.rng.random_range(0..8 * SECOND);
        let former = std::mem::take(&mut self.leader);
        self.zombies.push(Leader { haunts_at, ..former });
        self.leader.fold = self.stored_fold();
        self.read_log();
        self.lease += 1;
        let epoch = if self.plant == Plant::LowEpoch { self.lease } else { self.leader.fold.epoch_for(self.lease) };
        self.leader.epoch = epoch;
        if self.plant != Plant::NoTerm {
            self.append(true, true, vec![Entry::Term { epoch }]);
        }
        self.read_log();
        self.note_setback();
        // All that the predecessor had pulled is handed back. What waits in the queue is not among that.
        let now = self.now;
        self.jobs.messages.values_mut().for_each(|message| message.due = if message.due <= now + ACK_WAIT { now } else { message.due });
        *self.happened.entry("terms").or_default() += 1;
    }

    fn stored_fold(&mut self) -> Fold {
        let fits = |fold: &Fold| self.plant == Plant::TornSnapshot || fold.check(self.sight(fold.pos())) == LogCheck::Fits;
        let folds = self.snapshots.iter().rev().map(|snapshot| snapshot.restore().expect("a snapshot of a fold"));
        folds.into_iter().find(fits).unwrap_or_default()
    }

    pub(super) fn on_reconnect(&mut self) {
        let check = self.leader.fold.check(self.sight(self.leader.fold.pos()));
        if check != LogCheck::Fits && self.plant != Plant::NoPositionCheck {
            *self.happened.entry("log went back").or_default() += 1;
            self.take_over();
            return self.silence_zombies();
        }
        if self.plant != Plant::AcksAcrossReconnects {
            self.leader.acks.clear();
            self.leader.delivered.clear();
        }
        self.silence_zombies();
        self.read_log();
        self.note_setback();
    }

    /// A leader that was frozen finds its connection broken, and looks at the log before anything else: its term is over.
    fn silence_zombies(&mut self) {
        if self.plant != Plant::DecidesAcrossReconnects {
            self.zombies.clear();
        }
    }

    /// JOBS has less than the leader has seen.
    fn note_setback(&mut self) {
        let (r#gen, to_seq, epoch) = (self.jobs.r#gen, self.jobs.last_seq, self.leader.epoch);
        let Some(seen) = self.seen.get_mut(&r#gen).filter(|seen| seen.last_seq > to_seq) else { return };
        let Seen { last_seq: from_seq, last_ts: from_ts } = std::mem::replace(seen, Seen { last_seq: to_seq, last_ts: seen.last_ts });
        *self.happened.entry("jobs went back").or_default() += 1;
        self.append(true, true, vec![Entry::WentBack(WentBack { epoch, r#gen, from_seq, from_ts, to_seq })]);
        self.read_log();
    }

    pub(super) fn read_log(&mut self) {
        while let Some(row) = self.log.get(self.leader.fold.pos() as usize) {
            let pos = self.leader.fold.pos() + 1;
            let message = LogMessage { pos, ts: row.ts, is_leaders: row.is_leaders, is_copy: false, body: Ok(&row.entries) };
            let changes = self.leader.fold.on_message(message).expect("the next message");
            self.book(changes);
        }
    }

    fn book(&mut self, changes: Changes) {
        let delay = self.ack_delay();
        let leader = &mut self.leader;
        let failed = changes.failed.iter().map(|failed| (failed.ticket, Task::Waiting));
        for (ticket, now) in failed.chain(changes.ended.iter().map(|ended| (ended.ticket, Task::Ended))) {
            let held = leader.books.get_mut(&(ticket.r#gen, ticket.seq)).filter(|held| held.ticket == ticket.of_pack());
            if let Some(task) = held.and_then(|held| held.tasks.get_mut(usize::from(ticket.idx))) {
                *task = now;
            }
        }
        for closed in changes.closed {
            leader.books.retain(|_, held| held.ticket != closed.ticket);
            leader.acks.push((self.now + delay, closed.ticket));
        }
    }

    fn ack_delay(&self) -> u64 {
        if self.plant == Plant::AckAtOnce { 0 } else { ack_delay_ns(Sync::EveryNs(SECOND)) }
    }

    pub(super) fn lead(&mut self) {
        let before = (self.plant == Plant::TornSnapshot).then(|| self.leader.fold.clone());
        self.read_log();
        self.hear();
        self.look();
        self.take_deliveries();
        self.place();
        self.cancel();
        self.vouch();
        self.acknowledge();
        if self.now / SECOND != (self.now - super::STEP) / SECOND {
            let fold = &self.leader.fold;
            let torn = before.map(|before| Snapshot::of(&before, BTreeMap::new()).with_position(fold.pos(), fold.pos_ts()));
            self.snapshots.push(torn.unwrap_or_else(|| Snapshot::of(fold, self.seen.clone())));
            if self.snapshots.len() > 2 {
                self.snapshots.remove(0);
            }
        }
    }

    fn hear(&mut self) {
        let now = self.now;
        for held in self.leader.books.values_mut() {
            for task in &mut held.tasks {
                let Task::Placed { attempt, worker, placed, heard } = task else { continue };
                let worker = &self.workers[*worker];
                if !worker.is_up(now) {
                    continue;
                }
                if worker.names().contains(attempt) {
                    *heard = now;
                } else if now > *placed + NAMED_AFTER {
                    *task = Task::Waiting;
                }
            }
        }
    }

    /// Finds packs that are repeated as soon as they are stored, however long they will stand in the queue.
    fn look(&mut self) {
        let looked_ts = self.leader.fold.looked_ts.unwrap_or(0);
        let new = self.jobs.messages.iter().filter(|(_, message)| message.ts >= looked_ts && self.plant != Plant::NeverLooks);
        let new: Vec<(PackTicket, (PackId, u16))> =
            new.map(|(seq, message)| (self.ticket(*seq, message), (message.pack, message.count))).collect();
        for (ticket, pack) in new {
            match self.judge(ticket, pack) {
                Judgement::ResubmittedUnder { .. } | Judgement::OpenUnder { .. } | Judgement::WentBack => self.on_delivery(ticket, pack),
                _ => {}
            }
            self.read_log();
        }
        let (epoch, ts) = (self.leader.epoch, self.now);
        self.append(true, true, vec![Entry::Looked(Looked { epoch, ts })]);
        self.read_log();
    }

    fn take_deliveries(&mut self) {
        let due: Vec<u64> = self.jobs.messages.iter().filter(|(_, message)| message.due <= self.now).map(|(seq, _)| *seq).collect();
        for seq in due {
            let Some(message) = self.jobs.messages.get(&seq).copied() else { continue };
            self.jobs.keep(seq, self.now);
            let ticket = self.ticket(seq, &message);
            self.leader.delivered.insert(seq, ticket);
            let seen = self.seen.entry(ticket.r#gen).or_default();
            if seq > seen.last_seq {
                *seen = Seen { last_seq: seq, last_ts: ticket.ts };
            }
            self.on_delivery(ticket, (message.pack, message.count));
            self.read_log();
        }
    }

    fn judge(&self, ticket: PackTicket, pack: (PackId, u16)) -> Judgement {
        let is_at_sequence = |other: &PackTicket| (other.r#gen, other.seq) == (ticket.r#gen, ticket.seq) && *other != ticket;
        let held = self.leader.books.get(&(ticket.r#gen, ticket.seq)).map(|held| held.ticket);
        let named = || self.workers.iter().filter(|worker| worker.is_up(self.now)).flat_map(|worker| worker.tickets());
        let at_sequence = held.or_else(|| {
            let runs = named().any(|(other, _)| other == ticket);
            named().map(|(other, _)| other).find(|other| !runs && is_at_sequence(other))
        });
        let is_of_pack = |(other, id): &(PackTicket, PackId)| *id == pack.0 && *other != ticket;
        let booked = self.leader.books.values().map(|held| (held.ticket, held.pack.0));
        let of_pack = booked.chain(named()).find(is_of_pack).map(|(other, _)| other);
        self.leader.fold.judge(Delivery { ticket, named: Some(pack) }, Books { at_sequence, of_pack })
    }

    fn on_delivery(&mut self, ticket: PackTicket, pack: (PackId, u16)) {
        let judgement = self.judge(ticket, pack);
        self.count_judgement(&judgement);
        match judgement {
            Judgement::WentBack => {
                let epoch = self.leader.epoch;
                let again = |is_stored| vec![Entry::Republished(Republished { epoch, ticket, pack: pack.0, is_stored })];
                self.append(true, true, again(false));
                self.jobs.publish(pack, Some(ticket), (self.now, 0));
                self.append(true, true, again(true));
                self.leader.acks.push((0, ticket));
                self.leader.books.retain(|_, held| held.ticket != ticket);
            }
            Judgement::Closed { last_end_ts } => self.leader.acks.push((last_end_ts.unwrap_or(0) + self.ack_delay(), ticket)),
            Judgement::InBooks => self.free_silent(ticket),
            Judgement::ResubmittedUnder { .. } | Judgement::OpenUnder { .. } if self.plant == Plant::NoResubmissionCheck => {
                self.hold(ticket, pack)
            }
            Judgement::ResubmittedUnder { first, tasks } => {
                let ended = self.leader.fold.ended_tasks(ticket);
                let void: Vec<u16> = tasks.iter().filter(|idx| !ended.contains(*idx)).collect();
                self.decide(TaskKind::Void { first }, ticket, pack, void);
                self.hold(ticket, pack);
            }
            Judgement::OpenUnder { other } => self.settle(ticket, other, pack),
            // Without a time in the tickets there is no age, either.
            Judgement::TooOld { .. } if matches!(self.plant, Plant::NoTs | Plant::SequenceAlone) => self.hold(ticket, pack),
            Judgement::TooOld { pack: name } => self.decide(TaskKind::Dead, ticket, (name, pack.1), (0..pack.1).collect()),
            Judgement::Unreadable => self.decide(TaskKind::Dead, ticket, pack, (0..pack.1).collect()),
            // No worker of this world lies, so it comes from a planted bug: nothing mends that.
            Judgement::Misnamed { .. } | Judgement::New { .. } => self.hold(ticket, pack),
        }
    }

    fn count_judgement(&mut self, judgement: &Judgement) {
        let name = match judgement {
            Judgement::WentBack => "second uses",
            Judgement::Closed { .. } => "closed again",
            Judgement::ResubmittedUnder { .. } => "resubmitted",
            Judgement::OpenUnder { .. } => "open under another",
            Judgement::TooOld { .. } => "too old",
            _ => "others",
        };
        *self.happened.entry(name).or_default() += 1;
    }

    /// Two tickets of one pack, and the other one is not finished.
    fn settle(&mut self, ticket: PackTicket, other: PackTicket, pack: (PackId, u16)) {
        let is_there = other.r#gen == self.jobs.r#gen
            && self.jobs.messages.get(&other.seq).is_some_and(|message| self.ticket(other.seq, message) == other);
        let (given_up, first) = if is_there { (ticket, other) } else { (other, ticket) };
        let ended = self.leader.fold.ended_tasks(given_up);
        self.decide(TaskKind::Void { first }, given_up, pack, (0..pack.1).filter(|idx| !ended.contains(*idx)).collect());
        if let Some(message) = self.jobs.messages.get_mut(&ticket.seq) {
            message.due = self.now;
        }
    }

    fn decide(&mut self, kind: TaskKind, ticket: PackTicket, (pack, count): (PackId, u16), tasks: Vec<u16>) {
        let epoch = self.leader.epoch;
        let entry = |idx| Entry::Task(TaskEntry { ticket: ticket.task(idx), pack, count, kind, attempt: None, epoch, detail: Vec::new() });
        let entries = tasks.into_iter().map(entry).collect();
        self.append(true, true, entries);
        self.read_log();
    }

    fn hold(&mut self, ticket: PackTicket, pack: (PackId, u16)) {
        let fold = &self.leader.fold;
        if fold.is_closed(ticket) {
            return;
        }
        let ended = fold.ended_tasks(ticket);
        let mut tasks: Vec<Task> = (0..pack.1).map(|idx| if ended.contains(idx) { Task::Ended } else { Task::Waiting }).collect();
        for worker in self.workers.iter().filter(|worker| worker.is_up(self.now)) {
            for run in worker.runs.iter().filter(|run| run.ticket == ticket && run.pack == pack) {
                if let Some(task) = tasks.get_mut(usize::from(run.idx)).filter(|task| **task == Task::Waiting) {
                    *task = Task::Placed { attempt: run.attempt, worker: worker.name, placed: self.now, heard: self.now };
                }
            }
        }
        self.leader.books.insert((ticket.r#gen, ticket.seq), Held { ticket, pack, tasks });
    }

    fn free_silent(&mut self, ticket: PackTicket) {
        let now = self.now;
        for task in self.leader.books.get_mut(&(ticket.r#gen, ticket.seq)).into_iter().flat_map(|held| &mut held.tasks) {
            if matches!(task, Task::Placed { heard, .. } if now > *heard + SILENCE) {
                *task = Task::Waiting;
            }
        }
    }

    fn place(&mut self) {
        let waiting: Vec<((Gen, u64), usize)> = self
            .leader
            .books
            .iter()
            .flat_map(|(key, held)| held.tasks.iter().enumerate().filter(|(_, task)| **task == Task::Waiting).map(|(idx, _)| (*key, idx)))
            .collect();
        for (key, idx) in waiting {
            let index = self.rng.random_range(0..self.workers.len());
            if !self.workers[index].seems_alive(self.now) {
                continue;
            }
            self.attempts += 1;
            let (attempt, now) = (AttemptId::from_u128(self.attempts), self.now);
            let until = now + self.rng.random_range(0..6 * SECOND);
            let is_dropped = self.chance(50);
            let epoch = self.leader.epoch;
            let Some(held) = self.leader.books.get_mut(&key) else { continue };
            held.tasks[idx] = Task::Placed { attempt, worker: index, placed: now, heard: now };
            let run = Run { ticket: held.ticket, pack: held.pack, idx: idx as u16, attempt, epoch, until };
            let worker = &mut self.workers[index];
            // A frozen worker finds its assignments when it resumes; a dead one never had them.
            if !is_dropped && epoch >= worker.newest_epoch && !worker.is_dead(now) {
                worker.newest_epoch = epoch;
                worker.runs.push(run);
            }
        }
    }

    fn cancel(&mut self) {
        if self.submitter.is_over || !self.chance(60) || self.leader.books.is_empty() {
            return;
        }
        let index = self.rng.random_range(0..self.leader.books.len());
        let Some(held) = self.leader.books.values().nth(index) else { return };
        let (ticket, pack, idx) = (held.ticket, held.pack, self.rng.random_range(0..held.pack.1));
        if self.leader.fold.ended_tasks(ticket).contains(idx) {
            return;
        }
        let before = self.leader.fold.counts().cancelled;
        self.decide(TaskKind::Cancelled, ticket, pack, vec![idx]);
        if self.leader.fold.counts().cancelled == before {
            *self.happened.entry("powerless").or_default() += 1;
        }
    }

    fn vouch(&mut self) {
        if self.now / (5 * SECOND) == (self.now - super::STEP) / (5 * SECOND) {
            return;
        }
        for held in self.leader.books.values() {
            let standing = |idx| match held.tasks[usize::from(idx)] {
                Task::Ended => None,
                Task::Waiting => Some(Standing::Waiting),
                Task::Placed { heard, .. } => Some(Standing::Placed { heard_ms: heard / MS }),
            };
            let custody = self.leader.fold.custody((held.ticket, held.pack), standing, (self.now / MS, SILENCE / MS));
            if held.ticket.r#gen == self.jobs.r#gen && (custody == Custody::Keep || self.plant == Plant::KeepsTheDead) {
                self.jobs.keep(held.ticket.seq, self.now);
            }
        }
    }

    fn acknowledge(&mut self) {
        let now = self.now;
        let due: Vec<PackTicket> = self.leader.acks.extract_if(.., |(at, _)| *at <= now).map(|(_, ticket)| ticket).collect();
        for ticket in due {
            let is_delivered = self.leader.delivered.get(&ticket.seq) == Some(&ticket) || self.plant == Plant::AcksAcrossReconnects;
            if is_delivered && !self.chance(30) {
                self.jobs.ack(ticket);
            }
        }
    }

    /// Deposed leaders that were frozen decide once more about what they held.
    pub(super) fn haunt(&mut self) {
        let now = self.now;
        for zombie in self.zombies.extract_if(.., |zombie| zombie.haunts_at <= now).collect::<Vec<_>>() {
            for held in zombie.books.into_values() {
                let (pack, count) = held.pack;
                let unended = (0..count).filter(|idx| held.tasks[usize::from(*idx)] != Task::Ended);
                let entries = unended.map(|idx| {
                    let (kind, epoch) = (TaskKind::Dead, zombie.epoch);
                    Entry::Task(TaskEntry { ticket: held.ticket.task(idx), pack, count, kind, attempt: None, epoch, detail: Vec::new() })
                });
                let entries = entries.collect();
                self.append(true, false, entries);
            }
        }
    }
}
