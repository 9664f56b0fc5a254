//! Counts how many of the last n heartbeats are missing: a link that loses every third one is noticed, although
//! it is never silent for long.

use std::collections::VecDeque;

use super::DetectorConfig;
use super::estimator::{Estimator, Level, Opinion};
use crate::words::{agree, plural};

#[derive(Debug)]
pub struct KOfN {
    interval_ms: u64,
    last_beats: u32,
    missing_suspect: u32,
    missing_dead: u32,
    /// From here on a heartbeat is expected every interval.
    since_ms: u64,
    arrivals_ms: VecDeque<u64>,
}

impl KOfN {
    pub fn new(config: &DetectorConfig, now_ms: u64) -> Self {
        Self {
            interval_ms: config.heartbeat_interval_ms,
            last_beats: config.last_beats,
            missing_suspect: config.missing_suspect,
            missing_dead: config.missing_dead,
            since_ms: now_ms,
            arrivals_ms: VecDeque::new(),
        }
    }

    fn missing(&self, now_ms: u64) -> u32 {
        let horizon = self.interval_ms.saturating_mul(self.last_beats.into());
        let intervals = now_ms.saturating_sub(self.since_ms) / self.interval_ms.max(1);
        let expected = u32::try_from(intervals).unwrap_or(u32::MAX).min(self.last_beats);
        let came = self.arrivals_ms.iter().filter(|arrival| now_ms.saturating_sub(**arrival) < horizon).count();
        expected.saturating_sub(u32::try_from(came).unwrap_or(u32::MAX))
    }
}

impl Estimator for KOfN {
    fn on_heartbeat(&mut self, now_ms: u64, interval_ms: Option<u64>) {
        if interval_ms.is_none() {
            self.on_resumed(now_ms);
            return;
        }
        if self.arrivals_ms.len() >= self.last_beats as usize {
            self.arrivals_ms.pop_front();
        }
        self.arrivals_ms.push_back(now_ms);
    }

    fn on_resumed(&mut self, now_ms: u64) {
        self.since_ms = now_ms;
        self.arrivals_ms.clear();
    }

    fn opinion(&self, now_ms: u64, _silence_ms: u64) -> Opinion {
        let level = match self.missing(now_ms) {
            missing if missing >= self.missing_dead => Level::Dead,
            missing if missing >= self.missing_suspect => Level::Suspect,
            _ => Level::Trusted,
        };
        Opinion { level, phi: 0.0 }
    }

    fn words(&self, now_ms: u64, _silence_ms: u64) -> String {
        let missing = self.missing(now_ms);
        format!("{missing} of the last {} {} missing", plural(self.last_beats.into(), "heartbeat"), agree(missing.into(), "is", "are"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beating(every_ms: u64) -> KOfN {
        let mut estimator = KOfN::new(&DetectorConfig::default(), 0);
        estimator.on_heartbeat(0, None);
        for at in (every_ms..=20_000).step_by(every_ms as usize) {
            estimator.on_heartbeat(at, Some(every_ms));
        }
        estimator
    }

    #[test]
    fn a_lossy_link_is_noticed_without_a_long_silence() {
        assert_eq!(beating(1000).opinion(20_000, 0).level, Level::Trusted);
        assert_eq!(beating(2500).opinion(20_000, 0).level, Level::Suspect);
    }

    #[test]
    fn silence_is_suspect_after_three_and_dead_after_five() {
        let estimator = beating(1000);
        let level = |now| estimator.opinion(now, 0).level;
        assert_eq!(level(22_500), Level::Trusted);
        assert_eq!(level(23_000), Level::Suspect);
        assert_eq!(level(25_000), Level::Dead);
    }

    #[test]
    fn nothing_is_missing_that_was_not_expected() {
        let mut estimator = KOfN::new(&DetectorConfig::default(), 1_000_000);
        assert_eq!(estimator.missing(1_000_500), 0);
        assert_eq!(estimator.missing(1_002_000), 2);
        estimator.on_resumed(1_010_000);
        assert_eq!(estimator.missing(1_010_900), 0);
    }
}
