//! The placement policies that a live scheduler can be set to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::job::{InvalidJob, is_token};

/// The policies that can be named in settings: those of the planner but `fgd`, which must be told which tasks usually come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
}

impl PolicyName {
    pub const ALL: [PolicyName; 8] = [
        Self::LeastLoaded,
        Self::FirstFit,
        Self::BestFit,
        Self::RoundRobin,
        Self::Random,
        Self::DotProduct,
        Self::GpuPacking,
        Self::GpuClustering,
    ];

    pub fn as_str(self) -> &'static str {
        self.in_planner().as_str()
    }

    pub(super) fn in_planner(self) -> faultline_planner::PolicyName {
        use faultline_planner::PolicyName as InPlanner;
        match self {
            PolicyName::LeastLoaded => InPlanner::LeastLoaded,
            PolicyName::FirstFit => InPlanner::FirstFit,
            PolicyName::BestFit => InPlanner::BestFit,
            PolicyName::RoundRobin => InPlanner::RoundRobin,
            PolicyName::Random => InPlanner::Random,
            PolicyName::DotProduct => InPlanner::DotProduct,
            PolicyName::GpuPacking => InPlanner::GpuPacking,
            PolicyName::GpuClustering => InPlanner::GpuClustering,
        }
    }
}

impl FromStr for PolicyName {
    type Err = InvalidJob;

    fn from_str(text: &str) -> Result<Self, InvalidJob> {
        let named = Self::ALL.into_iter().find(|policy| policy.as_str() == text);
        named.ok_or_else(|| InvalidJob::new("policy", format!("use one of {}", Self::ALL.map(Self::as_str).join(", "))))
    }
}

/// What begins the name of a policy that is a user's program.
const PROGRAM_PREFIX: &str = "service:";
/// So long may such a name be: the subject has it as one token.
const LONGEST_NAME: usize = 56;

/// What chooses the nodes of a live cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LivePolicy {
    BuiltIn(PolicyName),
    /// A user's program that listens on NATS under this name, written as `service:NAME`.
    Program(String),
}

/// A text that names no policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown policy `{given}`: use {names}, or `service:NAME` for a program of your own; NAME has 1 to {LONGEST_NAME} letters, digits, `-`, and `_`", names = PolicyName::ALL.map(PolicyName::as_str).join(", "))]
pub struct InvalidPolicy {
    given: String,
}

impl LivePolicy {
    /// The program's name, where it is one.
    pub fn program(&self) -> Option<&str> {
        match self {
            Self::BuiltIn(_) => None,
            Self::Program(name) => Some(name),
        }
    }
}

impl Default for LivePolicy {
    fn default() -> Self {
        Self::BuiltIn(PolicyName::default())
    }
}

impl From<PolicyName> for LivePolicy {
    fn from(policy: PolicyName) -> Self {
        Self::BuiltIn(policy)
    }
}

impl fmt::Display for LivePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(policy) => f.write_str(policy.as_str()),
            Self::Program(name) => write!(f, "{PROGRAM_PREFIX}{name}"),
        }
    }
}

impl FromStr for LivePolicy {
    type Err = InvalidPolicy;

    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        let invalid = || InvalidPolicy { given: text.chars().take(LONGEST_NAME + PROGRAM_PREFIX.len() + 1).collect() };
        match text.strip_prefix(PROGRAM_PREFIX) {
            Some(name) if is_token(name) && name.len() <= LONGEST_NAME => Ok(Self::Program(name.to_owned())),
            Some(_) => Err(invalid()),
            None => text.parse().map(Self::BuiltIn).map_err(|_| invalid()),
        }
    }
}

impl TryFrom<String> for LivePolicy {
    type Error = InvalidPolicy;

    fn try_from(text: String) -> Result<Self, InvalidPolicy> {
        text.parse()
    }
}

impl From<LivePolicy> for String {
    fn from(policy: LivePolicy) -> Self {
        policy.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_has_one_name_on_command_lines_and_in_files() {
        for policy in PolicyName::ALL {
            assert_eq!(policy.as_str().parse::<PolicyName>().unwrap(), policy);
            assert_eq!(serde_json::to_value(policy).unwrap(), policy.as_str());
        }
        let error = "fgd".parse::<PolicyName>().unwrap_err().to_string();
        assert!(error.starts_with("policy: use one of least-loaded, first-fit, "), "{error}");
    }
    #[test]
    fn a_program_is_named_by_one_token() {
        for text in ["service:emptiest", "best-fit", "least-loaded"] {
            assert_eq!(text.parse::<LivePolicy>().unwrap().to_string(), text);
        }
        assert_eq!("service:a_b-9".parse::<LivePolicy>().unwrap().program(), Some("a_b-9"));
        assert_eq!("random".parse::<LivePolicy>().unwrap(), LivePolicy::from(PolicyName::Random));
        let long = format!("service:{}", "x".repeat(LONGEST_NAME + 1));
        for text in ["service:", "service:a.b", "service:*", "service:a b", "fgd", "", &long] {
            let error = text.parse::<LivePolicy>().unwrap_err().to_string();
            assert!(error.starts_with("unknown policy `") && error.contains("least-loaded, ") && error.len() < 400, "{error}");
        }
    }
}
