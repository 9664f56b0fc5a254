//! What a worker says that is not so. It may append to the log, and knows the packs that it was given.

use std::rc::Rc;

use faultline_engine::ends::{Entry, TaskEntry, TaskKind};
use faultline_engine::job::{AttemptId, PackId};
use rand::RngExt;

use super::message::{Heartbeat, Lie, Push, Queued};
use super::serving;
use super::state::Core;

pub(crate) fn tell(core: &mut Core, lie: Lie) {
    if !core.server.is_up {
        return;
    }
    if lie == Lie::Epoch {
        return tell_epoch(core);
    }
    let present: Vec<Rc<Queued>> = core.server.jobs.all().cloned().collect();
    if present.is_empty() {
        return;
    }
    let message = &present[core.rng.random_range(0..present.len())];
    let Some((pack, count)) = name(core, lie, message) else { return };
    let kind = if lie == Lie::EndedInvented { TaskKind::Committed } else { TaskKind::Failed { is_final: false } };
    let attempt = AttemptId::from_u128(core.rng.random());
    core.shadow.lies.insert(attempt, (message.ticket, core.now));
    let ticket = message.ticket.task(0);
    let entry = TaskEntry { ticket, pack, count, kind, attempt: Some(attempt), epoch: 1, detail: Vec::new() };
    serving::append(core, [Entry::Task(entry)].into(), false);
}

fn name(core: &mut Core, lie: Lie, message: &Queued) -> Option<(PackId, u16)> {
    let (own, count) = (message.pack.id, message.pack.tasks());
    match lie {
        Lie::FailedInvented => Some((PackId::new(own.unix_ms(), core.rng.random()), count)),
        Lie::EndedInvented => Some((PackId::new(own.unix_ms(), core.rng.random()), 1)),
        Lie::OwnCount => Some((own, count % 256 + 1)),
        Lie::OtherPack | Lie::OtherPackAndCount => {
            let others: Vec<_> = core.shadow.submitted.values().filter(|(id, _)| *id != own).copied().collect();
            let (id, count) = *others.get(core.rng.random_range(0..others.len().max(1)))?;
            Some((id, if lie == Lie::OtherPack { count } else { count % 256 + 1 }))
        }
        Lie::Epoch => None,
    }
}

fn tell_epoch(core: &mut Core) {
    let worker = core.rng.random_range(core.scenario.workers());
    let (incarnation, slots) = (u64::from(core.links[worker].life), core.scenario.slots);
    let push = Push::Heartbeat(Rc::new(Heartbeat { worker, incarnation, slots, epoch: u64::MAX, durable: 0, named: Vec::new() }));
    (0..core.scenario.schedulers).for_each(|to| core.push(to, &push));
}
