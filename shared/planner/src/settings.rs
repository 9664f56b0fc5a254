//! What is chosen about a planner when it is made.

use std::str::FromStr;

use thiserror::Error;

use crate::class::TaskClass;
use crate::dispatch::InvalidQueues;
use crate::tie::TieRule;

/// The policies, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PolicyName {
    #[default]
    LeastLoaded,
    FirstFit,
    BestFit,
    RoundRobin,
    Random,
    DotProduct,
    GpuPacking,
    GpuClustering,
    Fgd,
}

impl PolicyName {
    pub const ALL: [PolicyName; 9] = [
        Self::LeastLoaded,
        Self::FirstFit,
        Self::BestFit,
        Self::RoundRobin,
        Self::Random,
        Self::DotProduct,
        Self::GpuPacking,
        Self::GpuClustering,
        Self::Fgd,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            PolicyName::LeastLoaded => "least-loaded",
            PolicyName::FirstFit => "first-fit",
            PolicyName::BestFit => "best-fit",
            PolicyName::RoundRobin => "round-robin",
            PolicyName::Random => "random",
            PolicyName::DotProduct => "dot-product",
            PolicyName::GpuPacking => "gpu-packing",
            PolicyName::GpuClustering => "gpu-clustering",
            PolicyName::Fgd => "fgd",
        }
    }
}

/// How finely scores are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scores {
    #[default]
    Exact,
    /// Cut to whole numbers from 0 to 100, as the Kubernetes scheduler does and as FGD's figures were made.
    Cut,
}

/// Everything that a planner is made with.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub policy: PolicyName,
    pub tie: TieRule,
    pub scores: Scores,
    /// For `fgd`: the workload whose room is kept, as classes with how often each comes.
    pub target: Vec<(TaskClass, u64)>,
    /// For everything that is drawn.
    pub seed: u64,
}

/// Why no planner can be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidSettings {
    #[error("unknown policy `{0}`: use {names}", names = names(&PolicyName::ALL.map(PolicyName::as_str)))]
    UnknownPolicy(String),
    #[error("unknown tie rule `{0}`: use {names}", names = names(&TieRule::ALL.map(TieRule::as_str)))]
    UnknownTie(String),
    #[error("unknown order `{given}`: use {known}")]
    UnknownOrder { given: String, known: String },
    #[error("unknown blocking `{given}`: use {known}")]
    UnknownBlocking { given: String, known: String },
    #[error("policy `fgd` has no target workload: give at least one class of tasks that comes at least once")]
    NoTarget,
    #[error("blocking `{0}` knows one queue only, and stops no job: leave out queues, history, and preemption, or use another blocking")]
    OneQueueOnly(&'static str),
    #[error("blocking `by-count` stops jobs by their remaining time: use the order `srtf` without reservations, or another blocking")]
    SrtfOnly,
    #[error("blocking `{0}` does not know jobs that get and lose tasks while they run: leave resizing out, or use another blocking")]
    NoResizes(&'static str),
    #[error(transparent)]
    Queues(#[from] InvalidQueues),
}

/// A list in words.
pub(crate) fn names(all: &[&str]) -> String {
    match all {
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
        [] => String::new(),
    }
}

impl FromStr for PolicyName {
    type Err = InvalidSettings;

    fn from_str(text: &str) -> Result<Self, InvalidSettings> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text).ok_or_else(|| InvalidSettings::UnknownPolicy(text.to_owned()))
    }
}

impl FromStr for TieRule {
    type Err = InvalidSettings;

    fn from_str(text: &str) -> Result<Self, InvalidSettings> {
        Self::ALL.into_iter().find(|tie| tie.as_str() == text).ok_or_else(|| InvalidSettings::UnknownTie(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for policy in PolicyName::ALL {
            assert_eq!(policy.as_str().parse(), Ok(policy));
        }
        for tie in TieRule::ALL {
            assert_eq!(tie.as_str().parse(), Ok(tie));
        }
        let error = "worst".parse::<TieRule>().unwrap_err().to_string();
        assert_eq!(error, "unknown tie rule `worst`: use first, random, by-name or least-recently-used");
    }
}
