//! The worker's settings and their bounds.

use faultline_engine::fault::{FaultPreset, check_time_scale};
use serde::{Deserialize, Serialize};

use crate::telemetry::TelemetryMode;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The process' name, one token; NATS knows the connection by it. Without one the worker takes the lowest free number.
    pub name: Option<String>,
    /// Index of the first hosted node, from 1; 1 when left out. A number that the worker takes decides this too.
    pub first_node: Option<usize>,
    /// How many nodes are hosted.
    pub nodes: usize,
    pub faults: FaultPreset,
    /// How many times faster than life the calibrated faults come and go.
    pub fault_time_scale: f64,
    /// Seed of the faults, the same for all workers: racks, power supplies and switches fail by it. Drawn when not given.
    pub seed: Option<u64>,
    /// The most attempts at once on a node.
    pub slots: u32,
    /// GPUs: `auto`, `nvml` or `simulated`.
    pub telemetry: TelemetryMode,
    pub heartbeat_ms: u64,
    /// First retry delay; doubles with every failure.
    pub retry_base_ms: u64,
    pub retry_cap_ms: u64,
    /// How long terminal records are kept, in seconds.
    pub terminal_ttl_s: u64,
    /// Whether `service:NAME` jobs are run here, by passing them to the executor that answers `exec.NAME`.
    pub service_executors: bool,
    /// After so long without a word the executor of a `service:NAME` job counts as dead, and the attempt fails.
    pub service_silence_ms: u64,
    /// How long a stopping worker lets its attempts finish before it hands them back.
    pub drain_limit_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: None,
            first_node: None,
            nodes: 1,
            faults: FaultPreset::default(),
            fault_time_scale: 1.0,
            seed: None,
            slots: 256,
            telemetry: TelemetryMode::default(),
            heartbeat_ms: 1000,
            retry_base_ms: 1000,
            retry_cap_ms: 60_000,
            terminal_ttl_s: faultline_protocol::streams::TERMINAL_TTL.as_secs(),
            service_executors: true,
            service_silence_ms: 10_000,
            drain_limit_ms: 30_000,
        }
    }
}

/// Beyond it a number in a name is none of a worker: its nodes' numbers stay small enough to be counted.
const MAX_NUMBER: usize = 100_000;

/// Who a worker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    /// Index of its first node, from 1.
    pub first_node: usize,
}

impl Identity {
    /// That of the worker with this number, counted from 1, among workers of so many nodes each.
    pub fn numbered(number: usize, nodes: usize) -> Self {
        Self { name: format!("worker-{number:02}"), first_node: (number - 1) * nodes + 1 }
    }
}

/// The number of a worker that is called as one without a name would be: `worker-02` hosts the nodes of the second one.
fn number_of(name: &str) -> Option<usize> {
    name.strip_prefix("worker-")?.parse().ok().filter(|number| (1..=MAX_NUMBER).contains(number))
}

impl Settings {
    /// Who the settings say that this worker is, if they do.
    pub fn identity(&self) -> Option<Identity> {
        let name = self.name.clone()?;
        let numbered = number_of(&name).map(|number| Identity::numbered(number, self.nodes)).filter(|numbered| numbered.name == name);
        let first_node = self.first_node.or(numbered.map(|numbered| numbered.first_node)).unwrap_or(1);
        Some(Identity { name, first_node })
    }

    /// Refuses what cannot work, naming the setting.
    pub fn validate(&self) -> Result<(), String> {
        let within = |name: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) { Ok(()) } else { Err(format!("worker.{name}: {value} is outside {low} to {high}")) }
        };
        match &self.name {
            Some(name) if !faultline_engine::job::is_token(name) => {
                return Err(format!("worker.name: `{name}` must be 1 to 64 letters, digits, `-` or `_`"));
            }
            None if self.first_node.is_some() => {
                return Err(
                    "worker.first_node: a worker without a name takes its first node itself: give worker.name too, or neither".into()
                );
            }
            Some(_) | None => {}
        }
        within("first_node", self.first_node.unwrap_or(1) as u64, 1, 1_000_000)?;
        within("nodes", self.nodes as u64, 1, 10_000)?;
        within("slots", u64::from(self.slots), 1, 100_000)?;
        within("heartbeat_ms", self.heartbeat_ms, 50, 60_000)?;
        within("retry_base_ms", self.retry_base_ms, 1, 600_000)?;
        within("retry_cap_ms", self.retry_cap_ms, self.retry_base_ms, 3_600_000)?;
        within("service_silence_ms", self.service_silence_ms, 100, 3_600_000)?;
        faultline_protocol::streams::check_terminal_ttl(self.terminal_ttl_s)
            .map_err(|problem| format!("worker.terminal_ttl_s: {problem}"))?;
        check_time_scale(self.fault_time_scale).map_err(|problem| format!("worker.fault_time_scale {problem}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_settings_are_refused_by_name() {
        assert!(Settings::default().validate().is_ok());
        let refused = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.validate().unwrap_err()
        };
        assert!(refused(|s| s.name = Some("a.b".into())).starts_with("worker.name"));
        assert!(refused(|s| s.first_node = Some(3)).starts_with("worker.first_node"));
        assert!(refused(|s| s.nodes = 0).starts_with("worker.nodes"));
        assert!(refused(|s| s.retry_cap_ms = 1).starts_with("worker.retry_cap_ms"));
        let short = refused(|s| s.terminal_ttl_s = 179);
        assert!(short.starts_with("worker.terminal_ttl_s: 179 s is too short") && short.ends_with("use 180 or more"), "{short}");
        assert!(refused(|s| s.service_silence_ms = 0).starts_with("worker.service_silence_ms"));
        assert!(refused(|s| s.fault_time_scale = f64::NAN).starts_with("worker.fault_time_scale"));
    }

    #[test]
    fn numbered_workers_have_nodes_beside_one_another() {
        let of = |number, nodes| Identity::numbered(number, nodes);
        assert_eq!(of(3, 1), Identity { name: "worker-03".into(), first_node: 3 });
        assert_eq!([1, 2, 3].map(|number| of(number, 4).first_node), [1, 5, 9]);
        assert_eq!(Settings { name: Some("a".into()), ..Settings::default() }.identity().unwrap().first_node, 1);
        assert_eq!(Settings::default().identity(), None);
        let named = |name: &str, nodes| Settings { name: Some(name.into()), nodes, ..Settings::default() }.identity().unwrap().first_node;
        assert_eq!([named("worker-01", 4), named("worker-02", 4), named("worker-12", 1)], [1, 5, 12], "two of them do not share a node");
        assert_eq!([named("worker-0", 1), named("worker-2", 1), named("worker-x", 1), named("worker-99999999999999999999", 1)], [1; 4]);
        let set = Settings { name: Some("worker-02".into()), first_node: Some(7), ..Settings::default() };
        assert_eq!(set.identity().unwrap().first_node, 7);
    }
}
