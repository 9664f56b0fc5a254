//! The ground truth of an injected fault: what, where, from when to when, and why. Every component that breaks something on
//! purpose writes one of these into the history, so that detectors and recovery can be measured against what really happened.

use serde::{Deserialize, Serialize};
use ulid::Ulid;
use utoipa::ToSchema;

use super::catalogue::title;

/// SIGKILL to a process.
pub const KILL: &str = "kill";
/// SIGTERM to a process.
pub const TERM: &str = "term";
/// SIGSTOP to a process.
pub const FREEZE: &str = "freeze";
/// A link that passes nothing.
pub const PARTITION: &str = "partition";
/// All other conditions of a link begin with this.
pub const LINK_PREFIX: &str = "link_";

/// How deep a fault reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultDepth {
    /// Played by a healthy worker process.
    Simulated,
    /// Done to a real process: killed or frozen.
    Process,
    /// Done to a real connection: cut, delayed, throttled.
    Network,
    /// Seen on a real device. Nothing injected it.
    Hardware,
}

/// What brought a fault about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultCause {
    /// The node's own hazard model.
    Hazard,
    /// An operator or an experiment.
    Ordered,
    /// The failure of something that several nodes share, see [`FaultTruth::domain`].
    Correlated,
    /// A real device failed on its own.
    Observed,
}

/// One fault as it really was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FaultTruth {
    /// A ULID, the same when the fault begins and when it ends.
    pub id: String,
    /// One word in snake_case, such as `crash`, `xid_79`, `kill` or `partition`.
    pub kind: String,
    pub depth: FaultDepth,
    /// The node or the process that is broken.
    pub target: String,
    /// The GPU on the node, for faults of one GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<u8>,
    /// When it began, in Unix milliseconds.
    pub from_ms: u64,
    /// When it begins: the planned end, if there is one. When it ends: the real one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    pub cause: FaultCause,
    /// For a correlated fault, the failure domain, such as `rack-2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Who ordered it and through what, such as "`faultline kill`, user root"; empty when it came by itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// What the faults of an experiment are signed with: its run, and who ordered that.
pub fn experiment_signature(run: &str, by: &str) -> String {
    format!("{EXPERIMENT}{run}{OF}{by}")
}

const EXPERIMENT: &str = "experiment ";
const OF: &str = " of ";

impl FaultTruth {
    /// The run of the experiment that it is of.
    pub fn experiment(&self) -> Option<&str> {
        self.by.strip_prefix(EXPERIMENT)?.split_once(OF).map(|(run, _)| run)
    }

    /// What was done, to what and by whom, in one line.
    pub fn headline(&self) -> String {
        let Self { kind, target, .. } = self;
        let deed = match (kind.as_str(), self.gpu) {
            (KILL, _) => format!("{target} killed (SIGKILL)"),
            (TERM, _) => format!("{target} told to stop (SIGTERM)"),
            (FREEZE, _) => format!("{target} frozen (SIGSTOP)"),
            (kind, Some(gpu)) => format!("{} on GPU {gpu} of {target}", title(kind)),
            (kind, None) => format!("{} on {target}", title(kind)),
        };
        if self.by.is_empty() { deed } else { format!("{deed} by {}", self.by) }
    }
}

/// A new fault's id from the time at which it began and 80 random bits (higher bits are dropped).
pub fn fault_id(unix_ms: u64, random: u128) -> String {
    Ulid::from_parts(unix_ms, random).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_headline_says_what_to_what_by_whom() {
        let truth = |kind: &str, target: &str, gpu, by: &str| FaultTruth {
            id: String::new(),
            kind: kind.into(),
            depth: FaultDepth::Process,
            target: target.into(),
            gpu,
            from_ms: 0,
            until_ms: None,
            cause: FaultCause::Ordered,
            domain: None,
            by: by.into(),
        };
        assert_eq!(
            truth("kill", "worker-03", None, "`faultline kill`, user root").headline(),
            "worker-03 killed (SIGKILL) by `faultline kill`, user root"
        );
        assert_eq!(truth("freeze", "nats", None, "").headline(), "nats frozen (SIGSTOP)");
        assert_eq!(truth("xid_79", "gpu-node-02", Some(3), "").headline(), "XID 79 (GPU has fallen off the bus) on GPU 3 of gpu-node-02");
        assert_eq!(truth("partition", "worker-01", None, "the dashboard").headline(), "partition on worker-01 by the dashboard");
    }

    #[test]
    fn the_run_of_an_experiment_is_in_its_signature() {
        let truth = |by: &str| FaultTruth {
            id: String::new(),
            kind: KILL.into(),
            depth: FaultDepth::Process,
            target: "worker-01".into(),
            gpu: None,
            from_ms: 0,
            until_ms: None,
            cause: FaultCause::Ordered,
            domain: None,
            by: by.into(),
        };
        assert_eq!(experiment_signature("01M8", "the dashboard"), "experiment 01M8 of the dashboard");
        assert_eq!(truth(&experiment_signature("01M8", "a user of it")).experiment(), Some("01M8"));
        assert_eq!(truth("`faultline kill`, user root").experiment(), None);
    }

    #[test]
    fn ids_are_ulids_that_sort_by_time() {
        let (earlier, later) = (fault_id(1_000, u128::MAX), fault_id(1_001, 0));
        assert!(earlier < later && earlier.len() == ulid::ULID_LEN);
        assert_eq!(Ulid::from_string(&earlier).unwrap().timestamp_ms(), 1_000);
    }
}
