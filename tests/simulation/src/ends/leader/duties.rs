//! What a leader does all the time: it appends what it decides, writes letters, acknowledges late, keeps what is well, saves its fold, and trims.

use std::collections::BTreeSet;
use std::rc::Rc;

use faultline_engine::ends::{Custody, Entry, PackTicket, TaskKind};

use super::barrier;
use super::books::Held;
use super::read;
use super::term::{ASK_MS, BATCH, Closing, SILENCE_MS, Shared, Term, ack_delay_ms, durable_after_ms, snapshot_of};
use crate::ends::EndsBug;
use crate::ends::exec::Ctx;
use crate::ends::message::{AckWord, Reply, Request};

const DECIDE_EACH_MS: u64 = 20;
const ACK_EACH_MS: u64 = 100;
const KEEP_EACH_MS: u64 = 5_000;
const SAVE_EACH_MS: u64 = 1_000;
const LOOK_EACH_MS: u64 = 10_000;
/// Trimmed from here on, and nothing more is placed from there on.
const TRIM_PERCENT: u64 = 50;
const FULL_PERCENT: u64 = 90;
/// A closed pack that was not delivered again for so long is gone from JOBS.
const FORGOTTEN_MS: u64 = 60_000;
/// Planted: what is always kept.
const KEPT: u64 = 300;

/// One append under way, repeated until it is stored.
pub(super) async fn decide(ctx: Ctx, term: Shared) {
    while !term.borrow().is_over {
        // Not before it is known that the log is the one by which it was decided.
        if !term.borrow().is_clear(&ctx) && !ctx.has(EndsBug::DecideAcrossConnections) {
            ctx.sleep(DECIDE_EACH_MS).await;
            continue;
        }
        let Some(batch) = next_batch(&mut term.borrow_mut()) else {
            ctx.sleep(DECIDE_EACH_MS).await;
            continue;
        };
        let only_on = if ctx.has(EndsBug::DecideAcrossConnections) { None } else { term.borrow().checked };
        if ctx.has(EndsBug::AckBeforeEnd) {
            acknowledge_decided(&ctx, &term, &batch);
        }
        let append = Request::Append { entries: Rc::clone(&batch), is_leaders: true };
        match ctx.ask_on(only_on, append, ASK_MS).await {
            Some(Reply::Stored { seq }) => {
                let mut term = term.borrow_mut();
                term.under_way = None;
                if term.fold.pos() < seq {
                    term.unread.push_back((seq, batch));
                }
            }
            _ => ctx.sleep(100).await,
        }
    }
}

/// What has no answer yet, or else what is next.
fn next_batch(term: &mut Term) -> Option<Rc<[Entry]>> {
    if term.under_way.is_none() {
        let some = term.decisions.len().min(BATCH);
        term.under_way = (some > 0).then(|| term.decisions.drain(..some).collect());
    }
    term.under_way.clone()
}

/// Planted.
fn acknowledge_decided(ctx: &Ctx, term: &Shared, batch: &[Entry]) {
    let term = term.borrow();
    for entry in batch {
        let Entry::Task(task) = entry else { continue };
        let is_end = !matches!(task.kind, TaskKind::Failed { .. });
        if let Some(held) = term.packs.get(task.ticket.of_pack()).filter(|_| is_end && task.count == 1) {
            ctx.say(Request::Ack { consumer: held.consumer(), seq: task.ticket.seq, word: AckWord::Done }, Some(held.connection));
        }
    }
}

