//! Short ways to write entries and logs, for tests.

use super::changes::Changes;
use super::entry::{Entry, Looked, TaskEntry, TaskKind};
use super::fold::{Fold, LogMessage};
use super::id::{Gen, PackTicket};
use crate::job::{AttemptId, PackId};

/// When JOBS stored its sequence 0, so to speak.
pub(super) const T0: u64 = 1_700_000_000_000_000_000;
pub(super) const MS: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000_000_000;

pub(super) const COMMITTED: TaskKind = TaskKind::Committed;
pub(super) const FAILED: TaskKind = TaskKind::Failed { is_final: false };

/// One message a millisecond.
pub(super) fn ticket(r#gen: u64, seq: u64) -> PackTicket {
    PackTicket { r#gen: Gen(r#gen), seq, ts: T0 + seq * MS }
}

pub(super) fn pack(number: u64) -> PackId {
    PackId::new(T0 / MS + number, number.into())
}

pub(super) fn task(kind: TaskKind, ticket: PackTicket, (pack, count): (PackId, u16), idx: u16) -> TaskEntry {
    let attempt = Some(AttemptId::new(1, u128::from(idx) + 1));
    TaskEntry { ticket: ticket.task(idx), pack, count, kind, attempt, epoch: 1, detail: Vec::new() }
}

pub(super) fn entry(kind: TaskKind, ticket: PackTicket, pack: (PackId, u16), idx: u16) -> Entry {
    Entry::Task(task(kind, ticket, pack, idx))
}

/// A log that is folded as it grows.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub(super) fold: Fold,
    pub(super) ts: u64,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { fold: Fold::new(), ts: T0 + SECOND }
    }

    pub(super) fn worker(&mut self, entries: &[Entry]) -> Changes {
        self.append(entries, false)
    }

    pub(super) fn leader(&mut self, entries: &[Entry]) -> Changes {
        self.append(entries, true)
    }

    fn append(&mut self, entries: &[Entry], is_leaders: bool) -> Changes {
        self.ts += MS;
        let message = LogMessage { pos: self.fold.pos() + 1, ts: self.ts, is_leaders, is_copy: false, body: Ok(entries) };
        let changes = self.fold.on_message(message).expect("the next position");
        self.fold.sanity_check();
        changes
    }

    /// Time passes, and a leader looks at JOBS.
    pub(super) fn wait(&mut self, seconds: u64) {
        self.ts += seconds * SECOND;
        self.leader(&[Entry::Looked(Looked { epoch: u64::MAX, ts: self.ts + MS })]);
        self.worker(&[]);
    }

    /// Time passes without a leader.
    pub(super) fn wait_unled(&mut self, seconds: u64) {
        self.ts += seconds * SECOND;
        self.worker(&[]);
    }
}
