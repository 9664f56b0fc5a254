//! Many seeds on several threads.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::outcome::Outcome;
use super::stats::Figures;

/// What many seeds came to.
#[derive(Debug, Default)]
pub struct Campaign<F> {
    pub seeds: u64,
    pub stats: F,
    /// The lowest seed that broke a promise.
    pub failed: Option<Outcome<F>>,
}

impl<F: Figures> Campaign<F> {
    /// Together with what other seeds came to.
    pub fn and(mut self, other: Self) -> Self {
        self.seeds += other.seeds;
        self.stats.add(&other.stats);
        let lowest = self.failed.as_ref().map_or(u64::MAX, |failed| failed.seed);
        if other.failed.as_ref().is_some_and(|failed| failed.seed < lowest) {
            self.failed = other.failed;
        }
        self
    }
}

/// Plays all seeds of the range on `threads` threads; stops early when one breaks a promise.
pub(crate) fn play_all<F: Figures>(seeds: Range<u64>, threads: usize, run: impl Fn(u64) -> Outcome<F> + Sync) -> Campaign<F> {
    let (next, lowest_failed) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    let play = || {
        let mut part = Campaign::<F>::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || seed > lowest_failed.load(Ordering::Relaxed) {
                return part;
            }
            let outcome = run(seed);
            part.seeds += 1;
            part.stats.add(&outcome.stats);
            if outcome.broken.is_some() {
                lowest_failed.fetch_min(seed, Ordering::Relaxed);
                part.failed = Some(outcome);
                return part;
            }
        }
    };
    let parts: Vec<Campaign<F>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(play)).collect();
        running.into_iter().map(|thread| thread.join().expect("a seed's panics are caught")).collect()
    });
    parts.into_iter().fold(Campaign::default(), Campaign::and)
}
