//! The phi-accrual estimator: N. Hayashibara, X. Defago, R. Yared, T. Katayama, "The phi accrual failure detector", SRDS 2004.
//!
//! phi(silence) = -log10(P(the next heartbeat comes even later)), with the intervals taken as normally distributed around the mean
//! of a window. As in Akka's implementation, the deviation has a lower bound, an acceptable pause is added to the mean, and the
//! window starts with a guess. The tail of the distribution is computed, not approximated by a logistic curve.

use std::collections::VecDeque;

use super::DetectorConfig;
use super::estimator::{Estimator, Level, Opinion};
use crate::words::span;

/// Beyond this, more suspicion means nothing; keeps the number finite for storage.
const MAX_PHI: f64 = 300.0;

/// A little more than -log10(0.5).
const PHI_OF_HALF: f64 = 0.302;

#[derive(Debug)]
pub struct PhiAccrual {
    suspect_phi: f64,
    dead_phi: f64,
    min_std_ms: f64,
    pause_ms: f64,
    expected_ms: u64,
    window: usize,
    intervals_ms: VecDeque<u32>,
    // Whole numbers, so that adding and taking away for days leaves no rounding behind.
    sum: u64,
    sum_of_squares: u64,
}

impl PhiAccrual {
    pub fn new(config: &DetectorConfig) -> Self {
        let mut estimator = Self {
            suspect_phi: config.suspect_phi,
            dead_phi: config.dead_phi,
            min_std_ms: config.min_std_ms,
            pause_ms: config.acceptable_pause_ms as f64,
            expected_ms: config.heartbeat_interval_ms,
            window: config.window,
            intervals_ms: VecDeque::new(),
            sum: 0,
            sum_of_squares: 0,
        };
        // The guess: the configured interval, give or take a quarter.
        let quarter = config.heartbeat_interval_ms / 4;
        estimator.learn(config.heartbeat_interval_ms - quarter);
        estimator.learn(config.heartbeat_interval_ms + quarter);
        estimator
    }

    fn learn(&mut self, interval_ms: u64) {
        // A burst of delayed heartbeats must not teach that they come at once, nor an outage that minutes are normal.
        if interval_ms < self.expected_ms / 4 {
            return;
        }
        let interval = u32::try_from(interval_ms.min(self.expected_ms.saturating_mul(3))).unwrap_or(u32::MAX);
        if self.intervals_ms.len() >= self.window
            && let Some(oldest) = self.intervals_ms.pop_front()
        {
            self.sum -= u64::from(oldest);
            self.sum_of_squares -= u64::from(oldest).pow(2);
        }
        self.intervals_ms.push_back(interval);
        self.sum += u64::from(interval);
        self.sum_of_squares += u64::from(interval).pow(2);
    }

    fn mean_and_std_ms(&self) -> (f64, f64) {
        let count = self.intervals_ms.len().max(1) as f64;
        let mean = self.sum as f64 / count;
        let variance = (self.sum_of_squares as f64 / count - mean * mean).max(0.0);
        (mean, variance.sqrt().max(self.min_std_ms))
    }

    fn phi(&self, silence_ms: u64) -> f64 {
        let (mean, std) = self.mean_and_std_ms();
        // Adding 0 turns a negative zero into a plain one.
        minus_log10_of_upper_tail((silence_ms as f64 - mean - self.pause_ms) / std).clamp(0.0, MAX_PHI) + 0.0
    }
}

impl Estimator for PhiAccrual {
    fn on_heartbeat(&mut self, _now_ms: u64, interval_ms: Option<u64>) {
        if let Some(interval) = interval_ms {
            self.learn(interval);
        }
    }

    fn on_resumed(&mut self, _now_ms: u64) {}

    fn opinion(&self, _now_ms: u64, silence_ms: u64) -> Opinion {
        let phi = self.phi(silence_ms);
        let level = match phi {
            phi if phi >= self.dead_phi => Level::Dead,
            phi if phi >= self.suspect_phi => Level::Suspect,
            _ => Level::Trusted,
        };
        Opinion { level, phi }
    }

    fn level(&self, now_ms: u64, silence_ms: u64) -> Level {
        // Up to the mean and the pause, half of all heartbeats come later: phi is 0.3 at most, and no setting makes that suspect.
        let is_usual = (silence_ms as f64 - self.pause_ms) * self.intervals_ms.len() as f64 <= self.sum as f64;
        if is_usual && self.suspect_phi > PHI_OF_HALF { Level::Trusted } else { self.opinion(now_ms, silence_ms).level }
    }

