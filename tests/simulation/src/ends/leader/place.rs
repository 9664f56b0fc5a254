//! Where tasks run, and for how long.

use std::collections::BTreeMap;
use std::rc::Rc;

use faultline_engine::ends::{Entry, TaskKind};
use faultline_engine::job::{AttemptId, JobId};

use super::books::Task;
use super::read;
use super::takeover;
use super::term::{Shared, Term};
use crate::ends::EndsBug;
use crate::ends::exec::Ctx;
use crate::ends::message::{Assignment, Push, Request};
use crate::ends::proc::Proc;

const PLACE_EACH_MS: u64 = 25;
/// A node that was not heard for longer gets nothing.
const HEARD_WITHIN_MS: u64 = 1_000;
/// Tasks of one message to a worker.
const BATCH: usize = 32;
/// The worker's own word, and the way that it takes, come first.
const GRACE_MS: u64 = 1_000;

pub(super) async fn run(ctx: Ctx, term: Shared) {
    takeover::listen(&ctx, &term).await;
    while !term.borrow().is_over {
        {
            let mut term = term.borrow_mut();
            end_late_ones(&ctx, &mut term);
            if !term.is_log_nearly_full && ctx.connection().is_some() {
                place(&ctx, &mut term);
            }
        }
        ctx.sleep(PLACE_EACH_MS).await;
    }
}

/// Room by worker.
fn room(term: &Term, now: u64) -> BTreeMap<Proc, usize> {
    let heard = term.nodes.iter().filter(|(_, node)| node.heard_ms + HEARD_WITHIN_MS >= now);
    let mut room: BTreeMap<Proc, usize> = heard.map(|(worker, node)| (*worker, node.slots)).collect();
    for task in term.packs.iter().flat_map(|held| &held.tasks) {
        if let Task::Placed { worker, .. } = task
            && let Some(left) = room.get_mut(worker)
        {
            *left = left.saturating_sub(1);
        }
    }
    room.retain(|_, left| *left > 0);
    room
}

fn place(ctx: &Ctx, term: &mut Term) {
    let now = ctx.now();
    let waiting: Vec<_> = term
        .packs
        .iter()
        .filter(|held| !held.is_given_up)
        .flat_map(|held| {
            let due = |task: &Task| matches!(task, Task::Waiting { due_ms } if *due_ms <= now);
            (0..).zip(&held.tasks).filter(move |(_, task)| due(task)).map(|(idx, _)| held.ticket.task(idx))
        })
        .collect();
    if waiting.is_empty() {
        return;
    }
    let mut room = room(term, now);
    let mut orders: BTreeMap<Proc, Vec<Assignment>> = BTreeMap::new();
    for ticket in waiting {
        let failures = term.fold.failures_of(ticket);
        let (failed, is_final) = (failures.len() as u32, failures.iter().any(|failure| failure.is_final));
        let Some(held) = term.packs.get(ticket.of_pack()) else { continue };
        let (script, pack, count) = (held.script(ticket.idx), held.pack, held.count());
        if is_final || failed > script.max_retries {
            if ctx.has(EndsBug::LetterBeforeEnd) {
                let job = JobId::of(pack, ticket.idx, count);
                ctx.say(Request::Letter { ticket, job }, None);
            }
            let entry = read::decision(term, ticket, (pack, count), TaskKind::Dead, None);
            decide(term, ticket, entry, None);
            continue;
        }
        let Some((worker, left)) = room.iter_mut().max_by_key(|(worker, left)| (**left, std::cmp::Reverse(**worker))) else { continue };
        let worker = *worker;
        *left -= 1;
        if *left == 0 {
            room.remove(&worker);
        }
        let attempt = name_attempt(ctx, term);
        let incarnation = term.nodes[&worker].incarnation;
        if let Some(task) = term.packs.task_mut(ticket) {
            *task = Task::Placed { attempt, worker, incarnation, placed_ms: now, began_ms: None, heard_ms: now };
        }
        orders.entry(worker).or_default().push(Assignment { attempt, ticket, pack, count, failures: failed, script });
    }
    for (worker, tasks) in orders {
        for part in tasks.chunks(BATCH) {
            ctx.tell(Push::Assign { worker, epoch: term.epoch, tasks: Rc::from(part) });
        }
    }
}

/// The log says it later, or refuses it.
fn decide(term: &mut Term, ticket: faultline_engine::ends::Ticket, entry: Entry, attempt: Option<AttemptId>) {
    term.decisions.push_back(entry);
    if let Some(task) = term.packs.task_mut(ticket) {
        *task = Task::Decided(attempt);
    }
}

/// Unique, whatever became of the lease and the log: an epoch can come twice when both lose their tails.
fn name_attempt(ctx: &Ctx, term: &mut Term) -> AttemptId {
    term.attempts += 1;
    if ctx.has(EndsBug::AttemptsByEpoch) {
        return AttemptId::from_u128(u128::from(term.epoch) << 32 | u128::from(term.attempts));
    }
    AttemptId::new(ctx.wall_ms(), ctx.random_bits())
}

/// An attempt that is past its time limit has failed.
fn end_late_ones(ctx: &Ctx, term: &mut Term) {
    let now = ctx.now();
    let mut late = Vec::new();
    for held in term.packs.iter() {
        for (idx, task) in (0..).zip(&held.tasks) {
            if let Task::Placed { attempt, worker, began_ms: Some(began_ms), .. } = *task
                && began_ms + held.script(idx).timeout_ms + GRACE_MS < now
            {
                late.push((held.ticket.task(idx), (held.pack, held.count()), attempt, worker));
            }
        }
    }
    for (ticket, pack, attempt, worker) in late {
        let entry = read::decision(term, ticket, pack, TaskKind::Failed { is_final: false }, Some(attempt));
        decide(term, ticket, entry, Some(attempt));
        ctx.tell(Push::Kill { worker, epoch: term.epoch, attempts: [attempt].into() });
    }
}
