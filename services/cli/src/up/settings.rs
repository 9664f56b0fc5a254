//! What `up` is told to run, and whether that makes sense. Nothing is started here.

use std::path::PathBuf;

use faultline_protocol::messages::{MAX_RATE_PER_MINUTE, MIN_RATE_PER_MINUTE};
use serde::{Deserialize, Serialize};

use crate::args::{Detector, Faults, MAX_WORKERS, Policy};
use crate::exit::Failure;

/// `[up]` of the settings file, `FAULTLINE_UP_*`, and the flags of `up`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct UpSettings {
    pub(crate) data_dir: PathBuf,
    pub(crate) workers: u32,
    pub(crate) nodes_per_worker: u32,
    /// Generated jobs a minute; none leaves the last setting.
    pub(crate) rate: Option<f64>,
    pub(crate) seed: Option<u64>,
    pub(crate) dashboard_port: u16,
    pub(crate) nats_port: u16,
    pub(crate) faults: Faults,
    pub(crate) policy: Policy,
    pub(crate) detector: Detector,
    pub(crate) schedulers: u32,
    pub(crate) no_generator: bool,
    pub(crate) no_detector: bool,
    pub(crate) no_dashboard: bool,
}

impl Default for UpSettings {
    fn default() -> Self {
        Self {
            data_dir: ".data".into(),
            workers: 8,
            nodes_per_worker: 1,
            rate: None,
            seed: None,
            dashboard_port: 8080,
            nats_port: 4222,
            faults: Faults::default(),
            policy: Policy::default(),
            detector: Detector::default(),
            schedulers: 2,
            no_generator: false,
            no_detector: false,
            no_dashboard: false,
        }
    }
}

const MAX_NODES_PER_WORKER: u32 = 1000;
const MAX_SCHEDULERS: u32 = 9;

impl UpSettings {
    /// Refuses absurd numbers, naming the flag.
    pub(crate) fn validate(&self) -> Result<(), Failure> {
        let within = |flag: &str, value: u32, low: u32, high: u32| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(Failure::Usage(format!("{flag} must be between {low} and {high}, not {value}")))
            }
        };
        within("--workers", self.workers, 0, MAX_WORKERS)?;
        within("--nodes-per-worker", self.nodes_per_worker, 1, MAX_NODES_PER_WORKER)?;
        within("--schedulers", self.schedulers, 0, MAX_SCHEDULERS)?;
        within("--nats-port", self.nats_port.into(), 1, u16::MAX.into())?;
        within("--dashboard-port", self.dashboard_port.into(), 1, u16::MAX.into())?;
        if let Some(rate) = self.rate
            && !(MIN_RATE_PER_MINUTE..=MAX_RATE_PER_MINUTE).contains(&rate)
        {
            return Err(Failure::Usage(format!(
                "--rate must be between {MIN_RATE_PER_MINUTE} and {MAX_RATE_PER_MINUTE} jobs a minute, not {rate}"
            )));
        }
        if self.nats_port == self.dashboard_port && !self.no_dashboard {
            return Err(Failure::Usage(format!("--nats-port and --dashboard-port are both {}", self.nats_port)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert!(UpSettings::default().validate().is_ok());
    }

    #[test]
    fn absurd_numbers_are_refused_by_flag() {
        let base = UpSettings::default;
        for (settings, flag) in [
            (UpSettings { workers: 100_000, ..base() }, "--workers"),
            (UpSettings { nodes_per_worker: 0, ..base() }, "--nodes-per-worker"),
            (UpSettings { rate: Some(-1.0), ..base() }, "--rate"),
            (UpSettings { rate: Some(f64::NAN), ..base() }, "--rate"),
            (UpSettings { dashboard_port: 0, ..base() }, "--dashboard-port"),
            (UpSettings { nats_port: 8080, ..base() }, "--nats-port"),
        ] {
            match settings.validate() {
                Err(Failure::Usage(text)) => assert!(text.contains(flag), "{text}"),
                other => panic!("{flag}: {other:?}"),
            }
        }
    }
}
