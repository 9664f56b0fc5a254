//! What the generator is started with, and which rates it takes.

use anyhow::{Context, ensure};
use faultline_engine::workload::WorkloadConfig;
use faultline_protocol::messages::Asked;
use serde::{Deserialize, Serialize};

const MAX_FIRST_JOBS: u32 = 1000;
const MAX_IN_FLIGHT: usize = 65_536;

/// The section `[generator]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Jobs a minute. When given it is written to KV CONTROL at the start; else the setting there holds.
    pub rate: Option<f64>,
    /// The same as a share of the cluster's GPU time, in percent; not both.
    pub load: Option<f64>,
    /// Weights of the kinds, such as `sleep=4,compute=3,matrix=2,fault=1`. When given they are written to KV CONTROL too.
    pub mix: Option<String>,
    /// Drawn when not given; the log says which.
    pub seed: Option<u64>,
    /// Whether rates outside 0.1 to 50 a minute are taken.
    pub unbounded_rate: bool,
    /// Jobs that are submitted at once at the start, of a second at most, so that a newcomer sees results. With a load, as many as fill the
    /// cluster, or none with 0.
    pub first_jobs: u32,
    /// Submissions that may be under way at once.
    pub in_flight: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { rate: None, load: None, mix: None, seed: None, unbounded_rate: false, first_jobs: 3, in_flight: 2048 }
    }
}

impl Settings {
    pub fn validate(&self) -> anyhow::Result<()> {
        if let Some(asked) = self.asked()? {
            self.check(asked).map_err(anyhow::Error::msg).context(if self.rate.is_some() { "rate" } else { "load" })?;
        }
        self.mix()?;
        ensure!(self.first_jobs <= MAX_FIRST_JOBS, "first_jobs: {} is more than {MAX_FIRST_JOBS}", self.first_jobs);
        ensure!((1..=MAX_IN_FLIGHT).contains(&self.in_flight), "in_flight: {} is outside 1 to {MAX_IN_FLIGHT}", self.in_flight);
        Ok(())
    }

    /// The mix that was given.
    pub fn mix(&self) -> anyhow::Result<Option<WorkloadConfig>> {
        Ok(self.mix.as_deref().map(str::parse).transpose()?)
    }

    /// The rate or the load that was given.
    pub fn asked(&self) -> anyhow::Result<Option<Asked>> {
        ensure!(self.rate.is_none() || self.load.is_none(), "rate and load exclude each other: leave one out");
        Ok(self.rate.map(Asked::Rate).or(self.load.map(Asked::Load)))
    }

    /// Why a rate or a load is refused, if it is.
    pub fn check(&self, asked: Asked) -> Result<(), String> {
        let may_help = matches!(asked, Asked::Rate(_)) && !self.unbounded_rate;
        let remedy = if may_help { "; start the generator, or `faultline up`, with --unbounded-rate" } else { "" };
        asked.check(self.unbounded_rate).map_err(|problem| format!("{problem}{remedy}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_bounds() {
        let bounded = Settings::default();
        for good in [0.1, 2.0, 50.0] {
            assert_eq!(bounded.check(Asked::Rate(good)), Ok(()));
        }
        for bad in [0.0, 0.09, 50.1, -1.0, f64::NAN, f64::INFINITY] {
            assert!(bounded.check(Asked::Rate(bad)).unwrap_err().contains("--unbounded-rate"));
        }
        let unbounded = Settings { unbounded_rate: true, ..Settings::default() };
        for good in [0.0, 0.01, 600_000.0] {
            assert_eq!(unbounded.check(Asked::Rate(good)), Ok(()));
        }
        for bad in [-0.1, f64::NAN, f64::INFINITY, 1e12] {
            assert!(unbounded.check(Asked::Rate(bad)).is_err());
        }
    }

    #[test]
    fn errors_name_the_setting() {
        let error = |settings: Settings| format!("{:#}", settings.validate().unwrap_err());
        assert!(Settings::default().validate().is_ok());
        assert!(error(Settings { rate: Some(99.0), ..Settings::default() }).starts_with("rate: 99"));
        assert!(error(Settings { load: Some(900.0), ..Settings::default() }).starts_with("load: a load of 900 %"));
        assert!(error(Settings { rate: Some(2.0), load: Some(60.0), ..Settings::default() }).starts_with("rate and load"));
        assert!(error(Settings { mix: Some("sleep=x".into()), ..Settings::default() }).starts_with("mix: "));
        assert!(error(Settings { in_flight: 0, ..Settings::default() }).starts_with("in_flight: 0"));
        assert!(error(Settings { first_jobs: 1001, ..Settings::default() }).starts_with("first_jobs: 1001"));
    }
}
