//! Placement by a user's program, in any language: it reads JSON lines from its standard input and answers on its standard output.
//! docs/policies.md says what they mean.
//!
//! This is the one place of the lab that starts a process and waits by the clock. A run with a program is as repeatable as the program.

mod program;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

pub use program::Program;

use crate::tables::Input;

/// What begins the name of a placement that is a program.
pub(crate) const PREFIX: &str = "exec:";

/// How long an answer may take unless something else is set.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A program and how it is called, written as `exec:python3 my_policy.py`. Words are separated by spaces; it is started without a shell, and quotes mean nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub words: Vec<String>,
    /// How long an answer may take.
    pub answer_within: Duration,
}

impl Command {
    /// The files that its words name, relative to the folder that the command runs in: the program, its script, its settings. A program without
    /// `/` in its name is looked for on PATH, and is not among them.
    pub(crate) fn files(&self) -> Result<Vec<Input>, String> {
        let is_path = |(at, word): &(usize, &String)| *at > 0 || word.contains('/');
        let words = self.words.iter().enumerate().filter(is_path).map(|(_, word)| word);
        let files = words.filter(|word| Path::new(word).is_file());
        files
            .map(|path| Input::of_file(path).map_err(|error| format!("{path} cannot be read: {error}; name a file that you may read")))
            .collect()
    }
}

impl FromStr for Command {
    type Err = InvalidProgram;

    fn from_str(text: &str) -> Result<Self, InvalidProgram> {
        let words: Vec<String> = text.strip_prefix(PREFIX).unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            return Err(InvalidProgram::NoCommand(text.to_owned()));
        }
        Ok(Self { words, answer_within: ANSWER_WITHIN })
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.words.join(" "))
    }
}

/// Why a run with a program has no outcome.
#[derive(Debug, Error)]
pub enum InvalidProgram {
    #[error("`{0}` names no program: write `exec:` and the command, such as `exec:python3 my_policy.py`")]
    NoCommand(String),
    #[error("cannot start the policy `{command}`: {error}; check the path, which is taken from the folder that the command runs in")]
    Start { command: String, error: std::io::Error },
    #[error("the policy `{command}` failed: {why}")]
    Failed { command: String, why: String },
}
