//! What became of one seed, whatever was played.

use std::fmt::Write;

use super::panics;

/// What became of one seed.
#[derive(Debug)]
pub struct Outcome<F> {
    pub seed: u64,
    /// Over every event in its order.
    pub trace_hash: u64,
    /// The promise that was broken, if one was.
    pub broken: Option<String>,
    pub stats: F,
    /// The last of what happened, when it was asked for.
    pub last: Vec<String>,
}

/// What broke: a check of the code that was played, or the promise that the shadow saw broken.
pub(crate) fn broken(played: std::thread::Result<()>, shadow: Option<&str>) -> Option<String> {
    let broken = match played {
        Ok(()) => shadow.map(str::to_owned),
        Err(_) => Some("the simulation itself broke down".to_owned()),
    };
    // In a task of a process, or in the simulation itself.
    panics::heard().map(|words| format!("a check failed: {words}")).or(broken)
}

impl<F> Outcome<F> {
    /// What broke, the last of what happened before, and how to see it again: `options` are those of `just simulate` that a seed needs beside
    /// its number.
    pub(crate) fn explained(&self, options: &str, bug: Option<&str>) -> String {
        let mut text = String::new();
        for line in &self.last {
            let _ = writeln!(text, "{line}");
        }
        let planted = bug.map(|bug| format!(" --bug {bug}")).unwrap_or_default();
        let _ = writeln!(text, "seed {} BROKE A PROMISE: {}", self.seed, self.broken.as_deref().unwrap_or("none"));
        let _ = write!(text, "replay: just simulate{options} --seed {} --verbose{planted}", self.seed);
        text
    }
}
