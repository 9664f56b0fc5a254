//! What can be set about the detector, and which values make sense. How the values are used lives next door.

use serde::{Deserialize, Serialize};

/// How the silence of one node is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EstimatorKind {
    /// Adapts to the rhythm that each node really has.
    #[default]
    PhiAccrual,
    /// The same silence for all.
    FixedTimeout,
    /// So many heartbeats missing of the last so many: for links that lose some.
    KOfN,
}

impl EstimatorKind {
    pub const ALL: [EstimatorKind; 3] = [Self::PhiAccrual, Self::FixedTimeout, Self::KOfN];

    pub fn as_str(self) -> &'static str {
        match self {
            EstimatorKind::PhiAccrual => "phi-accrual",
            EstimatorKind::FixedTimeout => "fixed-timeout",
            EstimatorKind::KOfN => "k-of-n",
        }
    }
}

/// Everything about the detector that can be set. Durations in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectorConfig {
    pub detector: EstimatorKind,
    /// How often a node beats.
    pub heartbeat_interval_ms: u64,
    /// Whatever an estimator says, a node is not dead by silence before this much of it.
    pub dead_min_silence_ms: u64,
    /// phi-accrual: 8 is a false alarm in 10^8 intervals, as far as they are normally distributed.
    pub suspect_phi: f64,
    pub dead_phi: f64,
    /// phi-accrual: a node that beats like a clock must not be suspected for one late heartbeat.
    pub min_std_ms: f64,
    /// phi-accrual: added to the expected interval. With one half of an interval and the deviation above, one lost heartbeat is
    /// forgiven and two are not.
    pub acceptable_pause_ms: u64,
    /// phi-accrual: how many intervals are remembered.
    pub window: usize,
    /// fixed-timeout: the silence that makes a node suspect, and the one that makes it dead.
    pub timeout_suspect_ms: u64,
    pub timeout_dead_ms: u64,
    /// k-of-n: how many intervals are looked at, and how many missing heartbeats among them make a node suspect, or dead.
    pub last_beats: u32,
    pub missing_suspect: u32,
    pub missing_dead: u32,
    /// Judges by heartbeats alone: the ends of connections are ignored and no worker is asked. For measuring what those are worth.
    pub heartbeats_only: bool,
    /// After its connection ended a worker has this long to come back before it is asked.
    pub hint_grace_ms: u64,
    /// A worker that does not answer a ping for this long does not answer. It is asked again after half of it.
    pub ping_limit_ms: u64,
    /// A node that was given up in error (it beat again in the same life) is not given up because of a ping again for this long,
    /// twice as long each time up to 16 times, until it was left in peace for as long again.
    pub gone_again_ms: u64,
    /// A worker that was gone for this long, without a heartbeat or a new connection, takes its nodes with it.
    pub gone_to_dead_ms: u64,
    /// No verdicts for so many intervals after the detector itself was deaf.
    pub freeze_intervals: u32,
    /// When more than this share of all workers with living nodes fall silent within one interval, the fault is rather in between.
    pub mass_percent: f64,
    /// With fewer such workers than this a share says nothing.
    pub mass_min_workers: usize,
    /// A verdict on a node that fell silent together with many waits at most so many intervals more.
    pub mass_postpone_intervals: u32,
}

impl Default for DetectorConfig {
    fn default() -> Self {
        Self {
            detector: EstimatorKind::PhiAccrual,
            heartbeat_interval_ms: 1000,
            dead_min_silence_ms: 5000,
            suspect_phi: 8.0,
            dead_phi: 12.0,
            min_std_ms: 150.0,
            acceptable_pause_ms: 500,
            window: 100,
            timeout_suspect_ms: 2500,
            timeout_dead_ms: 5000,
            last_beats: 5,
            missing_suspect: 3,
            missing_dead: 5,
            heartbeats_only: false,
            hint_grace_ms: 100,
            ping_limit_ms: 500,
            gone_again_ms: 30_000,
            gone_to_dead_ms: 2000,
            freeze_intervals: 2,
            mass_percent: 20.0,
            mass_min_workers: 5,
            mass_postpone_intervals: 3,
        }
    }
}

