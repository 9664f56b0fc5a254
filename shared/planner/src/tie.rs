//! Which of several nodes with the same score is taken. With scores that are cut to a hundred steps ties are the rule, and the rule
//! decides more than the policy does.

use std::fmt;

/// How a tie is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TieRule {
    /// The node that joined first.
    #[default]
    First,
    /// Each as likely as the others.
    Random,
    /// The lowest name.
    ByName,
    /// The node that got a task longest ago; those that never got one come first, in the order of their numbers.
    LeastRecentlyUsed,
}

impl TieRule {
    pub const ALL: [TieRule; 4] = [Self::First, Self::Random, Self::ByName, Self::LeastRecentlyUsed];

    pub fn as_str(self) -> &'static str {
        match self {
            TieRule::First => "first",
            TieRule::Random => "random",
            TieRule::ByName => "by-name",
            TieRule::LeastRecentlyUsed => "least-recently-used",
        }
    }
}

impl fmt::Display for TieRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
