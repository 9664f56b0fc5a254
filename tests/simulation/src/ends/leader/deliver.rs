//! What a leader does with each delivery, as the engine judges it.

use std::rc::Rc;

use faultline_engine::ends::{Delivery, Entry, Judgement, PackTicket, Republished, Seen, TaskKind, Tasks};
use faultline_engine::job::{JobId, PackId};

use super::barrier::named;
use super::books::{Held, Task};
use super::read;
use super::term::{ASK_MS, BATCH, Closing, SILENCE_MS, Shared, Term, ack_delay_ms, durable_after_ms, read_ticket};
use crate::ends::EndsBug;
use crate::ends::exec::Ctx;
use crate::ends::message::{AckWord, ConsumerName, Delivered, MsgId, Queued, Reply, Request};

const PULL_MS: u64 = 1_000;
/// A pack that came so often and never got anywhere is handled alone.
const SUSPECT_FROM: u64 = 3;
/// Leaders that may die of a pack while it is suspected.
const SUSPECT_TRIES: u32 = 3;

pub(super) async fn run(ctx: Ctx, term: Shared, priority: usize) {
    while !term.borrow().is_over {
        let may_judge = term.borrow().may_judge(&ctx);
        let Some(connection) = ctx.connection().filter(|_| may_judge) else {
            ctx.sleep(20).await;
            continue;
        };
        let consumer = ConsumerName { r#gen: term.borrow().r#gen, priority };
        let pull = Request::Pull { consumer, expires_ms: PULL_MS };
        match ctx.ask_on(Some(connection), pull, PULL_MS + 300).await {
            Some(Reply::Deliveries(deliveries)) => {
                for delivered in deliveries {
                    // Not judged: it comes again after the ack timeout.
                    if term.borrow().may_judge(&ctx) && ctx.connection() == Some(connection) {
                        on_delivered(&ctx, &term, &delivered, connection).await;
                    }
                }
            }
            // JOBS was made anew.
            Some(_) => {
                term.borrow_mut().checked = None;
                ctx.sleep(100).await;
            }
            None => {}
        }
    }
}

async fn on_delivered(ctx: &Ctx, term: &Shared, delivered: &Delivered, connection: u32) {
    let message = &delivered.message;
    let ticket = read_ticket(ctx, message.ticket);
    note_seen(term, ticket);
    loop {
        let (judgement, is_new) = {
            let term = term.borrow();
            // To settle two tickets takes a while.
            if !term.may_judge(ctx) || ctx.connection() != Some(connection) {
                return;
            }
            let judgement = judge(ctx, &term, ticket, message);
            ctx.note(|| format!("is delivered {ticket}, {} times by now: {judgement:?}", delivered.deliveries));
            (judgement, matches!(judgement, Judgement::New { .. }))
        };
        if is_new && delivered.deliveries >= SUSPECT_FROM && !ctx.has(EndsBug::NoSuspicion) {
            return handle_alone(ctx, term, message, ticket, connection).await;
        }
        if let Judgement::OpenUnder { other } = judgement {
            if !resolve(ctx, term, message, (ticket, connection), other).await {
                continue;
            }
            return;
        }
        return act(ctx, term, message, (ticket, connection), judgement).await;
    }
}

fn note_seen(term: &Shared, ticket: PackTicket) {
    let mut term = term.borrow_mut();
    let seen = term.seen.entry(ticket.r#gen).or_default();
    *seen = Seen { last_seq: ticket.seq.max(seen.last_seq), last_ts: ticket.ts.max(seen.last_ts) };
}

fn judge(ctx: &Ctx, term: &Term, ticket: PackTicket, message: &Queued) -> Judgement {
    let pack = named(message).map_or(ticket.stand_in(), |(pack, _)| pack);
    let books = term.packs.about(ticket, pack);
    let delivery = Delivery { ticket, named: named(message) };
    let judgement = term.fold.judge(delivery, books);
    let is_unchecked = ctx.has(EndsBug::NoResubmissionCheck);
    match judgement {
        Judgement::ResubmittedUnder { .. } | Judgement::OpenUnder { .. } if is_unchecked => Judgement::New { is_checked: true },
        Judgement::WentBack if ctx.has(EndsBug::NoRepublish) => Judgement::Closed { last_end_ts: None },
        Judgement::TooOld { .. } if ctx.has(EndsBug::RepeatedForEver) => Judgement::New { is_checked: true },
        judgement => judgement,
    }
}

async fn act(ctx: &Ctx, shared: &Shared, message: &Rc<Queued>, (ticket, connection): (PackTicket, u32), judgement: Judgement) {
    let pack = Delivery { ticket, named: named(message) }.name().unwrap_or((ticket.stand_in(), 1));
    match judgement {
        Judgement::Closed { .. } => {
            let due_ms = ctx.now() + ack_delay_ms(ctx);
            let mut term = shared.borrow_mut();
            let closing = term.closing.entry(ticket).or_insert(Closing { due_ms, delivered: None });
            closing.delivered = Some((connection, message.consumer()));
            owe_letters(ctx, &mut term, ticket, pack.1);
        }
        Judgement::InBooks => {
            let (now, mut term) = (ctx.now(), shared.borrow_mut());
            // DEAD may have lost the letters that were written before this connection.
            owe_letters(ctx, &mut term, ticket, pack.1);
            if let Some(held) = term.packs.get_mut(ticket) {
                held.connection = connection;
                let silent = held.silent_since(now.saturating_sub(SILENCE_MS));
                term.free(ctx, &silent);
            }
        }
        Judgement::WentBack => {
            if publish_again(ctx, shared, message, (ticket, connection)).await.is_some() {
                ctx.say(Request::Ack { consumer: message.consumer(), seq: ticket.seq, word: AckWord::Done }, Some(connection));
            }
        }
        Judgement::Misnamed { known } => {
            shared.borrow_mut().packs.remove(ticket);
            let is_published = publish_again(ctx, shared, message, (ticket, connection)).await.is_some();
            if is_published || ctx.has(EndsBug::MisnamedUnpublished) {
                known.into_iter().for_each(|name| give_up(shared, ticket, name, ticket));
            }
        }
        Judgement::ResubmittedUnder { first, tasks } => {
            hold(ctx, shared, message, (ticket, connection), pack);
            end_all(shared, ticket, pack, &tasks, TaskKind::Void { first });
        }
        Judgement::OpenUnder { .. } => {}
        Judgement::TooOld { pack: name } => {
            let pack = (if ctx.has(EndsBug::TooOldByName) { pack.0 } else { name }, pack.1);
            hold(ctx, shared, message, (ticket, connection), pack);
            end_all(shared, ticket, pack, &(0..pack.1).collect(), TaskKind::Dead);
        }
        Judgement::Unreadable => {
            let pack = named(message).filter(|_| ctx.has(EndsBug::OddCountByName)).unwrap_or(pack);
            hold(ctx, shared, message, (ticket, connection), pack);
            end_all(shared, ticket, pack, &(0..1).collect(), TaskKind::Dead);
        }
        Judgement::New { .. } => {
            if message.pack.is_poison {
                ctx.note(|| format!("looks into {}, which is poison", message.pack.id));
                ctx.die().await;
            }
            hold(ctx, shared, message, (ticket, connection), pack);
        }
    }
}

/// The pack is in the books, with what the log knows of it, and what heartbeats say.
fn hold(ctx: &Ctx, shared: &Shared, message: &Rc<Queued>, (ticket, connection): (PackTicket, u32), (pack, count): (PackId, u16)) {
    let now = ctx.now();
    let mut term = shared.borrow_mut();
    let ended = term.fold.ended_tasks(ticket);
    let task = |idx: u16| {
        if ended.contains(idx) {
            return Task::Ended;
        }
        // A worker names an attempt until it knows that its end is stored, so that the log may have its failure by now.
        let has_failed = |attempt| term.fold.failures_of(ticket.task(idx)).iter().any(|failure| failure.attempt == attempt);
        match term.named.get(&ticket.task(idx)) {
            Some((attempt, worker, heard_ms, began_ms)) if heard_ms + SILENCE_MS > now && !has_failed(*attempt) => {
                let incarnation = term.nodes.get(worker).map_or(0, |node| node.incarnation);
                let (attempt, worker) = (*attempt, *worker);
                Task::Placed { attempt, worker, incarnation, placed_ms: *heard_ms, began_ms: Some(*began_ms), heard_ms: *heard_ms }
            }
            _ => Task::Waiting { due_ms: now + term.rest_of_delay_ms(ctx, ticket.task(idx)) },
        }
    };
    let tasks = (0..count).map(task).collect();
    owe_letters(ctx, &mut term, ticket, count);
    term.packs.insert(Held { message: Rc::clone(message), ticket, pack, tasks, connection, is_given_up: false });
}

/// A predecessor may have died before it wrote them.
fn owe_letters(ctx: &Ctx, term: &mut Term, ticket: PackTicket, count: u16) {
    if let Some((pack, dead)) = term.fold.dead_tasks(ticket).filter(|_| !ctx.has(EndsBug::LettersOnce)) {
        let due_ms = ctx.now() + ack_delay_ms(ctx);
        term.letters.extend(dead.iter().map(|idx| (due_ms, ticket.task(idx), JobId::of(pack, idx, count))));
    }
}

/// The leader decides so for those of these tasks that have not ended.
fn end_all(shared: &Shared, ticket: PackTicket, pack: (PackId, u16), tasks: &Tasks, kind: TaskKind) {
    let mut term = shared.borrow_mut();
    let ended = term.fold.ended_tasks(ticket);
    for idx in tasks.iter().filter(|idx| !ended.contains(*idx)) {
        let entry = read::decision(&term, ticket.task(idx), pack, kind, None);
        term.decisions.push_back(entry);
        if let Some(task) = term.packs.task_mut(ticket.task(idx))
            && *task != Task::Ended
        {
            *task = Task::Decided(None);
        }
    }
}

/// What has not ended under this ticket, by the name that the log knows, is void.
fn give_up(shared: &Shared, ticket: PackTicket, name: (PackId, u16), first: PackTicket) {
    end_all(shared, ticket, name, &(0..name.1).collect(), TaskKind::Void { first });
}

/// The pack cannot end under this ticket: JOBS gave the sequence to another message before, or a worker gave it another name. Under a sequence of
/// its own it can. None when nothing tells that JOBS has it there.
async fn publish_again(ctx: &Ctx, shared: &Shared, message: &Rc<Queued>, (ticket, connection): (PackTicket, u32)) -> Option<()> {
    let epoch = shared.borrow().epoch;
    let pack = Delivery { ticket, named: named(message) }.name().map_or(ticket.stand_in(), |(pack, _)| pack);
    let republished = Republished { epoch, ticket, pack, is_stored: false };
    let append = Request::Append { entries: [Entry::Republished(republished)].into(), is_leaders: true };
    let Reply::Stored { seq } = ctx.ask_on(Some(connection), append, ASK_MS).await? else { return None };
    // Read back: the pack is judged by it when it comes, which may be at once.
    while shared.borrow().fold.pos() < seq && !ctx.has(EndsBug::RepublishedUnread) {
        ctx.sleep(20).await;
        if shared.borrow().is_over {
            return None;
        }
    }
    // Nor may the log lose it: by the time at which it comes now, the pack may be too old.
    if !ctx.has(EndsBug::RepublishedUnread) {
        ctx.sleep(durable_after_ms(ctx)).await;
    }
    let id = MsgId { pack, again: Some(message.ticket) };
    let submit = Request::Submit { pack: Rc::clone(&message.pack), id };
    let Reply::Done = ctx.ask_on(Some(connection), submit, ASK_MS).await? else { return None };
    ctx.with(|core| core.stats.republished += 1);
    ctx.spawn(say_stored(ctx.clone(), Rc::clone(shared), republished, connection));
    Some(())
}

/// Not before JOBS cannot lose it any more: from then on nothing is owed to the message that was published again.
async fn say_stored(ctx: Ctx, shared: Shared, republished: Republished, connection: u32) {
    if !ctx.has(EndsBug::StoredAtOnce) {
        ctx.sleep(durable_after_ms(&ctx)).await;
    }
    let mut term = shared.borrow_mut();
    if term.is_clear(&ctx) && term.checked == Some(connection) {
        term.decisions.push_back(Entry::Republished(Republished { is_stored: true, ..republished }));
    }
}

/// Whether JOBS has the same pack there, and it can end there. A worker may have put the name of one pack to the ticket of another.
fn is_other(ctx: &Ctx, term: &Term, message: &Queued, other: PackTicket, found: &Queued) -> bool {
    let is_same = named(found).is_some_and(|name| name.0 == message.pack.id && term.fold.can_end(other, name));
    read_ticket(ctx, found.ticket) == other && (is_same || ctx.has(EndsBug::OtherByTicket))
}

/// The pack is open under another ticket: one of the two goes. False when it is to be judged again.
///
/// What it appends rests on what JOBS has at this moment, and waits in no queue that outlives the connection.
async fn resolve(ctx: &Ctx, shared: &Shared, message: &Rc<Queued>, (ticket, connection): (PackTicket, u32), other: PackTicket) -> bool {
    let pack = (message.pack.id, message.pack.count());
    let Some(Reply::Job(found)) = ctx.ask_on(Some(connection), Request::JobAt { seq: other.seq }, ASK_MS).await else { return true };
    let (stays, entries) = {
        let term = shared.borrow();
        let is_there = found.is_some_and(|found| is_other(ctx, &term, message, other, &found));
        if is_there && (other.outlasts(ticket) || ctx.has(EndsBug::VoidForNewer)) {
            (true, voids(&term, ticket, pack, other))
        } else {
            let held = || term.packs.get(other).map(Held::name);
            let Some(name) = term.fold.open_name(other).or_else(held) else { return false };
            (false, voids(&term, other, if ctx.has(EndsBug::VoidByOwnName) { pack } else { name }, ticket))
        }
    };
    // Nothing more of it is placed meanwhile.
    shared.borrow_mut().packs.give_up(other, !stays);
    let is_read = append_and_read(ctx, shared, &entries, connection).await;
    shared.borrow_mut().packs.give_up(other, false);
    // Without an answer on this connection it is judged when it is delivered again. Only the log tells whether this came before an end.
    !is_read
}

/// Whether the leader has read these entries in the log, on this connection.
async fn append_and_read(ctx: &Ctx, shared: &Shared, entries: &[Entry], connection: u32) -> bool {
    let is_bound = || {
        let term = shared.borrow();
        term.is_clear(ctx) && term.checked == Some(connection)
    };
    let mut last_pos = 0;
    for part in entries.chunks(BATCH) {
        last_pos = loop {
            let append = Request::Append { entries: part.into(), is_leaders: true };
            match ctx.ask_on(Some(connection), append, ASK_MS).await {
                Some(Reply::Stored { seq }) => break seq,
                _ if !is_bound() => return false,
                _ => ctx.sleep(100).await,
            }
        };
    }
    while shared.borrow().fold.pos() < last_pos {
        ctx.sleep(20).await;
        if !is_bound() {
            return false;
        }
    }
    true
}

/// What has not ended under this ticket is void in favour of another one.
fn voids(term: &Term, ticket: PackTicket, name: (PackId, u16), first: PackTicket) -> Vec<Entry> {
    let ended = term.fold.ended_tasks(ticket);
    let unended = (0..name.1).filter(|idx| !ended.contains(*idx));
    unended.map(|idx| read::decision(term, ticket.task(idx), name, TaskKind::Void { first }, None)).collect()
}

/// Leaders may have died of it. The next one will know which pack it was, and how often: so one at a time, whatever else comes.
async fn handle_alone(ctx: &Ctx, shared: &Shared, message: &Rc<Queued>, ticket: PackTicket, connection: u32) {
    while shared.borrow().is_suspecting {
        ctx.sleep(10).await;
    }
    shared.borrow_mut().is_suspecting = true;
    try_alone(ctx, shared, message, ticket, connection).await;
    shared.borrow_mut().is_suspecting = false;
}

async fn try_alone(ctx: &Ctx, shared: &Shared, message: &Rc<Queued>, ticket: PackTicket, connection: u32) -> Option<()> {
    let Reply::Tries(tries) = ctx.ask(Request::LoadTries(ticket), ASK_MS).await? else { return None };
    let pack = (message.pack.id, message.pack.count());
    if tries < SUSPECT_TRIES {
        ctx.ask(Request::SaveTries(ticket, tries + 1), ASK_MS).await?;
    }
    let judgement = {
        let term = shared.borrow();
        if !term.is_clear(ctx) || ctx.connection() != Some(connection) {
            return None;
        }
        judge(ctx, &term, ticket, message)
    };
    if tries >= SUSPECT_TRIES && matches!(judgement, Judgement::New { .. }) {
        hold(ctx, shared, message, (ticket, connection), pack);
        end_all(shared, ticket, pack, &(0..pack.1).collect(), TaskKind::Dead);
        return None;
    }
    act(ctx, shared, message, (ticket, connection), judgement).await;
    ctx.ask(Request::SaveTries(ticket, 0), ASK_MS).await.map(drop)
}
