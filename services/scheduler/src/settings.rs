//! The section `[scheduler]`.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use faultline_engine::scheduler::{LivePolicy, PolicyName, SchedulerConfig};
use faultline_protocol::streams;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The process' name, one token.
    pub name: String,
    /// A built-in policy, or `service:NAME` for a program of one's own on NATS.
    pub policy: LivePolicy,
    /// The built-in policy that decides while such a program does not answer.
    pub fallback_policy: PolicyName,
    /// Seed of random decisions; drawn itself when not given.
    pub seed: Option<u64>,
    /// How long terminal records are kept, in seconds.
    pub terminal_ttl_s: u64,
    /// A folder for recordings of what this scheduler is told and decides while it leads; without one nothing is recorded.
    pub record_decisions: Option<PathBuf>,
    /// The most that recordings in that folder may take, in MiB: nothing more is recorded then.
    pub record_decisions_mib: u64,
    pub engine: SchedulerConfig,
}

const RECORDINGS_MIB: RangeInclusive<u64> = 1..=1 << 20;

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "scheduler-1".into(),
            policy: LivePolicy::default(),
            fallback_policy: PolicyName::default(),
            seed: None,
            terminal_ttl_s: streams::TERMINAL_TTL.as_secs(),
            record_decisions: None,
            record_decisions_mib: 256,
            engine: SchedulerConfig::default(),
        }
    }
}

impl Settings {
    /// What decides without a program, or while it does not answer.
    pub(crate) fn built_in_policy(&self) -> PolicyName {
        match self.policy {
            LivePolicy::BuiltIn(policy) => policy,
            LivePolicy::Program(_) => self.fallback_policy,
        }
    }

    /// Refuses what cannot work, naming the setting.
    pub fn validate(&self) -> Result<(), String> {
        if !faultline_engine::job::is_token(&self.name) {
            return Err(format!("scheduler.name: `{}` must be 1 to 64 letters, digits, `-` or `_`", self.name));
        }
        if !RECORDINGS_MIB.contains(&self.record_decisions_mib) {
            let (least, most) = (RECORDINGS_MIB.start(), RECORDINGS_MIB.end());
            return Err(format!("scheduler.record_decisions_mib: {} is not from {least} to {most}", self.record_decisions_mib));
        }
        streams::check_terminal_ttl(self.terminal_ttl_s).map_err(|problem| format!("scheduler.terminal_ttl_s: {problem}"))
    }
}
