//! The plainest estimator: so much silence is suspect, so much more is death, for every node alike.

use super::DetectorConfig;
use super::estimator::{Estimator, Level, Opinion};
use crate::words::limit;

#[derive(Debug)]
pub struct FixedTimeout {
    suspect_ms: u64,
    dead_ms: u64,
}

impl FixedTimeout {
    pub fn new(config: &DetectorConfig) -> Self {
        Self { suspect_ms: config.timeout_suspect_ms, dead_ms: config.timeout_dead_ms }
    }
}

impl Estimator for FixedTimeout {
    fn on_heartbeat(&mut self, _now_ms: u64, _interval_ms: Option<u64>) {}

    fn on_resumed(&mut self, _now_ms: u64) {}

    fn opinion(&self, _now_ms: u64, silence_ms: u64) -> Opinion {
        let level = if silence_ms >= self.dead_ms {
            Level::Dead
        } else if silence_ms >= self.suspect_ms {
            Level::Suspect
        } else {
            Level::Trusted
        };
        Opinion { level, phi: 0.0 }
    }

    fn words(&self, _now_ms: u64, _silence_ms: u64) -> String {
        format!("the limits are {} to suspect and {} to give up", limit(self.suspect_ms), limit(self.dead_ms))
    }
}
