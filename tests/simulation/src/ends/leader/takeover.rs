//! How a term begins: the fold, the epoch, and what the predecessor had.

use std::collections::{BTreeMap, HashMap, VecDeque};

use faultline_engine::ends::{Entry, Fold, LogCheck};

use super::barrier;
use super::books::Packs;
use super::read::{self, log_info, sight};
use super::term::{ASK_MS, Shared, Term, durable_after_ms, snapshot_of};
use crate::ends::EndsBug;
use crate::ends::exec::Ctx;
use crate::ends::message::{LogInfo, Push, Reply, Request, Saved, SeenJobs};

/// How long a new leader listens to what runs already.
const LISTEN_MS: u64 = 700;
/// Above this part of its limit a new leader makes room in the log first.
const ROOM_PERCENT: u64 = 80;

/// None when nothing came of it.
pub(super) async fn begin(ctx: &Ctx, revision: u64) -> Option<Term> {
    let connection = ctx.connection()?;
    let is_direct = ctx.has(EndsBug::OneSnapshot);
    let Reply::Ledger(saved) = ctx.ask(Request::LoadLedger { is_direct }, ASK_MS).await? else { return None };
    let log = log_info(ctx).await?;
    let (fold, seen) = load(ctx, &saved, log).await?;
    let mut term = Term {
        epoch: 0,
        revision,
        is_over: false,
        is_placing: false,
        fold,
        r#gen: faultline_engine::ends::Gen(0),
        seen,
        checked: None,
        packs: Packs::default(),
        closing: BTreeMap::new(),
        decisions: VecDeque::new(),
        under_way: None,
        unread: VecDeque::new(),
        is_setback_unread: false,
        letters: VecDeque::new(),
        nodes: BTreeMap::new(),
        named: HashMap::new(),
        attempts: 0,
        above_heard: 0,
        ledger_revision: saved.last().map_or(0, |saved| saved.revision),
        saved: VecDeque::new(),
        is_log_nearly_full: false,
        is_suspecting: false,
    };
    read_to(ctx, &mut term, log.last_pos).await?;
    let Reply::Jobs(jobs) = ctx.ask(Request::JobsInfo, ASK_MS).await? else { return None };
    if log.bytes * 100 > log.limit * ROOM_PERCENT {
        make_room(ctx, &mut term, connection).await?;
    }
    term.epoch = if ctx.has(EndsBug::EpochBelowTerm) { revision } else { term.fold.epoch_for(revision) };
    begin_term(ctx, &mut term, connection).await?;
    ctx.tell(Push::Sync { epoch: term.epoch });
    barrier::look_around(ctx, &mut term, &jobs);
    barrier::hand_back(ctx, &jobs, connection);
    term.checked = (ctx.connection() == Some(connection)).then_some(connection);
    Some(term)
}

pub(super) async fn listen(ctx: &Ctx, term: &Shared) {
    ctx.sleep(LISTEN_MS).await;
    term.borrow_mut().is_placing = true;
}

/// The newest snapshot that fits the log, or what is left of the log.
async fn load(ctx: &Ctx, saved: &[Saved], log: LogInfo) -> Option<(Fold, SeenJobs)> {
    let newest_seen = saved.last().map(|saved| saved.snapshot.seen().clone()).unwrap_or_default();
    let tried = if ctx.has(EndsBug::OneSnapshot) { 1 } else { saved.len() };
    for saved in saved.iter().rev().take(tried) {
        let snapshot = &saved.snapshot;
        let fold = snapshot.restore().expect("a snapshot that was taken can be restored");
        if fold.check(sight(ctx, snapshot.pos()).await?) == LogCheck::Fits {
            return Some((fold, newest_seen));
        }
    }
    if log.first_pos > 1 {
        ctx.with(|core| core.stats.from_remains += 1);
        ctx.note(|| format!("finds no snapshot that fits, and begins with the remains of the log at {}", log.first_pos));
    }
    Some((Fold::from_remains(log.first_pos), newest_seen))
}

/// Folds the log up to this position, however far behind the replica is that answers.
pub(super) async fn read_to(ctx: &Ctx, term: &mut Term, last_pos: u64) -> Option<()> {
    let mut tries = 0;
    while term.fold.pos() < last_pos {
        let from = read::next_read(ctx, &term.fold);
        let Reply::LogPart(part) = ctx.ask(Request::ReadLog { from }, ASK_MS).await? else { return None };
        if read::apply_part(ctx, term, &part) == 0 {
            ctx.sleep(50).await;
        }
        tries += 1;
        if term.is_over || tries > 400 {
            return None;
        }
    }
    Some(())
}

/// Says in the log that the term begins, and looks whether another one did meanwhile.
async fn begin_term(ctx: &Ctx, term: &mut Term, connection: u32) -> Option<()> {
    if ctx.has(EndsBug::NoTerm) {
        return Some(());
    }
    let entries = [Entry::Term { epoch: term.epoch }].into();
    let append = Request::Append { entries, is_leaders: true };
    let Reply::Stored { seq } = ctx.ask_on(Some(connection), append, ASK_MS).await? else { return None };
    // Another term before it, of this epoch or a higher one, ends this one.
    let is_read = read_to(ctx, term, seq).await;
    if ctx.has(EndsBug::EpochBelowTerm) {
        term.is_over = false;
        return Some(());
    }
    is_read.filter(|()| !term.is_over)
}

/// A log that is nearly full takes no term either.
async fn make_room(ctx: &Ctx, term: &mut Term, connection: u32) -> Option<()> {
    if ctx.has(EndsBug::KeepBeforeRoom) {
        return Some(());
    }
    let snapshot = snapshot_of(ctx, term);
    let pos = snapshot.pos();
    let over = term.ledger_revision;
    let Reply::Stored { seq } = ctx.ask_on(Some(connection), Request::SaveLedger { over, snapshot }, ASK_MS).await? else { return None };
    term.ledger_revision = seq;
    // Until that snapshot cannot be lost any more.
    ctx.sleep(durable_after_ms(ctx)).await;
    // And not on a log that went back meanwhile.
    let only_on = (!ctx.has(EndsBug::TrimAcrossConnections)).then_some(connection);
    ctx.ask_on(only_on, Request::Trim { before: pos }, ASK_MS).await.map(drop)
}

/// Workers that have heard of a higher epoch refuse this one. Only for a leader that has just renewed its lease.
pub(super) async fn raise_epoch(ctx: &Ctx, term: &Shared) {
    let (epoch, above_heard, connection) = {
        let term = term.borrow();
        (term.epoch, term.above_heard, term.checked)
    };
    if above_heard <= epoch || ctx.has(EndsBug::EpochMayFall) {
        return;
    }
    ctx.note(|| format!("raises its epoch from {epoch} to {above_heard}, since workers know a higher one"));
    term.borrow_mut().epoch = above_heard;
    let entries = [Entry::Term { epoch: above_heard }].into();
    if ctx.ask_on(connection, Request::Append { entries, is_leaders: true }, ASK_MS).await.is_none() {
        // It may be in the log or not: a term of its own tells.
        term.borrow_mut().is_over = true;
    }
    ctx.tell(Push::Sync { epoch: above_heard });
}
