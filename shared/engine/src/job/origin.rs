//! What a submitter states about itself.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::id::{InvalidJob, JobId};

/// The longest statement of who submitted a job, in characters.
const MAX_BY_CHARS: usize = 120;

/// Where a job comes from. NATS does not tell a reader whose key a message was published with, so this is what the submitter states.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Origin {
    /// Such as `command, user ann@login-1` or `generator`; empty when the submitter did not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// The job that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resubmitted_from: Option<JobId>,
}

impl Origin {
    pub fn by(who: impl Into<String>) -> Self {
        Self { by: who.into(), resubmitted_from: None }
    }

    /// Nothing is said.
    pub fn is_unstated(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn validate(&self) -> Result<(), InvalidJob> {
        if self.by.chars().count() > MAX_BY_CHARS || self.by.chars().any(char::is_control) {
            return Err(InvalidJob::new("origin", format!("`by` must have at most {MAX_BY_CHARS} printable characters")));
        }
        Ok(())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.by.is_empty() { "not stated" } else { &self.by })
    }
}
