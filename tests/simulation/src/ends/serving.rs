//! A model of nats-server: what it does with each request, and when it dies.

use std::rc::Rc;

use faultline_engine::ends::Entry;
use rand::RngExt;

use super::EndsBug;
use super::event::{Event, Slot};
use super::jobs::Pull;
use super::message::{AckWord, ConsumerName, Logged, MsgId, Pack, Push, Reply, Request};
use super::proc::Proc;
use super::shadow::Gone;
use super::state::Core;

const TICK_MS: u64 = 250;

pub(crate) fn on_tick(core: &mut Core) {
    core.at(core.now + TICK_MS, Event::ServerTick);
    if !core.server.is_up || core.server.frozen_until > core.now {
        return;
    }
    core.server.jobs.expire(core.now);
    serve_pulls(core);
    let now = core.now;
    for priority in 0..2 {
        while core.server.jobs.pulls[priority].front().is_some_and(|pull| pull.until_ms <= now) {
            if let Some(pull) = core.server.jobs.pulls[priority].pop_front() {
                core.answer(&pull.slot, Reply::Deliveries(Vec::new()));
            }
        }
    }
}

fn serve_pulls(core: &mut Core) {
    for priority in 0..2 {
        while !core.server.jobs.pulls[priority].is_empty() {
            let out = core.server.jobs.take(priority, core.now);
            if out.is_empty() {
                break;
            }
            core.stats.deliveries += out.len() as u64;
            if let Some(pull) = core.server.jobs.pulls[priority].pop_front() {
                core.answer(&pull.slot, Reply::Deliveries(out));
            }
        }
    }
}

pub(crate) fn on_request(core: &mut Core, from: Proc, request: Request, slot: Option<Rc<Slot>>) {
    if !core.server.is_up {
        return;
    }
    if core.server.frozen_until > core.now {
        let (at, connection) = (core.server.frozen_until, core.links[from].connection);
        if let Some(connection) = connection {
            core.at(at, Event::ToServer { from, connection, request, slot });
        }
        return;
    }
    let moving = match &request {
        Request::Submit { .. }
        | Request::Pull { .. }
        | Request::Ack { .. }
        | Request::JobsInfo
        | Request::JobAt { .. }
        | Request::JobsByPack { .. } => core.server.moving_until[0],
        Request::Append { .. } | Request::LogInfo | Request::LogAt { .. } | Request::Trim { .. } => core.server.moving_until[1],
        _ => 0,
    };
    if moving > core.now {
        return;
    }
    let reply = perform(core, from, request, slot.as_ref());
    if let (Some(slot), Some(reply)) = (slot, reply) {
        core.answer(&slot, reply);
    }
}

/// None where the answer comes later, or never.
fn perform(core: &mut Core, from: Proc, request: Request, slot: Option<&Rc<Slot>>) -> Option<Reply> {
    let now = core.now;
    Some(match request {
        Request::Submit { pack, id } => submit(core, pack, id),
        Request::Pull { consumer, expires_ms } => return pull(core, from, consumer, expires_ms, slot),
        Request::Ack { consumer, seq, word } => {
            acknowledge(core, consumer, seq, word);
            Reply::Done
        }
        Request::JobsInfo => {
            let (_, ts) = core.server.stamp(now);
            Reply::Jobs(Box::new(core.server.jobs.info(ts)))
        }
        Request::JobAt { seq } => Reply::Job(core.server.jobs.at(seq).cloned()),
        Request::JobsByPack { pack } => Reply::Copies(core.server.jobs.by_pack(pack)),
        Request::Append { entries, is_leaders } => append(core, entries, is_leaders),
        Request::LogInfo => Reply::Log(core.server.log.info()),
        Request::LogAt { pos } => Reply::LogAt(core.server.log.at(pos).cloned()),
        Request::ReadLog { from } => {
            let known_ms = lagging(core);
            Reply::LogPart(core.server.log.read(from, known_ms))
        }
        Request::Trim { before } => {
            core.stats.trims += 1;
            core.server.log.trim(before, now);
            core.note(|| format!("ENDS is trimmed before {before}"));
            Reply::Done
        }
        Request::Ping => Reply::Done,
        Request::Tell(push) => {
            tell(core, &push);
            Reply::Done
        }
        of_buckets => perform_on_buckets(core, from, of_buckets)?,
    })
}

fn perform_on_buckets(core: &mut Core, from: Proc, request: Request) -> Option<Reply> {
    let now = core.now;
    Some(match request {
        Request::Acquire => lease(core.server.lease.change(now, |lease| lease.acquire(from, now))),
        Request::Renew { revision } => lease(core.server.lease.change(now, |lease| lease.renew(from, revision, now))),
        Request::LoadLedger { is_direct } => load_ledger(core, is_direct),
        Request::SaveLedger { over, snapshot } => {
            let saved = core.server.ledger.change(now, |ledger| ledger.save(over, Rc::clone(&snapshot)));
            if saved.is_some() {
                core.stats.snapshots += 1;
                core.note(|| format!("LEDGER has a snapshot of {}", snapshot.pos()));
                core.shadow.on_saved(&snapshot, now);
            }
            saved.map_or(Reply::Refused, |seq| Reply::Stored { seq })
        }
        Request::LoadTries(ticket) => Reply::Tries(core.server.ledger.now.tries.get(&ticket).copied().unwrap_or(0)),
        Request::SaveTries(ticket, tries) => {
            core.server.ledger.change(now, |ledger| {
                ledger.tries.insert(ticket, tries);
                ledger.tries.retain(|_, tries| *tries > 0);
                Some(())
            });
            Reply::Done
        }
        Request::Letter { ticket, job } => {
            core.server.letters.store(ticket, job, now);
            Reply::Done
        }
        _ => return None,
    })
}

