//! The placement policies that a live scheduler can be set to.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::job::InvalidJob;

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
}
