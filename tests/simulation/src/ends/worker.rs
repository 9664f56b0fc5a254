//! A worker: runs what leaders place, names it in heartbeats until its end is durable, and appends ends to the log. It has no other right.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use faultline_engine::ends::{Entry, TaskEntry, TaskKind};
use faultline_engine::job::AttemptId;

use super::EndsBug;
use super::exec::Ctx;
use super::message::{Assignment, Heartbeat, Named, Push, Reply, Request};
use super::shadow::Run;

const HEARTBEAT_MS: u64 = 500;
const APPEND_WITHIN_MS: u64 = 1_500;
/// Without any answer of the server it stops its attempts.
const SELF_FENCE_MS: u64 = 12_000;
/// Entries in one append.
const BATCH: usize = 48;

struct Held {
    assignment: Assignment,
    began_ms: u64,
    /// Its end, until that is durable.
    end: Option<TaskKind>,
    epoch: u64,
}

struct Worker {
    incarnation: u64,
    epoch: u64,
    durable: u64,
    held: BTreeMap<AttemptId, Held>,
    answered_ms: u64,
}

type Shared = Rc<RefCell<Worker>>;

pub(crate) async fn run(ctx: Ctx) {
    let incarnation = u64::from(ctx.life);
    let answered_ms = ctx.now();
    let worker = Rc::new(RefCell::new(Worker { incarnation, epoch: 0, durable: 0, held: BTreeMap::new(), answered_ms }));
    ctx.spawn(beat(ctx.clone(), Rc::clone(&worker)));
    ctx.spawn(append(ctx.clone(), Rc::clone(&worker)));
    loop {
        match ctx.receive().await {
            Push::Assign { epoch, tasks, .. } => on_assigned(&ctx, &worker, epoch, &tasks),
            Push::Kill { epoch, attempts, .. } => on_kill(&ctx, &worker, epoch, &attempts),
            Push::Sync { epoch } => {
                {
                    let mut worker = worker.borrow_mut();
                    worker.epoch = worker.epoch.max(epoch);
                }
                send_heartbeat(&ctx, &worker);
            }
            _ => {}
        }
    }
}

fn on_assigned(ctx: &Ctx, worker: &Shared, epoch: u64, tasks: &[Assignment]) {
    if epoch < worker.borrow().epoch {
        return;
    }
    worker.borrow_mut().epoch = epoch;
    for assignment in tasks.iter().copied() {
        let began_ms = ctx.now();
        let held = Held { assignment, began_ms, end: None, epoch };
        if worker.borrow().held.contains_key(&assignment.attempt) {
            continue;
        }
        worker.borrow_mut().held.insert(assignment.attempt, held);
        ctx.with(|core| core.shadow.on_began(ctx.proc, &assignment, began_ms));
        ctx.spawn(work(ctx.clone(), Rc::clone(worker), assignment));
    }
}

fn on_kill(ctx: &Ctx, worker: &Shared, epoch: u64, attempts: &[AttemptId]) {
    if epoch < worker.borrow().epoch {
        return;
    }
    attempts.iter().for_each(|attempt| stop(ctx, worker, *attempt));
}

fn stop(ctx: &Ctx, worker: &Shared, attempt: AttemptId) {
    let mut worker = worker.borrow_mut();
    let is_running = worker.held.get(&attempt).is_some_and(|held| held.end.is_none());
    if is_running && let Some(held) = worker.held.remove(&attempt) {
        let now = ctx.now();
        ctx.with(|core| core.shadow.on_ran(held.assignment.ticket, attempt, Run::Stopped(now)));
    }
}

async fn work(ctx: Ctx, worker: Shared, assignment: Assignment) {
    ctx.sleep(assignment.script.work_ms).await;
    let mut worker = worker.borrow_mut();
    let Some(held) = worker.held.get_mut(&assignment.attempt) else { return };
    let script = assignment.script;
    let does_fail = script.is_hopeless || assignment.failures < script.fails;
    let (kind, run) = match does_fail {
        true => (TaskKind::Failed { is_final: script.is_hopeless }, Run::Failed),
        false => (TaskKind::Committed, Run::Committed),
    };
    held.end = Some(kind);
    ctx.with(|core| core.shadow.on_ran(assignment.ticket, assignment.attempt, run));
}

/// All that has ended by now, one message under way, repeated until it is stored.
async fn append(ctx: Ctx, worker: Shared) {
    let mut batch: Vec<(AttemptId, Entry)> = Vec::new();
    loop {
        if batch.is_empty() {
            batch = worker.borrow().held.values().filter_map(entry_of).take(BATCH).collect();
        }
        if batch.is_empty() {
            ctx.sleep(20).await;
            continue;
        }
        let entries: Rc<[Entry]> = batch.iter().map(|(_, entry)| entry.clone()).collect();
        if ctx.has(EndsBug::AckByWord) {
            let tickets = entries.iter().filter_map(ended_ticket).collect();
            ctx.tell(Push::Ended(tickets));
        }
        match ctx.ask(Request::Append { entries, is_leaders: false }, APPEND_WITHIN_MS).await {
            Some(Reply::Stored { seq }) => {
                let mut worker = worker.borrow_mut();
                worker.durable = seq;
                worker.answered_ms = ctx.now();
                for (attempt, _) in batch.drain(..) {
                    worker.held.remove(&attempt);
                }
            }
            _ => ctx.sleep(100).await,
        }
    }
}

fn entry_of(held: &Held) -> Option<(AttemptId, Entry)> {
    let Assignment { attempt, ticket, pack, count, .. } = held.assignment;
    let kind = held.end?;
    Some((attempt, Entry::Task(TaskEntry { ticket, pack, count, kind, attempt: Some(attempt), epoch: held.epoch, detail: Vec::new() })))
}

fn ended_ticket(entry: &Entry) -> Option<faultline_engine::ends::Ticket> {
    match entry {
        Entry::Task(task) if task.kind == TaskKind::Committed => Some(task.ticket),
        _ => None,
    }
}

async fn beat(ctx: Ctx, worker: Shared) {
    loop {
        send_heartbeat(&ctx, &worker);
        // A round trip, to know whether the server is there.
        if ctx.ask(Request::Ping, HEARTBEAT_MS).await.is_some() {
            worker.borrow_mut().answered_ms = ctx.now();
            ctx.sleep(HEARTBEAT_MS).await;
        }
        let is_alone = ctx.now() > worker.borrow().answered_ms + SELF_FENCE_MS;
        if is_alone {
            let running: Vec<AttemptId> = worker.borrow().held.keys().copied().collect();
            running.into_iter().for_each(|attempt| stop(&ctx, &worker, attempt));
        }
    }
}

fn send_heartbeat(ctx: &Ctx, worker: &Shared) {
    let (now, slots) = ctx.with(|core| (core.now, core.scenario.slots));
    let Worker { incarnation, epoch, durable, ref held, .. } = *worker.borrow();
    let named = held
        .iter()
        .map(|(attempt, held)| Named { attempt: *attempt, ticket: held.assignment.ticket, running_ms: now - held.began_ms })
        .collect();
    let heartbeat = Heartbeat { worker: ctx.proc, incarnation, slots, epoch, durable, named };
    ctx.tell(Push::Heartbeat(Rc::new(heartbeat)));
}