    fn words(&self, _now_ms: u64, silence_ms: u64) -> String {
        let (mean, std) = self.mean_and_std_ms();
        let (mean, deviation) = (span(mean as u64), span(std as u64));
        format!("phi {:.1}, where heartbeats come every {mean} with a deviation of {deviation}", self.phi(silence_ms))
    }
}

/// -log10 of the probability that a standard normal lies above `y`.
fn minus_log10_of_upper_tail(y: f64) -> f64 {
    let log_density = -0.5 * y * y - 0.5 * (2.0 * std::f64::consts::PI).ln();
    if y < 0.0 {
        // More than half of all heartbeats come later: digits mean nothing here.
        return -(1.0 - upper_tail(-y)).log10();
    }
    if y < 3.0 {
        return -upper_tail(y).log10();
    }
    // Laplace's continued fraction, in logarithms since the tail itself underflows at 38 deviations.
    let mut fraction = y;
    for term in (1..=40).rev() {
        fraction = y + f64::from(term) / fraction;
    }
    (fraction.ln() - log_density) / std::f64::consts::LN_10
}

/// Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.2.17: an error below 7.5e-8, for `y` from 0 to 3 or so.
fn upper_tail(y: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * y);
    let polynomial = t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    (-0.5 * y * y).exp() / (2.0 * std::f64::consts::PI).sqrt() * polynomial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_agrees_with_tables() {
        for (y, expected) in
            [(0.5, 0.510_71), (1.0, 0.799_55), (2.9999, 2.869_55), (3.0001, 2.869_84), (5.612, 8.0), (7.034, 11.9985), (20.0, 88.560_09)]
        {
            let found = minus_log10_of_upper_tail(y);
            assert!((found - expected).abs() < 2e-4 * expected, "{y}: {found} is not {expected}");
        }
        assert!(minus_log10_of_upper_tail(-3.0) < 0.001);
    }

    #[test]
    fn one_lost_heartbeat_is_forgiven_and_two_are_not() {
        let mut estimator = PhiAccrual::new(&DetectorConfig::default());
        for _ in 0..200 {
            estimator.on_heartbeat(0, Some(1000));
        }
        assert_eq!(estimator.opinion(0, 2100).level, Level::Trusted);
        assert_eq!(estimator.opinion(0, 2400).level, Level::Suspect);
        assert_eq!(estimator.opinion(0, 3000).level, Level::Dead);
        assert!(estimator.words(0, 2400).contains("every 1.0 s"));
    }

    #[test]
    fn it_learns_a_slower_rhythm_but_not_from_bursts() {
        let mut estimator = PhiAccrual::new(&DetectorConfig::default());
        for _ in 0..200 {
            estimator.on_heartbeat(0, Some(2000));
            estimator.on_heartbeat(0, Some(0));
        }
        assert_eq!(estimator.intervals_ms.len(), 100);
        assert_eq!(estimator.opinion(0, 2600).level, Level::Trusted);
        assert_eq!(estimator.opinion(0, 3600).level, Level::Dead);
    }

    #[test]
    fn the_sums_match_the_window() {
        let mut estimator = PhiAccrual::new(&DetectorConfig { window: 7, ..DetectorConfig::default() });
        for interval in (0..10_000).map(|n: u64| n * 7919 % 5000) {
            estimator.on_heartbeat(0, Some(interval));
        }
        assert_eq!(estimator.sum, estimator.intervals_ms.iter().map(|&i| u64::from(i)).sum::<u64>());
        assert_eq!(estimator.sum_of_squares, estimator.intervals_ms.iter().map(|&i| u64::from(i).pow(2)).sum::<u64>());
    }

    proptest::proptest! {
        #[test]
        fn phi_only_grows_with_silence(intervals in proptest::collection::vec(0u64..10_000, 0..50), silence in 0u64..100_000, more in 0u64..100_000) {
            let mut estimator = PhiAccrual::new(&DetectorConfig::default());
            for interval in intervals {
                estimator.on_heartbeat(0, Some(interval));
            }
            let (early, late) = (estimator.phi(silence), estimator.phi(silence + more));
            proptest::prop_assert!(early.is_finite() && late.is_finite());
            // The two halves of the tail meet with an error of 1e-6.
            proptest::prop_assert!(late >= early - 1e-4, "{early} then {late}");
            for silence in [silence, silence + more, silence % 3_000] {
                proptest::prop_assert_eq!(estimator.level(0, silence), estimator.opinion(0, silence).level, "{}", silence);
            }
        }
    }
}
