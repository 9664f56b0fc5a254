//! ENDS: an append-only log with a limit.

use std::collections::VecDeque;
use std::rc::Rc;

use faultline_engine::ends::Entry;

use super::message::{LogInfo, Logged};
use super::tail::Tail;

const BATCH: usize = 64;
const MESSAGE_BYTES: u64 = 60;
const ENTRY_BYTES: u64 = 90;

enum Undo {
    Appended,
    Trimmed(Vec<Logged>),
}

pub(crate) struct Log {
    messages: VecDeque<Logged>,
    first_pos: u64,
    last_pos: u64,
    bytes: u64,
    limit: u64,
    tail: Tail<Undo>,
}

/// A copy of the folder.
pub(crate) struct LogCopy {
    messages: VecDeque<Logged>,
    first_pos: u64,
    last_pos: u64,
}

impl Log {
    pub(crate) fn new(limit: u64) -> Self {
        Self { messages: VecDeque::new(), first_pos: 1, last_pos: 0, bytes: 0, limit, tail: Tail::default() }
    }

    /// None when it does not fit.
    pub(crate) fn append(&mut self, entries: Rc<[Entry]>, is_leaders: bool, (now, ts): (u64, u64)) -> Option<&Logged> {
        let bytes = MESSAGE_BYTES + ENTRY_BYTES * entries.len() as u64;
        if self.bytes + bytes > self.limit {
            return None;
        }
        self.last_pos += 1;
        self.bytes += bytes;
        self.messages.push_back(Logged { pos: self.last_pos, ts, stored_ms: now, is_leaders, entries, bytes });
        self.tail.push(now, Undo::Appended);
        self.messages.back()
    }

    pub(crate) fn info(&self) -> LogInfo {
        LogInfo { first_pos: self.first_pos, last_pos: self.last_pos, bytes: self.bytes, limit: self.limit }
    }

    pub(crate) fn at(&self, pos: u64) -> Option<&Logged> {
        self.messages.get(usize::try_from(pos.checked_sub(self.first_pos)?).ok()?)
    }

    /// Begins later without saying so when the first ones were trimmed. A replica that lags has none that were stored after `known_ms`.
    pub(crate) fn read(&self, from: u64, known_ms: u64) -> Vec<Logged> {
        let skipped = from.saturating_sub(self.first_pos) as usize;
        self.messages.iter().skip(skipped).take_while(|message| message.stored_ms <= known_ms).take(BATCH).cloned().collect()
    }

    pub(crate) fn trim(&mut self, before: u64, now: u64) {
        let mut trimmed = Vec::new();
        while self.first_pos < before && self.first_pos <= self.last_pos {
            trimmed.extend(self.messages.pop_front());
            self.first_pos += 1;
        }
        self.bytes -= trimmed.iter().map(|message| message.bytes).sum::<u64>();
        self.tail.push(now, Undo::Trimmed(trimmed));
    }

    pub(crate) fn lose_since(&mut self, since: u64) {
        for undo in self.tail.lost_since(since) {
            match undo {
                Undo::Appended => {
                    self.bytes -= self.messages.pop_back().map_or(0, |message| message.bytes);
                    self.last_pos -= 1;
                    self.first_pos = self.first_pos.min(self.last_pos + 1);
                }
                Undo::Trimmed(trimmed) => {
                    for message in trimmed.into_iter().rev() {
                        self.first_pos = message.pos;
                        self.bytes += message.bytes;
                        self.messages.push_front(message);
                    }
                }
            }
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Logged> {
        self.messages.iter()
    }

    pub(crate) fn copy(&self) -> LogCopy {
        LogCopy { messages: self.messages.clone(), first_pos: self.first_pos, last_pos: self.last_pos }
    }

    pub(crate) fn put_back(&mut self, copy: LogCopy) {
        let bytes = copy.messages.iter().map(|message| message.bytes).sum();
        let LogCopy { messages, first_pos, last_pos } = copy;
        *self = Self { messages, first_pos, last_pos, bytes, ..Self::new(self.limit) };
    }
}
