//! Does to the cluster what the scenario says.

use std::rc::Rc;

use faultline_engine::ends::{Gen, PackTicket};
use rand::RngExt;

use super::jobs::Jobs;
use super::lies;
use super::log::Log;
use super::message::{MsgId, Pack, Push};
use super::scenario::Deed;
use super::serving;
use super::shadow::Gone;
use super::state::Core;
use faultline_engine::job::JobId;

/// A connection that is silent for longer is given up.
const PINGS_MISSED_MS: u64 = 5_000;

pub(crate) fn perform(core: &mut Core, index: usize) {
    let deed = core.scenario.deeds[index].1.clone();
    core.note(|| format!("--- {deed:?}"));
    match deed {
        Deed::Kill(of) => core.kill(of),
        Deed::Start(of) => core.start(of),
        Deed::Freeze(of) => core.freeze(of),
        Deed::Thaw(of) => core.thaw(of),
        Deed::Cut { of, for_ms } => {
            core.links[of].cut_until = core.now + for_ms;
            if for_ms > PINGS_MISSED_MS {
                core.disconnect(of, core.now + for_ms);
            }
        }
        Deed::ServerKill => serving::stop(core),
        Deed::MachineDeath { lost_ms } => {
            serving::stop(core);
            serving::lose(core, lost_ms);
        }
        Deed::ServerStart => {
            core.server.is_up = true;
            core.server.jobs.forget_ids();
        }
        Deed::ServerFreeze { for_ms } => core.server.frozen_until = core.now + for_ms,
        Deed::StreamMoves { is_jobs, for_ms } => {
            core.server.moving_until[usize::from(!is_jobs)] = core.now + for_ms;
            if is_jobs {
                core.server.jobs.forget_ids();
            }
        }
        Deed::Verdict { worker } => tell_schedulers(core, &Push::Verdict { worker }),
        Deed::Cancel { pack, idx } => cancel(core, pack, idx),
        Deed::ProcClock { of, by_ms } => core.links[of].clock_ms += by_ms,
        Deed::ServerClock { by_ms } => {
            core.server.clock_ms += by_ms;
            core.shadow.has_no_delays = true;
        }
        Deed::Lie(lie) => lies::tell(core, lie),
        Deed::Twin { pack } => publish_twin(core, pack),
        Deed::Healthy => make_healthy(core),
        stores => perform_on_stores(core, &stores),
    }
}

fn perform_on_stores(core: &mut Core, deed: &Deed) {
    match deed {
        Deed::JobsAnew => {
            let gone: Vec<_> = core.server.jobs.all().cloned().collect();
            core.shadow.on_gone(&gone, Gone::Anew);
            let r#gen = Gen(core.rng.random_range(2..u64::MAX));
            core.server.jobs = Jobs::new(r#gen);
        }
        Deed::JobsPurged => {
            let gone = core.server.jobs.purge();
            core.shadow.on_gone(&gone, Gone::Purged);
        }
        Deed::CopyJobs => core.server.jobs_copy = Some(core.server.jobs.copy()),
        Deed::JobsOlder => {
            if let Some(copy) = core.server.jobs_copy.take() {
                let gone = core.server.jobs.put_back(copy);
                core.shadow.on_gone(&gone, Gone::Older);
                core.shadow.is_jobs_older = true;
                let present: Vec<_> = core.server.jobs.all().cloned().collect();
                core.shadow.on_back(&present);
            }
        }
        Deed::LogAnew => {
            core.server.log = Log::new(core.scenario.log_limit);
            core.shadow.on_log_replaced(Vec::new());
        }
        Deed::CopyLog => core.server.log_copy = Some(core.server.log.copy()),
        Deed::LogOlder => {
            if let Some(copy) = core.server.log_copy.take() {
                core.server.log.put_back(copy);
                core.shadow.on_log_replaced(core.server.log.all().cloned().collect());
            }
        }
        Deed::LeaseAnew => core.server.lease = Default::default(),
        Deed::CopyLedger => core.server.ledger_copy = Some(core.server.ledger.now.clone()),
        Deed::LedgerOlder => {
            if let Some(copy) = core.server.ledger_copy.take() {
                core.server.ledger.now = copy;
                core.shadow.on_ledger_lost(0);
            }
        }
        _ => {}
    }
}

fn tell_schedulers(core: &mut Core, push: &Push) {
    if core.server.is_up {
        (0..core.scenario.schedulers).for_each(|to| core.push(to, push));
    }
}

fn cancel(core: &mut Core, pack: usize, idx: u16) {
    if let Some((id, count)) = core.shadow.submitted.get(&pack).copied() {
        let job = JobId::of(id, idx % count, count);
        core.shadow.cancelled.insert(job);
        tell_schedulers(core, &Push::Cancel { job });
    }
}

/// The server takes it for another message.
fn publish_twin(core: &mut Core, pack: usize) {
    let id = core.shadow.submitted.get(&pack).map(|(id, _)| *id);
    let first = id.and_then(|id| core.server.jobs.by_pack(id).pop());
    if let Some(first) = first.filter(|_| core.server.is_up) {
        let Pack { id, priority, ref jobs, is_garbage, is_poison } = *first.pack;
        let again = PackTicket { ts: core.now, ..first.ticket };
        let twin = Pack { id, priority: 1 - priority, jobs: jobs.clone(), is_garbage, is_poison };
        core.shadow.twins.insert(id);
        serving::submit(core, Rc::new(twin), MsgId { pack: id, again: Some(again) });
    }
}

/// From here on all processes are well, but for the worker that is dead for good.
fn make_healthy(core: &mut Core) {
    core.is_healthy = true;
    core.server.frozen_until = 0;
    core.server.moving_until = [0; 2];
    let dead_for_good = core.scenario.faults.contains_key(&super::EndsFault::KillForGood).then_some(core.scenario.schedulers);
    if !core.server.is_up {
        core.server.is_up = true;
        core.server.jobs.forget_ids();
    }
    for of in 0..core.links.len() {
        core.links[of].cut_until = 0;
        core.thaw(of);
        if Some(of) != dead_for_good {
            core.start(of);
        }
    }
}
