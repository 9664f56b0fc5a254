//! Why settings are refused.

use std::path::PathBuf;

use super::clip::clipped;

/// Why settings cannot be used: the source, the field and what is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration file {0} does not exist: leave --config out or name one that does")]
    NoFile(PathBuf),
    #[error("the configuration file {path} cannot be read: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    /// One line each.
    #[error("{}", in_lines(section, reasons))]
    Invalid { section: String, reasons: Vec<String> },
}

fn in_lines(section: &str, reasons: &[String]) -> String {
    reasons.iter().map(|reason| format!("settings of [{section}]: {}", clipped(reason))).collect::<Vec<_>>().join("\n")
}
