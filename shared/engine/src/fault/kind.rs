//! The kinds of simulated faults: what each is called, what it hits, and what becomes of the attempts that it hits. The words
//! for people are in `catalogue`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::job::AttemptId;

/// What can be wrong with a node or with one of its GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    Crash,
    Hang,
    HeartbeatLoss,
    Slow,
    Zombie,
    #[serde(rename = "xid_13")]
    Xid13,
    #[serde(rename = "xid_31")]
    Xid31,
    #[serde(rename = "xid_48")]
    Xid48,
    #[serde(rename = "xid_74")]
    Xid74,
    #[serde(rename = "xid_79")]
    Xid79,
    #[serde(rename = "xid_94")]
    Xid94,
    #[serde(rename = "xid_95")]
    Xid95,
    ThermalThrottle,
    WrongResult,
}

/// What a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultScope {
    Node,
    Gpu,
}

/// How an attempt ends that a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The machine is to blame: the job is placed again and it costs the job nothing.
    Requeued,
    /// The job seems to blame: it costs a retry.
    Failed,
}

/// Which attempts end when a fault begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toll {
    None,
    /// All on the node are gone, and no process is left to say so.
    NodeVanishes,
    /// All that use the GPU.
    AllOnGpu(AttemptEnd),
    /// The one that has run for longest on the GPU.
    OneOnGpu(AttemptEnd),
    /// Those that use the GPU together with others.
    SpanningGpu(AttemptEnd),
}

impl FaultKind {
    pub const ALL: [FaultKind; 14] = [
        Self::Crash,
        Self::Hang,
        Self::HeartbeatLoss,
        Self::Slow,
        Self::Zombie,
        Self::Xid13,
        Self::Xid31,
        Self::Xid48,
        Self::Xid74,
        Self::Xid79,
        Self::Xid94,
        Self::Xid95,
        Self::ThermalThrottle,
        Self::WrongResult,
    ];

    /// The name on the wire and in the history; on the command line `-` may stand for `_`.
    pub fn as_str(self) -> &'static str {
        match self {
            FaultKind::Crash => "crash",
            FaultKind::Hang => "hang",
            FaultKind::HeartbeatLoss => "heartbeat_loss",
            FaultKind::Slow => "slow",
            FaultKind::Zombie => "zombie",
            FaultKind::Xid13 => "xid_13",
            FaultKind::Xid31 => "xid_31",
            FaultKind::Xid48 => "xid_48",
            FaultKind::Xid74 => "xid_74",
            FaultKind::Xid79 => "xid_79",
            FaultKind::Xid94 => "xid_94",
            FaultKind::Xid95 => "xid_95",
            FaultKind::ThermalThrottle => "thermal_throttle",
            FaultKind::WrongResult => "wrong_result",
        }
    }

    /// NVIDIA's code for it, where the driver reports it.
    pub fn xid(self) -> Option<u32> {
        match self {
            FaultKind::Xid13 => Some(13),
            FaultKind::Xid31 => Some(31),
            FaultKind::Xid48 => Some(48),
            FaultKind::Xid74 => Some(74),
            FaultKind::Xid79 => Some(79),
            FaultKind::Xid94 => Some(94),
            FaultKind::Xid95 => Some(95),
            FaultKind::Crash
            | FaultKind::Hang
            | FaultKind::HeartbeatLoss
            | FaultKind::Slow
            | FaultKind::Zombie
            | FaultKind::ThermalThrottle
            | FaultKind::WrongResult => None,
        }
    }

    /// The kind that NVIDIA's code stands for, if it is one of those that are known here.
    pub fn of_xid(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.xid() == Some(code))
    }

    pub fn scope(self) -> FaultScope {
        match self {
            FaultKind::Crash | FaultKind::Hang | FaultKind::HeartbeatLoss | FaultKind::Slow | FaultKind::Zombie => FaultScope::Node,
            FaultKind::Xid13
            | FaultKind::Xid31
            | FaultKind::Xid48
            | FaultKind::Xid74
            | FaultKind::Xid79
            | FaultKind::Xid94
            | FaultKind::Xid95
            | FaultKind::ThermalThrottle
            | FaultKind::WrongResult => FaultScope::Gpu,
        }
    }

    /// Whether it is over as soon as it has done its damage, so that it has no duration.
    pub fn is_momentary(self) -> bool {
        matches!(self, FaultKind::Xid13 | FaultKind::Xid31 | FaultKind::Xid94)
    }

    /// Whether nothing may be placed on the GPU until it has been reset, which is how such a fault ends.
    pub fn takes_gpu_out(self) -> bool {
        matches!(self, FaultKind::Xid48 | FaultKind::Xid74 | FaultKind::Xid79 | FaultKind::Xid95)
    }

    pub fn toll(self) -> Toll {
        match self {
            FaultKind::Crash => Toll::NodeVanishes,
            FaultKind::Xid13 | FaultKind::Xid31 => Toll::OneOnGpu(AttemptEnd::Failed),
            FaultKind::Xid94 => Toll::OneOnGpu(AttemptEnd::Requeued),
            FaultKind::Xid74 => Toll::SpanningGpu(AttemptEnd::Requeued),
            FaultKind::Xid48 | FaultKind::Xid79 | FaultKind::Xid95 => Toll::AllOnGpu(AttemptEnd::Requeued),
            FaultKind::Hang
            | FaultKind::HeartbeatLoss
            | FaultKind::Slow
            | FaultKind::Zombie
            | FaultKind::ThermalThrottle
            | FaultKind::WrongResult => Toll::None,
        }
    }
}

