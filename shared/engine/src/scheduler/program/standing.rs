//! What is told of a policy program: to people, to metrics, and to the history.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words::plural;

/// Who decides where tasks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProgramState {
    /// It is told of the nodes for the first time; nothing is placed until it has answered, or its time is over.
    #[default]
    Greeted,
    /// The program decides.
    Decides,
    /// The built-in policy decides, and the program is tried again now and then.
    Silent,
}

impl ProgramState {
    pub const ALL: [ProgramState; 3] = [Self::Greeted, Self::Decides, Self::Silent];

    pub fn as_str(self) -> &'static str {
        match self {
            ProgramState::Greeted => "greeted",
            ProgramState::Decides => "decides",
            ProgramState::Silent => "silent",
        }
    }
}

/// What this leader has counted of a policy program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ProgramStanding {
    /// As in `service:NAME`.
    pub name: String,
    pub state: ProgramState,
    /// Since when, in Unix milliseconds by the cluster's time.
    pub since_ms: u64,
    /// The built-in policy that decides while the program does not.
    pub fallback: String,
    /// Why the program does not decide, or did not the last time.
    pub why: String,
    /// Requests that were sent to it, and of those the ones that had no answer, or none that can be used.
    pub requests: u64,
    pub failures: u64,
    /// Tasks that went where it said.
    pub placed: u64,
    /// Tasks that it let wait.
    pub left_waiting: u64,
    /// Answers for nodes that had left, were closed, or were full by then.
    pub late: u64,
    /// Answers that were wrong from the beginning.
    pub wrong: u64,
    /// The last of those.
    pub last_wrong: String,
    /// Tasks that the built-in policy placed.
    pub placed_by_fallback: u64,
    /// How long its answers took, of the last thousand.
    pub answer_p50_ms: u64,
    pub answer_p95_ms: u64,
}

/// For the log and the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramNews {
    /// It answers, and decides from now on.
    Decides { program: String },
    /// It does not, and the built-in policy decides.
    Silent { program: String, fallback: String, why: String, again_in_ms: u64 },
    /// An answer was wrong; so many others were since this was said last.
    Wrong { program: String, what: String, others: u64 },
}

impl fmt::Display for ProgramNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decides { program } => write!(f, "the policy program service:{program} decides where jobs run"),
            Self::Silent { program, fallback, why, again_in_ms } => {
                let again = crate::words::limit(*again_in_ms);
                write!(
                    f,
                    "the policy program service:{program} failed: {why}; {fallback} decides, and the program is tried again in {again}"
                )
            }
            Self::Wrong { program, what, others: 0 } => write!(f, "an answer of the policy program service:{program} is wrong: {what}"),
            Self::Wrong { program, what, others } => {
                let others = plural(*others, "other");
                write!(f, "an answer of the policy program service:{program} is wrong, and {others} since the last such line: {what}")
            }
        }
    }
}
