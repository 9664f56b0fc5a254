//! One seed of the next protocol, or many.

use std::cell::RefCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::event::Event;
use super::exec::{Ctx, World};
use super::observer::{self, Reading};
use super::proc::Proc;
use super::scenario::draw;
use super::state::Core;
use super::submitter::{self, Journal, Journals};
use super::{EndsBug, EndsStats, leader, verdict, worker};
use crate::campaign::{Campaign, play_all};
use crate::outcome::{Outcome, broken};
use crate::panics;

/// Plays one seed. `keep`: how many of the last happenings are kept in words.
pub fn run_ends(seed: u64, bug: Option<EndsBug>, keep: usize) -> Outcome<EndsStats> {
    panics::listen();
    let scenario = draw(seed);
    let journals: Journals = Rc::new(scenario.submitters.iter().map(|_| RefCell::new(Journal::default())).collect());
    let reading: Reading = Reading::default();
    let world = Rc::new(World(RefCell::new(Core::new(seed, scenario, bug, keep))));
    let played = catch_unwind(AssertUnwindSafe(|| play(&world, &journals, &reading)));
    let mut core = world.0.borrow_mut();
    let broken = broken(played, core.shadow.broken());
    finish_stats(&mut core);
    let last = std::mem::take(&mut core.trace.last).into();
    let outcome = Outcome { seed, trace_hash: core.trace.hash, broken, stats: core.stats.clone(), last };
    // Tasks know the world, and the world its tasks.
    (0..core.links.len()).for_each(|of| core.end_tasks(of));
    outcome
}

fn play(world: &Rc<World>, journals: &Journals, reading: &Reading) {
    {
        let mut core = world.0.borrow_mut();
        core.at(0, Event::ServerTick);
        for index in 0..core.scenario.deeds.len() {
            let at = core.scenario.deeds[index].0;
            core.at(at, Event::Deed(index));
        }
        (0..core.links.len()).for_each(|of| core.start(of));
    }
    let are_done = |core: &Core| {
        let plans = core.scenario.submitters.iter().map(Vec::len);
        plans.zip(journals.iter()).all(|(plans, journal)| journal.borrow().is_done(plans))
    };
    world.play(|world, proc| launch(world, proc, journals, reading), |core| verdict::is_over(core, are_done));
    let mut core = world.0.borrow_mut();
    if core.shadow.broken().is_none() {
        let report = observer::audit_now(&core);
        verdict::check_end(&mut core, &report, &reading.borrow());
    }
}

fn launch(world: &Rc<World>, proc: Proc, journals: &Journals, reading: &Reading) {
    let ctx = Ctx::new(world, proc);
    let (schedulers, workers, auditor, reader) = ctx.with(|core| {
        let scenario = &core.scenario;
        (scenario.schedulers, scenario.workers(), scenario.auditor(), scenario.reader())
    });
    if proc < schedulers {
        ctx.spawn(leader::run(ctx.clone()));
    } else if workers.contains(&proc) {
        ctx.spawn(worker::run(ctx.clone()));
    } else if proc == auditor {
        ctx.spawn(observer::audit_again(ctx.clone()));
    } else if proc == reader {
        ctx.spawn(observer::follow(ctx.clone(), Rc::clone(reading)));
    } else {
        ctx.spawn(submitter::run(ctx.clone(), proc - workers.end, Rc::clone(journals)));
    }
}

fn finish_stats(core: &mut Core) {
    let truth = &core.shadow.truth;
    let stats = &mut core.stats;
    stats.packs = core.shadow.submitted.len() as u64;
    stats.jobs = core.shadow.submitted.values().map(|(_, count)| u64::from(*count)).sum();
    (stats.committed, stats.dead, stats.cancelled, stats.void) = (truth.committed, truth.dead, truth.cancelled, truth.void);
    (stats.failed, stats.late, stats.fenced) = (truth.failed, truth.late, truth.fenced);
    (stats.attempts, stats.overlaps) = (core.shadow.ran, core.shadow.overlaps);
    stats.virtual_ms = core.now;
    stats.recovery_ms = core.shadow.last_end_ms.saturating_sub(core.scenario.healthy_at);
    stats.recovery_sum_ms = stats.recovery_ms;
    stats.faults.clone_from(&core.scenario.faults);
}

/// Plays all seeds of the range on `threads` threads; stops early when one breaks a promise.
pub fn ends_campaign(seeds: Range<u64>, bug: Option<EndsBug>, threads: usize) -> Campaign<EndsStats> {
    play_all(seeds, threads, |seed| run_ends(seed, bug, 0))
}

impl Outcome<EndsStats> {
    /// What broke, the last of what happened before, and how to see it again.
    pub fn explain(&self, bug: Option<EndsBug>) -> String {
        self.explained(" --ends", bug.map(EndsBug::as_str))
    }
}
