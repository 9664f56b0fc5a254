//! Reading the log: what ends, fails and closes there, and nowhere else, has done so.

use std::rc::Rc;

use faultline_engine::ends::{
    EndKind, Entry, Fold, Gap, LogMessage, LogSight, Looked, Republished, Seen, TaskEntry, TaskKind, Ticket, WentBack,
};
use faultline_engine::job::{AttemptId, PackId};

use super::books::Task;
use super::term::{ASK_MS, Closing, Term, ack_delay_ms};
use crate::ends::EndsBug;
use crate::ends::exec::Ctx;
use crate::ends::message::{LogInfo, Logged, Reply, Request, retry_delay_ms};

pub(super) async fn log_info(ctx: &Ctx) -> Option<LogInfo> {
    match ctx.ask(Request::LogInfo, ASK_MS).await? {
        Reply::Log(log) => Some(log),
        _ => None,
    }
}

/// What the log says of the message at this position.
pub(super) async fn sight(ctx: &Ctx, pos: u64) -> Option<LogSight> {
    let Reply::LogAt(message) = ctx.ask(Request::LogAt { pos }, ASK_MS).await? else { return None };
    let log = log_info(ctx).await?;
    Some(LogSight { first_pos: log.first_pos, last_pos: log.last_pos, ts_at_pos: message.map(|message| message.ts) })
}

/// Where to read on: with the last message that was read, by which the log is recognised each time. A log can be made anew without any
/// connection being lost.
pub(crate) fn next_read(ctx: &Ctx, fold: &Fold) -> u64 {
    if knows_position(ctx, fold) { fold.pos() } else { fold.pos() + 1 }
}

/// Not at the beginning of the log, or of what is left of it.
fn knows_position(ctx: &Ctx, fold: &Fold) -> bool {
    fold.pos_ts() > 0 && !ctx.has(EndsBug::NoPositionCheck)
}

/// What was read behind the position of the fold; none when it is another log, or a gap.
pub(crate) fn behind<'a>(ctx: &Ctx, fold: &Fold, part: &'a [Logged]) -> Option<&'a [Logged]> {
    let Some(first) = part.first().filter(|_| knows_position(ctx, fold)) else { return Some(part) };
    ((first.pos, first.ts) == (fold.pos(), fold.pos_ts())).then(|| &part[1..])
}

/// The term is over when it is another log. How many messages were new.
pub(super) fn apply_part(ctx: &Ctx, term: &mut Term, part: &[Logged]) -> usize {
    let before = term.fold.pos();
    let rest = behind(ctx, &term.fold, part);
    if rest.is_none_or(|rest| rest.iter().any(|message| apply(ctx, term, message).is_err())) {
        ctx.note(|| format!("cannot follow the log at {}", term.fold.pos()));
        term.is_over = true;
    }
    (term.fold.pos() - before) as usize
}

/// What readers of the log do with each message.
pub(crate) fn log_message(message: &Logged) -> LogMessage<'_> {
    LogMessage { pos: message.pos, ts: message.ts, is_leaders: message.is_leaders, is_copy: false, body: Ok(&message.entries) }
}