/// Letters first. A pack is acknowledged on the connection that delivered it, or not before it is delivered again.
pub(super) async fn acknowledge(ctx: Ctx, term: Shared) {
    while !term.borrow().is_over {
        ctx.sleep(ACK_EACH_MS).await;
        write_letters(&ctx, &term).await;
        let mut term = term.borrow_mut();
        let is_bound = !ctx.has(EndsBug::AckAcrossConnections);
        if is_bound && !term.is_clear(&ctx) {
            continue;
        }
        let (now, connection) = (ctx.now(), ctx.connection());
        let owed: BTreeSet<PackTicket> = term.letters.iter().map(|(_, ticket, _)| ticket.of_pack()).collect();
        let is_due = |(ticket, closing): &(&PackTicket, &Closing)| closing.due_ms <= now && !owed.contains(ticket);
        let due: Vec<_> =
            term.closing.iter().filter(is_due).map(|(ticket, closing)| (*ticket, closing.delivered, closing.due_ms)).collect();
        for (ticket, delivered, due_ms) in due {
            match delivered {
                Some((on, consumer)) if !is_bound || Some(on) == connection => {
                    let only_on = is_bound.then_some(on);
                    ctx.say(Request::Ack { consumer, seq: ticket.seq, word: AckWord::Done }, only_on);
                    term.closing.remove(&ticket);
                }
                _ if due_ms + FORGOTTEN_MS < now => drop(term.closing.remove(&ticket)),
                _ => {}
            }
        }
    }
}

/// A letter says what may not be lost any more, and the acknowledgement waits until the letter may not be either.
async fn write_letters(ctx: &Ctx, term: &Shared) {
    loop {
        let (now, front) = (ctx.now(), term.borrow().letters.front().copied());
        let connection = term.borrow().checked;
        let Some((_, ticket, job)) = front.filter(|(due_ms, ..)| *due_ms <= now && term.borrow().is_clear(ctx)) else { return };
        if ctx.ask_on(connection, Request::Letter { ticket, job }, ASK_MS).await.is_none() {
            return;
        }
        let mut term = term.borrow_mut();
        term.letters.pop_front();
        let due_ms = ctx.now() + ack_delay_ms(ctx);
        if let Some(closing) = term.closing.get_mut(&ticket.of_pack()) {
            closing.due_ms = closing.due_ms.max(due_ms);
        }
    }
}

/// Signs of progress for what is accounted for, and for nothing else.
pub(super) async fn keep(ctx: Ctx, term: Shared) {
    while !term.borrow().is_over {
        ctx.sleep(KEEP_EACH_MS).await;
        let mut term = term.borrow_mut();
        if !term.is_clear(&ctx) {
            continue;
        }
        let now = ctx.now();
        let is_blind = ctx.has(EndsBug::KeepDead);
        let is_careless = ctx.has(EndsBug::KeepMisnamed);
        let name = |held: &Held| term.fold.open_name(held.ticket).filter(|_| is_careless).unwrap_or(held.name());
        let mut kept = Vec::new();
        for held in term.packs.iter() {
            let custody = term.fold.custody((held.ticket, name(held)), |idx| held.standing(idx), (now, SILENCE_MS));
            if custody == Custody::Keep || is_blind {
                kept.push((held.ticket.seq, held.consumer(), held.connection));
            }
        }
        // What cannot end under this ticket is judged again when it comes, if it is still there.
        let foreign = |held: &Held| term.fold.custody((held.ticket, name(held)), |_| None, (now, 0)) == Custody::Foreign;
        let foreign: Vec<PackTicket> = term.packs.iter().filter(|held| foreign(held)).map(|held| held.ticket).collect();
        foreign.into_iter().for_each(|ticket| drop(term.packs.remove(ticket)));
        let closing = term.closing.iter();
        kept.extend(closing.filter_map(|(ticket, closing)| closing.delivered.map(|(on, consumer)| (ticket.seq, consumer, on))));
        for (seq, consumer, on) in kept {
            ctx.say(Request::Ack { consumer, seq, word: AckWord::InProgress }, Some(on));
        }
    }
}

