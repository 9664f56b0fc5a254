//! What a leader hears from workers, detectors and users.

use std::rc::Rc;

use faultline_engine::ends::{TaskId, TaskKind, Ticket};
use faultline_engine::job::AttemptId;

use super::books::Task;
use super::read;
use super::term::{ASK_MS, Node, SILENCE_MS, Shared, read_ticket};
use crate::ends::EndsBug;
use crate::ends::exec::Ctx;
use crate::ends::message::{AckWord, Heartbeat, Push, Reply, Request};

/// An attempt that was placed so long ago should be named by now.
const NAMED_WITHIN_MS: u64 = 2_000;

pub(super) async fn run(ctx: Ctx, term: Shared) {
    while !term.borrow().is_over {
        match ctx.receive().await {
            Push::Heartbeat(heartbeat) => on_heartbeat(&ctx, &term, &heartbeat),
            Push::Verdict { worker } => {
                let now = ctx.now();
                for held in term.borrow_mut().packs.iter_mut() {
                    for task in &mut held.tasks {
                        if matches!(task, Task::Placed { worker: of, .. } if *of == worker) {
                            *task = Task::Waiting { due_ms: now };
                        }
                    }
                }
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
    term.heard_epoch = term.heard_epoch.max(epoch);
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
    for held in term.packs.iter_mut() {
        for task in &mut held.tasks {
            let Task::Placed { attempt, worker: of, incarnation: life, placed_ms, .. } = *task else { continue };
            let is_named = named.iter().any(|named| named.attempt == attempt);
            if of == worker && !is_named && has_read && (life < incarnation || placed_ms + NAMED_WITHIN_MS < now) {
                *task = Task::Waiting { due_ms: now };
            }
        }
    }
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

/// In the books or not: what JOBS has can be cancelled.
async fn cancel(ctx: Ctx, term: Shared, job: TaskId) {
    let Some(Reply::Job(Some(message))) = ctx.ask(Request::JobByPack { pack: job.pack() }, ASK_MS).await else { return };
    if message.pack.is_garbage {
        return;
    }
    let ticket = read_ticket(&ctx, message.ticket).task(job.idx());
    let mut term = term.borrow_mut();
    // What is given up under another name already is not to be cancelled under its own.
    let is_given_up = term.packs.get(ticket.of_pack()).is_some_and(|held| held.pack != message.pack.id);
    if term.is_over || is_given_up || term.fold.is_closed(ticket.of_pack()) {
        return;
    }
    let entry = read::decision(&term, ticket, (message.pack.id, message.pack.count()), TaskKind::Cancelled, None);
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
