//! What a leader does after each reconnect, before anything else: is the log still the one that it has folded, has JOBS lost its tail, and which
//! packs came a second time? Until then it judges no delivery, acknowledges nothing and decides nothing.

use faultline_engine::ends::{Books, Delivery, Entry, Judgement, LogCheck, Looked, PackTicket, Seen, TaskKind, WentBack};

use super::read::{self, log_info, sight};
use super::term::{ASK_MS, Shared, Term, read_ticket};
use crate::ends::EndsBug;
use crate::ends::exec::Ctx;
use crate::ends::message::{AckWord, ConsumerName, JobsInfo, Queued, Reply, Request};

/// A pack is not forgotten when all that was stored up to so long after its end has been looked at.
const OWED_NS: u64 = 120_000_000_000;

pub(super) async fn pass(ctx: &Ctx, shared: &Shared) {
    let Some(connection) = ctx.connection() else { return };
    if ctx.has(EndsBug::NoBarrier) {
        shared.borrow_mut().checked = Some(connection);
    }
    let pos = shared.borrow().fold.pos();
    let Some(sight) = sight(ctx, pos).await else { return };
    let check = shared.borrow().fold.check(sight);
    if check != LogCheck::Fits && !ctx.has(EndsBug::NoPositionCheck) {
        ctx.note(|| format!("finds another log: {check:?} at {pos}"));
        shared.borrow_mut().is_over = true;
        return;
    }
    let Some(log) = log_info(ctx).await else { return };
    while shared.borrow().fold.pos() < log.last_pos {
        // A piece at a time: others use the term meanwhile.
        let from = read::next_read(ctx, &shared.borrow().fold);
        let Some(Reply::LogPart(part)) = ctx.ask(Request::ReadLog { from }, ASK_MS).await else { return };
        let read = read::apply_part(ctx, &mut shared.borrow_mut(), &part);
        if shared.borrow().is_over {
            return;
        }
        if read == 0 {
            ctx.sleep(50).await;
        }
        if ctx.connection() != Some(connection) {
            return;
        }
    }
    let Some(Reply::Jobs(jobs)) = ctx.ask(Request::JobsInfo, ASK_MS).await else { return };
    let mut term = shared.borrow_mut();
    read::repeat_unread(ctx, &mut term);
    look_around(ctx, &mut term, &jobs);
    if ctx.connection() == Some(connection) {
        hand_back(ctx, &jobs, connection);
        term.checked = Some(connection);
    }
}

/// What has become of JOBS since it was seen last? Nothing in it is judged before the log says that it went back.
pub(super) fn look_around(ctx: &Ctx, term: &mut Term, jobs: &JobsInfo) {
    term.r#gen = jobs.r#gen;
    term.is_setback_unread = report_setback(ctx, term, jobs);
    if !term.is_setback_unread {
        look(ctx, term, jobs);
    }
}

/// Packs that came a second time are found while the first one is remembered, however long they wait in the queue. Then the log says that all
/// that was stored by then has been looked at, so that older packs can be forgotten.
pub(super) fn look(ctx: &Ctx, term: &mut Term, jobs: &JobsInfo) {
    let (mut looked_ts, mut has_second_use) = (jobs.ts, false);
    for message in &jobs.present {
        let ticket = read_ticket(ctx, message.ticket);
        if term.packs.get(ticket).is_some() || ctx.has(EndsBug::NoResubmissionCheck) || ctx.has(EndsBug::NoLook) {
            continue;
        }
        let pack = (message.pack.id, message.pack.count());
        match term.fold.judge(Delivery { ticket, named: named(message) }, Books::default()) {
            Judgement::ResubmittedUnder { first, tasks } => {
                let void = TaskKind::Void { first };
                let entries = tasks.iter().map(|idx| read::decision(term, ticket.task(idx), pack, void, None)).collect::<Vec<_>>();
                term.decisions.extend(entries);
            }
            // Its dead letters may still be owed.
            Judgement::Closed { last_end_ts: Some(end_ts) } => looked_ts = looked_ts.min(end_ts + OWED_NS),
            // Only the exact time of the first use tells the two apart, and that is forgotten with it. So is a wrong name.
            Judgement::WentBack | Judgement::Misnamed { .. } => has_second_use = true,
            _ => {}
        }
    }
    if !has_second_use {
        term.decisions.push_back(Entry::Looked(Looked { epoch: term.epoch, ts: looked_ts }));
    }
}

/// What can be read of a message: its pack and its count.
pub(super) fn named(message: &Queued) -> Option<(faultline_engine::job::PackId, u16)> {
    (!message.pack.is_garbage).then(|| (message.pack.id, message.pack.count()))
}

/// JOBS has lost what was delivered, or has given its sequences to others already. Whether it is so.
fn report_setback(ctx: &Ctx, term: &mut Term, jobs: &JobsInfo) -> bool {
    let r#gen = read_ticket(ctx, PackTicket { r#gen: jobs.r#gen, seq: 1, ts: 0 }).r#gen;
    let Some(Seen { last_seq, last_ts }) = term.seen.get(&r#gen).copied() else { return false };
    // Either it is shorter, or it has grown again, and the very sequence that was seen last has a later message now.
    let is_later = |ticket: &PackTicket| ticket.seq <= last_seq && ticket.ts > last_ts;
    let later: Vec<PackTicket> = jobs.present.iter().map(|message| message.ticket).filter(is_later).collect();
    let is_back = jobs.last_seq < last_seq || later.last().is_some_and(|ticket| ticket.seq == last_seq);
    let to_seq = if is_back { later.first().map_or(jobs.last_seq, |ticket| ticket.seq - 1) } else { last_seq };
    let is_told = to_seq < last_seq && !ctx.has(EndsBug::SetbackUntold);
    if is_told {
        ctx.note(|| format!("finds that JOBS went back from {last_seq} to {to_seq}"));
        let setback = WentBack { epoch: term.epoch, r#gen, from_seq: last_seq, from_ts: last_ts, to_seq };
        term.decisions.push_back(Entry::WentBack(setback));
    }
    is_told
}

/// What was delivered to a predecessor, or on an earlier connection, comes again at once instead of after the ack timeout.
pub(super) fn hand_back(ctx: &Ctx, jobs: &JobsInfo, connection: u32) {
    if ctx.has(EndsBug::NoHandBack) {
        return;
    }
    for message in &jobs.present {
        let (priority, seq) = (message.pack.priority, message.ticket.seq);
        let (delivered_seq, delivered) = jobs.delivered[priority];
        if seq <= delivered_seq {
            let consumer_seq = if ctx.has(EndsBug::WrongConsumerSequence) { delivered + 1 } else { delivered };
            let consumer = ConsumerName { r#gen: jobs.r#gen, priority };
            ctx.say(Request::Ack { consumer, seq, word: AckWord::Again { consumer_seq } }, Some(connection));
        }
    }
}
