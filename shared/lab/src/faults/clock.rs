//! When a node fails by itself: how much it endures is drawn once for each life, and exposure wears it down.

use faultline_engine::fault::{Hazard, Surges};
use rand_distr::{Distribution, Exp1};

use super::Faults;
use crate::streams::{Purpose, stream};

/// Bad days of all nodes together, each computed once.
#[derive(Debug)]
pub(crate) struct Weather {
    surges: Option<Surges>,
    seed: u64,
    windows: Vec<f64>,
}

impl Weather {
    pub(crate) fn new(surges: Option<Surges>, seed: u64) -> Self {
        Self { surges, seed, windows: Vec::new() }
    }

    /// The factor at this time, and until when it holds.
    fn at(&mut self, at_ms: f64) -> (f64, f64) {
        let Some(surges) = self.surges else { return (1.0, f64::INFINITY) };
        let window = (at_ms / surges.window_ms).floor() as usize;
        while self.windows.len() <= window {
            let middle_ms = (self.windows.len() as f64 + 0.5) * surges.window_ms;
            self.windows.push(surges.at(self.seed, middle_ms).0);
        }
        (self.windows[window], (window as f64 + 1.0) * surges.window_ms)
    }
}

/// One node's wear.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    hazard: Hazard,
    age_ms: f64,
    /// The integrated hazard that it still survives.
    endurance: f64,
    lives: u64,
    /// Since when it is exposed; `None` while it is not.
    since_ms: Option<u64>,
}

/// Beyond this no fault is looked for: some ten thousand years.
const FOREVER_MS: f64 = 3e14;

impl Clock {
    /// A node that is met at a random moment of its life.
    pub(crate) fn new(faults: &Faults, seed: u64, node: usize) -> Self {
        let hazard = faults.lemons.map_or(faults.hazard, |lemons| faults.hazard.times(lemons.factor(seed, node + 1)));
        let age_ms = hazard.age_when_met(&mut stream(seed, Purpose::Age, node as u64, 0));
        let endurance = Exp1.sample(&mut stream(seed, Purpose::Endurance, node as u64, 0));
        Self { hazard, age_ms, endurance, lives: 0, since_ms: None }
    }

    /// Another hazard from now on, at the same age.
    pub(crate) fn set_hazard(&mut self, hazard: Hazard) {
        self.hazard = hazard;
    }

    pub(crate) fn expose(&mut self, now_ms: u64) {
        self.since_ms = Some(now_ms);
    }

    /// It is not exposed any more; what it went through counts.
    pub(crate) fn shelter(&mut self, now_ms: u64, weather: &mut Weather) {
        let Some(since_ms) = self.since_ms.take() else { return };
        if let Hazard::Constant { mean_ms } = self.hazard
            && weather.surges.is_none()
        {
            self.endurance = (self.endurance - (now_ms - since_ms) as f64 / mean_ms).max(0.0);
            return;
        }
        let (mut at_ms, to_ms) = (since_ms as f64, now_ms as f64);
        while at_ms < to_ms {
            let (factor, holds_until_ms) = weather.at(at_ms);
            let end_ms = to_ms.min(holds_until_ms);
            let aged_ms = self.age_ms + (end_ms - at_ms) * factor;
            self.endurance = (self.endurance - (self.hazard.cumulative(aged_ms) - self.hazard.cumulative(self.age_ms))).max(0.0);
            self.age_ms = aged_ms;
            at_ms = end_ms;
        }
    }

    /// When it fails if it stays exposed.
    pub(crate) fn fails_ms(&self, weather: &mut Weather) -> Option<u64> {
        let since_ms = self.since_ms? as f64;
        if self.hazard == Hazard::Never {
            return None;
        }
        if let Hazard::Constant { mean_ms } = self.hazard
            && weather.surges.is_none()
        {
            return Some((since_ms + self.endurance * mean_ms).ceil() as u64);
        }
        let (mut at_ms, mut age_ms, mut endurance) = (since_ms, self.age_ms, self.endurance);
        while at_ms < FOREVER_MS {
            let (factor, holds_until_ms) = weather.at(at_ms);
            let lived = self.hazard.cumulative(age_ms);
            let aged_ms = age_ms + (holds_until_ms - at_ms) * factor;
            if factor > 0.0 && self.hazard.cumulative(aged_ms) - lived >= endurance {
                return Some((at_ms + (self.hazard.age_at(lived + endurance) - age_ms).max(0.0) / factor).ceil() as u64);
            }
            endurance -= self.hazard.cumulative(aged_ms) - lived;
            (age_ms, at_ms) = (aged_ms, holds_until_ms);
        }
        None
    }

    /// It has failed: its next life begins as good as new, once it is exposed again.
    pub(crate) fn failed(&mut self, seed: u64, node: usize) {
        self.lives += 1;
        self.age_ms = 0.0;
        self.endurance = Exp1.sample(&mut stream(seed, Purpose::Endurance, node as u64, self.lives));
        self.since_ms = None;
    }
}