/// A setting that cannot be used: its name, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidDetector {
    pub field: &'static str,
    pub problem: String,
}

const HOUR_MS: u64 = 3_600_000;
/// A ping that takes longer than that is taken as not asked.
const MAX_PING_LIMIT_MS: u64 = 4000;

impl DetectorConfig {
    pub fn validate(&self) -> Result<(), InvalidDetector> {
        let whole = |field, value: u64, min: u64, max: u64| {
            let fits = (min..=max).contains(&value);
            if fits { Ok(()) } else { Err(InvalidDetector { field, problem: format!("{value} is outside {min} to {max}") }) }
        };
        let real = |field, value: f64, min: f64, max: f64| {
            let fits = (min..=max).contains(&value);
            if fits { Ok(()) } else { Err(InvalidDetector { field, problem: format!("{value} is outside {min} to {max}") }) }
        };
        let interval = self.heartbeat_interval_ms;
        whole("heartbeat_interval_ms", interval, 10, HOUR_MS)?;
        whole("dead_min_silence_ms", self.dead_min_silence_ms, interval, HOUR_MS)?;
        real("suspect_phi", self.suspect_phi, 0.5, 300.0)?;
        real("dead_phi", self.dead_phi, self.suspect_phi, 300.0)?;
        real("min_std_ms", self.min_std_ms, 1.0, HOUR_MS as f64)?;
        whole("acceptable_pause_ms", self.acceptable_pause_ms, 0, HOUR_MS)?;
        whole("window", self.window as u64, 2, 10_000)?;
        whole("timeout_suspect_ms", self.timeout_suspect_ms, interval, HOUR_MS)?;
        whole("timeout_dead_ms", self.timeout_dead_ms, self.timeout_suspect_ms, HOUR_MS)?;
        whole("last_beats", self.last_beats.into(), 1, 1000)?;
        whole("missing_suspect", self.missing_suspect.into(), 1, self.last_beats.into())?;
        whole("missing_dead", self.missing_dead.into(), self.missing_suspect.into(), self.last_beats.into())?;
        whole("hint_grace_ms", self.hint_grace_ms, 0, HOUR_MS)?;
        whole("ping_limit_ms", self.ping_limit_ms, 10, MAX_PING_LIMIT_MS)?;
        whole("gone_again_ms", self.gone_again_ms, 0, HOUR_MS)?;
        whole("gone_to_dead_ms", self.gone_to_dead_ms, 0, HOUR_MS)?;
        whole("freeze_intervals", self.freeze_intervals.into(), 0, 1000)?;
        real("mass_percent", self.mass_percent, 0.0, 100.0)?;
        whole("mass_min_workers", self.mass_min_workers as u64, 1, 1_000_000)?;
        whole("mass_postpone_intervals", self.mass_postpone_intervals.into(), 0, 1000)
    }

    pub(super) fn intervals_ms(&self, count: u32) -> u64 {
        self.heartbeat_interval_ms.saturating_mul(count.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_field() {
        let field = |change: fn(&mut DetectorConfig)| {
            let mut config = DetectorConfig::default();
            change(&mut config);
            config.validate().unwrap_err().field
        };
        assert_eq!(DetectorConfig::default().validate(), Ok(()));
        assert_eq!(field(|config| config.heartbeat_interval_ms = 0), "heartbeat_interval_ms");
        assert_eq!(field(|config| config.dead_min_silence_ms = 100), "dead_min_silence_ms");
        assert_eq!(field(|config| config.suspect_phi = f64::NAN), "suspect_phi");
        assert_eq!(field(|config| config.dead_phi = 7.0), "dead_phi");
        assert_eq!(field(|config| config.min_std_ms = -1.0), "min_std_ms");
        assert_eq!(field(|config| config.window = 0), "window");
        assert_eq!(field(|config| config.timeout_dead_ms = 2000), "timeout_dead_ms");
        assert_eq!(field(|config| config.missing_dead = 6), "missing_dead");
        assert_eq!(field(|config| config.mass_percent = 101.0), "mass_percent");
    }
}
