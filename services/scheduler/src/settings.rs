//! The section `[scheduler]`.

use faultline_engine::scheduler::{PolicyName, SchedulerConfig};
use faultline_protocol::streams;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The process' name, one token.
    pub name: String,
    pub policy: PolicyName,
    /// Seed of random decisions; drawn itself when not given.
    pub seed: Option<u64>,
    /// How long terminal records are kept, in seconds.
    pub terminal_ttl_s: u64,
    pub engine: SchedulerConfig,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "scheduler-1".into(),
            policy: PolicyName::default(),
            seed: None,
            terminal_ttl_s: streams::TERMINAL_TTL.as_secs(),
            engine: SchedulerConfig::default(),
        }
    }
}

impl Settings {
    /// Refuses what cannot work, naming the setting.
    pub fn validate(&self) -> Result<(), String> {
        if !faultline_engine::job::is_token(&self.name) {
            return Err(format!("scheduler.name: `{}` must be 1 to 64 letters, digits, `-` or `_`", self.name));
        }
        streams::check_terminal_ttl(self.terminal_ttl_s).map_err(|problem| format!("scheduler.terminal_ttl_s: {problem}"))
    }
}
