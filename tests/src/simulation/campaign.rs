//! Many seeds on several threads, and a report that names the first one that broke a promise.

use std::fmt::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Bug, Outcome, Stats, run};

/// What many seeds came to.
#[derive(Debug, Default)]
pub struct Campaign {
    pub seeds: u64,
    pub stats: Stats,
    /// The lowest seed that broke a promise.
    pub failed: Option<Outcome>,
}

/// Plays all seeds of the range on `threads` threads; stops early when one breaks a promise.
pub fn campaign(seeds: Range<u64>, bug: Option<Bug>, threads: usize) -> Campaign {
    let (next, lowest_failed) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    let play = || {
        let mut part = Campaign::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || seed > lowest_failed.load(Ordering::Relaxed) {
                return part;
            }
            let outcome = run(seed, bug, 0);
            part.seeds += 1;
            part.stats.add(&outcome.stats);
            if outcome.broken.is_some() {
                lowest_failed.fetch_min(seed, Ordering::Relaxed);
                part.failed = Some(outcome);
                return part;
            }
        }
    };
    let parts: Vec<Campaign> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(play)).collect();
        running.into_iter().map(|thread| thread.join().expect("a seed's panics are caught")).collect()
    });
    parts.into_iter().fold(Campaign::default(), |mut sum, part| {
        sum.seeds += part.seeds;
        sum.stats.add(&part.stats);
        let older = sum.failed.as_ref().map_or(u64::MAX, |failed| failed.seed);
        if part.failed.as_ref().is_some_and(|failed| failed.seed < older) {
            sum.failed = part.failed;
        }
        sum
    })
}

impl Outcome {
    /// What broke, the last of what happened before, and how to see it again.
    pub fn explain(&self, bug: Option<Bug>) -> String {
        let mut text = String::new();
        for line in &self.last {
            let _ = writeln!(text, "{line}");
        }
        let planted = bug.map(|bug| format!(" --bug {}", bug.as_str())).unwrap_or_default();
        let _ = writeln!(text, "seed {} BROKE A PROMISE: {}", self.seed, self.broken.as_deref().unwrap_or("none"));
        let _ = write!(text, "replay: just simulate --seed {} --verbose{planted}", self.seed);
        text
    }
}