impl Toll {
    /// The attempts that end because of a fault on `gpu`, and how. `running` names the attempts on the node, the oldest first, with
    /// their GPUs. A node that vanishes says nothing about its attempts, so they are not among them.
    pub fn victims<'a>(self, gpu: u8, running: impl Iterator<Item = (AttemptId, &'a [u8])>) -> Vec<(AttemptId, AttemptEnd)> {
        let on_gpu = running.filter(|(_, gpus)| gpus.contains(&gpu));
        match self {
            Toll::None | Toll::NodeVanishes => Vec::new(),
            Toll::AllOnGpu(end) => on_gpu.map(|(attempt, _)| (attempt, end)).collect(),
            Toll::OneOnGpu(end) => on_gpu.take(1).map(|(attempt, _)| (attempt, end)).collect(),
            Toll::SpanningGpu(end) => on_gpu.filter(|(_, gpus)| gpus.len() > 1).map(|(attempt, _)| (attempt, end)).collect(),
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A fault's name that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown fault `{given}`: use {}", FaultKind::ALL.map(FaultKind::as_str).join(", "))]
pub struct UnknownFault {
    given: String,
}

impl FromStr for FaultKind {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let name = text.replace('-', "_").to_ascii_lowercase();
        let known = FaultKind::ALL.into_iter().find(|kind| kind.as_str() == name);
        known.ok_or_else(|| UnknownFault { given: text.chars().take(40).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for kind in FaultKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(kind.as_str().replace('_', "-").parse(), Ok(kind));
            assert_eq!(FaultKind::ALL.iter().filter(|other| other.as_str() == kind.as_str()).count(), 1);
            assert_eq!(kind.as_str().strip_prefix("xid_").map(|code| code.parse().unwrap()), kind.xid());
        }
        assert!("xid-999".parse::<FaultKind>().unwrap_err().to_string().starts_with("unknown fault `xid-999`: use crash, hang,"));
    }

    #[test]
    fn only_faults_of_a_gpu_have_a_code_or_take_it_out() {
        for kind in FaultKind::ALL {
            if kind.xid().is_some() || kind.takes_gpu_out() {
                assert_eq!(kind.scope(), FaultScope::Gpu, "{kind}");
            }
            assert!(!(kind.is_momentary() && kind.takes_gpu_out()), "{kind}");
        }
    }

    #[test]
    fn each_kind_takes_its_toll_and_no_more() {
        let attempt = |n: u128| AttemptId::new(0, n);
        let running = [(attempt(1), vec![0]), (attempt(2), vec![0, 1]), (attempt(3), vec![1]), (attempt(4), vec![])];
        let victims = |kind: FaultKind, gpu| kind.toll().victims(gpu, running.iter().map(|(attempt, gpus)| (*attempt, gpus.as_slice())));
        use AttemptEnd::{Failed, Requeued};
        for kind in [FaultKind::Xid48, FaultKind::Xid79, FaultKind::Xid95] {
            assert_eq!(victims(kind, 0), [(attempt(1), Requeued), (attempt(2), Requeued)], "{kind}");
        }
        assert_eq!(victims(FaultKind::Xid94, 0), [(attempt(1), Requeued)]);
        assert_eq!(victims(FaultKind::Xid74, 1), [(attempt(2), Requeued)]);
        for kind in [FaultKind::Xid13, FaultKind::Xid31] {
            assert_eq!(victims(kind, 1), [(attempt(2), Failed)], "{kind}");
            assert!(victims(kind, 7).is_empty(), "{kind}");
        }
        for kind in [FaultKind::Crash, FaultKind::Hang, FaultKind::Slow, FaultKind::ThermalThrottle, FaultKind::WrongResult] {
            assert!(victims(kind, 0).is_empty(), "{kind}");
        }
    }
}