pub(super) async fn save(ctx: Ctx, term: Shared) {
    while !term.borrow().is_over {
        ctx.sleep(SAVE_EACH_MS).await;
        if !term.borrow().is_clear(&ctx) {
            continue;
        }
        let (snapshot, over, connection) = {
            let term = term.borrow();
            (snapshot_of(&ctx, &term), term.ledger_revision, term.checked)
        };
        let pos = snapshot.pos();
        match ctx.ask_on(connection, Request::SaveLedger { over, snapshot }, ASK_MS).await {
            Some(Reply::Stored { seq }) => {
                let mut term = term.borrow_mut();
                term.ledger_revision = seq;
                term.saved.push_back((ctx.now(), pos));
            }
            Some(_) => look_who_saved(&ctx, &term).await,
            None => look_who_saved(&ctx, &term).await,
        }
        trim(&ctx, &term, connection).await;
    }
}

/// What waits in JOBS is looked at again and again, and the log says so.
pub(super) async fn look(ctx: Ctx, term: Shared) {
    while !term.borrow().is_over {
        ctx.sleep(LOOK_EACH_MS).await;
        let connection = term.borrow().checked;
        if !term.borrow().may_judge(&ctx) || !reads_to_the_end(&ctx, &term).await {
            continue;
        }
        let Some(Reply::Jobs(jobs)) = ctx.ask_on(connection, Request::JobsInfo, ASK_MS).await else { continue };
        let mut term = term.borrow_mut();
        if term.may_judge(&ctx) && term.checked == connection && term.r#gen == jobs.r#gen {
            barrier::look(&ctx, &mut term, &jobs);
        }
    }
}

/// A replica may be so far behind that a pack which a message repeats would be looked at as one that has not ended.
async fn reads_to_the_end(ctx: &Ctx, term: &Shared) -> bool {
    let Some(log) = read::log_info(ctx).await else { return false };
    let until_ms = ctx.now() + ASK_MS;
    while term.borrow().fold.pos() < log.last_pos && ctx.now() < until_ms {
        ctx.sleep(50).await;
    }
    term.borrow().fold.pos() >= log.last_pos
}

/// Another one saved, or what this one saved was stored without an answer.
async fn look_who_saved(ctx: &Ctx, term: &Shared) {
    let Some(Reply::Ledger(saved)) = ctx.ask(Request::LoadLedger { is_direct: false }, ASK_MS).await else { return };
    let mut term = term.borrow_mut();
    match saved.last() {
        Some(saved) if saved.snapshot.term() > term.epoch => term.is_over = true,
        newest => term.ledger_revision = newest.map_or(0, |saved| saved.revision),
    }
    // What was saved may be gone.
    term.saved.clear();
}

/// Up to a snapshot that cannot be lost any more, so that there is always one that fits what is left of the log.
async fn trim(ctx: &Ctx, term: &Shared, connection: Option<u32>) {
    let Some(log) = read::log_info(ctx).await else { return };
    let before = {
        let mut term = term.borrow_mut();
        // It is shorter than what was read, and may stay so for long.
        if log.last_pos < term.fold.pos() && !ctx.has(EndsBug::NoPositionCheck) {
            term.is_over = true;
        }
        term.is_log_nearly_full = log.bytes * 100 > log.limit * FULL_PERCENT;
        if !term.is_clear(ctx) || log.bytes * 100 < log.limit * TRIM_PERCENT {
            return;
        }
        let newest = term.saved.back().map(|(_, pos)| *pos);
        let durable_ms = ctx.now().saturating_sub(durable_after_ms(ctx));
        let durable = term.saved.iter().rev().find(|(at, _)| *at <= durable_ms).map(|(_, pos)| *pos);
        match () {
            () if ctx.has(EndsBug::OneSnapshot) => newest,
            () if ctx.has(EndsBug::TrimTooFar) => newest.map(|pos| pos + 1),
            () if ctx.has(EndsBug::KeepBeforeRoom) => durable.map(|pos| pos.min(log.last_pos.saturating_sub(KEPT))),
            () => durable,
        }
    };
    if let Some(before) = before.filter(|before| *before > log.first_pos) {
        ctx.ask_on(connection, Request::Trim { before }, ASK_MS).await;
    }
}
