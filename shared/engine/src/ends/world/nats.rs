//! JOBS and the log, as far as the rules depend on them.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;

use super::super::build::SECOND;
use super::super::entry::Entry;
use super::super::id::{Gen, PackTicket};
use super::super::position::LogSight;
use super::{Plant, World};
use crate::job::PackId;

/// For so long the server drops a message with an id that it has seen.
const DEDUPE: u64 = 120 * SECOND;
const ACK_WAIT: u64 = 15 * SECOND;

/// A message of the log.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) ts: u64,
    pub(super) is_leaders: bool,
    /// The leader that wrote it was the leader then.
    pub(super) is_rightful: bool,
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    pub(super) ts: u64,
    pub(super) pack: PackId,
    pub(super) count: u16,
    /// When it is delivered, again or for the first time.
    pub(super) due: u64,
}

#[derive(Debug, Default)]
pub(super) struct Jobs {
    pub(super) r#gen: Gen,
    pub(super) last_seq: u64,
    /// How many messages it ever stored.
    stored: u64,
    pub(super) messages: BTreeMap<u64, Message>,
    /// Message ids that the server knows, with the time.
    ids: BTreeMap<(PackId, Option<PackTicket>), u64>,
    /// What was stored lately: a power cut may take it.
    tail: Vec<(u64, u64)>,
    /// Packs whose messages a power cut or a deletion took: their submitters were told that they are safe.
    pub(super) taken: BTreeSet<PackId>,
}

impl Jobs {
    pub(super) fn new(r#gen: Gen) -> Self {
        Self { r#gen, ..Self::default() }
    }

    /// `again`: the ticket of a message that is published once more under an id of its own.
    /// `waits`: how long it stands in the queue.
    pub(super) fn publish(&mut self, (pack, count): (PackId, u16), again: Option<PackTicket>, (now, waits): (u64, u64)) {
        self.ids.retain(|_, at| *at + DEDUPE > now);
        if self.ids.contains_key(&(pack, again)) {
            return;
        }
        self.ids.insert((pack, again), now);
        self.last_seq += 1;
        // Two messages never have the same time, also not before and after a power cut.
        self.stored += 1;
        let ts = now + self.stored;
        self.messages.insert(self.last_seq, Message { ts, pack, count, due: now + waits });
        self.tail.push((self.last_seq, ts));
    }

    /// An acknowledgement acts on a sequence, whatever message has it now.
    pub(super) fn ack(&mut self, ticket: PackTicket) {
        if ticket.r#gen == self.r#gen {
            self.messages.remove(&ticket.seq);
        }
    }

    /// It is not delivered again before the ack wait is over.
    pub(super) fn keep(&mut self, seq: u64, now: u64) {
        if let Some(message) = self.messages.get_mut(&seq) {
            message.due = now + ACK_WAIT;
        }
    }
}

impl World {
    pub(super) fn append(&mut self, is_leaders: bool, is_rightful: bool, entries: Vec<Entry>) {
        self.appended += 1;
        self.log.push(Row { ts: self.now + self.appended, is_leaders, is_rightful, entries });
    }

    pub(super) fn sight(&self, pos: u64) -> LogSight {
        let ts_at_pos = pos.checked_sub(1).and_then(|index| self.log.get(index as usize)).map(|row| row.ts);
        LogSight { first_pos: 1, last_pos: self.log.len() as u64, ts_at_pos }
    }

    /// A server that is killed and starts again knows the ids of the messages that it still has, and no others.
    pub(super) fn restart_nats(&mut self) {
        let messages = &self.jobs.messages;
        self.jobs.ids.retain(|(pack, _), _| messages.values().any(|message| message.pack == *pack));
        *self.happened.entry("restarts").or_default() += 1;
        self.on_reconnect();
    }

    /// The machine dies: what was not forced to the disk is gone, of each stream as much as chance wants. Acknowledgements stay.
    pub(super) fn power_cut(&mut self) {
        let cut = |world: &mut Self| world.now - world.rng.random_range(0..=SECOND);
        let (jobs_cut, log_cut) = (cut(self), cut(self));
        let jobs = &mut self.jobs;
        while let Some((seq, ts)) = jobs.tail.pop_if(|(_, ts)| *ts > jobs_cut) {
            if let Some(message) = jobs.messages.remove(&seq).filter(|message| message.ts == ts) {
                jobs.taken.insert(message.pack);
            }
            jobs.last_seq = seq - 1;
        }
        while self.log.pop_if(|row| row.ts > log_cut).is_some() {}
        *self.happened.entry("power cuts").or_default() += 1;
        self.restart_nats();
    }

    pub(super) fn make_jobs_anew(&mut self) {
        let r#gen = if self.plant == Plant::SequenceAlone { Gen(0) } else { Gen(self.rng.random_range(1..u64::MAX)) };
        let former = std::mem::replace(&mut self.jobs, Jobs::new(r#gen));
        self.jobs.taken = former.taken;
        self.jobs.taken.extend(former.messages.values().map(|message| message.pack));
        *self.happened.entry("made anew").or_default() += 1;
        self.on_reconnect();
    }

    /// The message's ticket as all processes pass it on.
    pub(super) fn ticket(&self, seq: u64, message: &Message) -> PackTicket {
        PackTicket {
            r#gen: self.jobs.r#gen,
            seq,
            ts: if matches!(self.plant, Plant::NoTs | Plant::SequenceAlone) { 1 } else { message.ts },
        }
    }
}