fn apply(ctx: &Ctx, term: &mut Term, message: &Logged) -> Result<(), Gap> {
    let now = ctx.now();
    let changes = term.fold.on_message(log_message(message))?;
    for ended in &changes.ended {
        if let Some(task) = task_mut(ctx, term, message, ended.entry) {
            *task = Task::Ended;
        }
        if ended.kind == EndKind::Dead {
            let due_ms = if ctx.has(EndsBug::LetterAtOnce) { now } else { now + ack_delay_ms(ctx) };
            term.letters.push_back((due_ms, ended.ticket, ended.job));
        }
    }
    for failed in &changes.failed {
        let attempt = match &message.entries[failed.entry] {
            Entry::Task(task) => task.attempt,
            _ => None,
        };
        let due_ms = now + retry_delay_ms(failed.failures);
        match task_mut(ctx, term, message, failed.entry) {
            // It was taken for lost before.
            Some(Task::Waiting { due_ms: due }) => *due = due_ms.max(*due),
            Some(task) if task.attempt().is_some_and(|own| Some(own) == attempt) => *task = Task::Waiting { due_ms },
            Some(Task::Placed { .. } | Task::Decided(_) | Task::Ended) | None => {}
        }
    }
    for closed in &changes.closed {
        let held = term.packs.remove(closed.ticket);
        let delivered = held.map(|held| (held.connection, held.consumer()));
        let due_ms = now + ack_delay_ms(ctx);
        term.closing.insert(closed.ticket, Closing { due_ms, delivered });
    }
    settle_own(ctx, term, message, &changes.fenced);
    for setback in &changes.went_back {
        term.is_setback_unread = false;
        // Now that the log says so, what comes is seen anew.
        let seen = term.seen.entry(setback.r#gen).or_default();
        if seen.last_seq == setback.from_seq {
            *seen = Seen { last_seq: setback.to_seq, last_ts: setback.from_ts };
        }
    }
    let epoch = term.epoch;
    // Before the term has begun, all others are those of predecessors.
    if epoch > 0 && changes.terms.iter().any(|other| other.epoch > epoch || (other.epoch == epoch && !other.is_new)) {
        term.is_over = true;
    }
    Ok(())
}

/// The task in the books that this entry is about. A pack that a worker gives another name goes out of the books: it is judged when it is
/// delivered again.
fn task_mut<'a>(ctx: &Ctx, term: &'a mut Term, message: &Logged, index: usize) -> Option<&'a mut Task> {
    let Entry::Task(entry) = &message.entries[index] else { return None };
    let ticket = entry.ticket.of_pack();
    if term.packs.get(ticket)?.name() != (entry.pack, entry.count) && !ctx.has(EndsBug::KeepMisnamed) {
        term.packs.remove(ticket);
        return None;
    }
    term.packs.task_mut(entry.ticket)
}

/// What this leader has decided and does not count is decided again: it was fenced by a higher epoch of this very leader, or the log lost it before
/// it was read, and gave its position to another message.
fn settle_own(ctx: &Ctx, term: &mut Term, message: &Logged, fenced: &[usize]) {
    let is_it = |own: &Rc<[Entry]>| message.is_leaders && *own == message.entries;
    let is_own = term.under_way.as_ref().is_some_and(is_it) || term.unread.iter().any(|(pos, own)| *pos == message.pos && is_it(own));
    if is_own {
        repeat(ctx, term, fenced.iter().map(|index| message.entries[*index].clone()).collect());
    }
    while term.unread.front().is_some_and(|(pos, _)| *pos <= message.pos)
        && let Some((pos, own)) = term.unread.pop_front()
    {
        if pos < message.pos || !is_it(&own) {
            repeat(ctx, term, only_tasks(&own));
        }
    }
}

/// The log was read to its end on a new connection: what it did not have is lost.
pub(super) fn repeat_unread(ctx: &Ctx, term: &mut Term) {
    for (_, own) in std::mem::take(&mut term.unread) {
        repeat(ctx, term, only_tasks(&own));
    }
}

/// The others are for the connection on which they were found out.
fn only_tasks(own: &[Entry]) -> Vec<Entry> {
    own.iter().filter(|entry| matches!(entry, Entry::Task(_))).cloned().collect()
}

fn repeat(ctx: &Ctx, term: &mut Term, entries: Vec<Entry>) {
    if ctx.has(EndsBug::DecidedForEver) {
        return;
    }
    let epoch = term.epoch;
    term.decisions.extend(entries.into_iter().map(|entry| match entry {
        Entry::Task(task) => Entry::Task(TaskEntry { epoch, ..task }),
        Entry::Term { .. } => Entry::Term { epoch },
        Entry::WentBack(setback) => Entry::WentBack(WentBack { epoch, ..setback }),
        Entry::Republished(republished) => Entry::Republished(Republished { epoch, ..republished }),
        Entry::Looked(looked) => Entry::Looked(Looked { epoch, ..looked }),
    }));
}

/// A leader's decision about a task, of its epoch.
pub(super) fn decision(term: &Term, ticket: Ticket, (pack, count): (PackId, u16), kind: TaskKind, attempt: Option<AttemptId>) -> Entry {
    let epoch = term.epoch;
    let task = TaskEntry { ticket, pack, count, kind, attempt, epoch, detail: Vec::new() };
    Entry::Task(task)
}
