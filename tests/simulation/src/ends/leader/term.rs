//! What a leader holds, and what all of its tasks need.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use faultline_engine::ends::{Entry, Fold, Gen, PackTicket, Snapshot, Ticket, ack_delay_ns};
use faultline_engine::job::{AttemptId, JobId};

use super::books::{Packs, Task};
use crate::ends::EndsBug;
use crate::ends::exec::Ctx;
use crate::ends::message::{ConsumerName, SeenJobs, retry_delay_ms};
use crate::ends::proc::Proc;

/// No answer within this time is none.
pub(super) const ASK_MS: u64 = 1_500;
/// Entries in one append.
pub(super) const BATCH: usize = 48;
/// An attempt that no worker has named for so long runs nowhere.
pub(super) const SILENCE_MS: u64 = 2_500;

/// A worker, as its heartbeats show it.
pub(super) struct Node {
    pub(super) incarnation: u64,
    pub(super) heard_ms: u64,
    pub(super) slots: usize,
}

/// A pack that is closed, and its acknowledgement is owed.
pub(super) struct Closing {
    pub(super) due_ms: u64,
    /// The connection that delivered it, and the consumer.
    pub(super) delivered: Option<(u32, ConsumerName)>,
}

/// What a leader holds during its term.
pub(super) struct Term {
    pub(super) epoch: u64,
    pub(super) revision: u64,
    pub(super) is_over: bool,
    /// The new leader listens first.
    pub(super) is_placing: bool,
    pub(super) fold: Fold,
    pub(super) r#gen: Gen,
    pub(super) seen: SeenJobs,
    /// The connection on which everything was found to be as the fold says.
    pub(super) checked: Option<u32>,
    pub(super) packs: Packs,
    pub(super) closing: BTreeMap<PackTicket, Closing>,
    pub(super) decisions: VecDeque<Entry>,
    /// The append that has not been answered yet.
    pub(super) under_way: Option<Rc<[Entry]>>,
    /// Appends that were answered and not read yet, with their positions.
    pub(super) unread: VecDeque<(u64, Rc<[Entry]>)>,
    /// JOBS went back, and the log that was read does not say so yet.
    pub(super) is_setback_unread: bool,
    /// Dead letters that are owed, and when the job's end cannot be lost any more.
    pub(super) letters: VecDeque<(u64, Ticket, JobId)>,
    pub(super) nodes: BTreeMap<Proc, Node>,
    /// Attempts that heartbeats named lately, by task.
    pub(super) named: HashMap<Ticket, (AttemptId, Proc, u64, u64)>,
    pub(super) attempts: u64,
    /// The epoch above the highest that a worker has heard of.
    pub(super) above_heard: u64,
    pub(super) ledger_revision: u64,
    /// When which position was saved.
    pub(super) saved: VecDeque<(u64, u64)>,
    pub(super) is_log_nearly_full: bool,
    /// A pack that leaders may have died of is handled alone.
    pub(super) is_suspecting: bool,
}

pub(super) type Shared = Rc<RefCell<Term>>;

impl Term {
    pub(super) fn is_clear(&self, ctx: &Ctx) -> bool {
        !self.is_over && self.checked.is_some() && self.checked == ctx.connection()
    }

    /// Without an unread setback: the fold takes second uses of sequences for what it knows until then.
    pub(super) fn may_judge(&self, ctx: &Ctx) -> bool {
        self.is_clear(ctx) && !self.is_setback_unread
    }

    /// The attempts of these tasks are given up, so that they wait again: for the rest of the delay, if an earlier attempt has failed just now.
    pub(super) fn free(&mut self, ctx: &Ctx, tickets: &[Ticket]) {
        for ticket in tickets {
            let rest_ms = if ctx.has(EndsBug::FreedAtOnce) { 0 } else { self.rest_of_delay_ms(ctx, *ticket) };
            if let Some(task) = self.packs.task_mut(*ticket) {
                *task = Task::Waiting { due_ms: ctx.now() + rest_ms };
            }
        }
    }

    /// The job may have failed under a predecessor, or in a stale attempt, a moment ago.
    pub(super) fn rest_of_delay_ms(&self, ctx: &Ctx, ticket: Ticket) -> u64 {
        if ctx.has(EndsBug::RetryAtOnce) {
            return 0;
        }
        self.fold.rest_of_delay_ns(ticket, |failures| retry_delay_ms(failures as u32) * 1_000_000).div_ceil(1_000_000)
    }
}

/// A ticket as this build reads it: all of it, if nothing is planted.
pub(super) fn read_ticket(ctx: &Ctx, ticket: PackTicket) -> PackTicket {
    ctx.with(|core| crate::ends::shadow::as_read(core.bug, ticket))
}

pub(super) fn ack_delay_ms(ctx: &Ctx) -> u64 {
    if ctx.has(EndsBug::AckAtOnce) { 0 } else { durable_after_ms(ctx) }
}

/// When nothing of a store can be lost any more.
pub(super) fn durable_after_ms(ctx: &Ctx) -> u64 {
    ack_delay_ns(ctx.with(|core| core.scenario.sync)) / 1_000_000
}

pub(super) fn snapshot_of(ctx: &Ctx, term: &Term) -> Rc<Snapshot> {
    let snapshot = Snapshot::of(&term.fold, term.seen.clone());
    if ctx.has(EndsBug::SnapshotBehind) {
        let log = ctx.with(|core| core.server.log.info().last_pos);
        let ts = ctx.with(|core| core.server.log.at(log).map_or(0, |message| message.ts));
        return Rc::new(planted_position(&snapshot, log, ts));
    }
    Rc::new(snapshot)
}

/// Planted: a position of another moment.
fn planted_position(snapshot: &Snapshot, pos: u64, pos_ts: u64) -> Snapshot {
    let mut value = serde_json::to_value(snapshot).expect("a snapshot can be written");
    value["pos"] = pos.into();
    value["pos_ts"] = pos_ts.into();
    serde_json::from_value(value).expect("and read")
}
