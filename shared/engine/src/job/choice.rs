//! Why a node was chosen: the planner's numbers, which travel with the attempt, and the words for them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words::{agree, plural};

/// Why a node was chosen for an attempt, in numbers. Scores are of the policy: only their order counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Choice {
    /// The policy in force.
    pub policy: String,
    /// The node's score before the job was placed there. The highest gets the job.
    #[serde(default)]
    pub score: u32,
    /// The score of a node that everything speaks for; 0 where the policy scores all nodes alike.
    #[serde(default)]
    pub full_score: u32,
    /// The node that would have got the job otherwise; none when no other node had room.
    #[serde(default)]
    pub runner_up: Option<RunnerUp>,
    /// How many nodes had room for the job.
    pub fitting: u32,
    /// How many nodes there were.
    pub nodes: u32,
}

/// The second best node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunnerUp {
    pub node: String,
    pub score: u32,
}

impl Choice {
    /// Such as `least-loaded: 75 % free, best of 2 of 3 nodes`.
    pub fn words(&self) -> String {
        let of = plural(self.nodes.into(), "node");
        if self.is_of_program() {
            return format!("{}: the program chose it out of {} of {of} with room", self.policy, self.fitting);
        }
        match self.fitting {
            1 => format!("{}: {}, the only one of {of} with room", self.policy, self.rating(self.score)),
            fitting => format!("{}: {}, best of {fitting} of {of}", self.policy, self.rating(self.score)),
        }
    }

    /// Whether a user's program chose, which gives no scores.
    fn is_of_program(&self) -> bool {
        self.policy.starts_with("service:")
    }

    /// Such as `gpu-node-02, 50 % free: 25 points behind`.
    pub fn runner_up_words(&self) -> String {
        if self.is_of_program() {
            return "not known: the program says only which node it chooses".to_owned();
        }
        let Some(RunnerUp { node, score }) = &self.runner_up else {
            return "none: no other node had room".to_owned();
        };
        match self.policy.as_str() {
            "round-robin" => format!("{node}: its turn comes next"),
            "random" => format!("{node}: as likely"),
            _ if *score == self.score => format!("{node}, equally good: of equal nodes the first by name gets the job"),
            _ => {
                let behind = points(self.score.saturating_sub(*score), self.full_score);
                format!("{node}, {}: {behind} {} behind", self.rating(*score), agree(u64::from(behind == "1"), "point", "points"))
            }
        }
    }

    /// What speaks for a node with this score.
    fn rating(&self, score: u32) -> String {
        match self.policy.as_str() {
            "least-loaded" => format!("{} % free", points(score, self.full_score)),
            "first-fit" => "the first by name".to_owned(),
            "round-robin" => "its turn".to_owned(),
            "random" => "drawn".to_owned(),
            _ => format!("score {} of 100", points(score, self.full_score)),
        }
    }
}

/// A score in hundredths of the full one, with two digits at most: `75`, `96.88`.
fn points(score: u32, full_score: u32) -> String {
    let hundredths = (u64::from(score) * 10_000 + u64::from(full_score) / 2) / u64::from(full_score.max(1));
    match (hundredths / 100, hundredths % 100) {
        (0, 0) if score > 0 => "less than 0.01".to_owned(),
        (whole, 0) => whole.to_string(),
        (whole, rest) if rest % 10 == 0 => format!("{whole}.{}", rest / 10),
        (whole, rest) => format!("{whole}.{rest:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(policy: &str, score: u32, second: Option<u32>) -> Choice {
        let runner_up = second.map(|score| RunnerUp { node: "gpu-node-02".into(), score });
        let fitting = if second.is_some() { 2 } else { 1 };
        Choice { policy: policy.into(), score, full_score: 1 << 20, runner_up, fitting, nodes: 3 }
    }

    #[test]
    fn numbers_become_words() {
        let spread = choice("least-loaded", 3 << 18, Some(1 << 19));
        assert_eq!(spread.words(), "least-loaded: 75 % free, best of 2 of 3 nodes");
        assert_eq!(spread.runner_up_words(), "gpu-node-02, 50 % free: 25 points behind");
        let alone = choice("best-fit", 1_015_808, None);
        assert_eq!(alone.words(), "best-fit: score 96.88 of 100, the only one of 3 nodes with room");
        assert_eq!(alone.runner_up_words(), "none: no other node had room");
        let equal = choice("least-loaded", 1 << 20, Some(1 << 20));
        assert_eq!(equal.runner_up_words(), "gpu-node-02, equally good: of equal nodes the first by name gets the job");
        assert_eq!(
            choice("best-fit", 1_000_000, Some(999_999)).runner_up_words(),
            "gpu-node-02, score 95.37 of 100: less than 0.01 points behind"
        );
        assert_eq!(choice("round-robin", 0, Some(0)).runner_up_words(), "gpu-node-02: its turn comes next");
        assert_eq!(choice("first-fit", 0, Some(0)).words(), "first-fit: the first by name, best of 2 of 3 nodes");
    }

    #[test]
    fn points_have_two_digits_at_most() {
        let of = |score| points(score, 1_000_000);
        assert_eq!([0, 1, 100, 100_000, 123_456, 1_000_000].map(of), ["0", "less than 0.01", "0.01", "10", "12.35", "100"]);
        assert_eq!(points(5, 0), "500", "a policy without a full score has no points: never a division by zero");
    }
}
