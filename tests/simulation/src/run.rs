//! One seed of the services, or many.

use std::ops::Range;

use tokio::task::JoinError;
use tokio::time::Instant;

use super::bug::Bug;
use super::campaign::{Campaign, play_all};
use super::outcome::{Outcome, broken};
use super::stage::Stage;
use super::stats::Stats;
use super::world::{Passage, World};
use super::{panics, play};

/// Plays one seed. `keep`: how many of the last happenings are kept in words.
pub fn run(seed: u64, bug: Option<Bug>, keep: usize) -> Outcome<Stats> {
    panics::listen();
    let passage = Passage::default();
    passage.note();
    let noted = passage.clone();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).on_thread_unpark(move || noted.note()).build();
    let runtime = runtime.expect("a runtime without I/O can be built");
    let world = runtime.block_on(async { World::new(Stage::new(seed, bug, keep), Instant::now(), passage) });
    // As a task among the others: to wake the future that a runtime blocks on costs it a round in which no time passes.
    // The engine's own checks panic: for a seed that is a broken promise as any other.
    let played = runtime.block_on(async { tokio::spawn(play::play(world.clone())).await }).map_err(JoinError::into_panic);
    let mut stage = world.lock_after();
    let broken = broken(played, stage.net.shadow.broken());
    stage.finish_stats();
    let last = std::mem::take(&mut stage.net.trace.last).into();
    Outcome { seed, trace_hash: stage.net.trace.hash, broken, stats: stage.net.stats.clone(), last }
}

/// Plays all seeds of the range on `threads` threads; stops early when one breaks a promise.
pub fn campaign(seeds: Range<u64>, bug: Option<Bug>, threads: usize) -> Campaign<Stats> {
    play_all(seeds, threads, |seed| run(seed, bug, 0))
}

impl Outcome<Stats> {
    /// What broke, the last of what happened before, and how to see it again.
    pub fn explain(&self, bug: Option<Bug>) -> String {
        self.explained("", bug.map(Bug::as_str))
    }
}