pub(crate) fn append(core: &mut Core, entries: Rc<[Entry]>, is_leaders: bool) -> Reply {
    let stamp = core.server.stamp(core.now);
    let Some(message) = core.server.log.append(entries, is_leaders, stamp).cloned() else {
        core.stats.no_room += 1;
        return Reply::Refused;
    };
    core.note(|| describe(&message));
    let seq = message.pos;
    core.shadow.on_appended(message, core.now);
    Reply::Stored { seq }
}

fn lease(revision: Option<u64>) -> Reply {
    revision.map_or(Reply::Refused, |revision| Reply::Lease { revision })
}

/// What a replica that may lag knows.
fn lagging(core: &mut Core) -> u64 {
    let is_lagging = core.scenario.is_replicated && !core.is_healthy && core.rng.random_bool(0.3);
    if is_lagging { core.now.saturating_sub(core.rng.random_range(0..2_000)) } else { core.now }
}

fn load_ledger(core: &mut Core, is_direct: bool) -> Reply {
    let mut saved: Vec<_> = core.server.ledger.now.saved.iter().cloned().collect();
    if is_direct && lagging(core) < core.now {
        saved.pop();
    }
    Reply::Ledger(saved)
}

pub(crate) fn submit(core: &mut Core, pack: Rc<Pack>, id: MsgId) -> Reply {
    let stamp = core.server.stamp(core.now);
    if let Some(stored) = core.server.jobs.store(pack, id, stamp) {
        core.note(|| format!("JOBS has {} at {}", stored.pack.id, stored.ticket));
        core.shadow.on_stored(&stored);
        serve_pulls(core);
    }
    Reply::Done
}

fn pull(core: &mut Core, of: Proc, consumer: ConsumerName, expires_ms: u64, slot: Option<&Rc<Slot>>) -> Option<Reply> {
    if consumer.r#gen != core.server.jobs.r#gen && !core.has(EndsBug::ConsumerWithoutGen) {
        return Some(Reply::Refused);
    }
    let slot = Rc::clone(slot?);
    core.server.jobs.pulls[consumer.priority].push_back(Pull { of, slot, until_ms: core.now + expires_ms });
    serve_pulls(core);
    None
}

fn acknowledge(core: &mut Core, consumer: ConsumerName, seq: u64, word: AckWord) {
    if consumer.r#gen != core.server.jobs.r#gen && !core.has(EndsBug::ConsumerWithoutGen) {
        return;
    }
    if let Some(message) = core.server.jobs.acknowledge(consumer.priority, seq, word, core.now) {
        core.note(|| format!("JOBS has {} acknowledged", message.ticket));
        core.shadow.on_acknowledged(&message, core.now);
    }
    serve_pulls(core);
}

fn tell(core: &mut Core, push: &Push) {
    let to: Vec<Proc> = match push {
        Push::Heartbeat(_) | Push::Ended(_) | Push::Verdict { .. } | Push::Cancel { .. } => (0..core.scenario.schedulers).collect(),
        Push::Assign { worker, .. } | Push::Kill { worker, .. } => vec![*worker],
        Push::Sync { .. } => core.scenario.workers().collect(),
    };
    to.into_iter().for_each(|to| core.push(to, push));
}

/// All connections are gone.
pub(crate) fn stop(core: &mut Core) {
    core.server.is_up = false;
    core.server.jobs.pulls.iter_mut().for_each(std::collections::VecDeque::clear);
    for of in 0..core.links.len() {
        let again_ms = core.now + 100 + core.rng.random_range(0..500);
        core.disconnect(of, again_ms);
    }
}

pub(crate) fn lose(core: &mut Core, lost_ms: [u64; 5]) {
    let since = lost_ms.map(|lost_ms| if lost_ms == 0 { u64::MAX } else { core.now.saturating_sub(lost_ms) });
    let gone = core.server.jobs.lose_since(since[0]);
    core.shadow.on_gone(&gone, Gone::Tail);
    core.server.log.lose_since(since[1]);
    core.shadow.on_log_cut(core.server.log.info().last_pos);
    core.server.lease.lose_since(since[2]);
    core.server.ledger.lose_since(since[3]);
    core.shadow.on_ledger_lost(since[3]);
    core.server.letters.lose_since(since[4]);
    let present: Vec<_> = core.server.jobs.all().cloned().collect();
    core.shadow.on_back(&present);
}

fn describe(message: &Logged) -> String {
    let entries: Vec<String> = message
        .entries
        .iter()
        .map(|entry| match entry {
            Entry::Task(task) => format!("{}/{} {:?}", task.ticket.seq, task.ticket.idx, task.kind),
            other => format!("{other:?}"),
        })
        .collect();
    format!("ENDS has {}: {}", message.pos, entries.join(", "))
}
