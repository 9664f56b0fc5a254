//! What `faultline up` tells of the processes that it runs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::events::Level;
use crate::codec::message;

/// The most lines of logs in one answer: with [`MAX_LOG_LINE_BYTES`] each they fit into a message.
pub const MAX_LOG_LINES: u32 = 200;
/// Longer lines are cut.
pub const MAX_LOG_LINE_BYTES: usize = 500;

/// `up.processes`, a request: which processes run, how they are, and the last lines of their logs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessesQuery {
    /// Lines of this process only; of all without.
    #[serde(default)]
    pub process: Option<String>,
    /// Only lines of this level and worse; all without.
    #[serde(default)]
    pub level: Option<Level>,
    /// The newest lines that are wanted, at most [`MAX_LOG_LINES`]; 0 for none.
    #[serde(default)]
    pub lines: u32,
}

message!(ProcessesQuery, "processes-query");

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    Running,
    /// It ended, and is started again after a pause.
    Waiting,
    Stopping,
}

/// One process that `up` runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProcessView {
    pub name: String,
    pub state: ProcessState,
    /// None while it does not run.
    pub pid: Option<u32>,
    pub uptime_ms: u64,
    /// How often it was started again.
    pub restarts: u32,
    /// How it ended the last time.
    pub last_exit: Option<String>,
    /// Whether it can do its work, as its `/readyz` says; none for a process without one, and while it does not run.
    pub ready: Option<bool>,
    /// What it does, such as `leads, epoch 7`, or why it is not ready.
    pub note: String,
    /// Lines of warnings and errors among those that are kept of it.
    pub warnings: u32,
    pub errors: u32,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    pub process: String,
    /// When `up` read it, in Unix milliseconds.
    pub at_ms: u64,
    /// None when it says none, as the lines of a panic.
    pub level: Option<Level>,
    /// At most 500 bytes.
    pub text: String,
}

/// The answer to `up.processes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProcessesReply {
    pub processes: Vec<ProcessView>,
    /// Oldest first.
    pub lines: Vec<LogLine>,
    /// The folder of the log files, on the machine of `up`.
    pub log_dir: String,
    pub uptime_ms: u64,
}

message!(ProcessesReply, "processes-reply");
