//! JOBS: a work queue with a consumer for each priority.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use faultline_engine::ends::{Gen, PackTicket};
use faultline_engine::job::PackId;

use super::event::Slot;
use super::message::{AckWord, Delivered, JobsInfo, MsgId, Pack, Queued};
use super::proc::Proc;
use super::tail::Tail;

const ACK_WAIT_MS: u64 = 15_000;
const DUPLICATE_WINDOW_MS: u64 = 120_000;
const BATCH: usize = 16;

/// A message that was delivered and not acknowledged.
#[derive(Debug, Clone)]
struct Pending {
    due_ms: u64,
    consumer_seq: u64,
    deliveries: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Consumer {
    /// The last stream sequence that was looked at.
    delivered_seq: u64,
    consumer_seq: u64,
    pending: BTreeMap<u64, Pending>,
    /// Those that go out again, each with how often it went out.
    again: BTreeMap<u64, u64>,
}

/// A process waits for messages.
pub(crate) struct Pull {
    pub(crate) of: Proc,
    pub(crate) slot: Rc<Slot>,
    pub(crate) until_ms: u64,
}

enum Undo {
    Stored(u64),
    Removed(Rc<Queued>),
}

pub(crate) struct Jobs {
    pub(crate) r#gen: Gen,
    messages: BTreeMap<u64, Rc<Queued>>,
    last_seq: u64,
    ids: HashMap<MsgId, u64>,
    consumers: [Consumer; 2],
    pub(crate) pulls: [VecDeque<Pull>; 2],
    tail: Tail<Undo>,
}

/// A copy of the folder.
pub(crate) struct JobsCopy {
    r#gen: Gen,
    messages: BTreeMap<u64, Rc<Queued>>,
    last_seq: u64,
    consumers: [Consumer; 2],
}

impl Jobs {
    pub(crate) fn new(r#gen: Gen) -> Self {
        Self {
            r#gen,
            messages: BTreeMap::new(),
            last_seq: 0,
            ids: HashMap::new(),
            consumers: Default::default(),
            pulls: Default::default(),
            tail: Tail::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(crate) fn at(&self, seq: u64) -> Option<&Rc<Queued>> {
        self.messages.get(&seq)
    }

    pub(crate) fn by_pack(&self, pack: PackId) -> Vec<Rc<Queued>> {
        self.messages.values().filter(|message| message.pack.id == pack).cloned().collect()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Rc<Queued>> {
        self.messages.values()
    }

    /// None for one that the server knows.
    pub(crate) fn store(&mut self, pack: Rc<Pack>, id: MsgId, (now, ts): (u64, u64)) -> Option<Rc<Queued>> {
        if self.ids.get(&id).is_some_and(|at| at + DUPLICATE_WINDOW_MS > now) {
            return None;
        }
        self.ids.insert(id, now);
        self.last_seq += 1;
        let ticket = PackTicket { r#gen: self.r#gen, seq: self.last_seq, ts };
        let message = Rc::new(Queued { ticket, id, stored_ms: now, pack });
        self.messages.insert(self.last_seq, Rc::clone(&message));
        self.tail.push(now, Undo::Stored(self.last_seq));
        Some(message)
    }

    /// What is due for this consumer now, as many as go out at once.
    pub(crate) fn take(&mut self, priority: usize, now: u64) -> Vec<Delivered> {
        let consumer = &mut self.consumers[priority];
        let mut out = Vec::new();
        while out.len() < BATCH {
            let (seq, deliveries) = if let Some((seq, deliveries)) = consumer.again.pop_first() {
                (seq, deliveries + 1)
            } else {
                let next = self.messages.range(consumer.delivered_seq + 1..).find(|(_, message)| message.pack.priority == priority);
                let Some((seq, _)) = next else { break };
                consumer.delivered_seq = *seq;
                (*seq, 1)
            };
            let Some(message) = self.messages.get(&seq) else { continue };
            consumer.consumer_seq += 1;
            let pending = Pending { due_ms: now + ACK_WAIT_MS, consumer_seq: consumer.consumer_seq, deliveries };
            consumer.pending.insert(seq, pending);
            out.push(Delivered { message: Rc::clone(message), deliveries });
        }
        out
    }

    /// Those that were not acknowledged in time go out again.
    pub(crate) fn expire(&mut self, now: u64) {
        for consumer in &mut self.consumers {
            let due: Vec<u64> = consumer.pending.iter().filter(|(_, pending)| pending.due_ms <= now).map(|(seq, _)| *seq).collect();
            for seq in due {
                let deliveries = consumer.pending.remove(&seq).map_or(0, |pending| pending.deliveries);
                consumer.again.insert(seq, deliveries);
            }
        }
    }

    /// The message that was removed by this.
    pub(crate) fn acknowledge(&mut self, priority: usize, seq: u64, word: AckWord, now: u64) -> Option<Rc<Queued>> {
        let consumer = &mut self.consumers[priority];
        match word {
            AckWord::Done => {
                let was_delivered = consumer.pending.remove(&seq).is_some() | consumer.again.remove(&seq).is_some();
                return if was_delivered { self.remove(seq, now) } else { None };
            }
            AckWord::InProgress => {
                if let Some(pending) = consumer.pending.get_mut(&seq) {
                    pending.due_ms = now + ACK_WAIT_MS;
                }
            }
            AckWord::Again { consumer_seq } => {
                let floor = consumer.pending.values().map(|pending| pending.consumer_seq - 1).min().unwrap_or(consumer.consumer_seq);
                if consumer_seq > floor
                    && consumer_seq <= consumer.consumer_seq
                    && let Some(pending) = consumer.pending.remove(&seq)
                {
                    consumer.again.insert(seq, pending.deliveries);
                }
            }
        }
        None
    }

    fn remove(&mut self, seq: u64, now: u64) -> Option<Rc<Queued>> {
        let message = self.messages.remove(&seq)?;
        self.tail.push(now, Undo::Removed(Rc::clone(&message)));
        Some(message)
    }

    pub(crate) fn info(&self, ts: u64) -> JobsInfo {
        let first_seq = self.messages.first_key_value().map_or(self.last_seq + 1, |(seq, _)| *seq);
        let deleted: BTreeSet<u64> = (first_seq..=self.last_seq).filter(|seq| !self.messages.contains_key(seq)).collect();
        JobsInfo {
            ts,
            r#gen: self.r#gen,
            first_seq,
            last_seq: self.last_seq,
            deleted,
            present: self.messages.values().cloned().collect(),
            delivered: [0, 1].map(|priority: usize| (self.consumers[priority].delivered_seq, self.consumers[priority].consumer_seq)),
        }
    }

    /// The server forgets the ids of all that has been acknowledged.
    pub(crate) fn forget_ids(&mut self) {
        self.ids = self.messages.values().map(|message| (message.id, message.stored_ms)).collect();
    }

    /// The machine died: what happened since is lost. Returns the messages that are gone.
    pub(crate) fn lose_since(&mut self, since: u64) -> Vec<Rc<Queued>> {
        let mut gone = Vec::new();
        for undo in self.tail.lost_since(since) {
            match undo {
                Undo::Stored(seq) => {
                    gone.extend(self.messages.remove(&seq));
                    self.last_seq = seq - 1;
                }
                Undo::Removed(message) => drop(self.messages.insert(message.ticket.seq, message)),
            }
        }
        self.put_consumers_right();
        gone
    }

    /// What a consumer thinks that it has delivered is never beyond the stream, and what it does not remember goes out again.
    fn put_consumers_right(&mut self) {
        for (priority, consumer) in self.consumers.iter_mut().enumerate() {
            consumer.delivered_seq = consumer.delivered_seq.min(self.last_seq);
            consumer.pending.retain(|seq, _| self.messages.contains_key(seq));
            let delivered = self.messages.range(..=consumer.delivered_seq);
            for (seq, _) in delivered.filter(|(seq, message)| message.pack.priority == priority && !consumer.pending.contains_key(seq)) {
                consumer.again.entry(*seq).or_insert(1);
            }
        }
    }

    pub(crate) fn copy(&self) -> JobsCopy {
        let consumers = self.consumers.clone();
        JobsCopy { r#gen: self.r#gen, messages: self.messages.clone(), last_seq: self.last_seq, consumers }
    }

    /// An older folder is put in its place. Returns the messages that are gone.
    pub(crate) fn put_back(&mut self, copy: JobsCopy) -> Vec<Rc<Queued>> {
        let is_gone = |message: &&Rc<Queued>| copy.messages.get(&message.ticket.seq).is_none_or(|kept| kept.ticket != message.ticket);
        let gone = self.messages.values().filter(is_gone).cloned().collect();
        let JobsCopy { r#gen, messages, last_seq, consumers } = copy;
        *self = Self { messages, last_seq, consumers, ..Self::new(r#gen) };
        self.forget_ids();
        self.put_consumers_right();
        gone
    }

    /// All messages are deleted. The sequences go on.
    pub(crate) fn purge(&mut self) -> Vec<Rc<Queued>> {
        self.tail = Tail::default();
        for consumer in &mut self.consumers {
            consumer.pending.clear();
            consumer.again.clear();
        }
        std::mem::take(&mut self.messages).into_values().collect()
    }
}
