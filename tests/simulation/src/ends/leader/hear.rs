//! What a leader hears from workers, detectors and users.

use std::rc::Rc;

use faultline_engine::ends::{Delivery, Fold, Judgement, TaskKind, Ticket};
use faultline_engine::job::{AttemptId, JobId, PackId};

use super::barrier::named;
use super::books::Task;
use super::read;
use super::term::{ASK_MS, Node, SILENCE_MS, Shared, Term, read_ticket};
use crate::ends::EndsBug;
use crate::ends::exec::Ctx;
use crate::ends::message::{AckWord, Heartbeat, Push, Queued, Reply, Request};

/// An attempt that was placed so long ago should be named by now.
const NAMED_WITHIN_MS: u64 = 2_000;
/// A cancellation that finds two tickets of its pack is tried again, so often.
const SETTLE_MS: u64 = 500;
const SETTLED_WITHIN: usize = 60;

pub(super) async fn run(ctx: Ctx, term: Shared) {
    while !term.borrow().is_over {
        match ctx.receive().await {
            Push::Heartbeat(heartbeat) => on_heartbeat(&ctx, &term, &heartbeat),
            Push::Verdict { worker } => {
                let mut term = term.borrow_mut();
                let freed = term.packs.tasks_that(|task| matches!(task, Task::Placed { worker: of, .. } if *of == worker));
                term.free(&ctx, &freed);
            }
            Push::Cancel { job } => ctx.spawn(cancel(ctx.clone(), Rc::clone(&term), job)),
            Push::Ended(tickets) => on_word(&ctx, &term, &tickets),
            _ => {}
        }
    }
}

fn on_heartbeat(ctx: &Ctx, shared: &Shared, heartbeat: &Heartbeat) {
    let now = ctx.now();
    let mut term = shared.borrow_mut();
    let Heartbeat { worker, incarnation, slots, epoch, durable, ref named } = *heartbeat;
    let above = if ctx.has(EndsBug::AnyEpoch) { Some(epoch.saturating_add(1)) } else { Fold::epoch_above(epoch, term.epoch) };
    term.above_heard = term.above_heard.max(above.unwrap_or(0));
    term.nodes.insert(worker, Node { incarnation, heard_ms: now, slots });
    let mut strangers: Vec<AttemptId> = Vec::new();
    for named in named {
        let began_ms = now.saturating_sub(named.running_ms);
        term.named.insert(named.ticket, (named.attempt, worker, now, began_ms));
        match term.packs.task_mut(named.ticket) {
            Some(Task::Placed { attempt, worker: of, heard_ms, began_ms: known, .. }) if *attempt == named.attempt && *of == worker => {
                *heard_ms = now;
                known.get_or_insert(began_ms);
            }
            Some(Task::Placed { .. } | Task::Ended) => strangers.push(named.attempt),
            Some(Task::Waiting { .. } | Task::Decided(_)) | None => {}
        }
    }
    let has_read = term.fold.has_read(durable) || ctx.has(EndsBug::DurableIgnored);
    let is_interrupted = |task: &Task| {
        let Task::Placed { attempt, worker: of, incarnation: life, placed_ms, .. } = *task else { return false };
        let is_named = named.iter().any(|named| named.attempt == attempt);
        of == worker && !is_named && has_read && (life < incarnation || placed_ms + NAMED_WITHIN_MS < now)
    };
    let interrupted = term.packs.tasks_that(is_interrupted);
    term.free(ctx, &interrupted);
    if !strangers.is_empty() {
        let epoch = term.epoch;
        ctx.tell(Push::Kill { worker, epoch, attempts: strangers.into() });
    }
}

/// Planted: a worker's word is taken for an end.
fn on_word(ctx: &Ctx, shared: &Shared, tickets: &[Ticket]) {
    let mut term = shared.borrow_mut();
    for ticket in tickets {
        let Some(task) = term.packs.task_mut(*ticket) else { continue };
        *task = Task::Ended;
        let Some(held) = term.packs.get(ticket.of_pack()).filter(|held| held.tasks.iter().all(|task| *task == Task::Ended)) else {
            continue;
        };
        ctx.say(Request::Ack { consumer: held.consumer(), seq: ticket.seq, word: AckWord::Done }, Some(held.connection));
    }
}

/// In the books or not: what JOBS has can be cancelled, once it is settled under which ticket it ends.
async fn cancel(ctx: Ctx, term: Shared, job: JobId) {
    for _ in 0..SETTLED_WITHIN {
        let Some(Reply::Copies(copies)) = ctx.ask(Request::JobsByPack { pack: job.pack() }, ASK_MS).await else { return };
        if term.borrow().is_over || cancel_settled(&ctx, &mut term.borrow_mut(), job, &copies) {
            return;
        }
        ctx.sleep(SETTLE_MS).await;
    }
}

/// False while the pack has two tickets of which each may end.
fn cancel_settled(ctx: &Ctx, term: &mut Term, job: JobId, copies: &[Rc<Queued>]) -> bool {
    let is_closed = |message: &&Rc<Queued>| term.fold.is_closed(read_ticket(ctx, message.ticket));
    let unended: Vec<&Rc<Queued>> = copies.iter().filter(|message| message.pack.is_readable() && !is_closed(message)).collect();
    let Some(message) = unended.last() else { return true };
    let ticket = read_ticket(ctx, message.ticket);
    let books = term.packs.about(ticket, message.pack.id);
    let judgement = term.fold.judge(Delivery { ticket, named: named(message) }, books);
    match judgement {
        _ if unended.len() > 1 => return false,
        Judgement::OpenUnder { .. } | Judgement::WentBack | Judgement::Misnamed { .. } => return false,
        Judgement::ResubmittedUnder { tasks, .. } if tasks.contains(job.idx()) => return true,
        Judgement::TooOld { .. } | Judgement::Unreadable | Judgement::Closed { .. } => return true,
        Judgement::ResubmittedUnder { .. } | Judgement::InBooks | Judgement::New { .. } => {}
    }
    cancel_under(ctx, term, ticket.task(job.idx()), (message.pack.id, message.pack.count()));
    true
}

fn cancel_under(ctx: &Ctx, term: &mut Term, ticket: Ticket, pack: (PackId, u16)) {
    // What is given up under another name already is not to be cancelled under its own.
    if term.packs.get(ticket.of_pack()).is_some_and(|held| held.pack != pack.0) {
        return;
    }
    let entry = read::decision(term, ticket, pack, TaskKind::Cancelled, None);
    term.decisions.push_back(entry);
    let Some(task) = term.packs.task_mut(ticket) else { return };
    let placed = *task;
    if *task != Task::Ended {
        *task = Task::Decided(None);
    }
    if let Task::Placed { worker, attempt, heard_ms, .. } = placed
        && heard_ms + SILENCE_MS > ctx.now()
    {
        let epoch = term.epoch;
        ctx.tell(Push::Kill { worker, epoch, attempts: [attempt].into() });
    }
}
